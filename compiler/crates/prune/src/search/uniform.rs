//! The same ratio for every group: the control.

use super::{Candidate, Problem, Records, Search};
use crate::keep_count;
use crate::sensitivity::{Analysis, RATES};
use secateur_base::{Error, Result};

/// The same ratio everywhere: the goal's rate is the fraction of each group's units, whatever their MACs.
pub struct Uniform;

impl Search for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn help(&self) -> &'static str {
        "The same ratio everywhere, that of --rate: the control"
    }

    fn measures_groups(&self) -> bool {
        false
    }

    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate> {
        let (analysis, goal) = (problem.analysis, &problem.goal);
        if goal.rate.is_none() && goal.budget.is_none() {
            return Err(Error::new("a common ratio does not follow from thresholds")
                .allowed("--rate or --budget with --allocation uniform"));
        }
        let most = goal.rate.unwrap_or(RATES[RATES.len() - 1]);
        problem.require_rate(&uniform(analysis, 1.0), &uniform(analysis, most))?;
        problem.solve(records.trials, |fraction| Ok(uniform(analysis, most * fraction)))
    }
}

/// The same ratio for every group that may be pruned.
pub fn uniform(analysis: &Analysis, ratio: f64) -> Vec<usize> {
    let mut keep = analysis.whole();
    for group in analysis.prunable() {
        keep[group] = keep_count(keep[group], ratio, analysis.kernel_batch);
    }
    keep
}
