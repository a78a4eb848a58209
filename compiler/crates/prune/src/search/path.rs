//! Paths: prunings in the order of their expected joint loss.

use super::{Candidate, Problem, RankedUnits, Trials, uniform};
use crate::sensitivity::Analysis;
use crate::store::Store;
use secateur_base::Result;

/// No group is pruned beyond this loss of its own. It bounds the measurements alone: a group that loses a
/// fifth of the accuracy by itself is far beyond every budget.
pub(super) const MAX_GROUP_LOSS: f64 = 0.2;
/// The first candidate is expected to cost this multiple of the budget. Expectations add up groups that were
/// measured alone, and may be in another metric: with losses expected in dP, a budget of .01 mAP is used up
/// at 2.6 budgets on yolo-fastest-1.1 and at 5.3 on yolo-fastest-1.1-xl.
const OVERSHOOT: f64 = 6.0;

/// A point of a path: kept counts and the joint loss that is expected of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub keep: Vec<usize>,
    pub expected: f64,
}

/// Solves a problem along a path. The schedule rises with the expected loss, to that of the goal's rate, or
/// to well over its budget.
pub(super) fn follow(problem: &Problem, steps: &[Step], trials: &mut Trials) -> Result<Candidate> {
    let hardest = match (problem.goal.rate, problem.goal.budget) {
        (Some(rate), _) => step_of_rate(steps, problem.objective.units, rate),
        (None, Some(budget)) => within(steps, OVERSHOOT * budget.loss),
        (None, None) => 0,
    };
    problem.require_rate(&steps[steps.len() - 1].keep, &steps[hardest].keep)?;
    let expected = steps[hardest].expected;
    problem.solve(trials, |fraction| {
        let step = if fraction < 1.0 { within(steps, expected * fraction) } else { hardest };
        Ok(steps[step].keep.clone())
    })
}

/// The last step whose expected loss is at most `loss`.
fn within(steps: &[Step], loss: f64) -> usize {
    steps.iter().rposition(|step| step.expected <= loss).unwrap_or(0)
}

/// Kept counts under a rising common threshold, from no pruning on. Needs the losses of
/// [`Analysis::curves`].
pub fn threshold_path(analysis: &Analysis, store: &Store) -> Vec<Step> {
    let mut path = vec![Step { keep: uniform(analysis, 0.0), expected: 0.0 }];
    let mut points: Vec<(f64, usize, usize)> = Vec::new();
    for group in analysis.prunable() {
        for keep in analysis.levels(group) {
            if let Some(point) = store.get(group, keep).filter(|point| !point.at_least) {
                points.push((point.loss, group, keep));
            }
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (threshold, group, keep) in points {
        let mut next = path[path.len() - 1].clone();
        if keep < next.keep[group] {
            next.keep[group] = keep;
            next.expected = threshold;
            path.push(next);
        }
    }
    path
}

/// The first step of a path whose saving of MACs is nearest to `rate`. Kept counts fall along a path, so that the
/// saving grows.
pub fn step_of_rate(path: &[Step], units: &RankedUnits, rate: f64) -> usize {
    let all = units.macs(&path[0].keep) as f64;
    let saved = |step: &Step| 1.0 - units.macs(&step.keep) as f64 / all;
    let after = path.partition_point(|step| saved(step) < rate);
    let Some(before) = after.checked_sub(1) else { return 0 };
    let most = saved(&path[before]);
    if after < path.len() && saved(&path[after]) - rate < rate - most {
        return after;
    }
    path.partition_point(|step| saved(step) < most)
}
