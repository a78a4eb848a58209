//! The accelerator in software.
//!
//! [`emulator`] gives every command its meaning, byte by byte and without time; the RTL is tested
//! against it. Both stand behind the driver's bus, over a [`memory`] that notices stray accesses.

pub mod emulator;
pub mod memory;
pub mod package;
mod random;
#[cfg(feature = "rtl")]
pub mod rtl;
mod simulator;
#[cfg(feature = "unit")]
pub mod unit;

/// Sizes of the accelerator that the Verilated models were built for: `NPU_TARGET` names another
/// target than npu-8x16 when the crate is built.
pub const PARAMETERS: secateur_runtime::npu::isa::Parameters =
    include!(concat!(env!("OUT_DIR"), "/parameters.rs"));

pub use memory::Memory;
pub use simulator::{Event, Simulator};
