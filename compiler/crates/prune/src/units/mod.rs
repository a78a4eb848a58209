//! Prune units: the weights that are removed together, and the network without some of them.

mod channel;
mod ranked;
mod vector;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bitvec::slice::BitSlice;
use serde::{Deserialize, Serialize};

pub use channel::ChannelUnits;
pub use ranked::RankedUnits;
pub use vector::VectorUnits;
pub(crate) use vector::takes_part;

use crate::reconstruct::{Elimination, Reconstruction, Statistics};
use crate::{Figures, Masks};
use secateur_base::Result;
use secateur_float::Plan;
use secateur_ir::{Graph, LayerWeights, Weights};

/// The granularity of pruning, written `channel` or `vector:ROWS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Granularity {
    /// Channels with everything that makes and reads them; the network gets smaller.
    #[default]
    Channel,
    /// One input channel × `rows` output channels of a dense layer; the weights become sparse.
    Vector {
        /// Output channels of a vector: the accelerator's rows.
        rows: usize,
    },
}

/// Most rows of a vector: four times those of the widest accelerator (16).
pub(crate) const MAX_ROWS: usize = 64;
/// Rows where `vector` stands alone: those of the default accelerator.
const DEFAULT_ROWS: usize = 8;

impl FromStr for Granularity {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rows = match text.split_once(':') {
            None if text == "channel" => return Ok(Self::Channel),
            None if text == "vector" => Some(DEFAULT_ROWS),
            Some(("vector", count)) => count.parse().ok(),
            _ => None,
        };
        match rows {
            Some(rows) if (1..=MAX_ROWS).contains(&rows) => Ok(Self::Vector { rows }),
            _ => Err(format!("`channel`, or `vector:ROWS` with 1 to {MAX_ROWS} rows")),
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel => write!(f, "channel"),
            Self::Vector { rows } => write!(f, "vector:{rows}"),
        }
    }
}

impl From<Granularity> for String {
    fn from(granularity: Granularity) -> Self {
        granularity.to_string()
    }
}

impl TryFrom<String> for Granularity {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

/// Units that are removed in one order, at one rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneGroup {
    /// The layer that gives the group its name.
    pub primary: usize,
    /// Layers whose channels are tied to those of the primary layer.
    pub dependents: Vec<usize>,
    /// Layers with weights of their own between these and their consumers.
    pub related: Vec<usize>,
    /// Number of units.
    pub units: usize,
}

impl PruneGroup {
    /// Returns whether the group touches the weights of `layer` (a user may ask to leave it alone).
    pub fn changes(&self, layer: usize) -> bool {
        self.primary == layer || self.dependents.contains(&layer) || self.related.contains(&layer)
    }
}

/// The weights of a unit in one layer: those between some outputs and some inputs.
///
/// A filter is one output × all inputs, a vector some neighbouring outputs × one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub layer: usize,
    pub outputs: Range<usize>,
    pub inputs: Range<usize>,
}

/// A pruned network.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// In the original shapes, masked and reconstructed.
    pub weights: Weights,
    /// The network as it would be deployed.
    pub plan: Plan,
}

/// A network divided into prune units, whatever their order.
///
/// Costs depend on how many units a group keeps, not on which: `keep[group]` is that number.
pub trait PruneUnits: Sync {
    fn graph(&self) -> &Graph;

    /// The original's.
    fn weights(&self) -> &Weights;

    fn groups(&self) -> &[PruneGroup];

    /// The mask that keeps every unit.
    fn keep_all(&self) -> Masks;

    /// The weights that make each unit of a group.
    fn parts(&self, group: usize) -> Vec<Vec<Part>>;

    /// The channels that each unit of a group makes, as `(layer, channel)` of layers with weights, those between
    /// producers and consumers included. A vector makes a part of its channels.
    fn channels(&self, group: usize) -> Vec<Vec<(usize, usize)>>;

    /// All parts that a layer divides into.
    fn parts_of_layer(&self, layer: usize) -> Vec<Part>;

    /// Removes a group's units one after another, each time the one that costs the layers' outputs least
    /// once the others have made up for it.
    fn eliminate(&self, statistics: &Statistics, group: usize) -> Elimination;

    /// New weights of the layers that differ when one group keeps the units of `kept` and all others stay
    /// whole; with `statistics` they are reconstructed.
    fn changes(
        &self,
        group: usize,
        kept: &BitSlice<u8>,
        statistics: Option<&Statistics>,
    ) -> Vec<(usize, LayerWeights)>;

    /// Removes units of all groups at once.
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    fn prune(&self, masks: &Masks, reconstruction: Option<Reconstruction>) -> Result<Pruned>;

    /// Multiply-accumulates that remain.
    fn macs(&self, keep: &[usize]) -> u64;

    /// Weights and operations that remain.
    fn figures(&self, keep: &[usize]) -> Figures;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granularities_are_read_as_they_are_written() {
        for granularity in
            [Granularity::Channel, Granularity::Vector { rows: 8 }, Granularity::Vector { rows: 1 }]
        {
            assert_eq!(granularity.to_string().parse(), Ok(granularity));
        }
        assert_eq!("vector".parse(), Ok(Granularity::Vector { rows: 8 }));
        for wrong in ["", "vector:0", "vector:65", "vector:x", "element", "channel:8"] {
            assert!(wrong.parse::<Granularity>().is_err(), "{wrong}");
        }
    }
}
