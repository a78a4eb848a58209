//! Criteria: the order in which the units of a group are removed.
//!
//! A new criterion is a file with an implementation of [`Criterion`] and an entry in [`CRITERIA`].

mod activations;
mod apoz;
mod bn_gamma;
mod geometric_median;
mod l1;
mod l1_var;
mod l2;
mod magnitude;
mod mean_activation;
mod random;
mod reconstruction;
mod taylor;

use std::fmt;

use bitvec::prelude::BitVec;
use rayon::prelude::*;

pub use activations::Activations;
pub use apoz::Apoz;
pub use bn_gamma::BnGamma;
pub use geometric_median::GeometricMedian;
pub use l1::L1;
pub use l1_var::L1Var;
pub use l2::L2;
pub use mean_activation::MeanActivation;
pub use random::Random;
pub use reconstruction::Reconstruction;
pub use taylor::{ChannelScores, Taylor};

use crate::reconstruct::Statistics;
use crate::{Granularity, PruneUnits};
use secateur_base::Result;
use secateur_float as float;
use secateur_ir::Weights;

/// All criteria, in the order of the help.
pub static CRITERIA: [&dyn Criterion; 10] =
    [&L1, &L2, &BnGamma, &L1Var, &GeometricMedian, &MeanActivation, &Apoz, &Reconstruction, &Taylor, &Random];

/// The criterion of a name on the command line, in recipes and in files.
pub fn by_name(name: &str) -> Option<&'static dyn Criterion> {
    CRITERIA.into_iter().find(|criterion| criterion.name() == name)
}

/// Judges the units of a group.
pub trait Criterion: Sync {
    /// The name on the command line, in recipes and in files.
    fn name(&self) -> &'static str;

    /// One line for the help.
    fn help(&self) -> &'static str;

    /// Returns whether [`Evidence::statistics`] are needed.
    fn needs_statistics(&self) -> bool {
        false
    }

    /// Returns whether [`Evidence::gradients`] are needed, and with them labelled images.
    fn needs_gradients(&self) -> bool {
        false
    }

    /// Returns whether [`Evidence::activations`] are needed.
    fn needs_activations(&self) -> bool {
        false
    }

    /// Checks that the criterion has something to say of every group without `ignored` layers.
    ///
    /// # Errors
    /// A group whose units would all score alike, whatever the images.
    fn check(&self, _units: &dyn PruneUnits, _ignored: &[usize]) -> Result<()> {
        Ok(())
    }

    /// Returns whether scores of units of different groups compare.
    fn compares_groups(&self) -> bool {
        false
    }

    /// Returns whether units of this granularity can be scored.
    fn ranks(&self, _granularity: Granularity) -> bool {
        true
    }

    /// Scores every unit of a group; the lowest is removed first.
    fn score(&self, inputs: &Inputs, group: usize) -> Scores;
}

impl fmt::Debug for dyn Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for dyn Criterion {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// What was measured on images for criteria that need it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Moments of the activations.
    pub statistics: Option<&'a Statistics>,
    /// Scores of channels from gradients of the loss.
    pub gradients: Option<&'a ChannelScores>,
    /// Outputs of channels.
    pub activations: Option<&'a Activations>,
}

impl<'a> From<&'a Statistics> for Evidence<'a> {
    fn from(statistics: &'a Statistics) -> Self {
        Self { statistics: Some(statistics), ..Self::default() }
    }
}

/// The material of a criterion.
pub struct Inputs<'a> {
    /// The network and its prune groups.
    pub units: &'a dyn PruneUnits,
    /// The weights with batch norm folded in.
    pub folded: Weights,
    pub evidence: Evidence<'a>,
    pub seed: u64,
}

impl Inputs<'_> {
    /// # Panics
    /// If they were not measured.
    fn activations(&self) -> &Activations {
        self.evidence.activations.expect("a criterion that needs activations gets them")
    }

    /// Scores a group's units by the sum over their channels.
    fn of_channels(&self, group: usize, score: impl Fn((usize, usize)) -> f64) -> Scores {
        let channels = self.units.channels(group);
        Scores::of(channels.iter().map(|unit| unit.iter().map(|&channel| score(channel)).sum()).collect())
    }
}

/// A criterion's judgement of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// One for each unit; of equal ones the first unit is removed first.
    pub units: Vec<f64>,
    /// Expected squared error of the consumers when the first, the second, … unit is gone, where the
    /// criterion knows it.
    pub costs: Option<Vec<f64>>,
}

impl Scores {
    /// Scores that say nothing of costs.
    pub fn of(units: Vec<f64>) -> Self {
        Self { units, costs: None }
    }
}

/// The order in which a group's units are removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// A permutation of the group's units, the first to be removed first.
    pub order: Vec<usize>,
    /// Expected squared error of the consumers when the first, the second, … of them is gone.
    pub costs: Option<Vec<f64>>,
    /// Scores in this order, where they compare with those of other groups.
    pub scores: Option<Vec<f64>>,
}

impl Ranking {
    fn new(criterion: &dyn Criterion, Scores { units, costs }: Scores) -> Self {
        let order = ascending(&units);
        let scores = criterion.compares_groups().then(|| order.iter().map(|&unit| units[unit]).collect());
        Self { order, costs, scores }
    }

    /// Flags of the group's units when the `keep` last ones of the order stay.
    pub fn kept(&self, keep: usize) -> BitVec<u8> {
        let mut kept = BitVec::repeat(false, self.order.len());
        for &unit in &self.order[self.order.len() - keep..] {
            kept.set(unit, true);
        }
        kept
    }
}

/// Ranks the units of every group.
///
/// # Panics
/// If the criterion needs evidence that there is not.
pub fn rank(
    criterion: &dyn Criterion,
    units: &dyn PruneUnits,
    evidence: Evidence,
    seed: u64,
) -> Vec<Ranking> {
    let folded = float::fold(units.graph(), units.weights());
    let inputs = Inputs { units, folded, evidence, seed };
    let groups = (0..units.groups().len()).into_par_iter();
    groups.map(|group| Ranking::new(criterion, criterion.score(&inputs, group))).collect()
}

/// Indices by ascending score; equal scores keep their order.
pub(crate) fn ascending(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    order
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
    use crate::ChannelUnits;
    use secateur_ir::{Activation, Conv, Graph, Node, Op, Shape, Source, Weights};
    use secateur_testing::random_weights;

    /// Three filters on two channels of `width` pixels, and a layer that reads them.
    fn two_layers(filters: [f32; 6], activation: Activation, width: usize) -> (Graph, Weights) {
        let mut graph = Graph { input: Shape::new(2, 1, width), nodes: Vec::new(), letter_box: false };
        for (source, filters) in [(Source::Image, 3), (Source::Layer(0), 1)] {
            let conv = Op::Conv(Conv { activation, ..Conv::square(filters, 1) });
            graph.nodes.push(Node::new(conv, vec![source], Shape::new(filters, 1, width)));
        }
        let mut weights = random_weights(1, &graph);
        weights.layers[0].weights = filters.to_vec();
        weights.layers[0].bias = vec![0.0; 3];
        (graph, weights)
    }

    #[test]
    fn scores_by_activity_by_hand() {
        let filters = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        let (graph, weights) = two_layers(filters, Activation::Relu, 2);
        let units = ChannelUnits::new(&graph, &weights);
        // Channels (2, 4), (0, 3) and (-2, -4), then (1, -1), (0, 0) and (-1, 1), before the ReLU.
        let images: [&[f32]; 2] = [&[2.0, 4.0, 0.0, 3.0], &[1.0, -1.0, 0.0, 0.0]];
        let activations = Activations::collect(&units, &images).unwrap();
        let evidence = Evidence { activations: Some(&activations), ..Evidence::default() };
        let inputs = Inputs { units: &units, folded: weights.clone(), evidence, seed: 1 };
        // Means 7 ÷ 4, 3 ÷ 4 and 1 ÷ 4, in the layer 11 ÷ 12; zeros 1, 3 and 3 of 4.
        let means = MeanActivation.score(&inputs, 0).units;
        for (found, expected) in means.iter().zip([21.0 / 11.0, 9.0 / 11.0, 3.0 / 11.0]) {
            assert!((found - expected).abs() < 1e-12, "{means:?}");
        }
        assert_eq!(Apoz.score(&inputs, 0).units, [0.75, 0.25, 0.25]);
        Apoz.check(&units, &[]).unwrap();
    }

    #[test]
    fn outputs_without_zeros_have_no_share_of_them() {
        let (graph, weights) = two_layers([1.0; 6], Activation::Leaky, 1);
        let units = ChannelUnits::new(&graph, &weights);
        let error = Apoz.check(&units, &[]).unwrap_err().to_string();
        assert!(error.contains("layer 0") && error.contains("activation leaky"), "{error}");
        Apoz.check(&units, &[0]).unwrap();
        MeanActivation.check(&units, &[]).unwrap();
    }

    #[test]
    fn scores_by_hand() {
        // The corners of a triangle.
        let filters = [0.0, 0.0, 3.0, 0.0, 0.0, 4.0];
        let (graph, weights) = two_layers(filters, Activation::Linear, 1);
        let units = ChannelUnits::new(&graph, &weights);
        assert_eq!(units.groups()[0].units, 3);
        let inputs = Inputs {
            units: &units,
            folded: float::fold(&graph, &weights),
            evidence: Evidence::default(),
            seed: 1,
        };
        // Sums 0, 3, 4 (mean 7 ÷ 3); variances 0, 9 ÷ 4, 4 (mean 25 ÷ 12); sides 3, 4, 5 of a triangle.
        let expected: [(&dyn Criterion, [f64; 3]); 3] = [
            (&L1, [0.0, 9.0 / 7.0, 12.0 / 7.0]),
            (&L1Var, [0.0, 9.0 / 7.0 + 1.08, 12.0 / 7.0 + 1.92]),
            (&GeometricMedian, [7.0 / 8.0, 1.0, 9.0 / 8.0]),
        ];
        for (criterion, expected) in expected {
            let found = criterion.score(&inputs, 0).units;
            let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
            assert!(near, "{criterion:?}: {found:?}, not {expected:?}");
        }
    }

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

    #[test]
    fn names_lead_to_their_criteria() {
        for criterion in CRITERIA {
            assert_eq!(by_name(criterion.name()), Some(criterion));
            assert!(!criterion.help().is_empty());
        }
        assert_eq!(by_name("repair"), None);
    }
}
