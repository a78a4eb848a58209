//! Scale of the batch norm.

use super::{Criterion, Inputs, Scores, magnitude};

/// Absolute batch-norm scale of a filter; a part that is no whole filter, or has no batch norm, counts as
/// under [`super::L1`]. Source: Liu et al. 2017 (Network Slimming), arXiv:1708.06519.
pub struct BnGamma;

impl Criterion for BnGamma {
    fn name(&self) -> &'static str {
        "bn-gamma"
    }

    fn help(&self) -> &'static str {
        "Absolute batch-norm scale (Network Slimming); l1 where there is none"
    }

    fn compares_groups(&self) -> bool {
        true
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        let (graph, weights) = (inputs.units.graph(), inputs.units.weights());
        magnitude::score(inputs, group, |part, values| {
            let whole = part.outputs.len() == 1 && part.inputs.len() == graph.input_shape(part.layer).c;
            match &weights.layers[part.layer].batch_norm {
                Some(norm) if whole => f64::from(norm.scale[part.outputs.start].abs()),
                _ => values.map(f64::abs).sum(),
            }
        })
    }
}
