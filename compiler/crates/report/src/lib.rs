//! Reports: one model that is written and read as JSON, and its forms as text, charts and drawings.

mod build;
mod canvas;
mod chart;
mod curves;
mod draw;
mod glyphs;
mod layers;
mod memory;
pub mod model;
mod sheet;
mod text;

pub use build::{BuildReport, Stage};
pub use curves::Curves;
pub use draw::{draw_detections, draw_truths};
pub use layers::{LayerCodes, LayerFolder};
pub use memory::MemoryPicture;
pub use model::{AccuracyReport, ClassifierReport, DetectorReport, read_json, to_json};
pub use sheet::contact_sheet;
