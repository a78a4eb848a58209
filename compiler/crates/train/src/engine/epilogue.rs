//! Between an operator's sums and its output: batch norm or bias, then the activation.

use rayon::prelude::*;
use secateur_ir::{Activation, BATCH_NORM_EPSILON};

use super::parameter::{Kind, Parameter};
use super::value::{Row, Value};
use crate::activation;
use crate::scalar::Scalar;

/// Which variance normalises a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchVariance {
    /// Divided by N − 1 in forward, while backward derives as if by N: Darknet's.
    #[default]
    Darknet,
    /// Divided by N, as in other frameworks.
    Biased,
}

/// Batch norm in training: this batch's statistics normalise, and the running ones follow them.
#[derive(Debug, Clone)]
pub(super) struct Norm<T> {
    pub scale: Parameter<T>,
    /// `[c]` running mean and variance, which inference uses.
    pub running_mean: Vec<T>,
    pub running_variance: Vec<T>,
    /// `[c]` of the last forward pass: mean, and 1 / sqrt(variance + ε).
    mean: Vec<T>,
    inverse: Vec<T>,
}

impl<T: Scalar> Norm<T> {
    pub(super) fn new(scale: Vec<T>, running_mean: Vec<T>, running_variance: Vec<T>) -> Self {
        let channels = scale.len();
        Self {
            scale: Parameter::new(Kind::Scale, scale),
            running_mean,
            running_variance,
            mean: vec![T::ZERO; channels],
            inverse: vec![T::ZERO; channels],
        }
    }
}

/// How batch norm treats its statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormOptions {
    pub variance: BatchVariance,
    /// Share of a batch's statistics in the running ones (Darknet's CPU: 0.1).
    pub momentum: f64,
}

impl Default for NormOptions {
    fn default() -> Self {
        Self { variance: BatchVariance::Darknet, momentum: 0.1 }
    }
}

/// What turns an operator's raw numbers into its output.
#[derive(Debug, Clone)]
pub(super) struct Epilogue<T> {
    pub norm: Option<Norm<T>>,
    pub bias: Option<Parameter<T>>,
    pub activation: Activation,
}

impl<T: Scalar> Epilogue<T> {
    pub(super) fn none() -> Self {
        Self::activation(Activation::Linear)
    }

    pub(super) fn activation(activation: Activation) -> Self {
        Self { norm: None, bias: None, activation }
    }

    /// Sets scale and shift of `value` from its raw numbers.
    pub(super) fn forward(&mut self, value: &mut Value<T>, options: NormOptions) {
        let bias = self.bias.as_ref().map(|bias| &bias.value[..]);
        let Some(norm) = &mut self.norm else {
            if let Some(bias) = bias {
                value.shift.copy_from_slice(bias);
            }
            return;
        };
        let count = value.row_len() as f64;
        let statistics: Vec<(f64, f64)> =
            (0..value.shape.c).into_par_iter().map(|c| T::vectorise(|| moments(value.row(c).raw))).collect();
        for (c, (mean, squares)) in statistics.into_iter().enumerate() {
            let divisor = match options.variance {
                BatchVariance::Darknet => (count - 1.0).max(1.0),
                BatchVariance::Biased => count,
            };
            let variance = squares / divisor;
            let inverse = 1.0 / (variance + f64::from(BATCH_NORM_EPSILON)).sqrt();
            (norm.mean[c], norm.inverse[c]) = (T::from_f64(mean), T::from_f64(inverse));
            let follow = |running: &mut T, batch: f64| {
                *running =
                    T::from_f64((1.0 - options.momentum) * running.to_f64() + options.momentum * batch);
            };
            follow(&mut norm.running_mean[c], mean);
            follow(&mut norm.running_variance[c], variance);
            let scale = norm.scale.value[c].to_f64() * inverse;
            value.scale[c] = T::from_f64(scale);
            value.shift[c] = T::from_f64(bias.map_or(0.0, |bias| bias[c].to_f64()) - scale * mean);
        }
    }

    /// Turns `gradient`, which is by the output, into the gradient by the raw numbers, and adds those of the parameters.
    pub(super) fn backward(&mut self, value: &Value<T>, gradient: &mut [T]) {
        let len = value.row_len();
        let norm = self.norm.as_ref();
        let linear = value.activation == Activation::Linear;
        let sums: Vec<(f64, f64)> = gradient
            .par_chunks_exact_mut(len)
            .take(value.shape.c)
            .enumerate()
            .map(|(c, gradient)| {
                T::vectorise(
                    #[inline(always)]
                    || {
                        let row = value.row(c);
                        if !linear {
                            activate_backward(row, gradient);
                        }
                        let Some(norm) = norm else { return (total(gradient), 0.0) };
                        let (mean, inverse) = (norm.mean[c], norm.inverse[c]);
                        let (sum, along) = projections(row.raw, gradient, mean, inverse);
                        let scale = norm.scale.value[c] * inverse;
                        let (shift, slope) =
                            (T::from_f64(sum / len as f64), T::from_f64(along / len as f64) * inverse);
                        for (g, &z) in gradient.iter_mut().zip(row.raw) {
                            *g = scale * (*g - shift - (z - mean) * slope);
                        }
                        (sum, along)
                    },
                )
            })
            .collect();
        for (c, (sum, along)) in sums.into_iter().enumerate() {
            if let Some(bias) = &mut self.bias {
                bias.gradient[c] += T::from_f64(sum);
            }
            if let Some(norm) = &mut self.norm {
                norm.scale.gradient[c] += T::from_f64(along);
            }
        }
    }

    /// Its parameters: bias, then scale.
    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter<T>> {
        self.bias.iter_mut().chain(self.norm.iter_mut().map(|norm| &mut norm.scale))
    }
}

/// Multiplies the gradient by the activation's derivative.
#[inline(always)]
fn activate_backward<T: Scalar>(row: Row<'_, T>, gradient: &mut [T]) {
    let (a, b) = (row.scale, row.shift);
    if let Some(slope) = activation::slope::<T>(row.activation) {
        for (g, &z) in gradient.iter_mut().zip(row.raw) {
            *g = if a * z + b > T::ZERO { *g } else { slope * *g };
        }
    } else {
        for (g, &z) in gradient.iter_mut().zip(row.raw) {
            *g = *g * activation::derivative(row.activation, a * z + b);
        }
    }
}

/// Numbers that are summed in the engine's type before the sum is added in `f64`.
const RUN: usize = 1024;
/// Partial sums side by side, so that they fill vectors.
const SIDE: usize = 32;

/// Sum over runs of `RUN`, each in [`SIDE`] partial sums of `term(i)`.
#[inline(always)]
fn sum_of<T: Scalar>(len: usize, term: impl Fn(usize) -> T) -> f64 {
    let mut total = 0.0;
    for start in (0..len).step_by(RUN) {
        let end = len.min(start + RUN);
        let mut sums = [T::ZERO; SIDE];
        let mut at = start;
        while at + SIDE <= end {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += term(at + i);
            }
            at += SIDE;
        }
        for i in at..end {
            sums[i - at] += term(i);
        }
        total += sums.iter().map(|sum| sum.to_f64()).sum::<f64>();
    }
    total
}

#[inline(always)]
fn total<T: Scalar>(x: &[T]) -> f64 {
    sum_of(x.len(), |i| x[i])
}

/// Mean, and sum of squared distances from it.
#[inline(always)]
fn moments<T: Scalar>(x: &[T]) -> (f64, f64) {
    let mean = total(x) / x.len() as f64;
    let centre = T::from_f64(mean);
    let squares = sum_of(x.len(), |i| (x[i] - centre) * (x[i] - centre));
    (mean, squares)
}

/// Sums of the gradient, and of the gradient times the normalised number.
#[inline(always)]
fn projections<T: Scalar>(raw: &[T], gradient: &[T], mean: T, inverse: T) -> (f64, f64) {
    let raw = &raw[..gradient.len()];
    let along = sum_of(raw.len(), |i| gradient[i] * (raw[i] - mean)) * inverse.to_f64();
    (total(gradient), along)
}
