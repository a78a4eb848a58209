//! Pooling: maxima and means over windows, over whole maps, and over channels.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::{Divisor, Pool, Shape};

use super::gradients::Sink;
use super::operator::{Backward, Forward, Operator};
use super::scratch::Scratch;
use super::statistics::Projections;
use super::value::{Read, Row};
use super::window::Window;
use crate::scalar::Scalar;

/// Maximum over a window; the first of equal ones counts.
pub(super) struct MaxPool {
    window: Window,
    output: Shape,
    /// `[c][image][h][w]`: the window's tap that met the largest pixel, or `NONE`.
    largest: Vec<u32>,
}

/// Grid positions of a strip, which stays in the first-level cache.
const STRIP: usize = 1 << 11;

/// No tap: a window that meets no pixel has no largest one.
const NONE: u32 = u32::MAX;

impl MaxPool {
    pub(super) fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        Self { window: Window::of_pool(pool, input, output), output, largest: Vec::new() }
    }

    /// Maximum over whole maps.
    pub(super) fn global(input: Shape, output: Shape) -> Self {
        Self::new(&Pool { kernel: [input.h, input.w], ..Pool::square(1, 1) }, input, output)
    }

    #[inline(always)]
    fn forward_channel<T: Scalar>(
        &self,
        row: Row<'_, T>,
        out: &mut [T],
        largest: &mut [u32],
        scratch: &mut Scratch<T>,
    ) {
        let lowest = T::from_f32(f32::MIN);
        let Scratch { planes, grid, line, taps, .. } = scratch;
        for strip in self.window.strips(out.len() / self.output.plane(), STRIP) {
            let (len, grid_len) = (self.window.planes_len(&strip), self.window.grid_len(&strip));
            planes.resize(len + self.window.tail());
            self.window.load(row, &strip, planes, line, lowest);
            grid.resize(grid_len);
            grid.fill(lowest);
            taps.clear();
            taps.resize(grid_len, NONE);
            for (tap, offset) in self.window.offsets(&strip).into_iter().enumerate() {
                let best = grid.iter_mut().zip(&mut *taps);
                for ((best, at), &value) in best.zip(&planes[offset..][..grid_len]) {
                    let larger = value > *best;
                    *best = if larger { value } else { *best };
                    *at = if larger { tap as u32 } else { *at };
                }
            }
            let range = self.window.output_range(&strip);
            self.window.unload_grid(&strip, grid, &mut out[range.clone()]);
            self.window.unload_grid(&strip, taps, &mut largest[range]);
        }
    }

    #[inline(always)]
    fn backward_channel<T: Scalar>(
        &self,
        gradient: &[T],
        largest: &[u32],
        sink: &mut Sink<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> Projections {
        let Scratch { planes, grid, line, taps, .. } = scratch;
        let mut sums = Projections::default();
        for strip in self.window.whole_strips(gradient.len() / self.output.plane(), STRIP) {
            let (len, grid_len) = (self.window.planes_len(&strip), self.window.grid_len(&strip));
            let range = self.window.output_range(&strip);
            grid.resize(grid_len);
            taps.resize(grid_len, NONE);
            self.window.load_grid(&strip, grid, T::ZERO, &gradient[range.clone()]);
            self.window.load_grid(&strip, taps, NONE, &largest[range]);
            planes.resize(len + self.window.tail());
            planes.fill(T::ZERO);
            for (tap, offset) in self.window.offsets(&strip).into_iter().enumerate() {
                let numbers = grid.iter().zip(&*taps);
                for (sum, (&g, &at)) in planes[offset..][..grid_len].iter_mut().zip(numbers) {
                    *sum += if at == tap as u32 { g } else { T::ZERO };
                }
            }
            self.window.unload(planes, sink, &strip, line);
            sums.add(sink.part(self.window.input_range(&strip)).projections());
        }
        sums
    }
}

impl<T: Scalar> Operator<T> for MaxPool {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, scratches, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let len = out.row_len();
        let mut largest = std::mem::take(&mut self.largest);
        largest.resize(len * self.output.c, NONE);
        let outputs = out.rows_mut().into_par_iter().zip(largest.par_chunks_exact_mut(len));
        outputs.zip(rows).for_each_init(
            || scratches.lend(),
            |scratch, ((out, largest), row)| {
                T::vectorise(
                    #[inline(always)]
                    || self.forward_channel(row, out, largest, scratch),
                );
            },
        );
        self.largest = largest;
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, out, gradient, node, gradients, scratches } = backward;
        let gradient = &*gradient.numbers();
        let len = out.row_len();
        let sinks = gradients.summing_sinks(&inputs[0], maps, node).into_par_iter();
        let sources = gradient.par_chunks_exact(len).zip(self.largest.par_chunks_exact(len));
        let sums: Vec<Projections> = sinks
            .zip(sources)
            .map_init(
                || scratches.lend(),
                |scratch, (sink, (gradient, largest))| {
                    let Some(mut sink) = sink else { return Projections::default() };
                    T::vectorise(
                        #[inline(always)]
                        || self.backward_channel(gradient, largest, &mut sink, scratch),
                    )
                },
            )
            .collect();
        gradients.record(&inputs[0], node, &sums);
    }
}

/// Mean over a window.
pub(super) struct AveragePool {
    pool: Pool,
    input: Shape,
    output: Shape,
}

impl AveragePool {
    pub(super) fn new(pool: Pool, input: Shape, output: Shape) -> Self {
        Self { pool, input, output }
    }

    /// Mean over whole maps.
    pub(super) fn global(input: Shape, output: Shape) -> Self {
        let pool = Pool { kernel: [input.h, input.w], ..Pool::square(1, 1) };
        Self::new(pool, input, output)
    }

    /// Calls `visit` with every output of a plane, its window's rows and columns, and the divisor.
    fn windows(&self, mut visit: impl FnMut(usize, &Range<usize>, &Range<usize>, f64)) {
        for y in 0..self.output.h {
            let rows = self.pool.extent(0, y, self.input.h);
            for x in 0..self.output.w {
                let columns = self.pool.extent(1, x, self.input.w);
                let count = match self.pool.divisor {
                    Divisor::Inside => rows.inside.len() * columns.inside.len(),
                    Divisor::Padded => rows.padded * columns.padded,
                };
                visit(y * self.output.w + x, &rows.inside, &columns.inside, count as f64);
            }
        }
    }
}

impl<T: Scalar> Operator<T> for AveragePool {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        out.rows_mut().into_par_iter().zip(rows).for_each(|(out, row)| {
            let mut image = vec![T::ZERO; self.input.plane()];
            for (i, out) in out.chunks_exact_mut(self.output.plane()).enumerate() {
                row.read(i * self.input.plane(), &mut image);
                self.windows(|at, rows, columns, count| {
                    let line = |y: usize| image[y * self.input.w..][columns.clone()].iter();
                    let sum: f64 = rows.clone().flat_map(line).map(|v| v.to_f64()).sum();
                    out[at] = T::from_f64(sum / count);
                });
            }
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let sinks = gradients.sinks(&inputs[0]).into_par_iter();
        sinks.zip(gradient.par_chunks_exact(out.row_len())).for_each(|(sink, gradient)| {
            let Some(mut sink) = sink else { return };
            sink.zero();
            let images =
                gradient.chunks_exact(self.output.plane()).zip(sink.row.chunks_exact_mut(self.input.plane()));
            for (gradient, image) in images {
                self.windows(|at, rows, columns, count| {
                    let share = T::from_f64(gradient[at].to_f64() / count);
                    for y in rows.clone() {
                        image[y * self.input.w..][columns.clone()].iter_mut().for_each(|g| *g += share);
                    }
                });
            }
        });
    }
}

/// Maximum over every `outputs`-th channel (`maxpool_depth=1`).
pub(super) struct DepthPool {
    /// `[c][image][h][w]`: the channel that was the largest.
    largest: Vec<u32>,
}

impl DepthPool {
    pub(super) fn new() -> Self {
        Self { largest: Vec::new() }
    }
}

impl<T: Scalar> Operator<T> for DepthPool {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let (len, outputs) = (out.row_len(), out.shape.c);
        self.largest.resize(len * outputs, 0);
        for (c, (out, largest)) in
            out.rows_mut().into_iter().zip(self.largest.chunks_exact_mut(len)).enumerate()
        {
            for (at, (out, largest)) in out.iter_mut().zip(largest).enumerate() {
                let mut best = (T::from_f32(f32::MIN), c);
                for k in (c..rows.len()).step_by(outputs) {
                    let value = rows[k].at(at);
                    if value > best.0 {
                        best = (value, k);
                    }
                }
                (*out, *largest) = (best.0, best.1 as u32);
            }
        }
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let len = out.row_len();
        let mut sinks: Vec<Option<Sink<'_, T>>> = gradients.sinks(&inputs[0]);
        sinks.iter_mut().flatten().for_each(Sink::zero);
        for (i, (&g, &channel)) in gradient.iter().zip(&self.largest).enumerate() {
            if let Some(sink) = &mut sinks[channel as usize] {
                sink.row[i % len] += g;
            }
        }
    }
}
