//! Weights that a training begins with.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_ir::{BatchNorm, Graph, LayerWeights, Op, Weights, parameter_counts};

/// Version of the random weights: part of the identity of what begins with them.
pub const VERSION: u32 = 1;

/// Random weights as Darknet draws them: uniform, with a variance that keeps the size of activations; biases 0, scales 1,
/// and statistics of a standard distribution.
///
/// The numbers of a layer depend on the seed and its place alone.
pub fn random_weights(graph: &Graph, seed: u64) -> Weights {
    let layers = (0..graph.nodes.len()).map(|node| {
        let shapes = graph.input_shapes(node);
        let op = &graph.nodes[node].op;
        let counts = parameter_counts(op, &shapes);
        // Inputs of one output.
        let fan_in = match op {
            Op::Conv(conv) => conv.taps() * shapes[0].c / conv.groups,
            Op::Connected(_) => shapes[0].len(),
            _ => 1,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(node as u64);
        let bound = (2.0 / fan_in as f32).sqrt();
        let weights = match op {
            // A sum begins as the plain one.
            Op::Shortcut(_) => vec![1.0; counts.weights],
            _ => (0..counts.weights).map(|_| rng.random_range(-bound..bound)).collect(),
        };
        let batch_norm = counts.batch_norm.then(|| BatchNorm {
            scale: vec![1.0; counts.bias],
            mean: vec![0.0; counts.bias],
            variance: vec![1.0; counts.bias],
        });
        LayerWeights { bias: vec![0.0; counts.bias], batch_norm, weights }
    });
    Weights { layers: layers.collect() }
}

/// Takes over the weights of another network with as many layers or more, layer by layer, where they have the same
/// sizes. Returns the layers with weights that were left as they are.
pub fn take_over(weights: &mut Weights, from: &Weights) -> Vec<usize> {
    let sizes = |layer: &LayerWeights| (layer.bias.len(), layer.weights.len(), layer.batch_norm.is_some());
    let mut left = Vec::new();
    for (i, layer) in weights.layers.iter_mut().enumerate() {
        match from.layers.get(i) {
            Some(from) if sizes(from) == sizes(layer) => layer.clone_from(from),
            _ if sizes(layer) != (0, 0, false) => left.push(i),
            _ => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_equal_sizes_are_taken_over() {
        let layer = |bias: &[f32]| LayerWeights { bias: bias.to_vec(), ..LayerWeights::default() };
        let mut weights =
            Weights { layers: vec![layer(&[1.0]), layer(&[]), layer(&[2.0, 3.0]), layer(&[5.0])] };
        let from = Weights { layers: vec![layer(&[7.0]), layer(&[]), layer(&[8.0])] };
        assert_eq!(take_over(&mut weights, &from), [2, 3]);
        assert_eq!(weights.layers[0].bias, [7.0]);
        assert_eq!(weights.layers[2].bias, [2.0, 3.0]);
    }
}
