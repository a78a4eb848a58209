//! Frames on a simulated accelerator, watched command by command and compared with the runtime.
//!
//! Works on anything that is a [`Simulator`]: the functional emulator, and with feature `sim` the
//! RTL under Verilator.

mod compare;
mod fault;
mod frame;
mod report;
mod timeline;

pub use compare::{Mismatch, RuntimeReference};
pub use frame::{SimulatedFrame, TimedCommand, frame, memory, program};
pub use report::{LayerTiming, layers, print};
pub use timeline::svg;
