//! The same ratio for every group: the control.

use super::{Candidate, Problem, Records, Search};
use crate::keep_count;
use crate::sensitivity::{Analysis, RATES};
use secateur_base::Result;

/// The same ratio everywhere.
pub struct Uniform;

/// Halvings of the interval in which the ratio of a rate is searched: to .1 %.
const BISECTIONS: usize = 10;

impl Search for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn help(&self) -> &'static str {
        "The same ratio everywhere: the control"
    }

    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate> {
        let analysis = problem.analysis;
        let most = match problem.goal.rate {
            Some(rate) => ratio_of_rate(analysis, rate),
            None => RATES[RATES.len() - 1],
        };
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

/// The ratio whose saving of MACs is nearest to `rate`.
fn ratio_of_rate(analysis: &Analysis, rate: f64) -> f64 {
    let all = analysis.units.macs(&analysis.whole()).max(1) as f64;
    let saved = |ratio: f64| 1.0 - analysis.units.macs(&uniform(analysis, ratio)) as f64 / all;
    let (mut below, mut above) = (0.0, 1.0);
    for _ in 0..BISECTIONS {
        let middle = (below + above) / 2.0;
        if saved(middle) < rate { below = middle } else { above = middle }
    }
    if rate - saved(below) < saved(above) - rate { below } else { above }
}
