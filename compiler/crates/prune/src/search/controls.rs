//! Controls: prunings without any choice, to the same budget, that a search has to beat.

use super::back_off::MAX_TRIALS;
use super::{Budget, Candidate, JointObjective, Trials, uniform};
use crate::criteria::{self, Criterion};
use crate::sensitivity::Analysis;
use secateur_base::Result;

/// A pruning at the same ratio everywhere.
pub struct Control {
    pub name: &'static str,
    pub criterion: &'static dyn Criterion,
    /// Consumers of removed units are reconstructed.
    pub reconstruction: bool,
}

/// The controls of a comparison: the simplest criterion and none at all.
pub static CONTROLS: [Control; 4] = [
    Control { name: "uniform L1", criterion: &criteria::L1, reconstruction: false },
    Control { name: "uniform L1, reconstructed", criterion: &criteria::L1, reconstruction: true },
    Control { name: "random", criterion: &criteria::Random, reconstruction: false },
    Control { name: "random, reconstructed", criterion: &criteria::Random, reconstruction: true },
];

/// The highest ratio of a control. Half of every group gone saves three quarters of the MACs, far beyond
/// every budget of these networks; a lower end makes the steps of the back-off finer.
const MAX_RATIO: f64 = 0.5;

impl Control {
    /// The hardest pruning of this control that holds the budget; `objective` has its units.
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    pub fn run(&self, objective: &JointObjective, analysis: &Analysis, budget: Budget) -> Result<Candidate> {
        let schedule = |fraction| Ok(uniform(analysis, MAX_RATIO * fraction));
        objective.back_off(budget, MAX_TRIALS, &mut Trials::default(), schedule, |_| {})
    }
}
