//! Gaussian blur of whole images, or of all but their objects.

use rand_chacha::ChaCha8Rng;

use secateur_data::Truth;
use secateur_ir::Shape;

use super::{Patch, draw_between};

/// Width of the kernel that blurs a detector's background.
const BACKGROUND_WIDTH: usize = 17;
/// Width of a classifier's kernel for `blur=1`.
pub(super) const CLASSIFIER_WIDTH: usize = 15;
/// An object must be so many times as large as a kernel that blurs it.
const OBJECT_FACTOR: usize = 8;

/// How a detector's image is blurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blur {
    None,
    /// Everything outside the labelled boxes.
    Background,
    /// Everything, with a kernel of so many pixels.
    Whole(usize),
}

impl Blur {
    /// Draws one of the three kinds; small objects reduce the kernel.
    ///
    /// As in Darknet, an image without objects is not blurred throughout, and a kernel that shrinks to 1 blurs the
    /// background.
    pub(super) fn draw(key: usize, truths: &[Truth], input: Shape, rng: &mut ChaCha8Rng) -> Self {
        if key == 0 {
            return Self::None;
        }
        let width = match draw_between(rng, 0, 2) {
            0 => return Self::None,
            1 => 1,
            _ => key,
        };
        let smallest = |truth: &Truth| {
            let [w, h] = [truth.bbox.w * input.w as f32, truth.bbox.h * input.h as f32];
            w.min(h) as usize
        };
        let allowed = truths.iter().map(smallest).min().unwrap_or(0) / OBJECT_FACTOR;
        match if width > 1 { width.min(allowed) } else { width } {
            0 => Self::None,
            1 => Self::Background,
            width => Self::Whole(width),
        }
    }

    /// Blurs a part of a view in place; `truths` are relative to the view.
    pub(super) fn apply(self, part: &mut [f32], truths: &[Truth], input: Shape, patch: Patch) {
        let shape = patch.shape(input.c);
        match self {
            Self::None => {}
            Self::Whole(width) => blur(part, shape, width),
            Self::Background => {
                let sharp = part.to_vec();
                blur(part, shape, BACKGROUND_WIDTH);
                for truth in truths {
                    copy_box(part, &sharp, truth, input, patch);
                }
            }
        }
    }
}

/// Copies the pixels of a labelled box from `source` to `target`, both the part of a view that `patch` names.
fn copy_box(target: &mut [f32], source: &[f32], truth: &Truth, input: Shape, patch: Patch) {
    let shape = patch.shape(input.c);
    let edges = truth.bbox.edges();
    let pixel = |edge: usize, axis: usize| {
        let at = edges[edge] * [input.w, input.h][axis] as f32 - patch.from[axis] as f32;
        (at.max(0.0) as usize).min(patch.size[axis])
    };
    let (left, right) = (pixel(0, 0), pixel(2, 0));
    for y in (0..shape.c).flat_map(|c| (pixel(1, 1)..pixel(3, 1)).map(move |y| c * shape.h + y)) {
        let row = y * shape.w + left..y * shape.w + right;
        target[row.clone()].copy_from_slice(&source[row]);
    }
}

/// Blurs planes in place with a Gaussian kernel of `width` pixels (the next odd number); beyond the edges the image is
/// mirrored.
pub(super) fn blur(planes: &mut [f32], shape: Shape, width: usize) {
    let kernel = kernel(width / 2 * 2 + 1);
    let radius = kernel.len() / 2;
    let mut padded = vec![0.0; shape.w + 2 * radius];
    let mut rows = vec![0.0; shape.plane()];
    for plane in planes.chunks_exact_mut(shape.plane().max(1)) {
        for (row, target) in plane.chunks_exact(shape.w).zip(rows.chunks_exact_mut(shape.w)) {
            for (x, value) in padded.iter_mut().enumerate() {
                *value = row[mirrored(x as isize - radius as isize, shape.w)];
            }
            target.fill(0.0);
            for (tap, weight) in kernel.iter().enumerate() {
                add_scaled(target, *weight, &padded[tap..]);
            }
        }
        for (y, target) in plane.chunks_exact_mut(shape.w).enumerate() {
            target.fill(0.0);
            for (tap, weight) in kernel.iter().enumerate() {
                let from = mirrored((y + tap) as isize - radius as isize, shape.h);
                add_scaled(target, *weight, &rows[from * shape.w..]);
            }
            // The kernel's rounded weights may sum to a little more than 1.
            target.iter_mut().for_each(|value| *value = value.min(1.0));
        }
    }
}

fn add_scaled(target: &mut [f32], weight: f32, source: &[f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += weight * source;
    }
}

/// The position within `0..length` that a position outside is mirrored to, without repeating the edge.
fn mirrored(at: isize, length: usize) -> usize {
    let last = length as isize - 1;
    if last == 0 {
        return 0;
    }
    let at = at.rem_euclid(2 * last);
    at.min(2 * last - at) as usize
}

/// A Gaussian kernel with the standard deviation that OpenCV takes for a width: `0.3 ((width − 1) / 2 − 1) + 0.8`.
fn kernel(width: usize) -> Vec<f32> {
    let radius = (width / 2) as f64;
    let deviation = 0.3 * (radius - 1.0) + 0.8;
    let weight = |tap: usize| libm::exp(-(tap as f64 - radius).powi(2) / (2.0 * deviation * deviation));
    let weights: Vec<f64> = (0..width).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use secateur_base::BBox;

    const INPUT: Shape = Shape::new(3, 64, 96);

    fn checks() -> Vec<f32> {
        (0..INPUT.len()).map(|i| ((i + i / INPUT.w) % 2) as f32).collect()
    }

    #[test]
    fn a_blur_keeps_the_mean_and_flattens_what_is_fine() {
        for width in [3, 4, 15, 17, 99] {
            let mut planes = vec![0.25; INPUT.len()];
            blur(&mut planes, INPUT, width);
            assert!(planes.iter().all(|v| (v - 0.25).abs() < 1e-5), "{width}");
        }
        let mut planes = checks();
        blur(&mut planes, INPUT, 17);
        assert!(planes.iter().all(|v| (v - 0.5).abs() < 0.05));
        // A single bright pixel becomes the kernel.
        let mut planes = vec![0.0; INPUT.len()];
        planes[20 * INPUT.w + 30] = 1.0;
        blur(&mut planes, INPUT, 5);
        let centre = kernel(5)[2] * kernel(5)[1];
        assert!((planes[20 * INPUT.w + 31] - centre).abs() < 1e-6);
        assert!((planes.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn objects_stay_sharp_in_a_blurred_background() {
        let truth = Truth { class: 0, bbox: BBox { x: 0.5, y: 0.5, w: 0.25, h: 0.25 } };
        let before = checks();
        let mut after = before.clone();
        Blur::Background.apply(&mut after, &[truth], INPUT, Patch::full(INPUT));
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let (x, y) = (index % INPUT.w, index / INPUT.w % INPUT.h);
            let inside = (36..60).contains(&x) && (24..40).contains(&y);
            assert_eq!(before == after, inside, "{x},{y}");
        }
    }

    #[test]
    fn the_smallest_object_limits_the_kernel() {
        let drawn = |key: usize, side: f32| -> Vec<Blur> {
            let truth = Truth { class: 0, bbox: BBox { x: 0.5, y: 0.5, w: side, h: side } };
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            (0..50).map(|_| Blur::draw(key, &[truth], INPUT, &mut rng)).collect()
        };
        assert!(drawn(0, 0.9).iter().all(|blur| *blur == Blur::None));
        let large = drawn(5, 0.9);
        assert!([Blur::None, Blur::Background, Blur::Whole(5)].iter().all(|kind| large.contains(kind)));
        // 0.3 of 64 pixels allow a kernel of 2, a tenth none.
        assert!(drawn(5, 0.3).contains(&Blur::Whole(2)));
        assert!(!drawn(5, 0.1).iter().any(|blur| matches!(blur, Blur::Whole(_))));
    }
}
