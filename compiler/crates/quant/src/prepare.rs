//! The float network in the form that quantisation works on.
//!
//! Batch norm is folded, a `[batchnorm]` layer is a depthwise 1×1 convolution, and an activation
//! that needs a table stands in a node of its own, so that the pre-activation has a tensor too.

use super::requant::TwoSlope;
use secateur_base::{Error, Result};
use secateur_float as float;
use secateur_ir::{
    Activation, Conv, Graph, LayerWeights, Node, Op, ScaleChannels, Shortcut, Source, Weights,
};

/// A network of simple nodes that computes the same as a Darknet network.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) graph: Graph,
    /// Without batch norm.
    pub(crate) weights: Weights,
    /// `[node][channel]`: the integers stand for the channel's negative, whose range is the smaller one
    /// (see [`equalise`](super::equalise)). The float network here computes the channel itself.
    pub(crate) mirrored: Vec<Vec<bool>>,
    /// `[node][channel]`: by how many steps of the node's scale the integers stand too high
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
            mirrored: Vec::new(),
            offsets: Vec::new(),
            nodes_of: Vec::new(),
        };
        for (i, (node, numbers)) in graph.nodes.iter().zip(folded.layers).enumerate() {
            check(graph, i).map_err(|e| e.layer(i).section(node.op.name()).line(node.line))?;
            prepared.push(node, numbers);
        }
        Ok(prepared)
    }

    /// The node that yields the output of Darknet's layer `layer`.
    pub(crate) fn output_of(&self, layer: usize) -> usize {
        self.nodes_of[layer].end - 1
    }

    /// Whether `node` is an activation by table.
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
        self.mirrored.resize(self.graph.nodes.len(), vec![false; node.shape.c]);
        self.offsets.resize(self.graph.nodes.len(), vec![0.0; node.shape.c]);
        self.nodes_of.push(start..self.graph.nodes.len());
    }

    /// −1 where the integers of a channel stand for its negative, else 1.
    pub(crate) fn sign(&self, source: Source, channel: usize) -> f32 {
        match source {
            Source::Layer(node) if self.mirrored[node][channel] => -1.0,
            _ => 1.0,
        }
    }

    /// Turns a tensor `[c][h][w]` of `node` into what its integers stand for, and back.
    pub(crate) fn mirror(&self, node: usize, values: &mut [f32]) {
        let plane = self.graph.nodes[node].shape.plane();
        for (channel, _) in
            values.chunks_exact_mut(plane).zip(&self.mirrored[node]).filter(|(_, mirrored)| **mirrored)
        {
            channel.iter_mut().for_each(|v| *v = -*v);
        }
    }

    /// Biases of a node's integer channels, real; its codes are `step` apart.
    pub(crate) fn biases(&self, node: usize, step: f64) -> Vec<f32> {
        let bias = self.weights.layers[node].bias.iter().zip(&self.offsets[node]).enumerate();
        bias.map(|(c, (&bias, offset))| self.sign(Source::Layer(node), c) * bias + offset * step as f32)
            .collect()
    }
}

/// A depthwise 1×1 convolution.
fn pointwise(channels: usize, activation: Activation) -> Conv {
    Conv {
        filters: channels,
        groups: channels,
        size: 1,
        stride_x: 1,
        stride_y: 1,
        dilation: 1,
        pad: 0,
        batch_norm: false,
        activation,
    }
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

/// Whether layer `i` has an integer meaning.
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
        Op::Upsample(up) if !(up.scale.is_finite() && up.scale > 0.0) => {
            refuse("upsample needs a positive scale in int8", "fold the scale into the next layer's weights")
        }
        Op::MaxPool(pool) if pool.depth.is_some() => {
            refuse("maxpool over channels has no int8 form", "remove maxpool_depth")
        }
        Op::Softmax(softmax) if !softmax.spatial && graph.input_shape(i).plane() > 1 => refuse(
            "softmax over a whole map has no int8 form",
            "put an [avgpool] before it, or set spatial=1",
        ),
        Op::Softmax(softmax) if !(softmax.temperature.is_finite() && softmax.temperature > 0.0) => {
            refuse("softmax needs a positive temperature", "leave out the key temperature")
        }
        Op::Crop(crop) if !crop.noadjust && node.inputs[0] != Source::Image => {
            refuse("int8 crop with adjustment reads the picture only", "set noadjust=1")
        }
        Op::Shortcut(_) => {
            let plane = |s: &Source| (graph.shape_of(*s).h, graph.shape_of(*s).w);
            if node.inputs.iter().all(|s| plane(s) == plane(&node.inputs[0])) {
                Ok(())
            } else {
                refuse("int8 shortcut needs inputs of equal height and width", "pool or upsample one of them")
            }
        }
        _ => Ok(()),
    }
}
