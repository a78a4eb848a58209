//! Convolution.

use super::Conv;
use crate::tensor::Tensor;

/// See [`Conv`].
///
/// `acc[o] = bias[o] + Σ w[o, ky, kx, i] · q[y·s + ky·d − pad, x·s + kx·d − pad, i]`, `q` the zero point
/// outside the picture; `i` counts within the group of `o`.
///
/// Source: Jacob et al. 2018, section 2.2, with a single rounding.
pub fn conv(input: Tensor<'_>, output: Tensor<'_>, conv: &Conv<'_>) {
    let Conv { window, groups, weights, bias, epilogue } = conv;
    let (in_c, out_c) = (input.c() / groups.max(&1), output.c() / groups.max(&1));
    for y in 0..output.h() {
        for x in 0..output.w() {
            for (o, to) in output.pixel(y * output.w() + x).iter().enumerate() {
                let first = o / out_c.max(1) * in_c;
                let mut acc = bias.get(o).map_or(0, |bias| bias.get());
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        let tap = (o * window.kernel_h + ky) * window.kernel_w + kx;
                        let (row, column) = window.tap(y, x, ky, kx);
                        for i in 0..in_c {
                            let w = weights.get(tap * in_c + i).map_or(0, |&w| i32::from(w));
                            acc += w * input.padded(row, column, first + i);
                        }
                    }
                }
                to.set(epilogue.finish(acc, epilogue.slopes(o)));
            }
        }
    }
}
