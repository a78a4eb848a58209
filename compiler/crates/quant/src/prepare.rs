//! The float network in the form that quantisation works on.
//!
//! Batch norm is folded, a `[batchnorm]` layer is a depthwise 1×1 convolution, and an activation
//! that needs a table is a node of its own, so that the pre-activation has a tensor too.

use super::numeric::TwoSlope;
use secateur_base::{Error, Result};
use secateur_float as float;
use secateur_ir::{
    Activation, Axis, Conv, Divisor, Graph, LayerWeights, Node, Op, Padding, Pool, Reorg, ScaleChannels,
    Shortcut, Source, Upsample, Weights,
};

/// A network of simple nodes that computes the same as a Darknet network.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) graph: Graph,
    /// Without batch norm.
    pub(crate) weights: Weights,
    /// `[node][channel]`: the integers represent the negated channel, whose range is the smaller one
    /// (see [`equalise`](super::equalise)). The float network here computes the channel itself.
    pub(crate) negated: Vec<Vec<bool>>,
    /// `[node][channel]`: offset of the integers in steps of the node's scale
    /// (see [`split`](super::split)).
    pub(crate) offsets: Vec<Vec<f32>>,
    /// For every Darknet layer, its nodes: the operator, then its table where it needs one.
    pub(crate) nodes_of: Vec<std::ops::Range<usize>>,
}

impl Prepared {
    /// Splits `graph` into simple nodes; an operator without an integer meaning is an error.
    pub(crate) fn new(graph: &Graph, weights: &Weights) -> Result<Self> {
        let folded = float::fold(graph, weights);
        let empty = Graph { nodes: Vec::new(), ..graph.clone() };
        let numbers = Weights { layers: Vec::new() };
        let mut prepared = Self {
            graph: empty,
            weights: numbers,
            negated: Vec::new(),
            offsets: Vec::new(),
            nodes_of: Vec::new(),
        };
        for (i, (node, numbers)) in graph.nodes.iter().zip(folded.layers).enumerate() {
            check(graph, i).map_err(|e| graph.locate(i, e))?;
            prepared.push(node, numbers);
        }
        Ok(prepared)
    }

    /// The node that yields the output of Darknet's layer `layer`.
    pub(crate) fn output_of(&self, layer: usize) -> usize {
        self.nodes_of[layer].end - 1
    }

    /// Returns true if `node` is an activation by table.
    pub(crate) fn is_table(&self, node: usize) -> bool {
        matches!(&self.graph.nodes[node].op, Op::Conv(conv) if TwoSlope::of(conv.activation).is_none())
    }

    fn push(&mut self, node: &Node, numbers: LayerWeights) {
        let start = self.graph.nodes.len();
        let inputs = node.inputs.iter().map(|&input| match input {
            Source::Image => Source::Image,
            Source::Layer(from) => Source::Layer(self.output_of(from)),
        });
        let inputs = inputs.collect();
        let (mut op, numbers) = match &node.op {
            Op::BatchNorm(activation) => {
                let factors = numbers.batch_norm.as_ref().map_or(Vec::new(), |norm| {
                    (0..numbers.bias.len()).map(|c| float::norm_factor(norm, c)).collect()
                });
                let mean = numbers.batch_norm.map_or(Vec::new(), |norm| norm.mean);
                let shifted = numbers.bias.iter().zip(&mean).zip(&factors);
                let bias = shifted.map(|((&b, &mean), f)| (f64::from(b) - f64::from(mean) * f) as f32);
                let bias = bias.collect();
                let weights = factors.iter().map(|&f| f as f32).collect();
                let op = Op::Conv(pointwise(node.shape.c, *activation));
                (op, LayerWeights { bias, weights, batch_norm: None })
            }
            op => (op.clone(), numbers),
        };
        let activation = activation_mut(&mut op).map(|slot| {
            let activation = *slot;
            if TwoSlope::of(activation).is_none() {
                *slot = Activation::Linear;
            }
            activation
        });
        if let Op::Conv(Conv { batch_norm, .. }) = &mut op {
            *batch_norm = false;
        }
        if let Op::Connected(connected) = &mut op {
            connected.batch_norm = false;
        }
        self.graph.nodes.push(Node { op, inputs, ..node.clone() });
        self.weights.layers.push(numbers);
        if let Some(activation) = activation.filter(|&a| TwoSlope::of(a).is_none()) {
            let channels = node.shape.c;
            let op = Op::Conv(pointwise(channels, activation));
            self.graph.nodes.push(Node { op, inputs: vec![Source::Layer(start)], ..node.clone() });
            let (weights, bias) = (vec![1.0; channels], vec![0.0; channels]);
            self.weights.layers.push(LayerWeights { weights, bias, batch_norm: None });
        }
        self.negated.resize(self.graph.nodes.len(), vec![false; node.shape.c]);
        self.offsets.resize(self.graph.nodes.len(), vec![0.0; node.shape.c]);
        self.nodes_of.push(start..self.graph.nodes.len());
    }

    /// Returns −1 for a negated channel, else 1.
    pub(crate) fn sign(&self, source: Source, channel: usize) -> f32 {
        match source {
            Source::Layer(node) if self.negated[node][channel] => -1.0,
            _ => 1.0,
        }
    }

    /// Negates the negated channels of a tensor `[c][h][w]` of `node`.
    pub(crate) fn negate(&self, node: usize, values: &mut [f32]) {
        let plane = self.graph.nodes[node].shape.plane();
        for (channel, _) in
            values.chunks_exact_mut(plane).zip(&self.negated[node]).filter(|(_, negated)| **negated)
        {
            channel.iter_mut().for_each(|v| *v = -*v);
        }
    }

    /// Biases of a node's integer channels, real; its quantised values are `step` apart.
    pub(crate) fn biases(&self, node: usize, step: f64) -> Vec<f32> {
        let bias = self.weights.layers[node].bias.iter().zip(&self.offsets[node]).enumerate();
        bias.map(|(c, (&bias, offset))| self.sign(Source::Layer(node), c) * bias + offset * step as f32)
            .collect()
    }
}

/// A depthwise 1×1 convolution.
fn pointwise(channels: usize, activation: Activation) -> Conv {
    Conv { groups: channels, activation, ..Conv::square(channels, 1) }
}

/// The activation of an operator that has one.
fn activation_mut(op: &mut Op) -> Option<&mut Activation> {
    match op {
        Op::Conv(conv) => Some(&mut conv.activation),
        Op::Connected(connected) => Some(&mut connected.activation),
        Op::Shortcut(Shortcut { activation, .. })
        | Op::ScaleChannels(ScaleChannels { activation, .. })
        | Op::Sam(activation) => Some(activation),
        _ => None,
    }
}

/// Rows and columns of a window that is averaged.
const MAX_AVERAGE_SIDE: usize = 256;

/// Checks that the integer pooling has such a window.
fn has_int8_window(pool: &Pool) -> bool {
    let Pool { kernel, padding, ceil, divisor, .. } = pool;
    kernel[0] == kernel[1]
        && *padding == Padding::centred(padding.total()[0])
        && !ceil
        && (*divisor == Divisor::Inside || *padding == Padding::NONE)
}

/// Checks that layer `i` has an integer form.
fn check(graph: &Graph, i: usize) -> Result<()> {
    let node = &graph.nodes[i];
    let refuse = |what: &str, help: &str| Err(Error::new(what).help(help));
    let mut op = node.op.clone();
    if let Some(activation) = activation_mut(&mut op)
        && matches!(
            activation,
            Activation::NormChan | Activation::NormChanSoftmax | Activation::NormChanSoftmaxMaxval
        )
    {
        return refuse(
            "activations that normalise over channels have no int8 form",
            "use an element-wise activation, such as leaky or swish",
        );
    }
    match &node.op {
        Op::Deconv(_) => {
            refuse("deconvolution has no int8 form", "replace it by [upsample] and a [convolutional] layer")
        }
        Op::PRelu
        | Op::Scale
        | Op::GlobalMaxPool
        | Op::Resize(_)
        | Op::Slice(_)
        | Op::Transpose(_)
        | Op::Reshape(_) => {
            refuse(&format!("{} has no int8 form", node.op.name()), "express it by layers that have one")
        }
        Op::Conv(conv) if conv.kernel[0] != conv.kernel[1] || conv.dilation[0] != conv.dilation[1] => {
            refuse("int8 convolutions have square kernels", "use as many rows as columns, and one dilation")
        }
        Op::Conv(Conv { padding, .. }) if padding.uniform().is_none() => {
            refuse("int8 convolutions have the same padding on every side", "pad every side alike")
        }
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) if !has_int8_window(pool) => refuse(
            "int8 pooling has square windows, half of the padding on every side, and rounds sizes down",
            "use as many rows as columns, and no ceil mode",
        ),
        // The integer average has a constant for every number of pixels that a window may have inside.
        Op::LocalAvgPool(Pool { kernel: [size, _], .. })
        | Op::Upsample(Upsample { stride: size, reverse: true, .. })
            if *size > MAX_AVERAGE_SIDE =>
        {
            refuse(
                &format!("int8 averages have windows of at most {MAX_AVERAGE_SIDE} × {MAX_AVERAGE_SIDE}"),
                "use [avgpool] for the whole feature map",
            )
        }
        Op::Softmax(softmax) if !matches!(softmax.axis, None | Some(Axis::Channels)) => {
            refuse("int8 softmax runs over channels", "put the classes into the channels")
        }
        Op::Upsample(up) if !(up.scale.is_finite() && up.scale > 0.0) => {
            refuse("upsample needs a positive scale in int8", "fold the scale into the next layer's weights")
        }
        Op::MaxPool(pool) if pool.depth.is_some() => {
            refuse("maxpool over channels has no int8 form", "remove maxpool_depth")
        }
        Op::Softmax(softmax) if softmax.axis.is_none() && graph.input_shape(i).plane() > 1 => refuse(
            "softmax over a whole feature map has no int8 form",
            "put an [avgpool] before it, or set spatial=1",
        ),
        Op::Softmax(softmax) if !(softmax.temperature.is_finite() && softmax.temperature > 0.0) => {
            refuse("softmax needs a positive temperature", "leave out the key temperature")
        }
        Op::Crop(crop) if !crop.noadjust && node.inputs[0] != Source::Image => {
            refuse("int8 crop with adjustment reads the image only", "set noadjust=1")
        }
        Op::Reorg(Reorg { reverse: true, old: true, .. }) => {
            refuse("[reorg] with reverse=1 has no int8 form", "use [upsample] and a [convolutional] layer")
        }
        Op::Shortcut(_) if !has_one_plane(graph, node) => refuse(
            "int8 shortcut needs inputs of equal height and width",
            "put a [maxpool] of size=1 and the stride before it: it takes the same pixels",
        ),
        _ => Ok(()),
    }
}

/// Returns whether all inputs have the same height and width.
fn has_one_plane(graph: &Graph, node: &Node) -> bool {
    let plane = |s: &Source| (graph.shape_of(*s).h, graph.shape_of(*s).w);
    node.inputs.iter().all(|s| plane(s) == plane(&node.inputs[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_ir::{Coordinates, Resize, ResizeKind, Shape, Slice, Softmax, Transpose, infer};
    use secateur_testing::random_weights;

    #[test]
    fn what_has_no_integer_meaning_is_refused_by_name() {
        let (kind, coordinates) = (ResizeKind::Bilinear, Coordinates::HalfPixel);
        let below = Padding { bottom: 1, ..Padding::NONE };
        let soft = Softmax { groups: 1, temperature: 1.0, axis: Some(Axis::Rows) };
        for (op, name, says) in [
            (Op::PRelu, "[prelu]", "no int8 form"),
            (Op::Scale, "[scale]", "no int8 form"),
            (Op::GlobalMaxPool, "[global_maxpool]", "no int8 form"),
            (Op::Resize(Resize { height: 8, width: 8, kind, coordinates }), "[resize]", "no int8 form"),
            (Op::Slice(Slice { axis: Axis::Rows, start: 0, end: 2, step: 1 }), "[slice]", "no int8 form"),
            (
                Op::Transpose(Transpose { order: [Axis::Channels, Axis::Columns, Axis::Rows] }),
                "[transpose]",
                "no int8 form",
            ),
            (Op::Reshape(Shape::new(12, 4, 1)), "[reshape]", "no int8 form"),
            (
                Op::Reorg(Reorg { stride: 1, reverse: true, old: true }),
                "[reorg] with reverse=1",
                "no int8 form",
            ),
            (Op::Softmax(soft), "[softmax]", "over channels"),
            (Op::Conv(Conv { kernel: [3, 1], ..Conv::square(3, 1) }), "[convolutional]", "square kernels"),
            (Op::Conv(Conv { dilation: [2, 1], ..Conv::square(3, 2) }), "[convolutional]", "one dilation"),
            (Op::Conv(Conv { padding: below, ..Conv::square(3, 3) }), "[convolutional]", "same padding"),
            (Op::MaxPool(Pool { kernel: [2, 1], ..Pool::square(2, 2) }), "[maxpool]", "square windows"),
            (
                Op::MaxPool(Pool { padding: Padding { top: 1, ..below }, ..Pool::square(3, 2) }),
                "[maxpool]",
                "half of the padding",
            ),
            (
                Op::LocalAvgPool(Pool { ceil: true, ..Pool::square(3, 2) }),
                "[local_avgpool]",
                "rounds sizes down",
            ),
        ] {
            let input = Shape::new(3, 4, 4);
            let shape = infer(&op, &[input]).unwrap();
            let nodes = vec![Node::new(op, vec![Source::Image], shape)];
            let graph = Graph { input, nodes, letter_box: false };
            let error = Prepared::new(&graph, &random_weights(0, &graph)).expect_err(name);
            let text = format!("{error:?}");
            assert_eq!(error.at_layer(), Some(0));
            assert!(text.contains(name) && text.contains(says), "{text}");
        }
    }
}
