//! Convolution.

use super::Conv;
use crate::tensor::Tensor;

/// See [`Conv`].
///
/// `acc[o] = bias[o] + Σ w[o, ky, kx, i] · q[y·s + ky·d − pad, x·s + kx·d − pad, i]`
#[inline(always)]
pub fn conv(input: Tensor<'_>, output: Tensor<'_>, conv: &Conv<'_>) {
    let Conv { window, groups, weights, bias, epilogue } = conv;
    let in_c = input.c() / (*groups).max(1);
    let out_c = output.c() / (*groups).max(1);
    let filter = window.kernel_h * window.kernel_w * in_c;
    for y in 0..output.h() {
        for x in 0..output.w() {
            let to = output.pixel(y * output.w() + x);
            for (o, to) in to.iter().enumerate() {
                let group = o / out_c.max(1);
                let mut acc = bias.get(o).map_or(0, |b| b.get());
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        let iy = (y * window.stride_h + ky * window.dilation_h).wrapping_sub(window.pad_top);
                        let ix = (x * window.stride_w + kx * window.dilation_w).wrapping_sub(window.pad_left);
                        let start = o * filter + (ky * window.kernel_w + kx) * in_c;
                        let w = weights.get(start..start + in_c).unwrap_or(&[]);
                        if iy < input.h() && ix < input.w() {
                            let from = input.channels(iy * input.w() + ix, group * in_c, in_c);
                            for (&w, q) in w.iter().zip(from) {
                                acc += i32::from(w) * i32::from(q.get());
                            }
                        } else {
                            for &w in w {
                                acc += i32::from(w) * i32::from(input.zero_point());
                            }
                        }
                    }
                }
                to.set(epilogue.finish(acc, epilogue.slopes(o)));
            }
        }
    }
}
