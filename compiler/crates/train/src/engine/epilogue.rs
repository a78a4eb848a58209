//! Between an operator's sums and its output: batch norm or bias, then the activation.

#![allow(clippy::needless_range_loop, reason = "sums side by side are indexed in step with each other")]

use rayon::prelude::*;
use secateur_ir::{Activation, BATCH_NORM_EPSILON};

use super::parameter::{Kind, Parameter};
use super::value::{Row, Value};
use crate::activation;
use crate::scalar::Scalar;

/// Which variance normalises a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BatchVariance {
    /// Divided by N − 1 in forward, while backward derives as if by N, and takes the gradient itself times
    /// 1 / (√variance + ε) instead of 1 / √(variance + ε): Darknet's.
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
    /// `[c]` factor of the gradient itself on its way back.
    direct: Vec<T>,
    /// Share of a batch's statistics in the running ones.
    pub momentum: f64,
    /// The running statistics normalise, and stay.
    frozen: bool,
}

impl<T: Scalar> Norm<T> {
    pub(super) fn new(scale: Vec<T>, running_mean: Vec<T>, running_variance: Vec<T>, momentum: f64) -> Self {
        let channels = scale.len();
        Self {
            scale: Parameter::new(Kind::Scale, scale),
            running_mean,
            running_variance,
            mean: vec![T::ZERO; channels],
            inverse: vec![T::ZERO; channels],
            direct: vec![T::ZERO; channels],
            momentum,
            frozen: false,
        }
    }

    /// Leaves the running statistics as they are, if `frozen`, and normalises by them.
    pub(super) fn with_frozen(self, frozen: bool) -> Self {
        Self { frozen, ..self }
    }

    /// Normalises `value` by the running statistics.
    fn forward_frozen(&mut self, value: &mut Value<T>, bias: Option<&[T]>) {
        for c in 0..value.shape.c {
            let variance = self.running_variance[c].to_f64() + f64::from(BATCH_NORM_EPSILON);
            self.mean[c] = self.running_mean[c];
            self.inverse[c] = T::from_f64(1.0 / variance.sqrt());
            self.direct[c] = self.inverse[c];
            value.mean[c] = self.mean[c];
            value.scale[c] = self.scale.value[c] * self.inverse[c];
            value.shift[c] = bias.map_or(T::ZERO, |bias| bias[c]);
        }
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
    /// Sets scale and shift of `value` from its raw numbers.
    pub(super) fn forward(&mut self, value: &mut Value<T>, variance: BatchVariance) {
        let bias = self.bias.as_ref().map(|bias| &bias.value[..]);
        let Some(norm) = &mut self.norm else {
            if let Some(bias) = bias {
                value.shift.copy_from_slice(bias);
            }
            return;
        };
        if norm.frozen {
            norm.forward_frozen(value, bias);
            return;
        }
        let count = value.row_len() as f64;
        let in_order = variance == BatchVariance::Darknet && value.row_len() <= IN_ORDER;
        let statistics: Vec<(f64, f64)> = (0..value.shape.c)
            .into_par_iter()
            .map(|c| {
                T::vectorise(
                    #[inline(always)]
                    || moments(value.row(c).raw, in_order),
                )
            })
            .collect();
        for (c, (mean, squares)) in statistics.into_iter().enumerate() {
            let epsilon = f64::from(BATCH_NORM_EPSILON);
            let of_squares = |divisor: f64| (squares / divisor, 1.0 / (squares / divisor + epsilon).sqrt());
            let (variance, inverse, direct) = match variance {
                BatchVariance::Darknet => {
                    let (variance, inverse) = of_squares((count - 1.0).max(1.0));
                    (variance, inverse, 1.0 / (variance.sqrt() + epsilon))
                }
                BatchVariance::Biased => {
                    let (variance, inverse) = of_squares(count);
                    (variance, inverse, inverse)
                }
            };
            norm.mean[c] = T::from_f64(mean);
            (norm.inverse[c], norm.direct[c]) = (T::from_f64(inverse), T::from_f64(direct));
            let momentum = norm.momentum;
            let follow = |running: &mut T, batch: f64| {
                *running = T::from_f64((1.0 - momentum) * running.to_f64() + momentum * batch);
            };
            follow(&mut norm.running_mean[c], mean);
            follow(&mut norm.running_variance[c], variance);
            value.mean[c] = norm.mean[c];
            value.scale[c] = T::from_f64(norm.scale.value[c].to_f64() * inverse);
            value.shift[c] = bias.map_or(T::ZERO, |bias| bias[c]);
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
                        let (scale, direct) =
                            (norm.scale.value[c] * inverse, norm.scale.value[c] * norm.direct[c]);
                        if norm.frozen {
                            gradient.iter_mut().for_each(|g| *g = scale * *g);
                            return (sum, along);
                        }
                        let (shift, slope) =
                            (T::from_f64(sum / len as f64), T::from_f64(along / len as f64) * inverse);
                        for (g, &z) in gradient.iter_mut().zip(row.raw) {
                            *g = direct * *g - scale * (shift + (z - mean) * slope);
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
    if let Some(slope) = activation::slope::<T>(row.activation) {
        for (g, &z) in gradient.iter_mut().zip(row.raw) {
            *g = if row.normalised(z) > T::ZERO { *g } else { slope * *g };
        }
    } else {
        for (g, &z) in gradient.iter_mut().zip(row.raw) {
            *g = *g * activation::derivative(row.activation, row.normalised(z));
        }
    }
}

/// Numbers that are summed in the engine's type before the sum is added in `f64`.
const RUN: usize = 1024;
/// Partial sums side by side, so that they fill vectors.
const SIDE: usize = 64;

/// Sums of what `term` yields for every number, as many sums as it yields numbers.
#[inline(always)]
fn sums<T: Scalar, const N: usize>(x: &[T], term: impl Fn(T) -> [T; N]) -> [f64; N] {
    let mut totals = [0.0; N];
    for run in x.chunks(RUN) {
        let mut sums = [[T::ZERO; SIDE]; N];
        let (sides, rest) = run.as_chunks::<SIDE>();
        for side in sides {
            for i in 0..SIDE {
                let terms = term(side[i]);
                for n in 0..N {
                    sums[n][i] += terms[n];
                }
            }
        }
        for (i, &value) in rest.iter().enumerate() {
            let terms = term(value);
            for n in 0..N {
                sums[n][i] += terms[n];
            }
        }
        for n in 0..N {
            totals[n] += sums[n].iter().map(|sum| sum.to_f64()).sum::<f64>();
        }
    }
    totals
}

#[inline(always)]
fn total<T: Scalar>(x: &[T]) -> f64 {
    sums(x, |value| [value])[0]
}

/// Numbers of a channel up to which a mean is summed as Darknet does, one after the other.
///
/// A sum of `f32` depends on its order, and with it the side of zero on which a unit falls that has almost the mean;
/// there a leaky unit's gradient jumps. Longer sums would cost time, and Darknet's error in them is larger than the jump.
const IN_ORDER: usize = 1 << 13;

/// Mean, and sum of squared distances from it.
#[inline(always)]
fn moments<T: Scalar>(x: &[T], in_order: bool) -> (f64, f64) {
    let mean = if in_order {
        x.iter().fold(T::ZERO, |sum, &value| sum + value).to_f64() * f64::from(1.0 / x.len() as f32)
    } else {
        total(x) / x.len() as f64
    };
    let centre = T::from_f64(mean);
    (mean, sums(x, |value| [(value - centre) * (value - centre)])[0])
}

/// Sums of the gradient, and of the gradient times the normalised number.
#[inline(always)]
fn projections<T: Scalar>(raw: &[T], gradient: &[T], mean: T, inverse: T) -> (f64, f64) {
    let (mut sum, mut along) = (0.0, 0.0);
    for (raw, gradient) in raw.chunks(RUN).zip(gradient.chunks(RUN)) {
        let mut products = [T::ZERO; RUN];
        let products = &mut products[..gradient.len()];
        products.iter_mut().zip(raw).zip(gradient).for_each(|((p, &z), &g)| *p = g * (z - mean));
        sum += total(gradient);
        along += total(products);
    }
    (sum, along * inverse.to_f64())
}
