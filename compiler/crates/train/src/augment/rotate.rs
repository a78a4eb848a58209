//! A classifier's crop: a random rotation, scale, stretch and place, and its pixels at the network's size.

use rand_chacha::ChaCha8Rng;

use secateur_ir::Shape;
use secateur_ir::training::Augmentation;

use super::colour::Distortion;
use super::{Patch, Pixels, coin, draw_between, draw_factor, draw_uniform};

/// A linear map from pixels of the network's input to pixels of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RotatedCrop {
    /// The position in the image of the input's pixel (0, 0), x before y.
    origin: [f32; 2],
    /// By how much a step to the right moves that position.
    right: [f32; 2],
    /// By how much a step down moves it.
    down: [f32; 2],
}

impl RotatedCrop {
    /// Draws a crop as Darknet's `random_augment_image`: the image is scaled until its shorter side has between
    /// the two sizes of `crop`, stretched by `aspect`, turned by `angle`, and a square of the input's longer
    /// side is cut out somewhere; that square is then brought to the input's size.
    pub(super) fn draw(keys: &Augmentation, image: Shape, rng: &mut ChaCha8Rng, input: Shape) -> Self {
        let aspect = draw_factor(rng, keys.aspect);
        let [low, high] = keys.crop;
        let target = draw_between(rng, low.min(high), low.max(high)).max(1) as f32;
        let [image_w, image_h] = [image.w as f32, image.h as f32];
        let shorter = image_h.min((image_w * aspect).floor()).max(1.0);
        let scale = target / shorter;
        let angle = draw_uniform(rng, -keys.angle, keys.angle).to_radians();
        let size = input.w.max(input.h) as f32;
        let mut shift = |side: f32| {
            let room = ((side * scale - size) / 2.0).max(0.0);
            draw_uniform(rng, -room, room)
        };
        let [dx, dy] = [shift(image_w / aspect), shift(image_h)];
        let flip = keys.flip && coin(rng);
        let (sin, cos) = (libm::sinf(angle), libm::cosf(angle));
        // A step of one pixel of the square, along its x and its y.
        let x_step = [cos / scale * aspect, sin / scale * aspect];
        let y_step = [-sin / scale, cos / scale];
        let step = |side: usize| if side > 1 { (size - 1.0) / (side as f32 - 1.0) } else { 0.0 };
        let (first, step_x) = if flip { (size - 1.0, -step(input.w)) } else { (0.0, step(input.w)) };
        let (x, y) = (first - size / 2.0 + dx, dy - size / 2.0);
        let centre = [image_w / 2.0, image_h / 2.0];
        Self {
            origin: [0, 1].map(|axis| centre[axis] + x * x_step[axis] + y * y_step[axis]),
            right: x_step.map(|along| along * step_x),
            down: y_step.map(|along| along * step(input.h)),
        }
    }

    /// Renders the part of the crop that `patch` names: `[c][patch.size]`, 0..1; black beyond the image.
    pub(super) fn render(
        &self,
        pixels: &Pixels,
        distortion: &Distortion,
        input: Shape,
        patch: Patch,
    ) -> Vec<f32> {
        debug_assert_eq!(pixels.shape.c, input.c);
        match pixels.shape.c {
            1 => self.render_channels::<1>(pixels, distortion, patch),
            3 => self.render_channels::<3>(pixels, distortion, patch),
            other => unreachable!("decoded images have one or three channels, not {other}"),
        }
    }

    fn render_channels<const C: usize>(
        &self,
        pixels: &Pixels,
        distortion: &Distortion,
        patch: Patch,
    ) -> Vec<f32> {
        let [w, h] = patch.size;
        let mut part = vec![0.0; C * w * h];
        if part.is_empty() {
            return part;
        }
        let mut planes: Vec<&mut [f32]> = part.chunks_exact_mut(w * h).collect();
        for y in 0..h {
            let row = (patch.from[1] + y) as f32;
            let start = [0, 1].map(|axis| self.origin[axis] + row * self.down[axis]);
            for x in 0..w {
                let column = (patch.from[0] + x) as f32;
                let value =
                    interpolate::<C>(pixels, [0, 1].map(|axis| start[axis] + column * self.right[axis]));
                for (plane, value) in planes.iter_mut().zip(value) {
                    plane[y * w + x] = value;
                }
            }
            distortion.apply(planes.iter_mut().map(|plane| &mut plane[y * w..][..w]));
        }
        part
    }
}

/// The image at a position between pixels, 0..1 for each channel; pixels beyond the image are black.
fn interpolate<const C: usize>(pixels: &Pixels, [x, y]: [f32; 2]) -> [f32; C] {
    let floor = |value: f32| {
        let truncated = value as i32;
        truncated.saturating_sub(i32::from(truncated as f32 > value))
    };
    let [left, top] = [floor(x), floor(y)];
    let [dx, dy] = [x - left as f32, y - top as f32];
    let Shape { h, w, .. } = pixels.shape;
    let is_inside = left >= 0 && top >= 0 && left < w as i32 - 1 && top < h as i32 - 1;
    let rows = if is_inside {
        // Two neighbours in each row: nearly all positions, and much faster than pixel by pixel.
        let at = (top as usize * w + left as usize) * C;
        [at, at + w * C].map(|at| {
            let (left, right) = pixels.bytes[at..at + 2 * C].split_at(C);
            std::array::from_fn(|c| mix(f32::from(left[c]), f32::from(right[c]), dx))
        })
    } else {
        let value = |row: i32, column: i32, channel: usize| {
            let is_inside = (0..h as i32).contains(&row) && (0..w as i32).contains(&column);
            let at = || (row as usize * w + column as usize) * C + channel;
            if is_inside { f32::from(pixels.bytes[at()]) } else { 0.0 }
        };
        [top, top.saturating_add(1)].map(|row| {
            std::array::from_fn(|c| mix(value(row, left, c), value(row, left.saturating_add(1), c), dx))
        })
    };
    let [above, below]: [[f32; C]; 2] = rows;
    std::array::from_fn(|c| mix(above[c], below[c], dy) / 255.0)
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + weight * (b - a)
}

#[cfg(test)]
mod tests {
    use super::super::no_augmentation;
    use super::*;
    use rand::SeedableRng;

    /// A ramp from left to right, steep enough to tell columns apart.
    fn ramp(w: usize, h: usize) -> Pixels {
        let bytes = (0..w * h).map(|i| (i % w * 2) as u8).collect();
        Pixels { shape: Shape::new(1, h, w), bytes }
    }

    fn rendered(keys: &Augmentation, pixels: &Pixels, input: Shape, seed: u64) -> Vec<f32> {
        let crop = RotatedCrop::draw(keys, pixels.shape, &mut ChaCha8Rng::seed_from_u64(seed), input);
        let plain = Distortion { hue: 0.0, saturation: 1.0, exposure: 1.0 };
        crop.render(pixels, &plain, input, Patch::full(input))
    }

    #[test]
    fn a_crop_of_the_images_own_size_is_its_middle() {
        let input = Shape::new(1, 32, 32);
        let keys = no_augmentation(input);
        // 96 × 32: any 32 columns may be shown.
        let pixels = ramp(96, 32);
        for seed in 0..20 {
            let out = rendered(&keys, &pixels, input, seed);
            assert!(out.chunks(32).all(|row| row == &out[..32]), "rows are equal");
            let step = out[1] - out[0];
            assert!((step * 255.0 - 2.0).abs() < 1e-3, "a pixel is a pixel: {step}");
        }
        let square = rendered(&keys, &ramp(32, 32), input, 0);
        let expected: Vec<f32> = ramp(32, 32).bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        assert!(square.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn beyond_the_image_is_black() {
        let pixels = Pixels { shape: Shape::new(3, 2, 2), bytes: vec![255; 12] };
        for (position, expected) in [
            ([0.0, 0.0], 1.0),
            ([0.5, 0.5], 1.0),
            ([1.0, 1.0], 1.0),
            ([1.25, 0.5], 0.75),
            ([-0.5, -0.5], 0.25),
            ([0.5, 1.75], 0.25),
            ([2.0, 0.0], 0.0),
            ([-1e30, 1e30], 0.0),
        ] {
            assert_eq!(interpolate::<3>(&pixels, position), [expected; 3], "{position:?}");
        }
    }

    #[test]
    fn a_quarter_turn_makes_columns_of_rows() {
        let input = Shape::new(1, 32, 32);
        // `angle` is drawn between its negative and itself: some draws come close to the end.
        let keys = Augmentation { angle: 180.0, ..no_augmentation(input) };
        let slopes: Vec<[f32; 2]> = (0..200)
            .map(|seed| {
                let out = rendered(&keys, &ramp(64, 64), input, seed);
                let at = |x: usize, y: usize| out[y * 32 + x] * 255.0;
                [at(17, 16) - at(16, 16), at(16, 17) - at(16, 16)]
            })
            .collect();
        // The gradient turns and keeps its length: 2 a pixel of the image, two pixels of it in one of the input.
        for [x, y] in &slopes {
            assert!((x.hypot(*y) - 4.0).abs() < 0.02, "{x} {y}");
        }
        assert!(slopes.iter().any(|[x, y]| x.abs() < 0.2 && y.abs() > 3.9));
    }

    #[test]
    fn a_mirrored_crop_is_the_crop_mirrored() {
        let input = Shape::new(1, 24, 32);
        let keys = Augmentation { angle: 20.0, aspect: 1.3, ..no_augmentation(input) };
        let flipped = Augmentation { flip: true, ..keys.clone() };
        let mut mirrored = 0;
        for seed in 0..20 {
            let plain = rendered(&keys, &ramp(50, 40), input, seed);
            let mut other = rendered(&flipped, &ramp(50, 40), input, seed);
            if plain == other {
                continue;
            }
            other.chunks_mut(32).for_each(<[f32]>::reverse);
            assert!(plain.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-4));
            mirrored += 1;
        }
        assert!((3..17).contains(&mirrored), "about half of 20 are mirrored, not {mirrored}");
    }
}
