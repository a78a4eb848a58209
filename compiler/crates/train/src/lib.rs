//! Training: a reverse-mode engine over the operators of the IR, Darknet's losses, schedules and optimisers.

pub mod loss;
pub mod schedule;
