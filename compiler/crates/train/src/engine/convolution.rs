//! Convolution of any kernel, stride, dilation and number of groups, as matrix products over strips of rows.
//!
//! Work is cut by shape alone and sums are added in a fixed order, so that results do not depend on the number of
//! threads.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::{Conv, Shape};

use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::value::{Row, Sink, split, split_sinks};
use super::window::{Scratch, Strip, Window};
use crate::matrix::{BLOCK, Correlation, PARTS, Packed, Product, parts, written};
use crate::scalar::Scalar;

/// Grid positions of a strip: about as many as fit the second-level cache with all channels.
const STRIP: usize = 16 * BLOCK;

/// A convolution with one or more input channels a group.
pub(super) struct Convolution<T> {
    weights: Parameter<T>,
    groups: usize,
    in_group: usize,
    out_group: usize,
    window: Window,
    images: usize,
}

impl<T: Scalar> Convolution<T> {
    /// `weights` are `[out][in/groups][kernel rows][kernel columns]`.
    pub(super) fn new(conv: &Conv, weights: Vec<T>, input: Shape, output: Shape, images: usize) -> Self {
        Self {
            weights: Parameter::new(Kind::Weights, weights),
            groups: conv.groups,
            in_group: input.c / conv.groups,
            out_group: conv.filters / conv.groups,
            window: Window::new(conv, input, output),
            images,
        }
    }

    fn depth(&self) -> usize {
        self.in_group * self.window.taps()
    }

    /// Loads the phase planes of a group's channels.
    #[inline(always)]
    fn load(&self, rows: &[Row<'_, T>], strip: &Strip, scratch: &mut Scratch<T>) {
        let len = self.window.planes_len(strip.rows.len());
        scratch.planes.resize(rows.len() * len + self.window.tail(), T::ZERO);
        for (&row, planes) in rows.iter().zip(scratch.planes.chunks_exact_mut(len)) {
            self.window.load(row, strip, planes, &mut scratch.line);
        }
        // Read with the last channel's: what an earlier strip left there need not be finite.
        scratch.planes[rows.len() * len..].fill(T::ZERO);
    }

    /// For every column of a filter, the distance to its pixel.
    fn offsets(&self, strip: &Strip) -> Vec<usize> {
        let len = self.window.planes_len(strip.rows.len());
        let taps = self.window.offsets(strip.rows.len());
        (0..self.in_group).flat_map(|i| taps.iter().map(move |tap| i * len + tap)).collect()
    }

    /// Gradient of the weights: the strips' shares one after the other, then the partial sums in order.
    fn weight_gradient(&mut self, rows: &[Row<'_, T>], gradient: &[T]) {
        let strips = self.window.strips(self.images, STRIP);
        let len = self.weights.value.len();
        let parts = parts(strips.len(), len);
        // Where partial sums would be too many, the filters are shared out as well.
        let bands = (PARTS / parts).clamp(1, self.out_group.div_ceil(8));
        let tasks: Vec<(usize, usize)> =
            (0..parts).flat_map(|part| (0..bands).map(move |band| (part, band))).collect();
        let this = &*self;
        let partial: Vec<Vec<T>> = tasks
            .into_par_iter()
            .map_init(Scratch::default, |scratch, (part, band)| {
                let range = |count: usize, of: usize, i: usize| count * i / of..count * (i + 1) / of;
                let filters = range(this.out_group, bands, band);
                let mut sums = vec![T::ZERO; this.groups * filters.len() * this.depth()];
                for strip in &strips[range(strips.len(), parts, part)] {
                    this.correlate(rows, gradient, strip, &filters, scratch, &mut sums);
                }
                sums
            })
            .collect();
        for (i, sums) in partial.iter().enumerate() {
            let band = i % bands;
            let filters = self.out_group * band / bands..self.out_group * (band + 1) / bands;
            let (depth, out_group) = (self.depth(), self.out_group);
            for (group, sums) in sums.chunks_exact(filters.len() * depth).enumerate() {
                let at = (group * out_group + filters.start) * depth;
                let target = &mut self.weights.gradient[at..][..sums.len()];
                target.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
            }
        }
    }

    /// Adds one strip's share of the gradient of some filters of every group.
    fn correlate(
        &self,
        rows: &[Row<'_, T>],
        gradient: &[T],
        strip: &Strip,
        filters: &Range<usize>,
        scratch: &mut Scratch<T>,
        sums: &mut [T],
    ) {
        let grid = self.window.grid_len(strip.rows.len());
        let row_len = self.images * self.window.rows.output * self.window.columns.output;
        let range = self.window.output_range(strip);
        let offsets = self.offsets(strip);
        for (group, sums) in sums.chunks_exact_mut(filters.len() * self.depth()).enumerate() {
            scratch.grid.resize(filters.len() * grid, T::ZERO);
            T::vectorise(
                #[inline(always)]
                || {
                    self.load(&rows[group * self.in_group..][..self.in_group], strip, scratch);
                    for (filter, grid) in filters.clone().zip(scratch.grid.chunks_exact_mut(grid)) {
                        let row = &gradient[(group * self.out_group + filter) * row_len..][..row_len];
                        self.window.load_grid(&row[range.clone()], grid);
                    }
                },
            );
            T::correlate(Correlation {
                left: &scratch.grid,
                pitch: grid,
                right: &scratch.planes,
                offsets: &offsets,
                columns: grid,
                sums,
            });
        }
    }

    /// Gradients of the inputs.
    fn input_gradient(&self, gradient: &[T], sinks: Vec<Option<Sink<'_, T>>>) {
        if sinks.iter().all(Option::is_none) {
            return;
        }
        let transposed = self.window.transposed();
        let strips = transposed.strips(self.images, STRIP);
        let ranges: Vec<Range<usize>> = strips.iter().map(|strip| transposed.input_range(strip)).collect();
        let (depth, taps) = (self.depth(), self.window.taps());
        // For each phase its taps, and for each group the filters' weights there, by input channel.
        let phases: Vec<_> = transposed
            .phases()
            .into_iter()
            .map(|phase| {
                let of_phase = transposed.taps(phase);
                let count = of_phase.len();
                let packed: Vec<Packed<T>> = (0..self.groups)
                    .map(|group| {
                        Packed::new(self.in_group, self.out_group * count, |i, j| {
                            let (filter, tap) = (group * self.out_group + j / count, of_phase[j % count].0);
                            self.weights.value[filter * depth + i * taps + tap]
                        })
                    })
                    .collect();
                (phase, of_phase, packed)
            })
            .collect();
        let row_len = self.images * self.window.rows.output * self.window.columns.output;
        split_sinks(sinks, &ranges).into_par_iter().zip(&strips).for_each_init(
            Scratch::default,
            |scratch, (mut sinks, strip)| {
                let (plane, grid) =
                    (transposed.plane_len(strip.rows.len()), transposed.grid_len(strip.rows.len()));
                for (group, sinks) in sinks.chunks_mut(self.in_group).enumerate() {
                    if sinks.iter().all(Option::is_none) {
                        continue;
                    }
                    scratch.planes.resize(self.out_group * plane + BLOCK, T::ZERO);
                    scratch.planes[self.out_group * plane..].fill(T::ZERO);
                    T::vectorise(
                        #[inline(always)]
                        || {
                            let planes = scratch.planes.chunks_exact_mut(plane).take(self.out_group);
                            for (filter, plane) in planes.enumerate() {
                                let row = &gradient[(group * self.out_group + filter) * row_len..][..row_len];
                                transposed.load(row, strip, plane);
                            }
                        },
                    );
                    scratch.sums.resize(self.in_group * grid, T::ZERO);
                    for (phase, of_phase, packed) in &phases {
                        let offsets: Vec<usize> = (0..self.out_group)
                            .flat_map(|filter| {
                                of_phase.iter().map(move |&(_, offset)| filter * plane + offset)
                            })
                            .collect();
                        T::product(Product {
                            left: &packed[group],
                            right: &scratch.planes,
                            offsets: &offsets,
                            columns: grid,
                            out: &mut written(scratch.sums.chunks_exact_mut(grid)),
                        });
                        T::vectorise(
                            #[inline(always)]
                            || {
                                for (sink, sums) in sinks.iter_mut().zip(scratch.sums.chunks_exact(grid)) {
                                    if let Some(sink) = sink {
                                        transposed.unload(sums, strip, *phase, sink);
                                    }
                                }
                            },
                        );
                    }
                }
            },
        );
    }
}

impl<T: Scalar> Operator<T> for Convolution<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let depth = self.depth();
        let packed: Vec<Packed<T>> = self
            .weights
            .value
            .chunks_exact(self.out_group * depth)
            .map(|weights| Packed::new(self.out_group, depth, |r, j| weights[r * depth + j]))
            .collect();
        let strips = self.window.strips(self.images, STRIP);
        let ranges: Vec<Range<usize>> = strips.iter().map(|strip| self.window.output_range(strip)).collect();
        split(out.rows_mut(), &ranges).into_par_iter().zip(&strips).for_each_init(
            Scratch::default,
            |scratch, (mut out, strip)| {
                let offsets = self.offsets(strip);
                let grid = self.window.grid_len(strip.rows.len());
                for (group, out) in out.chunks_mut(self.out_group).enumerate() {
                    let rows = &rows[group * self.in_group..][..self.in_group];
                    T::vectorise(
                        #[inline(always)]
                        || self.load(rows, strip, scratch),
                    );
                    let (left, right) = (&packed[group], &scratch.planes[..]);
                    if self.window.columns.reach() == 0 {
                        let columns = out[0].len();
                        let mut out = written(out.iter_mut().map(|row| &mut **row));
                        T::product(Product { left, right, offsets: &offsets, columns, out: &mut out });
                        continue;
                    }
                    scratch.sums.resize(self.out_group * grid, T::ZERO);
                    let mut sums = written(scratch.sums.chunks_exact_mut(grid));
                    T::product(Product { left, right, offsets: &offsets, columns: grid, out: &mut sums });
                    for (pixels, sums) in out.iter_mut().zip(scratch.sums.chunks_exact(grid)) {
                        self.window.unload_grid(sums, pixels);
                    }
                }
            },
        );
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, gradients, .. } = backward;
        self.weight_gradient(&maps.rows(&inputs[0]), gradient);
        self.input_gradient(gradient, gradients.sinks(&inputs[0]));
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
