//! Forward in the numbers of the int8 form, backward as if nothing were rounded (straight-through).
//!
//! A layer's weights and output are rounded once; whoever reads them, on its way forward or back, reads rounded numbers.
//! The exact output is kept beside them for the derivatives. A number that was clamped hands no gradient back.
//! Source: Jacob et al. 2018, section 3; for the estimator Bengio et al. 2013, arXiv:1308.3432.

use rayon::prelude::*;
use secateur_ir::{Activation, Grid, Rounding, WEIGHT_LIMIT, round_half_up};

use super::parameter::{Kind, Parameter};
use super::value::{Read, Row, Value};
use crate::scalar::Scalar;

/// Numbers that are looked at side by side.
const RUN: usize = 1024;

/// Rounds one layer.
pub(super) struct Rounder<T> {
    rounding: Rounding,
    /// The map as operator and epilogue have it, while the layer's own holds the rounded output; `None` where the output
    /// stays as it is.
    exact: Option<Value<T>>,
    /// The weights as they are trained, while the operator has the rounded ones.
    trained: Vec<T>,
}

impl<T: Scalar> Rounder<T> {
    /// Takes the map of a layer, and leaves one for its rounded output there.
    pub(super) fn new(rounding: &Rounding, value: &mut Value<T>) -> Self {
        let exact = (!rounding.output.is_empty()).then(|| {
            let rounded = Value::new(value.shape, value.images, Activation::Linear);
            std::mem::replace(value, rounded)
        });
        Self { rounding: rounding.clone(), exact, trained: Vec::new() }
    }

    /// The map before its output was rounded.
    pub(super) fn exact(&self) -> Option<&Value<T>> {
        self.exact.as_ref()
    }

    /// Before the operator runs: hands it rounded weights, and its own map to write to.
    pub(super) fn begin(&mut self, out: &mut Value<T>, parameters: Vec<&mut Parameter<T>>) {
        if let Some(weights) = weights(parameters).filter(|_| self.rounding.block > 0) {
            self.trained.clone_from(&weights.value);
            round_weights(&mut weights.value, &self.rounding, out.shape.c);
        }
        self.swap(out);
    }

    /// After normalisation and activation of the operator's map are known: rounds its output.
    pub(super) fn end(&mut self, out: &mut Value<T>) {
        for (shift, &correction) in out.shift.iter_mut().zip(&self.rounding.correction) {
            *shift += T::from_f32(correction);
        }
        self.swap(out);
        let (Some(exact), Rounding { before, output, .. }) = (&self.exact, &self.rounding) else { return };
        out.rows_mut().into_par_iter().enumerate().for_each(|(c, rounded)| {
            T::vectorise(
                #[inline(always)]
                || {
                    let row = exact.row(c);
                    if let Some(before) = before.get(c) {
                        Row { activation: Activation::Linear, ..row }.read(0, rounded);
                        round(rounded, *before);
                        rounded.iter_mut().for_each(|y| *y = y.activate(row.activation));
                    } else {
                        row.read(0, rounded);
                    }
                    round(rounded, output[c]);
                },
            );
        });
    }

    fn swap(&mut self, out: &mut Value<T>) {
        if let Some(exact) = &mut self.exact {
            std::mem::swap(exact, out);
        }
    }

    /// Gives the operator back the weights that are trained.
    pub(super) fn restore(&mut self, parameters: Vec<&mut Parameter<T>>) {
        if let Some(weights) = weights(parameters).filter(|_| !self.trained.is_empty()) {
            weights.value = std::mem::take(&mut self.trained);
        }
    }

    /// Clears the gradient of outputs that were clamped.
    pub(super) fn clamp_gradient(&self, gradient: &mut [T]) {
        let (Some(exact), Rounding { before, output, .. }) = (&self.exact, &self.rounding) else { return };
        let len = exact.row_len();
        gradient.par_chunks_exact_mut(len).take(exact.shape.c).enumerate().for_each(|(c, gradient)| {
            T::vectorise(
                #[inline(always)]
                || {
                    let row = exact.row(c);
                    clear(gradient, row, output[c]);
                    if let Some(before) = before.get(c) {
                        clear(gradient, Row { activation: Activation::Linear, ..row }, *before);
                    }
                },
            );
        });
    }
}

fn weights<T>(parameters: Vec<&mut Parameter<T>>) -> Option<&mut Parameter<T>> {
    parameters.into_iter().find(|parameter| parameter.kind == Kind::Weights)
}

/// Clears the gradient where the row's number is beyond the grid.
#[inline(always)]
fn clear<T: Scalar>(gradient: &mut [T], row: Row<'_, T>, grid: Grid) {
    let half = 0.5 * grid.step;
    let (low, high) = (T::from_f32(grid.low - half), T::from_f32(grid.high + half));
    let mut numbers = [T::ZERO; RUN];
    for (run, gradient) in gradient.chunks_mut(RUN).enumerate() {
        let numbers = &mut numbers[..gradient.len()];
        row.read(run * RUN, numbers);
        for (g, &y) in gradient.iter_mut().zip(&*numbers) {
            *g = if y >= low && y <= high { *g } else { T::ZERO };
        }
    }
}

/// Rounds numbers to a grid: half up, then clamped.
#[inline(always)]
fn round<T: Scalar>(numbers: &mut [T], grid: Grid) {
    let (step, low, high) = (f64::from(grid.step), f64::from(grid.low), f64::from(grid.high));
    let inverse = 1.0 / step;
    for number in numbers {
        let multiple = round_half_up(number.to_f64() * inverse);
        *number = T::from_f64((multiple * step).max(low).min(high));
    }
}

/// Rounds `[out][in/groups][block]` weights.
fn round_weights<T: Scalar>(weights: &mut [T], rounding: &Rounding, outputs: usize) {
    let Rounding { columns, block, .. } = rounding;
    let filter = weights.len() / outputs;
    let inputs = filter / block;
    let outputs_of_group = outputs / (columns.len() / inputs);
    for (o, filter) in weights.chunks_exact_mut(filter).enumerate() {
        let columns = &columns[o / outputs_of_group * inputs..][..inputs];
        let parts = || filter.chunks_exact(*block).zip(columns);
        let largest = parts().fold(0.0_f64, |largest, (part, &factor)| {
            part.iter().fold(largest, |largest, w| largest.max(w.to_f64().abs() * f64::from(factor)))
        });
        if largest == 0.0 {
            continue;
        }
        let scale = largest / WEIGHT_LIMIT;
        for (part, &factor) in filter.chunks_exact_mut(*block).zip(columns) {
            let step = scale / f64::from(factor);
            for w in part {
                *w = T::from_f64(round_half_up(w.to_f64() / step) * step);
            }
        }
    }
}
