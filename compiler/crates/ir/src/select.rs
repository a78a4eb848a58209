//! Builds a network from a per-layer selection of channels, which may drop or repeat channels.
//!
//! Pruning drops channels; outlier channel splitting repeats some.

use super::{Graph, LayerWeights, Op, ShortcutWeights, is_dense};

/// Layout of a dense layer's weights between one output and one input channel.
pub struct Columns {
    inputs: usize,
    outputs: usize,
    /// Weights per pair: the window of a convolution, or one input feature map's pixels.
    pub window: usize,
    input_major: bool,
}

impl Columns {
    pub fn of(graph: &Graph, layer: usize) -> Self {
        let node = &graph.nodes[layer];
        let input = graph.input_shape(layer);
        let (window, input_major) = match &node.op {
            Op::Conv(conv) => (conv.taps(), false),
            Op::Deconv(conv) => (conv.taps(), true),
            _ => (input.plane(), false),
        };
        Self { inputs: input.c, outputs: node.shape.c, window, input_major }
    }

    /// Indices of the weights from input channel `input` to output channel `output`.
    pub fn range(&self, output: usize, input: usize) -> std::ops::Range<usize> {
        let pair =
            if self.input_major { input * self.outputs + output } else { output * self.inputs + input };
        pair * self.window..(pair + 1) * self.window
    }
}

/// The structure; `counts[layer]` channels stay of every layer. Layer numbers stay.
pub fn select_graph(graph: &Graph, counts: &[usize]) -> Graph {
    let mut selected = graph.clone();
    for (node, &count) in selected.nodes.iter_mut().zip(counts) {
        let channels = node.shape.c;
        node.shape.c = count;
        match &mut node.op {
            Op::Conv(conv) | Op::Deconv(conv) => {
                // Channels of a grouped convolution come and go by whole groups.
                conv.groups = if conv.groups == 1 { 1 } else { conv.groups * count / channels };
                conv.filters = count;
            }
            Op::Connected(connected) => connected.outputs = count,
            Op::Reshape(shape) => shape.c = count,
            _ => {}
        }
    }
    selected
}

/// A layer's weights from the channels `inputs` of its first input to its channels `outputs`.
pub fn select_layer(
    graph: &Graph,
    layer: usize,
    weights: &LayerWeights,
    inputs: &[usize],
    outputs: &[usize],
) -> LayerWeights {
    let node = &graph.nodes[layer];
    let channels = node.shape.c;
    let mut selected = weights.clone();
    if is_dense(&node.op) {
        let columns = Columns::of(graph, layer);
        let (outer, inner) = if columns.input_major { (inputs, outputs) } else { (outputs, inputs) };
        selected.weights = Vec::with_capacity(outer.len() * inner.len() * columns.window);
        for &a in outer {
            for &b in inner {
                let (output, input) = if columns.input_major { (b, a) } else { (a, b) };
                selected.weights.extend_from_slice(&weights.weights[columns.range(output, input)]);
            }
        }
    } else if !weights.weights.is_empty() {
        match &node.op {
            Op::Shortcut(shortcut) if shortcut.weights == ShortcutWeights::PerChannel => {
                let rows = weights.weights.chunks_exact(channels);
                selected.weights = rows.flat_map(|row| outputs.iter().map(|&c| row[c])).collect();
            }
            Op::Shortcut(_) => {}
            _ => {
                let row = weights.weights.len() / channels;
                let rows = outputs.iter().flat_map(|&c| &weights.weights[c * row..][..row]);
                selected.weights = rows.copied().collect();
            }
        }
    }
    // Values that are not per channel stay.
    let select = |values: &mut Vec<f32>| {
        if values.len() == channels {
            *values = outputs.iter().map(|&c| values[c]).collect();
        }
    };
    select(&mut selected.bias);
    if let Some(norm) = &mut selected.batch_norm {
        [&mut norm.scale, &mut norm.mean, &mut norm.variance].into_iter().for_each(select);
    }
    selected
}
