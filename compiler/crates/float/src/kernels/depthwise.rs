//! Depthwise convolution: a channel's padded plane in cache, several output rows at a time.

use std::ops::Range;

use pulp::Simd;

use super::{Convolution, Dense, Epilogue, Job, Phases, Target, lean, load, store};
use secateur_ir::Shape;

/// Output rows computed together, so that a loaded vector serves several of them.
const ROWS: usize = 4;

/// A convolution with one input channel a group, folded and activated.
#[derive(Debug, Clone)]
pub(crate) struct Depthwise {
    /// `[out][k][k]`
    weights: Vec<f32>,
    /// `[out]`
    bias: Vec<f32>,
    /// Output channels of an input channel.
    multiplier: usize,
    kernel: [usize; 2],
    /// Stride and dilation 1: taps of neighbouring rows coincide.
    plain: bool,
    phases: Phases,
    input: Shape,
    output: Shape,
    epilogue: Epilogue,
}

impl Depthwise {
    pub(crate) fn new(layer: Convolution<'_>) -> Self {
        let Convolution { conv, weights, bias, input, output, epilogue } = layer;
        Self {
            weights: weights.to_vec(),
            bias: bias.to_vec(),
            multiplier: conv.filters / conv.groups,
            kernel: conv.kernel,
            plain: conv.stride == [1; 2] && conv.dilation == [1; 2],
            phases: Dense::phases(conv, input, output),
            input,
            output,
            epilogue,
        }
    }

    /// Other folded numbers of the same shapes.
    pub(crate) fn set_weights(&mut self, weights: &[f32], bias: &[f32]) {
        self.weights.copy_from_slice(weights);
        self.bias.copy_from_slice(bias);
    }

    /// Units of work: input channels.
    pub(crate) fn units(&self) -> usize {
        self.input.c
    }

    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let padded = job.workspace.take(self.padded_len());
        self.clear(padded);
        let x = &job.inputs[0][job.units.start * self.input.plane()..];
        self.channels(simd, x, job.units.clone(), padded, job.target);
    }

    /// Floats of memory for the phase planes of a channel.
    pub(super) fn padded_len(&self) -> usize {
        self.phases.len(1)
    }

    /// Prepares memory for [`Depthwise::channels`].
    #[inline(always)]
    pub(super) fn clear(&self, padded: &mut [f32]) {
        self.phases.clear(padded);
    }

    /// Output channels of the input channels `channels`, with the first of which `x` begins.
    #[inline(always)]
    pub(super) fn channels<S: Simd>(
        &self,
        simd: S,
        x: &[f32],
        channels: Range<usize>,
        padded: &mut [f32],
        target: Target,
    ) {
        let plane = self.output.plane();
        for (i, c) in channels.enumerate() {
            self.phases.split::<S, false>(simd, &x[i * self.input.plane()..], padded);
            for o in c * self.multiplier..(c + 1) * self.multiplier {
                // SAFETY: channel `o` belongs to this part only.
                let out = unsafe { target.segment(o * plane, plane) };
                self.channel(simd, padded, o, out);
                self.epilogue.finish(out);
            }
        }
    }

    /// One output channel from its phase planes.
    #[inline(always)]
    fn channel<S: Simd>(&self, simd: S, padded: &[f32], o: usize, out: &mut [f32]) {
        match (self.kernel, self.plain) {
            ([3, 3], true) => self.rows_shared::<S, 3, 9>(simd, padded, o, out),
            ([5, 5], true) => self.rows_shared::<S, 5, 25>(simd, padded, o, out),
            ([3, 3], false) => self.rows_apart::<S, 9>(simd, padded, o, out),
            ([5, 5], false) => self.rows_apart::<S, 25>(simd, padded, o, out),
            _ => self.any(simd, padded, o, out),
        }
    }

    /// Stride and dilation 1, `K`×`K` with `T = K²` taps.
    #[inline(always)]
    fn rows_shared<S: Simd, const K: usize, const T: usize>(
        &self,
        simd: S,
        padded: &[f32],
        o: usize,
        out: &mut [f32],
    ) {
        let Shape { h, w, .. } = self.output;
        let width = self.phases.width;
        let mut taps = [simd.splat_f32s(0.0); T];
        for (tap, &weight) in taps.iter_mut().zip(&self.weights[o * T..][..T]) {
            *tap = simd.splat_f32s(weight);
        }
        let bias = simd.splat_f32s(self.bias[o]);
        let slope = simd.splat_f32s(self.epilogue.slope());
        let mut y = 0;
        while y + ROWS <= h {
            for x in starts::<S>(w) {
                let mut sums = [bias; ROWS];
                for i in 0..ROWS + K - 1 {
                    let row = &padded[(y + i) * width + x..][..S::F32_LANES + K - 1];
                    for kx in 0..K {
                        let v = load::<S>(row, kx);
                        for r in 0..ROWS {
                            if i >= r && i - r < K {
                                sums[r] = simd.mul_add_f32s(taps[(i - r) * K + kx], v, sums[r]);
                            }
                        }
                    }
                }
                for (r, sum) in sums.into_iter().enumerate() {
                    put(simd, out, (y + r) * w + x, w - x, lean(simd, sum, slope));
                }
            }
            y += ROWS;
        }
        for y in y..h {
            for x in starts::<S>(w) {
                let mut sum = bias;
                for i in 0..K {
                    let row = &padded[(y + i) * width + x..][..S::F32_LANES + K - 1];
                    for kx in 0..K {
                        sum = simd.mul_add_f32s(taps[i * K + kx], load::<S>(row, kx), sum);
                    }
                }
                put(simd, out, y * w + x, w - x, lean(simd, sum, slope));
            }
        }
    }

    /// Any stride and dilation, `T` taps.
    #[inline(always)]
    fn rows_apart<S: Simd, const T: usize>(&self, simd: S, padded: &[f32], o: usize, out: &mut [f32]) {
        let Shape { h, w, .. } = self.output;
        let mut taps = [simd.splat_f32s(0.0); T];
        let mut offsets = [0; T];
        for t in 0..T {
            taps[t] = simd.splat_f32s(self.weights[o * T + t]);
            offsets[t] = self.phases.taps[t];
        }
        let bias = simd.splat_f32s(self.bias[o]);
        let slope = simd.splat_f32s(self.epilogue.slope());
        for y in 0..h {
            let base = &padded[y * self.phases.width..];
            for x in starts::<S>(w) {
                let mut sum = bias;
                for t in 0..T {
                    sum = simd.mul_add_f32s(taps[t], load::<S>(base, offsets[t] + x), sum);
                }
                put(simd, out, y * w + x, w - x, lean(simd, sum, slope));
            }
        }
    }

    /// Any window.
    #[inline(always)]
    fn any<S: Simd>(&self, simd: S, padded: &[f32], o: usize, out: &mut [f32]) {
        let Shape { h, w, .. } = self.output;
        let taps = self.phases.taps.len();
        let bias = simd.splat_f32s(self.bias[o]);
        let slope = simd.splat_f32s(self.epilogue.slope());
        for y in 0..h {
            let base = &padded[y * self.phases.width..];
            for x in starts::<S>(w) {
                let mut sum = bias;
                for (&weight, &offset) in self.weights[o * taps..][..taps].iter().zip(&self.phases.taps) {
                    let v = load::<S>(base, offset + x);
                    sum = simd.mul_add_f32s(simd.splat_f32s(weight), v, sum);
                }
                put(simd, out, y * w + x, w - x, lean(simd, sum, slope));
            }
        }
    }
}

/// Starts of the vectors that cover a row; the last one ends with the row.
#[inline(always)]
fn starts<S: Simd>(w: usize) -> impl Iterator<Item = usize> {
    let last = w.saturating_sub(S::F32_LANES);
    (0..w).step_by(S::F32_LANES).map(move |x| if x < last { x } else { last })
}

/// Stores a vector of which `valid` lanes belong to the row. Rows are stored in ascending order,
/// so that what spills over is overwritten; at the feature map's end it is cut off.
#[inline(always)]
fn put<S: Simd>(simd: S, out: &mut [f32], at: usize, valid: usize, value: S::f32s) {
    if at + S::F32_LANES <= out.len() {
        store::<S>(out, at, value);
    } else {
        simd.partial_store_f32s(&mut out[at..at + valid], value);
    }
}
