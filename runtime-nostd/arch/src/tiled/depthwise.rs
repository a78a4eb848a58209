//! Depthwise convolution in blocks of channels.
//!
//! Adjacent channels run side by side, four output pixels at a time share each weight.

use core::cell::Cell;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::{Depthwise, Slopes, look_up};

/// Hosts have vector registers, small processors (32-bit) code to save.
const HOST: bool = cfg!(target_pointer_width = "64");
/// Output pixels that share a weight.
const PIXELS: usize = 4;
/// Output pixels whose accumulators are held at once.
const STRIP: usize = 16;

/// See [`secateur_runtime::kernels::depthwise`].
#[inline(always)]
pub fn depthwise(input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
    match output.c().min(input.c()) {
        16.. if HOST => blocks::<16>(input, output, parameters),
        8.. if HOST => blocks::<8>(input, output, parameters),
        4.. => blocks::<4>(input, output, parameters),
        _ => blocks::<1>(input, output, parameters),
    }
}

/// All channels in blocks of `L`; the last block reaches back over channels that are already done.
#[inline(always)]
fn blocks<const L: usize>(input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
    let channels = output.c().min(input.c());
    for first in (0..channels).step_by(L) {
        block::<L>(input, output, parameters, first.min(channels - L));
    }
}

/// Channels `first .. first + L` of the whole feature map.
#[inline(always)]
fn block<const L: usize>(input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>, first: usize) {
    let block = Block::<L> {
        input,
        output,
        parameters,
        first,
        bias: core::array::from_fn(|l| parameters.bias.get(first + l).map_or(0, |bias| bias.get())),
        slopes: core::array::from_fn(|l| parameters.epilogue.slopes(first + l)),
        padding: core::array::from_fn(|_| Cell::new(input.zero_point())),
    };
    for y in 0..output.h() {
        for x in (0..output.w()).step_by(STRIP) {
            block.strip(y, x, STRIP.min(output.w() - x));
        }
    }
}

/// `sums[l] += weights[l] · values[l]`.
#[inline(always)]
fn add_products<const L: usize>(sums: &mut [i32; L], weights: &[i8; L], values: &[Cell<i8>; L]) {
    // All values before the first product: one load of a vector.
    let mut codes = [0i8; L];
    codes.iter_mut().zip(values).for_each(|(code, value)| *code = value.get());
    let mut products = [0i16; L];
    for ((product, &w), &q) in products.iter_mut().zip(weights).zip(&codes) {
        *product = i16::from(w) * i16::from(q);
    }
    sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += i32::from(product));
}

/// `L` adjacent channels and their parameters.
struct Block<'a, const L: usize> {
    input: Tensor<'a>,
    output: Tensor<'a>,
    parameters: &'a Depthwise<'a>,
    first: usize,
    bias: [i32; L],
    slopes: [Slopes; L],
    /// What stands outside the image.
    padding: [Cell<i8>; L],
}

impl<const L: usize> Block<'_, L> {
    /// Computes `count` output pixels from `(y, x)`.
    #[inline(always)]
    fn strip(&self, y: usize, x: usize, count: usize) {
        let window = &self.parameters.window;
        let reach = (window.kernel_w.max(1) - 1) * window.dilation_w;
        let mut acc = [self.bias; STRIP];
        let (groups, _) = acc.as_chunks_mut::<PIXELS>();
        for (group, acc) in groups.iter_mut().enumerate().take(count.div_ceil(PIXELS)) {
            let x = x + group * PIXELS;
            let left = x * window.stride_w;
            let right = (x + PIXELS - 1) * window.stride_w + reach;
            if left >= window.pad_left && right < self.input.w() + window.pad_left {
                self.accumulate(y, x, acc);
            } else {
                for (p, acc) in acc.iter_mut().enumerate() {
                    self.accumulate(y, x + p, core::array::from_mut(acc));
                }
            }
        }
        self.finish(&acc, y * self.output.w() + x, count);
    }

    /// Adds the window of `P` output pixels from `(y, x)`. With more than one, all their columns
    /// lie inside the image.
    #[inline(always)]
    fn accumulate<const P: usize>(&self, y: usize, x: usize, acc: &mut [[i32; L]; P]) {
        let Depthwise { window, weights, .. } = self.parameters;
        let channels = self.output.c();
        let mut sums = *acc;
        let mut filter = weights.get(self.first..).unwrap_or(&[]);
        for ky in 0..window.kernel_h {
            let row = (y * window.stride_h + ky * window.dilation_h).wrapping_sub(window.pad_top);
            for kx in 0..window.kernel_w {
                let column = (x * window.stride_w + kx * window.dilation_w).wrapping_sub(window.pad_left);
                let weights = filter.first_chunk::<L>().unwrap_or(&[0; L]);
                for (p, sums) in sums.iter_mut().enumerate() {
                    let values = self.values(row, column.wrapping_add(p * window.stride_w));
                    add_products(sums, weights, values);
                }
                filter = filter.get(channels..).unwrap_or(&[]);
            }
        }
        *acc = sums;
    }

    /// The block's channels of an input pixel, the zero point outside the image.
    #[inline(always)]
    fn values(&self, row: usize, column: usize) -> &[Cell<i8>; L] {
        if row < self.input.h() && column < self.input.w() {
            let pixel = self.input.channels(row * self.input.w() + column, self.first, L);
            pixel.first_chunk::<L>().unwrap_or(&self.padding)
        } else {
            &self.padding
        }
    }

    /// Requantises and writes `count` pixels from number `first`.
    #[inline(always)]
    fn finish(&self, acc: &[[i32; L]; STRIP], first: usize, count: usize) {
        let epilogue = &self.parameters.epilogue;
        for (p, acc) in acc.iter().enumerate().take(count) {
            let mut codes = [0; L];
            for ((code, &acc), &slopes) in codes.iter_mut().zip(acc).zip(&self.slopes) {
                *code = epilogue.clamp(acc, slopes);
            }
            if let Some(table) = epilogue.table {
                codes = codes.map(|code| look_up(table, code));
            }
            let pixel = self.output.channels(first + p, self.first, L);
            pixel.iter().zip(codes).for_each(|(to, code)| to.set(code));
        }
    }
}
