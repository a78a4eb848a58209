//! Convolution.
//!
//! Adjacent output pixels run side by side: their input values are gathered tap by tap into a tile
//! (`[tap pair][pixel][2]`), and each weight then meets all pixels at once. Weights stay in their
//! natural order and are read once a tile; the inner loop is the multiply-add of adjacent 16-bit
//! pairs that vector units have.

use core::cell::Cell;

use super::{Conv, Window};
use crate::tensor::Tensor;

/// Hosts have vector registers and a large stack, small processors (32-bit) neither.
const HOST: bool = cfg!(target_pointer_width = "64");
/// Output pixels that are computed side by side.
const LANES: usize = if HOST { 16 } else { 4 };
/// Output channels whose accumulators are held at once.
const BLOCK: usize = if HOST { 32 } else { 8 };
/// Output channels of one pass over the tile.
const ROWS: usize = 4;
/// Tap pairs of a tile: 16 KiB of stack on hosts, 1 KiB on small processors.
const PAIRS: usize = if HOST { 256 } else { 64 };

type Tile = [[[i16; 2]; LANES]; PAIRS];

/// See [`Conv`].
///
/// `acc[o] = bias[o] + Σ w[o, ky, kx, i] · q[y·s + ky·d − pad, x·s + kx·d − pad, i]`
///
/// Source: Jacob et al. 2018, section 2.2, with a single rounding.
#[inline(always)]
pub fn conv(input: Tensor<'_>, output: Tensor<'_>, conv: &Conv<'_>) {
    let groups = conv.groups.max(1);
    let (in_c, out_c) = (input.c() / groups, output.c() / groups);
    let taps = conv.window.kernel_h * conv.window.kernel_w * in_c;
    if taps == 0 {
        return;
    }
    let mut tile = [[[0; 2]; LANES]; PAIRS];
    for first in (0..output.pixels()).step_by(LANES) {
        for group in 0..groups {
            let patch =
                Patch { input, window: &conv.window, width: output.w(), first, channel: group * in_c, in_c };
            let whole = taps <= 2 * PAIRS;
            if whole {
                patch.gather(&mut tile, 0, taps);
            }
            for block in (0..out_c).step_by(BLOCK) {
                let channel = group * out_c + block;
                let count = BLOCK.min(out_c - block);
                let mut acc = [[0; LANES]; BLOCK];
                for (acc, bias) in acc.iter_mut().zip(conv.bias.get(channel..).unwrap_or(&[])) {
                    *acc = [bias.get(); LANES];
                }
                let filters = conv.weights.get(channel * taps..(channel + count) * taps).unwrap_or(&[]);
                for start in (0..taps).step_by(2 * PAIRS) {
                    let length = (2 * PAIRS).min(taps - start);
                    if !whole {
                        patch.gather(&mut tile, start, length);
                    }
                    accumulate(&tile, filters, taps, start, length, &mut acc);
                }
                finish(&acc, output, conv, first, channel, count);
            }
        }
    }
}

/// Where the tile's values come from: the windows of `LANES` output pixels from `first`.
struct Patch<'a> {
    input: Tensor<'a>,
    window: &'a Window,
    /// Width of the output.
    width: usize,
    first: usize,
    /// First input channel of the group, and their number.
    channel: usize,
    in_c: usize,
}

impl Patch<'_> {
    /// Fills the tile with `length` taps from tap `start`, in the order of the weights.
    #[inline(always)]
    fn gather(&self, tile: &mut Tile, start: usize, length: usize) {
        let Window { kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, .. } = *self.window;
        let pointwise = kernel_h * kernel_w == 1;
        let mut line = [0; 2 * PAIRS];
        for lane in 0..LANES {
            let pixel = self.first + lane;
            let (y, x) = (pixel / self.width.max(1), pixel % self.width.max(1));
            let (top, left) = (y * stride_h, x * stride_w);
            if pointwise {
                self.copy(&mut line, 0, self.values(top, left), start, length);
            } else {
                // A segment: the channels of one position of the window.
                let (mut position, mut channel) = (start / self.in_c.max(1), start % self.in_c.max(1));
                let mut at = 0;
                while at < length {
                    let count = (self.in_c - channel).min(length - at);
                    let (ky, kx) = (position / kernel_w.max(1), position % kernel_w.max(1));
                    let values = self.values(top + ky * dilation_h, left + kx * dilation_w);
                    self.copy(&mut line, at, values, channel, count);
                    (at, position, channel) = (at + count, position + 1, 0);
                }
            }
            let pairs = line.as_chunks::<2>().0;
            for (slot, &pair) in tile.iter_mut().zip(pairs).take(length.div_ceil(2)) {
                if let Some(slot) = slot.get_mut(lane) {
                    *slot = pair;
                }
            }
        }
    }

    /// Copies channels `channel .. channel + count` of a pixel; the zero point outside the picture.
    #[inline(always)]
    fn copy(
        &self,
        line: &mut [i16; 2 * PAIRS],
        at: usize,
        values: &[Cell<i8>],
        channel: usize,
        count: usize,
    ) {
        let line = line.get_mut(at..at + count).unwrap_or(&mut []);
        match values.get(channel..channel + count) {
            Some(values) => {
                for (to, from) in line.iter_mut().zip(values) {
                    *to = i16::from(from.get());
                }
            }
            None => line.fill(i16::from(self.input.zero_point())),
        }
    }

    /// The group's channels at a row and column counted from the padding's corner; empty outside.
    #[inline(always)]
    fn values(&self, row: usize, column: usize) -> &[Cell<i8>] {
        let y = row.wrapping_sub(self.window.pad_top);
        let x = column.wrapping_sub(self.window.pad_left);
        if y < self.input.h() && x < self.input.w() {
            self.input.channels(y * self.input.w() + x, self.channel, self.in_c)
        } else {
            &[]
        }
    }
}

/// Adds `length` taps from `start` of each filter (rows of `taps` weights) to its accumulators.
#[inline(always)]
fn accumulate(
    tile: &Tile,
    filters: &[i8],
    taps: usize,
    start: usize,
    length: usize,
    acc: &mut [[i32; LANES]; BLOCK],
) {
    let (quads, _) = acc.as_chunks_mut::<ROWS>();
    for (acc, filters) in quads.iter_mut().zip(filters.chunks((ROWS * taps).max(1))) {
        let mut rows =
            filters.chunks_exact(taps.max(1)).map(|row| row.get(start..start + length).unwrap_or(&[]));
        match [rows.next(), rows.next(), rows.next(), rows.next()] {
            [Some(a), Some(b), Some(c), Some(d)] => multiply(tile, [a, b, c, d], acc),
            [a, b, c, _] => {
                for (acc, row) in acc.iter_mut().zip([a, b, c]) {
                    if let Some(row) = row {
                        multiply(tile, [row], core::array::from_mut(acc));
                    }
                }
            }
        }
    }
}

/// `acc[r][lane] += Σ w[r][tap] · tile[tap][lane]`, two taps at a time.
#[inline(always)]
fn multiply<const R: usize>(tile: &Tile, weights: [&[i8]; R], acc: &mut [[i32; LANES]; R]) {
    let mut sums = *acc;
    let pairs = weights.map(|row| row.as_chunks::<2>());
    let count = pairs.first().map_or(0, |(pairs, _)| pairs.len());
    for (pair, values) in tile.iter().enumerate().take(count) {
        for (sums, (pairs, _)) in sums.iter_mut().zip(&pairs) {
            let [a, b] = pairs.get(pair).copied().unwrap_or([0; 2]);
            step(sums, values, i32::from(a), i32::from(b));
        }
    }
    if let Some(values) = tile.get(count) {
        for (sums, (_, last)) in sums.iter_mut().zip(&pairs) {
            if let [last] = last {
                step(sums, values, i32::from(*last), 0);
            }
        }
    }
    *acc = sums;
}

#[inline(always)]
fn step(sums: &mut [i32; LANES], values: &[[i16; 2]; LANES], a: i32, b: i32) {
    for (sum, [x, y]) in sums.iter_mut().zip(values) {
        *sum += a * i32::from(*x) + b * i32::from(*y);
    }
}

/// Requantises the accumulators of `count` channels from `channel` and writes them.
#[inline(always)]
fn finish(
    acc: &[[i32; LANES]; BLOCK],
    output: Tensor<'_>,
    conv: &Conv<'_>,
    first: usize,
    channel: usize,
    count: usize,
) {
    let mut codes = [[0i8; LANES]; BLOCK];
    for (n, (codes, acc)) in codes.iter_mut().zip(acc).enumerate().take(count) {
        let slopes = conv.epilogue.slopes(channel + n);
        for (code, &acc) in codes.iter_mut().zip(acc) {
            *code = conv.epilogue.clamp(acc, slopes);
        }
    }
    for lane in 0..LANES.min(output.pixels() - first) {
        let pixel = output.channels(first + lane, channel, count);
        for (to, codes) in pixel.iter().zip(&codes) {
            to.set(conv.epilogue.look_up(codes.get(lane).copied().unwrap_or(0)));
        }
    }
}
