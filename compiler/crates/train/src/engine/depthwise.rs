//! Depthwise convolution: one filter a channel, so a channel of all images is one task.

use rayon::prelude::*;
use secateur_ir::{Conv, Shape};

use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::value::{Row, Sink};
use super::window::{Scratch, Strip, Window};
use crate::matrix::{Correlation, LANES};
use crate::scalar::Scalar;

/// A convolution whose groups have one input and one output channel.
pub(super) struct Depthwise<T> {
    weights: Parameter<T>,
    window: Window,
    images: usize,
}

impl<T: Scalar> Depthwise<T> {
    /// `weights` are `[c][kernel rows][kernel columns]`.
    pub(super) fn new(conv: &Conv, weights: Vec<T>, input: Shape, output: Shape, images: usize) -> Self {
        let window = Window::new(conv, input, output);
        Self { weights: Parameter::new(Kind::Weights, weights), window, images }
    }

    fn strip(&self, image: usize) -> Strip {
        Strip { image, rows: 0..self.window.rows.output }
    }

    /// Makes room for the planes of a whole image.
    fn resize(&self, scratch: &mut Scratch<T>) {
        let rows = self.window.rows.output;
        let planes = self.window.planes_len(rows) + self.window.tail();
        scratch.planes.resize(planes, T::ZERO);
        // Read with the last row: what an earlier layer left there need not be finite.
        scratch.planes[planes - self.window.tail()..].fill(T::ZERO);
    }

    #[inline(always)]
    fn forward_channel(&self, weights: &[T], row: Row<'_, T>, out: &mut [T], scratch: &mut Scratch<T>) {
        self.resize(scratch);
        let rows = self.window.rows.output;
        let (offsets, len) = (self.window.offsets(rows), self.window.planes_len(rows));
        scratch.grid.resize(self.window.grid_len(rows), T::ZERO);
        for image in 0..self.images {
            let strip = self.strip(image);
            self.window.load(row, &strip, &mut scratch.planes[..len], &mut scratch.line);
            weighted_sum(&scratch.planes, &offsets, weights, &mut scratch.grid);
            self.window.unload_grid(&scratch.grid, &mut out[self.window.output_range(&strip)]);
        }
    }

    /// Gradient of the channel's weights; its input's goes to `sink`.
    #[inline(always)]
    fn backward_channel(
        &self,
        weights: &[T],
        row: Row<'_, T>,
        gradient: &[T],
        mut sink: Option<Sink<'_, T>>,
        scratch: &mut Scratch<T>,
    ) -> Vec<T> {
        self.resize(scratch);
        let rows = self.window.rows.output;
        let (offsets, len) = (self.window.offsets(rows), self.window.planes_len(rows));
        let mut sums = vec![T::ZERO; weights.len()];
        let phases = self.window.phase_taps(rows);
        // Before the grid there is room for the furthest tap, behind it for what is read with the last row.
        let margin = offsets.iter().zip(&phases).map(|(offset, phase)| offset - phase).max().unwrap_or(0);
        let margin = margin.next_multiple_of(LANES);
        let grid = self.window.grid_len(rows);
        let plane = len / self.window.phase_count();
        let end = margin + grid;
        scratch.grid.resize(margin + grid.max(plane) + LANES, T::ZERO);
        scratch.grid[..margin].fill(T::ZERO);
        scratch.grid[end..].fill(T::ZERO);
        for image in 0..self.images {
            let strip = self.strip(image);
            self.window.load(row, &strip, &mut scratch.planes[..len], &mut scratch.line);
            let pixels = &gradient[self.window.output_range(&strip)];
            self.window.load_grid(pixels, &mut scratch.grid[margin..margin + grid]);
            T::correlate(Correlation {
                left: &scratch.grid[margin..],
                pitch: grid,
                right: &scratch.planes,
                offsets: &offsets,
                columns: grid,
                sums: &mut sums,
            });
            let Some(sink) = &mut sink else { continue };
            scratch.sums.resize(len, T::ZERO);
            for (phase, planes) in scratch.sums.chunks_exact_mut(plane).enumerate() {
                let taps = || (0..weights.len()).filter(|&tap| phases[tap] == phase * plane);
                let behind: Vec<usize> = taps().map(|tap| margin + phase * plane - offsets[tap]).collect();
                let weights: Vec<T> = taps().map(|tap| weights[tap]).collect();
                weighted_sum(&scratch.grid, &behind, &weights, planes);
            }
            self.window.unload(&scratch.sums, sink, image, &mut scratch.line);
        }
        sums
    }
}

/// `out[i] = Σ_t weights[t] · x[offsets[t] + i]`.
#[inline(always)]
fn weighted_sum<T: Scalar>(x: &[T], offsets: &[usize], weights: &[T], out: &mut [T]) {
    /// Numbers of `out` that stay in the first-level cache while all taps are added.
    const RUN: usize = 512;
    for (run, out) in out.chunks_mut(RUN).enumerate() {
        let at = run * RUN;
        let mut taps = offsets.chunks(3).zip(weights.chunks(3));
        let first = taps.next();
        match first {
            Some((offsets, weights)) => three_taps(&x[at..], offsets, weights, out, false),
            None => out.fill(T::ZERO),
        }
        taps.for_each(|(offsets, weights)| three_taps(&x[at..], offsets, weights, out, true));
    }
}

/// Up to three taps in one sweep.
#[inline(always)]
fn three_taps<T: Scalar>(x: &[T], offsets: &[usize], weights: &[T], out: &mut [T], add: bool) {
    let len = out.len();
    let row = |t: usize| &x[offsets[t]..][..len];
    match (offsets.len(), add) {
        (3, false) => {
            let (a, b, c) = (row(0), row(1), row(2));
            for i in 0..len {
                out[i] = weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i];
            }
        }
        (3, true) => {
            let (a, b, c) = (row(0), row(1), row(2));
            for i in 0..len {
                out[i] += weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i];
            }
        }
        _ => {
            if !add {
                out.fill(T::ZERO);
            }
            for (t, &weight) in weights.iter().enumerate() {
                out.iter_mut().zip(row(t)).for_each(|(y, &v)| *y += weight * v);
            }
        }
    }
}

impl<T: Scalar> Operator<T> for Depthwise<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let taps = self.window.taps();
        out.rows_mut().into_par_iter().zip(rows).enumerate().for_each_init(
            Scratch::default,
            |scratch, (c, (out, row))| {
                let weights = &self.weights.value[c * taps..][..taps];
                T::vectorise(
                    #[inline(always)]
                    || self.forward_channel(weights, row, out, scratch),
                );
            },
        );
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, gradients, .. } = backward;
        let rows = maps.rows(&inputs[0]);
        let sinks = gradients.sinks(&inputs[0]);
        let taps = self.window.taps();
        let len = self.images * self.window.rows.output * self.window.columns.output;
        let this = &*self;
        let sums: Vec<Vec<T>> = rows
            .into_par_iter()
            .zip(sinks)
            .enumerate()
            .map_init(Scratch::default, |scratch, (c, (row, sink))| {
                let weights = &this.weights.value[c * taps..][..taps];
                let gradient = &gradient[c * len..][..len];
                T::vectorise(
                    #[inline(always)]
                    || this.backward_channel(weights, row, gradient, sink, scratch),
                )
            })
            .collect();
        for (total, sum) in self.weights.gradient.iter_mut().zip(sums.iter().flatten()) {
            *total += *sum;
        }
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
