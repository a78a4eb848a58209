//! The magnitude of the weights that make a unit.

use super::{Inputs, Scores};
use crate::units::Part;
use secateur_ir::Columns;

/// Scores units by a norm of their weights, batch norm folded in.
///
/// A unit's score is the sum over its parts, each divided by the mean over its layer, so that tied layers
/// of different scale count alike.
pub(super) fn score(inputs: &Inputs, group: usize, norm: impl Fn(&Part, &mut Values) -> f64) -> Scores {
    let graph = inputs.units.graph();
    let norm_of = |part: &Part| {
        let columns = Columns::of(graph, part.layer);
        let weights = &inputs.folded.layers[part.layer].weights;
        let pairs = part.outputs.clone().flat_map(|output| part.inputs.clone().map(move |i| (output, i)));
        let indices = pairs.flat_map(|(output, input)| columns.range(output, input));
        norm(part, &mut indices.map(|at| f64::from(weights[at])))
    };
    let parts = inputs.units.parts(group);
    let mut layers: Vec<usize> = parts.iter().flatten().map(|part| part.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let means: Vec<f64> = layers
        .iter()
        .map(|&layer| {
            let parts = inputs.units.parts_of_layer(layer);
            let norms: Vec<f64> = parts.iter().map(&norm_of).collect();
            (norms.iter().sum::<f64>() / norms.len() as f64).max(f64::MIN_POSITIVE)
        })
        .collect();
    let mean = |layer: usize| means[layers.partition_point(|&other| other < layer)];
    let of_unit = |parts: &Vec<Part>| parts.iter().map(|part| norm_of(part) / mean(part.layer)).sum();
    Scores::of(parts.iter().map(of_unit).collect())
}

/// The weights of a part.
pub(super) type Values<'a> = dyn Iterator<Item = f64> + 'a;
