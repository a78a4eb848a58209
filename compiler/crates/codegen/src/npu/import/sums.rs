//! Sums and products of two feature maps: fused into the convolution before them, or passes of their own.

use secateur_runtime::npu::isa::{ResidualMode, ResidualSpread};

use super::Import;
use crate::npu::fusion::{SumEpilogue, sum_epilogue};
use crate::npu::op::{MapSlice, NpuOp, Residual, SumConstants, channel};
use crate::npu::weights::Raw;
use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{QEpilogue, QOp, QRequant, QShortcut};

impl Import<'_> {
    /// Returns the operand that the requantiser of convolution `layer` adds for `shortcut`.
    pub(super) fn fused_sum(&self, layer: usize, shortcut: usize) -> Result<Residual> {
        let node = &self.net.nodes[shortcut];
        let QOp::Shortcut(constants) = &node.op else {
            return Err(Error::internal("only shortcuts are fused"));
        };
        // Which operand is the convolution, seen through what passes bytes on?
        let own = usize::from(self.producer(node.inputs[0]) != Source::Layer(layer));
        let other = self.producer(node.inputs[1 - own]);
        let SumEpilogue { shift, lo, hi } = sum_epilogue(constants)?;
        Ok(Residual {
            mode: ResidualMode::Add,
            spread: ResidualSpread::Map,
            view: self.view(other)?,
            zero_point: self.zero_point(other),
            sum: SumConstants {
                z_main: self.zero_point(node.inputs[own]),
                m_main: constants.multipliers[own],
                m_res: constants.multipliers[1 - own],
                shift,
                z_add: constants.epilogue.zero_point,
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
        let SumEpilogue { shift, lo, hi } = sum_epilogue(shortcut)?;
        if node.inputs.len() > 2 {
            return Err(Error::new("the accelerator adds two feature maps at once")
                .found(format!("{} inputs", node.inputs.len()))
                .help("write it as several shortcuts"));
        }
        let output = self.output(layer);
        let inputs: Vec<MapSlice> =
            node.inputs.iter().map(|&input| self.view(input)).collect::<Result<_>>()?;
        let channels = |n: usize| inputs.get(n).map_or(0, |view| view.channels.min(output.channels));
        let alone = |op: &mut NpuOp, n: usize| {
            let requant = QRequant { m_pos: shortcut.multipliers[n], m_neg: shortcut.multipliers[n], shift };
            let bias = -i32::from(self.net.tensor(node.inputs[n]).zero_point);
            op.channels = vec![channel(bias, requant); op.output.channels];
            (op.z_out, op.lo, op.hi) = (shortcut.epilogue.zero_point, lo, hi);
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
                sum: SumConstants {
                    z_main: self.zero_point(node.inputs[0]),
                    m_main: shortcut.multipliers[0],
                    m_res: shortcut.multipliers[1],
                    shift,
                    z_add: shortcut.epilogue.zero_point,
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
        requant: QRequant,
        epilogue: &QEpilogue,
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
            sum: SumConstants::default(),
        });
        self.set_epilogue(&mut op, epilogue);
        self.push(op, Raw::None)
    }
}
