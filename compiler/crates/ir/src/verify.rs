//! Checks the invariants of every graph, after each pass in debug builds and tests.
//!
//! 1. There is at least one layer, and the input has elements.
//! 2. A layer reads the image or layers above it.
//! 3. Every parameter is one that the layer can have: windows, strides and counts are positive, groups
//!    divide channels, heads fit their inputs, masks name anchors, factors are finite.
//! 4. A layer's shape is what its operator makes of its inputs' shapes.
//! 5. Feature maps and weights stay within [`MAX_SIDE`](super::MAX_SIDE) and
//!    [`MAX_ELEMENTS`](super::MAX_ELEMENTS).
//!
//! And of its weights:
//!
//! 6. There is an entry for every layer, each of the sizes that [`parameter_counts`] says.

use super::{Graph, Op, Source, Weights, check, infer, parameter_counts};
use secateur_base::{Error, Result};

/// Checks invariants 1 to 5.
///
/// # Errors
/// The first one that does not hold, with the layer's number.
pub fn verify(graph: &Graph) -> Result<()> {
    check(graph.input)?;
    if graph.nodes.is_empty() {
        return Err(Error::new("network has no layers"));
    }
    for (layer, node) in graph.nodes.iter().enumerate() {
        let fail = |error: Error| graph.locate(layer, error);
        for &input in &node.inputs {
            if let Source::Layer(from) = input
                && from >= layer
            {
                return Err(fail(Error::new("layer reads one that is not above it").found(from.to_string())));
            }
        }
        let shape = infer(&node.op, &graph.input_shapes(layer)).map_err(fail)?;
        if shape != node.shape {
            return Err(fail(
                Error::new("layer has a wrong shape")
                    .found(node.shape.to_string())
                    .allowed(shape.to_string()),
            ));
        }
        if let Some(factor) = factors(&node.op).into_iter().find(|factor| !factor.is_finite()) {
            return Err(fail(Error::new("a factor is not finite").found(factor.to_string())));
        }
        if let Op::Yolo(yolo) = &node.op
            && let Some(anchor) = yolo.mask.iter().find(|&&anchor| anchor >= yolo.anchors.len())
        {
            return Err(fail(Error::new("mask names an anchor that is not there").found(anchor.to_string())));
        }
    }
    Ok(())
}

fn factors(op: &Op) -> Vec<f32> {
    let sides = |anchors: &[(f32, f32)]| -> Vec<f32> { anchors.iter().flat_map(|&(w, h)| [w, h]).collect() };
    match op {
        Op::Upsample(upsample) => vec![upsample.scale],
        Op::Softmax(softmax) => vec![softmax.temperature],
        Op::Yolo(yolo) => [&[yolo.scale_x_y, yolo.beta_nms], &sides(&yolo.anchors)[..]].concat(),
        Op::Region(region) => sides(&region.anchors),
        _ => Vec::new(),
    }
}

/// Checks invariant 6.
///
/// # Errors
/// The first layer whose numbers are too few or too many.
pub fn verify_weights(graph: &Graph, weights: &Weights) -> Result<()> {
    if weights.layers.len() != graph.nodes.len() {
        return Err(Error::new("weights of another network")
            .found(format!("{} layers", weights.layers.len()))
            .allowed(format!("{} layers", graph.nodes.len())));
    }
    for (layer, (node, numbers)) in graph.nodes.iter().zip(&weights.layers).enumerate() {
        let counts = parameter_counts(&node.op, &graph.input_shapes(layer));
        let norm = numbers.batch_norm.as_ref();
        let norm_fits = norm.is_some() == counts.batch_norm
            && norm.is_none_or(|norm| {
                [&norm.scale, &norm.mean, &norm.variance].iter().all(|part| part.len() == counts.bias)
            });
        if numbers.bias.len() != counts.bias || numbers.weights.len() != counts.weights || !norm_fits {
            let error = Error::new("weights do not fit the layer")
                .found(format!("{} biases, {} weights", numbers.bias.len(), numbers.weights.len()))
                .allowed(format!("{} biases, {} weights", counts.bias, counts.weights));
            return Err(graph.locate(layer, error));
        }
    }
    Ok(())
}
