//! The accelerator's program of an int8 network.
//!
//! [`offload`] chooses the layers that the accelerator runs, [`import`] turns them into operations,
//! [`grouping`] forms groups of operations, [`strips`] cuts groups into strips, [`schedule`] places feature
//! feature maps on the chip and in memory, [`emit`] writes commands with their waits, [`stream`] orders them,
//! [`cycles`] predicts when each runs. [`lower`](lower::lower) drives them.

mod cycles;
mod emit;
mod fusion;
mod grouping;
mod hazards;
mod import;
mod lower;
mod offload;
mod op;
mod packed;
mod partition;
mod plan;
mod report;
mod schedule;
mod split;
mod stream;
mod strips;
mod weights;

pub use cycles::CommandTiming;
pub use emit::{CommandBody, PlannedCommand};
pub use lower::lower;
pub use partition::Partition;
pub use plan::{NpuOptions, NpuPlan};
pub use report::CycleReport;
