//! Chooses the layers that the accelerator runs.

use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{QNet, QOp};

use super::partition::Partition;
use super::{import, packed};
use crate::cost;
use crate::cpu::program::ValueId;
use crate::target::Accelerator;

/// Returns the run of consecutive layers that the accelerator supports with the most multiply-accumulates;
/// of equals, the longest.
///
/// # Errors
/// The refusal of the first unsupported layer, if no supported one has multiply-accumulates.
pub(crate) fn largest(net: &QNet, accelerator: &Accelerator, read: &[ValueId]) -> Result<Partition> {
    let mut refused: Vec<(usize, Error)> = Vec::new();
    let mut best = (0, 0..0);
    let mut start = 0;
    for layer in 0..=net.nodes.len() {
        let refusal = (layer < net.nodes.len()).then(|| runs(net, accelerator, layer).err());
        if let Some(None) = refusal {
            continue;
        }
        let macs = (start..layer).map(|layer| cost::macs(net, layer)).sum::<u64>();
        if (macs, layer - start) > (best.0, best.1.len()) {
            best = (macs, start..layer);
        }
        if let Some(Some(error)) = refusal {
            if layer == 0 || layer > start {
                refused.push((layer, error));
            }
            start = layer + 1;
        }
    }
    if best.0 == 0 && !refused.is_empty() {
        return Err(refused.swap_remove(0).1);
    }
    let refused = refused.into_iter().map(|(layer, error)| (layer, error.what().to_owned())).collect();
    Ok(Partition::of(net, best.1, read, refused))
}

/// Checks that the accelerator supports a layer whatever the others are.
fn runs(net: &QNet, accelerator: &Accelerator, layer: usize) -> Result<()> {
    let node = &net.nodes[layer];
    if let QOp::Softmax(_) = node.op {
        let passed_on = |reader: &QOp| matches!(reader, QOp::Identity);
        let readers = net.nodes.iter().filter(|other| other.inputs.contains(&Source::Layer(layer)));
        return match readers.map(|reader| &reader.op).all(passed_on) {
            true => Ok(()),
            false => {
                let error = Error::new("softmax may only be the last layer on an accelerator");
                Err(net.locate(layer, error))
            }
        };
    }
    let alone = Partition::of(net, layer..layer + 1, &[], Vec::new());
    let graph = import::import(net, &accelerator.parameters(), false, &alone)?;
    packed::check_weights(net, &graph, accelerator)
}
