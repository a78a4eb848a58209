//! From a graph to the engine's operators.

use secateur_base::{Error, Result};
use secateur_ir::{Activation, Graph, LayerWeights, Op, Rounding, ShortcutWeights, Source, Weights};

use super::convolution::Convolution;
use super::depthwise::Depthwise;
use super::elementwise::{Connected, Copy, Dropout, Factors, Multiply};
use super::epilogue::{BatchVariance, Epilogue, Norm};
use super::gradients::{Gradients, MapLayout};
use super::moves::{Gather, Upsampling};
use super::operator::Operator;
use super::parameter::{Kind, Parameter};
use super::pointwise::Pointwise;
use super::pool::{AveragePool, DepthPool, MaxPool};
use super::rounding::Rounder;
use super::scratch::Scratches;
use super::sum::Sum;
use super::value::{Value, View};
use super::{Engine, Layer};
use crate::activation::is_elementwise;
use crate::scalar::Scalar;

/// Share of a batch's statistics in the running ones, as on Darknet's CPU: of convolutions, of connected layers.
const MOMENTUM: [f64; 2] = [0.1, 0.05];

/// What an engine is built for.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Images of a pass.
    pub images: usize,
    pub variance: BatchVariance,
    /// By node, the probability that dropout drops a number; nothing means none.
    pub dropout: Vec<f64>,
    /// Of random masks.
    pub seed: u64,
    /// By node, what its int8 form rounds; nothing: nothing is rounded. Where something is, batch norm is frozen: it
    /// normalises by its running statistics, as inference does, and these stay.
    pub rounding: Vec<Rounding>,
}

impl<T: Scalar> Engine<T> {
    /// Builds the engine of a verified graph with its weights.
    ///
    /// # Errors
    /// A layer that cannot be trained through, by name.
    pub fn new(graph: &Graph, weights: &Weights, options: &EngineOptions) -> Result<Self> {
        let mut engine = Self {
            graph: graph.clone(),
            images: options.images,
            variance: options.variance,
            layers: Vec::new(),
            values: vec![Value::new(graph.input, options.images, Activation::Linear)],
            views: Vec::new(),
            gradients: Gradients::new(Vec::new()),
            scratches: Scratches::default(),
        };
        for node in 0..graph.nodes.len() {
            engine.add(node, &weights.layers[node], options).map_err(|error| graph.locate(node, error))?;
        }
        engine.gradients = Gradients::new(engine.gradient_layouts());
        Ok(engine)
    }

    /// By map, what is known of its gradient.
    fn gradient_layouts(&self) -> Vec<Option<MapLayout>> {
        let layers = self.layers.iter().zip(&self.values[1..]);
        let mut layouts: Vec<Option<MapLayout>> = std::iter::once(None)
            .chain(layers.map(|(layer, value)| {
                let layer = layer.as_ref().filter(|layer| layer.trains)?;
                let last = layer.epilogue.wants_projections().then(|| vec![usize::MAX; value.shape.c]);
                Some(MapLayout { channels: value.shape.c, row_len: value.row_len(), last })
            }))
            .collect();
        // Backward walks from the last node to the first: the first reader writes last.
        for (node, layer) in self.layers.iter().enumerate().rev() {
            for &(value, channel) in
                layer.iter().flat_map(|layer| &layer.inputs).flat_map(|view| &view.channels)
            {
                if let Some(last) = layouts[value].as_mut().and_then(|layout| layout.last.as_mut()) {
                    last[channel] = node;
                }
            }
        }
        layouts
    }

    fn source(&self, source: Source) -> View {
        match source {
            Source::Image => View::of(0, self.graph.input),
            Source::Layer(node) => self.views[node].clone(),
        }
    }

    /// Adds the node's layer and view.
    fn add(&mut self, node: usize, weights: &LayerWeights, options: &EngineOptions) -> Result<()> {
        let graph_node = &self.graph.nodes[node];
        let (op, shape) = (graph_node.op.clone(), graph_node.shape);
        let mut inputs: Vec<View> = graph_node.inputs.iter().map(|&source| self.source(source)).collect();
        let probability = options.dropout.get(node).copied().unwrap_or(0.0);
        let view = match &op {
            Op::Route(route) => {
                for view in &mut inputs {
                    let part = view.channels.len() / route.groups;
                    view.channels = view.channels[part * route.group_id..][..part].to_vec();
                    view.shape.c = part;
                }
                Some(View { shape, channels: inputs.iter().flat_map(|view| view.channels.clone()).collect() })
            }
            Op::Dropout if probability == 0.0 => Some(View { shape, ..inputs[0].clone() }),
            _ => None,
        };
        if let Some(view) = view.filter(View::is_injective) {
            self.values.push(Value::default());
            self.layers.push(None);
            self.views.push(view);
            return Ok(());
        }
        // Operators hand gradients to all channels of an input at once: none may come twice in it.
        for view in &inputs {
            assert!(view.is_injective(), "views repeat no channel");
        }
        let operator = self.operator(node, &op, weights, probability, options)?;
        let epilogue = epilogue(&op, weights, !options.rounding.is_empty())?;
        let has_parameters = epilogue.bias.is_some() || epilogue.norm.is_some() || holds_weights(&op);
        let upstream = inputs.iter().flat_map(|view| &view.channels).any(|&(value, _)| self.trains(value));
        let mut value = Value::new(shape, self.images, epilogue.activation);
        let rounder = options.rounding.get(node).map(|rounding| Rounder::new(rounding, &mut value));
        self.values.push(value);
        self.views.push(View::of(node + 1, shape));
        let is_loss = op.is_head() || matches!(op, Op::Softmax(_) | Op::Cost);
        self.layers.push(Some(Layer {
            operator,
            epilogue,
            rounder,
            inputs,
            trains: has_parameters || upstream,
            is_loss,
        }));
        Ok(())
    }

    fn trains(&self, value: usize) -> bool {
        value > 0 && self.layers[value - 1].as_ref().is_some_and(|layer| layer.trains)
    }

    fn operator(
        &self,
        node: usize,
        op: &Op,
        weights: &LayerWeights,
        dropout: f64,
        options: &EngineOptions,
    ) -> Result<Box<dyn Operator<T>>> {
        let (input, shape, images) =
            (self.graph.input_shape(node), self.graph.nodes[node].shape, self.images);
        let numbers = || convert(&weights.weights);
        Ok(match op {
            Op::Conv(conv) if op.is_depthwise(input.c) => {
                Box::new(Depthwise::new(conv, numbers(), input, shape, images))
            }
            Op::Conv(conv) if conv.is_pointwise() && conv.groups == 1 => {
                Box::new(Pointwise::new(conv, numbers(), input.c, images * shape.plane()))
            }
            Op::Conv(conv) => Box::new(Convolution::new(conv, numbers(), input, shape, images)),
            Op::Connected(_) => Box::new(Connected::new(numbers(), input, images)),
            Op::MaxPool(pool) if pool.depth.is_some() => Box::new(DepthPool::new()),
            Op::MaxPool(pool) => Box::new(MaxPool::new(pool, input, shape)),
            Op::GlobalMaxPool => Box::new(MaxPool::global(input, shape)),
            Op::AvgPool => Box::new(AveragePool::global(input, shape)),
            Op::LocalAvgPool(pool) => Box::new(AveragePool::new(pool.clone(), input, shape)),
            Op::Upsample(upsample) => Box::new(Upsampling::new(upsample, input, shape)),
            Op::Shortcut(shortcut) => Box::new(Sum::new(shortcut, numbers(), shape)),
            Op::ScaleChannels(scale) => {
                let factors = if scale.scale_wh { Factors::Pixels } else { Factors::Channels };
                Box::new(Multiply { factors })
            }
            Op::Sam(_) => Box::new(Multiply { factors: Factors::Map }),
            Op::Dropout if dropout > 0.0 => Box::new(Dropout::new(dropout, options.seed ^ node as u64)),
            Op::BatchNorm(_) | Op::Route(_) | Op::Dropout | Op::Softmax(_) | Op::Cost => Box::new(Copy),
            op if op.is_head() => Box::new(Copy),
            Op::Reorg(_) | Op::Slice(_) | Op::Transpose(_) | Op::Reshape(_) => {
                let from = secateur_float::oracle::pixel_sources(&self.graph, node).ok_or_else(|| {
                    Error::new("the map is too large to train through").allowed("at most 16 million numbers")
                })?;
                Box::new(Gather::new(from, input, shape))
            }
            other => {
                return Err(Error::new("this layer cannot be trained through")
                    .found(other.name())
                    .help("train the network without it, or prune without finetuning"));
            }
        })
    }
}

/// Batch norm, bias and activation of an operator.
fn epilogue<T: Scalar>(op: &Op, weights: &LayerWeights, frozen: bool) -> Result<Epilogue<T>> {
    let (activation, has_bias) = match op {
        Op::Conv(conv) => (conv.activation, true),
        Op::Connected(connected) => (connected.activation, true),
        Op::BatchNorm(activation) => (*activation, true),
        Op::Shortcut(shortcut) => (shortcut.activation, false),
        Op::ScaleChannels(scale) => (scale.activation, false),
        Op::Sam(activation) => (*activation, false),
        _ => (Activation::Linear, false),
    };
    if !is_elementwise(activation) {
        return Err(Error::new("this activation cannot be trained through")
            .found(activation.name())
            .allowed("activations that look at one number at a time"));
    }
    let momentum = MOMENTUM[usize::from(matches!(op, Op::Connected(_)))];
    let norm = weights
        .batch_norm
        .as_ref()
        .map(|norm| Norm::new(convert(&norm.scale), convert(&norm.mean), convert(&norm.variance), momentum))
        .map(|norm| norm.with_frozen(frozen));
    let bias = has_bias.then(|| Parameter::new(Kind::Bias, convert(&weights.bias)));
    Ok(Epilogue { norm, bias, activation })
}

fn holds_weights(op: &Op) -> bool {
    match op {
        Op::Conv(_) | Op::Connected(_) => true,
        Op::Shortcut(shortcut) => shortcut.weights != ShortcutWeights::None,
        _ => false,
    }
}

fn convert<T: Scalar>(numbers: &[f32]) -> Vec<T> {
    numbers.iter().map(|&value| T::from_f32(value)).collect()
}
