//! Random numbers for a network's layers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_ir::{BatchNorm, Graph, LayerWeights, Weights, parameter_counts};

/// Random numbers for a graph, of sizes that keep activations near 1.
pub fn random_weights(seed: u64, graph: &Graph) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eca_7e0d);
    let layers = (0..graph.nodes.len()).map(|layer| layer_weights(&mut rng, graph, layer)).collect();
    Weights { layers }
}

fn layer_weights(rng: &mut ChaCha8Rng, graph: &Graph, layer: usize) -> LayerWeights {
    let inputs = graph.input_shapes(layer);
    let counts = parameter_counts(&graph.nodes[layer].op, &inputs);
    let mut uniform = |count: usize, low: f32, high: f32| -> Vec<f32> {
        (0..count).map(|_| rng.random_range(low..high)).collect()
    };
    let spread = match counts.bias {
        0 => 1.0,
        outputs => (6.0 * outputs as f32 / counts.weights.max(1) as f32).sqrt(),
    };
    LayerWeights {
        bias: uniform(counts.bias, -0.5, 0.5),
        batch_norm: counts.batch_norm.then(|| BatchNorm {
            // A negative γ turns an order round: rare in training, and every pass must survive it.
            scale: uniform(counts.bias, -0.3, 1.5),
            mean: uniform(counts.bias, -0.3, 0.3),
            variance: uniform(counts.bias, 0.1, 2.0),
        }),
        weights: uniform(counts.weights, -spread, spread),
    }
}
