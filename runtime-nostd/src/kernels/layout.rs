//! Kernels that only move codes: upsample and reorg. Input and output share scale and zero point.

use super::ReorgMode;
use crate::tensor::Tensor;

/// Nearest-neighbour upsampling: output `[h · stride_h, w · stride_w, c]`.
#[inline(always)]
pub fn upsample(input: Tensor<'_>, output: Tensor<'_>, stride_h: usize, stride_w: usize) {
    let (stride_h, stride_w) = (stride_h.max(1), stride_w.max(1));
    for y in 0..output.h() {
        for x in 0..output.w() {
            let from = input.pixel(y / stride_h * input.w() + x / stride_w);
            let to = output.pixel(y * output.w() + x);
            to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
        }
    }
}

/// Space to depth and its relatives, `stride` × `stride` cells, in the channel order of Darknet.
#[inline(always)]
pub fn reorg(input: Tensor<'_>, output: Tensor<'_>, stride: usize, mode: ReorgMode) {
    let stride = stride.max(1);
    match mode {
        ReorgMode::SpaceToDepth => {
            for (y, x, dy, dx) in cells(output.h(), output.w(), stride) {
                let from = input.pixel((y * stride + dy) * input.w() + x * stride + dx);
                let block = (dy * stride + dx) * input.c();
                let to = output.channels(y * output.w() + x, block, input.c());
                to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
            }
        }
        ReorgMode::DepthToSpace => {
            for (y, x, dy, dx) in cells(input.h(), input.w(), stride) {
                let to = output.pixel((y * stride + dy) * output.w() + x * stride + dx);
                let block = (dy * stride + dx) * output.c();
                let from = input.channels(y * input.w() + x, block, output.c());
                to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
            }
        }
        ReorgMode::Flat => flat(input, output, stride),
    }
}

/// `reorg_old`: the permutation of `SpaceToDepth`, but both maps read as flat channel-major
/// arrays: the source as `[c / s²][h · s][w · s]`, the target as `[c][h][w]` (dimensions of the input).
#[inline(always)]
fn flat(input: Tensor<'_>, output: Tensor<'_>, stride: usize) {
    let (h, w, c) = (input.h(), input.w(), input.c());
    let depth = (c / (stride * stride).max(1)).max(1);
    for k in 0..c {
        let (dy, dx) = (k / depth / stride, k / depth % stride);
        for y in 0..h {
            for x in 0..w {
                let source = x * stride + dx + w * stride * (y * stride + dy + h * stride * (k % depth));
                let target = x + w * (y + h * k);
                if let (Some(from), Some(to)) = (channel_major(input, source), channel_major(output, target))
                {
                    to.set(from.get());
                }
            }
        }
    }
}

/// The element that stands at `index` of the map's `[c][h][w]` order.
#[inline(always)]
fn channel_major<'a>(map: Tensor<'a>, index: usize) -> Option<&'a core::cell::Cell<i8>> {
    let plane = map.pixels().max(1);
    map.pixel(index % plane).get(index / plane)
}

#[inline(always)]
fn cells(h: usize, w: usize, stride: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..h).flat_map(move |y| {
        (0..w).flat_map(move |x| (0..stride).flat_map(move |dy| (0..stride).map(move |dx| (y, x, dy, dx))))
    })
}
