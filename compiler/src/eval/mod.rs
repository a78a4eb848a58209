//! What a network finds and how good that is: decoding, suppression, mAP, agreement, losses.

mod bbox;
mod bootstrap;
mod decode;
mod detector;
mod map;
mod nms;

pub use bbox::BBox;
pub use bootstrap::{Interval, bootstrap_map, bootstrap_mean, bootstrap_paired_map};
pub use decode::{Candidate, Detection, Head, HeadKind, Heads, Place, decode};
pub use detector::{Detector, detect_all, heads_all};
pub use map::{ClassResult, MapOptions, MeanAp, mean_ap};
pub use nms::suppress;

/// Threshold on objectness and on objectness × class at which Darknet measures mAP.
pub const MAP_THRESH: f32 = 0.005;
/// Threshold of non-maximum suppression that Darknet uses everywhere.
pub const NMS_THRESH: f32 = 0.45;

#[cfg(test)]
mod golden;
