//! Pooling: maxima and means over windows, over whole maps, and over channels.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::{Divisor, Extent, Pool, Shape};

use super::operator::{Backward, Forward, Operator};
use super::value::{Row, Sink};
use crate::scalar::Scalar;

/// Maximum over a window; the first of equal ones counts.
pub(super) struct MaxPool {
    pool: Pool,
    input: Shape,
    output: Shape,
    /// `[c][image][h][w]`: the input pixel that was the largest, within its image.
    largest: Vec<u32>,
}

impl MaxPool {
    pub(super) fn new(pool: Pool, input: Shape, output: Shape) -> Self {
        Self { pool, input, output, largest: Vec::new() }
    }

    /// Maximum over whole maps.
    pub(super) fn global(input: Shape, output: Shape) -> Self {
        let pool = Pool { kernel: [input.h, input.w], ..Pool::square(1, 1) };
        Self::new(pool, input, output)
    }

    #[inline(always)]
    fn forward_channel<T: Scalar>(&self, row: Row<'_, T>, out: &mut [T], largest: &mut [u32]) {
        let mut image = vec![T::ZERO; self.input.plane()];
        let rows: Vec<Extent> = (0..self.output.h).map(|y| self.pool.extent(0, y, self.input.h)).collect();
        let columns: Vec<Extent> = (0..self.output.w).map(|x| self.pool.extent(1, x, self.input.w)).collect();
        let planes =
            out.chunks_exact_mut(self.output.plane()).zip(largest.chunks_exact_mut(self.output.plane()));
        for (i, (out, largest)) in planes.enumerate() {
            row.read(i * self.input.plane(), &mut image);
            let mut outputs = out.iter_mut().zip(largest);
            for rows in &rows {
                for (columns, (out, largest)) in columns.iter().zip(&mut outputs) {
                    // A window that meets no pixel has no largest one.
                    let mut best = (T::from_f32(f32::MIN), usize::MAX);
                    for y in rows.inside.clone() {
                        for x in columns.inside.clone() {
                            let at = y * self.input.w + x;
                            if image[at] > best.0 {
                                best = (image[at], at);
                            }
                        }
                    }
                    (*out, *largest) = (best.0, u32::try_from(best.1).unwrap_or(u32::MAX));
                }
            }
        }
    }
}

impl<T: Scalar> Operator<T> for MaxPool {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let len = out.row_len();
        let mut largest = std::mem::take(&mut self.largest);
        largest.resize(len * self.output.c, 0);
        let outputs = out.rows_mut().into_par_iter().zip(largest.par_chunks_exact_mut(len));
        outputs.zip(rows).for_each(|((out, largest), row)| {
            T::vectorise(
                #[inline(always)]
                || self.forward_channel(row, out, largest),
            );
        });
        self.largest = largest;
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let len = out.row_len();
        let sinks = gradients.sinks(&inputs[0]).into_par_iter();
        let sources = gradient.par_chunks_exact(len).zip(self.largest.par_chunks_exact(len));
        sinks.zip(sources).for_each(|(sink, (gradient, largest))| {
            let Some(mut sink) = sink else { return };
            sink.zero();
            let (from, to) = (self.output.plane(), self.input.plane());
            for (i, (gradient, largest)) in
                gradient.chunks_exact(from).zip(largest.chunks_exact(from)).enumerate()
            {
                let image = &mut sink.row[i * to..][..to];
                for (&g, &at) in gradient.iter().zip(largest) {
                    if let Some(sum) = image.get_mut(at as usize) {
                        *sum += g;
                    }
                }
            }
        });
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
