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

pub use memory::Memory;
pub use simulator::{Event, Simulator};
