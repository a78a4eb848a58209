//! Depthwise convolution.

use super::Depthwise;
use crate::tensor::Tensor;

/// See [`Depthwise`].
#[inline(always)]
pub fn depthwise(input: Tensor<'_>, output: Tensor<'_>, depthwise: &Depthwise<'_>) {
    let Depthwise { window, weights, bias, epilogue } = depthwise;
    for y in 0..output.h() {
        for x in 0..output.w() {
            let to = output.pixel(y * output.w() + x);
            for (c, to) in to.iter().enumerate() {
                let mut acc = bias.get(c).map_or(0, |b| b.get());
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        let iy = (y * window.stride_h + ky * window.dilation_h).wrapping_sub(window.pad_top);
                        let ix = (x * window.stride_w + kx * window.dilation_w).wrapping_sub(window.pad_left);
                        let w =
                            weights.get((ky * window.kernel_w + kx) * input.c() + c).copied().unwrap_or(0);
                        let q = if iy < input.h() && ix < input.w() {
                            input.get(iy, ix, c)
                        } else {
                            input.zero_point()
                        };
                        acc += i32::from(w) * i32::from(q);
                    }
                }
                to.set(epilogue.finish(acc, epilogue.slopes(c)));
            }
        }
    }
}
