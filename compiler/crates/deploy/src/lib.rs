//! Artefacts on this machine: [`Deployed`] runs them behind the evaluation's interfaces, [`disassemble`]
//! lists their accelerator program, [`sim`] runs it on a simulated accelerator, [`emit`] writes a test bench.

mod deployed;
pub mod emit;
mod inspect;
pub mod sim;

#[cfg(test)]
mod npu_cases;
#[cfg(test)]
mod npu_tests;
#[cfg(test)]
mod patch_tests;
#[cfg(test)]
mod tests;

pub use deployed::{Deployed, LayerOutput, is_artefact, kernel_macs, kernel_name, q30, read_artefact};
pub use inspect::disassemble;
