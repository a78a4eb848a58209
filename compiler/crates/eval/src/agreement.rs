//! Agreement of a changed network with the original: detections, scores and head tensors.

use serde::{Deserialize, Serialize};

use super::{Detection, Heads, MapOptions, MeanAp, mean_ap};
use secateur_data::Truth;

/// Detections of the original from this probability on are what the changed network should find.
const AGREE_THRESH: f32 = 0.25;
/// Detections of the original from this probability on take part in the score shift.
const SHIFT_THRESH: f32 = 0.1;

/// The original's detections, taken for truth.
pub fn as_truths(reference: &[Vec<Detection>]) -> Vec<Vec<Truth>> {
    reference
        .iter()
        .map(|image| {
            let sure = image.iter().filter(|detection| detection.prob >= AGREE_THRESH);
            sure.map(|detection| Truth { class: detection.class, bbox: detection.bbox }).collect()
        })
        .collect()
}

/// mAP of `changed` with the detections of `reference` at .25 and above as truth; read
/// [`MeanAp::map_present`], the mean over the classes that the reference found.
pub fn agreement(reference: &[Vec<Detection>], changed: &[Vec<Detection>], classes: usize) -> MeanAp {
    mean_ap(changed, &as_truths(reference), classes, MapOptions::default())
}

/// Shift of scores (objectness × class) at the places of the original's detections of .1 and above.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ScoreShift {
    /// Mean |difference|: dP.
    pub absolute: f64,
    /// Mean difference, changed − original.
    pub signed: f64,
    /// Detections that took part.
    pub places: usize,
    /// `(Σ |difference|, detections)` of every image, for intervals.
    #[serde(skip)]
    pub images: Vec<(f64, f64)>,
}

/// Compares scores: `reference` holds the original's detections of every image, `changed` the
/// head tensors of the changed network, both laid out by `heads`.
pub fn score_shift(heads: &Heads, reference: &[Vec<Detection>], changed: &[Vec<Vec<f32>>]) -> ScoreShift {
    let images = reference.iter().zip(changed);
    ScoreShift::gather(images.map(|(detections, outputs)| ImageShift::of(heads, detections, outputs)))
}

/// Sums over one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ImageShift {
    pub(super) absolute: f64,
    signed: f64,
    places: usize,
}

impl ImageShift {
    /// The original's detections that take part.
    pub(super) fn reference(detections: &[Detection]) -> Vec<Detection> {
        detections.iter().filter(|detection| detection.prob >= SHIFT_THRESH).copied().collect()
    }

    pub(super) fn of(heads: &Heads, reference: &[Detection], changed: &[Vec<f32>]) -> Self {
        let mut shift = Self { absolute: 0.0, signed: 0.0, places: 0 };
        for detection in reference.iter().filter(|detection| detection.prob >= SHIFT_THRESH) {
            let Detection { place, class, prob, .. } = *detection;
            let score = heads.heads[place.head].score(&changed[place.head], place, class);
            let difference = f64::from(score) - f64::from(prob);
            shift.absolute += difference.abs();
            shift.signed += difference;
            shift.places += 1;
        }
        shift
    }
}

impl ScoreShift {
    pub(super) fn gather(images: impl Iterator<Item = ImageShift>) -> Self {
        let mut shift = Self::default();
        for image in images {
            shift.absolute += image.absolute;
            shift.signed += image.signed;
            shift.places += image.places;
            shift.images.push((image.absolute, image.places as f64));
        }
        let places = shift.places.max(1) as f64;
        shift.absolute /= places;
        shift.signed /= places;
        shift
    }
}

/// Signal-to-noise ratio of a changed tensor, gathered over images.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sqnr {
    signal: f64,
    noise: f64,
}

impl Sqnr {
    /// Adds a tensor: `reference` is the signal, the difference to `changed` the noise.
    pub fn add(&mut self, reference: &[f32], changed: &[f32]) {
        assert_eq!(reference.len(), changed.len(), "tensors of one shape");
        for (&x, &y) in reference.iter().zip(changed) {
            let (x, y) = (f64::from(x), f64::from(y));
            self.signal += x * x;
            self.noise += (x - y) * (x - y);
        }
    }

    /// Adds what another has gathered.
    pub fn merge(&mut self, other: &Self) {
        self.signal += other.signal;
        self.noise += other.noise;
    }

    /// In dB; infinite where nothing changed.
    pub fn db(&self) -> f64 {
        10.0 * (self.signal / self.noise).log10()
    }
}

/// SQNR in dB of every head's input over all images; `[image][head]` tensors.
pub fn head_sqnr(reference: &[Vec<Vec<f32>>], changed: &[Vec<Vec<f32>>]) -> Vec<f64> {
    let heads = reference.first().map_or(0, Vec::len);
    (0..heads)
        .map(|head| {
            let mut sqnr = Sqnr::default();
            for (reference, changed) in reference.iter().zip(changed) {
                sqnr.add(&reference[head], &changed[head]);
            }
            sqnr.db()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, HeadKind, Place};
    use secateur_base::BBox;
    use secateur_ir::{NmsKind, Shape, Yolo};

    fn heads() -> Heads {
        let yolo = Yolo {
            classes: 2,
            mask: vec![0],
            anchors: vec![(4.0, 4.0)],
            scale_x_y: 1.0,
            new_coords: false,
            nms_kind: NmsKind::Default,
            beta_nms: 0.6,
        };
        let head = Head { layer: 3, shape: Shape::new(7, 1, 2), kind: HeadKind::Yolo(yolo) };
        let input = Shape::new(3, 8, 8);
        Heads { input, classes: 2, heads: vec![head], nms_kind: NmsKind::Default, beta_nms: 0.6 }
    }

    fn detection(class: usize, prob: f32, cell: usize) -> Detection {
        let bbox = BBox { x: 0.5, y: 0.5, w: 0.2, h: 0.2 };
        Detection { class, prob, objectness: 1.0, bbox, place: Place { head: 0, anchor: 0, cell } }
    }

    #[test]
    fn shift_reads_the_same_place_and_class() {
        let mut output = vec![0.0; 14];
        // Objectness .5 and class 1 .8 in cell 1.
        (output[4 * 2 + 1], output[6 * 2 + 1]) = (0.5, 0.8);
        let reference = vec![vec![detection(1, 0.6, 1), detection(0, 0.2, 0), detection(0, 0.05, 0)]];
        let shift = score_shift(&heads(), &reference, &[vec![output]]);
        assert_eq!(shift.places, 2, "the one below .1 stays out");
        assert!((shift.absolute - (0.2 + 0.2) / 2.0).abs() < 1e-6, "{shift:?}");
        assert!((shift.signed + 0.2).abs() < 1e-6, "{shift:?}");
    }

    #[test]
    fn a_network_agrees_with_itself() {
        let found = vec![vec![detection(1, 0.6, 1), detection(0, 0.2, 0)]];
        assert_eq!(agreement(&found, &found, 2).map_present, 1.0);
        assert_eq!(agreement(&found, &[Vec::new()], 2).map_present, 0.0);
    }

    #[test]
    fn sqnr_of_a_tenth_is_twenty_db() {
        let sqnr = head_sqnr(&[vec![vec![1.0, -2.0]]], &[vec![vec![1.1, -1.8]]]);
        assert!((sqnr[0] - 20.0).abs() < 1e-3, "{sqnr:?}");
    }
}
