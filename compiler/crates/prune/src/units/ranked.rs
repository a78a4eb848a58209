//! Prune units in the order of a criterion.

use super::{PruneGroup, PruneUnits, Pruned};
use crate::criteria::{self, Criterion, Evidence, Ranking};
use crate::reconstruct::Reconstruction;
use crate::{Figures, Masks};
use secateur_base::Result;
use secateur_ir::{Graph, LayerWeights, Weights};

/// The units of a network in the order of a criterion. `keep[group]` stands for the so many units that
/// come last in it.
pub struct RankedUnits<'a> {
    units: &'a dyn PruneUnits,
    ranking: Vec<Ranking>,
    reconstruction: Option<Reconstruction<'a>>,
}

impl<'a> RankedUnits<'a> {
    /// Ranks all units. With a `reconstruction` the consumers of removed units are fitted anew, without one
    /// their weights stay as they are.
    pub fn new(
        units: &'a dyn PruneUnits,
        criterion: &dyn Criterion,
        evidence: Evidence,
        reconstruction: Option<Reconstruction<'a>>,
        seed: u64,
    ) -> Self {
        Self { units, ranking: criteria::rank(criterion, units, evidence, seed), reconstruction }
    }

    pub fn graph(&self) -> &'a Graph {
        self.units.graph()
    }

    /// The original's.
    pub fn weights(&self) -> &'a Weights {
        self.units.weights()
    }

    pub fn groups(&self) -> &'a [PruneGroup] {
        self.units.groups()
    }

    /// Expected squared error of the consumers when the first, the second, … unit of a group's order is
    /// gone; `None` where the criterion knows none.
    pub fn costs(&self, group: usize) -> Option<&[f64]> {
        self.ranking[group].costs.as_deref()
    }

    /// Scores of a group's units in the order of their removal; `None` where they do not compare between groups.
    pub fn scores(&self, group: usize) -> Option<&[f64]> {
        self.ranking[group].scores.as_deref()
    }

    /// The masks of the units that stay.
    pub fn masks(&self, keep: &[usize]) -> Masks {
        let mut masks = self.units.keep_all();
        for (group, &keep) in keep.iter().enumerate() {
            masks.set(group, self.ranking[group].kept(keep));
        }
        masks
    }

    /// New weights of the layers that differ when one group alone keeps `keep` units.
    pub fn changes(&self, group: usize, keep: usize) -> Vec<(usize, LayerWeights)> {
        let statistics = self.reconstruction.map(|reconstruction| reconstruction.statistics);
        self.units.changes(group, &self.ranking[group].kept(keep), statistics)
    }

    /// Removes units of all groups at once.
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    pub fn prune(&self, keep: &[usize]) -> Result<Pruned> {
        self.units.prune(&self.masks(keep), self.reconstruction)
    }

    /// Multiply-accumulates that remain.
    pub fn macs(&self, keep: &[usize]) -> u64 {
        self.units.macs(keep)
    }

    /// Weights and operations that remain.
    pub fn figures(&self, keep: &[usize]) -> Figures {
        self.units.figures(keep)
    }
}
