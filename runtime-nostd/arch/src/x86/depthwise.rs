//! Depthwise convolution: a shuffle puts four taps of each channel side by side.

use super::conv::Rows;
use super::isa::Isa;
use super::layout::{Bytes, PIXEL, View};
use super::requant::{Kind, Post, Quad};
use super::vector::{Requantise, Vector};

/// A depthwise convolution without horizontal dilation, of stride 1 or 2 along rows.
#[derive(Debug)]
pub(super) struct Depthwise {
    /// Byte of the first output's first tap.
    pub(super) input: usize,
    /// Bytes from an input plane to the next.
    pub(super) input_stride: usize,
    pub(super) output: View,
    pub(super) kernel_h: usize,
    /// Groups of four taps in a row of the window.
    pub(super) groups: usize,
    /// Bytes from a row of the window to the next.
    pub(super) row: usize,
    /// By plane, by row of the window, by group.
    pub(super) weights: Box<[u8]>,
    /// One a plane.
    pub(super) quads: Box<[Quad]>,
    pub(super) rows: Rows,
    pub(super) even: bool,
    /// Columns of vectors are walked downwards; for windows of 3 × 3 and stride 1.
    pub(super) strips: bool,
    pub(super) post: Post,
}

impl Depthwise {
    /// Computes a plane.
    ///
    /// # Safety
    /// As for [`Conv::run`](super::conv::Conv::run).
    pub(super) unsafe fn run<V: Isa>(&self, memory: Bytes, plane: usize) {
        // SAFETY: as the function says.
        unsafe {
            let input = memory.at(self.input + plane * self.input_stride).cast_const();
            let output = memory.at(self.output.base + plane * self.output.stride);
            V::depthwise(self, plane, input, output);
            if matches!(self.post, Post::Nothing) {
                return;
            }
            // As of a convolution.
            V::post(&self.post, output, output, self.output.layout.pixels().div_ceil(V::PIXELS));
        }
    }

    /// What requantises a plane.
    pub(super) fn kind(&self, plane: usize) -> Kind {
        self.quads.get(plane).map_or(Kind::Exact, |quad| quad.kind)
    }
}

/// See [`Depthwise::run`].
///
/// # Safety
/// As for [`Depthwise::run`]; `input` and `output` are the plane's first pixels.
#[inline(always)]
pub(super) unsafe fn plane<V, R, const EVEN: bool>(
    job: &Depthwise,
    plane: usize,
    input: *const u8,
    output: *mut u8,
) where
    V: Vector,
    R: Requantise<V>,
{
    // SAFETY: as the function says; weights and quads are there for every plane.
    unsafe {
        let quad = &*job.quads.as_ptr().add(plane);
        let size = job.kernel_h * job.groups * 4 * V::WEIGHT_BYTES;
        let weights = job.weights.as_ptr().add(plane * size);
        let scale = R::lane(quad);
        let start = V::lane(&quad.start);
        let vectors = job.rows.vectors(V::PIXELS);
        if job.strips {
            for n in 0..vectors {
                let x = job.rows.start(n, V::PIXELS) * PIXEL;
                strip::<V, R>(job, weights, scale, start, job.rows.count, input.add(x), output.add(x));
            }
            return;
        }
        for row in 0..job.rows.count {
            for n in 0..vectors {
                let x = job.rows.start(n, V::PIXELS) * PIXEL;
                let input = input.add(row * job.rows.input + x * if EVEN { 2 } else { 1 });
                let sums = window::<V, EVEN>(job, weights, input, [start; 4]);
                let bytes = finish::<V, R>(scale, sums);
                let bytes = if EVEN { V::join_pairs(bytes) } else { bytes };
                V::store(output.add(row * job.rows.output + x), bytes);
            }
        }
    }
}

/// Requantises the accumulators of a vector of outputs.
///
/// # Safety
/// As for [`Requantise`].
#[inline(always)]
unsafe fn finish<V: Vector, R: Requantise<V>>(scale: R, sums: [V::Ints; 4]) -> V::Bytes {
    // SAFETY: as the function says.
    unsafe {
        V::pack([scale.apply(sums[0]), scale.apply(sums[1]), scale.apply(sums[2]), scale.apply(sums[3])])
    }
}

/// A vector's column of outputs of a 3 × 3 window, from above: each row of the input is read and shuffled once for the
/// three rows of outputs that take it.
///
/// # Safety
/// As for [`Depthwise::run`]; `input` and `output` are the column's first pixels.
#[inline(always)]
unsafe fn strip<V: Vector, R: Requantise<V>>(
    job: &Depthwise,
    weights: *const u8,
    scale: R,
    start: V::Ints,
    rows: usize,
    mut input: *const u8,
    mut output: *mut u8,
) {
    // SAFETY: as the function says.
    unsafe {
        let weight = |n: usize| V::weights_of_lane(weights.add(n * 4 * V::WEIGHT_BYTES));
        let weights = [weight(0), weight(1), weight(2)];
        let row = job.row;
        // Sums of the output above the input's row, and of the one beside it.
        let mut above = [start; 4];
        let mut beside = [start; 4];
        for n in 0..2 {
            for j in 0..4 {
                let values = V::operand(V::transpose(V::load(input.add(j * PIXEL))));
                above[j] = V::dot(above[j], values, weights[n]);
                if n == 1 {
                    beside[j] = V::dot(beside[j], values, weights[0]);
                }
            }
            input = input.add(row);
        }
        for _ in 0..rows {
            let mut below = [start; 4];
            for j in 0..4 {
                let values = V::operand(V::transpose(V::load(input.add(j * PIXEL))));
                above[j] = V::dot(above[j], values, weights[2]);
                beside[j] = V::dot(beside[j], values, weights[1]);
                below[j] = V::dot(below[j], values, weights[0]);
            }
            V::store(output, finish::<V, R>(scale, above));
            (above, beside) = (beside, below);
            input = input.add(row);
            output = output.add(job.rows.output);
        }
    }
}

/// The accumulators of a vector of outputs; accumulator `j` holds pixels `j`, `j + 4` … of stride 1, and of stride
/// 2 pairs as [`Vector::join_pairs`] takes them.
///
/// # Safety
/// As for [`Depthwise::run`].
#[inline(always)]
unsafe fn window<V: Vector, const EVEN: bool>(
    job: &Depthwise,
    mut weights: *const u8,
    input: *const u8,
    mut sums: [V::Ints; 4],
) -> [V::Ints; 4] {
    let pixels = if EVEN { [0, 2, V::PIXELS, V::PIXELS + 2] } else { [0, 1, 2, 3] };
    for ky in 0..job.kernel_h {
        for group in 0..job.groups {
            // SAFETY: as the function says.
            unsafe {
                let weight = V::weights_of_lane(weights);
                let from = input.add(ky * job.row + group * 4 * PIXEL);
                for (sum, pixel) in sums.iter_mut().zip(pixels) {
                    let values = V::operand(V::transpose(V::load(from.add(pixel * PIXEL))));
                    *sum = V::dot(*sum, values, weight);
                }
                weights = weights.add(4 * V::WEIGHT_BYTES);
            }
        }
    }
    sums
}
