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
    /// Objectness × class at a place; `output` is the head's tensor as Darknet holds it.
    pub fn score(&self, output: &[f32], place: Place, class: usize) -> f32 {
        let (objectness, probability) = match &self.kind {
            HeadKind::Yolo(yolo) => {
                let cells = self.shape.plane();
                let base = place.anchor * (5 + yolo.classes) * cells + place.cell;
                (output[base + 4 * cells], output[base + (5 + class) * cells])
            }
            HeadKind::Region(region) => {
                let size = region.coords + 1 + region.classes;
                let base = (place.cell * region.anchors.len() + place.anchor) * size;
                (output[base + region.coords], output[base + region.coords + 1 + class])
            }
            HeadKind::Detection(d) => {
                let cells = d.side * d.side;
                (
                    output[cells * d.classes + place.cell * d.num + place.anchor],
                    output[place.cell * d.classes + class],
                )
            }
        };
        objectness * probability
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
        match &head.kind {
            HeadKind::Yolo(yolo) => {
                yolo_candidates(yolo, head.shape, heads.input, index, output, thresh, &mut found)
            }
            HeadKind::Region(region) => {
                region_candidates(region, head.shape, index, output, thresh, &mut found)
            }
            HeadKind::Detection(d) => detection_candidates(d, index, output, thresh, &mut found),
        }
    }
    for candidate in &mut found {
        frame.to_picture(&mut candidate.bbox);
    }
    found
}

fn yolo_candidates(
    yolo: &graph::Yolo,
    shape: Shape,
    input: Shape,
    head: usize,
    output: &[f32],
    thresh: f32,
    found: &mut Vec<Candidate>,
) {
    let cells = shape.plane();
    for cell in 0..cells {
        for (anchor, &mask) in yolo.mask.iter().enumerate() {
            let at = |entry: usize| output[(anchor * (5 + yolo.classes) + entry) * cells + cell];
            let objectness = at(4);
            if objectness <= thresh || objectness.is_nan() {
                continue;
            }
            let (anchor_w, anchor_h) = yolo.anchors[mask];
            let size = |raw: f32, anchor: f32, net: usize| {
                if yolo.new_coords {
                    raw * raw * 4.0 * anchor / net as f32
                } else {
                    (f64::from(raw).exp() * f64::from(anchor) / net as f64) as f32
                }
            };
            let bbox = BBox {
                x: ((cell % shape.w) as f32 + at(0)) / shape.w as f32,
                y: ((cell / shape.w) as f32 + at(1)) / shape.h as f32,
                w: size(at(2), anchor_w, input.w),
                h: size(at(3), anchor_h, input.h),
            };
            let scores = (0..yolo.classes)
                .map(|class| (class, objectness * at(5 + class)))
                .filter(|&(_, prob)| prob > thresh)
                .collect();
            push(found, Candidate { bbox, objectness, place: Place { head, anchor, cell }, scores });
        }
    }
}

fn region_candidates(
    region: &graph::Region,
    shape: Shape,
    head: usize,
    output: &[f32],
    thresh: f32,
    found: &mut Vec<Candidate>,
) {
    let anchors = region.anchors.len();
    let size = region.coords + 1 + region.classes;
    for cell in 0..shape.plane() {
        for (anchor, &(anchor_w, anchor_h)) in region.anchors.iter().enumerate() {
            let entry = &output[(cell * anchors + anchor) * size..][..size];
            let objectness = entry[region.coords];
            let bbox = BBox {
                x: ((cell % shape.w) as f32 + logistic(entry[0])) / shape.w as f32,
                y: ((cell / shape.w) as f32 + logistic(entry[1])) / shape.h as f32,
                w: (f64::from(entry[2]).exp() * f64::from(anchor_w) / shape.w as f64) as f32,
                h: (f64::from(entry[3]).exp() * f64::from(anchor_h) / shape.h as f64) as f32,
            };
            let scores = entry[region.coords + 1..]
                .iter()
                .enumerate()
                .map(|(class, probability)| (class, objectness * probability))
                .filter(|&(_, prob)| prob > thresh)
                .collect();
            push(found, Candidate { bbox, objectness, place: Place { head, anchor, cell }, scores });
        }
    }
}

fn detection_candidates(
    d: &graph::Detection,
    head: usize,
    output: &[f32],
    thresh: f32,
    found: &mut Vec<Candidate>,
) {
    let cells = d.side * d.side;
    let side = d.side as f32;
    let size = |raw: f32| if d.sqrt { raw * raw } else { raw };
    for cell in 0..cells {
        for anchor in 0..d.num {
            let slot = cell * d.num + anchor;
            let objectness = output[cells * d.classes + slot];
            let raw = &output[cells * (d.classes + d.num) + slot * 4..][..4];
            let bbox = BBox {
                x: (raw[0] + (cell % d.side) as f32) / side,
                y: (raw[1] + (cell / d.side) as f32) / side,
                w: size(raw[2]),
                h: size(raw[3]),
            };
            let scores = output[cell * d.classes..][..d.classes]
                .iter()
                .enumerate()
                .map(|(class, probability)| (class, objectness * probability))
                .filter(|&(_, prob)| prob > thresh)
                .collect();
            push(found, Candidate { bbox, objectness, place: Place { head, anchor, cell }, scores });
        }
    }
}

/// Keeps a candidate that has a class over the threshold.
fn push(found: &mut Vec<Candidate>, candidate: Candidate) {
    if !candidate.scores.is_empty() {
        found.push(candidate);
    }
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
            let margin = f64::from((net - inner) as f32) / 2.0 / net as f64;
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
