//! From head tensors to candidate boxes, as Darknet's yolo, region and detection layers do.

use std::cmp::Ordering;

use secateur_base::BBox;

use super::suppress;
use secateur_base::{Error, Result};
use secateur_data::Frame;
use secateur_ir::{self as graph, Graph, NmsKind, Op, Shape};

/// Exponent of the distance term where a cfg does not name `beta_nms`.
const DEFAULT_BETA_NMS: f32 = 0.6;

/// One detection layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Darknet's layer number.
    pub layer: usize,
    /// Shape of the layer's output.
    pub shape: Shape,
    pub kind: HeadKind,
}

/// The three generations of heads.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadKind {
    Yolo(graph::Yolo),
    Region(graph::Region),
    Detection(graph::Detection),
}

/// All heads of a network and how their boxes are suppressed.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// Shape of the network's input.
    pub input: Shape,
    pub classes: usize,
    pub heads: Vec<Head>,
    /// From the last head, as in Darknet.
    pub nms_kind: NmsKind,
    pub beta_nms: f32,
}

/// The place of a head that a box came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Index into [`Heads::heads`].
    pub head: usize,
    /// Index among the head's anchors.
    pub anchor: usize,
    /// `row · width + column`.
    pub cell: usize,
}

/// A box over the threshold with all its classes over the threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub bbox: BBox,
    pub objectness: f32,
    pub place: Place,
    /// `(class, objectness × class)` by rising class; suppression sets the product to 0.
    pub scores: Vec<(usize, f32)>,
}

/// One found object: a box and one class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    pub class: usize,
    /// Objectness × class.
    pub prob: f32,
    pub objectness: f32,
    /// In fractions of the image, not clipped.
    pub bbox: BBox,
    pub place: Place,
}

impl Heads {
    /// The heads of a graph; none for a classifier.
    ///
    /// Fails where the heads differ in their number of classes.
    pub fn of(graph: &Graph) -> Result<Self> {
        let mut found = Self {
            input: graph.input,
            classes: 0,
            heads: Vec::new(),
            nms_kind: NmsKind::Default,
            beta_nms: DEFAULT_BETA_NMS,
        };
        for (layer, node) in graph.nodes.iter().enumerate() {
            let (classes, kind) = match &node.op {
                Op::Yolo(yolo) => (yolo.classes, HeadKind::Yolo(yolo.clone())),
                Op::Region(region) => (region.classes, HeadKind::Region(region.clone())),
                Op::Detection(detection) => (detection.classes, HeadKind::Detection(detection.clone())),
                _ => continue,
            };
            if found.classes != 0 && found.classes != classes {
                let error = Error::new("heads differ in their number of classes")
                    .found(format!("classes={classes}"))
                    .allowed(format!("classes={} as in the head before", found.classes));
                return Err(graph.locate(layer, error));
            }
            (found.nms_kind, found.beta_nms) = match &kind {
                HeadKind::Yolo(yolo) => (yolo.nms_kind, yolo.beta_nms),
                _ => (NmsKind::Default, DEFAULT_BETA_NMS),
            };
            found.classes = classes;
            found.heads.push(Head { layer, shape: node.shape, kind });
        }
        Ok(found)
    }
}

impl Head {
    /// Boxes of one cell.
    pub fn anchors(&self) -> usize {
        match &self.kind {
            HeadKind::Yolo(yolo) => yolo.mask.len(),
            HeadKind::Region(region) => region.anchors.len(),
            HeadKind::Detection(detection) => detection.num,
        }
    }

    /// Columns and rows of cells.
    pub fn grid(&self) -> (usize, usize) {
        match &self.kind {
            HeadKind::Detection(detection) => (detection.side, detection.side),
            HeadKind::Yolo(_) | HeadKind::Region(_) => (self.shape.w, self.shape.h),
        }
    }

    /// Index of a box's value; `entry` counts x, y, w, h, objectness, classes.
    fn index(&self, anchor: usize, cell: usize, entry: usize) -> usize {
        match &self.kind {
            HeadKind::Yolo(yolo) => (anchor * (5 + yolo.classes) + entry) * self.shape.plane() + cell,
            HeadKind::Region(region) => {
                let entries = region.coords + 1 + region.classes;
                // Coordinates beyond four (masks) stand between h and objectness.
                let skipped = if entry < 4 { 0 } else { region.coords.saturating_sub(4) };
                (cell * region.anchors.len() + anchor) * entries + entry + skipped
            }
            HeadKind::Detection(d) => {
                let cells = d.side * d.side;
                match entry {
                    0..4 => cells * (d.classes + d.num) + (cell * d.num + anchor) * 4 + entry,
                    4 => cells * d.classes + cell * d.num + anchor,
                    _ => cell * d.classes + entry - 5,
                }
            }
        }
    }

    /// Probability that there is an object.
    pub fn objectness(&self, output: &[f32], anchor: usize, cell: usize) -> f32 {
        output[self.index(anchor, cell, 4)]
    }

    /// Probability of `class`, given that there is an object.
    pub fn probability(&self, output: &[f32], anchor: usize, cell: usize, class: usize) -> f32 {
        output[self.index(anchor, cell, 5 + class)]
    }

    /// Objectness × class at a place; `output` is the head's tensor as Darknet holds it.
    pub fn score(&self, output: &[f32], place: Place, class: usize) -> f32 {
        let Place { anchor, cell, .. } = place;
        self.objectness(output, anchor, cell) * self.probability(output, anchor, cell, class)
    }

    /// The box, in fractions of the network's input of shape `input`.
    pub fn bbox(&self, input: Shape, output: &[f32], anchor: usize, cell: usize) -> BBox {
        let raw = [0, 1, 2, 3].map(|entry| output[self.index(anchor, cell, entry)]);
        let (columns, rows) = self.grid();
        let centre = |raw: f32, place: usize, cells: usize| (place as f32 + raw) / cells as f32;
        let exponential = |raw: f32, anchor: f32, unit: usize| {
            (f64::from(raw).exp() * f64::from(anchor) / unit as f64) as f32
        };
        let (x, y, w, h) = match &self.kind {
            HeadKind::Yolo(yolo) => {
                let (anchor_w, anchor_h) = yolo.anchors[yolo.mask[anchor]];
                let size = |raw: f32, anchor: f32, net: usize| {
                    if yolo.new_coords {
                        raw * raw * 4.0 * anchor / net as f32
                    } else {
                        exponential(raw, anchor, net)
                    }
                };
                (raw[0], raw[1], size(raw[2], anchor_w, input.w), size(raw[3], anchor_h, input.h))
            }
            HeadKind::Region(region) => {
                let (anchor_w, anchor_h) = region.anchors[anchor];
                let (w, h) = (exponential(raw[2], anchor_w, columns), exponential(raw[3], anchor_h, rows));
                (logistic(raw[0]), logistic(raw[1]), w, h)
            }
            HeadKind::Detection(d) => {
                let size = |raw: f32| if d.sqrt { raw * raw } else { raw };
                (raw[0], raw[1], size(raw[2]), size(raw[3]))
            }
        };
        BBox { x: centre(x, cell % columns, columns), y: centre(y, cell / columns, rows), w, h }
    }
}

/// Finds the boxes of one image and suppresses doubles.
///
/// `outputs` holds one tensor a head, in the order of [`Heads::heads`], as Darknet's layers leave
/// them: yolo `[anchor][x, y, w, h, objectness, classes…][h][w]` with the logistic applied to all
/// but w and h; region `[h][w][anchor][x, y, w, h, objectness, classes…]`; detection as YOLOv1.
/// A box needs objectness above `thresh` (region: none), a class objectness × class above it.
///
/// The order is Darknet's: boxes as its sorting class by class leaves them, classes rising.
pub fn decode(heads: &Heads, outputs: &[Vec<f32>], frame: Frame, thresh: f32, nms: f32) -> Vec<Detection> {
    let mut candidates = candidates(heads, outputs, frame, thresh);
    suppress(&mut candidates, heads.nms_kind, heads.beta_nms, nms);
    candidates
        .iter()
        .flat_map(|candidate| {
            candidate.scores.iter().filter(|(_, prob)| *prob > 0.0).map(|&(class, prob)| Detection {
                class,
                prob,
                objectness: candidate.objectness,
                bbox: candidate.bbox,
                place: candidate.place,
            })
        })
        .collect()
}

/// The boxes over the threshold before suppression, in the order of Darknet's loops.
pub(super) fn candidates(heads: &Heads, outputs: &[Vec<f32>], frame: Frame, thresh: f32) -> Vec<Candidate> {
    assert_eq!(outputs.len(), heads.heads.len(), "one tensor a head");
    let mut found = Vec::new();
    for (index, (head, output)) in heads.heads.iter().zip(outputs).enumerate() {
        let (columns, rows) = head.grid();
        // Only [yolo] drops a box by its objectness alone.
        let gate = if matches!(head.kind, HeadKind::Yolo(_)) { thresh } else { f32::NEG_INFINITY };
        for cell in 0..columns * rows {
            for anchor in 0..head.anchors() {
                let objectness = head.objectness(output, anchor, cell);
                if objectness <= gate || objectness.is_nan() {
                    continue;
                }
                let scores: Vec<(usize, f32)> = (0..heads.classes)
                    .map(|class| (class, objectness * head.probability(output, anchor, cell, class)))
                    .filter(|&(_, prob)| prob > thresh)
                    .collect();
                if !scores.is_empty() {
                    let mut bbox = head.bbox(heads.input, output, anchor, cell);
                    frame.to_image(&mut bbox);
                    found.push(Candidate {
                        bbox,
                        objectness,
                        place: Place { head: index, anchor, cell },
                        scores,
                    });
                }
            }
        }
    }
    found
}

/// Darknet's logistic, in double precision inside.
fn logistic(x: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(x)).exp())) as f32
}

impl Candidate {
    /// Order after Darknet's stable sorts by every class up to `class`: falling by that class,
    /// equal ones by the class before it, and so on.
    pub(super) fn order_up_to(&self, other: &Self, class: usize) -> Ordering {
        let below = |scores: &[(usize, f32)]| scores.partition_point(|&(c, _)| c <= class);
        let mine = self.scores[..below(&self.scores)].iter().rev();
        let theirs = other.scores[..below(&other.scores)].iter().rev();
        for ((my_class, my_prob), (their_class, their_prob)) in mine.zip(theirs) {
            match my_class.cmp(their_class) {
                // A class that the other lacks: its probability there is 0.
                Ordering::Greater => return Ordering::Less,
                Ordering::Less => return Ordering::Greater,
                Ordering::Equal => match their_prob.total_cmp(my_prob) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
        below(&other.scores).cmp(&below(&self.scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(input: Shape, shape: Shape, classes: usize, kind: HeadKind) -> Heads {
        let heads = vec![Head { layer: 0, shape, kind }];
        Heads { input, classes, heads, nms_kind: NmsKind::Default, beta_nms: DEFAULT_BETA_NMS }
    }

    fn assert_close(bbox: BBox, expected: [f32; 4]) {
        for (value, expected) in [bbox.x, bbox.y, bbox.w, bbox.h].into_iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{bbox:?}, expected {expected:?}");
        }
    }

    #[test]
    fn region_boxes_are_in_cells() {
        let region = graph::Region {
            classes: 2,
            coords: 4,
            anchors: vec![(1.0, 2.0), (0.5, 0.5)],
            softmax: true,
            background: false,
        };
        let input = Shape::new(3, 64, 128);
        let heads = heads(input, Shape::new(14, 2, 4), 2, HeadKind::Region(region));
        // Cell (column 3, row 1), second anchor.
        let mut output = vec![0.0; 14 * 8];
        let first = (7 * 2 + 1) * 7;
        output[first..first + 7].copy_from_slice(&[0.0, 0.0, 2.0_f32.ln(), 0.0, 0.8, 0.25, 0.75]);
        let found = decode(&heads, &[output], Frame::stretched(input), 0.25, 0.45);
        assert_eq!(found.len(), 1, "the other class stays below the threshold: {found:?}");
        assert_eq!((found[0].class, found[0].place.anchor, found[0].place.cell), (1, 1, 7));
        assert!((found[0].prob - 0.6).abs() < 1e-6);
        assert_close(found[0].bbox, [3.5 / 4.0, 1.5 / 2.0, 1.0 / 4.0, 0.5 / 2.0]);
    }

    #[test]
    fn detection_boxes_are_in_shares_and_roots() {
        let detection =
            graph::Detection { classes: 2, coords: 4, side: 2, num: 2, sqrt: true, softmax: false };
        let input = Shape::new(3, 32, 32);
        let heads = heads(input, Shape::new(4 * 12, 1, 1), 2, HeadKind::Detection(detection));
        // 4 cells: 8 class values, 8 confidences, 32 coordinates.
        let mut output = vec![0.0; 48];
        (output[2 * 2], output[2 * 2 + 1]) = (0.9, 0.1);
        output[8 + 2 * 2 + 1] = 0.5;
        let coordinates = 16 + (2 * 2 + 1) * 4;
        output[coordinates..coordinates + 4].copy_from_slice(&[0.5, 0.25, 0.6, 0.8]);
        let found = decode(&heads, &[output], Frame::stretched(input), 0.2, 0.45);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].class, found[0].place.anchor, found[0].place.cell), (0, 1, 2));
        assert_close(found[0].bbox, [0.25, 1.25 / 2.0, 0.36, 0.64]);
    }

    #[test]
    fn a_letterboxed_box_returns_to_the_image() {
        let input = Shape::new(3, 100, 100);
        let frame = Frame::letterboxed(input, 200, 100);
        let mut bbox = BBox { x: 0.5, y: 0.25, w: 0.5, h: 0.25 };
        frame.to_image(&mut bbox);
        // The image takes the rows from 25 to 75.
        assert_close(bbox, [0.5, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn new_coordinates_are_squares() {
        let yolo = graph::Yolo {
            classes: 1,
            mask: vec![1],
            anchors: vec![(1.0, 1.0), (8.0, 4.0)],
            scale_x_y: 2.0,
            new_coords: true,
            nms_kind: NmsKind::Greedy,
            beta_nms: 0.6,
        };
        let input = Shape::new(3, 32, 32);
        let heads = heads(input, Shape::new(6, 1, 1), 1, HeadKind::Yolo(yolo));
        let output = vec![0.5, 0.25, 0.5, 1.0, 0.9, 0.9];
        let found = decode(&heads, std::slice::from_ref(&output), Frame::stretched(input), 0.5, 0.45);
        assert_close(found[0].bbox, [0.5, 0.25, 0.25, 0.5]);
        let nan = [vec![0.5, 0.25, 0.5, 1.0, f32::NAN, 0.9]];
        assert!(decode(&heads, &nan, Frame::stretched(input), 0.5, 0.45).is_empty());
        let nan = [[&output[..5], &[f32::NAN]].concat()];
        assert!(decode(&heads, &nan, Frame::stretched(input), 0.5, 0.45).is_empty());
    }
}
