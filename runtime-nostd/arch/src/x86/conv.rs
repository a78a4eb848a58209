//! Convolution: pixels in lanes, weights broadcast, tiles of up to three vectors × eight outputs.
//!
//! A step of the inner loop multiplies four channels of one tap. Where taps are is a table of distances, so that
//! windows cost nothing beside the pointwise case.

use super::isa::Isa;
use super::layout::{Bytes, PIXEL, View};
use super::requant::{Kind, Post, Quad};
use super::vector::{Requantise, Vector};

/// A convolution without groups.
#[derive(Debug)]
pub(super) struct Conv {
    /// Byte of the input that the first output's first tap is counted from.
    pub(super) input: usize,
    pub(super) output: View,
    /// For each step of the inner loop, bytes from the pixel to what it reads.
    pub(super) sources: Box<[isize]>,
    /// By block, by step of the inner loop, by output of the block.
    pub(super) weights: Box<[u8]>,
    pub(super) blocks: Box<[Block]>,
    pub(super) quads: Box<[Quad]>,
    pub(super) rows: Rows,
    /// Stride 2 along rows.
    pub(super) even: bool,
    pub(super) post: Post,
}

/// Eight or four output channels that are computed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Its first four channels' number.
    pub(super) first: usize,
    pub(super) quads: usize,
    /// Where its weights begin.
    pub(super) weights: usize,
    pub(super) kind: Kind,
}

/// Which pixels a kernel walks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) count: usize,
    /// Pixels that it writes in a row.
    pub(super) width: usize,
    /// Bytes from a row to the next.
    pub(super) input: usize,
    pub(super) output: usize,
}

impl Rows {
    /// Vectors of `pixels` pixels in a row.
    pub(super) fn vectors(&self, pixels: usize) -> usize {
        self.width.div_ceil(pixels)
    }

    /// First pixel of vector `n`: the last one of a long row ends where the row does.
    #[inline(always)]
    pub(super) fn start(&self, n: usize, pixels: usize) -> usize {
        if self.count > 1 && self.width >= pixels { (n * pixels).min(self.width - pixels) } else { n * pixels }
    }
}

impl Conv {
    /// Computes vectors `first .. last` of every row of a map, or of the one long row.
    ///
    /// # Safety
    /// The processor has `V`'s instructions; the planner has found all that is read and written inside `memory`;
    /// nobody else writes there or uses what is written.
    pub(super) unsafe fn run<V: Isa>(&self, memory: Bytes, first: usize, last: usize) {
        // SAFETY: as the function says.
        unsafe {
            if self.rows.count > 1 || self.even {
                for row in 0..self.rows.count {
                    self.row::<V>(memory, row, first, last);
                }
                // Vectors of short rows overlap: a table must meet each pixel once.
                let pixels = self.output.layout.pixels();
                self.finish::<V>(memory.at(self.output.base), pixels.div_ceil(V::PIXELS));
                return;
            }
            self.row::<V>(memory, 0, first, last);
        }
    }

    /// Computes vectors `first .. last` of a row.
    ///
    /// # Safety
    /// As for [`Conv::run`].
    #[inline(always)]
    unsafe fn row<V: Isa>(&self, memory: Bytes, row: usize, first: usize, last: usize) {
        let long = self.rows.count == 1 && !self.even;
        // The last vector of a short row overlaps the one before it, and so is computed alone.
        let whole = if long { last } else { (self.rows.width / V::PIXELS).min(last) };
        let mut n = first;
        // SAFETY: as the function says.
        unsafe {
            while n < last {
                let count = if n < whole { V::TILE.min(whole - n) } else { 1 };
                match count {
                    1 => self.vectors::<V, 1>(memory, row, n),
                    2 => self.vectors::<V, 2>(memory, row, n),
                    _ => self.vectors::<V, 3>(memory, row, n),
                }
                if long {
                    self.finish::<V>(memory.at(self.output.base + n * V::PIXELS * PIXEL), count);
                }
                n += count;
            }
        }
    }

    /// All outputs of `VECS` vectors.
    ///
    /// # Safety
    /// As for [`Conv::run`].
    #[inline(always)]
    unsafe fn vectors<V: Isa, const VECS: usize>(&self, memory: Bytes, row: usize, n: usize) {
        let x = self.rows.start(n, V::PIXELS) * PIXEL;
        let step = if self.even { 2 } else { 1 };
        // SAFETY: as the function says.
        unsafe {
            let input = memory.at(self.input + row * self.rows.input + x * step).cast_const();
            let output = memory.at(self.output.base + row * self.rows.output + x);
            for block in &self.blocks {
                let output = output.add(block.first * self.output.stride);
                V::conv::<VECS>(self, block, input, output);
            }
        }
    }

    /// Clamps or looks up what `vectors` vectors hold of every plane.
    ///
    /// # Safety
    /// As for [`Conv::run`].
    #[inline(always)]
    unsafe fn finish<V: Isa>(&self, output: *mut u8, vectors: usize) {
        if matches!(self.post, Post::Nothing) {
            return;
        }
        for plane in 0..self.output.layout.planes {
            // SAFETY: as the function says.
            unsafe {
                let first = output.add(plane * self.output.stride);
                V::post(&self.post, first, first, vectors);
            }
        }
    }
}

/// One block's outputs of `VECS` vectors of pixels.
///
/// # Safety
/// As for [`Conv::run`].
#[inline(always)]
pub(super) unsafe fn tile<V, R, const VECS: usize, const QUADS: usize, const EVEN: bool>(
    conv: &Conv,
    block: &Block,
    input: *const u8,
    output: *mut u8,
) where
    V: Vector,
    R: Requantise<V>,
{
    // SAFETY: as the function says; a block has `QUADS` quads and weights for every source.
    unsafe {
        let quads = conv.quads.as_ptr().add(block.first);
        let mut weights = conv.weights.as_ptr().add(block.weights);
        let mut sums = [[[V::splat(0); VECS]; 4]; QUADS];
        for (q, sums) in sums.iter_mut().enumerate() {
            for (o, sums) in sums.iter_mut().enumerate() {
                *sums = [V::splat((*quads.add(q)).start[o]); VECS];
            }
        }
        for &source in &conv.sources {
            let from = input.offset(source);
            let mut values = [V::operand(load::<V, EVEN>(from)); VECS];
            for (v, value) in values.iter_mut().enumerate().skip(1) {
                *value = V::operand(load::<V, EVEN>(from.add(v * V::PIXELS * PIXEL * if EVEN { 2 } else { 1 })));
            }
            for (q, sums) in sums.iter_mut().enumerate() {
                for (o, sums) in sums.iter_mut().enumerate() {
                    let weight = V::weights(weights.add((q * 4 + o) * V::WEIGHT_BYTES));
                    for (sum, &value) in sums.iter_mut().zip(&values) {
                        *sum = V::dot(*sum, value, weight);
                    }
                }
            }
            weights = weights.add(QUADS * 4 * V::WEIGHT_BYTES);
        }
        for (q, sums) in sums.iter().enumerate() {
            let quad = &*quads.add(q);
            let scales = [R::channel(quad, 0), R::channel(quad, 1), R::channel(quad, 2), R::channel(quad, 3)];
            let output = output.add(q * conv.output.stride);
            for v in 0..VECS {
                let channels = [
                    scales[0].apply(sums[0][v]),
                    scales[1].apply(sums[1][v]),
                    scales[2].apply(sums[2][v]),
                    scales[3].apply(sums[3][v]),
                ];
                V::store(output.add(v * V::PIXELS * PIXEL), V::transpose(V::pack(channels)));
            }
        }
    }
}

/// # Safety
/// As for [`Vector::load`] and [`Vector::load_even`].
#[inline(always)]
unsafe fn load<V: Vector, const EVEN: bool>(from: *const u8) -> V::Bytes {
    // SAFETY: as the function says.
    unsafe { if EVEN { V::load_even(from) } else { V::load(from) } }
}
