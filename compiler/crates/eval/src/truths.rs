//! The labelled objects of one image, found by overlap.

use std::collections::HashMap;

use secateur_base::BBox;
use secateur_data::Truth;

/// Overlap (IoU) that [`TruthIndex::overlaps`] asks for: YOLOv3's `ignore_thresh`.
pub(super) const IGNORE_IOU: f32 = 0.7;
/// Two boxes of an IoU above `r` have sides in a ratio above `r`, and centres closer than `1 − r` of the
/// longer side. This `r` is a little lower, so that rounding loses no pair.
const SIDE_RATIO: f32 = 0.69;
/// So few objects are compared one by one.
const MAX_UNSORTED: usize = 64;

/// Size classes and places: two of x, two of y.
type Bin = [i32; 4];

/// Objects of an image. Overlaps are found in time that hardly grows with their number.
#[derive(Debug, Clone, Default)]
pub struct TruthIndex {
    truths: Vec<Truth>,
    /// The boxes, each once; empty where they are few.
    bins: HashMap<Bin, Vec<BBox>>,
}

impl TruthIndex {
    pub fn new(truths: Vec<Truth>) -> Self {
        let mut bins: HashMap<Bin, Vec<BBox>> = HashMap::new();
        if truths.len() > MAX_UNSORTED {
            let bits = |bbox: &BBox| [bbox.x, bbox.y, bbox.w, bbox.h].map(f32::to_bits);
            for bbox in truths.iter().map(|truth| truth.bbox).filter(has_area) {
                let [class_x, class_y] = [bbox.w, bbox.h].map(size_class);
                let bin = [class_x, class_y, place(bbox.x, class_x), place(bbox.y, class_y)];
                bins.entry(bin).or_default().push(bbox);
            }
            for boxes in bins.values_mut() {
                boxes.sort_unstable_by_key(bits);
                boxes.dedup_by_key(|bbox| bits(bbox));
            }
        }
        Self { truths, bins }
    }

    pub fn truths(&self) -> &[Truth] {
        &self.truths
    }

    /// Returns whether a box overlaps some object by more than [`IGNORE_IOU`].
    pub(super) fn overlaps(&self, bbox: &BBox) -> bool {
        let above = |other: &BBox| bbox.iou(other) > IGNORE_IOU;
        if self.bins.is_empty() {
            return self.truths.iter().any(|truth| above(&truth.bbox));
        }
        if !has_area(bbox) {
            return false;
        }
        let near = |class: i32| class - 1..=class + 1;
        near(size_class(bbox.w)).any(|class_x| {
            near(size_class(bbox.h)).any(|class_y| {
                near(place(bbox.x, class_x)).any(|x| {
                    near(place(bbox.y, class_y)).any(|y| {
                        self.bins.get(&[class_x, class_y, x, y]).is_some_and(|boxes| boxes.iter().any(above))
                    })
                })
            })
        })
    }
}

/// Others have no IoU but 0.
fn has_area(bbox: &BBox) -> bool {
    bbox.w > 0.0 && bbox.h > 0.0 && bbox.w.is_finite() && bbox.h.is_finite()
}

/// Sides of the same or of neighbouring classes are those in a ratio above [`SIDE_RATIO`].
fn size_class(side: f32) -> i32 {
    (side.ln() / -SIDE_RATIO.ln()).floor() as i32
}

/// Centres of objects of a size class that can overlap a box are in its place or in neighbouring ones.
fn place(centre: f32, class: i32) -> i32 {
    // The longest side of a box that overlaps one of this class: it may be of the next class.
    let longest = SIDE_RATIO.powi(-(class + 2));
    (centre / ((1.0 - SIDE_RATIO) * longest)).floor().clamp(-1e9, 1e9) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn sorted_objects_overlap_as_unsorted_ones() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut random = |low: f32| BBox {
            x: rng.random_range(-0.1..1.1),
            y: rng.random_range(-0.1..1.1),
            w: rng.random_range(low..0.5f32).powi(2),
            h: rng.random_range(low..0.5f32).powi(2),
        };
        let truths: Vec<Truth> = (0..2000).map(|class| Truth { class, bbox: random(0.0) }).collect();
        let index = TruthIndex::new(truths.clone());
        assert!(!index.bins.is_empty());
        let mut found = 0;
        // Boxes of their own, and neighbours of objects at the edge of the ratio.
        let near = truths.iter().map(|truth| {
            let BBox { x, y, w, h } = truth.bbox;
            let shift = (truth.class % 7) as f32 / 20.0;
            BBox { x: x + shift * w, y, w: w * (0.7 + shift), h }
        });
        let boxes: Vec<BBox> = (0..2000).map(|_| random(0.05)).chain(near).collect();
        for bbox in boxes {
            let plain = truths.iter().any(|truth| truth.bbox.iou(&bbox) > IGNORE_IOU);
            assert_eq!(index.overlaps(&bbox), plain, "{bbox:?}");
            found += usize::from(plain);
        }
        assert!((500..3500).contains(&found), "{found} of 4000 overlap: the test tests one side only");
        let wild = [f32::NAN, f32::INFINITY, -1.0, 0.0, f32::MAX, f32::MIN_POSITIVE];
        for (x, w) in wild.iter().flat_map(|&x| wild.iter().map(move |&w| (x, w))) {
            assert!(!index.overlaps(&BBox { x, y: 0.5, w, h: 0.2 }));
        }
    }
}
