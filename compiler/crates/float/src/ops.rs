//! One plain function per operator, on feature maps `[c][h][w]`; the names are Darknet's.

use super::activation::{activate_map, logistic};
use super::{fold, moves};
use secateur_ir::{
    Activation, Axis, Connected, Conv, Crop, Detection, Divisor, Graph, LayerWeights, Op, Pool, Region,
    Reorg, Route, ScaleChannels, Shape, Shortcut, ShortcutWeights, Softmax, Upsample, WeightsNormalization,
    Yolo, shortcut_steps,
};

/// Computes layer `index` of `graph` from its inputs' feature maps.
///
/// A region's output is in Darknet's CPU order: `[h][w][anchor][coords + 1 + classes]`.
pub(crate) fn apply(
    graph: &Graph,
    index: usize,
    weights: &LayerWeights,
    inputs: &[&[f32]],
    output: &mut [f32],
) {
    let node = &graph.nodes[index];
    let (input, shape) = (graph.input_shape(index), node.shape);
    let x = inputs[0];
    match &node.op {
        Op::Conv(conv) => convolution(conv, weights, x, input, output, shape),
        Op::Deconv(conv) => deconvolution(conv, weights, x, input, output, shape),
        Op::Connected(connected) => fully_connected(connected, weights, x, output),
        Op::BatchNorm(activation) => {
            channels(x, output, shape, |c, v| Affine::of(weights, c).at(f64::from(v)));
            activate_map(*activation, output, shape.c);
        }
        Op::MaxPool(pool) => maxpool(pool, x, input, output, shape),
        Op::AvgPool => avgpool(x, input, output),
        Op::LocalAvgPool(pool) => local_avgpool(pool, x, input, output, shape),
        Op::Upsample(up) => upsample(up, x, input, output, shape),
        Op::Route(r) => route(r, inputs, output),
        Op::Shortcut(s) => {
            let shapes = graph.input_shapes(index);
            shortcut(s, weights, inputs, &shapes, output, shape);
        }
        Op::Dropout | Op::Cost => output.copy_from_slice(x),
        Op::Reorg(r) => reorg(r, x, input, output, shape),
        Op::Softmax(s) => softmax_layer(s, x, input, output),
        Op::ScaleChannels(s) => scale_channels(s, x, inputs[1], output, shape),
        Op::Sam(activation) => {
            for ((y, &a), &b) in output.iter_mut().zip(x).zip(inputs[1]) {
                *y = a * b;
            }
            activate_map(*activation, output, shape.c);
        }
        Op::Yolo(y) => yolo(y, x, output, shape),
        Op::Region(r) => region(r, x, output, shape),
        Op::Detection(d) => detection(d, x, output),
        Op::Crop(c) => crop(c, x, input, output, shape),
        Op::PRelu => channels(x, output, shape, |c, v| if v > 0.0 { v } else { v * weights.weights[c] }),
        Op::Scale => channels(x, output, shape, |c, v| {
            (f64::from(v) * f64::from(weights.weights[c]) + f64::from(weights.bias[c])) as f32
        }),
        Op::GlobalMaxPool => {
            for (plane, y) in x.chunks_exact(input.plane()).zip(output) {
                *y = plane.iter().copied().fold(f32::MIN, f32::max);
            }
        }
        Op::Resize(r) => moves::resize(r, x, input, output),
        Op::Slice(s) => moves::slice(s, x, input, output, shape),
        Op::Transpose(t) => moves::transpose(t, x, input, output, shape),
        Op::Reshape(_) => output.copy_from_slice(x),
    }
}

fn convolution(
    conv: &Conv,
    weights: &LayerWeights,
    x: &[f32],
    input: Shape,
    output: &mut [f32],
    shape: Shape,
) {
    let (in_group, out_group) = (input.c / conv.groups, conv.filters / conv.groups);
    let taps = conv.taps();
    let mut sums = vec![0.0f64; shape.plane()];
    for (o, y) in output.chunks_exact_mut(shape.plane()).enumerate() {
        sums.fill(0.0);
        let first = o / out_group * in_group;
        for i in 0..in_group {
            let plane = &x[(first + i) * input.plane()..][..input.plane()];
            for tap in 0..taps {
                let w = f64::from(weights.weights[(o * in_group + i) * taps + tap]);
                let (ky, kx) = (tap / conv.kernel[1], tap % conv.kernel[1]);
                let dy = (ky * conv.dilation[0]) as isize - conv.padding.top as isize;
                let dx = (kx * conv.dilation[1]) as isize - conv.padding.left as isize;
                for (oy, row) in sums.chunks_exact_mut(shape.w).enumerate() {
                    let iy = (oy * conv.stride[0]) as isize + dy;
                    if iy < 0 || iy >= input.h as isize {
                        continue;
                    }
                    let line = &plane[iy as usize * input.w..][..input.w];
                    for (ox, sum) in row.iter_mut().enumerate() {
                        let ix = (ox * conv.stride[1]) as isize + dx;
                        if ix >= 0 && ix < input.w as isize {
                            *sum += w * f64::from(line[ix as usize]);
                        }
                    }
                }
            }
        }
        let affine = Affine::of(weights, o);
        y.iter_mut().zip(&sums).for_each(|(y, &sum)| *y = affine.at(sum));
    }
    activate_map(conv.activation, output, shape.c);
}

/// Transposed convolution; weights `[in][out/groups][kernel rows][kernel columns]`.
fn deconvolution(
    conv: &Conv,
    weights: &LayerWeights,
    x: &[f32],
    input: Shape,
    output: &mut [f32],
    shape: Shape,
) {
    let (in_group, out_group) = (input.c / conv.groups, conv.filters / conv.groups);
    let taps = conv.taps();
    let (top, left) = (conv.padding.top, conv.padding.left);
    let mut sums = vec![0.0f64; shape.plane()];
    for (o, y) in output.chunks_exact_mut(shape.plane()).enumerate() {
        sums.fill(0.0);
        let first = o / out_group * in_group;
        for i in first..first + in_group {
            let plane = &x[i * input.plane()..][..input.plane()];
            for tap in 0..taps {
                let w = f64::from(weights.weights[(i * out_group + o % out_group) * taps + tap]);
                for (at, &value) in plane.iter().enumerate() {
                    let oy = at / input.w * conv.stride[0] + tap / conv.kernel[1] * conv.dilation[0];
                    let ox = at % input.w * conv.stride[1] + tap % conv.kernel[1] * conv.dilation[1];
                    if (top..shape.h + top).contains(&oy) && (left..shape.w + left).contains(&ox) {
                        sums[(oy - top) * shape.w + ox - left] += w * f64::from(value);
                    }
                }
            }
        }
        let affine = Affine::of(weights, o);
        y.iter_mut().zip(&sums).for_each(|(y, &sum)| *y = affine.at(sum));
    }
    activate_map(conv.activation, output, shape.c);
}

fn fully_connected(connected: &Connected, weights: &LayerWeights, x: &[f32], output: &mut [f32]) {
    for (o, (row, y)) in weights.weights.chunks_exact(x.len()).zip(output.iter_mut()).enumerate() {
        let sum = row.iter().zip(x).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum();
        *y = Affine::of(weights, o).at(sum);
    }
    activate_map(connected.activation, output, connected.outputs);
}

/// Batch norm where the layer has one, then the bias, of one channel.
struct Affine {
    mean: f64,
    scale: f64,
    bias: f64,
}

impl Affine {
    fn of(weights: &LayerWeights, channel: usize) -> Self {
        let (mean, scale) = match &weights.batch_norm {
            Some(norm) => (f64::from(norm.mean[channel]), fold::factor(norm, channel)),
            None => (0.0, 1.0),
        };
        Self { mean, scale, bias: f64::from(weights.bias[channel]) }
    }

    /// Rounds once.
    fn at(&self, sum: f64) -> f32 {
        ((sum - self.mean) * self.scale + self.bias) as f32
    }
}

/// Sets every output to `value` of its channel and input.
fn channels(x: &[f32], output: &mut [f32], shape: Shape, value: impl Fn(usize, f32) -> f32) {
    let planes = x.chunks_exact(shape.plane()).zip(output.chunks_exact_mut(shape.plane()));
    for (c, (x, y)) in planes.enumerate() {
        y.iter_mut().zip(x).for_each(|(y, &v)| *y = value(c, v));
    }
}

fn maxpool(pool: &Pool, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    if let Some(depth) = pool.depth {
        for (i, y) in output.iter_mut().enumerate() {
            let (c, pixel) = (i / shape.plane(), i % shape.plane());
            *y = (c..input.c).step_by(depth).map(|k| x[k * input.plane() + pixel]).fold(f32::MIN, f32::max);
        }
        return;
    }
    for_windows(pool, x, input, output, shape, |values, _| values.fold(f32::MIN, f32::max));
}

/// Mean over the window; one wholly outside the feature map gives NaN, as in Darknet.
fn local_avgpool(pool: &Pool, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    for_windows(pool, x, input, output, shape, |values, padded| {
        let (sum, inside) =
            values.fold((0.0f64, 0.0f64), |(sum, count), v| (sum + f64::from(v), count + 1.0));
        let count = match pool.divisor {
            Divisor::Inside => inside,
            Divisor::Padded => padded as f64,
        };
        (sum / count) as f32
    });
}

/// Sets every output to `reduce` of the values in its window, rows first, and of the number of the
/// window's elements on the feature map and its padding.
fn for_windows(
    pool: &Pool,
    x: &[f32],
    input: Shape,
    output: &mut [f32],
    shape: Shape,
    reduce: impl Fn(&mut dyn Iterator<Item = f32>, usize) -> f32,
) {
    for (plane, out) in x.chunks_exact(input.plane()).zip(output.chunks_exact_mut(shape.plane())) {
        for (i, y) in out.iter_mut().enumerate() {
            let rows = pool.extent(0, i / shape.w, input.h);
            let columns = pool.extent(1, i % shape.w, input.w);
            let padded = rows.padded * columns.padded;
            let line = |row: usize| plane[row * input.w..][columns.inside.clone()].iter().copied();
            *y = reduce(&mut rows.inside.flat_map(line), padded);
        }
    }
}

fn avgpool(x: &[f32], input: Shape, output: &mut [f32]) {
    for (plane, y) in x.chunks_exact(input.plane()).zip(output) {
        *y = (plane.iter().map(|&v| f64::from(v)).sum::<f64>() / input.plane() as f64) as f32;
    }
}

fn upsample(up: &Upsample, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    let s = up.stride;
    // The smaller feature map's element that belongs to position `(c, y, x)` of the larger one.
    let small = |large: Shape, small: Shape, i: usize| {
        let (c, rest) = (i / large.plane(), i % large.plane());
        c * small.plane() + rest / large.w / s * small.w + rest % large.w / s
    };
    if up.reverse {
        output.fill(0.0);
        for (i, &v) in x.iter().enumerate() {
            // A remainder of rows or columns takes no part.
            if i % input.plane() / input.w < shape.h * s && i % input.w < shape.w * s {
                output[small(input, shape, i)] += up.scale * v;
            }
        }
    } else {
        for (i, y) in output.iter_mut().enumerate() {
            *y = up.scale * x[small(shape, input, i)];
        }
    }
}

fn route(route: &Route, inputs: &[&[f32]], output: &mut [f32]) {
    let mut rest = output;
    for input in inputs {
        let part = input.len() / route.groups;
        let (head, tail) = rest.split_at_mut(part);
        head.copy_from_slice(&input[part * route.group_id..][..part]);
        rest = tail;
    }
}

/// Adds the common leading channels of all inputs, and of feature maps of other sizes every so many pixels.
fn shortcut(
    shortcut: &Shortcut,
    weights: &LayerWeights,
    inputs: &[&[f32]],
    shapes: &[Shape],
    output: &mut [f32],
    shape: Shape,
) {
    let factors = shortcut_factors(shortcut, weights, inputs.len());
    output.fill(0.0);
    for (n, (input, from)) in inputs.iter().zip(shapes).enumerate() {
        if (from.h, from.w) != (shape.h, shape.w) {
            add_pixels(input, *from, output, shape);
            continue;
        }
        for (i, (y, &v)) in output.iter_mut().zip(*input).enumerate() {
            *y += match shortcut.weights {
                ShortcutWeights::None => v,
                ShortcutWeights::PerFeature => v * factors[n],
                ShortcutWeights::PerChannel => v * factors[n * shape.c + i / shape.plane()],
            };
        }
    }
    activate_map(shortcut.activation, output, shape.c);
}

/// Adds every so many pixels of a feature map of another size (pjreddie's `shortcut_cpu`).
fn add_pixels(x: &[f32], from: Shape, output: &mut [f32], to: Shape) {
    let (stride, sample) = shortcut_steps(from, to).expect("a verified graph's sum");
    let (h, w) = (from.h.min(to.h), from.w.min(to.w));
    for c in 0..from.c.min(to.c) {
        for (row, column) in (0..h).flat_map(|row| (0..w).map(move |column| (row, column))) {
            let y = &mut output[(c * to.h + row * sample) * to.w + column * sample];
            *y += x[(c * from.h + row * stride) * from.w + column * stride];
        }
    }
}

/// Normalised factors of a weighted shortcut, `[inputs]` or `[inputs][c]`; empty where it has none.
pub fn shortcut_factors(shortcut: &Shortcut, weights: &LayerWeights, inputs: usize) -> Vec<f32> {
    const EPSILON: f32 = 1e-4;
    let mut factors = weights.weights.clone();
    if shortcut.weights == ShortcutWeights::None || shortcut.normalization == WeightsNormalization::None {
        return factors;
    }
    let step = factors.len() / inputs;
    for c in 0..step {
        let column = || (0..inputs).map(|n| n * step + c);
        let largest = column().map(|i| factors[i]).fold(f32::MIN, f32::max);
        for i in column() {
            factors[i] = match shortcut.normalization {
                WeightsNormalization::Softmax => libm::expf(factors[i] - largest),
                _ => factors[i].max(0.0),
            };
        }
        let sum = column().fold(EPSILON, |sum, i| sum + factors[i]);
        column().for_each(|i| factors[i] /= sum);
    }
    factors
}

/// `reorg_cpu`: `reorg` addresses by the output's shape, `reorg_old` by the input's.
fn reorg(reorg: &Reorg, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    let s = reorg.stride;
    let by = if reorg.old { input } else { shape };
    let channels = by.c / (s * s);
    for packed in 0..by.len() {
        let (k, j, i) = (packed / by.plane(), packed % by.plane() / by.w, packed % by.w);
        let (c, offset) = (k % channels, k / channels);
        let spread = i * s + offset % s + by.w * s * (j * s + offset / s + by.h * s * c);
        if reorg.reverse {
            output[spread] = x[packed];
        } else {
            output[packed] = x[spread];
        }
    }
}

fn softmax_layer(layer: &Softmax, x: &[f32], input: Shape, output: &mut [f32]) {
    output.copy_from_slice(x);
    let Some(axis) = layer.axis else {
        let n = output.len() / layer.groups;
        output.chunks_exact_mut(n).for_each(|group| softmax(group, n, 1, layer.temperature));
        return;
    };
    // Darknet ignores the temperature here.
    let length = input.along(axis);
    let stride = match axis {
        Axis::Channels => input.plane(),
        Axis::Rows => input.w,
        Axis::Columns => 1,
    };
    for block in output.chunks_exact_mut(length * stride) {
        (0..stride).for_each(|first| softmax(&mut block[first..], length, stride, 1.0));
    }
}

/// Softmax in place over `n` values `stride` apart.
fn softmax(x: &mut [f32], n: usize, stride: usize, temperature: f32) {
    let largest = (0..n).map(|i| x[i * stride]).fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for i in 0..n {
        let e = libm::expf(x[i * stride] / temperature - largest / temperature);
        sum += e;
        x[i * stride] = e;
    }
    (0..n).for_each(|i| x[i * stride] /= sum);
}

fn scale_channels(s: &ScaleChannels, factors: &[f32], map: &[f32], output: &mut [f32], shape: Shape) {
    for (i, (y, &v)) in output.iter_mut().zip(map).enumerate() {
        *y = v * factors[if s.scale_wh { i % shape.plane() } else { i / shape.plane() }];
    }
    activate_map(s.activation, output, shape.c);
}

/// Logistic on x, y, objectness and classes (not with `new_coords`), then `scale_x_y` on x and y.
fn yolo(yolo: &Yolo, x: &[f32], output: &mut [f32], shape: Shape) {
    output.copy_from_slice(x);
    for (i, channel) in output.chunks_exact_mut(shape.plane()).enumerate() {
        let entry = i % (5 + yolo.classes);
        if !yolo.new_coords && !matches!(entry, 2 | 3) {
            activate_map(Activation::Logistic, channel, 1);
        }
        if entry < 2 {
            let shift = -0.5 * (yolo.scale_x_y - 1.0);
            channel.iter_mut().for_each(|v| *v = *v * yolo.scale_x_y + shift);
        }
    }
}

/// Transposes to `[h][w][anchor][entry]`, logistic on objectness, softmax over the classes.
fn region(region: &Region, x: &[f32], output: &mut [f32], shape: Shape) {
    let entries = region.coords + 1 + region.classes;
    for (i, y) in output.iter_mut().enumerate() {
        *y = x[i % shape.c * shape.plane() + i / shape.c];
    }
    for cell in output.chunks_exact_mut(entries) {
        cell[region.coords] = logistic(cell[region.coords]);
        if region.softmax {
            softmax(&mut cell[region.coords + 1..], region.classes, 1, 1.0);
        }
    }
}

fn detection(detection: &Detection, x: &[f32], output: &mut [f32]) {
    output.copy_from_slice(x);
    if detection.softmax {
        let classes = detection.side * detection.side * detection.classes;
        for location in output[..classes].chunks_exact_mut(detection.classes) {
            softmax(location, detection.classes, 1, 1.0);
        }
    }
}

fn crop(crop: &Crop, x: &[f32], input: Shape, output: &mut [f32], shape: Shape) {
    let (top, left) = ((input.h - shape.h) / 2, (input.w - shape.w) / 2);
    for (i, y) in output.iter_mut().enumerate() {
        let (c, rest) = (i / shape.plane(), i % shape.plane());
        let v = x[c * input.plane() + (rest / shape.w + top) * input.w + rest % shape.w + left];
        *y = if crop.noadjust { v } else { v * 2.0 - 1.0 };
    }
}
