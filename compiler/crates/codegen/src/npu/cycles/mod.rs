//! The cycle model: queues replayed in order, with the times that the RTL takes.
//!
//! EXEC follows `docs/accelerator/cycles.md`: the array works on a tile for `m` cycles and hands it to the
//! requantiser, which takes a cycle a bank word that it writes, or two words of neighbouring rows (`d`);
//! a tile waits until the one before it is drained, and until its words of the element-wise operand are there.
//! The command stream and LOAD share the bus burst by burst, in the order of their requests; STORE writes
//! in what they leave, and is finished a latency after its last word.
//!
//! Not followed: bursts that end at a boundary of 4 KiB (the address of the memory is not known), a skip list that
//! runs dry, and single results and LOADs in STORE's way at the banks.

mod array;
mod bus;
mod fetch;
mod operand;
mod replay;
mod tiles;

pub(super) use array::Tail;
pub use replay::CommandTiming;
pub(super) use replay::{EXEC_LATENCY, WAIT, replay};
pub(super) use tiles::Tiles;
