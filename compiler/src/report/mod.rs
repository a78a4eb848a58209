//! Tables and pictures of what was done.

mod chart;

pub use chart::{Accuracy, Overview, draw_overview};
