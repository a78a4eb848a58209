//! Euclidean norm of the weights.

use super::{Criterion, Inputs, Scores, magnitude};

/// Euclidean norm of the weights of a unit.
pub struct L2;

impl Criterion for L2 {
    fn name(&self) -> &'static str {
        "l2"
    }

    fn help(&self) -> &'static str {
        "Euclidean norm of the weights, batch norm folded in"
    }

    fn compares_groups(&self) -> bool {
        true
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        magnitude::score(inputs, group, |_, weights| weights.map(|w| w * w).sum::<f64>().sqrt())
    }
}
