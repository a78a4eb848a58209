//! A detector's crop: its random window in the image, and its pixels at the network's size in one pass.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use secateur_ir::Shape;
use secateur_ir::training::Augmentation;

use super::colour::Distortion;
use super::{Patch, Pixels, coin};

/// The window of an image that fills the network's input, in the image's pixels. It may reach beyond the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Width and height of the image.
    pub(super) image: [i32; 2],
    /// Left and top edge.
    pub(super) start: [i32; 2],
    /// Width and height, at least 1.
    pub(super) size: [i32; 2],
    /// The window's content is mirrored left to right.
    pub(super) flip: bool,
}

impl Window {
    /// Draws a window: edges moved by `jitter`, then by `resize`, then apart to the input's proportions for
    /// `letter_box`. Half of a mosaic's images are moved into the `corner` that the mosaic shows of them.
    pub(super) fn draw(
        keys: &Augmentation,
        image: Shape,
        input: Shape,
        flip: bool,
        corner: Option<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let image = [image.w as i32, image.h as i32];
        // One number moves left and top, one right and bottom: the crop is scaled and shifted, not distorted.
        let resize = [rng.random::<f32>(), rng.random::<f32>()];
        // Margins that are cut off (or added, below 0): left, right, top, bottom.
        let mut margins = [0; 4];
        for (index, margin) in margins.iter_mut().enumerate() {
            let side = image[index / 2];
            let jitter = (side as f32 * keys.jitter) as i32;
            let moved = (jitter as f32 * (2.0 * rng.random::<f32>() - 1.0)) as i32;
            let [low, high] = resize_range(side, keys.resize);
            *margin = (moved as f32 + low + (high - low) * resize[index % 2]) as i32;
        }
        if keys.letter_box {
            widen(&mut margins, image, input);
        }
        if let Some(corner) = corner
            && coin(rng)
        {
            push_into_corner(&mut margins, corner, flip);
        }
        let [left, right, top, bottom] = margins;
        let (start, size) = ([left, top], [image[0] - left - right, image[1] - top - bottom]);
        if size.iter().any(|&length| length <= 0) || start[0] >= image[0] || start[1] >= image[1] {
            return Self { image, start: [0; 2], size: image, flip };
        }
        Self { image, start, size, flip }
    }

    /// Columns (or rows) by which the window reaches beyond the end of the image on `axis` (0: x, 1: y); below 0 it
    /// ends within.
    pub(super) fn overhang(&self, axis: usize) -> i32 {
        self.start[axis] + self.size[axis] - self.image[axis]
    }
}

/// By how much `resize` moves an edge of a side of `side` pixels: least and greatest margin.
fn resize_range(side: i32, resize: f32) -> [f32; 2] {
    let margin = |factor: f32| ((side as f32 * (1.0 - 1.0 / factor) / 2.0) as i32) as f32;
    if resize < 1.0 { [margin(resize), 0.0] } else { [margin(1.0 / resize), margin(resize)] }
}

/// Moves two opposite edges apart until the image's own proportions become those of the input.
fn widen(margins: &mut [i32; 4], image: [i32; 2], input: Shape) {
    let [w, h] = image.map(|side| side as f32);
    let proportions = input.w as f32 / input.h as f32;
    let (first, delta) =
        if w / h > proportions { (2, (w / proportions - h) / 2.0) } else { (0, (h * proportions - w) / 2.0) };
    for margin in &mut margins[first..first + 2] {
        *margin = (*margin as f32 - delta) as i32;
    }
}

/// Shifts the window so that its edges away from the mosaic's centre are the image's edges.
///
/// Corners are numbered top left, top right, bottom left, bottom right.
fn push_into_corner(margins: &mut [i32; 4], corner: usize, flip: bool) {
    let [left, right, top, bottom] = margins;
    let on_the_right = corner % 2 == 1;
    if on_the_right == flip {
        (*left, *right) = (0, *right + *left);
    } else {
        (*left, *right) = (*left + *right, 0);
    }
    if corner < 2 {
        (*top, *bottom) = (0, *bottom + *top);
    } else {
        (*top, *bottom) = (*top + *bottom, 0);
    }
}

/// Renders the part of the window that `patch` names: `[c][patch.size]`, 0..1.
///
/// Bilinear with aligned corners as [`secateur_data::resize`]; beyond the image its edge is repeated. Rows of the
/// source are blended first, then columns picked, so that nothing larger than one row is kept.
pub(super) fn render(
    pixels: &Pixels,
    window: &Window,
    distortion: &Distortion,
    input: Shape,
    patch: Patch,
) -> Vec<f32> {
    match pixels.shape.c {
        1 => render_channels::<1>(pixels, window, distortion, input, patch),
        3 => render_channels::<3>(pixels, window, distortion, input, patch),
        other => unreachable!("decoded images have one or three channels, not {other}"),
    }
}

fn render_channels<const C: usize>(
    pixels: &Pixels,
    window: &Window,
    distortion: &Distortion,
    input: Shape,
    patch: Patch,
) -> Vec<f32> {
    let [w, h] = patch.size;
    let mut part = vec![0.0; C * w * h];
    if part.is_empty() {
        return part;
    }
    let columns = columns(window, input, patch);
    let first = columns.iter().map(|tap| tap.low).min().unwrap_or(0);
    let last = columns.iter().map(|tap| tap.high).max().unwrap_or(0);
    let pitch = pixels.shape.w * C;
    let width = (last - first + 1) * C;
    let mut row = vec![0.0; width];
    let mut planes: Vec<&mut [f32]> = part.chunks_exact_mut(w * h).collect();
    for y in 0..h {
        let tap = Tap::new(window, 1, patch.from[1] + y, input.h);
        let line = |index: usize| &pixels.bytes[index * pitch + first * C..][..width];
        blend(&mut row, tap.weight, [tap.low, tap.high].map(line));
        for (x, tap) in columns.iter().enumerate() {
            let (low, high) = ((tap.low - first) * C, (tap.high - first) * C);
            let (low, high) = (&row[low..low + C], &row[high..high + C]);
            for (channel, plane) in planes.iter_mut().enumerate() {
                plane[y * w + x] = low[channel] + tap.weight * (high[channel] - low[channel]);
            }
        }
        distortion.apply(planes.iter_mut().map(|plane| &mut plane[y * w..][..w]));
    }
    part
}

/// `row = (1 − weight) · above + weight · below`, scaled from bytes to 0..1.
fn blend(row: &mut [f32], weight: f32, [above, below]: [&[u8]; 2]) {
    let [above_weight, below_weight] = [(1.0 - weight) / 255.0, weight / 255.0];
    for ((value, above), below) in row.iter_mut().zip(above).zip(below) {
        *value = above_weight * f32::from(*above) + below_weight * f32::from(*below);
    }
}

/// The two samples of the image between which an output pixel is located, and the weight of the second.
#[derive(Debug, Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    weight: f32,
}

impl Tap {
    /// The tap of output position `at` of `count` along `axis`.
    fn new(window: &Window, axis: usize, at: usize, count: usize) -> Self {
        let (start, last) = (window.start[axis], window.size[axis] - 1);
        let position = if count > 1 { at as f32 * (last as f32 / (count - 1) as f32) } else { 0.0 };
        let low = (position as i32).min(last);
        let within = |position: i32| (start + position).clamp(0, window.image[axis] - 1) as usize;
        Self { low: within(low), high: within((low + 1).min(last)), weight: position - low as f32 }
    }
}

/// Taps of the patch's columns.
fn columns(window: &Window, input: Shape, patch: Patch) -> Vec<Tap> {
    (patch.from[0]..patch.from[0] + patch.size[0])
        .map(|x| if window.flip { input.w - 1 - x } else { x })
        .map(|x| Tap::new(window, 0, x, input.w))
        .collect()
}
