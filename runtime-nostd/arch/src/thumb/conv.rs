//! Convolution: tiles of four output pixels, whose inputs are widened to 16 bits once for all outputs.

use core::cell::Cell;

use secateur_runtime::artefact::format::WINDOW_LIMIT;
use secateur_runtime::kernels::Window;
use secateur_runtime::packed::{ConvLayout, Form, PackedConv};
use secateur_runtime::{Operators, Tensor};

use super::{Scratch, finish, words};

core::arch::global_asm!(include_str!("conv.s"), options(raw));

/// What the functions of `conv.s` read; its order is known there.
#[repr(C)]
struct Call {
    /// First output's byte of the pixel at hand, bytes from one pixel to the next.
    out: *mut i8,
    pitch: usize,
    zero_point: i32,
    words_end: *const u32,
    /// The tile of widened inputs.
    tile: *mut u32,
    tile_end: *mut u32,
    entry: usize,
    words: *const u32,
    /// Tiles of four pixels, or single pixels.
    tiles: usize,
    src: *const i8,
    /// Bytes from one pixel's inputs to the next's.
    stride: usize,
    /// Inputs to widen: four times this and `rest` more; none where the tile is full already.
    quads: usize,
    rest: usize,
    base: *mut i8,
}

type Kernel = unsafe extern "C" fn(*const Call);

unsafe extern "C" {
    fn secateur_pw4_wide_linear(call: *const Call);
    fn secateur_pw4_wide_slopes(call: *const Call);
    fn secateur_pw4_wide_general(call: *const Call);
    fn secateur_pw4_folded_linear(call: *const Call);
    fn secateur_pw4_folded_slopes(call: *const Call);
    fn secateur_pw4_folded_general(call: *const Call);
    fn secateur_pw1_wide_linear(call: *const Call);
    fn secateur_pw1_wide_slopes(call: *const Call);
    fn secateur_pw1_wide_general(call: *const Call);
    fn secateur_pw1_folded_linear(call: *const Call);
    fn secateur_pw1_folded_slopes(call: *const Call);
    fn secateur_pw1_folded_general(call: *const Call);
    /// Widens `count` bytes of each of four pixels, `stride` bytes apart; returns the end of what it wrote.
    fn secateur_widen4(tile: *mut u32, src: *const i8, stride: usize, count: usize) -> *mut u32;
}

/// The functions for four pixels and for one; `None` where they are not linked.
fn kernels<const OPERATORS: u32>(layout: &ConvLayout) -> Option<(Kernel, Kernel)> {
    let linked = |set| Operators::from_bits(OPERATORS).contains(set);
    let (wide, folded) = (linked(Operators::PACKED_CONV_WIDE), linked(Operators::PACKED_CONV_FOLDED));
    let linear = linked(Operators::PACKED_CONV_LINEAR);
    let slopes = linked(Operators::PACKED_CONV_TWO_SLOPES);
    let general = linked(Operators::PACKED_CONV_GENERAL);
    Some(match (layout.folded, layout.form) {
        (false, Form::Linear) if wide && linear => (secateur_pw4_wide_linear, secateur_pw1_wide_linear),
        (false, Form::TwoSlopes) if wide && slopes => (secateur_pw4_wide_slopes, secateur_pw1_wide_slopes),
        (false, Form::General) if wide && general => (secateur_pw4_wide_general, secateur_pw1_wide_general),
        (true, Form::Linear) if folded && linear => (secateur_pw4_folded_linear, secateur_pw1_folded_linear),
        (true, Form::TwoSlopes) if folded && slopes => {
            (secateur_pw4_folded_slopes, secateur_pw1_folded_slopes)
        }
        (true, Form::General) if folded && general => {
            (secateur_pw4_folded_general, secateur_pw1_folded_general)
        }
        _ => return None,
    })
}

/// See [`secateur_runtime::packed::packed_conv`]; `None` where these kernels cannot do it, and nothing was
/// written.
pub(super) fn conv<const OPERATORS: u32>(
    input: Tensor<'_>,
    output: Tensor<'_>,
    conv: &PackedConv<'_>,
    scratch: Scratch<'_>,
) -> Option<()> {
    let ConvLayout { runs, run, out_c, .. } = conv.layout;
    let Window { kernel_h, kernel_w, .. } = conv.window;
    let matches = runs == kernel_h && run == kernel_w.checked_mul(input.c())? && out_c == output.c();
    let constants = words(conv.words)?;
    if !matches || out_c < 2 || runs == 0 || run == 0 || Some(conv.words.len()) != conv.layout.words() {
        return None;
    }
    let w = &conv.window;
    // Of a checked artefact they are; larger ones would leave 32 bits in the distances below.
    if [kernel_h, kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w]
        .iter()
        .any(|&n| n > WINDOW_LIMIT)
    {
        return None;
    }
    let same = (input.h(), input.w()) == (output.h(), output.w());
    let unit = [kernel_h, kernel_w, w.stride_h, w.stride_w] == [1; 4] && [w.pad_top, w.pad_left] == [0; 2];
    let kernels = kernels::<OPERATORS>(&conv.layout)?;
    let layer = Layer { input, output, conv, constants, kernels };
    if unit && same {
        layer.pointwise(scratch)?;
    } else {
        layer.windows(scratch)?;
    }
    finish(output, &conv.bounds);
    Some(())
}

/// A layer whose shapes agree, its constants' first word, and its functions for four pixels and for one.
struct Layer<'a> {
    input: Tensor<'a>,
    output: Tensor<'a>,
    conv: &'a PackedConv<'a>,
    constants: *const u32,
    kernels: (Kernel, Kernel),
}

impl Layer<'_> {
    /// Where the first output of pixel `pixel` is.
    fn out(&self, pixel: usize) -> *mut i8 {
        self.output.bytes().as_ptr().wrapping_add(pixel * self.output.pitch()).cast::<i8>().cast_mut()
    }

    /// The calls that compute all outputs: whole pairs, then the last output of an odd number together with the one
    /// before it. For `tiles` tiles of `pixels` pixels, of which the first is `pixel`; inputs are read from `src` on,
    /// `widen` of each pixel, none where the tile is full.
    fn calls(
        &self,
        tile: *mut u32,
        [pixel, pixels, tiles]: [usize; 3],
        src: *const i8,
        widen: usize,
    ) -> [Call; 2] {
        let layout = &self.conv.layout;
        let whole = layout.out_c / 2;
        [(0, whole, 0), (whole, layout.out_c % 2, layout.out_c - 2)].map(|(pair, pairs, o)| {
            let words = self.constants.wrapping_add(pair * layout.pair_words());
            let out = self.out(pixel).wrapping_add(o);
            Call {
                out,
                base: out,
                pitch: self.output.pitch(),
                zero_point: i32::from(self.conv.bounds.zero_point),
                words,
                words_end: words.wrapping_add(pairs * layout.pair_words()),
                tile,
                tile_end: tile.wrapping_add(layout.pairs() * pixels),
                entry: 0,
                tiles,
                src,
                stride: self.input.pitch(),
                quads: widen / 4,
                rest: widen % 4,
            }
        })
    }

    /// 1 × 1, a pixel of the input for each of the output.
    fn pointwise(&self, scratch: Scratch<'_>) -> Option<()> {
        let (tile, room) = scratch.words();
        if room < self.conv.layout.pairs() * 4 {
            return None;
        }
        let (four, one) = self.kernels;
        let pixels = self.output.pixels();
        for (kernel, pixel, width, tiles) in [(four, 0, 4, pixels / 4), (one, pixels / 4 * 4, 1, pixels % 4)]
        {
            let at = pixel * self.input.pitch();
            let src = self.input.bytes().as_ptr().wrapping_add(at).cast();
            for call in self.calls(tile, [pixel, width, tiles], src, self.input.c()) {
                if tiles > 0 && call.words != call.words_end {
                    // SAFETY: the pixels are within both feature maps, which have the same number; the tile has a word
                    // for every pair and pixel. The words of the call's pairs are there (`conv` compared their number
                    // with the layout); each pair writes two bytes of each pixel, within the output's channels.
                    unsafe { kernel(&call) };
                }
            }
        }
        Some(())
    }

    /// Any window: the inputs of four output pixels are gathered, a row of the window at a time.
    fn windows(&self, scratch: Scratch<'_>) -> Option<()> {
        let layout = &self.conv.layout;
        let (tile, room) = scratch.words();
        let line = layout.run.next_multiple_of(4);
        let pixels = self.output.pixels();
        if pixels < 4 || room < layout.pairs() * 4 + line {
            return None;
        }
        let tile_end = tile.wrapping_add(layout.pairs() * 4);
        // Four rows of a window, where they cannot be read in place.
        // SAFETY: `line` words follow the tile, within the scratch; codes have no alignment.
        let lines = unsafe { core::slice::from_raw_parts(tile_end.cast::<Cell<i8>>(), 4 * line) };
        let (four, _) = self.kernels;
        let [mut pairs, mut last] = self.calls(tile, [0, 4, 1], core::ptr::null(), 0);
        let width = self.output.w().max(1);
        let (mut y, mut x, mut first) = (0, 0, 0);
        while first < pixels {
            if pixels - first < 4 {
                // The last tile reaches back over pixels that are done.
                first = pixels - 4;
                (y, x) = (first / width, first % width);
            }
            self.fill(tile, [y, x], lines, line);
            pairs.base = self.out(first);
            // SAFETY: the tile is full, the four pixels are inside the output; words as in `pointwise`.
            unsafe { four(&pairs) };
            if layout.out_c % 2 == 1 {
                last.base = self.out(first).wrapping_add(layout.out_c - 2);
                // SAFETY: as above.
                unsafe { four(&last) };
            }
            first += 4;
            x += 4;
            while x >= width {
                (y, x) = (y + 1, x - width);
            }
        }
        Some(())
    }

    /// Widens the inputs of four output pixels from `(y, x)` on: read in place where their windows are inside the image and
    /// rows of them in one piece, else from `lines`.
    #[inline(always)]
    fn fill(&self, tile: *mut u32, [y, x]: [usize; 2], lines: &[Cell<i8>], line: usize) {
        let (window, input, layout) = (&self.conv.window, &self.input, &self.conv.layout);
        let (row, column) = window.tap(y, x, 0, 0);
        let columns = 3 * window.stride_w + window.kernel_w;
        let pieces = input.is_dense() && window.dilation_w == 1 && x + 4 <= self.output.w();
        let rows = (window.kernel_h - 1) * window.dilation_h + 1;
        let inside =
            row < input.h() && row + rows <= input.h() && column < input.w() && column + columns <= input.w();
        // What is too large for 32 bits is not inside, and its piece is longer than the lines.
        let stride = window.stride_w.wrapping_mul(input.pitch());
        let down = window.dilation_h.wrapping_mul(input.w()).wrapping_mul(input.pitch());
        let mut to = tile;
        if pieces && inside {
            let at = (row * input.w() + column) * input.pitch();
            let mut src = input.bytes().as_ptr().wrapping_add(at).cast();
            for _ in 0..layout.runs {
                // SAFETY: each of `runs` calls writes four words for every two of `run` inputs into the tile, and reads
                // `run` bytes of each pixel's window, all of them inside the input.
                to = unsafe { secateur_widen4(to, src, stride, layout.run) };
                src = src.wrapping_add(down);
            }
            return;
        }
        for ky in 0..layout.runs {
            let piece = pieces && columns.checked_mul(input.c()).is_some_and(|bytes| bytes <= lines.len());
            let stride = if piece { stride } else { line };
            if piece {
                self.gather_piece(window.tap(y, x, ky, 0), columns, lines);
            } else {
                self.gather([y, x], ky, lines, line);
            }
            // SAFETY: as above; the bytes read are in `lines`.
            to = unsafe { secateur_widen4(to, lines.as_ptr().cast(), stride, layout.run) };
        }
    }

    /// Copies `columns` pixels of row `row` from `column` on into `lines`, zero points outside the image: what four
    /// windows side by side see.
    #[inline(never)]
    fn gather_piece(&self, (row, column): (usize, usize), columns: usize, lines: &[Cell<i8>]) {
        let input = &self.input;
        // Columns count from the padding's corner, so that one left of the image is huge.
        let before = if column > input.w() { column.wrapping_neg().min(columns) } else { 0 };
        let start = column.wrapping_add(before);
        let count = if row < input.h() { input.w().saturating_sub(start).min(columns - before) } else { 0 };
        let at = (row.wrapping_mul(input.w()).wrapping_add(start)).wrapping_mul(input.c());
        let from = input.bytes().get(at..at.wrapping_add(count * input.c())).unwrap_or(&[]);
        let zero = input.zero_point();
        let (left, rest) = lines.split_at_checked(before * input.c()).unwrap_or((&[], &[]));
        let (middle, right) = rest.split_at_checked(from.len()).unwrap_or((&[], rest));
        left.iter().for_each(|to| to.set(zero));
        middle.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
        let right = right.iter().take((columns - before) * input.c() - from.len());
        right.for_each(|to| to.set(zero));
    }

    /// Copies rows `ky` of the windows of four output pixels into `lines`; zero points outside the image.
    #[inline(never)]
    fn gather(&self, [mut y, mut x]: [usize; 2], ky: usize, lines: &[Cell<i8>], line: usize) {
        let (window, input) = (&self.conv.window, &self.input);
        let width = self.output.w();
        for to in lines.chunks_exact(line.max(1)) {
            for (kx, to) in to.chunks(input.c().max(1)).enumerate().take(window.kernel_w) {
                let (row, column) = window.tap(y, x, ky, kx);
                let inside = row < input.h() && column < input.w();
                let from = if inside { input.pixel(row * input.w() + column) } else { &[] };
                match from.get(..to.len()) {
                    Some(from) => to.iter().zip(from).for_each(|(to, from)| to.set(from.get())),
                    None => to.iter().for_each(|to| to.set(input.zero_point())),
                }
            }
            x += 1;
            if x == width {
                (y, x) = (y + 1, 0);
            }
        }
    }
}
