//! Kernels that work value by value: shortcut, rescale, activation, product.

use core::cell::Cell;

use super::{Epilogue, Shortcut, ShortcutMode, Table};
use crate::kernels::requant::look_up;
use crate::tensor::Tensor;

/// Channels that are summed side by side.
const CHUNK: usize = 64;

/// Sum of `inputs`; see [`Shortcut`]. `inputs` is called again for every few channels.
///
/// One rounding for the whole sum; `requant`'s slopes are the activation, on the unrounded sum.
#[inline(always)]
pub fn shortcut<'t, I>(inputs: I, output: Tensor<'_>, shortcut: &Shortcut<'_>)
where
    I: Iterator<Item = Tensor<'t>> + Clone,
{
    let Shortcut { multipliers, mode, epilogue } = shortcut;
    let per_input = *mode == ShortcutMode::PerInput;
    let flat = per_input && output.is_dense() && inputs.clone().all(|t| t.is_dense() && t.c() == output.c());
    let output = if flat { output.flat() } else { output };
    let inputs = inputs.map(|input| if flat { input.flat() } else { input });
    for index in 0..output.pixels() {
        for first in (0..output.c()).step_by(CHUNK) {
            let mut acc = [0i32; CHUNK];
            for (n, input) in inputs.clone().enumerate() {
                let zero_point = i32::from(input.zero_point());
                let values = input.channels(index, first, CHUNK.min(input.c().saturating_sub(first)));
                let values =
                    acc.iter_mut().zip(values).map(|(acc, q)| (acc, i32::from(q.get()) - zero_point));
                if per_input {
                    let m = multipliers.get(n).map_or(0, |m| m.get());
                    values.for_each(|(acc, deviation)| *acc = acc.wrapping_add(deviation.wrapping_mul(m)));
                } else {
                    let row = multipliers.get(n * output.c() + first..).unwrap_or(&[]);
                    let row = values.zip(row);
                    row.for_each(|((acc, q), m)| *acc = acc.wrapping_add(q.wrapping_mul(m.get())));
                }
            }
            let to = output.channels(index, first, CHUNK.min(output.c() - first));
            write(to, &acc, epilogue);
        }
    }
}

/// Requantises accumulators with the one [`super::Requant`] and writes them.
#[inline(always)]
fn write(to: &[Cell<i8>], acc: &[i32], epilogue: &Epilogue<'_>) {
    let slopes = epilogue.slopes(0);
    match epilogue.table {
        None => to.iter().zip(acc).for_each(|(to, &acc)| to.set(epilogue.clamp(acc, slopes))),
        Some(_) => to.iter().zip(acc).for_each(|(to, &acc)| to.set(epilogue.finish(acc, slopes))),
    }
}

/// Copies the window of `input` that starts at `(top, left)` and has the output's size, giving it
/// the output's scale: `requantise(q − Z_in)` with `requant` `[1]`, or unchanged codes without.
#[inline(always)]
pub fn rescale(
    input: Tensor<'_>,
    output: Tensor<'_>,
    top: usize,
    left: usize,
    epilogue: Option<&Epilogue<'_>>,
) {
    for y in 0..output.h() {
        for x in 0..output.w() {
            let from = input.pixel((y + top) * input.w() + x + left);
            let to = output.pixel(y * output.w() + x);
            match epilogue {
                None => to.iter().zip(from).for_each(|(to, from)| to.set(from.get())),
                Some(epilogue) => {
                    let slopes = epilogue.slopes(0);
                    for (to, from) in to.iter().zip(from) {
                        let deviation = i32::from(from.get()) - i32::from(input.zero_point());
                        to.set(epilogue.finish(deviation, slopes));
                    }
                }
            }
        }
    }
}

/// Activation by table: `output = table[q + 128]`. Shapes are equal.
#[inline(always)]
pub fn activate(input: Tensor<'_>, output: Tensor<'_>, table: &Table) {
    for index in 0..output.pixels() {
        for (to, from) in output.pixel(index).iter().zip(input.pixel(index)) {
            to.set(look_up(table, from.get()));
        }
    }
}

/// Product of two maps: `requantise((q_f − Z_f) · (q − Z))` with `requant` `[1]`.
///
/// `input` has the output's shape. `factor` has it too (sam), or is `[1, 1, c]`
/// (scale_channels), or `[h, w, 1]` (scale_channels with `scale_wh`).
#[inline(always)]
pub fn multiply(factor: Tensor<'_>, input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
    let slopes = epilogue.slopes(0);
    let spread_pixel = factor.pixels() == 1;
    let spread_channel = factor.c() == 1;
    for index in 0..output.pixels() {
        let factors = factor.pixel(if spread_pixel { 0 } else { index });
        let values = output.pixel(index).iter().zip(input.pixel(index));
        for (c, (to, from)) in values.enumerate() {
            let f = factors.get(if spread_channel { 0 } else { c }).map_or(0, |f| f.get());
            let f = i32::from(f) - i32::from(factor.zero_point());
            let q = i32::from(from.get()) - i32::from(input.zero_point());
            to.set(epilogue.finish(f * q, slopes));
        }
    }
}
