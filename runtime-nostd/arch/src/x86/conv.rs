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

/// Output channels that are computed together, in quads of four.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Its first quad's number.
    pub(super) first: usize,
    pub(super) quads: usize,
    /// Where its weights begin.
    pub(super) weights: usize,
    pub(super) kind: Kind,
}

impl Block {
    /// Whether one function computes both.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (self.quads, self.kind) == (other.quads, other.kind)
    }
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
    /// Pixels of a plane are one long row: vectors past its end are written into the gap after the plane.
    pub(super) long: bool,
}

impl Rows {
    /// Vectors of `pixels` pixels in a row.
    pub(super) fn vectors(&self, pixels: usize) -> usize {
        self.width.div_ceil(pixels)
    }

    /// First pixel of vector `n`: the last one of a short row ends where the row does, or begins where it does.
    #[inline(always)]
    pub(super) fn start(&self, n: usize, pixels: usize) -> usize {
        if !self.long && self.width >= pixels { (n * pixels).min(self.width - pixels) } else { n * pixels }
    }
}

impl Conv {
    /// Computes blocks that are alike.
    ///
    /// # Safety
    /// The processor has `V`'s instructions; the planner has found all that is read and written inside `memory`;
    /// nobody else writes there or uses what is written.
    pub(super) unsafe fn run<V: Isa>(&self, memory: Bytes, blocks: &[Block]) {
        // SAFETY: as the function says.
        unsafe {
            let input = memory.at(self.input).cast_const();
            let output = memory.at(self.output.base);
            V::conv(self, blocks, input, output);
            if matches!(self.post, Post::Nothing) {
                return;
            }
            for quad in blocks.iter().flat_map(|block| block.first..block.first + block.quads) {
                let to = output.add(quad * self.output.stride);
                // Vectors of short rows overlap, and a table must meet each pixel once: after them, all of the plane.
                V::post(&self.post, to, to, self.output.layout.pixels().div_ceil(V::PIXELS));
            }
        }
    }
}

/// Blocks that are alike, in tiles of `VECS` vectors.
///
/// # Safety
/// As for [`Conv::run`]; `input` and `output` are the first pixel's of the whole feature maps.
#[inline(always)]
pub(super) unsafe fn blocks<V, R, const VECS: usize, const QUADS: usize, const EVEN: bool>(
    conv: &Conv,
    blocks: &[Block],
    input: *const u8,
    output: *mut u8,
) where
    V: Vector,
    R: Requantise<V>,
{
    for block in blocks {
        // SAFETY: as the function says.
        unsafe {
            let output = output.add(block.first * conv.output.stride);
            self::block::<V, R, VECS, QUADS, EVEN>(conv, block, input, output);
        }
    }
}

/// A part of a block, whose first output is at `output`.
///
/// # Safety
/// As for [`blocks`].
#[inline(always)]
unsafe fn block<V, R, const VECS: usize, const QUADS: usize, const EVEN: bool>(
    conv: &Conv,
    block: &Block,
    input: *const u8,
    output: *mut u8,
) where
    V: Vector,
    R: Requantise<V>,
{
    let rows = conv.rows;
    // The last vector of a short row overlaps the one before it, and so is computed alone.
    let vectors = rows.vectors(V::PIXELS);
    let whole = if rows.long { vectors } else { rows.width / V::PIXELS };
    let step = if EVEN { 2 * PIXEL } else { PIXEL };
    // SAFETY: as the function says; a block has `QUADS` quads.
    unsafe {
        let quads = &*conv.quads.as_ptr().add(block.first).cast::<[Quad; QUADS]>();
        let weights = conv.weights.as_ptr().add(block.weights);
        let stride = conv.output.stride;
        // Stores might change what is behind a pointer: constants that are to stay in registers are read before.
        let scales = scales::<V, R, QUADS>(quads);
        for row in 0..rows.count {
            let (input, output) = (input.add(row * rows.input), output.add(row * rows.output));
            let mut n = 0;
            while n + VECS <= whole {
                let x = n * V::PIXELS;
                let (input, output) = (input.add(x * step), output.add(x * PIXEL));
                let scales = if QUADS == 1 { scales } else { self::scales::<V, R, QUADS>(quads) };
                tile::<V, R, VECS, QUADS, EVEN>(&conv.sources, weights, quads, scales, input, output, stride);
                n += VECS;
            }
            while n < vectors {
                let x = rows.start(n, V::PIXELS);
                let (input, output) = (input.add(x * step), output.add(x * PIXEL));
                tile::<V, R, 1, QUADS, EVEN>(&conv.sources, weights, quads, scales, input, output, stride);
                n += 1;
            }
        }
    }
}

/// One block's outputs of `VECS` vectors of pixels; `stride` are the bytes from an output plane to the next.
///
/// # Safety
/// As for [`Conv::run`]; there are weights for every source.
#[inline(always)]
unsafe fn tile<V, R, const VECS: usize, const QUADS: usize, const EVEN: bool>(
    sources: &[isize],
    mut weights: *const u8,
    quads: &[Quad; QUADS],
    scales: [[R; 4]; QUADS],
    input: *const u8,
    output: *mut u8,
    stride: usize,
) where
    V: Vector,
    R: Requantise<V>,
{
    // SAFETY: as the function says.
    unsafe {
        let mut sums = [[[V::splat(0); VECS]; 4]; QUADS];
        for (sums, quad) in sums.iter_mut().zip(quads) {
            for (sums, &start) in sums.iter_mut().zip(&quad.start) {
                *sums = [V::splat(start); VECS];
            }
        }
        for &source in sources {
            let from = input.offset(source);
            let mut values = [V::operand(load::<V, EVEN>(from)); VECS];
            for (v, value) in values.iter_mut().enumerate().skip(1) {
                let distance = v * V::PIXELS * if EVEN { 2 * PIXEL } else { PIXEL };
                *value = V::operand(load::<V, EVEN>(from.add(distance)));
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
        for (q, (sums, scales)) in sums.iter().zip(scales).enumerate() {
            let output = output.add(q * stride);
            let [a, b, c, d] = sums;
            for (v, (((&a, &b), &c), &d)) in a.iter().zip(b).zip(c).zip(d).enumerate() {
                let channels =
                    [scales[0].apply(a), scales[1].apply(b), scales[2].apply(c), scales[3].apply(d)];
                V::store(output.add(v * V::PIXELS * PIXEL), V::transpose(V::pack(channels)));
            }
        }
    }
}

/// Requantisation of each channel.
///
/// # Safety
/// As for [`Requantise`].
#[inline(always)]
unsafe fn scales<V: Vector, R: Requantise<V>, const QUADS: usize>(quads: &[Quad; QUADS]) -> [[R; 4]; QUADS] {
    // SAFETY: as the function says.
    unsafe {
        let mut scales = [[R::channel(&quads[0], 0); 4]; QUADS];
        for (scales, quad) in scales.iter_mut().zip(quads) {
            for (o, scale) in scales.iter_mut().enumerate() {
                *scale = R::channel(quad, o);
            }
        }
        scales
    }
}

/// # Safety
/// As for [`Vector::load`] and [`Vector::load_even`].
#[inline(always)]
unsafe fn load<V: Vector, const EVEN: bool>(from: *const u8) -> V::Bytes {
    // SAFETY: as the function says.
    unsafe { if EVEN { V::load_even(from) } else { V::load(from) } }
}
