//! Which layers the accelerator runs, and what goes to and from the processor.

use std::ops::Range;

use super::import;
use super::packed;
use crate::lower::cost;
use crate::lower::program::{Value, value};
use crate::target::Accelerator;
use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{QNet, QOp};

/// Successive layers for the accelerator; the processor runs those before and after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub layers: Range<usize>,
    /// By layer: whether the accelerator computes it. A last softmax is the processor's.
    pub computed: Vec<bool>,
    /// Values that the processor writes before the accelerator starts.
    pub inputs: Vec<Value>,
    /// Values that it reads thereafter.
    pub outputs: Vec<Value>,
    /// What the accelerator cannot run, the first layer of each row of such layers: its number and why.
    pub refused: Vec<(usize, String)>,
}

impl Share {
    /// All layers. `read` are values that heads are decoded from.
    pub fn whole(net: &QNet, read: &[Value]) -> Self {
        Self::of(net, 0..net.nodes.len(), read, Vec::new())
    }

    /// Of the rows of layers that the accelerator can run, the one with the most multiply-accumulates.
    ///
    /// # Errors
    /// What is wrong with the first layer that it cannot run, where none has any.
    pub fn largest(net: &QNet, accelerator: &Accelerator, read: &[Value]) -> Result<Self> {
        let mut refused: Vec<(usize, Error)> = Vec::new();
        let mut best = (0, 0..0);
        let mut start = 0;
        for layer in 0..=net.nodes.len() {
            let refusal = (layer < net.nodes.len()).then(|| runs(net, accelerator, layer).err());
            if let Some(None) = refusal {
                continue;
            }
            let macs = (start..layer).map(|layer| cost::macs(net, layer)).sum::<u64>();
            if macs > best.0 {
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
        Ok(Self::of(net, best.1, read, refused))
    }

    fn of(net: &QNet, layers: Range<usize>, read: &[Value], refused: Vec<(usize, String)>) -> Self {
        let count = net.nodes.len();
        let mut computed = vec![false; count];
        for layer in layers.clone() {
            computed[layer] = match (&net.nodes[layer].op, net.nodes[layer].inputs[0]) {
                (QOp::Softmax(_), _) => false,
                // Passes on what only the processor has.
                (QOp::Identity, Source::Layer(from)) if layers.contains(&from) => computed[from],
                _ => true,
            };
        }
        let mut inputs = Vec::new();
        let mut outputs: Vec<Value> = read.to_vec();
        for (layer, node) in net.nodes.iter().enumerate() {
            let read = node.inputs.iter().map(|&input| value(input));
            match computed[layer] {
                true => inputs.extend(read.filter(|&v| v <= layers.start)),
                false => outputs.extend(read),
            }
        }
        outputs.retain(|&v| v > 0 && computed[v - 1]);
        for values in [&mut inputs, &mut outputs] {
            values.sort_unstable();
            values.dedup();
        }
        Self { layers, computed, inputs, outputs, refused }
    }

    /// Whether the processor computes anything before the heads.
    pub fn is_whole(&self) -> bool {
        self.layers == (0..self.computed.len())
    }
}

/// Whether the accelerator runs a layer whatever the others are.
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
    let alone = Share::of(net, layer..layer + 1, &[], Vec::new());
    let graph = import::import(net, &accelerator.parameters(), false, &alone)?;
    packed::check_weights(net, &graph, accelerator)
}
