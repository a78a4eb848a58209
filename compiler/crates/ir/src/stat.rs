//! Cost of a network, counted as the closed Darknet pruner counts it.
//!
//! Operations are two for each multiply-accumulate and one for each output (its bias); only
//! convolutions, deconvolutions and connected layers count. Parameters are weights and biases with
//! batch norm folded.

use std::iter::Sum;
use std::ops::Add;

use super::{Graph, Op, parameter_counts};

/// Cost of one layer, or of several added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct LayerCost {
    /// Multiply-accumulates for one image.
    pub macs: u64,
    pub ops: u64,
    pub params: u64,
}

impl Add for LayerCost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            macs: self.macs.saturating_add(other.macs),
            ops: self.ops.saturating_add(other.ops),
            params: self.params.saturating_add(other.params),
        }
    }
}

impl Sum for LayerCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// The cost of every layer.
pub fn stat(graph: &Graph) -> Vec<LayerCost> {
    (0..graph.nodes.len()).map(|layer| layer_cost(graph, layer)).collect()
}

/// The cost of one layer.
pub fn layer_cost(graph: &Graph, layer: usize) -> LayerCost {
    let node = &graph.nodes[layer];
    let inputs = graph.input_shapes(layer);
    let counts = parameter_counts(&node.op, &inputs);
    let weights = counts.weights as u64;
    let params = match node.op {
        // Alone, batch norm folds to a factor and a bias for each channel.
        Op::BatchNorm(_) => 2 * counts.bias as u64,
        _ => weights + counts.bias as u64,
    };
    // Every weight is multiplied once per output pixel; in a deconvolution, once per input pixel.
    let macs = match node.op {
        Op::Conv(_) => weights.saturating_mul(node.shape.plane() as u64),
        Op::Deconv(_) => weights.saturating_mul(inputs[0].plane() as u64),
        Op::Connected(_) => weights,
        _ => 0,
    };
    let ops = if macs == 0 { 0 } else { macs.saturating_mul(2).saturating_add(node.shape.len() as u64) };
    LayerCost { macs, ops, params }
}
