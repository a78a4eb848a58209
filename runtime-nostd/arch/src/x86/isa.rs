//! Kernels compiled for each set of instructions.

use super::avx2::{Avx2, AvxVnni};
use super::avx512::Avx512;
use super::conv::{self, Block, Conv};
use super::depthwise::{self, Depthwise};
use super::elementwise::{self, Add};
use super::layout::PIXEL;
use super::requant::{Kind, Post, Rounding};
use super::vector::{AnySlopes, Exact, MaxSlope, OneSlope, Vector};

/// Entry points of a set of instructions: functions that are compiled with it, not inlined into what is not.
///
/// # Safety
/// The processor has the instructions; see the kernels for what else is asked.
pub(super) trait Isa: Vector {
    /// Vectors of a tile of a convolution, at most 3, and quads of outputs, at most 2.
    const TILE: usize;
    const QUADS: usize;
    const ROUNDING: Rounding;

    /// See [`conv::tile`].
    unsafe fn conv<const VECS: usize>(conv: &Conv, block: &Block, input: *const u8, output: *mut u8);

    /// See [`depthwise::plane`].
    unsafe fn depthwise(job: &Depthwise, plane: usize, range: [usize; 2], input: *const u8, output: *mut u8);

    /// See [`elementwise::add`].
    unsafe fn sum(job: &Add, inputs: [*const u8; 2], output: *mut u8, vectors: usize);

    /// Clamps or looks up `vectors` vectors; `from` may be `to`.
    unsafe fn post(post: &Post, from: *const u8, to: *mut u8, vectors: usize);

    /// The greater of `to` and `from`, byte by byte, for `vectors` vectors.
    unsafe fn max_into(from: *const u8, to: *mut u8, vectors: usize);
}

/// Implements [`Isa`] for vectors, with functions that have the features.
macro_rules! isa {
    ($name:ident, $module:ident, $features:literal, $tile:literal, $quads:literal, $rounding:expr) => {
        impl Isa for $name {
            const TILE: usize = $tile;
            const QUADS: usize = $quads;
            const ROUNDING: Rounding = $rounding;

            #[inline(always)]
            unsafe fn conv<const VECS: usize>(conv: &Conv, block: &Block, input: *const u8, output: *mut u8) {
                // SAFETY: as the trait says.
                unsafe { $module::conv::<VECS>(conv, block, input, output) }
            }

            #[inline(always)]
            unsafe fn depthwise(
                job: &Depthwise,
                plane: usize,
                range: [usize; 2],
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe { $module::depthwise(job, plane, range, input, output) }
            }

            #[inline(always)]
            unsafe fn sum(job: &Add, inputs: [*const u8; 2], output: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { $module::sum(job, inputs, output, vectors) }
            }

            #[inline(always)]
            unsafe fn post(post: &Post, from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { $module::post(post, from, to, vectors) }
            }

            #[inline(always)]
            unsafe fn max_into(from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { $module::max_into(from, to, vectors) }
            }
        }

        mod $module {
            use super::*;

            #[inline]
            pub(super) unsafe fn conv<const VECS: usize>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe {
                    match (block.quads, conv.even) {
                        (1, false) => block_of::<VECS, 1, false>(conv, block, input, output),
                        (1, true) => block_of::<VECS, 1, true>(conv, block, input, output),
                        (_, false) => block_of::<VECS, $quads, false>(conv, block, input, output),
                        (_, true) => block_of::<VECS, $quads, true>(conv, block, input, output),
                    }
                }
            }

            #[inline]
            unsafe fn block_of<const VECS: usize, const QUADS: usize, const EVEN: bool>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe {
                    match block.kind {
                        Kind::OneSlope => {
                            one_slope::<VECS, QUADS, EVEN>(conv, block, input, output);
                        }
                        Kind::MaxSlope => {
                            max_slope::<VECS, QUADS, EVEN>(conv, block, input, output);
                        }
                        Kind::AnySlopes => {
                            any_slopes::<VECS, QUADS, EVEN>(conv, block, input, output);
                        }
                        // Rare: in a smaller tile, for the sake of the code's size.
                        Kind::Exact => {
                            for v in 0..VECS {
                                let (from, to) = (v * $name::PIXELS * PIXEL, v * $name::PIXELS * PIXEL);
                                let from = if EVEN { 2 * from } else { from };
                                exact::<QUADS, EVEN>(conv, block, input.add(from), output.add(to));
                            }
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn one_slope<const VECS: usize, const QUADS: usize, const EVEN: bool>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe {
                    conv::tile::<$name, OneSlope<$name>, VECS, QUADS, EVEN>(conv, block, input, output)
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn max_slope<const VECS: usize, const QUADS: usize, const EVEN: bool>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe {
                    conv::tile::<$name, MaxSlope<$name>, VECS, QUADS, EVEN>(conv, block, input, output)
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn any_slopes<const VECS: usize, const QUADS: usize, const EVEN: bool>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe { conv::tile::<$name, AnySlopes<$name>, VECS, QUADS, EVEN>(conv, block, input, output) }
            }

            #[target_feature(enable = $features)]
            unsafe fn exact<const QUADS: usize, const EVEN: bool>(
                conv: &Conv,
                block: &Block,
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe { conv::tile::<$name, Exact, 1, QUADS, EVEN>(conv, block, input, output) }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn depthwise(
                job: &Depthwise,
                plane: usize,
                range: [usize; 2],
                input: *const u8,
                output: *mut u8,
            ) {
                macro_rules! call {
                    ($kind:ty) => {
                        if job.even {
                            depthwise::plane::<$name, $kind, true>(job, plane, range, input, output)
                        } else {
                            depthwise::plane::<$name, $kind, false>(job, plane, range, input, output)
                        }
                    };
                }
                // SAFETY: as the trait says.
                unsafe {
                    match job.kind(plane) {
                        Kind::OneSlope => call!(OneSlope<$name>),
                        Kind::MaxSlope => call!(MaxSlope<$name>),
                        Kind::AnySlopes => call!(AnySlopes<$name>),
                        Kind::Exact => call!(Exact),
                    }
                }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn sum(job: &Add, inputs: [*const u8; 2], output: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { elementwise::add::<$name>(job, inputs, output, vectors) }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn post(post: &Post, from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { elementwise::post::<$name>(post, from, to, vectors) }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn max_into(from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { elementwise::max_into::<$name>(from, to, vectors) }
            }
        }
    };
}

isa!(Avx512, avx512_vnni, "avx512f,avx512bw,avx512dq,avx512vnni", 3, 2, Rounding::Down);
isa!(AvxVnni, avx_vnni, "avx2,fma,avxvnni", 3, 1, Rounding::Nearest);
isa!(Avx2, avx2_fma, "avx2,fma", 2, 1, Rounding::Nearest);
