//! The accelerator in a whole system.
//!
//! `generate.py` has LiteX write a system for a [`Target`](secateur_codegen::target::Target) with a table `[soc]`: VexRiscv,
//! LiteDRAM, UART, timer, and the accelerator behind `rtl/npu_dram_bridge.sv`. [`System::build`] makes a simulation of it
//! with Verilator, and the firmware for its addresses; [`System::run`] runs a job and [`Frame::compare`] holds what the
//! system said against [`expected`], the same job on this machine.

mod bitstream;
mod description;
mod frame;
mod report;
mod system;
mod tools;

pub use bitstream::{BOARDS, Board, Build, Built, flash_command};
pub use frame::{Frame, Map, expected};
pub use report::{BuildReport, Clock};
pub use system::System;
