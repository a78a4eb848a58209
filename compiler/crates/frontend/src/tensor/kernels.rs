//! Operators with windows, padding and resizing.

use super::eval::Tensor;
use super::{AveragePool, Conv, ConvTranspose, Divisor, Fill, Grid, MaxPool, strides};

/// Positions of the map under tap `k` of each window along one axis: (window, position), the map's only.
fn taps(
    count: usize,
    size: usize,
    tap: usize,
    stride: usize,
    pad: usize,
) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..count).filter_map(move |window| {
        let at = (window * stride + tap).checked_sub(pad)?;
        (at < size).then_some((window, at))
    })
}

pub(super) fn conv(conv: &Conv, operands: &[&Tensor], shape: &[usize]) -> Vec<f32> {
    let (input, weights) = (operands[0], operands[1]);
    let [n, c, h, w] = dims(input);
    let [m, per_group, kh, kw] = dims(weights);
    let (oh, ow) = (shape[2], shape[3]);
    let mut out = vec![0.0; n * m * oh * ow];
    for (at, plane) in out.chunks_mut((oh * ow).max(1)).enumerate() {
        let (image, channel) = (at / m, at % m);
        if let Some(bias) = operands.get(2) {
            plane.fill(bias.data[channel]);
        }
        let group = channel / (m / conv.groups);
        for i in 0..per_group {
            let source = &input.data[(image * c + group * per_group + i) * h * w..][..h * w];
            for ky in 0..kh {
                for kx in 0..kw {
                    let weight = weights.data[((channel * per_group + i) * kh + ky) * kw + kx];
                    let columns = taps(ow, w, kx * conv.dilations[1], conv.strides[1], conv.pads[1]);
                    for (oy, y) in taps(oh, h, ky * conv.dilations[0], conv.strides[0], conv.pads[0]) {
                        let (row, out) = (&source[y * w..][..w], &mut plane[oy * ow..][..ow]);
                        for (ox, x) in columns.clone() {
                            out[ox] += weight * row[x];
                        }
                    }
                }
            }
        }
    }
    out
}

pub(super) fn conv_transpose(conv: &ConvTranspose, operands: &[&Tensor], shape: &[usize]) -> Vec<f32> {
    let (input, weights) = (operands[0], operands[1]);
    let [n, c, h, w] = dims(input);
    let [_, per_group, kh, kw] = dims(weights);
    let (m, oh, ow) = (shape[1], shape[2], shape[3]);
    let mut out = vec![0.0; n * m * oh * ow];
    if let Some(bias) = operands.get(2) {
        for (at, plane) in out.chunks_mut(oh * ow).enumerate() {
            plane.fill(bias.data[at % m]);
        }
    }
    for image in 0..n {
        for channel in 0..c {
            let group = channel / (c / conv.groups);
            let source = &input.data[(image * c + channel) * h * w..][..h * w];
            for o in 0..per_group {
                let plane = &mut out[(image * m + group * per_group + o) * oh * ow..][..oh * ow];
                for ky in 0..kh {
                    for kx in 0..kw {
                        let weight = weights.data[((channel * per_group + o) * kh + ky) * kw + kx];
                        for (y, oy) in taps(h, oh, ky * conv.dilations[0], conv.strides[0], conv.pads[0]) {
                            for (x, ox) in taps(w, ow, kx * conv.dilations[1], conv.strides[1], conv.pads[1])
                            {
                                plane[oy * ow + ox] += weight * source[y * w + x];
                            }
                        }
                    }
                }
            }
        }
    }
    out
}

pub(super) fn max_pool(pool: &MaxPool, input: &Tensor, shape: &[usize]) -> Vec<f32> {
    let [_, _, h, w] = dims(input);
    let (oh, ow) = (shape[2], shape[3]);
    let mut out = vec![f32::NEG_INFINITY; shape.iter().product()];
    for (plane, source) in out.chunks_mut((oh * ow).max(1)).zip(input.data.chunks((h * w).max(1))) {
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                for (oy, y) in taps(oh, h, ky * pool.dilations[0], pool.strides[0], pool.pads[0]) {
                    for (ox, x) in taps(ow, w, kx * pool.dilations[1], pool.strides[1], pool.pads[1]) {
                        let best = &mut plane[oy * ow + ox];
                        *best = best.max(source[y * w + x]);
                    }
                }
            }
        }
    }
    out
}

pub(super) fn average_pool(pool: &AveragePool, input: &Tensor, shape: &[usize]) -> Vec<f32> {
    let [_, _, h, w] = dims(input);
    let (oh, ow) = (shape[2], shape[3]);
    let mut out = vec![0.0; shape.iter().product()];
    // What a window along one axis counts.
    let count = |window: usize, axis: usize, size: usize| -> usize {
        let (start, pad) = (window * pool.strides[axis], pool.pads[axis]);
        let end = start + pool.kernel[axis];
        match pool.divisor {
            Divisor::Valid => end.min(size + pad).saturating_sub(start.max(pad)),
            Divisor::Padded { bottom, right } => end.min(size + pad + [bottom, right][axis]) - start,
        }
    };
    for (plane, source) in out.chunks_mut((oh * ow).max(1)).zip(input.data.chunks((h * w).max(1))) {
        for ky in 0..pool.kernel[0] {
            for kx in 0..pool.kernel[1] {
                for (oy, y) in taps(oh, h, ky, pool.strides[0], pool.pads[0]) {
                    for (ox, x) in taps(ow, w, kx, pool.strides[1], pool.pads[1]) {
                        plane[oy * ow + ox] += source[y * w + x];
                    }
                }
            }
        }
        for oy in 0..oh {
            for ox in 0..ow {
                plane[oy * ow + ox] /= (count(oy, 0, h) * count(ox, 1, w)).max(1) as f32;
            }
        }
    }
    out
}

pub(super) fn pad(input: &Tensor, before: &[usize], fill: Fill, shape: &[usize]) -> Vec<f32> {
    let steps = strides(&input.shape);
    let out_steps = strides(shape);
    (0..shape.iter().product::<usize>())
        .map(|flat| {
            let mut place = 0;
            for axis in 0..shape.len() {
                let size = input.shape[axis] as isize;
                let at = (flat / out_steps[axis] % shape[axis]) as isize - before[axis] as isize;
                let inside = match fill {
                    _ if (0..size).contains(&at) => at,
                    Fill::Value(value) => return value,
                    Fill::Reflect => mirrored(at, size, 1),
                    Fill::Symmetric => mirrored(at, size, 0),
                };
                place += inside as usize * steps[axis];
            }
            input.data[place]
        })
        .collect()
}

/// A position outside, mirrored until it is inside; `edge` is 1 where the edge is not repeated.
fn mirrored(at: isize, size: isize, edge: isize) -> isize {
    let period = (2 * (size - edge)).max(1);
    let at = if at < 0 { -at - 1 + edge } else { at }.rem_euclid(period);
    if at < size { at } else { period - 1 + edge - at }
}

pub(super) fn lrn(input: &Tensor, before: usize, after: usize, [alpha, beta, bias]: [f32; 3]) -> Vec<f32> {
    let channels = input.shape[1];
    let plane: usize = input.shape[2..].iter().product();
    let mut out = input.data.clone();
    for (at, value) in out.iter_mut().enumerate() {
        let channel = at / plane % channels;
        let window = channel.saturating_sub(before)..(channel + after + 1).min(channels);
        let base = at - channel * plane;
        let sum: f32 = window.map(|channel| input.data[base + channel * plane].powi(2)).sum();
        *value /= (bias + alpha * sum).powf(beta);
    }
    out
}

pub(super) fn resize(input: &Tensor, size: [usize; 2], linear: bool, grid: Grid) -> Vec<f32> {
    let [n, c, h, w] = dims(input);
    let rows = sources(h, size[0], linear, grid);
    let columns = sources(w, size[1], linear, grid);
    let mut out = Vec::with_capacity(n * c * size[0] * size[1]);
    for plane in input.data.chunks((h * w).max(1)) {
        for (top, bottom, down) in &rows {
            for (left, right, along) in &columns {
                let at = |y: usize, x: usize| plane[y * w + x];
                let upper = at(*top, *left) + (at(*top, *right) - at(*top, *left)) * along;
                let lower = at(*bottom, *left) + (at(*bottom, *right) - at(*bottom, *left)) * along;
                out.push(upper + (lower - upper) * down);
            }
        }
    }
    out
}

/// For each output position two source positions and the second's share.
fn sources(size: usize, out: usize, linear: bool, grid: Grid) -> Vec<(usize, usize, f32)> {
    let scale = match grid {
        Grid::AlignCorners if out > 1 => (size - 1) as f32 / (out - 1) as f32,
        _ => size as f32 / out as f32,
    };
    (0..out)
        .map(|at| {
            let last = size - 1;
            if !linear {
                // TensorFlow's kernels: half pixels are floored, aligned corners rounded.
                let at = match grid {
                    Grid::Asymmetric => (at as f32 * scale).floor(),
                    Grid::HalfPixel => ((at as f32 + 0.5) * scale).floor(),
                    Grid::AlignCorners => (at as f32 * scale).round(),
                } as usize;
                return (at.min(last), at.min(last), 0.0);
            }
            let from = match grid {
                Grid::HalfPixel => (at as f32 + 0.5) * scale - 0.5,
                Grid::Asymmetric | Grid::AlignCorners => at as f32 * scale,
            };
            let low = from.floor();
            let first = (low.max(0.0) as usize).min(last);
            let second = ((low + 1.0).max(0.0) as usize).min(last);
            (first, second, from - low)
        })
        .collect()
}

fn dims(tensor: &Tensor) -> [usize; 4] {
    <[usize; 4]>::try_from(tensor.shape.as_slice()).unwrap_or([1; 4])
}
