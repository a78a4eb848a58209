//! Fully connected layer, a pixel's channels at a time.

use core::cell::Cell;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::Connected;

/// See [`secateur_runtime::kernels::connected`].
#[inline(always)]
pub fn connected(input: Tensor<'_>, output: Tensor<'_>, connected: &Connected<'_>) {
    let Connected { weights, bias, epilogue } = connected;
    let inputs = (input.pixels() * input.c()).max(1);
    let rows = weights.chunks_exact(inputs).zip(*bias);
    for (o, (to, (row, bias))) in output.pixel(0).iter().zip(rows).enumerate() {
        let mut acc = bias.get();
        for (index, weights) in row.chunks_exact(input.c().max(1)).enumerate() {
            acc += dot(weights, input.pixel(index));
        }
        to.set(epilogue.finish(acc, epilogue.slopes(o)));
    }
}

#[inline(always)]
fn dot(weights: &[i8], values: &[Cell<i8>]) -> i32 {
    weights.iter().zip(values).map(|(&w, q)| i32::from(w) * i32::from(q.get())).sum()
}
