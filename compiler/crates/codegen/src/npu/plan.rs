//! The result of lowering to the accelerator, and the choices that it takes.

use super::cycles::CommandTiming;
use super::emit::PlannedCommand;
use super::import::NpuGraph;
use super::packed::Packed;
use super::partition::Partition;
use super::schedule::Schedule;
use crate::target::Accelerator;

/// The accelerator counts finished commands, and commands wait for counts, in 16 bits.
const QUEUE_COMMANDS: usize = u16::MAX as usize;

/// Choices about the accelerator's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NpuOptions {
    /// Convolutions add the shortcut that follows them.
    pub fuse: bool,
    /// Operations that may run strip by strip together; 1: layer by layer.
    pub group: usize,
    /// The processor may run what comes before and after the layers that the accelerator can run.
    pub processor: bool,
    /// Most commands of one queue that the accelerator counts.
    pub queue_commands: usize,
}

impl NpuOptions {
    /// Runs each layer on its own, with every feature map through memory.
    pub const LAYER_BY_LAYER: Self =
        Self { fuse: false, group: 1, processor: false, queue_commands: QUEUE_COMMANDS };
}

impl Default for NpuOptions {
    fn default() -> Self {
        Self { fuse: true, group: 16, processor: false, queue_commands: QUEUE_COMMANDS }
    }
}

/// A network as the accelerator's program.
#[derive(Debug, Clone)]
pub struct NpuPlan {
    pub accelerator: Accelerator,
    pub(crate) graph: NpuGraph,
    pub(crate) schedule: Schedule,
    pub(crate) packed: Packed,
    /// In the order of the stream.
    pub commands: Vec<PlannedCommand>,
    /// By command.
    pub timings: Vec<CommandTiming>,
    /// Cycles of a frame.
    pub cycles: u64,
    /// Offset in region 0 of the packed constants.
    pub data_offset: usize,
    pub partition: Partition,
}
