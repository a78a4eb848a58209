//! Depthwise convolution.

use super::Depthwise;
use crate::tensor::Tensor;

/// See [`Depthwise`].
///
/// `acc[c] = bias[c] + Σ w[ky, kx, c] · q[y·s + ky·d − pad, x·s + kx·d − pad, c]`, `q` the zero point outside
/// the picture.
///
/// Source: Jacob et al. 2018, section 2.2, with a single rounding.
pub fn depthwise(input: Tensor<'_>, output: Tensor<'_>, depthwise: &Depthwise<'_>) {
    let Depthwise { window, weights, bias, epilogue } = depthwise;
    for y in 0..output.h() {
        for x in 0..output.w() {
            for (c, to) in output.pixel(y * output.w() + x).iter().enumerate() {
                let mut acc = bias.get(c).map_or(0, |bias| bias.get());
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        let tap = ky * window.kernel_w + kx;
                        let (row, column) = window.tap(y, x, ky, kx);
                        let w = weights.get(tap * output.c() + c).map_or(0, |&w| i32::from(w));
                        acc += w * input.padded(row, column, c);
                    }
                }
                to.set(epilogue.finish(acc, epilogue.slopes(c)));
            }
        }
    }
}
