//! The fast evaluator: a network turned into steps once, then run on many images.
//!
//! Batch norm is folded, activations and plain shortcuts are fused into the convolutions before
//! them, buffers are shared by liveness. A [`Plan`] is immutable and shared between threads; each
//! thread brings a [`Scratch`].

mod build;
mod cut;
mod exec;
mod memory;
mod step;
mod team;

use std::sync::Arc;

pub use cut::Cut;
pub use exec::Scratch;

use secateur_base::Result;
use secateur_ir::{Graph, LayerWeights, Op, Source, Weights};
use step::{Step, View};

/// Layers whose outputs must be readable after a run, besides the heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Only yolo, region, detection and softmax layers, and the last layer.
    Heads,
    Layers(Vec<usize>),
    All,
}

/// A network ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    graph: Arc<Graph>,
    steps: Vec<Step>,
    views: Vec<Option<View>>,
    /// Buffer of every value; the image has none.
    buffer_of: Vec<Option<usize>>,
    /// Length of every buffer.
    buffers: Vec<usize>,
    kept: Vec<bool>,
    arch: pulp::Arch,
}

impl Plan {
    /// A plan that keeps the heads only.
    ///
    /// # Errors
    /// If a layer's weights do not fit its shape.
    pub fn new(graph: &Graph, weights: &Weights) -> Result<Self> {
        Self::keeping(graph, weights, &Keep::Heads)
    }

    /// A plan whose run leaves the outputs that `keep` names readable.
    ///
    /// # Errors
    /// If a layer's weights do not fit its shape, or activations need more than 8 GiB.
    pub fn keeping(graph: &Graph, weights: &Weights, keep: &Keep) -> Result<Self> {
        let last = graph.nodes.len().checked_sub(1);
        let kept: Vec<bool> = (0..graph.nodes.len())
            .map(|i| {
                is_result(&graph.nodes[i].op)
                    || Some(i) == last
                    || match keep {
                        Keep::Heads => false,
                        Keep::Layers(layers) => layers.contains(&i),
                        Keep::All => true,
                    }
            })
            .collect();
        let built = build::build(graph, weights, &kept)?;
        let mut kept_values = vec![false; built.lens.len()];
        for (view, _) in built.views.iter().zip(&kept).filter(|&(_, &kept)| kept) {
            kept_values[view.expect("a kept layer has a value").value] = true;
        }
        let (buffer_of, buffers) = memory::assign(&built.steps, &built.lens, &kept_values);
        memory::check(graph, &built.steps, &built.lens, &buffers)?;
        Ok(Self {
            graph: Arc::new(graph.clone()),
            steps: built.steps,
            views: built.views,
            buffer_of,
            buffers,
            kept,
            arch: pulp::Arch::new(),
        })
    }

    /// The same plan for another instruction set than the processor's best.
    #[cfg(test)]
    pub(crate) fn with_arch(self, arch: pulp::Arch) -> Self {
        Self { arch, ..self }
    }

    /// The network's structure.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Numbers of the yolo, region, detection and softmax layers, or of the last layer.
    pub fn heads(&self) -> Vec<usize> {
        let heads: Vec<usize> =
            (0..self.graph.nodes.len()).filter(|&i| is_result(&self.graph.nodes[i].op)).collect();
        if heads.is_empty() { self.graph.nodes.len().checked_sub(1).into_iter().collect() } else { heads }
    }

    /// Multiply-accumulates of one whole run.
    pub fn macs(&self) -> u64 {
        self.steps.iter().map(|step| step.macs).sum()
    }

    /// Bytes of activations that a [`Scratch`] holds.
    #[cfg(test)]
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.buffers.iter().sum::<usize>() * size_of::<f32>()
    }

    /// Replaces one layer's numbers; everything else, and every clone of this plan, stays as it is.
    ///
    /// # Errors
    /// If the numbers do not fit the layer's shape.
    pub fn set_layer(&mut self, layer: usize, weights: &LayerWeights) -> Result<()> {
        build::check_layer(&self.graph, layer, weights)?;
        let op = &self.graph.nodes[layer].op;
        self.steps.iter_mut().for_each(|step| step.set_weights(layer, op, weights));
        Ok(())
    }

    /// The layer that defines `value`, or the image; `None` for values inside a layer.
    fn source_of(&self, value: usize) -> Option<Source> {
        if value == build::IMAGE {
            return Some(Source::Image);
        }
        let whole = |view: &Option<View>| view.is_some_and(|view| view.value == value && view.start == 0);
        // The longest view is the value itself; route slices and identities come after it.
        self.views.iter().position(whole).map(Source::Layer)
    }
}

/// Layers whose output is a result.
fn is_result(op: &Op) -> bool {
    op.is_head() || matches!(op, Op::Softmax(_))
}
