//! Resizing: one axis after the other, every axis a weighted sum of its positions.
//!
//! Coordinates and filters are those of ONNX's operator Resize; TensorFlow's and Caffe's are among them.

use crate::op::{Coordinates, NearestRounding, Resize, ResizeKind};
use crate::tensor::{Data, Spec, Tensor};

use super::around;
use super::elementwise::tensor;

pub(super) fn resize(x: &Tensor, resize: &Resize, spec: &Spec) -> Tensor {
    let mut shape = x.shape().to_vec();
    let mut values = x.to_f32();
    for axis in 0..shape.len() {
        let (side, output, scale) = (shape[axis], resize.shape[axis], resize.scales[axis]);
        if side == output && scale == 1.0 {
            continue;
        }
        let taps: Vec<Vec<(usize, f32)>> =
            (0..output).map(|i| taps(resize, i, side, output, scale)).collect();
        let (before, _, behind) = around(&shape, axis);
        let mut next = Vec::with_capacity(before * output * behind);
        for outer in 0..before {
            let x = &values[outer * side * behind..][..side * behind];
            for taps in &taps {
                next.extend((0..behind).map(|inner| {
                    // A single tap is a copy.
                    match taps[..] {
                        [(position, 1.0)] => x[position * behind + inner],
                        _ => {
                            taps.iter().map(|&(position, weight)| x[position * behind + inner] * weight).sum()
                        }
                    }
                }));
            }
        }
        values = next;
        shape[axis] = output;
    }
    let data = match x.data() {
        Data::F32(_) => Data::F32(values),
        Data::Int(_) => Data::Int(values.into_iter().map(|value| value.round_ties_even() as i64).collect()),
    };
    tensor(spec.clone(), data)
}

/// Input positions and weights of output position `i` along an axis.
fn taps(resize: &Resize, i: usize, side: usize, output: usize, scale: f32) -> Vec<(usize, f32)> {
    let position = coordinate(resize.coordinates, i as f32, side as f32, output as f32, scale);
    let last = side as i64 - 1;
    match resize.kind {
        ResizeKind::Nearest(rounding) => {
            let nearest = match rounding {
                NearestRounding::Floor => position.floor(),
                NearestRounding::Ceil => position.ceil(),
                NearestRounding::PreferFloor => (position - 0.5).ceil(),
                NearestRounding::PreferCeil => (position + 0.5).floor(),
            };
            vec![((nearest as i64).clamp(0, last) as usize, 1.0)]
        }
        ResizeKind::Linear => filtered(resize, position, side, scale, 1, |d| (1.0 - d).max(0.0)),
        ResizeKind::Cubic(a) => filtered(resize, position, side, scale, 2, |d| cubic(d, a)),
    }
}

/// Keys' kernel at distance `d` (Keys 1981, "Cubic convolution interpolation for digital image processing").
fn cubic(d: f32, a: f32) -> f32 {
    match d {
        d if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}

fn coordinate(kind: Coordinates, i: f32, side: f32, output: f32, scale: f32) -> f32 {
    match kind {
        Coordinates::Asymmetric => i / scale,
        Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::PytorchHalfPixel if output <= 1.0 => 0.0,
        Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
        Coordinates::HalfPixelSymmetric => {
            let adjustment = output / (scale * side);
            let centre = side / 2.0;
            centre * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
        }
        Coordinates::AlignCorners if output <= 1.0 => 0.0,
        Coordinates::AlignCorners => i * (side - 1.0) / (output - 1.0),
        Coordinates::HalfPixelNearest => (i + 0.5) / scale,
    }
}

/// Weights by the distance from `position` within `radius`; pixels outside are the outermost ones, or with
/// `exclude_outside` none.
fn filtered(
    resize: &Resize,
    position: f32,
    side: usize,
    scale: f32,
    radius: i64,
    weight: impl Fn(f32) -> f32,
) -> Vec<(usize, f32)> {
    let shrink = if resize.antialias { scale.min(1.0) } else { 1.0 };
    let reach = radius as f32 / shrink;
    let last = side as i64 - 1;
    // Filters that are not widened have their 2 · radius pixels round the position.
    let (first, end) = if shrink < 1.0 {
        ((position - reach).floor() as i64, (position + reach).ceil() as i64)
    } else {
        (position.floor() as i64 - radius + 1, position.floor() as i64 + radius)
    };
    let mut taps: Vec<(usize, f32)> = Vec::new();
    let mut sum = 0.0;
    for pixel in first..=end {
        if resize.exclude_outside && !(0..=last).contains(&pixel) {
            continue;
        }
        let weight = weight((pixel as f32 - position).abs() * shrink);
        if weight == 0.0 {
            continue;
        }
        sum += weight;
        let inside = pixel.clamp(0, last) as usize;
        match taps.last_mut() {
            Some((position, sum)) if *position == inside => *sum += weight,
            _ => taps.push((inside, weight)),
        }
    }
    if taps.is_empty() {
        return vec![((position.round() as i64).clamp(0, last) as usize, 1.0)];
    }
    if resize.exclude_outside || resize.antialias {
        taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
    }
    taps
}
