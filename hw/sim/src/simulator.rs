//! What emulator and RTL simulation have in common beyond the driver's bus.

use secateur_runtime::npu::stream::Queue;
use secateur_runtime::npu::{Bus, Counters};

use crate::memory::{Memory, NoMemory};

/// A finished command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub queue: Queue,
    /// Place in its queue, from 0.
    pub index: u32,
    /// Cycle of the frame in which it began; 0 without time.
    pub start: u64,
    /// Cycle of the frame in which its last result was written; 0 without time.
    pub end: u64,
}

/// A simulated accelerator that can be watched command by command.
pub trait Simulator: Bus<Error = NoMemory> {
    /// Runs until a command is finished; `None` once the frame is over, be it by END or by a fault.
    fn next_event(&mut self) -> Option<Event>;

    /// Returns a vector on the chip, as the last event left it, padded with zeros.
    fn bank_word(&self, bank: usize, address: usize) -> [u8; 16];

    /// The counter registers as they stand, read without the bus.
    fn counters(&self) -> Counters;

    /// The machine's memory.
    fn memory(&mut self) -> &mut Memory;
}
