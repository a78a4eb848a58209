//! The layers that the accelerator runs, and the tensors that it exchanges with the processor.

use std::ops::Range;

use crate::cpu::program::{ValueId, value};
use secateur_ir::Source;
use secateur_quant::net::{QNet, QOp};

/// Successive layers for the accelerator; the processor runs those before and after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub layers: Range<usize>,
    /// By layer: whether the accelerator computes it. A last softmax is the processor's.
    pub computed: Vec<bool>,
    /// Values that the processor writes before the accelerator starts.
    pub inputs: Vec<ValueId>,
    /// Values that it reads thereafter.
    pub outputs: Vec<ValueId>,
    /// Layers that the accelerator does not run, the first of each run of such layers: number and reason.
    pub refused: Vec<(usize, String)>,
}

impl Partition {
    /// All layers. `read` are values that heads are decoded from.
    pub fn whole(net: &QNet, read: &[ValueId]) -> Self {
        Self::of(net, 0..net.nodes.len(), read, Vec::new())
    }

    /// The layers `layers`; `refused` as in [`Partition::refused`].
    pub(crate) fn of(
        net: &QNet,
        layers: Range<usize>,
        read: &[ValueId],
        refused: Vec<(usize, String)>,
    ) -> Self {
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
        let mut outputs: Vec<ValueId> = read.to_vec();
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

    /// Returns the layers before `layer`, which the accelerator cannot run for the reason `why`; `None` if
    /// there are none.
    pub(crate) fn until(&self, net: &QNet, layer: usize, read: &[ValueId], why: &str) -> Option<Self> {
        let layers = self.layers.start..layer.min(self.layers.end.saturating_sub(1));
        let mut refused: Vec<(usize, String)> =
            self.refused.iter().filter(|(other, _)| !self.layers.contains(other)).cloned().collect();
        refused.push((layers.end, why.to_owned()));
        refused.sort();
        (!layers.is_empty()).then(|| Self::of(net, layers, read, refused))
    }

    /// Returns true if the accelerator computes every layer.
    pub fn is_whole(&self) -> bool {
        self.layers == (0..self.computed.len())
    }
}
