//! Distance to the other filters of the layer.

use super::{Criterion, Inputs, Scores, magnitude};
use crate::Granularity;
use rayon::prelude::*;

/// Sum of a filter's Euclidean distances to all filters of its layer: least near their geometric median, where others
/// can stand in for it. Source: He et al. 2019 (FPGM), arXiv:1811.00250, with batch norm folded in.
pub struct GeometricMedian;

impl Criterion for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric-median"
    }

    fn help(&self) -> &'static str {
        "Sum of distances to the other filters of the layer (FPGM)"
    }

    /// Distances are those between whole filters.
    fn ranks(&self, granularity: Granularity) -> bool {
        granularity == Granularity::Channel
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        magnitude::of_layers(inputs, group, |parts| {
            let filters: Vec<Vec<f64>> =
                parts.iter().map(|part| magnitude::values(inputs, part).collect()).collect();
            distances(&filters)
        })
    }
}

/// The sum of each filter's distances to all.
fn distances(filters: &[Vec<f64>]) -> Vec<f64> {
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    filters.par_iter().map(|a| filters.iter().map(|b| distance(a, b)).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_least_in_the_middle() {
        // Sides 3, 4 and 5 of a triangle.
        let triangle = [vec![0.0, 0.0], vec![3.0, 0.0], vec![0.0, 4.0]];
        assert_eq!(distances(&triangle), [7.0, 8.0, 9.0]);
        assert_eq!(distances(&[vec![2.0]]), [0.0]);
    }
}
