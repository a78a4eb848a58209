//! The real cut: a smaller graph and smaller weights that compute what the masked network computes.
//!
//! A removed channel still has a constant output, `activation(bias)`. Its consumers get that constant
//! folded into their own bias (or, under batch norm, out of their mean). Where this is not exact
//! (a zero-padded k×k convolution reads a constant that is not zero, so the border differs) the
//! unit is kept, with the zero weights it has, and reported in [`Cut::restored`].

use super::Masks;
use super::constants::{self, Constant};
use secateur_float::norm_factor;
use secateur_ir::{
    ChannelGroups, Columns, Graph, LayerWeights, Op, Padding, ShortcutWeights, Source, Weights, is_dense,
    select_graph, select_layer,
};

/// A cut network.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    pub graph: Graph,
    pub weights: Weights,
    /// `(group, position)` of masked units that had to stay for the sake of exactness.
    pub restored: Vec<(usize, usize)>,
}

/// A network of unchanged shapes whose removed channels have no consumer any more.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// Filters of removed channels are zero, and so are all weights that read one: its constant
    /// is in the consumer's bias. In a weighted shortcut they have a kept channel's factors.
    pub weights: Weights,
    /// Without the restored units.
    pub masks: Masks,
    /// `(group, position)` of masked units that had to stay for the sake of exactness.
    pub restored: Vec<(usize, usize)>,
}

/// Folds the constants of removed channels into their consumers.
pub fn fold_constants(graph: &Graph, groups: &ChannelGroups, weights: &Weights, masks: &Masks) -> Folded {
    let mut masks = masks.clone();
    let kept = masks.channel_flags(groups, graph);
    let constants = constants::of_removed(graph, weights, &kept);
    let mut weights = weights.clone();
    for ((node, layer), kept) in graph.nodes.iter().zip(&mut weights.layers).zip(&kept) {
        for channel in (0..kept.len()).filter(|&channel| !kept[channel]) {
            super::mask::zero_filter(&node.op, layer, channel, kept.len());
        }
    }
    let mut restored = Vec::new();
    for unit in unfoldable_units(graph, groups, &weights, &kept, &constants) {
        let Some(group) = groups.units[unit].group else { continue };
        let Some(position) = groups.groups[group].units.iter().position(|&u| u == unit) else { continue };
        let mut kept = masks.of_group(group).to_bitvec();
        kept.set(position, true);
        masks.set(group, kept);
        restored.push((group, position));
    }
    let kept = masks.channel_flags(groups, graph);
    for (layer, _) in graph.nodes.iter().enumerate().filter(|(_, node)| is_dense(&node.op)) {
        let input_kept = input_flags(graph, &kept, layer);
        fold_inputs(graph, layer, &mut weights.layers[layer], &input_kept, &constants);
    }
    for (layer, node) in graph.nodes.iter().enumerate() {
        let Op::Shortcut(shortcut) = &node.op else { continue };
        let Some(first) = kept[layer].iter().position(|&kept| kept) else { continue };
        if shortcut.weights == ShortcutWeights::PerChannel {
            for factors in weights.layers[layer].weights.chunks_exact_mut(node.shape.c) {
                let factor = factors[first];
                factors
                    .iter_mut()
                    .zip(&kept[layer])
                    .filter(|(_, kept)| !**kept)
                    .for_each(|(f, _)| *f = factor);
            }
        }
    }
    Folded { weights, masks, restored }
}

/// Cuts the removed units out of a network.
///
/// The filter weights of removed channels count as zero whether they are or not; their biases are
/// taken as they stand, so weights that were fine-tuned under a mask are cut exactly too.
pub fn transform(graph: &Graph, groups: &ChannelGroups, weights: &Weights, masks: &Masks) -> Cut {
    let Folded { weights, masks, restored } = fold_constants(graph, groups, weights, masks);
    let kept = masks.channel_flags(groups, graph);
    let cut = |layer: usize| {
        let inputs = indices(&input_flags(graph, &kept, layer));
        select_layer(graph, layer, &weights.layers[layer], &inputs, &indices(&kept[layer]))
    };
    let layers = (0..graph.nodes.len()).map(cut).collect();
    Cut { graph: cut_graph(graph, groups, &masks), weights: Weights { layers }, restored }
}

/// The structure of the cut network alone; layer numbers stay.
pub fn cut_graph(graph: &Graph, groups: &ChannelGroups, masks: &Masks) -> Graph {
    let flags = masks.unit_flags(groups);
    let count = |layer: usize| groups.units_of(layer).iter().filter(|&&unit| flags[unit]).count();
    select_graph(graph, &(0..graph.nodes.len()).map(count).collect::<Vec<_>>())
}

/// Flags of the channels of a layer's first input; the image's are all kept.
fn input_flags(graph: &Graph, kept: &[Vec<bool>], layer: usize) -> Vec<bool> {
    match graph.nodes[layer].inputs[0] {
        Source::Layer(from) => kept[from].clone(),
        Source::Image => vec![true; graph.input.c],
    }
}

/// Removed units whose constant cannot be folded into one of its consumers, ascending.
fn unfoldable_units(
    graph: &Graph,
    groups: &ChannelGroups,
    weights: &Weights,
    kept: &[Vec<bool>],
    constants: &[Vec<Constant>],
) -> Vec<usize> {
    let mut units = Vec::new();
    for (layer, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_dense(&node.op)) {
        let Source::Layer(from) = node.inputs[0] else { continue };
        let uniform = match &node.op {
            Op::Conv(conv) => conv.padding == Padding::NONE,
            Op::Deconv(_) => false,
            _ => true,
        };
        for (channel, constant) in constants[from].iter().enumerate().filter(|&(c, _)| !kept[from][c]) {
            let foldable = match constant {
                Some(value) => uniform || *value == 0.0,
                None => false,
            };
            if !foldable && reads(graph, layer, &weights.layers[layer], channel, &kept[layer]) {
                units.push(groups.unit_of(from, channel));
            }
        }
    }
    units.sort_unstable();
    units.dedup();
    units
}

/// Returns whether a kept output of a dense layer has a non-zero weight on input channel `channel`.
fn reads(graph: &Graph, layer: usize, weights: &LayerWeights, channel: usize, kept: &[bool]) -> bool {
    let columns = Columns::of(graph, layer);
    (0..kept.len())
        .filter(|&output| kept[output])
        .any(|output| weights.weights[columns.range(output, channel)].iter().any(|&weight| weight != 0.0))
}

/// Moves the contribution of removed inputs of a dense layer into its bias or batch norm.
fn fold_inputs(
    graph: &Graph,
    layer: usize,
    weights: &mut LayerWeights,
    input_kept: &[bool],
    constants: &[Vec<Constant>],
) {
    let Source::Layer(from) = graph.nodes[layer].inputs[0] else { return };
    let columns = Columns::of(graph, layer);
    for output in 0..graph.nodes[layer].shape.c {
        let mut sum = 0.0f64;
        for (channel, _) in input_kept.iter().enumerate().filter(|(_, kept)| !**kept) {
            let window = &mut weights.weights[columns.range(output, channel)];
            // Where it varies, all weights on it are zero.
            let value = constants[from][channel].unwrap_or(0.0);
            sum += window.iter().map(|&w| f64::from(w)).sum::<f64>() * f64::from(value);
            window.fill(0.0);
        }
        if sum != 0.0 {
            match &mut weights.batch_norm {
                Some(norm) => {
                    let mean = f64::from(norm.mean[output]) - sum;
                    norm.mean[output] = mean as f32;
                    // What the mean lost by rounding, as far as the bias resolves it.
                    let lost = (f64::from(norm.mean[output]) - mean) * norm_factor(norm, output);
                    weights.bias[output] = (f64::from(weights.bias[output]) + lost) as f32;
                }
                None => weights.bias[output] = (f64::from(weights.bias[output]) + sum) as f32,
            }
        }
    }
}

/// The channels that are kept.
fn indices(kept: &[bool]) -> Vec<usize> {
    (0..kept.len()).filter(|&channel| kept[channel]).collect()
}
