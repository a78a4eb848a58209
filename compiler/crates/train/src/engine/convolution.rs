//! Convolution of any kernel, stride, dilation and number of groups, as matrix products over strips of rows.
//!
//! Work is cut by shape alone and sums are added in a fixed order, so that results do not depend on the number of
//! threads.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::{Conv, Shape};

use super::epilogue::GradientRow;
use super::gradients::{Sink, add_projections, split_sinks};
use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::scratch::{Loan, Scratch, Scratches};
use super::statistics::{Moments, Projections, join, moments_of};
use super::transposed::Transposed;
use super::value::{Read, Row, split};
use super::window::{Strip, Window};
use crate::matrix::{BLOCK, Correlation, PARTS, Packed, Product, parts, written};
use crate::scalar::Scalar;

/// Numbers of a strip's wider side, which fit the second-level cache.
const STRIP: usize = 1 << 16;

/// Grid positions of a strip of a correlation, whose sums are only folded at the strip's end.
const CORRELATED: usize = 1 << 11;

/// A convolution with one or more input channels a group.
pub(super) struct Convolution<T> {
    weights: Parameter<T>,
    groups: usize,
    in_group: usize,
    out_group: usize,
    window: Window,
    images: usize,
}

/// Weights that meet one phase of the input, and where their gradients are within a filter's plane.
struct Phase<T> {
    phase: (usize, usize),
    /// By group: the filters' weights by input channel.
    weights: Vec<Packed<T>>,
    offsets: Vec<usize>,
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

    /// Grid positions of a strip.
    fn strip_len(&self) -> usize {
        (STRIP / self.in_group.max(self.out_group)).max(BLOCK)
    }

    /// Loads the phase planes of a group's channels.
    fn load(&self, rows: &[Row<'_, T>], strip: &Strip, scratch: &mut Scratch<T>) {
        let Scratch { planes, line, .. } = scratch;
        let (len, tail) = (self.window.planes_len(strip), self.window.tail());
        planes.resize(rows.len() * len + tail);
        T::vectorise(
            #[inline(always)]
            || {
                // Each channel's tail is where the next one begins.
                for (i, &row) in rows.iter().enumerate() {
                    self.window.load(row, strip, &mut planes[i * len..][..len + tail], line, T::ZERO);
                }
            },
        );
    }

    /// For every column of a filter, the distance to its pixel.
    fn offsets(&self, strip: &Strip) -> Vec<usize> {
        let len = self.window.planes_len(strip);
        let taps = self.window.offsets(strip);
        (0..self.in_group).flat_map(|i| taps.iter().map(move |tap| i * len + tap)).collect()
    }

    /// Gradient of the weights: the strips' shares one after the other, then the partial sums in order.
    fn weight_gradient(
        &mut self,
        rows: &[Row<'_, T>],
        gradient: &[GradientRow<'_, T>],
        scratches: &Scratches<T>,
    ) {
        let strips = self.window.strips(self.images, CORRELATED);
        let len = self.weights.value.len();
        let parts = parts(strips.len(), len);
        // Where partial sums would be too many, the filters are shared out as well.
        let bands = (PARTS / parts).clamp(1, self.out_group.div_ceil(8));
        let range = |count: usize, of: usize, i: usize| count * i / of..count * (i + 1) / of;
        let mut gradients = std::mem::take(&mut self.weights.gradient);
        let (this, depth) = (&*self, self.depth());
        let add = |scratch: &mut Scratch<T>, part: usize, band: usize, sums: &mut [T]| {
            for strip in &strips[range(strips.len(), parts, part)] {
                this.correlate(rows, gradient, strip, &range(this.out_group, bands, band), scratch, sums);
            }
        };
        if (parts, this.groups) == (1, 1) {
            let mut rest = &mut gradients[..];
            let of_bands: Vec<&mut [T]> = (0..bands)
                .map(|band| {
                    let len = range(this.out_group, bands, band).len() * depth;
                    rest.split_off_mut(..len).expect("the bands are all filters")
                })
                .collect();
            let tasks = of_bands.into_par_iter().enumerate();
            tasks.for_each_init(|| scratches.lend(), |scratch, (band, sums)| add(scratch, 0, band, sums));
        } else {
            let tasks: Vec<(usize, usize)> =
                (0..parts).flat_map(|part| (0..bands).map(move |band| (part, band))).collect();
            let compute = |scratch: &mut Loan<'_, T>, (part, band): (usize, usize)| {
                let filters = range(this.out_group, bands, band).len();
                let mut sums = vec![T::ZERO; this.groups * filters * depth];
                add(scratch, part, band, &mut sums);
                sums
            };
            let partial: Vec<Vec<T>> = tasks.into_par_iter().map_init(|| scratches.lend(), compute).collect();
            for (i, sums) in partial.iter().enumerate() {
                let filters = range(this.out_group, bands, i % bands);
                for (group, sums) in sums.chunks_exact(filters.len() * depth).enumerate() {
                    let at = (group * this.out_group + filters.start) * depth;
                    let target = &mut gradients[at..][..sums.len()];
                    target.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
                }
            }
        }
        self.weights.gradient = gradients;
    }

    /// Adds one strip's share of the gradient of some filters of every group.
    fn correlate(
        &self,
        rows: &[Row<'_, T>],
        gradient: &[GradientRow<'_, T>],
        strip: &Strip,
        filters: &Range<usize>,
        scratch: &mut Scratch<T>,
        sums: &mut [T],
    ) {
        let grid = self.window.grid_len(strip);
        let range = self.window.output_range(strip);
        let offsets = self.offsets(strip);
        for (group, sums) in sums.chunks_exact_mut(filters.len() * self.depth()).enumerate() {
            self.load(&rows[group * self.in_group..][..self.in_group], strip, scratch);
            let Scratch { grid: grids, line, .. } = &mut *scratch;
            grids.resize(filters.len() * grid);
            line.resize(range.len());
            T::vectorise(
                #[inline(always)]
                || {
                    for (filter, grid) in filters.clone().zip(grids.chunks_exact_mut(grid)) {
                        gradient[group * self.out_group + filter].read(range.start, line);
                        self.window.load_grid(strip, grid, T::ZERO, line);
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

    /// One group's outputs in a strip.
    fn forward_strip(
        &self,
        rows: &[Row<'_, T>],
        strip: &Strip,
        left: &Packed<T>,
        out: &mut [&mut [T]],
        scratch: &mut Scratch<T>,
    ) {
        let grid = self.window.grid_len(strip);
        let offsets = self.offsets(strip);
        self.load(rows, strip, scratch);
        let right = &scratch.planes[..];
        if self.window.is_dense(strip) {
            let columns = out[0].len();
            let mut out = written(out.iter_mut().map(|row| &mut **row));
            return T::product(Product { left, right, offsets: &offsets, columns, out: &mut out });
        }
        scratch.sums.resize(self.out_group * grid);
        let mut sums = written(scratch.sums.chunks_exact_mut(grid));
        T::product(Product { left, right, offsets: &offsets, columns: grid, out: &mut sums });
        for (pixels, sums) in out.iter_mut().zip(scratch.sums.chunks_exact(grid)) {
            self.window.unload_grid(strip, sums, pixels);
        }
    }

    /// The weights that meet each phase of the input.
    fn phases(&self, transposed: &Transposed) -> Vec<Phase<T>> {
        let (depth, taps) = (self.depth(), self.window.taps());
        let of_phase = |phase| {
            let of_phase = transposed.taps(phase);
            let count = of_phase.len();
            let of_group = |group: usize| {
                Packed::new(self.in_group, self.out_group * count, |i, j| {
                    let (filter, tap) = (group * self.out_group + j / count, of_phase[j % count].0);
                    self.weights.value[filter * depth + i * taps + tap]
                })
            };
            let weights = (0..self.groups).map(of_group).collect();
            Phase { phase, weights, offsets: of_phase.into_iter().map(|(_, offset)| offset).collect() }
        };
        transposed.phases().into_iter().map(of_phase).collect()
    }

    /// Hands the gradients of the inputs back, and returns the projections of each channel.
    fn input_gradient(
        &self,
        gradient: &[GradientRow<'_, T>],
        sinks: Vec<Option<Sink<'_, T>>>,
        scratches: &Scratches<T>,
    ) -> Vec<Projections> {
        let mut projections = vec![Projections::default(); sinks.len()];
        if sinks.iter().all(Option::is_none) {
            return projections;
        }
        let transposed = self.window.transposed();
        let strips = transposed.strips(self.images, self.strip_len());
        let ranges: Vec<Range<usize>> = strips.iter().map(|strip| transposed.input_range(strip)).collect();
        let phases = self.phases(&transposed);
        let of_strips: Vec<Vec<Projections>> = split_sinks(sinks, &ranges)
            .into_par_iter()
            .zip(&strips)
            .map_init(
                || scratches.lend(),
                |scratch, (mut sinks, strip)| {
                    for (group, sinks) in sinks.chunks_mut(self.in_group).enumerate() {
                        let gradient = &gradient[group * self.out_group..][..self.out_group];
                        self.input_strip(&transposed, strip, (group, &phases), gradient, sinks, scratch);
                    }
                    let mut sums = vec![Projections::default(); sinks.len()];
                    add_projections(&sinks, &mut sums);
                    sums
                },
            )
            .collect();
        for of_strip in of_strips {
            projections.iter_mut().zip(of_strip).for_each(|(total, sums)| total.add(sums));
        }
        projections
    }

    /// One group's gradients of the inputs in a strip.
    fn input_strip(
        &self,
        transposed: &Transposed,
        strip: &Strip,
        (group, phases): (usize, &[Phase<T>]),
        gradient: &[GradientRow<'_, T>],
        sinks: &mut [Option<Sink<'_, T>>],
        scratch: &mut Scratch<T>,
    ) {
        if sinks.iter().all(Option::is_none) {
            return;
        }
        let (plane, grid) = (transposed.plane_len(strip), transposed.grid_len(strip));
        let Scratch { planes, line, .. } = &mut *scratch;
        planes.resize(self.out_group * plane + transposed.tail());
        T::vectorise(
            #[inline(always)]
            || {
                // Each filter's tail is where the next one begins.
                for (i, row) in gradient.iter().enumerate() {
                    let len = plane + transposed.tail();
                    transposed.load(row, strip, &mut planes[i * plane..][..len], line);
                }
            },
        );
        scratch.sums.resize(self.in_group * grid);
        for Phase { phase, weights, offsets } in phases {
            let offsets: Vec<usize> = (0..self.out_group)
                .flat_map(|filter| offsets.iter().map(move |offset| filter * plane + offset))
                .collect();
            T::product(Product {
                left: &weights[group],
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
}

impl<T: Scalar> Operator<T> for Convolution<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, wants_moments, scratches, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let depth = self.depth();
        let packed: Vec<Packed<T>> = self
            .weights
            .value
            .chunks_exact(self.out_group * depth)
            .map(|weights| Packed::new(self.out_group, depth, |r, j| weights[r * depth + j]))
            .collect();
        let strips = self.window.strips(self.images, self.strip_len());
        let ranges: Vec<Range<usize>> = strips.iter().map(|strip| self.window.output_range(strip)).collect();
        let moments: Vec<Vec<Moments>> = split(out.rows_mut(), &ranges)
            .into_par_iter()
            .zip(&strips)
            .map_init(
                || scratches.lend(),
                |scratch, (mut out, strip)| {
                    for (group, out) in out.chunks_mut(self.out_group).enumerate() {
                        let rows = &rows[group * self.in_group..][..self.in_group];
                        self.forward_strip(rows, strip, &packed[group], out, scratch);
                    }
                    if wants_moments { moments_of(&out) } else { Vec::new() }
                },
            )
            .collect();
        out.moments = join(&moments);
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, node, gradients, scratches, .. } = backward;
        let rows = gradient.rows();
        self.weight_gradient(&maps.rows(&inputs[0]), &rows, scratches);
        let projections =
            self.input_gradient(&rows, gradients.summing_sinks(&inputs[0], maps, node), scratches);
        gradients.record(&inputs[0], node, &projections);
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
