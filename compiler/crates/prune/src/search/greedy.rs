//! The cheapest step first.

use std::path::Path;

use super::path::{self, MAX_GROUP_LOSS, Step};
use super::{Candidate, Problem, Records, Search};
use crate::keep_count;
use crate::sensitivity::Analysis;
use crate::store::{Sensitivity, Store};
use secateur_base::Result;
use secateur_eval::{BROKEN_LOSS, Metric};

/// Step by step where a MAC saved costs the least loss.
pub struct Greedy;

impl Search for Greedy {
    fn name(&self) -> &'static str {
        "greedy"
    }

    fn help(&self) -> &'static str {
        "Where a MAC saved costs the least loss, step by step"
    }

    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate> {
        let store = &mut *records.store;
        measure_for_greedy(problem.analysis, store, MAX_GROUP_LOSS, Some(records.store_path))?;
        path::follow(problem, &greedy_path(problem.analysis, store), records.trials)
    }
}

/// Expected joint loss, squared where losses add up in squares, as a function of a group's count.
struct Curve {
    /// `(kept units, expected loss)`: counts fall, losses rise; the first is the whole group at 0.
    points: Vec<(usize, f64)>,
    at: usize,
}

/// Steps of a curve at most, so that one is at least 2 % of a group's units.
const MAX_STEPS: usize = 50;

/// The reference level of a group: expected costs are scaled to the loss that is measured there.
fn reference_level(analysis: &Analysis, group: usize) -> Option<usize> {
    analysis.levels(group).first().copied()
}

/// Measures the losses that [`greedy_path`] needs: where the ranking knows expected costs one level of every
/// group, else all nine up to losses of `limit`.
///
/// # Errors
/// No evidence behind the metric, or a file that cannot be written.
pub fn measure_for_greedy(
    analysis: &Analysis,
    store: &mut Store,
    limit: f64,
    save: Option<&Path>,
) -> Result<()> {
    if analysis.prunable().first().is_none_or(|&group| analysis.units.costs(group).is_none()) {
        return analysis.curves(store, Some(limit), save);
    }
    let wanted: Vec<(usize, usize, Option<f64>)> = analysis
        .prunable()
        .into_iter()
        .filter_map(|group| Some((group, reference_level(analysis, group)?, None)))
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
    let mut curves: Vec<Curve> = (0..units.groups().len())
        .map(|group| {
            let mut points = vec![(units.groups()[group].units, 0.0)];
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

/// A loss that was measured to its end, of a network whose outputs are finite.
fn usable(point: &Sensitivity) -> bool {
    !point.at_least && point.loss < BROKEN_LOSS
}

/// A group's measured losses, made monotone (running maximum).
fn measured(
    analysis: &Analysis,
    store: &Store,
    group: usize,
    expected: &impl Fn(f64) -> f64,
) -> Vec<(usize, f64)> {
    let mut highest = 0.0f64;
    let known = analysis.levels(group).into_iter().map_while(|keep| {
        let point = store.get(group, keep).filter(usable)?;
        highest = highest.max(expected(point.loss));
        Some((keep, highest))
    });
    known.collect()
}

/// A group's expected costs, scaled to the loss that was measured at its reference level.
fn scaled(
    analysis: &Analysis,
    store: &Store,
    group: usize,
    costs: &[f64],
    expected: &impl Fn(f64) -> f64,
) -> Vec<(usize, f64)> {
    let units = costs.len();
    let Some(at) = reference_level(analysis, group) else { return Vec::new() };
    let Some(point) = store.get(group, at).filter(usable) else { return Vec::new() };
    let scale = expected(point.loss) / costs[units - at - 1].max(1e-30);
    let batch = analysis.kernel_batch;
    let mut counts: Vec<usize> = (1..MAX_STEPS)
        .map(|step| keep_count(units, step as f64 / MAX_STEPS as f64, batch))
        .filter(|&keep| keep < units)
        .collect();
    counts.dedup();
    counts.into_iter().map(|keep| (keep, costs[units - keep - 1] * scale)).collect()
}
