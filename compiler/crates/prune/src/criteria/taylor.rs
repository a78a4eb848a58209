//! First-order change of the loss.

use super::{Criterion, Inputs, Scores, ascending};
use crate::Granularity;
use crate::units::PruneUnits;

/// Absolute change of the loss, to first order, when the unit's outputs become zero, summed over images and over the
/// layers whose channels the unit holds, each layer's scores divided by their Euclidean norm. Source: Molchanov et al.
/// 2017, arXiv:1611.06440.
pub struct Taylor;

/// Scores of single channels from gradients of the loss, comparable between layers.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelScores {
    /// `[layer][channel]`
    layers: Vec<Vec<f64>>,
}

impl ChannelScores {
    /// Divides the sums over the images, `[layer][channel]`, by the Euclidean norm of their layer. A layer of zeros
    /// stays so.
    pub fn normalised(mut sums: Vec<Vec<f64>>) -> Self {
        for layer in &mut sums {
            let norm = layer.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
            if norm > 0.0 {
                layer.iter_mut().for_each(|sum| *sum /= norm);
            }
        }
        Self { layers: sums }
    }

    /// Little-endian bytes of all scores, for a fingerprint.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.layers.iter().flatten().flat_map(|score| score.to_le_bytes()).collect()
    }

    /// Scores of a group's units.
    fn of_group(&self, units: &dyn PruneUnits, group: usize) -> Vec<f64> {
        let of_unit = |channels: &Vec<(usize, usize)>| {
            channels.iter().map(|&(layer, channel)| self.layers[layer][channel]).sum()
        };
        units.channels(group).iter().map(of_unit).collect()
    }

    /// Spearman's rank correlation between these scores and `other` over the units of all groups: the stability of a
    /// ranking, where both come from images of their own.
    pub fn correlation(&self, other: &Self, units: &dyn PruneUnits) -> f64 {
        let all = |scores: &Self| -> Vec<f64> {
            (0..units.groups().len()).flat_map(|group| scores.of_group(units, group)).collect()
        };
        spearman(&all(self), &all(other))
    }
}

impl Criterion for Taylor {
    fn name(&self) -> &'static str {
        "taylor"
    }

    fn help(&self) -> &'static str {
        "First-order change of the loss on labelled images"
    }

    fn needs_gradients(&self) -> bool {
        true
    }

    fn compares_groups(&self) -> bool {
        true
    }

    /// Gradients are taken by the outputs of whole channels.
    fn ranks(&self, granularity: Granularity) -> bool {
        granularity == Granularity::Channel
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        let scores = inputs.evidence.gradients.expect("a criterion that needs gradients gets them");
        Scores::of(scores.of_group(inputs.units, group))
    }
}

/// Spearman's rank correlation; equal values share their mean rank. 0 where all values of a side are equal.
fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let products = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let norm = (products(&a, &a) * products(&b, &b)).sqrt();
    if norm > 0.0 { products(&a, &b) / norm } else { 0.0 }
}

/// The rank of every value, from 0.
fn ranks(values: &[f64]) -> Vec<f64> {
    let order = ascending(values);
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let mean = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&at| ranks[at] = mean);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_normalised_alone() {
        let scores = ChannelScores::normalised(vec![vec![3.0, 4.0], vec![0.0; 2], vec![1e-200]]);
        assert_eq!(scores.layers[..2], [vec![0.6, 0.8], vec![0.0, 0.0]]);
    }

    #[test]
    fn rank_correlations() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [2.5, 0.0, 2.5, 1.0]);
        assert!((spearman(&[1.0, 2.0, 9.0], &[-5.0, 0.0, 1.0]) - 1.0).abs() < 1e-15);
        assert!((spearman(&[1.0, 2.0, 9.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-15);
        // Ranks 0, 1, 2, 3 against 1, 0, 3, 2: 1 − 6 · 4 / (4 · 15).
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 4.0, 3.0]) - 0.6).abs() < 1e-15);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }
}
