//! Batch norm folded into the weights and biases before it.

use secateur_ir::{BATCH_NORM_EPSILON, BatchNorm, Graph, LayerWeights, Op, Weights};

/// Folds the batch norm of every convolution, deconvolution and connected layer into its weights
/// and bias; a `[batchnorm]` layer keeps its own. Computes in f64 and rounds once.
///
/// The graph still says `batch_norm`; the returned weights have none, and that is what counts.
pub fn fold(graph: &Graph, weights: &Weights) -> Weights {
    let layers =
        graph.nodes.iter().zip(&weights.layers).map(|(node, layer)| fold_layer(&node.op, layer)).collect();
    Weights { layers }
}

/// [`fold`] of one layer.
pub fn fold_layer(op: &Op, layer: &LayerWeights) -> LayerWeights {
    let Some(norm) = &layer.batch_norm else { return layer.clone() };
    let filters = layer.bias.len();
    // Innermost run of weights that belong to one output channel, in storage order.
    let run = match op {
        Op::Conv(_) | Op::Connected(_) => layer.weights.len() / filters,
        Op::Deconv(conv) => conv.taps(),
        _ => return layer.clone(),
    };
    let mut folded = LayerWeights { weights: layer.weights.clone(), ..LayerWeights::default() };
    for (i, block) in folded.weights.chunks_exact_mut(run).enumerate() {
        let factor = factor(norm, i % filters);
        block.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
    }
    folded.bias = (0..filters)
        .map(|c| (f64::from(layer.bias[c]) - f64::from(norm.mean[c]) * factor(norm, c)) as f32)
        .collect();
    folded
}

/// Factor that batch norm applies to channel `c`.
pub fn factor(norm: &BatchNorm, c: usize) -> f64 {
    f64::from(norm.scale[c]) / (f64::from(norm.variance[c]) + f64::from(BATCH_NORM_EPSILON)).sqrt()
}
