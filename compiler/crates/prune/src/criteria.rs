//! Criteria: in which order the units of a group should go, judged by the weights alone.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Masks;
use super::repair::{self, Statistics};
use secateur_float as float;
use secateur_ir::{ChannelGroups, Graph, LayerWeights, Op, Weights};

/// What ranks the units of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Sum of absolute filter weights, batch norm folded in.
    L1,
    /// Euclidean norm of the filter, batch norm folded in.
    L2,
    /// Absolute batch-norm scale (Network Slimming).
    BnGamma,
    /// What the readers lose, on calibration pictures, after the best linear repair.
    Repair,
    /// A seeded shuffle: the control that every other criterion has to beat.
    Random,
}

/// Positions of every group's units, the first to go first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// `order[group]`: a permutation of the positions in [`secateur_ir::Group::units`].
    pub order: Vec<Vec<usize>>,
    /// `costs[group][n]`: expected squared error of the readers when the first `n + 1` are gone;
    /// known to [`Criterion::Repair`] only.
    pub costs: Option<Vec<Vec<f64>>>,
}

impl Ranking {
    /// Ranks by any criterion; `statistics` are needed for [`Criterion::Repair`] alone.
    pub fn new(
        criterion: Criterion,
        graph: &Graph,
        groups: &ChannelGroups,
        weights: &Weights,
        statistics: Option<&Statistics>,
        seed: u64,
    ) -> Self {
        match statistics {
            Some(statistics) if criterion == Criterion::Repair => {
                repair::rank(graph, groups, weights, statistics)
            }
            _ => Self::by_weights(criterion, graph, groups, weights, seed),
        }
    }

    /// Ranks by a criterion that needs no pictures.
    ///
    /// A unit's score is the sum over its producers, each divided by that layer's mean score, so
    /// that tied layers of different scale count alike. Source of `l1`: Li et al., arXiv:1608.08710;
    /// of `bn-gamma`: Liu et al., arXiv:1708.06519 (a layer without batch norm counts as `l1`).
    /// [`Criterion::Repair`] needs pictures; without them it counts as `l1`.
    pub fn by_weights(
        criterion: Criterion,
        graph: &Graph,
        groups: &ChannelGroups,
        weights: &Weights,
        seed: u64,
    ) -> Self {
        if criterion == Criterion::Random {
            return Self::random(groups, seed);
        }
        let folded = float::fold(graph, weights);
        let norms: Vec<Vec<f64>> = graph
            .nodes
            .iter()
            .enumerate()
            .map(|(layer, node)| {
                let (raw, folded) = (&weights.layers[layer], &folded.layers[layer]);
                let norms: Vec<f64> = (0..node.shape.c)
                    .map(|channel| norm(criterion, &node.op, raw, folded, channel))
                    .collect();
                let mean = norms.iter().sum::<f64>() / norms.len() as f64;
                norms.iter().map(|norm| norm / mean.max(f64::MIN_POSITIVE)).collect()
            })
            .collect();
        let order = groups.groups.iter().map(|group| {
            let scores = group.units.iter().map(|&unit| {
                let channels = groups.units[unit].channels.iter();
                channels
                    .filter(|(layer, _)| group.producers.contains(layer))
                    .map(|&(layer, channel)| norms[layer][channel])
                    .sum()
            });
            ascending(&scores.collect::<Vec<f64>>())
        });
        Self { order: order.collect(), costs: None }
    }

    fn random(groups: &ChannelGroups, seed: u64) -> Self {
        let order = groups.groups.iter().enumerate().map(|(number, group)| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number as u64);
            let mut order: Vec<usize> = (0..group.units.len()).collect();
            order.shuffle(&mut rng);
            order
        });
        Self { order: order.collect(), costs: None }
    }

    /// Flags of a group's units when the `keep` last ones of its order stay.
    pub fn flags(&self, group: usize, keep: usize) -> Vec<bool> {
        let order = &self.order[group];
        let mut flags = vec![false; order.len()];
        for &position in &order[order.len() - keep..] {
            flags[position] = true;
        }
        flags
    }

    /// Masks that keep `keep[group]` units of every group.
    pub fn masks(&self, groups: &ChannelGroups, keep: &[usize]) -> Masks {
        let mut masks = Masks::keep_all(groups);
        for (group, &keep) in keep.iter().enumerate() {
            masks.set(group, self.flags(group, keep));
        }
        masks
    }
}

/// Indices by ascending score; equal scores keep their order.
pub(super) fn ascending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order
}

fn norm(criterion: Criterion, op: &Op, raw: &LayerWeights, folded: &LayerWeights, channel: usize) -> f64 {
    let channels = folded.bias.len();
    if channels == 0 {
        return 0.0;
    }
    let filter: Box<dyn Iterator<Item = f32> + '_> = match op {
        // `[in][out][k][k]`
        Op::Deconv(conv) => {
            let window = conv.taps();
            Box::new(
                folded
                    .weights
                    .chunks_exact(channels * window)
                    .flat_map(move |input| input[channel * window..][..window].iter().copied()),
            )
        }
        _ => {
            let row = folded.weights.len() / channels;
            Box::new(folded.weights[channel * row..][..row].iter().copied())
        }
    };
    match (criterion, &raw.batch_norm) {
        (Criterion::L2, _) => filter.map(|w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt(),
        (Criterion::BnGamma, Some(norm)) => f64::from(norm.scale[channel].abs()),
        _ => filter.map(|w| f64::from(w.abs())).sum(),
    }
}

/// Units that stay of `units` at a pruning `rate`: `units · (1 − rate)` rounded up to a multiple of
/// `batch` lanes; at least one, never more than there are.
pub fn keep_count(units: usize, rate: f64, batch: usize) -> usize {
    // The product may exceed a whole number by its rounding error only.
    let exact = (units as f64 * (1.0 - rate) - 1e-9).max(1.0).ceil() as usize;
    exact.next_multiple_of(batch).min(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_counts_are_those_of_the_closed_pruner() {
        assert_eq!(keep_count(64, 0.3, 2), 46);
        assert_eq!(keep_count(10, 0.7, 1), 3);
        assert_eq!(keep_count(10, 0.0, 4), 10);
        assert_eq!(keep_count(3, 0.9, 1), 1);
        assert_eq!(keep_count(3, 0.9, 8), 3);
    }

    #[test]
    fn ascending_is_stable() {
        assert_eq!(ascending(&[2.0, 1.0, 2.0, 0.5]), [3, 1, 0, 2]);
    }
}
