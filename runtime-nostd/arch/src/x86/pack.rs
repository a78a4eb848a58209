//! Makes kernels' jobs of an artefact's operations: weights in the order in which they are read.

use secateur_runtime::kernels::{self, Epilogue, ShortcutMode, Window};
use zerocopy::little_endian::I32;

use super::conv::{Block, Conv, Rows};
use super::depthwise::Depthwise;
use super::elementwise::{Add, LOW};
use super::isa::Isa;
use super::layout::{PIXEL, View};
use super::requant::{Channel, Kind, Post, Quad, Rounding, STORED};

/// What packing depends on of a set of instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pixels: usize,
    /// 4: weights of four channels as bytes; 8: as words, those of channels 0 and 2 before 1 and 3.
    weight_bytes: usize,
    quads: usize,
    wide: usize,
    rounding: Rounding,
}

/// Taps of a window in a feature map's pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Columns beside each row and rows above and below that a window touches outside the image.
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Reach {
    /// Of a window over an image of `input` rows and columns; `None` for those that no kernel here is for.
    pub(super) fn of(window: &Window, input: [usize; 2], output: [usize; 2]) -> Option<Self> {
        const LIMIT: usize = 16;
        let axis = |kernel: usize, stride: usize, dilation: usize, pad: usize, axis: usize| {
            let last = (output[axis] - 1) * stride + (kernel - 1) * dilation;
            pad.max((last + 1).saturating_sub(pad + input[axis]))
        };
        let rows = axis(window.kernel_h, window.stride_h, window.dilation_h, window.pad_top, 0);
        let columns = axis(window.kernel_w, window.stride_w, window.dilation_w, window.pad_left, 1);
        let small = window.kernel_h.max(window.kernel_w) <= LIMIT && rows.max(columns) <= LIMIT;
        (small && window.stride_w <= 2).then_some(Self { columns, rows })
    }
}

/// The first tap's byte, counted from the input's first pixel.
fn first_tap(window: &Window, input: &View) -> isize {
    -((window.pad_top * input.row() + window.pad_left * PIXEL) as isize)
}

impl Form {
    pub(super) fn of<V: Isa>() -> Self {
        Self {
            pixels: V::PIXELS,
            weight_bytes: V::WEIGHT_BYTES,
            quads: V::QUADS,
            wide: V::WIDE,
            rounding: V::ROUNDING,
        }
    }

    /// How a kernel walks the output: as one long row where pixels are at the same distances as the input's.
    fn rows(&self, window: &Window, input: &View, output: &View) -> Rows {
        let same = (input.layout.h, input.layout.w, input.layout.pitch)
            == (output.layout.h, output.layout.w, output.layout.pitch);
        if same && window.stride_h == 1 && window.stride_w == 1 {
            let width = output.layout.pixels() - (output.layout.pitch - output.layout.w);
            return Rows { count: 1, width, input: 0, output: 0, long: true };
        }
        Rows {
            count: output.layout.h,
            width: output.layout.w,
            input: window.stride_h * input.row(),
            output: output.row(),
            long: false,
        }
    }

    /// Whether all that the kernels read around `input` is in its buffer, where taps are at `distances` from a pixel
    /// and `pixels` pixels are read there.
    fn is_inside(&self, rows: Rows, step: usize, input: &View, distances: [isize; 2], pixels: usize) -> bool {
        let last = rows.start(rows.vectors(self.pixels) - 1, self.pixels) * step * PIXEL;
        let last = ((rows.count - 1) * rows.input + last) as isize;
        let plane = ((input.layout.planes - 1) * input.stride) as isize;
        input.contains(distances[0], 1) && input.contains(plane + last + distances[1], pixels * PIXEL)
    }

    /// Four channels' weights for one output.
    fn weights(&self, weights: [i8; 4], to: &mut Vec<u8>) {
        self.lane([weights; 1], to);
    }

    /// Four channels' or taps' weights for each of several accumulators side by side.
    fn lane<const N: usize>(&self, weights: [[i8; 4]; N], to: &mut Vec<u8>) {
        if self.weight_bytes == 4 {
            to.extend(weights.as_flattened().iter().map(|&weight| weight as u8));
            return;
        }
        for first in [0, 1] {
            for weights in &weights {
                for weight in [weights[first], weights[first + 2]] {
                    to.extend(i16::from(weight).to_le_bytes());
                }
            }
        }
    }

    /// A convolution; `None` where the kernels would leave the buffers.
    pub(super) fn conv(&self, conv: &kernels::Conv<'_>, input: View, output: View) -> Option<Conv> {
        let kernels::Conv { ref window, weights, bias, ref epilogue, .. } = *conv;
        let planes = input.layout.planes;
        let taps = window.kernel_h * window.kernel_w;
        let tap = |n: usize| {
            let (ky, kx) = (n / window.kernel_w, n % window.kernel_w);
            ky * window.dilation_h * input.row() + kx * window.dilation_w * PIXEL
        };
        let mut sources = Vec::with_capacity(taps * planes);
        for n in 0..taps {
            sources.extend((0..planes).map(|plane| (tap(n) + plane * input.stride) as isize));
        }
        let even = window.stride_w == 2;
        let rows = self.rows(window, &input, &output);
        let (start, step) = (first_tap(window, &input), if even { 2 } else { 1 });
        let distances = [start, start + tap(taps - 1) as isize];
        if !self.is_inside(rows, step, &input, distances, step * self.pixels) {
            return None;
        }
        let channels: Vec<Channel> = channels(bias, epilogue, |o, n| {
            weights.get(o * taps * input.c + n).filter(|_| n < taps * input.c).copied()
        });
        let mut quads: Vec<Quad> =
            channels.chunks(4).map(|four| Quad::new(four, epilogue.zero_point, self.rounding)).collect();
        let mut packed = Vec::new();
        let mut blocks = Vec::new();
        let mut first = 0;
        while first < quads.len() {
            let most = if taps * planes < self.wide && !even { 1 } else { self.quads };
            let count = most.min(quads.len() - first);
            let block = quads.get_mut(first..first + count)?;
            let kind = block.iter().map(|quad| quad.kind).max().unwrap_or(Kind::Exact);
            block.iter_mut().for_each(|quad| *quad = quad.widened(kind, self.rounding));
            blocks.push(Block { first, quads: count, weights: packed.len(), kind });
            for step in 0..taps * planes {
                let (tap, plane) = (step / planes, step % planes);
                for o in first * 4..(first + count) * 4 {
                    let weight = |n: usize| {
                        let i = plane * 4 + n;
                        let inside = i < input.c && o < output.c;
                        if inside {
                            weights.get((o * taps + tap) * input.c + i).copied().unwrap_or(0)
                        } else {
                            0
                        }
                    };
                    self.weights([weight(0), weight(1), weight(2), weight(3)], &mut packed);
                }
            }
            first += count;
        }
        Some(Conv {
            input: input.base.checked_add_signed(start)?,
            output,
            sources: sources.into(),
            weights: packed.into(),
            blocks: blocks.into(),
            quads: quads.into(),
            rows,
            even,
            post: Post::of(epilogue),
        })
    }

    /// A depthwise convolution; `None` where there is no kernel for its window.
    pub(super) fn depthwise(
        &self,
        depthwise: &kernels::Depthwise<'_>,
        input: View,
        output: View,
    ) -> Option<Depthwise> {
        let kernels::Depthwise { ref window, weights, bias, ref epilogue } = *depthwise;
        if window.dilation_w != 1 {
            return None;
        }
        let c = output.c;
        let taps = window.kernel_h * window.kernel_w;
        let groups = window.kernel_w.div_ceil(4);
        let row = window.dilation_h * input.row();
        let even = window.stride_w == 2;
        let rows = self.rows(window, &input, &output);
        let (start, step) = (first_tap(window, &input), if even { 2 } else { 1 });
        let strips = Self::has_strips(window, &output);
        let rows = if strips {
            let (count, width) = (output.layout.h, output.layout.w);
            Rows { count, width, input: input.row(), output: output.row(), long: false }
        } else {
            rows
        };
        let last = ((window.kernel_h - 1) * row + (groups - 1) * 4 * PIXEL) as isize;
        let pixels = if even { 2 * self.pixels + 2 } else { self.pixels + 3 };
        if !self.is_inside(rows, step, &input, [start, start + last], pixels) {
            return None;
        }
        let channels = channels(bias, epilogue, |o, n| weights.get(n * c + o).filter(|_| n < taps).copied());
        let quads = channels.chunks(4).map(|four| Quad::new(four, epilogue.zero_point, self.rounding));
        let mut packed = Vec::new();
        for plane in 0..output.layout.planes {
            for ky in 0..window.kernel_h {
                for group in 0..groups {
                    let weight = |channel: usize, n: usize| {
                        let (kx, channel) = (group * 4 + n, plane * 4 + channel);
                        let inside = kx < window.kernel_w && channel < c;
                        let at = (ky * window.kernel_w + kx) * c + channel;
                        if inside { weights.get(at).copied().unwrap_or(0) } else { 0 }
                    };
                    self.lane::<4>(
                        std::array::from_fn(|channel| std::array::from_fn(|n| weight(channel, n))),
                        &mut packed,
                    );
                }
            }
        }
        Some(Depthwise {
            input: input.base.checked_add_signed(start)?,
            input_stride: input.stride,
            output,
            kernel_h: window.kernel_h,
            groups,
            row,
            weights: packed.into(),
            quads: quads.collect(),
            rows,
            even,
            strips,
            post: Post::of(epilogue),
        })
    }

    /// Whether walking a 3 × 3 window downwards pays: where vectors of rows waste little beside a long row.
    fn has_strips(window: &Window, output: &View) -> bool {
        *window == Window::square(3, 1, 1) && output.layout.w >= 32
    }
}

/// Channels of an operation whose weight `n` of output `o` is `weight(o, n)`, `None` past the last.
fn channels(
    bias: &[I32],
    epilogue: &Epilogue<'_>,
    weight: impl Fn(usize, usize) -> Option<i8>,
) -> Vec<Channel> {
    let channel = |(o, (bias, &requant)): (usize, (&I32, &kernels::Requant))| {
        let weights = (0..).map_while(|n| weight(o, n)).map(i64::from);
        let (sum, magnitude) =
            weights.fold((0, 0), |(sum, magnitude), weight| (sum + weight, magnitude + weight.abs()));
        let bias = i64::from(bias.get());
        // Stored values are 128 more: exact modulo 2^32, as the accumulators are.
        let start = (bias - i64::from(STORED) * sum) as i32;
        Channel { start, bound: bias.abs() + 128 * magnitude, requant }
    };
    bias.iter().zip(epilogue.requant).enumerate().map(channel).collect()
}

/// The sum of two feature maps; `None` where it is not one shift.
pub(super) fn add(
    shortcut: &kernels::Shortcut<'_>,
    inputs: [View; 2],
    zero_points: [i8; 2],
    output: View,
) -> Option<Add> {
    let kernels::Shortcut { multipliers, mode, ref epilogue } = *shortcut;
    let (&[m0, m1], &[requant]) = (multipliers, epilogue.requant) else { return None };
    let multipliers = [m0.get(), m1.get()];
    let shift = u32::from(requant.shift());
    let linear =
        mode == ShortcutMode::PerInput && (requant.m_pos(), requant.m_neg()) == (1, 1) && shift <= 30;
    if !linear || inputs.iter().any(|input| input.c != output.c || input.layout.pitch != output.layout.pitch)
    {
        return None;
    }
    let stored = |zero_point: i8| i64::from(zero_point) + i64::from(STORED);
    let of_inputs: i64 =
        multipliers.iter().zip(zero_points).map(|(&m, zero_point)| -i64::from(m) * stored(zero_point)).sum();
    let added = (stored(epilogue.zero_point) << shift) + (1 << (shift - 1));
    let most: i64 = multipliers.iter().map(|m| 255 * i64::from(m.unsigned_abs())).sum();
    if most + added >= 1 << 31 {
        return None;
    }
    // A low part of fifteen bits with its sign, and what is left.
    let low = multipliers.map(|m| (m << (32 - LOW)) >> (32 - LOW));
    let high = [0, 1].map(|n| (multipliers[n] - low[n]) >> LOW);
    let pair = |[a, b]: [i32; 2]| (a & 0xFFFF) | (b << 16);
    Some(Add {
        inputs,
        output,
        high: pair(high),
        low: pair(low),
        start: (of_inputs + added) as i32,
        shift,
        post: Post::of(epilogue),
    })
}
