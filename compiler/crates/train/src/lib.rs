//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

mod activation;
pub mod engine;
pub mod loss;
mod matrix;
mod scalar;

pub use scalar::Scalar;
