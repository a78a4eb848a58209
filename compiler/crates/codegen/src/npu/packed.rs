//! Constants of the program: weights, channel parameters and tables, and the chunks in which they come
//! onto the chip.

use std::collections::HashMap;
use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Parameters};
use zerocopy::IntoBytes;

use super::import::NpuGraph;
use super::op::NpuOp;
use crate::target::Accelerator;
use secateur_base::{Error, Result};
use secateur_quant::QNet;

/// The parts of the constants start at multiples of this.
const ALIGNMENT: usize = 64;
/// Weight words that share a block of control bytes.
pub(crate) const BLOCK: usize = 8;

/// Output channels of an operation whose constants come onto the chip together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Output channels of the operation, whole groups.
    pub channels: Range<usize>,
    /// Groups of output channels.
    pub groups: Range<usize>,
    /// Weight words.
    pub words: usize,
    /// Offset of the words in [`Packed::data`].
    pub weights_at: usize,
    /// Offset of the parameters, one entry a channel.
    pub params_at: usize,
}

/// All constants of a network, in the order of their use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    pub data: Vec<u8>,
    /// By operation.
    pub chunks: Vec<Vec<Chunk>>,
    /// By operation: offset of its table.
    pub tables: Vec<Option<usize>>,
}

/// Packs the constants of `ops`: all weights, then all parameters, then tables, each in the order of
/// the operations, so that neighbours come onto the chip in one transfer. A chunk takes at most a
/// quarter of each memory, unless one group of output channels alone needs more.
pub(crate) fn pack(ops: &[NpuOp], parameters: &Parameters) -> Packed {
    let rows = parameters.rows as usize;
    let most_words = parameters.weight_words as usize / 4;
    let most_channels = parameters.param_entries as usize / 4;
    let (mut weights, mut channels, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    let mut packed = Packed::default();
    let mut known: HashMap<Box<[i8; 256]>, usize> = HashMap::new();
    for op in ops {
        let phase = if op.by_bank() { op.input.channel % rows } else { 0 };
        let count = (phase + op.output.channels).div_ceil(rows);
        let words = |group: usize| op.weights.get(group).map_or(0, |group| group.words.len());
        let mut chunks = Vec::new();
        let mut first = 0;
        while first < count {
            let mut end = first + 1;
            let mut total = words(first);
            while end < count && total + words(end) <= most_words && (end + 1 - first) * rows <= most_channels
            {
                total += words(end);
                end += 1;
            }
            let channel = |group: usize| (group * rows).saturating_sub(phase).min(op.output.channels);
            let range = channel(first)..channel(end);
            let (weights_at, params_at) = (weights.len(), channels.len());
            push_weights(&mut weights, op, first..end, parameters.weight_bytes() as usize);
            channels.extend_from_slice(op.channels[range.clone()].as_bytes());
            chunks.push(Chunk { channels: range, groups: first..end, words: total, weights_at, params_at });
            first = end;
        }
        packed.chunks.push(chunks);
        let table = op.table.as_ref().map(|table| {
            *known.entry(table.clone()).or_insert_with(|| {
                tables.extend_from_slice(table.as_bytes());
                tables.len() - 256
            })
        });
        packed.tables.push(table);
    }
    weights.resize(weights.len().next_multiple_of(ALIGNMENT), 0);
    let params_start = weights.len();
    let tables_start = params_start + channels.len();
    for chunk in packed.chunks.iter_mut().flatten() {
        chunk.params_at += params_start;
    }
    for table in packed.tables.iter_mut().flatten() {
        *table += tables_start;
    }
    packed.data = [weights, channels, tables].concat();
    packed.data.resize(packed.data.len().next_multiple_of(ALIGNMENT), 0);
    packed
}

/// Appends the words of some groups as the accelerator reads them, `word_bytes` each.
fn push_weights(data: &mut Vec<u8>, op: &NpuOp, groups: Range<usize>, word_bytes: usize) {
    let groups = op.weights.get(groups).unwrap_or(&[]);
    let words: Vec<&[u8]> =
        groups.iter().flat_map(|group| &group.words).map(|word| &word.as_bytes()[..word_bytes]).collect();
    if !op.sparse {
        data.extend(words.concat());
        return;
    }
    let control: Vec<u8> = groups.iter().flat_map(|group| group.control.iter().copied()).collect();
    for (words, control) in words.chunks(BLOCK).zip(control.chunks(BLOCK)) {
        let mut block = [0; BLOCK];
        block[..control.len()].copy_from_slice(control);
        data.extend_from_slice(&block);
        data.extend(words.concat());
    }
}

/// Bytes that `words` weight words take in memory.
pub(crate) fn weight_bytes(parameters: &Parameters, words: usize, sparse: bool) -> usize {
    parameters.weight_bytes() as usize * words + if sparse { BLOCK * words.div_ceil(BLOCK) } else { 0 }
}

/// Returns the weight words of an operation's largest group of output channels.
fn largest_group(op: &NpuOp) -> usize {
    match op.mode {
        ArrayMode::Dense | ArrayMode::Depthwise => {
            op.weights.iter().map(|group| group.words.len()).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Every group of output channels has room for its weights.
pub(crate) fn check_weights(net: &QNet, graph: &NpuGraph, accelerator: &Accelerator) -> Result<()> {
    for op in &graph.ops {
        let words = largest_group(op);
        if words > accelerator.weight_words as usize {
            let error = Error::new("the weights of one group of output channels exceed the weight memory")
                .found(format!("{words} words"))
                .allowed(format!("{} words", accelerator.weight_words));
            return Err(net.locate(op.layer, error));
        }
    }
    Ok(())
}
