//! Operators on one pixel at a time: products of maps, copies, dropout; and the fully connected layer.

use rayon::prelude::*;
use secateur_ir::Shape;

use super::gradients::Sink;
use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::statistics::Projections;
use super::value::Read;
use crate::matrix::{BLOCK, Correlation, Packed, Product, written};
use crate::scalar::Scalar;

/// The map of the second input times the first input: an equal map, one number a channel, or one a pixel.
pub(super) struct Multiply {
    pub factors: Factors,
}

/// What a map is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factors {
    /// A map of the same shape.
    Map,
    /// `[c]`
    Channels,
    /// `[h][w]`
    Pixels,
}

impl Multiply {
    /// The factor's channel, and its number at place `at` of a channel of the map.
    fn place(&self, channel: usize, at: usize, plane: usize) -> (usize, usize) {
        match self.factors {
            Factors::Map => (channel, at),
            Factors::Channels => (channel, at / plane),
            Factors::Pixels => (0, at),
        }
    }
}

impl<T: Scalar> Operator<T> for Multiply {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let (factors, rows) = (maps.rows(&inputs[0]), maps.rows(&inputs[1]));
        let plane = out.shape.plane();
        out.rows_mut().into_par_iter().zip(rows).enumerate().for_each(|(c, (out, row))| {
            row.read(0, out);
            for (at, y) in out.iter_mut().enumerate() {
                let (channel, place) = self.place(c, at, plane);
                *y = *y * factors[channel].at(place);
            }
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let (factors, rows) = (maps.rows(&inputs[0]), maps.rows(&inputs[1]));
        let (len, plane) = (out.row_len(), out.shape.plane());
        let mut sinks = gradients.sinks(&inputs[0]);
        sinks.iter_mut().flatten().for_each(Sink::zero);
        for (c, (gradient, row)) in gradient.chunks_exact(len).zip(&rows).enumerate() {
            for (at, &g) in gradient.iter().enumerate() {
                let (channel, place) = self.place(c, at, plane);
                if let Some(sink) = &mut sinks[channel] {
                    sink.row[place] += g * row.at(at);
                }
            }
        }
        let sinks = gradients.sinks(&inputs[1]).into_par_iter();
        sinks.zip(gradient.par_chunks_exact(len)).enumerate().for_each(|(c, (sink, gradient))| {
            let Some(mut sink) = sink else { return };
            for (at, &g) in gradient.iter().enumerate() {
                let (channel, place) = self.place(c, at, plane);
                sink.put_one(at, g * factors[channel].at(place));
            }
        });
    }
}

/// The identity: a concatenation that repeats channels, a batch norm of its own, a layer without effect in training.
pub(super) struct Copy;

impl<T: Scalar> Operator<T> for Copy {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = inputs.iter().flat_map(|view| maps.rows(view)).collect::<Vec<_>>();
        out.rows_mut().into_par_iter().zip(rows).for_each(|(out, row)| row.read(0, out));
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let mut rows = gradient.chunks_exact(out.row_len());
        for view in inputs {
            // One channel after the other, since some may be the same.
            for &channel in &view.channels {
                let one = super::value::View { channels: vec![channel], shape: Shape { c: 1, ..view.shape } };
                let row = rows.next().expect("a row of the output for each of the inputs");
                gradients.sinks(&one).into_iter().flatten().for_each(|mut sink| sink.put(0, row));
            }
        }
    }
}

/// Drops each number with a probability, and scales the others so that the mean stays.
pub(super) struct Dropout {
    probability: f64,
    seed: u64,
    pass: u64,
}

impl Dropout {
    pub(super) fn new(probability: f64, seed: u64) -> Self {
        Self { probability, seed, pass: 0 }
    }

    /// Multiplies a channel's numbers, which begin at `start` in the whole map. A hash of seed, pass and index decides, so
    /// that it does not depend on threads.
    #[inline(always)]
    fn apply<T: Scalar>(&self, start: usize, numbers: &mut [T]) {
        let key = self.seed ^ self.pass.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // 53 bits of the hash, as a fraction of 1, are compared with the probability.
        let bound = (self.probability * (1_u64 << 53) as f64).ceil() as u64;
        let kept = T::from_f64(1.0 / (1.0 - self.probability));
        for (i, number) in numbers.iter_mut().enumerate() {
            let mut x = key ^ ((start + i) as u64).rotate_left(32);
            // SplitMix64's finaliser.
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let factor = if ((x ^ (x >> 31)) >> 11) < bound { T::ZERO } else { kept };
            *number = *number * factor;
        }
    }
}

impl<T: Scalar> Operator<T> for Dropout {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, pass, .. } = forward;
        self.pass = pass;
        let (rows, len) = (maps.rows(&inputs[0]), out.row_len());
        out.rows_mut().into_par_iter().zip(rows).enumerate().for_each(|(c, (out, row))| {
            T::vectorise(
                #[inline(always)]
                || {
                    row.read(0, out);
                    self.apply(c * len, out);
                },
            );
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, out, gradient, node, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let len = out.row_len();
        let sinks = gradients.summing_sinks(&inputs[0], maps, node);
        let of_channel = |buffer: &mut Vec<T>, (c, sink): (usize, Option<Sink<'_, T>>)| {
            let Some(mut sink) = sink else { return Projections::default() };
            T::vectorise(
                #[inline(always)]
                || {
                    buffer.clear();
                    buffer.extend_from_slice(&gradient[c * len..][..len]);
                    self.apply(c * len, buffer);
                    sink.put(0, buffer);
                    sink.projections()
                },
            )
        };
        let sums: Vec<Projections> =
            sinks.into_par_iter().enumerate().map_init(Vec::new, of_channel).collect();
        gradients.record(&inputs[0], node, &sums);
    }
}

/// Fully connected layer over the flattened input.
pub(super) struct Connected<T> {
    /// `[out][in]`
    weights: Parameter<T>,
    input: Shape,
    images: usize,
}

impl<T: Scalar> Connected<T> {
    pub(super) fn new(weights: Vec<T>, input: Shape, images: usize) -> Self {
        Self { weights: Parameter::new(Kind::Weights, weights), input, images }
    }

    fn outputs(&self) -> usize {
        self.weights.value.len() / self.input.len()
    }

    /// Columns of one row of inputs or gradients: the images, made whole blocks.
    fn pitch(&self) -> usize {
        self.images.next_multiple_of(BLOCK)
    }

    /// Places of the matrix's rows.
    fn offsets(&self, rows: usize) -> Vec<usize> {
        (0..rows).map(|row| row * self.pitch()).collect()
    }

    /// Inputs as `[c][h][w][image]`.
    fn columns(&self, rows: &[super::value::Row<'_, T>]) -> Vec<T> {
        let (plane, pitch) = (self.input.plane(), self.pitch());
        let mut columns = vec![T::ZERO; self.input.len() * pitch];
        let mut buffer = vec![T::ZERO; plane * self.images];
        for (c, row) in rows.iter().enumerate() {
            row.read(0, &mut buffer);
            for (i, &value) in buffer.iter().enumerate() {
                columns[(c * plane + i % plane) * pitch + i / plane] = value;
            }
        }
        columns
    }

    /// Rows of `[row][image]`, with the pitch of a product's operand.
    fn padded(&self, rows: &[T]) -> Vec<T> {
        let mut padded = vec![T::ZERO; self.outputs() * self.pitch()];
        for (target, row) in padded.chunks_exact_mut(self.pitch()).zip(rows.chunks_exact(self.images)) {
            target[..self.images].copy_from_slice(row);
        }
        padded
    }
}

impl<T: Scalar> Operator<T> for Connected<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let columns = self.columns(&maps.rows(&inputs[0]));
        let inputs = self.input.len();
        let offsets = self.offsets(inputs);
        out.rows_mut().par_chunks_mut(8).enumerate().for_each(|(band, out)| {
            let weights = &self.weights.value[band * 8 * inputs..];
            let left = Packed::new(out.len(), inputs, |r, j| weights[r * inputs + j]);
            let mut out = written(out.iter_mut().map(|row| &mut **row));
            T::product(Product {
                left: &left,
                right: &columns,
                offsets: &offsets,
                columns: self.images,
                out: &mut out,
            });
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let columns = self.columns(&maps.rows(&inputs[0]));
        let (len, pitch, outputs) = (self.input.len(), self.pitch(), self.outputs());
        let gradient = self.padded(&gradient[..outputs * self.images]);
        let offsets = self.offsets(len);
        self.weights.gradient.par_chunks_mut(8 * len).enumerate().for_each(|(band, sums)| {
            let left = &gradient[band * 8 * pitch..];
            T::correlate(Correlation {
                left,
                pitch,
                right: &columns,
                offsets: &offsets,
                columns: pitch,
                sums,
            });
        });
        let (plane, weights) = (self.input.plane(), &self.weights.value);
        let offsets = self.offsets(outputs);
        gradients.sinks(&inputs[0]).into_par_iter().enumerate().for_each(|(c, sink)| {
            let Some(mut sink) = sink else { return };
            let left = Packed::new(plane, outputs, |i, o| weights[o * len + c * plane + i]);
            let mut sums = vec![T::ZERO; plane * self.images];
            let mut out = written(sums.chunks_exact_mut(self.images));
            T::product(Product {
                left: &left,
                right: &gradient,
                offsets: &offsets,
                columns: self.images,
                out: &mut out,
            });
            for image in 0..self.images {
                for pixel in 0..plane {
                    sink.put_one(image * plane + pixel, sums[pixel * self.images + image]);
                }
            }
        });
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
