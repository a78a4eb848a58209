//! Tables and pictures of what was done and found.

mod chart;
mod draw;
mod layers;

pub use chart::{Accuracy, Overview, draw_overview};
pub use draw::{draw_detections, save_picture};
pub use layers::{LayerCodes, LayerFolder};
