//! The moving average of the weights.

use secateur_ir::{LayerWeights, Weights};

/// Moves `average` towards `weights`: `alpha · average + (1 − alpha) · weights`, statistics of batch norm included.
///
/// In the first updates the average follows faster, so that it does not remember the start.
pub(super) fn follow(average: &mut Weights, weights: &Weights, alpha: f32, update: u64) {
    let alpha = alpha.min((1.0 + update as f32) / (10.0 + update as f32));
    for (average, weights) in average.layers.iter_mut().zip(&weights.layers) {
        let targets = numbers_mut(average);
        let sources = numbers(weights);
        for (average, weights) in targets.into_iter().zip(sources) {
            average.iter_mut().zip(weights).for_each(|(a, &w)| *a = alpha * *a + (1.0 - alpha) * w);
        }
    }
}

fn numbers(layer: &LayerWeights) -> Vec<&Vec<f32>> {
    let norm = layer.batch_norm.iter().flat_map(|norm| [&norm.scale, &norm.mean, &norm.variance]);
    [&layer.bias, &layer.weights].into_iter().chain(norm).collect()
}

fn numbers_mut(layer: &mut LayerWeights) -> Vec<&mut Vec<f32>> {
    let LayerWeights { bias, batch_norm, weights } = layer;
    let norm = batch_norm.iter_mut().flat_map(|norm| [&mut norm.scale, &mut norm.mean, &mut norm.variance]);
    [bias, weights].into_iter().chain(norm).collect()
}
