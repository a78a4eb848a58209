//! Fully connected layer.

use super::Connected;
use crate::tensor::Tensor;

/// See [`Connected`].
///
/// `acc[o] = bias[o] + Σ w[o, y, x, i] · q[y, x, i]`
///
/// Source: Jacob et al. 2018, section 2.2, with a single rounding.
pub fn connected(input: Tensor<'_>, output: Tensor<'_>, connected: &Connected<'_>) {
    let Connected { weights, bias, epilogue } = connected;
    for (o, to) in output.pixel(0).iter().enumerate() {
        let mut acc = bias.get(o).map_or(0, |bias| bias.get());
        for index in 0..input.pixels() {
            for (i, q) in input.pixel(index).iter().enumerate() {
                let w =
                    weights.get((o * input.pixels() + index) * input.c() + i).map_or(0, |&w| i32::from(w));
                acc += w * i32::from(q.get());
            }
        }
        to.set(epilogue.finish(acc, epilogue.slopes(o)));
    }
}
