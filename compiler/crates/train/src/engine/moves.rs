//! Operators that move pixels: upsampling, and whatever gives every output one input pixel.

use rayon::prelude::*;
use secateur_ir::{Shape, Upsample};

use super::gradients::Sink;
use super::operator::{Backward, Forward, Operator};
use super::value::Read;
use crate::scalar::Scalar;

/// Nearest-neighbour upsampling, or its opposite, the sum of blocks.
pub(super) struct Upsampling<T> {
    stride: usize,
    reverse: bool,
    scale: T,
    input: Shape,
    output: Shape,
}

impl<T: Scalar> Upsampling<T> {
    pub(super) fn new(upsample: &Upsample, input: Shape, output: Shape) -> Self {
        let Upsample { stride, reverse, scale } = *upsample;
        Self { stride, reverse, scale: T::from_f32(scale), input, output }
    }

    /// Every pixel of the smaller map goes to a block of the larger one.
    #[inline(always)]
    fn enlarge(
        &self,
        small: &[T],
        (from, to): (Shape, Shape),
        mut put: impl FnMut(usize, &[T]),
        line: &mut Vec<T>,
    ) {
        let s = self.stride;
        for (i, row) in small.chunks_exact(from.w).enumerate() {
            let (image, y) = (i / from.h, i % from.h);
            line.clear();
            row.iter().for_each(|&value| line.extend(std::iter::repeat_n(self.scale * value, s)));
            for copy in 0..s {
                put(image * to.plane() + (y * s + copy) * to.w, line);
            }
        }
    }

    /// Sums of the larger map's blocks.
    #[inline(always)]
    fn reduce(
        &self,
        large: &[T],
        (from, to): (Shape, Shape),
        mut put: impl FnMut(usize, &[T]),
        line: &mut Vec<T>,
    ) {
        let s = self.stride;
        for i in 0..large.len() / from.plane() * to.h {
            let (image, y) = (i / to.h, i % to.h);
            line.clear();
            line.resize(to.w, T::ZERO);
            for copy in 0..s {
                let row = &large[image * from.plane() + (y * s + copy) * from.w..][..from.w];
                for (sum, block) in line.iter_mut().zip(row.chunks_exact(s)) {
                    *sum += self.scale * block.iter().copied().sum::<T>();
                }
            }
            put(i * to.w, line);
        }
    }
}

impl<T: Scalar> Operator<T> for Upsampling<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let shapes = (self.input, self.output);
        out.rows_mut().into_par_iter().zip(maps.rows(&inputs[0])).for_each(|(out, row)| {
            let (mut read, mut line) = (vec![T::ZERO; row.raw.len()], Vec::new());
            row.read(0, &mut read);
            let put = |at: usize, values: &[T]| out[at..at + values.len()].copy_from_slice(values);
            if self.reverse {
                self.reduce(&read, shapes, put, &mut line);
            } else {
                self.enlarge(&read, shapes, put, &mut line);
            }
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let shapes = (self.output, self.input);
        let rows = gradient.par_chunks_exact(out.row_len());
        gradients.sinks(&inputs[0]).into_par_iter().zip(rows).for_each(|(sink, gradient)| {
            let (Some(mut sink), mut line) = (sink, Vec::new()) else { return };
            if self.reverse {
                // A remainder of rows or columns took no part.
                sink.zero();
                self.enlarge(gradient, shapes, |at, values| sink.put(at, values), &mut line);
            } else {
                self.reduce(gradient, shapes, |at, values| sink.put(at, values), &mut line);
            }
        });
    }
}

/// Every output is one input pixel: reorg, slice, transpose, reshape.
pub(super) struct Gather {
    /// For every output of one image, `[c][h][w]`, the input's place in `[c][h][w]`.
    from: Vec<u32>,
    input: Shape,
    output: Shape,
}

impl Gather {
    pub(super) fn new(from: Vec<u32>, input: Shape, output: Shape) -> Self {
        Self { from, input, output }
    }

    /// Channel and place in its plane of an output's input.
    fn source(&self, channel: usize, pixel: usize) -> (usize, usize) {
        let at = self.from[channel * self.output.plane() + pixel] as usize;
        (at / self.input.plane(), at % self.input.plane())
    }
}

impl<T: Scalar> Operator<T> for Gather {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let (plane, from) = (self.output.plane(), self.input.plane());
        out.rows_mut().into_par_iter().enumerate().for_each(|(c, out)| {
            for (at, y) in out.iter_mut().enumerate() {
                let (channel, pixel) = self.source(c, at % plane);
                *y = rows[channel].at(at / plane * from + pixel);
            }
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let mut sinks = gradients.sinks(&inputs[0]);
        sinks.iter_mut().flatten().for_each(Sink::zero);
        let (plane, from) = (self.output.plane(), self.input.plane());
        for (c, gradient) in gradient.chunks_exact(out.row_len()).enumerate() {
            for (at, &g) in gradient.iter().enumerate() {
                let (channel, pixel) = self.source(c, at % plane);
                if let Some(sink) = &mut sinks[channel] {
                    sink.row[at / plane * from + pixel] += g;
                }
            }
        }
    }
}
