//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

mod activation;
pub mod anchors;
pub mod augment;
pub mod engine;
pub mod initial;
pub mod log;
pub mod loss;
mod matrix;
mod optimizer;
mod random;
pub mod samples;
mod scalar;
pub mod schedule;
pub mod session;
mod teacher;
mod trainer;

pub use optimizer::{Memory, Update};
pub use scalar::Scalar;
pub use teacher::Teacher;
pub use trainer::{LayerCost, TEACHER, Trainer};
