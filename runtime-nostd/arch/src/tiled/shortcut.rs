//! Sum of feature maps: channels run side by side.

use core::cell::Cell;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::{Epilogue, Shortcut, ShortcutMode};

/// Channels that are summed side by side.
const CHUNK: usize = 64;

/// See [`Shortcut`]. `inputs` is called again for every few channels.
///
/// A sum of dense feature maps of one shape is taken over the whole feature map as if it were one pixel.
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

/// Requantises accumulators, all alike, and writes them.
#[inline(always)]
fn write(to: &[Cell<i8>], acc: &[i32], epilogue: &Epilogue<'_>) {
    let slopes = epilogue.slopes(0);
    match epilogue.table {
        None => to.iter().zip(acc).for_each(|(to, &acc)| to.set(epilogue.clamp(acc, slopes))),
        Some(_) => to.iter().zip(acc).for_each(|(to, &acc)| to.set(epilogue.finish(acc, slopes))),
    }
}
