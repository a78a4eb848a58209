//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

mod activation;
pub mod anchors;
pub mod augment;
pub mod engine;
pub mod log;
pub mod loss;
mod matrix;
mod optimizer;
mod random;
mod recalibrate;
pub mod samples;
mod scalar;
pub mod schedule;
mod taylor;
#[cfg(test)]
mod tests;
mod trainer;

pub use optimizer::Update;
pub use recalibrate::recalibrate;
pub use scalar::Scalar;
pub use taylor::{TaylorSums, taylor};
pub use trainer::{LayerCost, Trainer};
