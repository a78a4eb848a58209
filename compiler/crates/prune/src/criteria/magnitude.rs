//! What the weights that make a unit say of it.

use std::collections::BTreeMap;

use super::{Inputs, Scores};
use crate::units::Part;
use secateur_ir::Columns;

/// Scores units by a norm of their weights, batch norm folded in, as [`of_layers`].
pub(super) fn score(inputs: &Inputs, group: usize, norm: impl Fn(&Part, &mut Values) -> f64) -> Scores {
    of_layers(inputs, group, |parts| parts.iter().map(|part| norm(part, &mut values(inputs, part))).collect())
}

/// Scores units by `judge`, which gets all parts of a layer and has one score for each.
///
/// A unit's score is the sum over its parts, each divided by the mean over its layer, so that tied layers
/// of different scale count alike.
pub(super) fn of_layers(inputs: &Inputs, group: usize, judge: impl Fn(&[Part]) -> Vec<f64>) -> Scores {
    let units = inputs.units.parts(group);
    let mut layers: Vec<usize> = units.iter().flatten().map(|part| part.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let place = |part: &Part| (part.layer, part.outputs.start, part.inputs.start);
    let mut shares = BTreeMap::new();
    for layer in layers {
        let parts = inputs.units.parts_of_layer(layer);
        let scores = judge(&parts);
        let mean = (scores.iter().sum::<f64>() / scores.len() as f64).max(f64::MIN_POSITIVE);
        shares.extend(parts.iter().map(place).zip(scores.into_iter().map(|score| score / mean)));
    }
    Scores::of(units.iter().map(|parts| parts.iter().map(|part| shares[&place(part)]).sum()).collect())
}

/// The weights of a part, batch norm folded in: `[output][input][tap]`.
pub(super) fn values<'a>(inputs: &'a Inputs, part: &Part) -> impl Iterator<Item = f64> + use<'a> {
    let columns = Columns::of(inputs.units.graph(), part.layer);
    let weights = &inputs.folded.layers[part.layer].weights;
    let (outputs, channels) = (part.outputs.clone(), part.inputs.clone());
    let pairs = outputs.flat_map(move |output| channels.clone().map(move |input| (output, input)));
    pairs.flat_map(move |(output, input)| columns.range(output, input)).map(|at| f64::from(weights[at]))
}

/// The weights of a part.
pub(super) type Values<'a> = dyn Iterator<Item = f64> + 'a;
