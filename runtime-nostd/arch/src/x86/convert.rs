//! From `[h][w][c]` signed values, the runtime's form, to planes, and back.

use std::arch::x86_64::*;
use std::cell::Cell;

use secateur_runtime::Tensor;

use super::isa::Isa;
use super::layout::{Bytes, PIXEL, View};
use super::vector::Vector;

/// Signs of four values: `q + 128` is `q` with its first bit inverted.
const SIGNS: u32 = 0x8080_8080;

/// Pixels and planes that are transposed at once.
const BLOCK: usize = 4;

/// Four pixels of four planes become four planes of four pixels, and back: a transposition of pixels.
#[inline(always)]
fn transposed(rows: [__m128i; BLOCK]) -> [__m128i; BLOCK] {
    let [a, b, c, d] = rows;
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        let (ab, ab_high) = (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
        let (cd, cd_high) = (_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
        [
            _mm_unpacklo_epi64(ab, cd),
            _mm_unpackhi_epi64(ab, cd),
            _mm_unpacklo_epi64(ab_high, cd_high),
            _mm_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

/// Walks a feature map: `blocks` for four pixels of a row and sixteen channels, `pixel` for the rest. Both get the
/// tensor's pixel, its first channel and the byte of the memory.
#[inline(always)]
fn walk(
    view: &View,
    c: usize,
    mut blocks: impl FnMut(usize, usize, usize),
    mut pixel: impl FnMut(usize, usize, usize),
) {
    let w = view.layout.w;
    let wide = c / (BLOCK * PIXEL);
    for y in 0..view.layout.h {
        let row = view.base + y * view.row();
        let whole = w / BLOCK * BLOCK;
        for x in (0..whole).step_by(BLOCK) {
            for n in 0..wide {
                let at = row + x * PIXEL + n * BLOCK * view.stride;
                blocks(y * w + x, n * BLOCK * PIXEL, at);
            }
        }
        for x in 0..w {
            let first = if x < whole { wide * BLOCK } else { 0 };
            for plane in first..c.div_ceil(PIXEL) {
                pixel(y * w + x, plane * PIXEL, row + x * PIXEL + plane * view.stride);
            }
        }
    }
}

/// Writes a tensor's values into planes; channels past the last become 128. Nothing where shapes differ.
///
/// # Safety
/// The view is inside the memory and nobody else uses it.
pub(super) unsafe fn load(memory: Bytes, view: &View, tensor: Tensor<'_>) {
    if [tensor.h(), tensor.w(), tensor.c()] != [view.layout.h, view.layout.w, view.c] {
        return;
    }
    let bytes = tensor.bytes();
    let blocks = |pixel: usize, channel: usize, at: usize| {
        // SAFETY: sixteen channels of four pixels, all inside the tensor, and four pixels of four planes.
        unsafe {
            let signs = _mm_set1_epi32(SIGNS as i32);
            let mut rows = [_mm_setzero_si128(); BLOCK];
            for (n, row) in rows.iter_mut().enumerate() {
                let from = bytes.as_ptr().add((pixel + n) * tensor.pitch() + channel);
                *row = _mm_xor_si128(_mm_loadu_si128(from.cast()), signs);
            }
            for (n, plane) in transposed(rows).into_iter().enumerate() {
                _mm_storeu_si128(memory.at(at + n * view.stride).cast(), plane);
            }
        }
    };
    let pixel = |pixel: usize, channel: usize, at: usize| {
        let values = tensor.channels(pixel, channel, PIXEL.min(view.c - channel));
        let mut stored = [0; PIXEL];
        stored.iter_mut().zip(values).for_each(|(to, from)| *to = from.get() as u8);
        let stored = u32::from_le_bytes(stored) ^ SIGNS;
        // SAFETY: a pixel of the view.
        unsafe { memory.at(at).cast::<u32>().write_unaligned(stored) }
    };
    walk(view, view.c, blocks, pixel);
}

/// Writes what planes hold into a tensor. Nothing where shapes differ.
///
/// # Safety
/// The view is inside the memory and nobody else writes it.
pub(super) unsafe fn store(memory: Bytes, view: &View, tensor: Tensor<'_>) {
    if [tensor.h(), tensor.w(), tensor.c()] != [view.layout.h, view.layout.w, view.c] {
        return;
    }
    let bytes = tensor.bytes();
    let blocks = |pixel: usize, channel: usize, at: usize| {
        // SAFETY: four pixels of four planes, and sixteen channels of four pixels, all inside the tensor, whose cells
        // may be written through a shared reference.
        unsafe {
            let signs = _mm_set1_epi32(SIGNS as i32);
            let mut planes = [_mm_setzero_si128(); BLOCK];
            for (n, plane) in planes.iter_mut().enumerate() {
                *plane = _mm_xor_si128(_mm_loadu_si128(memory.at(at + n * view.stride).cast()), signs);
            }
            for (n, row) in transposed(planes).into_iter().enumerate() {
                let to = bytes.as_ptr().add((pixel + n) * tensor.pitch() + channel);
                _mm_storeu_si128(to.cast_mut().cast(), row);
            }
        }
    };
    let pixel = |pixel: usize, channel: usize, at: usize| {
        // SAFETY: a pixel of the view.
        let stored = unsafe { memory.at(at).cast::<u32>().read_unaligned() };
        let stored = (stored ^ SIGNS).to_le_bytes();
        let values = tensor.channels(pixel, channel, PIXEL.min(view.c - channel));
        match <&[Cell<i8>; PIXEL]>::try_from(values) {
            Ok(values) => values.iter().zip(stored).for_each(|(to, value)| to.set(value as i8)),
            Err(_) => values.iter().zip(stored).for_each(|(to, value)| to.set(value as i8)),
        }
    };
    walk(view, view.c, blocks, pixel);
}

/// Writes a gapless image into its planes.
///
/// # Safety
/// The processor has `V`'s instructions; the view is inside the memory and nobody else uses it.
pub(super) unsafe fn load_image<V: Isa>(memory: Bytes, view: &View, image: &[i8]) {
    let (w, c) = (view.layout.w, view.c);
    for (y, row) in image.chunks_exact(w * c).enumerate().take(view.layout.h) {
        let at = view.base + y * view.row();
        // `widen` reads sixteen bytes too much: into the next row, which the last one lacks.
        let left = image.len() - y * w * c;
        let vectors = if c == 3 { (left.saturating_sub(16) / 3).min(w) / V::PIXELS } else { 0 };
        // SAFETY: so many pixels are in the row and in the view, and what is read too much is in the image.
        unsafe { V::widen_row(image.as_ptr().add(y * w * c).cast(), memory.at(at), vectors) };
        for (x, values) in row.chunks_exact(c).enumerate().skip(vectors * V::PIXELS) {
            for (plane, values) in values.chunks(PIXEL).enumerate() {
                let mut pixel = [0; PIXEL];
                pixel.iter_mut().zip(values).for_each(|(to, &from)| *to = from as u8);
                let pixel = u32::from_le_bytes(pixel) ^ SIGNS;
                let to = at + x * PIXEL + plane * view.stride;
                // SAFETY: a pixel of the view.
                unsafe { memory.at(to).cast::<u32>().write_unaligned(pixel) }
            }
        }
    }
}

/// Pixels of three channels as a plane, `vectors` vectors.
///
/// # Safety
/// The processor has `V`'s instructions; pointers are valid for so many pixels and `from` for sixteen bytes more.
#[inline(always)]
pub(super) unsafe fn widen_row<V: Vector>(from: *const u8, to: *mut u8, vectors: usize) {
    // SAFETY: as the function says.
    unsafe {
        let signs = V::splat_bytes(0x80);
        for n in 0..vectors {
            let pixels = V::widen(from.add(n * V::PIXELS * 3));
            V::store(to.add(n * V::PIXELS * PIXEL), V::xor(pixels, signs));
        }
    }
}
