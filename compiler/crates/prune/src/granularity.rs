//! What goes in one piece: whole channels, or the vectors of weights that the accelerator skips.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Figures;
use secateur_base::Result;
use secateur_float::Plan;
use secateur_ir::{Graph, LayerWeights, Weights};

/// The name of a granularity: `channel`, or `vector:ROWS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Grain {
    /// Channels with everything that makes and reads them; the network gets smaller.
    #[default]
    Channel,
    /// One input channel × `rows` output channels of a dense layer; the weights become sparse.
    Vector {
        /// Output channels of a vector: the accelerator's rows.
        rows: usize,
    },
}

/// Most rows of a vector.
const MAX_ROWS: usize = 64;

impl FromStr for Grain {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rows = |rows: &str| rows.parse().ok().filter(|rows| (1..=MAX_ROWS).contains(rows));
        match text.split_once(':') {
            None if text == "channel" => Ok(Self::Channel),
            None if text == "vector" => Ok(Self::Vector { rows: 8 }),
            Some(("vector", count)) if rows(count).is_some() => {
                Ok(Self::Vector { rows: rows(count).unwrap_or(1) })
            }
            _ => Err(format!("`channel`, or `vector:ROWS` with 1 to {MAX_ROWS} rows")),
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel => write!(f, "channel"),
            Self::Vector { rows } => write!(f, "vector:{rows}"),
        }
    }
}

impl From<Grain> for String {
    fn from(grain: Grain) -> Self {
        grain.to_string()
    }
}

impl TryFrom<String> for Grain {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

/// Units that go in one order, under one ratio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSet {
    /// The layer that gives the set its name.
    pub main: usize,
    /// Layers that are tied to it.
    pub slaves: Vec<usize>,
    /// Layers with weights of their own between these and their readers.
    pub related: Vec<usize>,
    pub units: usize,
}

impl UnitSet {
    /// Whether the set touches the weights of `layer` (a user may ask to leave it alone).
    pub fn changes(&self, layer: usize) -> bool {
        self.main == layer || self.slaves.contains(&layer) || self.related.contains(&layer)
    }
}

/// A pruned network.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// In the original shapes, masked and repaired.
    pub weights: Weights,
    /// The network as it would be deployed.
    pub plan: Plan,
}

/// A network and the units that may be taken out of it. Kept counts stand for the units that the
/// criterion's order leaves; `keep[set]` is one count a set.
pub trait Granularity: Sync {
    fn graph(&self) -> &Graph;

    /// The original's.
    fn weights(&self) -> &Weights;

    fn sets(&self) -> &[UnitSet];

    /// Expected squared error after the first, the second, … unit of a set's order is gone; `None`
    /// where the criterion knows none.
    fn costs(&self, set: usize) -> Option<&[f64]>;

    /// New weights of the layers that differ when one set keeps `keep` units and all others stay
    /// whole.
    fn changes(&self, set: usize, keep: usize) -> Vec<(usize, LayerWeights)>;

    /// Removes units of all sets at once.
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    fn prune(&self, keep: &[usize]) -> Result<Pruned>;

    /// Multiply-accumulates that are left.
    fn macs(&self, keep: &[usize]) -> u64;

    /// Weights and operations that are left.
    fn figures(&self, keep: &[usize]) -> Figures;

    /// Writes which units stay.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn save_masks(&self, keep: &[usize], path: &Path) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grains_are_read_as_they_are_written() {
        for grain in [Grain::Channel, Grain::Vector { rows: 8 }, Grain::Vector { rows: 1 }] {
            assert_eq!(grain.to_string().parse(), Ok(grain));
        }
        assert_eq!("vector".parse(), Ok(Grain::Vector { rows: 8 }));
        for wrong in ["", "vector:0", "vector:65", "vector:x", "element", "channel:8"] {
            assert!(wrong.parse::<Grain>().is_err(), "{wrong}");
        }
    }
}
