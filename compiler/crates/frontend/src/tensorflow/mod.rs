//! TensorFlow 1: graphs as text or binary, and checkpoints of version 2.

pub mod checkpoint;
pub mod dtype;
pub mod graph_def;
mod import;
mod integers;
mod layout;
mod ops;
mod spatial;
#[cfg(test)]
mod tests;

pub use import::{Imported, Options, Written, import};
