//! SSD's detections.
//!
//! Source: weiliu89/caffe, branch ssd, src/caffe/util/bbox_util.cpp (`DecodeBBox`, `ApplyNMSFast`) and
//! layers/detection_output_layer.cpp.

use secateur_base::{Error, Result};

use crate::op::{BoxCode, DetectionOutput};
use crate::tensor::{DType, Data, Spec, Tensor};

use super::elementwise::tensor;

/// Left, top, right, bottom.
type Edges = [f32; 4];

/// Checks that locations, confidences and prior boxes fit together.
pub(crate) fn infer(op: &DetectionOutput, inputs: &[&Spec]) -> Result<Spec> {
    let [locations, confidences, priors] = [inputs[0], inputs[1], inputs[2]];
    let boxes = priors.shape.last().copied().unwrap_or_default() / 4;
    let images = locations.shape.first().copied().unwrap_or_default();
    let places = if op.share_location { 1 } else { op.classes };
    let fits = |spec: &Spec, each: usize| {
        let wanted = images.checked_mul(boxes).and_then(|count| count.checked_mul(each));
        spec.dtype == DType::F32 && spec.shape.first() == Some(&images) && Some(spec.len()) == wanted
    };
    let are_priors = priors.dtype == DType::F32 && boxes > 0 && priors.len() == 8 * boxes;
    if images > 0 && are_priors && fits(confidences, op.classes) && fits(locations, places.saturating_mul(4))
    {
        return Ok(Spec::new(DType::F32, [1, 1, 1, 7]));
    }
    Err(Error::new("locations, confidences and prior boxes differ in number")
        .found(format!("{locations}, {confidences}, {priors}")))
}

/// Rows of seven numbers, by image and label; where nothing is found one row of −1 for each image.
pub(super) fn detect(op: &DetectionOutput, inputs: &[&Tensor]) -> Tensor {
    let images = inputs[0].shape()[0];
    let [loc, conf, prior] = [0, 1, 2].map(|at| inputs[at].as_f32().unwrap_or_default());
    let rows = rows(op, images, loc, conf, prior);
    tensor(Spec::new(DType::F32, [1, 1, rows.len() / 7, 7]), Data::F32(rows))
}

fn rows(op: &DetectionOutput, images: usize, loc: &[f32], conf: &[f32], prior: &[f32]) -> Vec<f32> {
    let priors = prior.len() / 8;
    let places = if op.share_location { 1 } else { op.classes };
    let (boxes, variances) = prior.split_at(priors * 4);
    let mut rows = Vec::new();
    for image in 0..images {
        let mut found: Vec<(usize, usize, f32, Edges)> = Vec::new();
        for label in (0..op.classes).filter(|label| op.background != Some(*label)) {
            let place = if op.share_location { 0 } else { label };
            let decoded: Vec<Edges> = (0..priors)
                .map(|at| {
                    let four =
                        |data: &[f32], at: usize| -> Edges { std::array::from_fn(|i| data[at * 4 + i]) };
                    let offset = four(loc, (image * priors + at) * places + place);
                    decode(op, offset, four(boxes, at), four(variances, at))
                })
                .collect();
            let scores: Vec<f32> =
                (0..priors).map(|at| conf[(image * priors + at) * op.classes + label]).collect();
            found.extend(
                suppress(op, &scores, &decoded).into_iter().map(|at| (label, at, scores[at], decoded[at])),
            );
        }
        if let Some(keep) = op.keep_top_k.filter(|keep| *keep < found.len()) {
            found.sort_by(|a, b| b.2.total_cmp(&a.2));
            found.truncate(keep);
            // Labels in order, the best first within each.
            found.sort_by_key(|(label, ..)| *label);
        }
        for (label, _, score, edges) in found {
            rows.extend([image as f32, label as f32, score]);
            rows.extend(edges);
        }
    }
    if rows.is_empty() {
        for image in 0..images {
            rows.push(image as f32);
            rows.extend([-1.0; 6]);
        }
    }
    rows
}

fn decode(op: &DetectionOutput, offset: Edges, prior: Edges, variance: Edges) -> Edges {
    let variance = if op.variance_in_target { [1.0; 4] } else { variance };
    let scaled: Edges = std::array::from_fn(|i| offset[i] * variance[i]);
    let [left, top, right, bottom] = prior;
    let (w, h) = (right - left, bottom - top);
    match op.code {
        BoxCode::Corner => std::array::from_fn(|i| prior[i] + scaled[i]),
        BoxCode::CornerSize => {
            [left + scaled[0] * w, top + scaled[1] * h, right + scaled[2] * w, bottom + scaled[3] * h]
        }
        BoxCode::CenterSize => {
            let x = scaled[0] * w + (left + right) / 2.0;
            let y = scaled[1] * h + (top + bottom) / 2.0;
            let (w, h) = (libm::expf(scaled[2]) * w, libm::expf(scaled[3]) * h);
            [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
        }
    }
}

/// The boxes that stay, best first.
fn suppress(op: &DetectionOutput, scores: &[f32], boxes: &[Edges]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|at| scores[*at] > op.confidence).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(op.top_k.unwrap_or(usize::MAX));
    let mut threshold = op.overlap;
    let mut kept: Vec<usize> = Vec::new();
    for at in order {
        if kept.iter().all(|other| overlap(&boxes[at], &boxes[*other]) <= threshold) {
            kept.push(at);
            if op.eta < 1.0 && threshold > 0.5 {
                threshold *= op.eta;
            }
        }
    }
    kept
}

/// Intersection over union of boxes in shares of the image.
fn overlap(a: &Edges, b: &Edges) -> f32 {
    let w = a[2].min(b[2]) - a[0].max(b[0]);
    let h = a[3].min(b[3]) - a[1].max(b[1]);
    if w <= 0.0 || h <= 0.0 {
        return 0.0;
    }
    let area = |edges: &Edges| {
        let (w, h) = (edges[2] - edges[0], edges[3] - edges[1]);
        if w < 0.0 || h < 0.0 { 0.0 } else { w * h }
    };
    w * h / (area(a) + area(b) - w * h)
}
