//! One loss for every group alone.

use super::path::{self, MAX_GROUP_LOSS, threshold_path};
use super::{Candidate, Problem, Records, Search, uniform};
use secateur_base::{Error, Result};

/// Each group as far as its own loss stays within its threshold; for a rate, within a common one that rises
/// until the rate is met.
pub struct Threshold;

impl Search for Threshold {
    fn name(&self) -> &'static str {
        "threshold"
    }

    fn help(&self) -> &'static str {
        "Each group as far as its own loss stays within one threshold"
    }

    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate> {
        let analysis = problem.analysis;
        let (store, save) = (&mut *records.store, Some(records.store_path));
        if problem.goal.rate.is_some() {
            analysis.curves(store, Some(MAX_GROUP_LOSS), save)?;
            return path::follow(problem, &threshold_path(analysis, store), records.trials);
        }
        let Some(thresholds) = &problem.goal.thresholds else {
            return Err(Error::new("no threshold given").help("add --threshold, --rate or --budget"));
        };
        problem.solve(records.trials, |fraction| {
            let eased: Vec<f64> = thresholds.iter().map(|threshold| threshold * fraction).collect();
            match fraction {
                0.0 => Ok(uniform(analysis, 0.0)),
                _ => analysis.choose(store, &eased, save),
            }
        })
    }
}
