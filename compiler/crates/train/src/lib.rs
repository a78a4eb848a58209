//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

mod activation;
pub mod anchors;
pub mod augment;
mod buffer;
pub mod engine;
mod filter;
pub mod initial;
pub mod log;
pub mod loss;
mod matrix;
mod optimizer;
mod random;
mod recalibrate;
pub mod samples;
mod scalar;
pub mod schedule;
pub mod session;
mod taylor;
mod teacher;
#[cfg(test)]
mod tests;
mod trainer;

pub use optimizer::{Memory, Update};
pub use recalibrate::{LoadImage, recalibrate};
pub use scalar::Scalar;
pub use taylor::{TaylorSums, taylor};
pub use teacher::Teacher;
pub use trainer::{LayerCost, LossObserver, TEACHER, Trainer};
