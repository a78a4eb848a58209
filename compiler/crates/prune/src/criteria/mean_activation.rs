//! Mean output.

use super::{Criterion, Inputs, Scores};
use crate::Granularity;

/// Mean absolute output of a channel on the analysed images, divided by the mean over its layer and summed over the
/// layers whose channels the unit holds. Source: Molchanov et al. 2017, arXiv:1611.06440, where outputs are those of a
/// ReLU and thus their own absolute values.
pub struct MeanActivation;

impl Criterion for MeanActivation {
    fn name(&self) -> &'static str {
        "mean-activation"
    }

    fn help(&self) -> &'static str {
        "Mean absolute output on the analysed images"
    }

    fn needs_activations(&self) -> bool {
        true
    }

    /// Outputs are those of whole channels.
    fn ranks(&self, granularity: Granularity) -> bool {
        granularity == Granularity::Channel
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        inputs.of_channels(group, |channel| inputs.activations().relative_mean(channel))
    }
}
