//! Operations whose weights would come several times are cut by output channels.
//!
//! A feature map that is too large for the banks goes in strips, and every strip needs all weights. Where the
//! weights are large and the input fits, it is better to keep the input and to make the output some
//! channels at a time: the weights then come once.

use secateur_runtime::npu::isa::{ArrayMode, Parameters};

use super::import::NpuGraph;
use super::op::{MapSlice, NpuOp};

/// A part's share of a bank: two parts and the input are there at once.
const PARTS_OF_BANK: usize = 8;

/// Cuts the operations for which it pays.
pub(crate) fn split(graph: &mut NpuGraph, parameters: &Parameters) {
    let rows = parameters.rows as usize;
    let lanes = parameters.lanes as usize;
    let bank = parameters.bank_words as usize;
    let words =
        |graph: &NpuGraph, view: MapSlice| view.channels.div_ceil(rows) * graph.maps[view.map].words(lanes);
    let ops = std::mem::take(&mut graph.ops);
    for op in ops {
        let weights: usize = op.weights.iter().map(|group| group.words.len()).sum();
        let (input, output) = (words(graph, op.input), words(graph, op.output));
        let plane = graph.maps[op.output.map].words(lanes);
        let groups = (bank / PARTS_OF_BANK / plane).max(1);
        let pays = op.mode == ArrayMode::Dense
            && weights > parameters.weight_words as usize / 2
            && input + output > bank
            && input + 2 * groups * plane <= bank;
        if pays {
            graph.ops.extend(parts(&op, groups, rows));
        } else {
            graph.ops.push(op);
        }
    }
}

/// Parts of `groups` groups of output channels each.
fn parts(op: &NpuOp, groups: usize, rows: usize) -> impl Iterator<Item = NpuOp> {
    let channels = op.output.channels;
    (0..channels).step_by(groups * rows).map(move |first| {
        let count = (groups * rows).min(channels - first);
        let mut part = op.clone();
        part.output = op.output.slice(first, count);
        part.value_channel = op.value_channel + first;
        part.weights = op.weights[first / rows..(first + count).div_ceil(rows)].to_vec();
        part.channels = op.channels[first..first + count].to_vec();
        part.macs = op.macs * count as u64 / channels as u64;
        if let Some(residual) = &mut part.residual
            && residual.view.channels == channels
        {
            residual.view = residual.view.slice(first, count);
        }
        part
    })
}
