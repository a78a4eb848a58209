//! TensorFlow 1: graphs as text or binary, and checkpoints of version 2.

pub mod checkpoint;
pub mod dtype;
pub mod graph_def;
