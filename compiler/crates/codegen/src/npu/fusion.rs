//! Chooses the sums that the requantiser of a convolution takes over.

use std::ops::Range;

use secateur_base::{Error, Result};
use secateur_ir::Source;
use secateur_quant::net::{QNet, QOp, QRequant, QShortcut};

use crate::cpu::program::value;

/// By layer: the shortcut whose sum a convolution may take over. Only the shortcut reads the
/// convolution, and its other operand is there before the convolution runs. Both are among `layers`.
pub(crate) fn fusions(net: &QNet, layers: &Range<usize>) -> Vec<Option<usize>> {
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
        if node.inputs.len() != 2 || !same_shape || sum_epilogue(shortcut).is_err() {
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
            // The element-wise operand is read along the flat string of pixels.
            && fused_conv.stride_x == 1
            && net.tensor(net.nodes[conv].inputs[0]).shape.w == node.output.shape.w
            && operands[0].0 != operands[1].0
        {
            fused[conv] = Some(layer);
        }
    }
    fused
}

/// The end of a sum as the accelerator computes it: round, shift, add the zero point, clamp.
pub(crate) struct SumEpilogue {
    pub(crate) shift: u8,
    pub(crate) lo: i8,
    pub(crate) hi: i8,
}

/// Checks that the requantiser can add as this shortcut does; returns how.
///
/// The accelerator has no slopes after a sum. Those of a ReLU are a power of two and 0: the shift takes the first,
/// since `(acc · 2^k + 2^(s − 1)) >> s` is `(acc + 2^(s − k − 1)) >> (s − k)`, and the clamp the second.
pub(crate) fn sum_epilogue(shortcut: &QShortcut) -> Result<SumEpilogue> {
    let QRequant { m_pos, m_neg, shift } = shortcut.requant;
    let epilogue = &shortcut.epilogue;
    if shortcut.per_channel {
        return Err(Error::new("the accelerator adds with one multiplier for each input")
            .found("weights_type=per_channel")
            .allowed("no weights_type, or per_feature"));
    }
    let slope_bits = m_pos.trailing_zeros();
    let is_power = m_pos > 0 && m_pos == 1 << slope_bits && slope_bits < u32::from(shift);
    if epilogue.table.is_some() || !is_power || !(m_neg == m_pos || m_neg == 0) {
        return Err(Error::new("the accelerator has no such activation after a sum")
            .allowed("activation=linear or relu"));
    }
    // ReLU keeps negative sums at the zero point; rounded, none of them exceeds it.
    let lo = if m_neg == 0 { epilogue.lo.max(epilogue.zero_point.min(epilogue.hi)) } else { epilogue.lo };
    Ok(SumEpilogue { shift: shift - slope_bits as u8, lo, hi: epilogue.hi })
}
