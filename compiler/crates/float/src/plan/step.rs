//! One kernel call of a plan.

use pulp::{Simd, WithSimd};

use crate::kernels::{
    self, BLOCK, Dense, Depthwise, Factors, Job, MaxPool, Phases, Separable, Target, Workspace,
};
use crate::{activate_map, fold_layer, ops};
use secateur_ir::{Activation, Graph, LayerWeights, Op, Shape, Upsample, Yolo};

/// The computation of a step.
#[derive(Debug, Clone)]
pub(super) enum Kernel {
    Dense(Dense),
    Depthwise(Depthwise),
    /// A pointwise convolution and the depthwise one that alone reads it.
    Separable(Separable),
    Connected {
        weights: Vec<f32>,
        bias: Vec<f32>,
        activation: Activation,
    },
    /// Pads and splits a feature map for the [`Kernel::Dense`] after it.
    Phases(Phases, usize),
    MaxPool(MaxPool),
    Add(Activation),
    /// `(start, len)` of the slice of every input.
    Copy(Vec<(usize, usize)>),
    Upsample(Upsample, Shape),
    Average(usize),
    Scale(Factors, usize, Activation),
    Yolo(Yolo, usize),
    /// An activation that looks across channels.
    Normalize(Activation),
    /// Everything else, in plain code.
    Plain(LayerWeights),
}

/// A slice of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) value: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) kernel: std::sync::Arc<Kernel>,
    /// First and last layer that this step computes: two for a convolution with its shortcut or with
    /// the depthwise one after it.
    pub(super) first: usize,
    pub(super) layer: usize,
    pub(super) inputs: Vec<View>,
    /// The value that it defines.
    pub(super) output: usize,
    pub(super) output_len: usize,
    pub(super) macs: u64,
}

impl Step {
    /// Independent units of work.
    pub(super) fn units(&self, graph: &Graph) -> usize {
        let shape = graph.nodes[self.layer].shape;
        match &*self.kernel {
            Kernel::Dense(dense) => dense.units(),
            Kernel::Depthwise(depthwise) => depthwise.units(),
            Kernel::Separable(separable) => separable.units(),
            Kernel::Phases(_, channels) => *channels,
            Kernel::MaxPool(pool) => pool.units(),
            Kernel::Add(_) => self.output_len.div_ceil(BLOCK),
            Kernel::Copy(slices) => slices.len(),
            Kernel::Upsample(_, input) => input.c,
            Kernel::Connected { .. } | Kernel::Average(_) | Kernel::Scale(..) | Kernel::Yolo(..) => shape.c,
            Kernel::Normalize(_) | Kernel::Plain(_) => 1,
        }
    }

    /// Into how many parts to cut the step for `threads` threads.
    pub(super) fn parts(&self, graph: &Graph, threads: usize) -> usize {
        /// Work below which handing a part over costs more than it brings.
        const MIN_PART: u64 = 4096;
        if threads <= 1 {
            return 1;
        }
        let work = self.macs / 16 + self.output_len as u64;
        let useful = (work / MIN_PART).max(1) as usize;
        self.units(graph).min(useful).min(2 * threads)
    }

    /// Replaces the numbers of `layer`, if this step computes it; `op` is that layer's.
    pub(super) fn set_weights(&mut self, layer: usize, op: &Op, numbers: &LayerWeights) {
        if layer != self.first && layer != self.layer {
            return;
        }
        let folded = fold_layer(op, numbers);
        match std::sync::Arc::make_mut(&mut self.kernel) {
            Kernel::Dense(dense) if layer == self.first => dense.set_weights(&folded.weights, &folded.bias),
            Kernel::Depthwise(depthwise) => depthwise.set_weights(&folded.weights, &folded.bias),
            Kernel::Separable(both) if layer == self.first => {
                both.dense.set_weights(&folded.weights, &folded.bias);
            }
            Kernel::Separable(both) => both.depthwise.set_weights(&folded.weights, &folded.bias),
            Kernel::Connected { weights, bias, .. } => {
                *weights = folded.weights;
                *bias = folded.bias;
            }
            Kernel::Plain(weights) => *weights = numbers.clone(),
            _ => {}
        }
    }
}

/// A part of a step, ready to run on whatever vectors the machine has.
pub(super) struct Part<'a> {
    pub(super) graph: &'a Graph,
    pub(super) step: &'a Step,
    pub(super) inputs: &'a [&'a [f32]],
    pub(super) target: Target,
    pub(super) units: std::ops::Range<usize>,
    pub(super) workspace: &'a mut Workspace,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { graph, step, inputs, target, units, workspace } = self;
        let shape = graph.nodes[step.layer].shape;
        let mut job = Job { inputs, target, units, workspace };
        match &*step.kernel {
            Kernel::Dense(dense) => dense.run(simd, &mut job),
            Kernel::Depthwise(depthwise) => depthwise.run(simd, &mut job),
            Kernel::Separable(separable) => separable.run(simd, &mut job),
            Kernel::Phases(phases, _) => phases.run(simd, &mut job),
            Kernel::MaxPool(pool) => pool.run(simd, &mut job),
            Kernel::Add(activation) => kernels::add(&mut job, step.output_len, *activation),
            Kernel::Copy(slices) => kernels::copy(&mut job, slices),
            Kernel::Upsample(up, input) => kernels::upsample(&mut job, up, *input),
            Kernel::Average(plane) => kernels::average(&mut job, *plane),
            Kernel::Scale(by, plane, activation) => kernels::scale(&mut job, *by, *plane, *activation),
            Kernel::Connected { weights, bias, activation } => {
                kernels::connected(&mut job, weights, bias, *activation);
            }
            Kernel::Yolo(yolo, plane) => kernels::decode_yolo(&mut job, yolo, *plane),
            Kernel::Normalize(activation) => {
                let out = job.whole(step.output_len);
                out.copy_from_slice(inputs[0]);
                activate_map(*activation, out, shape.c);
            }
            Kernel::Plain(weights) => {
                ops::apply(graph, step.layer, weights, inputs, job.whole(step.output_len));
            }
        }
    }
}
