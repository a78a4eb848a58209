//! From an int8 network to an artefact: [`cpu`] plans what the processor computes and where every tensor
//! is, [`npu`] makes the accelerator's program of a [`target`], [`artefact`] writes the bytes. [`compile`]
//! drives them in that order; none of them calls back.

pub mod arena;
pub mod artefact;
mod compile;
pub mod cost;
pub mod cpu;
pub mod npu;
#[cfg(any(test, feature = "testing"))]
pub mod random;
pub mod target;

pub use artefact::Manifest;
pub use compile::{Compiled, LiveAtLayer, compile, compile_with};
pub use cpu::Patch;
pub use npu::NpuOptions;
