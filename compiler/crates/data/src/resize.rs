//! Darknet's resize and letterbox, bit for bit (`resize_image`, `letterbox_image` in its image.c).

use super::Image;
use secateur_base::BBox;
use secateur_ir::Shape;

/// Grey that fills the bars of a letterboxed image.
const LETTERBOX_FILL: f32 = 0.5;

/// How an image is brought to the network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Fit {
    /// Stretched over the input: Darknet's way for detectors.
    Stretch,
    /// Proportions kept, grey bars: `letter_box=1`.
    Letterbox,
    /// Proportions kept, the middle cut out: Darknet's way for classifiers.
    Crop,
}

impl Fit {
    /// The fit of a detector or classifier: a detector sees the whole image, in its proportions where
    /// `letter_box` is set; a classifier sees the middle.
    pub fn of_network(detector: bool, letter_box: bool) -> Self {
        match (detector, letter_box) {
            (false, _) => Self::Crop,
            (true, true) => Self::Letterbox,
            (true, false) => Self::Stretch,
        }
    }
}

/// Where the image lies within the network's input, both measured in input pixels.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Frame {
    /// Width and height of the network's input.
    pub net: (usize, usize),
    /// Width and height that the image takes there.
    pub inner: (usize, usize),
}

impl Frame {
    /// The image is stretched over the whole input.
    pub fn stretched(net: Shape) -> Self {
        Self { net: (net.w, net.h), inner: (net.w, net.h) }
    }

    /// The image (`w`×`h` pixels) keeps its proportions; bars fill the rest.
    pub fn letterboxed(net: Shape, w: usize, h: usize) -> Self {
        let inner = if (net.w as f32 / w as f32) < (net.h as f32 / h as f32) {
            (net.w, (h * net.w / w).max(1))
        } else {
            ((w * net.h / h).max(1), net.h)
        };
        Self { net: (net.w, net.h), inner }
    }

    /// Moves a box from shares of the image to shares of the network's input.
    pub fn to_net(&self, bbox: &mut BBox) {
        let along = |centre: &mut f32, length: &mut f32, net: usize, inner: usize| {
            let ratio = inner as f32 / net as f32;
            *centre = *centre * ratio + (1.0 - ratio) / 2.0;
            *length *= ratio;
        };
        along(&mut bbox.x, &mut bbox.w, self.net.0, self.inner.0);
        along(&mut bbox.y, &mut bbox.h, self.net.1, self.inner.1);
    }

    /// Moves a box from shares of the network's input to shares of the image.
    pub fn to_image(&self, bbox: &mut BBox) {
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

/// Bilinear with aligned corners, columns first, then rows, in f32.
///
/// Keeps Darknet's order of operations, also where rounding puts the last row's sample just above
/// the last line of the image.
pub fn resize(image: &Image, w: usize, h: usize) -> Image {
    let from = image.shape;
    let shape = Shape::new(from.c, h, w);
    if (from.w, from.h) == (w, h) {
        return image.clone();
    }
    let columns = column_taps(from.w, w);
    let scale = (from.h as f32 - 1.0) / (h as f32 - 1.0);
    let mut data = vec![0.0; shape.len()];
    for (source, target) in image.data.chunks_exact(from.plane()).zip(data.chunks_exact_mut(h * w)) {
        let mut part = Vec::with_capacity(from.h * w);
        for row in source.chunks_exact(from.w) {
            part.extend(columns.iter().map(|&(left, right, dx)| (1.0 - dx) * row[left] + dx * row[right]));
        }
        for (r, out) in target.chunks_exact_mut(w).enumerate() {
            // One row only: Darknet divides by zero here.
            let y = if h == 1 { 0.0 } else { r as f32 * scale };
            let upper = (y as usize).min(from.h - 1);
            let dy = y - upper as f32;
            let above = &part[upper * w..][..w];
            if r == h - 1 || from.h == 1 {
                for (value, a) in out.iter_mut().zip(above) {
                    *value = (1.0 - dy) * a;
                }
            } else {
                let below = &part[(upper + 1).min(from.h - 1) * w..][..w];
                for ((value, a), b) in out.iter_mut().zip(above).zip(below) {
                    *value = (1.0 - dy) * a + dy * b;
                }
            }
        }
    }
    Image { shape, data }
}

/// For every output column: left sample, right sample, weight of the right one.
fn column_taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = (from as f32 - 1.0) / (to as f32 - 1.0);
    let last = from - 1;
    (0..to)
        .map(|column| {
            if column == to - 1 || from == 1 {
                return (last, last, 0.0);
            }
            let x = column as f32 * scale;
            let left = (x as usize).min(last);
            (left, (left + 1).min(last), x - left as f32)
        })
        .collect()
}

/// Resizes with kept proportions into the middle of a grey `w`×`h` image.
pub fn letterbox(image: &Image, w: usize, h: usize) -> Image {
    let shape = Shape::new(image.shape.c, h, w);
    let (inner_w, inner_h) = Frame::letterboxed(shape, image.shape.w, image.shape.h).inner;
    let inner = resize(image, inner_w, inner_h);
    let (left, top) = ((w - inner_w) / 2, (h - inner_h) / 2);
    let mut data = vec![LETTERBOX_FILL; shape.len()];
    for (plane, source) in data.chunks_exact_mut(h * w).zip(inner.data.chunks_exact(inner_w * inner_h)) {
        for (y, row) in source.chunks_exact(inner_w).enumerate() {
            plane[(top + y) * w + left..][..inner_w].copy_from_slice(row);
        }
    }
    Image { shape, data }
}

/// Resizes with kept proportions so that `w`×`h` is covered, and cuts out the middle.
///
/// As in Darknet's classifier the shorter side becomes `w`; where `h` then sticks out, the last
/// rows and columns are repeated.
pub fn crop(image: &Image, w: usize, h: usize) -> Image {
    let Shape { c, h: from_h, w: from_w } = image.shape;
    let (whole_w, whole_h) =
        if from_w < from_h { (w, from_h * w / from_w) } else { (from_w * w / from_h, w) };
    let whole = resize(image, whole_w, whole_h);
    let shape = Shape::new(c, h, w);
    let offset = |whole: usize, cut: usize| (whole as isize - cut as isize) / 2;
    let (left, top) = (offset(whole_w, w), offset(whole_h, h));
    let place =
        |at: usize, offset: isize, whole: usize| (at as isize + offset).clamp(0, whole as isize - 1) as usize;
    let mut data = Vec::with_capacity(shape.len());
    for plane in whole.data.chunks_exact(whole.shape.plane()) {
        for y in 0..h {
            let row = &plane[place(y, top, whole_h) * whole_w..][..whole_w];
            data.extend((0..w).map(|x| row[place(x, left, whole_w)]));
        }
    }
    Image { shape, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(w: usize, h: usize) -> Image {
        let data = (0..w * h).map(|i| (i % w) as f32 + 10.0 * (i / w) as f32).collect();
        Image { shape: Shape::new(1, h, w), data }
    }

    #[test]
    fn corners_stay_and_a_ramp_stays_a_ramp() {
        let out = resize(&ramp(5, 3), 9, 5);
        assert_eq!(out.shape, Shape::new(1, 5, 9));
        for y in 0..5 {
            for x in 0..9 {
                let expected = x as f32 * 0.5 + 10.0 * y as f32 * 0.5;
                assert!((out.data[y * 9 + x] - expected).abs() < 1e-5, "at {x},{y}");
            }
        }
    }

    #[test]
    fn any_size_works() {
        for (w, h) in [(1, 1), (1, 7), (7, 1), (2, 2), (64, 3)] {
            for (to_w, to_h) in [(1, 1), (1, 5), (5, 1), (13, 8)] {
                let out = resize(&ramp(w, h), to_w, to_h);
                assert!(out.data.iter().all(|v| v.is_finite()), "{w}x{h} to {to_w}x{to_h}");
                letterbox(&ramp(w, h), to_w, to_h);
            }
        }
        letterbox(&ramp(3000, 1), 4, 4);
    }

    #[test]
    fn boxes_move_into_the_frame_and_back() {
        let net = Shape::new(3, 320, 416);
        for (w, h) in [(640, 480), (100, 333), (416, 320)] {
            for frame in [Frame::stretched(net), Frame::letterboxed(net, w, h)] {
                let original = BBox { x: 0.25, y: 0.7, w: 0.5, h: 0.125 };
                let mut moved = original;
                frame.to_net(&mut moved);
                assert_eq!(moved == original, frame.inner == frame.net);
                frame.to_image(&mut moved);
                for (a, b) in [
                    (moved.x, original.x),
                    (moved.y, original.y),
                    (moved.w, original.w),
                    (moved.h, original.h),
                ] {
                    assert!((a - b).abs() < 1e-5, "{moved:?} instead of {original:?}");
                }
            }
        }
    }

    #[test]
    fn crop_takes_the_middle() {
        let out = crop(&ramp(8, 4), 4, 4);
        assert_eq!(out.data[..4], [2.0, 3.0, 4.0, 5.0]);
        let tall = crop(&ramp(4, 4), 4, 8);
        assert_eq!((tall.data[0], tall.data[7 * 4]), (0.0, 30.0), "rows repeat");
    }

    #[test]
    fn letterbox_centres_and_fills_with_grey() {
        let out = letterbox(&ramp(4, 2), 8, 8);
        assert_eq!(out.data[0], 0.5);
        assert_eq!(out.data[2 * 8], 0.0, "the image begins in the third row");
        assert_eq!(out.data[5 * 8 + 7], 13.0);
        assert_eq!(out.data[6 * 8], 0.5);
        assert_eq!(Frame::letterboxed(out.shape, 4, 2).inner, (8, 4));
    }
}
