//! Losses against labels: smooth where mAP jumps, so fit to steer by with few images.

use std::collections::HashMap;

use serde::Serialize;

use super::{Head, HeadKind, Heads, TruthIndex};
use secateur_base::BBox;
use secateur_data::{Frame, Truth};

/// Probabilities are kept this far from 0 and 1.
const EPSILON: f32 = 1e-7;

/// Head, anchor and cell of a box.
type BoxIndex = (usize, usize, usize);

/// The parts of [`detection_loss`], summed over the images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LossTerms {
    /// Binary cross-entropy of objectness over all boxes that are not ignored.
    pub objectness: f64,
    /// Binary cross-entropy of the classes at the boxes that own an object.
    pub class: f64,
    /// 1 − IoU of the boxes that own an object.
    pub bbox: f64,
    pub truths: usize,
}

impl LossTerms {
    /// Sum of the parts.
    pub fn sum(&self) -> f64 {
        self.objectness + self.class + self.bbox
    }

    /// Loss of an object.
    pub fn mean(&self) -> f64 {
        self.sum() / self.truths.max(1) as f64
    }

    /// Adds another image.
    pub fn add(&mut self, other: &Self) {
        self.objectness += other.objectness;
        self.class += other.class;
        self.bbox += other.bbox;
        self.truths += other.truths;
    }
}

/// Loss of one image's head tensors, in the manner of YOLOv3's training without its weights.
///
/// An object belongs to the anchor whose shape fits it best, among all anchors of all heads, in the
/// cell of its centre (YOLOv1: to the box of that cell that overlaps it most). A box without an object of
/// its own that overlaps some object by more than .7 is not blamed. `outputs` as in [`super::decode`].
pub fn detection_loss(heads: &Heads, outputs: &[Vec<f32>], frame: Frame, truths: &TruthIndex) -> LossTerms {
    let mut terms = LossTerms { truths: truths.truths().len(), ..LossTerms::default() };
    let shapes = anchor_shapes(heads, frame);
    // The boxes that own an object, and what each costs for a class: many objects may share one.
    let mut owned: HashMap<BoxIndex, BBox> = HashMap::new();
    let mut costs: HashMap<(BoxIndex, usize), [f64; 2]> = HashMap::new();
    for truth in truths.truths() {
        let Some(owner) = owner(heads, outputs, frame, &shapes, truth) else { continue };
        let (head, anchor, cell) = owner;
        let (layout, output) = (&heads.heads[head], &outputs[head]);
        let bbox = owned.entry(owner).or_insert_with(|| {
            let mut bbox = layout.bbox(heads.input, output, anchor, cell);
            frame.to_image(&mut bbox);
            bbox
        });
        let iou = bbox.iou(&truth.bbox);
        terms.bbox += f64::from(1.0 - if iou.is_nan() { 0.0 } else { iou });
        let [objectness, class] = costs.entry((owner, truth.class)).or_insert_with(|| {
            let classes = (0..heads.classes)
                .map(|class| entropy(layout.probability(output, anchor, cell, class), class == truth.class));
            [entropy(layout.objectness(output, anchor, cell), true), classes.sum::<f64>()]
        });
        terms.objectness += *objectness;
        terms.class += *class;
    }
    for (index, (head, output)) in heads.heads.iter().zip(outputs).enumerate() {
        let (columns, rows) = head.grid();
        for cell in 0..columns * rows {
            for anchor in 0..head.anchors() {
                if owned.contains_key(&(index, anchor, cell)) {
                    continue;
                }
                let mut bbox = head.bbox(heads.input, output, anchor, cell);
                frame.to_image(&mut bbox);
                if !truths.overlaps(&bbox) {
                    terms.objectness += entropy(head.objectness(output, anchor, cell), false);
                }
            }
        }
    }
    terms
}

/// −ln of the probability that a classifier gives the right class.
pub fn cross_entropy(output: &[f32], class: usize) -> f64 {
    -f64::from(output[class].clamp(EPSILON, 1.0)).ln()
}

fn entropy(probability: f32, expected: bool) -> f64 {
    let likelihood = if expected { probability } else { 1.0 - probability };
    -f64::from(likelihood.clamp(EPSILON, 1.0)).ln()
}

/// Width and height of every head's anchors in fractions of the image; YOLOv1 has none.
fn anchor_shapes(heads: &Heads, frame: Frame) -> Vec<Vec<Option<(f32, f32)>>> {
    let of_head = |head: &Head| (0..head.anchors()).map(|a| anchor_shape(head, heads, frame, a)).collect();
    heads.heads.iter().map(of_head).collect()
}

/// The box that an object belongs to; none where its centre is outside.
fn owner(
    heads: &Heads,
    outputs: &[Vec<f32>],
    frame: Frame,
    shapes: &[Vec<Option<(f32, f32)>>],
    truth: &Truth,
) -> Option<BoxIndex> {
    let (x, y) = to_input(frame, &truth.bbox);
    if !(0.0..1.0).contains(&x) || !(0.0..1.0).contains(&y) {
        return None;
    }
    let mut best = None;
    let mut best_fit = f32::NEG_INFINITY;
    for (index, (head, shapes)) in heads.heads.iter().zip(shapes).enumerate() {
        let (columns, rows) = head.grid();
        let cell = (y * rows as f32) as usize * columns + (x * columns as f32) as usize;
        for (anchor, &shape) in shapes.iter().enumerate() {
            let fit = match shape {
                Some((w, h)) => BBox { x: 0.0, y: 0.0, w, h }.iou(&BBox { x: 0.0, y: 0.0, ..truth.bbox }),
                None => {
                    let mut bbox = head.bbox(heads.input, &outputs[index], anchor, cell);
                    frame.to_image(&mut bbox);
                    bbox.iou(&truth.bbox)
                }
            };
            if fit > best_fit {
                best_fit = fit;
                best = Some((index, anchor, cell));
            }
        }
    }
    best
}

/// Width and height of an anchor in fractions of the image; YOLOv1 has none.
fn anchor_shape(head: &Head, heads: &Heads, frame: Frame, anchor: usize) -> Option<(f32, f32)> {
    let (w, h) = match &head.kind {
        HeadKind::Yolo(yolo) => {
            let (w, h) = yolo.anchors[yolo.mask[anchor]];
            (w / heads.input.w as f32, h / heads.input.h as f32)
        }
        HeadKind::Region(region) => {
            let ((w, h), (columns, rows)) = (region.anchors[anchor], head.grid());
            (w / columns as f32, h / rows as f32)
        }
        HeadKind::Detection(_) => return None,
    };
    let mut bbox = BBox { x: 0.5, y: 0.5, w, h };
    frame.to_image(&mut bbox);
    Some((bbox.w, bbox.h))
}

/// Centre of a box of the image, in fractions of the network's input.
fn to_input(frame: Frame, bbox: &BBox) -> (f32, f32) {
    let along = |centre: f32, net: usize, inner: usize| {
        let ratio = inner as f32 / net as f32;
        centre * ratio + (1.0 - ratio) / 2.0
    };
    (along(bbox.x, frame.net.0, frame.inner.0), along(bbox.y, frame.net.1, frame.inner.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_ir::{NmsKind, Shape, Yolo};

    /// One head of 2×2 cells, two anchors of 4 and 2 pixels, one class, on an 8×8 input.
    fn heads() -> Heads {
        let yolo = Yolo {
            classes: 1,
            mask: vec![0, 1],
            anchors: vec![(4.0, 4.0), (2.0, 2.0)],
            scale_x_y: 1.0,
            new_coords: false,
            nms_kind: NmsKind::Default,
            beta_nms: 0.6,
        };
        let head = Head { layer: 0, shape: Shape::new(12, 2, 2), kind: HeadKind::Yolo(yolo) };
        let input = Shape::new(3, 8, 8);
        Heads { input, classes: 1, heads: vec![head], nms_kind: NmsKind::Default, beta_nms: 0.6 }
    }

    /// Every box at its anchor's shape in the middle of its cell, objectness `o`, class .5.
    fn output(o: f32) -> Vec<f32> {
        let entry = |value: f32| [value; 4];
        let anchor = [entry(0.5), entry(0.5), entry(0.0), entry(0.0), entry(o), entry(0.5)].concat();
        [anchor.clone(), anchor].concat()
    }

    #[test]
    fn a_perfect_box_pays_for_its_class_alone() {
        let heads = heads();
        let frame = Frame::stretched(heads.input);
        let truth = Truth { class: 0, bbox: BBox { x: 0.75, y: 0.25, w: 0.5, h: 0.5 } };
        let mut right = output(0.0);
        right[4 * 4 + 1] = 1.0;
        let terms = detection_loss(&heads, &[right], frame, &TruthIndex::new(vec![truth]));
        assert!(terms.bbox.abs() < 1e-6 && terms.objectness < 1e-4, "{terms:?}");
        assert!((terms.class - 2.0_f64.ln()).abs() < 1e-6, "{terms:?}");
        assert!((terms.mean() - terms.sum()).abs() < 1e-12);

        let missed = detection_loss(&heads, &[output(0.0)], frame, &TruthIndex::new(vec![truth]));
        assert!(missed.objectness > 10.0, "{missed:?}");
        let shouting = detection_loss(&heads, &[output(0.9)], frame, &TruthIndex::new(vec![truth]));
        let expected = 7.0 * -(0.1_f64.ln()) - 0.9_f64.ln();
        assert!((shouting.objectness - expected).abs() < 1e-4, "{shouting:?}");
    }

    #[test]
    fn small_objects_belong_to_small_anchors() {
        let heads = heads();
        let frame = Frame::stretched(heads.input);
        let truth = Truth { class: 0, bbox: BBox { x: 0.25, y: 0.75, w: 0.2, h: 0.2 } };
        let owner =
            |truth: &Truth| owner(&heads, &[output(0.5)], frame, &anchor_shapes(&heads, frame), truth);
        assert_eq!(owner(&truth), Some((0, 1, 2)));
        let outside = Truth { bbox: BBox { x: 1.2, ..truth.bbox }, ..truth };
        assert_eq!(owner(&outside), None);
    }

    /// The time grows with the labels, not with their product with the boxes.
    #[test]
    fn a_million_labels_take_no_minute() {
        let shape = Shape::new(12, 64, 64);
        let mut heads = heads();
        heads.heads[0].shape = shape;
        let output: Vec<f32> = (0..shape.len()).map(|i| (i % 97) as f32 / 97.0).collect();
        let truth = |i: usize| {
            let [x, y, w, h] = [7919, 104_729, 1_299_709, 15_485_863].map(|p| (i * p % 1009) as f32 / 1009.0);
            Truth { class: 0, bbox: BBox { x, y, w: w / 2.0, h: h / 2.0 } }
        };
        let labels = TruthIndex::new((0..1_000_000).map(truth).collect());
        let began = std::time::Instant::now();
        let terms = detection_loss(&heads, &[output], Frame::stretched(heads.input), &labels);
        assert!(terms.sum().is_finite() && terms.truths == 1_000_000);
        // 8 · 10³ boxes against 10⁶ labels one by one are some 50 s; this takes about one.
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn cross_entropy_of_a_coin() {
        assert!((cross_entropy(&[0.5, 0.5], 1) - 2.0_f64.ln()).abs() < 1e-7);
        assert!(cross_entropy(&[0.0, 1.0], 0).is_finite());
    }
}
