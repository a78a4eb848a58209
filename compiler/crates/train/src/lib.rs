//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

pub mod anchors;
pub mod augment;
pub mod log;
pub mod loss;
mod random;
pub mod samples;
