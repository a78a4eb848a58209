//! Share of zeros.

use super::{Criterion, Inputs, Scores};
use crate::{Granularity, PruneUnits};
use secateur_base::{Error, Result};
use secateur_ir::{Activation, Op};

/// Fraction of a channel's outputs on the analysed images that are zero, the channel with most zeros first; summed
/// over the layers whose channels the unit holds. Source: Hu et al. 2016 (Network Trimming), arXiv:1607.03250.
pub struct Apoz;

impl Criterion for Apoz {
    fn name(&self) -> &'static str {
        "apoz"
    }

    fn help(&self) -> &'static str {
        "Share of zeros among the outputs on the analysed images, most zeros first"
    }

    fn needs_activations(&self) -> bool {
        true
    }

    /// Outputs are those of whole channels.
    fn ranks(&self, granularity: Granularity) -> bool {
        granularity == Granularity::Channel
    }

    fn check(&self, units: &dyn PruneUnits, ignored: &[usize]) -> Result<()> {
        let graph = units.graph();
        for (group, details) in units.groups().iter().enumerate() {
            let channels = units.channels(group);
            let mut layers = channels.iter().flatten().map(|&(layer, _)| layer);
            if ignored.iter().any(|&layer| details.changes(layer))
                || layers.any(|layer| has_zeros(&graph.nodes[layer].op))
            {
                continue;
            }
            let layer = details.primary;
            return Err(Error::new("the criterion `apoz` counts zeros, and this group's outputs have none")
                .layer(layer)
                .found(format!("activation {}", activation(&graph.nodes[layer].op).name()))
                .allowed(ZEROS.map(Activation::name).join(", "))
                .help("take another criterion, such as mean-activation, or --ignore these layers"));
        }
        Ok(())
    }

    fn score(&self, inputs: &Inputs, group: usize) -> Scores {
        inputs.of_channels(group, |channel| inputs.activations().nonzero(channel))
    }
}

/// The activations that are zero on a whole interval.
const ZEROS: [Activation; 5] =
    [Activation::Relu, Activation::Relu6, Activation::HardMish, Activation::Stair, Activation::NormChan];

fn has_zeros(op: &Op) -> bool {
    ZEROS.contains(&activation(op))
}

fn activation(op: &Op) -> Activation {
    match op {
        Op::Conv(conv) | Op::Deconv(conv) => conv.activation,
        Op::Connected(connected) => connected.activation,
        Op::BatchNorm(activation) => *activation,
        _ => Activation::Linear,
    }
}
