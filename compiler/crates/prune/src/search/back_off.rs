//! Easing of a pruning until its joint loss holds the budget.

use super::{Budget, Candidate, JointObjective, Trial, Trials};
use secateur_base::Result;

/// Candidates that are measured: the hardest, then a bisection whose last step is 1/64 of the schedule. One
/// more would halve that step, at one more reconstruction of the whole network.
pub(super) const MAX_TRIALS: usize = 7;

impl JointObjective<'_> {
    /// The hardest pruning whose joint loss stays within `budget`, from `max_trials` candidates between no
    /// pruning (0) and `schedule(1)`. Losses are expected to grow with the argument; the result was measured
    /// in any case. Trials that are known are not measured again.
    ///
    /// # Errors
    /// All errors of the schedule, of pruning and of writing the trials.
    pub fn back_off(
        &self,
        budget: Budget,
        max_trials: usize,
        known: &mut Trials,
        mut schedule: impl FnMut(f64) -> Result<Vec<usize>>,
        on_trial: impl Fn(&Trial),
    ) -> Result<Candidate> {
        let mut best = schedule(0.0)?;
        let mut made: Option<Candidate> = None;
        let (mut good, mut bad) = (0.0, 1.0);
        let mut next = 1.0;
        for _ in 0..max_trials {
            let keep = schedule(next)?;
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
                on_trial(&Trial { keep: &keep, accuracy: &accuracy, holds });
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
