//! Convolution: tiles of four output pixels, whose inputs are widened to 16 bits once for all outputs.

use core::cell::Cell;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::Window;
use secateur_runtime::kernels::packed::{ConvLayout, Form, PackedConv};

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

/// The functions for four pixels and for one.
const fn kernels(layout: &ConvLayout) -> (Kernel, Kernel) {
    match (layout.folded, layout.form) {
        (false, Form::Linear) => (secateur_pw4_wide_linear, secateur_pw1_wide_linear),
        (false, Form::TwoSlopes) => (secateur_pw4_wide_slopes, secateur_pw1_wide_slopes),
        (false, Form::General) => (secateur_pw4_wide_general, secateur_pw1_wide_general),
        (true, Form::Linear) => (secateur_pw4_folded_linear, secateur_pw1_folded_linear),
        (true, Form::TwoSlopes) => (secateur_pw4_folded_slopes, secateur_pw1_folded_slopes),
        (true, Form::General) => (secateur_pw4_folded_general, secateur_pw1_folded_general),
    }
}

/// See [`secateur_runtime::kernels::packed::packed_conv`]; `None` where these kernels cannot do it, and nothing was
/// written.
pub(super) fn conv(
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
    let same = (input.h(), input.w()) == (output.h(), output.w());
    let unit = [kernel_h, kernel_w, w.stride_h, w.stride_w] == [1; 4] && [w.pad_top, w.pad_left] == [0; 2];
    let layer = Layer { input, output, conv, constants };
    if unit && same {
        layer.pointwise(scratch)?;
    } else {
        layer.windows(scratch)?;
    }
    finish(output, &conv.bounds);
    Some(())
}

/// A layer whose shapes agree, and its constants' first word.
struct Layer<'a> {
    input: Tensor<'a>,
    output: Tensor<'a>,
    conv: &'a PackedConv<'a>,
    constants: *const u32,
}

impl Layer<'_> {
    /// Computes all outputs of `tiles` tiles (of four pixels, or one) from output pixel `first` on.
    ///
    /// # Safety
    /// `call` has the tile's memory and, unless the tile is full, readable inputs for all these pixels; the
    /// pixels are inside the output.
    unsafe fn outputs(&self, kernel: Kernel, first: usize, call: Call) {
        let (pair_words, out_c) = (self.conv.layout.pair_words(), self.conv.layout.out_c);
        let pitch = self.output.pitch();
        // Whole pairs, then the last output of an odd number together with the one before it.
        let whole = out_c / 2;
        for (pair, pairs, o) in [(0, whole, 0), (whole, out_c % 2, out_c - 2)] {
            if pairs == 0 {
                continue;
            }
            let out = self.output.bytes().as_ptr().wrapping_add(first * pitch + o).cast::<i8>().cast_mut();
            let words = self.constants.wrapping_add(pair * pair_words);
            let call = Call {
                out,
                base: out,
                pitch,
                words,
                words_end: words.wrapping_add(pairs * pair_words),
                zero_point: i32::from(self.conv.bounds.zero_point),
                ..call
            };
            // SAFETY: the words of `pairs` pairs are there (`conv` compared their number with the layout); each pair
            // writes two bytes of each pixel, within the output's channels; the caller vouches for the rest.
            unsafe { kernel(&call) };
        }
    }

    /// A call with an empty tile for `tiles` times `pixels` pixels whose inputs begin at `src`.
    fn call(&self, tile: *mut u32, pixels: usize, tiles: usize, src: *const i8, widen: usize) -> Call {
        Call {
            out: core::ptr::null_mut(),
            base: core::ptr::null_mut(),
            pitch: 0,
            zero_point: 0,
            words_end: core::ptr::null(),
            words: core::ptr::null(),
            tile,
            tile_end: tile.wrapping_add(self.conv.layout.pairs() * pixels),
            entry: 0,
            tiles,
            src,
            stride: self.input.pitch(),
            quads: widen / 4,
            rest: widen % 4,
        }
    }

    /// 1 × 1, a pixel of the input for each of the output.
    fn pointwise(&self, scratch: Scratch<'_>) -> Option<()> {
        let (tile, room) = scratch.words();
        if room < self.conv.layout.pairs() * 4 {
            return None;
        }
        let (four, one) = kernels(&self.conv.layout);
        let pixels = self.output.pixels();
        let channels = self.input.c();
        let at =
            |pixel: usize| self.input.bytes().as_ptr().wrapping_add(pixel * self.input.pitch()).cast::<i8>();
        let (tiles, single) = (pixels / 4, pixels / 4 * 4);
        if tiles > 0 {
            // SAFETY: four times `tiles` pixels are within both feature maps, which have the same number; the tile
            // has four words for every pair.
            unsafe { self.outputs(four, 0, self.call(tile, 4, tiles, at(0), channels)) };
        }
        if single < pixels {
            // SAFETY: as above, for the pixels that are left.
            unsafe { self.outputs(one, single, self.call(tile, 1, pixels - single, at(single), channels)) };
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
        let (four, _) = kernels(layout);
        let mut first = 0;
        while first < pixels {
            // The last tile reaches back over pixels that are done.
            first = first.min(pixels - 4);
            let mut to = tile;
            for ky in 0..layout.runs {
                let (src, stride) = self.rows(first, ky, lines, line);
                // SAFETY: each of `runs` calls writes four words for every two of `run` inputs into the tile; its
                // sources are four times `run` bytes of the input or of `lines`.
                to = unsafe { secateur_widen4(to, src, stride, layout.run) };
            }
            // SAFETY: the tile is full, the four pixels are inside the output.
            unsafe { self.outputs(four, first, self.call(tile, 4, 1, core::ptr::null(), 0)) };
            first += 4;
        }
        Some(())
    }

    /// Row `ky` of the windows of four output pixels from `first` on: where the first one's is and how far the next:
    /// in the input where it stands there in one piece, else in `lines`.
    fn rows(&self, first: usize, ky: usize, lines: &[Cell<i8>], line: usize) -> (*const i8, usize) {
        let (window, input) = (&self.conv.window, &self.input);
        let width = self.output.w().max(1);
        let (mut y, mut x) = (first / width, first % width);
        let (row, column) = window.tap(y, x, ky, 0);
        let last = column.wrapping_add(3 * window.stride_w + window.kernel_w);
        let piece = input.is_dense() && window.dilation_w == 1 && x + 4 <= width;
        if piece && row < input.h() && column < input.w() && last <= input.w() {
            let at = (row * input.w() + column) * input.pitch();
            return (input.bytes().as_ptr().wrapping_add(at).cast(), window.stride_w * input.pitch());
        }
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
        (lines.as_ptr().cast(), line)
    }
}
