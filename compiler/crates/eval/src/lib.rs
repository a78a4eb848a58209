//! Evaluates networks: decoding, suppression, mAP, agreement, losses, and the evaluator over them.

mod agreement;
mod bootstrap;
mod compare;
mod decode;
mod detector;
mod evaluator;
pub mod fixed_point;
#[cfg(test)]
mod golden;
mod loss;
mod map;
mod metric;
mod nms;
mod topk;
mod truths;

pub use agreement::{ScoreShift, Sqnr, agreement, as_truths, head_sqnr, score_shift};
pub use bootstrap::{Interval, bootstrap_map, bootstrap_mean, bootstrap_paired_map};
pub use compare::{Comparison, compare};
pub use decode::{Candidate, Detection, Head, HeadKind, Heads, Place, decode};
pub use detector::{Detector, FloatDetector, detect_all, heads_all};
pub use evaluator::Evaluator;
pub use loss::{LossTerms, cross_entropy, detection_loss};
pub use map::{ClassResult, MapOptions, MeanAp, mean_ap};
pub use metric::{Accuracy, BROKEN_LOSS, ImageResult, Metric};
pub use nms::suppress;
pub use topk::{TopK, label_of_path, top_k, top_k_accuracy, top_k_hits};
pub use truths::TruthIndex;

/// Threshold on objectness and on objectness × class at which Darknet measures mAP.
pub const MAP_THRESH: f32 = 0.005;
/// Threshold of non-maximum suppression that Darknet uses everywhere.
pub const NMS_THRESH: f32 = 0.45;
