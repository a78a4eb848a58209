//! Kernels that work value by value: shortcut, rescale, activation, product.

use super::{Epilogue, Shortcut, ShortcutMode, Table};
use crate::kernels::requant::look_up;
use crate::tensor::Tensor;

/// Sum of `inputs`; see [`Shortcut`]. `inputs` is called again for every value.
///
/// One rounding for the whole sum; `requant`'s slopes are the activation, on the unrounded sum.
pub fn shortcut<'t, I>(inputs: I, output: Tensor<'_>, shortcut: &Shortcut<'_>)
where
    I: Iterator<Item = Tensor<'t>> + Clone,
{
    let Shortcut { multipliers, mode, epilogue } = shortcut;
    let slopes = epilogue.slopes(0);
    for index in 0..output.pixels() {
        for (c, to) in output.pixel(index).iter().enumerate() {
            let mut acc = 0;
            for (n, input) in inputs.clone().enumerate() {
                let m = match mode {
                    ShortcutMode::PerInput => multipliers.get(n),
                    ShortcutMode::PerChannel => multipliers.get(n * output.c() + c),
                };
                acc += m.map_or(0, |m| m.get()) * input.deviation(index, c);
            }
            to.set(epilogue.finish(acc, slopes));
        }
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
