//! Fast kernels, written once over `pulp`'s vectors and compiled for AVX-512, AVX2, NEON and scalar.
//!
//! A kernel's work is cut into *units* (channels, blocks of pixels); any range of units may run on
//! any thread, and every output element is computed in the same order whatever the cut, so results
//! do not depend on the number of threads.
//!
//! They do not depend on the processor either: an output is summed in the same order whatever the length of
//! a vector, and `mul_add_f32s` rounds once, where need be in software (`mul_add_e_f32s` rounds twice on
//! processors without fused multiply-add). Such a processor runs networks many times slower.

#![allow(clippy::needless_range_loop, reason = "tiles of registers are indexed in step with each other")]

mod dense;
mod depthwise;
mod elementwise;
mod math;
mod phases;
mod pool;
mod separable;

use std::ops::Range;

use pulp::Simd;

pub(super) use dense::Dense;
pub(super) use depthwise::Depthwise;
pub(super) use elementwise::{BLOCK, Factors, add, average, connected, copy, decode_yolo, scale, upsample};
pub(super) use phases::Phases;
pub(super) use pool::MaxPool;
pub(super) use separable::Separable;

use secateur_ir::{Activation, Conv, LayerWeights, Shape};

/// A convolution to be turned into a kernel.
#[derive(Clone, Copy)]
pub(super) struct Convolution<'a> {
    conv: &'a Conv,
    /// `[out][in/groups][k][k]`, batch norm folded in.
    weights: &'a [f32],
    /// `[out]`, folded.
    bias: &'a [f32],
    input: Shape,
    output: Shape,
    epilogue: Epilogue,
}

impl<'a> Convolution<'a> {
    /// An activation that looks across channels is left to a later step.
    pub(super) fn new(conv: &'a Conv, folded: &'a LayerWeights, input: Shape, output: Shape) -> Self {
        let epilogue = Epilogue::new(conv.activation).unwrap_or(Epilogue::Slope(1.0));
        Self { conv, weights: &folded.weights, bias: &folded.bias, input, output, epilogue }
    }
}

/// Output of one step, to whose disjoint elements its threads write.
#[derive(Clone, Copy)]
pub(super) struct Target {
    start: *mut f32,
    len: usize,
}

// SAFETY: a `Target` is only handed to the threads of one step, and `Target::segment`'s contract
// keeps their writes apart.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// # Safety
    /// `start` is valid for writes of `len` floats for as long as the target is used, and nothing
    /// else reads or writes them meanwhile.
    pub(super) unsafe fn new(start: *mut f32, len: usize) -> Self {
        Self { start, len }
    }

    /// The elements `at..at + len`.
    ///
    /// # Safety
    /// No other segment that overlaps this one is alive, on this thread or another.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the caller keeps segments disjoint")]
    unsafe fn segment(&self, at: usize, len: usize) -> &mut [f32] {
        assert!(at <= self.len && len <= self.len - at, "a segment is inside its target");
        // SAFETY: in range by the assertion, valid by `new`, unshared by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// Epilogue: applied to the sum of a convolution before it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Epilogue {
    /// `max(x, slope · x)`: linear (1), leaky (0.1), ReLU (0).
    Slope(f32),
    /// Any other element-wise activation.
    Activate(Activation),
}

impl Epilogue {
    /// `None` where the activation looks across channels.
    pub(super) fn new(activation: Activation) -> Option<Self> {
        Some(match activation {
            Activation::Linear => Self::Slope(1.0),
            Activation::Relu => Self::Slope(0.0),
            Activation::Leaky | Activation::Revleaky => Self::Slope(crate::LEAKY_SLOPE),
            Activation::Relie => Self::Slope(0.01),
            Activation::NormChan | Activation::NormChanSoftmax | Activation::NormChanSoftmaxMaxval => {
                return None;
            }
            other => Self::Activate(other),
        })
    }

    fn slope(self) -> f32 {
        match self {
            Self::Slope(slope) => slope,
            Self::Activate(_) => 1.0,
        }
    }

    /// Finishes stored values whose slope has been applied.
    #[inline(always)]
    fn finish(self, values: &mut [f32]) {
        if let Self::Activate(activation) = self {
            math::activate(activation, values);
        }
    }
}

/// A thread's own memory, grown on demand and reused.
#[derive(Debug, Default, Clone)]
pub(super) struct Workspace {
    floats: Vec<f32>,
}

impl Workspace {
    /// `len` floats of unspecified content.
    #[inline(always)]
    fn take(&mut self, len: usize) -> &mut [f32] {
        if self.floats.len() < len {
            self.floats.resize(len, 0.0);
        }
        &mut self.floats[..len]
    }
}

/// One kernel call: inputs, where to write, which units.
pub(super) struct Job<'a> {
    pub(super) inputs: &'a [&'a [f32]],
    pub(super) target: Target,
    pub(super) units: Range<usize>,
    pub(super) workspace: &'a mut Workspace,
}

impl Job<'_> {
    /// The whole output of a step that is not cut into parts.
    pub(super) fn whole(&mut self, len: usize) -> &mut [f32] {
        // SAFETY: a step of one unit runs in one part.
        unsafe { self.target.segment(0, len) }
    }
}

#[inline(always)]
fn load<S: Simd>(x: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&x[at..at + S::F32_LANES]).0[0]
}

#[inline(always)]
fn store<S: Simd>(x: &mut [f32], at: usize, value: S::f32s) {
    S::as_mut_simd_f32s(&mut x[at..at + S::F32_LANES]).0[0] = value;
}

/// `max(x, slope · x)`.
#[inline(always)]
fn lean<S: Simd>(simd: S, x: S::f32s, slope: S::f32s) -> S::f32s {
    simd.max_f32s(simd.mul_f32s(x, slope), x)
}

/// Copies the first `len` floats, of which there is at least a vector.
#[inline(always)]
fn copy_row<S: Simd>(from: &[f32], to: &mut [f32], len: usize) {
    let last = len - S::F32_LANES;
    for at in (0..len).step_by(S::F32_LANES) {
        let at = if at < last { at } else { last };
        store::<S>(to, at, load::<S>(from, at));
    }
}
