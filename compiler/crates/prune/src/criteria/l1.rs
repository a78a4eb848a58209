//! Sum of absolute weights.

use super::{Criterion, Inputs, Scores, magnitude};

/// Sum of the absolute weights of a unit. Source: Li et al. 2016, arXiv:1608.08710.
pub struct L1;

impl Criterion for L1 {
    fn name(&self) -> &'static str {
        "l1"
    }

    fn help(&self) -> &'static str {
        "Sum of absolute weights, batch norm folded in"
    }

    fn compares_groups(&self) -> bool {
        true
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        magnitude::score(inputs, group, |_, weights| weights.map(f64::abs).sum())
    }
}
