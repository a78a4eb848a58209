//! Convolution in tiles.
//!
//! Adjacent output pixels run side by side: their input values are gathered tap by tap into a tile
//! (`[tap pair][2][pixel]`), and each pair of weights then meets all pixels at once. Weights stay in
//! their natural order and are read once a tile.

use core::cell::Cell;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::{Conv, Window};

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

type Tile = [[[i16; LANES]; 2]; PAIRS];
/// The same before its transposition.
type Lines = [[[i8; 2]; PAIRS]; LANES];

/// See [`secateur_runtime::kernels::conv`].
#[inline(always)]
pub fn conv(input: Tensor<'_>, output: Tensor<'_>, conv: &Conv<'_>) {
    let groups = conv.groups.max(1);
    let (in_c, out_c) = (input.c() / groups, output.c() / groups);
    let taps = conv.window.kernel_h * conv.window.kernel_w * in_c;
    if taps == 0 {
        return;
    }
    let mut tile = [[[0; LANES]; 2]; PAIRS];
    let mut lines = [[[0; 2]; PAIRS]; LANES];
    for first in (0..output.pixels()).step_by(LANES) {
        for group in 0..groups {
            let patch =
                Patch { input, window: &conv.window, width: output.w(), first, channel: group * in_c, in_c };
            let whole = taps <= 2 * PAIRS;
            if whole {
                patch.gather(&mut lines, &mut tile, 0, taps);
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
                        patch.gather(&mut lines, &mut tile, start, length);
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
    fn gather(&self, lines: &mut Lines, tile: &mut Tile, start: usize, length: usize) {
        // First a line a pixel, then the transposition: storing pairs directly would read them
        // before single values have left the store buffer.
        let width = self.width.max(1);
        let (mut y, mut x) = (self.first / width, self.first % width);
        for line in lines.iter_mut() {
            self.line(line.as_flattened_mut(), y, x, start, length);
            x += 1;
            if x == width {
                (y, x) = (y + 1, 0);
            }
        }
        for (pair, slot) in tile.iter_mut().enumerate().take(length.div_ceil(2)) {
            let values = lines.each_ref().map(|line| line.get(pair).copied().unwrap_or([0; 2]));
            *slot = [values.map(|[a, _]| i16::from(a)), values.map(|[_, b]| i16::from(b))];
        }
    }

    /// The taps of one output pixel.
    #[inline(always)]
    fn line(&self, line: &mut [i8], y: usize, x: usize, start: usize, length: usize) {
        let Window { kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, .. } = *self.window;
        let (top, left) = (y * stride_h, x * stride_w);
        let mut line = line.get_mut(..length).unwrap_or(&mut []);
        if kernel_h * kernel_w == 1 {
            self.copy(line, self.values(top, left), start);
            return;
        }
        let (position, mut channel) = (start / self.in_c.max(1), start % self.in_c.max(1));
        let (mut ky, mut kx) = (position / kernel_w.max(1), position % kernel_w.max(1));
        while !line.is_empty() {
            // A segment: the channels of one position of the window.
            let count = (self.in_c - channel).min(line.len());
            let (segment, rest) = line.split_at_mut_checked(count).unwrap_or_default();
            self.copy(segment, self.values(top + ky * dilation_h, left + kx * dilation_w), channel);
            (line, channel, kx) = (rest, 0, kx + 1);
            if kx == kernel_w {
                (ky, kx) = (ky + 1, 0);
            }
        }
    }

    /// Copies a pixel's values from `channel` on; the zero point outside the image.
    #[inline(always)]
    fn copy(&self, to: &mut [i8], values: &[Cell<i8>], channel: usize) {
        match values.get(channel..channel + to.len()) {
            Some(values) => to.iter_mut().zip(values).for_each(|(to, from)| *to = from.get()),
            None => to.fill(self.input.zero_point()),
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
            step(sums, values, a, b);
        }
    }
    if let Some(values) = tile.get(count) {
        for (sums, (_, last)) in sums.iter_mut().zip(&pairs) {
            if let [last] = last {
                step(sums, values, *last, 0);
            }
        }
    }
    *acc = sums;
}

/// Two products of codes and weights (−127 ..= 127) fit 16 bits together: half the widenings.
#[inline(always)]
fn step(sums: &mut [i32; LANES], [x, y]: &[[i16; LANES]; 2], a: i8, b: i8) {
    let (a, b) = (i16::from(a), i16::from(b));
    for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
        *sum += i32::from(a.wrapping_mul(*x).wrapping_add(b.wrapping_mul(*y)));
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
