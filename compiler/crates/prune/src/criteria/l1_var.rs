//! Sum of absolute weights and variance of the 2-D slices.

use super::{Criterion, Inputs, Scores, magnitude};
use secateur_ir::Columns;

/// Sum of the absolute weights of a unit, plus the variance among its 2-D slices (the weights between one output and
/// one input channel), each divided by its mean over the layer: least where both are low. Source: Pietron and Wielgosz
/// 2020, arXiv:2002.07051, structural pruning; it names both properties, their equal weight is ours.
pub struct L1Var;

impl Criterion for L1Var {
    fn name(&self) -> &'static str {
        "l1-var"
    }

    fn help(&self) -> &'static str {
        "Sum of absolute weights plus variance among the 2-D slices, each relative to its layer"
    }

    fn compares_groups(&self) -> bool {
        true
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        let sums = magnitude::score(inputs, group, |_, weights| weights.map(f64::abs).sum());
        let variances = magnitude::score(inputs, group, |part, weights| {
            let window = Columns::of(inputs.units.graph(), part.layer).window;
            variance(&weights.collect::<Vec<_>>(), window)
        });
        Scores::of(sums.units.iter().zip(&variances.units).map(|(sum, variance)| sum + variance).collect())
    }
}

/// Mean squared distance of the slices `[slice][window]` from their mean slice.
fn variance(slices: &[f64], window: usize) -> f64 {
    let count = (slices.len() / window) as f64;
    let of_tap = |tap: usize| {
        let values = || slices.iter().skip(tap).step_by(window);
        let mean = values().sum::<f64>() / count;
        values().map(|value| (value - mean).powi(2)).sum::<f64>() / count
    };
    (0..window).map(of_tap).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variance_is_the_mean_squared_distance_from_the_mean_slice() {
        // Slices (1, 0), (3, 4): mean (2, 2), squared distances 1 + 4 each.
        assert_eq!(variance(&[1.0, 0.0, 3.0, 4.0], 2), 5.0);
        assert_eq!(variance(&[1.0, 5.0, 1.0, 5.0], 2), 0.0, "alike slices that are not flat");
        assert_eq!(variance(&[7.0, -7.0], 2), 0.0, "one slice");
    }
}
