//! Files that follow from the encodings in `secateur_runtime::npu`: the SystemVerilog package and
//! the register manual.

mod text;

pub use text::{manual, package};

/// The RTL: names and texts, packages before the modules that use them.
pub const SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The test bench of one frame; needs a package `npu_tb_pkg` and memory images.
pub const BENCH: &str = include_str!("../../tb/npu_tb.sv");
