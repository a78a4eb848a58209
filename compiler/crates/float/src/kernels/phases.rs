//! Padding, and strides taken apart: every tap of a convolution becomes a shifted dense plane.

use std::ops::Range;

use pulp::Simd;

use super::{Job, copy_row, load, store};
use secateur_ir::Shape;

/// Floats after the last plane, so that a vector may start at its last element.
const SLACK: usize = 64;

/// Splits a padded plane by row and column modulo the stride into `stride_y · stride_x` phase
/// planes `[height][width]`. The tap `(ky, kx)` of the output `(oy, ox)` is then in phase
/// `(ky·d mod stride_y, kx·d mod stride_x)` at row `oy + ky·d / stride_y` and column
/// `ox + kx·d / stride_x`: strides and dilation are offsets, borders are zeros (or `fill`).
#[derive(Debug, Clone)]
pub(crate) struct Phases {
    input: Shape,
    /// Rows and columns before the feature map.
    before: [usize; 2],
    stride_x: usize,
    stride_y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    fill: f32,
    /// Offset of every tap, rows first, in one channel's phase planes.
    pub(super) taps: Vec<usize>,
}

/// A sliding window: its taps, their distance, its steps, each as `[rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Padding before the feature map; the padding after it follows from the output.
    pub(crate) before: [usize; 2],
}

/// Phase planes of a layer may have this many floats, whatever its feature maps are.
const ALWAYS_AFFORDABLE: usize = 1 << 22;
/// Beyond that they may be this many times as large as the layer's input and output together: a stride or a
/// dilation far larger than the feature map makes planes that hold next to nothing of it.
const AFFORDABLE_RATIO: usize = 4;

impl Phases {
    /// Returns whether the planes of `channels` channels at once are worth their memory.
    pub(crate) fn affordable(window: Window, input: Shape, output: Shape, channels: usize) -> bool {
        let Window { kernel, dilation, stride, .. } = window;
        let length = |axis: usize, out: usize| {
            let reach = (kernel[axis] - 1).checked_mul(dilation[axis])?;
            stride[axis].checked_mul(out.checked_add(reach / stride[axis])?)
        };
        let plane = || length(0, output.h)?.checked_mul(length(1, output.w)?);
        let taps = kernel[0].saturating_mul(kernel[1]);
        let limit = ALWAYS_AFFORDABLE.max(AFFORDABLE_RATIO * (input.plane() + output.plane()) * channels);
        plane().and_then(|plane| plane.checked_mul(channels)).is_some_and(|floats| floats <= limit)
            && taps <= ALWAYS_AFFORDABLE
    }

    pub(crate) fn new(window: Window, input: Shape, output: Shape, fill: f32) -> Self {
        let Window { kernel, dilation, stride: [stride_y, stride_x], before } = window;
        let reach = |axis: usize| (kernel[axis] - 1) * dilation[axis];
        let width = output.w + reach(1) / stride_x;
        let height = output.h + reach(0) / stride_y;
        let taps = (0..kernel[0] * kernel[1])
            .map(|tap| {
                let (y, x) = (tap / kernel[1] * dilation[0], tap % kernel[1] * dilation[1]);
                let phase = y % stride_y * stride_x + x % stride_x;
                phase * width * height + y / stride_y * width + x / stride_x
            })
            .collect();
        Self { input, before, stride_x, stride_y, width, height, fill, taps }
    }

    /// Floats of one channel.
    pub(super) fn channel(&self) -> usize {
        self.stride_x * self.stride_y * self.width * self.height
    }

    /// Floats of `channels` channels with the slack after them.
    pub(crate) fn len(&self, channels: usize) -> usize {
        self.channel() * channels + SLACK
    }

    /// Writes the phase planes of the channels `job.units` of the whole input feature map.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let plane = self.input.plane();
        for c in job.units.clone() {
            // SAFETY: channel `c` belongs to this part only.
            let to = unsafe { job.target.segment(c * self.channel(), self.channel()) };
            self.split::<S, true>(simd, &job.inputs[0][c * plane..], to);
        }
    }

    /// Fills everything, borders included; [`Phases::split`] may then leave the borders alone.
    #[inline(always)]
    pub(super) fn clear(&self, to: &mut [f32]) {
        to.fill(self.fill);
    }

    /// Writes the phase planes of the channel that `from` begins with; without `BORDERS` those of
    /// `to` stay, as [`Phases::clear`] or an earlier call left them.
    #[inline(always)]
    pub(super) fn split<S: Simd, const BORDERS: bool>(&self, simd: S, from: &[f32], to: &mut [f32]) {
        let Self { input, before: [above, left], stride_x, stride_y, width, height, fill, .. } = *self;
        for y_phase in 0..stride_y {
            for x_phase in 0..stride_x {
                let columns = inside(x_phase, stride_x, left, input.w, width);
                let rows = inside(y_phase, stride_y, above, input.h, height);
                let start = (y_phase * stride_x + x_phase) * width * height;
                let plane = &mut to[start..];
                if BORDERS {
                    plane[..rows.start * width].fill(fill);
                    plane[rows.end * width..height * width].fill(fill);
                }
                if columns.is_empty() {
                    if BORDERS {
                        plane[..height * width].fill(fill);
                    }
                    continue;
                }
                let first = columns.start * stride_x + x_phase - left;
                for y in rows.clone() {
                    let line = &from[(y * stride_y + y_phase - above) * input.w + first..];
                    let row = &mut plane[y * width..];
                    if BORDERS {
                        row[..columns.start].fill(fill);
                        row[columns.end..width].fill(fill);
                    }
                    // What a short row spills over is border, or written again by the next row.
                    let spill = if BORDERS { columns.len() } else { row.len() - columns.start };
                    let row = &mut row[columns.start..][..spill];
                    gather(simd, line, stride_x, row, columns.len(), fill);
                }
            }
        }
    }
}

/// Positions of a phase that are on the feature map: `0 <= i·stride + phase − pad < limit`.
fn inside(phase: usize, stride: usize, pad: usize, limit: usize, len: usize) -> Range<usize> {
    let start = pad.saturating_sub(phase).div_ceil(stride).min(len);
    let end = (limit + pad).saturating_sub(phase).div_ceil(stride).clamp(start, len);
    start..end
}

/// `to[i] = from[i · stride]` for `i < len`; up to a vector of `fill` may follow where `to` goes on.
#[inline(always)]
fn gather<S: Simd>(simd: S, from: &[f32], stride: usize, to: &mut [f32], len: usize, fill: f32) {
    let lanes = S::F32_LANES;
    if stride == 1 {
        if len >= lanes {
            copy_row::<S>(from, to, len);
        } else if from.len() >= lanes && to.len() >= lanes {
            let inside = simd.mask_between_m32s(0, len as u32).mask();
            store::<S>(to, 0, simd.select_f32s(inside, load::<S>(from, 0), simd.splat_f32s(fill)));
        } else {
            to[..len].copy_from_slice(&from[..len]);
        }
    } else if stride == 2 && len >= BLOCK {
        let mut at = 0;
        while at < len {
            let start = at.min(len - BLOCK);
            match from[2 * start..].first_chunk::<{ 2 * BLOCK }>() {
                Some(pairs) => to[start..start + BLOCK].copy_from_slice(&evens(pairs)),
                None => {
                    let from = from[2 * start..].iter().step_by(2);
                    to[start..start + BLOCK].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
            }
            at += BLOCK;
        }
    } else {
        to[..len].iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
    }
}

/// Elements that [`evens`] takes at a time.
const BLOCK: usize = 16;

/// Every second float: the low half of each pair, which compiles to vector narrowing.
#[inline(always)]
fn evens(pairs: &[f32; 2 * BLOCK]) -> [f32; BLOCK] {
    let mut low = [0u32; BLOCK];
    for (low, pair) in low.iter_mut().zip(pairs.as_chunks::<2>().0) {
        *low = (u64::from(pair[1].to_bits()) << 32 | u64::from(pair[0].to_bits())) as u32;
    }
    low.map(f32::from_bits)
}
