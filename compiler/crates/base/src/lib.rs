//! What every stage shares: errors with their place, files that are written whole or not at all,
//! progress, and bounding boxes.

mod bbox;
pub mod error;
pub mod files;
pub mod progress;

pub use bbox::BBox;
pub use error::{Error, Result};
