//! Shortcut: the sum of maps, plain or weighted.

use rayon::prelude::*;
use secateur_ir::{Shape, Shortcut, ShortcutWeights, WeightsNormalization, shortcut_steps};

use super::gradients::Sink;
use super::operator::{Backward, Forward, Maps, Operator};
use super::parameter::{Kind, Parameter};
use super::value::{Read, Row, View};
use crate::scalar::Scalar;

/// Added to the sum that normalises factors, as in the float oracle.
const EPSILON: f64 = 1e-4;

/// Sum of two or more maps; of maps with other channel counts the common leading channels are added.
pub(super) struct Sum<T> {
    kind: ShortcutWeights,
    normalization: WeightsNormalization,
    /// `[inputs]` or `[inputs][c]`, before normalisation.
    weights: Parameter<T>,
    output: Shape,
}

impl<T: Scalar> Sum<T> {
    pub(super) fn new(shortcut: &Shortcut, weights: Vec<T>, output: Shape) -> Self {
        let (kind, normalization) = (shortcut.weights, shortcut.normalization);
        Self { kind, normalization, weights: Parameter::new(Kind::Weights, weights), output }
    }

    /// Weights of one input's channel: place and normalised value; `None` where inputs are added as they are.
    fn place(&self, input: usize, channel: usize) -> Option<usize> {
        match self.kind {
            ShortcutWeights::None => None,
            ShortcutWeights::PerFeature => Some(input),
            ShortcutWeights::PerChannel => Some(input * self.output.c + channel),
        }
    }

    /// Number of weights of one input.
    fn step(&self) -> usize {
        if self.kind == ShortcutWeights::PerChannel { self.output.c } else { 1 }
    }

    /// Normalised factors, as [`secateur_float::shortcut_factors`] has them.
    fn factors(&self) -> Vec<T> {
        let mut factors: Vec<f64> = self.weights.value.iter().map(|w| w.to_f64()).collect();
        if self.kind != ShortcutWeights::None && self.normalization != WeightsNormalization::None {
            let (step, len) = (self.step(), factors.len());
            for column in 0..step {
                let places = || (column..len).step_by(step);
                let largest = places().map(|i| factors[i]).fold(f64::MIN, f64::max);
                for i in places() {
                    factors[i] = match self.normalization {
                        WeightsNormalization::Softmax => libm::exp(factors[i] - largest),
                        _ => factors[i].max(0.0),
                    };
                }
                let sum = EPSILON + places().map(|i| factors[i]).sum::<f64>();
                places().for_each(|i| factors[i] /= sum);
            }
        }
        factors.into_iter().map(T::from_f64).collect()
    }

    /// Turns gradients by the normalised factors into gradients by the weights.
    fn normalise_backward(&self, factors: &[T], gradient: &[f64]) -> Vec<f64> {
        if self.normalization == WeightsNormalization::None {
            return gradient.to_vec();
        }
        let (step, len) = (self.step(), gradient.len());
        let mut result = vec![0.0; len];
        for column in 0..step {
            let places = || (column..len).step_by(step);
            let value = |i: usize| self.weights.value[i].to_f64();
            let along: f64 = places().map(|i| gradient[i] * factors[i].to_f64()).sum();
            match self.normalization {
                WeightsNormalization::Softmax => {
                    places().for_each(|i| result[i] = factors[i].to_f64() * (gradient[i] - along));
                    // The largest weight is subtracted from all, which ε alone lets be seen.
                    let largest = places().max_by(|&a, &b| value(a).total_cmp(&value(b)).then(b.cmp(&a)));
                    let largest = largest.expect("a sum has inputs");
                    let exponentials: f64 = places().map(|i| libm::exp(value(i) - value(largest))).sum();
                    result[largest] -= along * EPSILON / (EPSILON + exponentials);
                }
                _ => {
                    let sum = EPSILON + places().map(|i| value(i).max(0.0)).sum::<f64>();
                    for i in places().filter(|&i| value(i) > 0.0) {
                        result[i] = (gradient[i] - along) / sum;
                    }
                }
            }
        }
        result
    }

    /// Pixels that meet: (of the input, of the sum), within one image.
    fn pixels(&self, from: Shape) -> Option<Vec<(usize, usize)>> {
        let to = self.output;
        if (from.h, from.w) == (to.h, to.w) {
            return None;
        }
        let (stride, sample) = shortcut_steps(from, to).expect("a verified graph's sum");
        let (h, w) = (from.h.min(to.h), from.w.min(to.w));
        let pairs = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        Some(pairs.map(|(y, x)| (y * stride * from.w + x * stride, y * sample * to.w + x * sample)).collect())
    }

    /// Adds one channel of one input.
    #[inline(always)]
    fn add(&self, row: Row<'_, T>, from: Shape, factor: Option<T>, out: &mut [T], buffer: &mut Vec<T>) {
        buffer.resize(row.raw.len(), T::ZERO);
        row.read(0, buffer);
        match self.pixels(from) {
            None => match factor {
                None => out.iter_mut().zip(&*buffer).for_each(|(y, &x)| *y += x),
                Some(factor) => out.iter_mut().zip(&*buffer).for_each(|(y, &x)| *y += factor * x),
            },
            Some(pixels) => {
                let images = out.chunks_exact_mut(self.output.plane()).zip(buffer.chunks_exact(from.plane()));
                images.for_each(|(out, image)| pixels.iter().for_each(|&(from, to)| out[to] += image[from]));
            }
        }
    }

    /// Hands the gradient of one input's channel back; returns that of its factor.
    #[inline(always)]
    fn hand_back(
        &self,
        row: Row<'_, T>,
        from: Shape,
        factor: Option<T>,
        gradient: &[T],
        sink: Option<Sink<'_, T>>,
        buffer: &mut Vec<T>,
    ) -> f64 {
        let pixels = self.pixels(from);
        if let Some(mut sink) = sink {
            match (&pixels, factor) {
                (None, None) => sink.put(0, gradient),
                (None, Some(factor)) => {
                    buffer.clear();
                    buffer.extend(gradient.iter().map(|&g| factor * g));
                    sink.put(0, buffer);
                }
                (Some(pixels), _) => {
                    sink.zero();
                    let images = gradient.chunks_exact(self.output.plane());
                    for (gradient, image) in images.zip(sink.row.chunks_exact_mut(from.plane())) {
                        pixels.iter().for_each(|&(from, to)| image[from] += gradient[to]);
                    }
                }
            }
        }
        if factor.is_none() || pixels.is_some() {
            return 0.0;
        }
        buffer.resize(row.raw.len(), T::ZERO);
        row.read(0, buffer);
        buffer.iter().zip(gradient).map(|(&x, &g)| x.to_f64() * g.to_f64()).sum()
    }

    fn rows<'a>(maps: Maps<'a, T>, inputs: &[View]) -> Vec<Vec<Row<'a, T>>> {
        inputs.iter().map(|view| maps.rows(view)).collect()
    }
}

impl<T: Scalar> Operator<T> for Sum<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = Self::rows(maps, inputs);
        let factors = self.factors();
        out.rows_mut().into_par_iter().enumerate().for_each_init(Vec::new, |buffer, (c, out)| {
            T::vectorise(
                #[inline(always)]
                || {
                    // The first input has the sum's shape and every channel of it.
                    rows[0][c].read(0, out);
                    if let Some(factor) = self.place(0, c).map(|place| factors[place]) {
                        out.iter_mut().for_each(|y| *y = factor * *y);
                    }
                    for (n, rows) in rows.iter().enumerate().skip(1) {
                        if let Some(&row) = rows.get(c) {
                            let factor = self.place(n, c).map(|place| factors[place]);
                            self.add(row, inputs[n].shape, factor, out, buffer);
                        }
                    }
                },
            );
        });
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, out, gradient, gradients, .. } = backward;
        let gradient = &*gradient.numbers();
        let len = out.row_len();
        let factors = self.factors();
        let mut by_factor = vec![0.0; factors.len()];
        for (n, view) in inputs.iter().enumerate() {
            let (rows, sinks) = (maps.rows(view), gradients.sinks(view));
            let this = &*self;
            let sums: Vec<f64> = rows
                .into_par_iter()
                .zip(sinks)
                .enumerate()
                .map_init(Vec::new, |buffer, (c, (row, sink))| {
                    let Some(gradient) = gradient.chunks_exact(len).take(this.output.c).nth(c) else {
                        // A channel that the sum does not have.
                        sink.into_iter().for_each(|mut sink| sink.zero());
                        return 0.0;
                    };
                    let factor = this.place(n, c).map(|place| factors[place]);
                    T::vectorise(
                        #[inline(always)]
                        || this.hand_back(row, view.shape, factor, gradient, sink, buffer),
                    )
                })
                .collect();
            for (c, sum) in sums.into_iter().enumerate().take(self.output.c) {
                if let Some(place) = self.place(n, c) {
                    by_factor[place] += sum;
                }
            }
        }
        let by_weight = self.normalise_backward(&factors, &by_factor);
        for (total, sum) in self.weights.gradient.iter_mut().zip(by_weight) {
            *total += T::from_f64(sum);
        }
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        if self.kind == ShortcutWeights::None { Vec::new() } else { vec![&mut self.weights] }
    }
}
