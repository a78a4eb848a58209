//! Feature maps as the kernels see them.

use core::cell::Cell;

use crate::artefact::CRC;

/// A view of an `[h, w, c]` i8 feature map: element `(y, x, ch)` at `(y · w + x) · pitch + ch`.
///
/// Cells, because a feature map may be a channel slice of a wider one: an input and an output then
/// interleave in memory, which two ordinary slices cannot express. `pitch` ≥ `c`.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    data: &'a [Cell<i8>],
    h: usize,
    w: usize,
    c: usize,
    pitch: usize,
    zero_point: i8,
}

impl<'a> Tensor<'a> {
    /// Bytes that a feature map of this shape spans, or `None` where that is not a number.
    pub const fn span(h: usize, w: usize, c: usize, pitch: usize) -> Option<usize> {
        if h == 0 || w == 0 || c == 0 || pitch < c {
            return None;
        }
        let Some(pixels) = h.checked_mul(w) else { return None };
        let Some(last) = (pixels - 1).checked_mul(pitch) else { return None };
        last.checked_add(c)
    }

    /// A view of the first bytes of `data`; `None` where it is too short or the shape is empty.
    #[inline(always)]
    pub fn new(data: &'a [Cell<i8>], [h, w, c]: [usize; 3], pitch: usize, zero_point: i8) -> Option<Self> {
        let data = data.get(..Self::span(h, w, c, pitch)?)?;
        Some(Self { data, h, w, c, pitch, zero_point })
    }

    /// A dense view (`pitch` = `c`).
    pub fn dense(data: &'a [Cell<i8>], shape: [usize; 3], zero_point: i8) -> Option<Self> {
        Self::new(data, shape, shape[2], zero_point)
    }

    #[inline(always)]
    pub const fn h(&self) -> usize {
        self.h
    }

    #[inline(always)]
    pub const fn w(&self) -> usize {
        self.w
    }

    #[inline(always)]
    pub const fn c(&self) -> usize {
        self.c
    }

    #[inline(always)]
    pub const fn pitch(&self) -> usize {
        self.pitch
    }

    /// No bytes of neighbours in between.
    #[inline(always)]
    pub const fn is_dense(&self) -> bool {
        self.pitch == self.c
    }

    /// The same bytes as one pixel of many channels, where the feature map is dense.
    #[inline(always)]
    pub const fn flat(self) -> Self {
        let c = self.data.len();
        Self { h: 1, w: 1, c, pitch: c, ..self }
    }

    /// Code that stands for the real number 0.
    #[inline(always)]
    pub const fn zero_point(&self) -> i8 {
        self.zero_point
    }

    #[inline(always)]
    pub const fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// All bytes from the first element to the last, those of neighbours in between included.
    #[inline(always)]
    pub const fn bytes(&self) -> &'a [Cell<i8>] {
        self.data
    }

    /// The `c` values of pixel `index` = `y · w + x`; empty outside the feature map.
    #[inline(always)]
    pub fn pixel(&self, index: usize) -> &'a [Cell<i8>] {
        self.channels(index, 0, self.c)
    }

    /// Channels `first .. first + count` of a pixel; empty outside the feature map.
    #[inline(always)]
    pub fn channels(&self, index: usize, first: usize, count: usize) -> &'a [Cell<i8>] {
        let start = index.wrapping_mul(self.pitch).wrapping_add(first);
        self.data.get(start..start.wrapping_add(count)).unwrap_or(&[])
    }

    /// Value at row `y`, column `x`, channel `c`; 0 outside the feature map.
    pub fn get(&self, y: usize, x: usize, c: usize) -> i8 {
        self.pixel(y.wrapping_mul(self.w).wrapping_add(x)).get(c).map_or(0, Cell::get)
    }

    /// Value at row `y`, column `x`, channel `c`; the zero point outside the feature map.
    pub fn padded(&self, y: usize, x: usize, c: usize) -> i32 {
        let inside = y < self.h && x < self.w && c < self.c;
        i32::from(if inside { self.get(y, x, c) } else { self.zero_point })
    }

    /// `q − Z` of channel `c` of pixel `index` = `y · w + x`; 0 outside the feature map.
    #[inline(always)]
    pub fn deviation(&self, index: usize, c: usize) -> i32 {
        let q = self.pixel(index).get(c).map_or(self.zero_point, Cell::get);
        i32::from(q) - i32::from(self.zero_point)
    }

    /// The feature map's values without gaps, `[h, w, c]`, as far as `out` reaches.
    pub fn copy_to(&self, out: &mut [i8]) {
        for (index, row) in out.chunks_mut(self.c.max(1)).enumerate().take(self.pixels()) {
            for (to, from) in row.iter_mut().zip(self.pixel(index)) {
                *to = from.get();
            }
        }
    }

    /// CRC-32 (that which ends an artefact) of the feature map's values without gaps, `[h, w, c]`.
    pub fn crc32(&self) -> u32 {
        let mut digest = CRC.digest();
        let mut chunk = [0; 32];
        for index in 0..self.pixels() {
            for part in self.pixel(index).chunks(chunk.len()) {
                for (to, from) in chunk.iter_mut().zip(part) {
                    *to = from.get() as u8;
                }
                digest.update(chunk.get(..part.len()).unwrap_or(&chunk));
            }
        }
        digest.finalize()
    }

    /// Fills the feature map from gapless `[h, w, c]` values, as far as `values` reaches.
    pub fn copy_from(&self, values: &[i8]) {
        for (index, row) in values.chunks(self.c.max(1)).enumerate().take(self.pixels()) {
            for (to, &from) in self.pixel(index).iter().zip(row) {
                to.set(from);
            }
        }
    }
}
