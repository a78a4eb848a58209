//! Searches: how many units each group keeps, from sensitivities to a pruning whose joint loss is verified.
//!
//! A new search is a file with an implementation of [`Search`] and an entry in [`SEARCHES`]. Those here
//! choose a schedule, from no pruning to the hardest one, and leave the rest to [`Problem::solve`].

mod back_off;
mod controls;
mod global;
mod greedy;
mod path;
mod threshold;
mod trials;
mod uniform;

use std::fmt;
use std::path::Path;

use super::sensitivity::{Analysis, RATES};
use super::store::Store;
use super::{Pruned, RankedUnits, keep_count};
use secateur_base::{Error, Result};
use secateur_eval::{Accuracy, Evaluator};
use secateur_ir::Weights;

pub use controls::{CONTROLS, Control};
pub use global::{Global, global_path};
pub use greedy::{Greedy, greedy_path, measure_for_greedy};
pub use path::{Step, step_of_rate, threshold_path};
pub use threshold::Threshold;
pub use trials::Trials;
pub use uniform::{Uniform, uniform};

/// All searches, in the order of the help.
pub static SEARCHES: [&dyn Search; 4] = [&Threshold, &Greedy, &Global, &Uniform];

/// The search of a name on the command line.
pub fn by_name(name: &str) -> Option<&'static dyn Search> {
    SEARCHES.into_iter().find(|search| search.name() == name)
}

/// Chooses how many units each group keeps.
pub trait Search: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// One line for the help.
    fn help(&self) -> &'static str;

    /// Returns whether it measures what each group, pruned alone, costs.
    fn measures_groups(&self) -> bool {
        true
    }

    /// Finds the pruning that reaches the goal.
    ///
    /// # Errors
    /// A goal that this search does not know or cannot reach, and all errors of measuring.
    fn run(&self, problem: &Problem, records: &mut Records) -> Result<Candidate>;
}

impl fmt::Debug for dyn Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The extent of a pruning: by the loss of each group alone, by the MACs saved, by the joint loss.
#[derive(Debug, Clone, Default)]
pub struct Goal {
    /// The loss that each group, pruned alone, may have.
    pub thresholds: Option<Vec<f64>>,
    /// Fraction of the MACs to remove.
    pub rate: Option<f64>,
    pub budget: Option<Budget>,
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
    /// Returns whether a pruning stays within the budget. A loss that is not finite never does.
    pub fn holds(&self, accuracy: &Accuracy) -> bool {
        let spent = if self.by_bound { accuracy.loss_interval.high } else { accuracy.loss };
        !accuracy.is_broken() && spent <= self.loss
    }
}

/// A network to prune, and how far.
pub struct Problem<'a> {
    pub analysis: &'a Analysis<'a>,
    pub objective: JointObjective<'a>,
    pub goal: Goal,
    /// Called with every pruning that was held against the budget.
    pub on_trial: &'a dyn Fn(&Trial),
}

/// A pruning that was held against the budget.
pub struct Trial<'a> {
    pub keep: &'a [usize],
    pub accuracy: &'a Accuracy,
    pub holds: bool,
}

/// Measurements that are kept on disk.
pub struct Records<'a> {
    pub store: &'a mut Store,
    pub store_path: &'a Path,
    pub trials: &'a mut Trials,
}

/// A pruned network and its costs and accuracy.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub keep: Vec<usize>,
    /// Masked (and reconstructed) weights in the original shapes.
    pub weights: Weights,
    pub macs: u64,
    pub accuracy: Accuracy,
}

/// Makes candidates, all groups pruned at once, and judges them on held-out images.
#[derive(Clone, Copy)]
pub struct JointObjective<'a> {
    pub units: &'a RankedUnits<'a>,
    pub held_out: &'a Evaluator,
    pub seed: u64,
}

impl JointObjective<'_> {
    /// Prunes to `keep` units of every group and measures on the held-out images.
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    pub fn candidate(&self, keep: &[usize]) -> Result<Candidate> {
        let Pruned { weights, plan } = self.units.prune(keep)?;
        let accuracy = self.held_out.measure(&plan, self.seed);
        Ok(Candidate { keep: keep.to_vec(), weights, macs: self.units.macs(keep), accuracy })
    }
}

/// The fraction of the MACs that is removed where they shrink by a factor, which is written `3x`.
///
/// # Errors
/// What is allowed instead.
pub fn rate_of_factor(text: &str) -> std::result::Result<f64, String> {
    match text.strip_suffix('x').map(str::parse::<f64>) {
        Some(Ok(factor)) if factor >= 1.0 && factor.is_finite() => Ok(1.0 - 1.0 / factor),
        _ => Err("a factor of at least 1 and an x are needed, as in 3x or 2.5x".to_owned()),
    }
}

/// A rate is met where the MACs saved are this near to it, as the closed pruner has it.
const RATE_TOLERANCE: f64 = 0.01;

impl Problem<'_> {
    /// The pruning that reaches the goal on a schedule from no pruning (0) to the hardest one (1): the
    /// hardest that holds the budget or, without one, the hardest.
    ///
    /// # Errors
    /// No evidence behind the budget, a pruned network whose outputs are not finite, and all errors of the
    /// schedule.
    fn solve(
        &self,
        trials: &mut Trials,
        mut schedule: impl FnMut(f64) -> Result<Vec<usize>>,
    ) -> Result<Candidate> {
        if let Some(budget) = self.goal.budget {
            self.objective.held_out.require_evidence()?;
            return self.objective.back_off(budget, back_off::MAX_TRIALS, trials, schedule, self.on_trial);
        }
        let found = self.objective.candidate(&schedule(1.0)?)?;
        if found.accuracy.is_broken() {
            return Err(Error::new("the outputs of the pruned network are not finite numbers")
                .help("prune less, leave out layers with --ignore, or give a --budget"));
        }
        Ok(found)
    }

    /// Fails where `hardest` saves less than the goal's rate, and warns where `chosen` misses it.
    fn require_rate(&self, hardest: &[usize], chosen: &[usize]) -> Result<()> {
        let Some(rate) = self.goal.rate else { return Ok(()) };
        let units = self.objective.units;
        let all = units.macs(&self.analysis.whole()).max(1) as f64;
        let saved = |keep: &[usize]| 1.0 - units.macs(keep) as f64 / all;
        let (most, reached) = (saved(hardest), saved(chosen));
        if most < rate - RATE_TOLERANCE {
            return Err(Error::new("the rate cannot be reached")
                .found(format!("--rate {rate}: at most {:.1}% of the MACs can be removed", 100.0 * most))
                .help("lower --rate or --kernel-batch, or let more layers be pruned (--ignore)"));
        }
        if (reached - rate).abs() > RATE_TOLERANCE {
            tracing::warn!("--rate {rate}: {:.1}% of the MACs are removed", 100.0 * reached);
        }
        Ok(())
    }
}

/// The ratio of a group for the log: the closed pruner prints the nominal one.
pub fn nominal_rate(units: usize, keep: usize, kernel_batch: usize) -> f64 {
    let nominal = RATES.iter().copied().find(|&rate| keep_count(units, rate, kernel_batch) == keep);
    nominal.unwrap_or(1.0 - keep as f64 / units as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_searches() {
        for search in SEARCHES {
            assert_eq!(by_name(search.name()).map(Search::name), Some(search.name()));
            assert!(!search.help().is_empty());
        }
        assert!(by_name("annealing").is_none());
    }

    #[test]
    fn a_broken_network_holds_no_budget() {
        for by_bound in [false, true] {
            assert!(!Budget { loss: f64::MAX, by_bound }.holds(&Accuracy::broken()));
            assert!(!Budget { loss: f64::INFINITY, by_bound }.holds(&Accuracy::broken()));
        }
    }
}
