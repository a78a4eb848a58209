//! Kernels compiled for each set of instructions.

use super::avx2::{Avx2, AvxVnni, Vnni256};
use super::avx512::Avx512;
use super::conv::{self, Block, Conv};
use super::convert;
use super::depthwise::{self, Depthwise};
use super::elementwise::{self, Add};
use super::requant::{Kind, Post, Rounding};
use super::vector::{AnySlopes, Exact, MaxSlope, OneSlope, Requantise, Vector};

/// Entry points of a set of instructions: functions that are compiled with it, not inlined into what is not.
///
/// # Safety
/// The processor has the instructions; see the kernels for what else is asked.
pub(super) trait Isa: Vector {
    /// Quads of outputs of a wide block of a convolution.
    const QUADS: usize;
    /// Steps of the inner loop from which on blocks are wide: with less, requantisation takes most of the time,
    /// and its constants stay in registers.
    const WIDE: usize;
    const ROUNDING: Rounding;

    /// See [`conv::blocks`].
    unsafe fn conv(conv: &Conv, blocks: &[Block], input: *const u8, output: *mut u8);

    /// See [`depthwise::plane`].
    unsafe fn depthwise(job: &Depthwise, plane: usize, input: *const u8, output: *mut u8);

    /// See [`elementwise::add`].
    unsafe fn sum(job: &Add, inputs: [*const u8; 2], output: *mut u8, vectors: usize);

    /// Clamps or looks up `vectors` vectors; `from` may be `to`.
    unsafe fn post(post: &Post, from: *const u8, to: *mut u8, vectors: usize);

    /// The greater of `to` and `from`, byte by byte, for `vectors` vectors.
    unsafe fn max_into(from: *const u8, to: *mut u8, vectors: usize);

    /// See [`convert::widen_row`].
    unsafe fn widen_row(from: *const u8, to: *mut u8, vectors: usize);
}

/// Implements [`Isa`] for vectors, with functions that have the features.
macro_rules! isa {
    ($name:ident, $module:ident, $features:literal, wide $wide:tt, narrow $narrow:tt, $steps:expr, $rounding:expr) => {
        impl Isa for $name {
            const QUADS: usize = $wide[1];
            const WIDE: usize = $steps;
            const ROUNDING: Rounding = $rounding;

            #[inline(always)]
            unsafe fn conv(conv: &Conv, blocks: &[Block], input: *const u8, output: *mut u8) {
                // SAFETY: as the trait says.
                unsafe { $module::conv(conv, blocks, input, output) }
            }

            #[inline(always)]
            unsafe fn depthwise(job: &Depthwise, plane: usize, input: *const u8, output: *mut u8) {
                // SAFETY: as the trait says.
                unsafe { $module::depthwise(job, plane, input, output) }
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

            #[inline(always)]
            unsafe fn widen_row(from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { $module::widen_row(from, to, vectors) }
            }
        }

        mod $module {
            use super::*;

            pub(super) unsafe fn conv(conv: &Conv, blocks: &[Block], input: *const u8, output: *mut u8) {
                let Some(first) = blocks.first() else { return };
                const WIDE: [usize; 2] = $wide;
                const NARROW: [usize; 2] = $narrow;
                macro_rules! call {
                    ($kind:ty) => {
                        match (first.quads, conv.even) {
                            (1, false) => {
                                conv_blocks::<$kind, { NARROW[0] }, { NARROW[1] }, false>(
                                    conv, blocks, input, output,
                                );
                            }
                            (1, true) => {
                                conv_blocks::<$kind, { NARROW[0] }, { NARROW[1] }, true>(
                                    conv, blocks, input, output,
                                );
                            }
                            (_, false) => {
                                conv_blocks::<$kind, { WIDE[0] }, { WIDE[1] }, false>(
                                    conv, blocks, input, output,
                                );
                            }
                            (_, true) => {
                                conv_blocks::<$kind, { WIDE[0] }, { WIDE[1] }, true>(
                                    conv, blocks, input, output,
                                );
                            }
                        }
                    };
                }
                // SAFETY: as the trait says.
                unsafe {
                    match first.kind {
                        Kind::OneSlope => call!(OneSlope<$name>),
                        Kind::MaxSlope => call!(MaxSlope<$name>),
                        Kind::AnySlopes => call!(AnySlopes<$name>),
                        Kind::Exact => call!(Exact),
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn conv_blocks<
                R: Requantise<$name>,
                const VECS: usize,
                const QUADS: usize,
                const EVEN: bool,
            >(
                conv: &Conv,
                blocks: &[Block],
                input: *const u8,
                output: *mut u8,
            ) {
                // SAFETY: as the trait says.
                unsafe { conv::blocks::<$name, R, VECS, QUADS, EVEN>(conv, blocks, input, output) }
            }

            #[target_feature(enable = $features)]
            pub(super) unsafe fn depthwise(job: &Depthwise, plane: usize, input: *const u8, output: *mut u8) {
                macro_rules! call {
                    ($kind:ty) => {
                        if job.even {
                            depthwise::plane::<$name, $kind, true>(job, plane, input, output)
                        } else {
                            depthwise::plane::<$name, $kind, false>(job, plane, input, output)
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

            #[target_feature(enable = $features)]
            pub(super) unsafe fn widen_row(from: *const u8, to: *mut u8, vectors: usize) {
                // SAFETY: as the trait says.
                unsafe { convert::widen_row::<$name>(from, to, vectors) }
            }
        }
    };
}

isa!(
    Avx512,
    avx512_vnni,
    "avx512f,avx512bw,avx512dq,avx512vnni",
    wide [3, 2],
    narrow [2, 1],
    16,
    Rounding::Down
);
isa!(AvxVnni, avx_vnni, "avx2,fma,avxvnni", wide [3, 1], narrow [3, 1], 0, Rounding::Nearest);
isa!(
    Vnni256,
    avx512_vnni_256,
    "avx2,fma,avx512vl,avx512vnni",
    wide [3, 1],
    narrow [3, 1],
    0,
    Rounding::Nearest
);
isa!(Avx2, avx2_fma, "avx2,fma", wide [2, 1], narrow [2, 1], 0, Rounding::Nearest);
