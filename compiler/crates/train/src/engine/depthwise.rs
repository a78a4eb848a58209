//! Depthwise convolution: one filter a channel, so a channel of all images is one task.

use rayon::prelude::*;
use secateur_ir::{Conv, Shape};

use super::epilogue::GradientRow;
use super::gradients::Sink;
use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::statistics::{Moments, Projections};
use super::value::{Read, Row};
use super::window::{Scratch, Strip, Window};
use crate::matrix::{Correlation, Packed, Product, written};
use crate::scalar::Scalar;

/// Grid positions of a strip, which stays in the first-level cache.
const STRIP: usize = 1 << 11;

/// A convolution whose groups have one input and one output channel.
pub(super) struct Depthwise<T> {
    weights: Parameter<T>,
    window: Window,
    images: usize,
}

/// Taps of one phase of the input's gradient: the phase, its weights, and where their gradients are.
struct Phase<T> {
    phase: (usize, usize),
    weights: Packed<T>,
    offsets: Vec<usize>,
}

impl<T: Scalar> Depthwise<T> {
    /// `weights` are `[c][kernel rows][kernel columns]`.
    pub(super) fn new(conv: &Conv, weights: Vec<T>, input: Shape, output: Shape, images: usize) -> Self {
        let window = Window::new(conv, input, output);
        Self { weights: Parameter::new(Kind::Weights, weights), window, images }
    }

    /// Fills the planes of a strip.
    #[inline(always)]
    fn load(&self, row: Row<'_, T>, strip: &Strip, scratch: &mut Scratch<T>) {
        let len = self.window.planes_len(strip);
        scratch.planes.resize(len + self.window.tail(), T::ZERO);
        // Read with the last row: what an earlier strip left there need not be finite.
        scratch.planes[len..].fill(T::ZERO);
        self.window.load(row, strip, &mut scratch.planes[..len], &mut scratch.line, T::ZERO);
    }

    fn forward_channel(&self, weights: &[T], row: Row<'_, T>, out: &mut [T], scratch: &mut Scratch<T>) {
        let left = Packed::new(1, weights.len(), |_, tap| weights[tap]);
        for strip in self.window.strips(self.images, STRIP) {
            let (grid, offsets) = (self.window.grid_len(&strip), self.window.offsets(&strip));
            T::vectorise(
                #[inline(always)]
                || self.load(row, &strip, scratch),
            );
            scratch.grid.resize(grid, T::ZERO);
            T::product(Product {
                left: &left,
                right: &scratch.planes,
                offsets: &offsets,
                columns: grid,
                out: &mut written([&mut scratch.grid[..grid]]),
            });
            self.window.unload_grid(&strip, &scratch.grid, &mut out[self.window.output_range(&strip)]);
        }
    }

    /// Returns the gradient of the channel's weights.
    fn weight_gradient(
        &self,
        row: Row<'_, T>,
        gradient: GradientRow<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> Vec<T> {
        let mut sums = vec![T::ZERO; self.window.taps()];
        for strip in self.window.strips(self.images, STRIP) {
            let (grid, offsets) = (self.window.grid_len(&strip), self.window.offsets(&strip));
            let start = self.window.output_range(&strip).start;
            scratch.grid.resize(grid, T::ZERO);
            T::vectorise(
                #[inline(always)]
                || {
                    self.load(row, &strip, scratch);
                    let read = |at: usize, out: &mut [T]| gradient.read(start + at, out);
                    self.window.load_grid(&strip, &mut scratch.grid[..grid], T::ZERO, read);
                },
            );
            T::correlate(Correlation {
                left: &scratch.grid,
                pitch: grid,
                right: &scratch.planes,
                offsets: &offsets,
                columns: grid,
                sums: &mut sums,
            });
        }
        sums
    }

    /// Hands the gradient of the channel's input back, and returns its projections.
    fn input_gradient(
        &self,
        weights: &[T],
        gradient: GradientRow<'_, T>,
        mut sink: Sink<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> Projections {
        let transposed = self.window.transposed();
        let phases: Vec<Phase<T>> = transposed
            .phases()
            .into_iter()
            .map(|phase| {
                let taps = transposed.taps(phase);
                let left = Packed::new(1, taps.len(), |_, i| weights[taps[i].0]);
                Phase { phase, weights: left, offsets: taps.iter().map(|&(_, offset)| offset).collect() }
            })
            .collect();
        let mut projections = Projections::default();
        for strip in transposed.strips(self.images, STRIP) {
            let (plane, grid) = (transposed.plane_len(&strip), transposed.grid_len(&strip));
            scratch.planes.resize(plane + transposed.tail(), T::ZERO);
            scratch.planes[plane..].fill(T::ZERO);
            scratch.grid.resize(grid, T::ZERO);
            T::vectorise(
                #[inline(always)]
                || transposed.load(&gradient, &strip, &mut scratch.planes[..plane]),
            );
            let range = transposed.input_range(&strip);
            let mut part = sink.part(range);
            for Phase { phase, weights, offsets } in &phases {
                T::product(Product {
                    left: weights,
                    right: &scratch.planes,
                    offsets,
                    columns: grid,
                    out: &mut written([&mut scratch.grid[..grid]]),
                });
                T::vectorise(
                    #[inline(always)]
                    || transposed.unload(&scratch.grid, &strip, *phase, &mut part),
                );
            }
            projections.add(T::vectorise(
                #[inline(always)]
                || part.projections(),
            ));
        }
        projections
    }
}

impl<T: Scalar> Operator<T> for Depthwise<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, wants_moments, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let taps = self.window.taps();
        let moments: Vec<Moments> = out
            .rows_mut()
            .into_par_iter()
            .zip(rows)
            .enumerate()
            .map_init(Scratch::default, |scratch, (c, (out, row))| {
                self.forward_channel(&self.weights.value[c * taps..][..taps], row, out, scratch);
                if !wants_moments {
                    return Moments::default();
                }
                T::vectorise(
                    #[inline(always)]
                    || Moments::of(out),
                )
            })
            .collect();
        if wants_moments {
            out.moments = moments;
        }
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, node, gradients, .. } = backward;
        let taps = self.window.taps();
        let sinks = gradients.summing_sinks(&inputs[0], maps, node);
        let this = &*self;
        let (sums, projections): (Vec<Vec<T>>, Vec<Projections>) = maps
            .rows(&inputs[0])
            .into_par_iter()
            .zip(sinks)
            .enumerate()
            .map_init(Scratch::default, |scratch, (c, (row, sink))| {
                let (weights, gradient) = (&this.weights.value[c * taps..][..taps], gradient.row(c));
                let sums = this.weight_gradient(row, gradient, scratch);
                let projections = sink.map(|sink| this.input_gradient(weights, gradient, sink, scratch));
                (sums, projections.unwrap_or_default())
            })
            .unzip();
        for (total, sum) in self.weights.gradient.iter_mut().zip(sums.iter().flatten()) {
            *total += *sum;
        }
        gradients.record(&inputs[0], node, &projections);
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
