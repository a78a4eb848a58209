//! Error that remains after reconstruction.

use super::{Criterion, Inputs, Scores};

/// Squared error that the consumers of a unit are left with on the analysed images once the remaining units
/// have made up for it by least squares. Source: Hassibi and Stork 1993 (Optimal Brain Surgeon), with a
/// unit in place of a weight.
pub struct Reconstruction;

impl Criterion for Reconstruction {
    fn name(&self) -> &'static str {
        "reconstruction"
    }

    fn help(&self) -> &'static str {
        "Error of the consumers, on the analysed images, after the best least-squares reconstruction"
    }

    fn needs_statistics(&self) -> bool {
        true
    }

    /// The turn of each unit: what one costs depends on those removed before it.
    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        let statistics = inputs.evidence.statistics.expect("a criterion that needs statistics gets them");
        let elimination = inputs.units.eliminate(statistics, group);
        let mut turns = vec![0.0; elimination.order.len()];
        elimination.order.iter().enumerate().for_each(|(turn, &unit)| turns[unit] = turn as f64);
        Scores { units: turns, costs: Some(elimination.costs) }
    }
}
