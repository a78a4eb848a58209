//! Sums and products of two maps: fused into the convolution before them, or passes of their own.

use std::ops::Range;

use secateur_runtime::npu::isa::{ResidualMode, ResidualSpread};

use super::Import;
use crate::lower::npu::op::{Op, Residual, Sum, View, channel};
use crate::lower::npu::weights::Raw;
use crate::lower::program::value;
use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{Finish, QNet, QOp, QShortcut, Requant};

/// By layer: the shortcut whose sum a convolution may take over. Only the shortcut reads the
/// convolution, and its other operand is there before the convolution runs. Both are among `layers`.
pub(super) fn fusions(net: &QNet, layers: &Range<usize>) -> Vec<Option<usize>> {
    let mut readers = vec![0usize; net.nodes.len()];
    for node in &net.nodes {
        for &input in &node.inputs {
            if let Source::Layer(from) = input {
                readers[from] += 1;
            }
        }
    }
    let heads = net.heads();
    let mut fused = vec![None; net.nodes.len()];
    for layer in layers.clone() {
        let node = &net.nodes[layer];
        let QOp::Shortcut(shortcut) = &node.op else { continue };
        let same_shape = node.inputs.iter().all(|&input| net.tensor(input).shape == node.output.shape);
        if node.inputs.len() != 2 || !same_shape || sum_constants(shortcut).is_err() {
            continue;
        }
        // Follows what passes bytes on unchanged, as long as nobody else reads them.
        let producer = |mut source: Source| -> (Source, bool) {
            let mut alone = true;
            loop {
                match source {
                    Source::Layer(from) => {
                        alone &= readers[from] == 1 && !heads.contains(&from);
                        match &net.nodes[from].op {
                            QOp::Identity => source = net.nodes[from].inputs[0],
                            _ => return (source, alone),
                        }
                    }
                    Source::Image => return (source, false),
                }
            }
        };
        let operands = [producer(node.inputs[0]), producer(node.inputs[1])];
        let latest = usize::from(value(operands[1].0) > value(operands[0].0));
        if let (Source::Layer(conv), true) = operands[latest]
            && let QOp::Conv(fused_conv) = &net.nodes[conv].op
            && layers.contains(&conv)
            // The second map is read along the flat string of pixels.
            && fused_conv.stride_x == 1
            && net.tensor(net.nodes[conv].inputs[0]).shape.w == node.output.shape.w
            && operands[0].0 != operands[1].0
        {
            fused[conv] = Some(layer);
        }
    }
    fused
}

/// Checks that the requantiser can add as this shortcut does; returns the clamp.
fn sum_constants(shortcut: &QShortcut) -> Result<(i8, i8)> {
    let Requant { m_pos, m_neg, .. } = shortcut.requant;
    let finish = &shortcut.finish;
    if shortcut.per_channel {
        return Err(Error::new("the accelerator adds with one multiplier a map")
            .found("weights_type=per_channel")
            .allowed("no weights_type, or per_feature"));
    }
    if finish.table.is_some() || m_pos != 1 || !(m_neg == 1 || m_neg == 0) {
        return Err(Error::new("the accelerator has no such activation after a sum")
            .allowed("activation=linear or relu"));
    }
    // ReLU keeps negative sums at the zero point; rounded, none of them exceeds it.
    let lo = if m_neg == 0 { finish.lo.max(finish.zero_point.min(finish.hi)) } else { finish.lo };
    Ok((lo, finish.hi))
}

impl Import<'_> {
    /// What the requantiser of convolution `layer` adds for `shortcut`.
    pub(super) fn fused_sum(&self, layer: usize, shortcut: usize) -> Result<Residual> {
        let node = &self.net.nodes[shortcut];
        let QOp::Shortcut(constants) = &node.op else {
            return Err(Error::new("compiler mistake: only shortcuts are fused"));
        };
        // Which operand is the convolution, seen through what passes bytes on?
        let own = usize::from(self.producer(node.inputs[0]) != Source::Layer(layer));
        let other = self.producer(node.inputs[1 - own]);
        let (lo, hi) = sum_constants(constants)?;
        Ok(Residual {
            mode: ResidualMode::Add,
            spread: ResidualSpread::Map,
            view: self.view(other)?,
            zero_point: self.zero_point(other),
            sum: Sum {
                z_main: self.zero_point(node.inputs[own]),
                m_main: constants.multipliers[own],
                m_res: constants.multipliers[1 - own],
                shift: constants.requant.shift,
                z_add: constants.finish.zero_point,
                lo,
                hi,
            },
        })
    }

    pub(super) fn shortcut(&mut self, layer: usize, shortcut: &QShortcut) -> Result<()> {
        if self.views[layer + 1].is_some() {
            return Ok(());
        }
        let node = &self.net.nodes[layer];
        let (lo, hi) = sum_constants(shortcut)?;
        if node.inputs.len() > 2 {
            return Err(Error::new("the accelerator adds two maps at once")
                .found(format!("{} inputs", node.inputs.len()))
                .help("write it as several shortcuts"));
        }
        let output = self.output(layer);
        let inputs: Vec<View> = node.inputs.iter().map(|&input| self.view(input)).collect::<Result<_>>()?;
        let channels = |n: usize| inputs.get(n).map_or(0, |view| view.channels.min(output.channels));
        let alone = |op: &mut Op, n: usize| {
            let requant = Requant {
                m_pos: shortcut.multipliers[n],
                m_neg: shortcut.multipliers[n],
                shift: shortcut.requant.shift,
            };
            let bias = -i32::from(self.net.tensor(node.inputs[n]).zero_point);
            op.channels = vec![channel(bias, requant); op.output.channels];
            (op.z_out, op.lo, op.hi) = (shortcut.finish.zero_point, lo, hi);
        };
        // Leading channels that both have, then those that one has; the output has at least those
        // of the first.
        let both = channels(0).min(channels(1));
        let mut ops = Vec::new();
        if both > 0 {
            let mut op = self.pass(layer, inputs[0].slice(0, both), output.slice(0, both));
            op.residual = Some(Residual {
                mode: ResidualMode::Add,
                spread: ResidualSpread::Map,
                view: inputs[1].slice(0, both),
                zero_point: self.zero_point(node.inputs[1]),
                sum: Sum {
                    z_main: self.zero_point(node.inputs[0]),
                    m_main: shortcut.multipliers[0],
                    m_res: shortcut.multipliers[1],
                    shift: shortcut.requant.shift,
                    z_add: shortcut.finish.zero_point,
                    lo,
                    hi,
                },
            });
            ops.push(op);
        }
        let longer = usize::from(channels(1) > channels(0));
        let most = channels(longer);
        if most > both {
            let count = most - both;
            let mut op = self.pass(layer, inputs[longer].slice(both, count), output.slice(both, count));
            op.value_channel = both;
            alone(&mut op, longer);
            ops.push(op);
        }
        if most < output.channels {
            return Err(Error::new("a sum has more channels than its operands")
                .found(output.channels.to_string())
                .allowed(most.to_string()));
        }
        ops.into_iter().try_for_each(|op| self.push(op, Raw::None))
    }

    /// Product of the second input with the first, which is spread over it.
    pub(super) fn multiply(
        &mut self,
        layer: usize,
        spread: ResidualSpread,
        requant: Requant,
        finish: &Finish,
    ) -> Result<()> {
        let node = &self.net.nodes[layer];
        let (factor, input) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let output = self.output(layer);
        let mut op = self.pass(layer, input, output);
        op.channels = vec![channel(-i32::from(self.zero_point(node.inputs[1])), requant); output.channels];
        op.residual = Some(Residual {
            mode: ResidualMode::Multiply,
            spread,
            view: factor,
            zero_point: self.zero_point(node.inputs[0]),
            sum: Sum::default(),
        });
        self.finish_of(&mut op, finish);
        self.push(op, Raw::None)
    }
}
