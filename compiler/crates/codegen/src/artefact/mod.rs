//! The artefact: a lowered network's records, constants and provenance as bytes, and its manifest.

mod heads;
mod manifest;
mod npu;
mod steps;
mod write;
mod writer;

pub use manifest::{Manifest, ManifestSizes, PatchSummary, manifest};
pub use write::write;
