//! How many units each group keeps: from sensitivities to a plan whose joint loss is verified.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::sensitivity::{Analysis, RATES};
use super::store::Store;
use super::{Granularity, Looks, Pruned, keep_count};
use secateur_base::Result;
use secateur_eval::{Accuracy, Bench, Metric};
use secateur_ir::Weights;

/// How the ratios of the groups relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Allocation {
    /// Each group as far as its own loss stays within one threshold.
    Threshold,
    /// Where a MAC saved costs the least loss, step by step.
    Greedy,
    /// The same ratio everywhere: the control.
    Uniform,
}

/// The same ratio for every group that may be pruned.
pub fn uniform(analysis: &Analysis, rate: f64) -> Vec<usize> {
    let mut keep = analysis.whole();
    for group in analysis.prunable() {
        keep[group] = keep_count(keep[group], rate, analysis.kernel_batch);
    }
    keep
}

/// Expected joint loss, squared where losses add up in squares, as a function of a group's count.
struct Curve {
    /// `(kept units, expected loss)`: counts fall, losses rise; the first is the whole group at 0.
    points: Vec<(usize, f64)>,
    at: usize,
}

/// Steps of an allocation: kept counts and the joint loss that is expected of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub keep: Vec<usize>,
    pub expected: f64,
}

/// Finest steps of a curve, as a share of a group's units.
const FINEST_STEP: usize = 50;

/// The level at which a group's expected costs are tied to a measured loss.
fn anchor(analysis: &Analysis, group: usize) -> Option<usize> {
    analysis.levels(group).first().copied()
}

/// What [`greedy_path`] needs measured: where the ranking knows expected costs one level of every
/// group, else all nine up to losses of `limit`.
pub fn measure_for_greedy(
    analysis: &Analysis,
    store: &mut Store,
    limit: f64,
    save: Option<&Path>,
) -> Result<()> {
    if analysis.prunable().first().is_none_or(|&set| analysis.units.costs(set).is_none()) {
        return analysis.curves(store, Some(limit), save);
    }
    let wanted: Vec<(usize, usize, Option<f64>)> = analysis
        .prunable()
        .into_iter()
        .filter_map(|group| Some((group, anchor(analysis, group)?, None)))
        .collect();
    analysis.measure(store, &wanted, save)
}

/// Steps from nothing removed on, each the cheapest in expected loss for the MACs that it saves.
///
/// Groups' score shifts are nearly independent, so dP adds up in squares; the other metrics add up
/// as they are. Where the ranking knows what each unit costs its readers, a group's curve is these
/// costs, scaled to its one measured loss; else it is the measured losses themselves.
pub fn greedy_path(analysis: &Analysis, store: &Store) -> Vec<Step> {
    let squares = store.setting.metric == Metric::Dp;
    let expected = |loss: f64| if squares { loss * loss } else { loss.max(0.0) };
    let units = analysis.units;
    let prunable = analysis.prunable();
    let mut curves: Vec<Curve> = (0..units.sets().len())
        .map(|group| {
            let mut points = vec![(units.sets()[group].units, 0.0)];
            if prunable.contains(&group) {
                match units.costs(group) {
                    Some(costs) => points.extend(scaled(analysis, store, group, costs, &expected)),
                    None => points.extend(measured(analysis, store, group, &expected)),
                }
            }
            Curve { points, at: 0 }
        })
        .collect();

    let counts =
        |curves: &[Curve]| -> Vec<usize> { curves.iter().map(|curve| curve.points[curve.at].0).collect() };
    let mut path = vec![Step { keep: counts(&curves), expected: 0.0 }];
    loop {
        let keep = counts(&curves);
        let now = units.macs(&keep);
        let mut best: Option<(f64, usize, usize)> = None;
        for (group, curve) in curves.iter().enumerate().filter(|(_, curve)| curve.at + 1 < curve.points.len())
        {
            // MACs are linear in one group's count.
            let mut fewer = keep.clone();
            fewer[group] -= 1;
            let a_unit = now.saturating_sub(units.macs(&fewer)) as f64;
            let (here, spent) = curve.points[curve.at];
            for (level, &(keep, loss)) in curve.points.iter().enumerate().skip(curve.at + 1) {
                let price = (loss - spent) / (a_unit * (here - keep) as f64).max(1e-9);
                if a_unit > 0.0 && best.is_none_or(|(cheapest, ..)| price < cheapest) {
                    best = Some((price, group, level));
                }
            }
        }
        let Some((_, group, level)) = best else { return path };
        curves[group].at = level;
        let sum: f64 = curves.iter().map(|curve| curve.points[curve.at].1).sum();
        path.push(Step { keep: counts(&curves), expected: if squares { sum.sqrt() } else { sum } });
    }
}

/// A group's measured losses, made rising.
fn measured(
    analysis: &Analysis,
    store: &Store,
    group: usize,
    expected: &impl Fn(f64) -> f64,
) -> Vec<(usize, f64)> {
    let mut highest = 0.0f64;
    let known = analysis.levels(group).into_iter().map_while(|keep| {
        let point = store.get(group, keep).filter(|point| !point.at_least)?;
        highest = highest.max(expected(point.loss));
        Some((keep, highest))
    });
    known.collect()
}

/// A group's expected costs, scaled to the loss that was measured at its anchor.
fn scaled(
    analysis: &Analysis,
    store: &Store,
    group: usize,
    costs: &[f64],
    expected: &impl Fn(f64) -> f64,
) -> Vec<(usize, f64)> {
    let units = costs.len();
    let Some(at) = anchor(analysis, group) else { return Vec::new() };
    let Some(point) = store.get(group, at).filter(|point| !point.at_least) else { return Vec::new() };
    let scale = expected(point.loss) / costs[units - at - 1].max(1e-30);
    let batch = analysis.kernel_batch;
    let mut counts: Vec<usize> = (1..FINEST_STEP)
        .map(|step| keep_count(units, step as f64 / FINEST_STEP as f64, batch))
        .filter(|&keep| keep < units)
        .collect();
    counts.dedup();
    counts.into_iter().map(|keep| (keep, costs[units - keep - 1] * scale)).collect()
}

/// Kept counts under a rising common threshold, from nothing removed on. Needs the losses of
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

/// The step of a path whose saving of MACs is nearest to `rate`.
pub fn step_of_rate(path: &[Step], units: &dyn Granularity, rate: f64) -> usize {
    let all = units.macs(&path[0].keep) as f64;
    let miss: Vec<f64> =
        path.iter().map(|step| (1.0 - units.macs(&step.keep) as f64 / all - rate).abs()).collect();
    super::criteria::ascending(&miss)[0]
}

/// A pruned network and what it costs and keeps.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub keep: Vec<usize>,
    /// Masked (and repaired) weights in the original shapes.
    pub weights: Weights,
    pub macs: u64,
    pub accuracy: Accuracy,
}

/// How candidates are made and judged.
#[derive(Clone, Copy)]
pub struct Joint<'a> {
    pub units: &'a dyn Granularity,
    /// Held-out pictures.
    pub held_out: &'a Bench,
    pub seed: u64,
}

impl Joint<'_> {
    /// Prunes to `keep` units of every set, all at once, and measures on the held-out pictures.
    pub fn candidate(&self, keep: &[usize]) -> Result<Candidate> {
        let Pruned { weights, plan } = self.units.prune(keep)?;
        let accuracy = self.held_out.measure(&plan, self.seed);
        Ok(Candidate { keep: keep.to_vec(), weights, macs: self.units.macs(keep), accuracy })
    }

    /// The hardest pruning whose joint loss stays within `budget`, looking at `looks` candidates
    /// between no pruning (0) and `proposals(1)`. Losses are expected to grow with the argument;
    /// what is returned was measured, whatever they do. What `known` holds is not measured again.
    pub fn back_off(
        &self,
        budget: Budget,
        looks: usize,
        known: &mut Looks,
        mut proposals: impl FnMut(f64) -> Result<Vec<usize>>,
        mut report: impl FnMut(&[usize], &Accuracy, bool),
    ) -> Result<Candidate> {
        let mut best = proposals(0.0)?;
        let mut made: Option<Candidate> = None;
        let (mut good, mut bad) = (0.0, 1.0);
        let mut next = 1.0;
        for _ in 0..looks {
            let keep = proposals(next)?;
            if keep == best {
                good = next;
            } else {
                let (accuracy, candidate) = match known.get(&keep) {
                    Some(accuracy) => (accuracy, None),
                    None => {
                        let candidate = self.candidate(&keep)?;
                        known.insert(&keep, candidate.accuracy)?;
                        (candidate.accuracy, Some(candidate))
                    }
                };
                let holds = budget.holds(&accuracy);
                report(&keep, &accuracy, holds);
                if holds {
                    (good, best, made) = (next, keep, candidate);
                } else {
                    bad = next;
                }
            }
            if good >= 1.0 {
                break;
            }
            next = (good + bad) / 2.0;
        }
        made.map_or_else(|| self.candidate(&best), Ok)
    }
}

/// The joint loss that may be spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// In the metric's own terms: .01 of mAP is one point.
    pub loss: f64,
    /// The upper end of the loss's 95 % interval must stay within it, not the measured loss alone.
    pub by_bound: bool,
}

impl Budget {
    pub fn holds(&self, accuracy: &Accuracy) -> bool {
        let spent = if self.by_bound { accuracy.loss_interval.high } else { accuracy.loss };
        spent <= self.loss
    }
}

/// The ratio of a group for the log: the closed pruner prints the nominal one.
pub fn nominal_rate(units: usize, keep: usize, kernel_batch: usize) -> f64 {
    let nominal = RATES.iter().copied().find(|&rate| keep_count(units, rate, kernel_batch) == keep);
    nominal.unwrap_or(1.0 - keep as f64 / units as f64)
}
