//! The least score of all groups first.

use super::path::{Step, step_of_rate};
use super::{Candidate, Problem, Records, Search};
use crate::criteria::CRITERIA;
use crate::sensitivity::Analysis;
use secateur_base::{Error, Result};

/// A group is cut to less than this fraction of its units only when every other one has come so far: what a few
/// channels must carry is a bottleneck that no training heals.
const NARROW: f64 = 0.3;

/// Removes the units of the least scores, whatever their group and their MACs. Nothing is measured until the goal is
/// reached. Source: Molchanov et al. 2017, arXiv:1611.06440.
pub struct Global;

impl Search for Global {
    fn name(&self) -> &'static str {
        "global"
    }

    fn help(&self) -> &'static str {
        "The least score of all groups first, to --rate, --macs or --budget"
    }

    fn measures_groups(&self) -> bool {
        false
    }

    /// A goal of a budget alone starts from everything that may be removed.
    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate> {
        let goal = &problem.goal;
        if goal.rate.is_none() && goal.budget.is_none() {
            return Err(Error::new("scores alone do not say how much to prune")
                .allowed("--rate, --macs or --budget with --allocation global"));
        }
        let (units, steps) = (problem.objective.units, global_path(problem.analysis)?);
        let (whole, least) = (&steps[0].keep, &steps[steps.len() - 1].keep);
        let all = units.macs(whole).max(1) as f64;
        let most = goal.rate.unwrap_or(1.0 - units.macs(least) as f64 / all);
        let keep = |fraction: f64| steps[step_of_rate(&steps, units, most * fraction)].keep.clone();
        problem.require_rate(least, &keep(1.0))?;
        problem.solve(records.trials, |fraction| Ok(keep(fraction)))
    }
}

/// Steps from nothing removed on, each the lanes of a group whose mean score is the least; groups that are narrow
/// already come last. What is expected of a step is the sum of the removed scores.
///
/// # Errors
/// A criterion whose scores do not compare between groups.
pub fn global_path(analysis: &Analysis) -> Result<Vec<Step>> {
    let mut blocks: Vec<(bool, f64, usize, usize)> = Vec::new();
    for group in analysis.prunable() {
        let scores = analysis.units.scores(group).ok_or_else(|| {
            let known = CRITERIA.into_iter().filter(|criterion| criterion.compares_groups());
            let known: Vec<&str> = known.map(|criterion| criterion.name()).collect();
            Error::new("the scores of this criterion do not compare between groups")
                .allowed(format!("with --allocation global, --criterion {}", known.join(", ")))
        })?;
        let (units, mut gone, mut before) = (scores.len(), 0, f64::MIN);
        let keeps = (1..units).rev().filter(|keep| keep % analysis.kernel_batch == 0);
        for keep in keeps {
            let block = &scores[gone..units - keep];
            // Means of equal scores may differ by their rounding, which must not change the order within a group.
            before = before.max(block.iter().sum::<f64>() / block.len() as f64);
            let narrow = (keep as f64) < NARROW * units as f64;
            blocks.push((narrow, before, group, block.len()));
            gone = units - keep;
        }
    }
    // The order within a group stays, since the sort is stable.
    blocks.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut path = vec![Step { keep: analysis.whole(), expected: 0.0 }];
    for (_, score, group, units) in blocks {
        let mut next = path[path.len() - 1].clone();
        next.keep[group] -= units;
        next.expected += score * units as f64;
        path.push(next);
    }
    Ok(path)
}
