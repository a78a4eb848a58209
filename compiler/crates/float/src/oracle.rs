//! Every layer's output in plain f32: the one meaning of float in this project.
//!
//! Nothing is fused and nothing is fast; sums run in f64 so that the result does not depend on
//! their order. The fast [`Plan`](super::Plan) is tested against it, and it against Darknet.

use super::ops;
use secateur_ir::{Graph, Source, Weights};

/// Outputs of all layers, by Darknet's number, each `[c][h][w]`, for one image `[c][h][w]` in 0..1.
///
/// # Panics
/// If `input` does not have the graph's input shape, or the weights are not the graph's.
pub fn run(graph: &Graph, weights: &Weights, input: &[f32]) -> Vec<Vec<f32>> {
    assert_eq!(input.len(), graph.input.len(), "the image has the network's input shape");
    let mut outputs: Vec<Vec<f32>> = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let mut output = vec![0.0; node.shape.len()];
        let inputs: Vec<&[f32]> = node
            .inputs
            .iter()
            .map(|source| match *source {
                Source::Image => input,
                Source::Layer(from) => outputs[from].as_slice(),
            })
            .collect();
        ops::apply(graph, i, &weights.layers[i], &inputs, &mut output);
        outputs.push(output);
    }
    outputs
}

/// For a node that only moves pixels, the place in its first input, `[c][h][w]`, that each output comes from.
///
/// `None` if the input has more numbers than `f32` counts exactly.
pub fn pixel_sources(graph: &Graph, node: usize) -> Option<Vec<u32>> {
    let (input, output) = (graph.input_shape(node).len(), graph.nodes[node].shape.len());
    if input > 1 << f32::MANTISSA_DIGITS {
        return None;
    }
    let places: Vec<f32> = (0..input).map(|place| place as f32).collect();
    let mut sources = vec![0.0; output];
    ops::apply(graph, node, &secateur_ir::LayerWeights::default(), &[&places], &mut sources);
    Some(sources.into_iter().map(|place| place as u32).collect())
}
