//! Between an operator's sums and its output: batch norm or bias, then the activation.

use std::borrow::Cow;

use rayon::prelude::*;
use secateur_ir::{Activation, BATCH_NORM_EPSILON};

use super::gradients::Taken;
use super::parameter::{Kind, Parameter};
use super::statistics::{Moments, Projections, means_in_order, moments_of, projections};
use super::value::{Read, Row, Value};
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

/// Numbers of a channel up to which a mean is summed in Darknet's order. Longer sums would cost time, and Darknet's error
/// in them is larger than what the order decides.
const IN_ORDER: usize = 1 << 13;

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

    /// Takes a batch's statistics of channel `c`. Returns the factor that normalises it.
    fn follow(&mut self, c: usize, moments: Moments, variance: BatchVariance) -> f64 {
        let epsilon = f64::from(BATCH_NORM_EPSILON);
        let Moments { count, mean, squares } = moments;
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
        self.mean[c] = T::from_f64(mean);
        (self.inverse[c], self.direct[c]) = (T::from_f64(inverse), T::from_f64(direct));
        let momentum = self.momentum;
        let follow = |running: &mut T, batch: f64| {
            *running = T::from_f64((1.0 - momentum) * running.to_f64() + momentum * batch);
        };
        follow(&mut self.running_mean[c], mean);
        follow(&mut self.running_variance[c], variance);
        inverse
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
    /// Whether forward wants the moments of a map with channels of `row_len` numbers from whoever computes them.
    pub(super) fn wants_moments(&self, row_len: usize, variance: BatchVariance) -> bool {
        self.norm.as_ref().is_some_and(|norm| !norm.frozen) && !is_in_order(row_len, variance)
    }

    /// Whether backward wants the projections of the gradient from whoever writes it last.
    pub(super) fn wants_projections(&self) -> bool {
        (self.norm.is_some() || self.bias.is_some()) && activation::slope::<T>(self.activation).is_some()
    }

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
        let moments = if value.moments.is_empty() {
            moments(value, is_in_order(value.row_len(), variance))
        } else {
            std::mem::take(&mut value.moments)
        };
        for (c, moments) in moments.into_iter().enumerate() {
            let inverse = norm.follow(c, moments, variance);
            value.mean[c] = norm.mean[c];
            value.scale[c] = T::from_f64(norm.scale.value[c].to_f64() * inverse);
            value.shift[c] = bias.map_or(T::ZERO, |bias| bias[c]);
        }
    }

    /// Adds the gradients of its parameters. The result reads the gradient, which is by the output, as that by the raw
    /// numbers.
    pub(super) fn backward<'a>(
        &mut self,
        value: &'a Value<T>,
        taken: &'a mut Taken<T>,
    ) -> RawGradient<'a, T> {
        let len = value.row_len();
        let Taken { numbers, sums } = taken;
        let numbers = &mut numbers[..len * value.shape.c];
        let slope = activation::slope::<T>(value.activation).unwrap_or_else(|| {
            // Too costly to be computed by every reader.
            numbers.par_chunks_exact_mut(len).enumerate().for_each(|(c, gradient)| {
                T::vectorise(
                    #[inline(always)]
                    || activate_backward(value.row(c), gradient),
                );
            });
            T::ONE
        });
        let numbers = &*numbers;
        let mut gradient = RawGradient { numbers, value, slope, norm: Vec::new() };
        if self.norm.is_none() && self.bias.is_none() {
            return gradient;
        }
        let sums: Vec<Projections> = (0..value.shape.c)
            .into_par_iter()
            .map(|c| {
                sums[c].unwrap_or_else(|| {
                    T::vectorise(
                        #[inline(always)]
                        || projections(value.row(c), &numbers[c * len..][..len], slope),
                    )
                })
            })
            .collect();
        for (c, Projections { sum, along }) in sums.into_iter().enumerate() {
            if let Some(bias) = &mut self.bias {
                bias.gradient[c] += T::from_f64(sum);
            }
            let Some(norm) = &mut self.norm else { continue };
            let inverse = norm.inverse[c];
            let along = along * inverse.to_f64();
            let scale = norm.scale.value[c] * inverse;
            // Statistics that are frozen do not depend on the batch.
            let mean = |sum: f64| if norm.frozen { T::ZERO } else { T::from_f64(sum / len as f64) };
            gradient.norm.push(NormGradient {
                direct: norm.scale.value[c] * norm.direct[c],
                shift: scale * mean(sum),
                slope: scale * mean(along) * inverse,
            });
            norm.scale.gradient[c] += T::from_f64(along);
        }
        gradient
    }

    /// Its parameters: bias, then scale.
    pub(super) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter<T>> {
        self.bias.iter_mut().chain(self.norm.iter_mut().map(|norm| &mut norm.scale))
    }
}

fn is_in_order(row_len: usize, variance: BatchVariance) -> bool {
    variance == BatchVariance::Darknet && row_len <= IN_ORDER
}

/// Moments of every channel.
fn moments<T: Scalar>(value: &Value<T>, in_order: bool) -> Vec<Moments> {
    /// Channels of a task.
    const CHANNELS: usize = 16;
    let rows: Vec<&[T]> = (0..value.shape.c).map(|c| value.row(c).raw).collect();
    let of_rows = |rows: &[&[T]]| -> Vec<Moments> {
        if !in_order {
            return moments_of(rows);
        }
        let mut moments = vec![Moments::default(); rows.len()];
        T::vectorise(
            #[inline(always)]
            || {
                for ((moments, row), mean) in moments.iter_mut().zip(rows).zip(means_in_order(rows)) {
                    *moments = Moments::around(row, mean);
                }
            },
        );
        moments
    };
    rows.par_chunks(CHANNELS).flat_map_iter(of_rows).collect()
}

/// Multiplies the gradient by the activation's derivative.
#[inline(always)]
fn activate_backward<T: Scalar>(row: Row<'_, T>, gradient: &mut [T]) {
    for (g, &z) in gradient.iter_mut().zip(row.raw) {
        *g = *g * activation::derivative(row.activation, row.normalised(z));
    }
}

/// What batch norm makes of the gradient `g` by its output at the raw number z: `direct · g − shift − (z − mean) · slope`.
#[derive(Debug, Clone, Copy)]
struct NormGradient<T> {
    direct: T,
    shift: T,
    slope: T,
}

/// The gradient by an operator's raw numbers. Only that by its output is stored: activation and batch norm are applied by
/// whoever reads it, as in forward.
pub(super) struct RawGradient<'a, T> {
    numbers: &'a [T],
    value: &'a Value<T>,
    /// Of the activation, below zero.
    slope: T,
    /// By channel; nothing without batch norm.
    norm: Vec<NormGradient<T>>,
}

impl<T: Scalar> RawGradient<'_, T> {
    /// One channel.
    pub(super) fn row(&self, channel: usize) -> GradientRow<'_, T> {
        let len = self.value.row_len();
        GradientRow {
            numbers: &self.numbers[channel * len..][..len],
            row: self.value.row(channel),
            slope: self.slope,
            norm: self.norm.get(channel).copied(),
        }
    }

    /// All channels.
    pub(super) fn rows(&self) -> Vec<GradientRow<'_, T>> {
        (0..self.value.shape.c).map(|channel| self.row(channel)).collect()
    }

    /// Whether the gradient is the same as that by the output.
    fn is_plain(&self) -> bool {
        self.slope == T::ONE && self.norm.is_empty()
    }

    /// All numbers, `[c][image][h][w]`, for operators that do not read them by channel.
    pub(super) fn numbers(&self) -> Cow<'_, [T]> {
        if self.is_plain() {
            return Cow::Borrowed(self.numbers);
        }
        let mut numbers = vec![T::ZERO; self.numbers.len()];
        let rows = numbers.par_chunks_exact_mut(self.value.row_len()).zip(self.rows());
        rows.for_each(|(out, row)| {
            T::vectorise(
                #[inline(always)]
                || row.read(0, out),
            );
        });
        Cow::Owned(numbers)
    }
}

/// One channel of a [`RawGradient`].
#[derive(Debug, Clone, Copy)]
pub(super) struct GradientRow<'a, T> {
    numbers: &'a [T],
    row: Row<'a, T>,
    slope: T,
    norm: Option<NormGradient<T>>,
}

impl<T: Scalar> Read<T> for GradientRow<'_, T> {
    #[inline(always)]
    fn read(&self, at: usize, out: &mut [T]) {
        let (numbers, raw) = (&self.numbers[at..][..out.len()], &self.row.raw[at..][..out.len()]);
        let pairs = out.iter_mut().zip(numbers.iter().zip(raw));
        let mean = self.row.mean;
        match (self.norm, self.slope == T::ONE) {
            (None, true) => out.copy_from_slice(numbers),
            (None, false) => {
                for (d, (&g, &z)) in pairs {
                    *d = if self.row.is_positive(z) { g } else { self.slope * g };
                }
            }
            (Some(NormGradient { direct, shift, slope }), true) => {
                for (d, (&g, &z)) in pairs {
                    *d = direct * g - shift - (z - mean) * slope;
                }
            }
            (Some(NormGradient { direct, shift, slope }), false) => {
                let below = direct * self.slope;
                for (d, (&g, &z)) in pairs {
                    let factor = if self.row.is_positive(z) { direct } else { below };
                    *d = factor * g - shift - (z - mean) * slope;
                }
            }
        }
    }
}
