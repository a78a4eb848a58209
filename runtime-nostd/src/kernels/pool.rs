//! Pooling. What lies outside the picture takes no part (Darknet's rule).

use core::ops::Range;

use super::{Epilogue, Window};
use crate::tensor::Tensor;

/// Maximum of the codes in the window: input and output share scale and zero point. A window that
/// lies wholly outside yields −128. Dilation is ignored.
#[inline(always)]
pub fn maxpool(input: Tensor<'_>, output: Tensor<'_>, window: &Window) {
    for y in 0..output.h() {
        let rows = covered(y, window.stride_h, window.kernel_h, window.pad_top, input.h());
        for x in 0..output.w() {
            let columns = covered(x, window.stride_w, window.kernel_w, window.pad_left, input.w());
            let to = output.pixel(y * output.w() + x);
            to.iter().for_each(|to| to.set(i8::MIN));
            for iy in rows.clone() {
                for ix in columns.clone() {
                    let from = input.pixel(iy * input.w() + ix);
                    to.iter().zip(from).for_each(|(to, from)| to.set(to.get().max(from.get())));
                }
            }
        }
    }
}

/// Global average: `requantise(Σ (q − Z))`, the `1/(h·w)` inside `requant` `[1]`; output `[1, 1, c]`.
#[inline(always)]
pub fn avgpool(input: Tensor<'_>, output: Tensor<'_>, epilogue: &Epilogue<'_>) {
    let slopes = epilogue.slopes(0);
    for (c, to) in output.pixel(0).iter().enumerate() {
        let acc = (0..input.pixels()).map(|index| input.deviation(index, c)).sum();
        to.set(epilogue.finish(acc, slopes));
    }
}

/// Average over the cells of the window that lie inside: `requant[n − 1]` holds the `1/n` for
/// `n` such cells, `n` up to `k_h · k_w`.
#[inline(always)]
pub fn local_avgpool(input: Tensor<'_>, output: Tensor<'_>, window: &Window, epilogue: &Epilogue<'_>) {
    for y in 0..output.h() {
        let rows = covered(y, window.stride_h, window.kernel_h, window.pad_top, input.h());
        for x in 0..output.w() {
            let columns = covered(x, window.stride_w, window.kernel_w, window.pad_left, input.w());
            let slopes = epilogue.slopes((rows.len() * columns.len()).wrapping_sub(1));
            for (c, to) in output.pixel(y * output.w() + x).iter().enumerate() {
                let mut acc = 0i32;
                for iy in rows.clone() {
                    for ix in columns.clone() {
                        acc += input.deviation(iy * input.w() + ix, c);
                    }
                }
                to.set(epilogue.finish(acc, slopes));
            }
        }
    }
}

/// Input positions that the window at output position `at` covers inside `0..extent`.
#[inline(always)]
pub(crate) fn covered(at: usize, stride: usize, kernel: usize, pad: usize, extent: usize) -> Range<usize> {
    let start = at * stride;
    start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
}
