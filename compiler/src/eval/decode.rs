//! From head tensors to candidate boxes, as Darknet's yolo, region and detection layers do.

use std::cmp::Ordering;

use super::{BBox, suppress};
use crate::data::Frame;
use crate::graph::{self, Graph, NmsKind, Op, Shape};
use crate::{Error, Result};

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
    /// Which of the head's anchors.
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
    /// In shares of the picture, not clipped.
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
                return Err(Error::new("heads differ in their number of classes")
                    .line(node.line)
                    .layer(layer)
                    .section(node.op.name())
                    .found(format!("classes={classes}"))
                    .allowed(format!("classes={} as in the head before", found.classes)));
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

    /// The box, in shares of the network's input of shape `input`.
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

/// Finds the boxes of one picture and suppresses doubles.
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
                    frame.to_picture(&mut bbox);
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

impl Frame {
    /// Moves a box from shares of the network's input to shares of the picture.
    pub fn to_picture(&self, bbox: &mut BBox) {
        let along = |centre: &mut f32, length: &mut f32, net: usize, inner: usize| {
            let ratio = inner as f32 / net as f32;
            let margin = (net - inner) as f64 / 2.0 / net as f64;
            *centre = ((f64::from(*centre) - margin) / f64::from(ratio)) as f32;
            *length *= 1.0 / ratio;
        };
        if self.inner != self.net {
            along(&mut bbox.x, &mut bbox.w, self.net.0, self.inner.0);
            along(&mut bbox.y, &mut bbox.h, self.net.1, self.inner.1);
        }
    }
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
