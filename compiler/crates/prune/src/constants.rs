//! The output of a dead channel: the constant that its bias leaves on the way to its consumers.

use secateur_float::activate;
use secateur_ir::{BATCH_NORM_EPSILON, Divisor, Graph, LayerWeights, Op, Padding, Pool, Source, Weights};

/// Value of a removed channel: `None` where it is not the same at every pixel.
pub(super) type Constant = Option<f32>;

/// For every layer and output channel, the constant of a removed channel; 0 for kept ones.
///
/// `kept` are the flags of [`super::Masks::channel_flags`]; a removed channel's own filter weights
/// count as zero, its bias and batch norm as they stand.
pub(super) fn of_removed(graph: &Graph, weights: &Weights, kept: &[Vec<bool>]) -> Vec<Vec<Constant>> {
    let mut constants: Vec<Vec<Constant>> = Vec::with_capacity(graph.nodes.len());
    for (layer, node) in graph.nodes.iter().enumerate() {
        let of_layer = (0..node.shape.c)
            .map(|channel| match kept[layer][channel] {
                true => Some(0.0),
                false => constant(graph, &weights.layers[layer], &constants, layer, channel),
            })
            .collect();
        constants.push(of_layer);
    }
    constants
}

fn constant(
    graph: &Graph,
    weights: &LayerWeights,
    constants: &[Vec<Constant>],
    layer: usize,
    channel: usize,
) -> Constant {
    let node = &graph.nodes[layer];
    let input = |number: usize, channel: usize| match node.inputs[number] {
        Source::Layer(from) => constants[from].get(channel).copied().unwrap_or(Some(0.0)),
        Source::Image => None,
    };
    let zero_or_varies = |value: Constant| value.filter(|&value| value == 0.0);
    match &node.op {
        Op::Conv(conv) | Op::Deconv(conv) => Some(activate(conv.activation, affine(weights, channel, 0.0))),
        Op::Connected(connected) => Some(activate(connected.activation, affine(weights, channel, 0.0))),
        Op::BatchNorm(activation) => {
            Some(activate(*activation, affine(weights, channel, input(0, channel)?)))
        }
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) if !always_inside(pool) => None,
        Op::Upsample(upsample) => {
            let copies = if upsample.reverse { upsample.stride * upsample.stride } else { 1 };
            Some(input(0, channel)? * upsample.scale * copies as f32)
        }
        Op::Shortcut(shortcut) => {
            let mut sum = 0.0;
            for number in 0..node.inputs.len() {
                let value = input(number, channel);
                let from = graph.shape_of(node.inputs[number]);
                // A smaller feature map is added to some of the pixels only.
                let everywhere = from.h >= node.shape.h && from.w >= node.shape.w;
                sum += match weights.weights.is_empty() && everywhere {
                    true => value,
                    false => zero_or_varies(value),
                }?;
            }
            Some(activate(shortcut.activation, sum))
        }
        Op::Sam(activation) => Some(activate(*activation, input(0, channel)? * input(1, channel)?)),
        // One factor for each pixel: only zero stays the same everywhere.
        Op::ScaleChannels(scale) if scale.scale_wh => {
            zero_or_varies(input(1, channel)).map(|zero| activate(scale.activation, zero))
        }
        Op::ScaleChannels(scale) => Some(activate(scale.activation, input(0, channel)? * input(1, channel)?)),
        Op::Route(route) => {
            let mut position = channel;
            for (number, &from) in node.inputs.iter().enumerate() {
                let slice = graph.shape_of(from).c / route.groups;
                if position < slice {
                    return input(number, route.group_id * slice + position);
                }
                position -= slice;
            }
            None
        }
        Op::Reorg(_) => input(0, channel % graph.input_shape(layer).c),
        // The slope and the factor go with the filter.
        Op::PRelu => input(0, channel).map(|value| value.max(0.0)),
        Op::Scale => Some(weights.bias[channel]),
        // The borders' mean counts zeros that are not there.
        Op::LocalAvgPool(pool) if pool.divisor == Divisor::Padded && pool.padding != Padding::NONE => {
            zero_or_varies(input(0, channel))
        }
        Op::Reshape(shape) => input(0, channel * shape.plane() / graph.input_shape(layer).plane()),
        Op::Crop(crop) if !crop.noadjust => Some(input(0, channel)? * 2.0 - 1.0),
        _ => input(0, channel),
    }
}

/// Returns whether every pooling window holds at least one pixel of the feature map.
fn always_inside(pool: &Pool) -> bool {
    let Padding { top, left, bottom, right } = pool.padding;
    pool.kernel[0] > top.max(bottom) && pool.kernel[1] > left.max(right)
}

/// Batch norm (where there is one) and bias of one channel: `scale · (x − mean) / σ + bias`.
fn affine(weights: &LayerWeights, channel: usize, x: f32) -> f32 {
    let bias = weights.bias.get(channel).copied().unwrap_or(0.0);
    match &weights.batch_norm {
        Some(norm) => {
            let deviation = (norm.variance[channel] + BATCH_NORM_EPSILON).sqrt();
            norm.scale[channel] * (x - norm.mean[channel]) / deviation + bias
        }
        None => x + bias,
    }
}
