//! From the graph to steps: aliases resolved, shortcuts fused, kernels chosen.

use std::sync::Arc;

use super::step::{Kernel, Step, View};
use crate::fold_layer;
use crate::kernels::{Convolution, Dense, Depthwise, Epilogue, Factors, MaxPool, Separable};
use secateur_base::{Error, Result};
use secateur_ir::{
    Activation, Connected, Conv, Graph, Op, ShortcutWeights, Source, Weights, parameter_counts,
};

/// The value of the image.
pub(super) const IMAGE: usize = 0;

/// Steps of a whole network and the values between them.
pub(super) struct Built {
    pub(super) steps: Vec<Step>,
    /// Length of every value.
    pub(super) lens: Vec<usize>,
    /// View of every layer's output; `None` where fusion removed it.
    pub(super) views: Vec<Option<View>>,
}

struct Builder<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    kept: &'a [bool],
    consumers: Vec<Vec<usize>>,
    /// Layers that an earlier step computes or makes superfluous.
    absorbed: Vec<bool>,
    built: Built,
}

/// Chooses kernels for `graph`; every layer in `kept` gets a value of its own numbers.
pub(super) fn build(graph: &Graph, weights: &Weights, kept: &[bool]) -> Result<Built> {
    check(graph, weights)?;
    let built =
        Built { steps: Vec::new(), lens: vec![graph.input.len()], views: vec![None; graph.nodes.len()] };
    let absorbed = vec![false; graph.nodes.len()];
    let mut builder = Builder { graph, weights, kept, consumers: graph.consumers(), absorbed, built };
    for layer in 0..graph.nodes.len() {
        if !builder.absorbed[layer] {
            builder.layer(layer);
        }
    }
    Ok(builder.built)
}

impl<'a> Builder<'a> {
    fn layer(&mut self, layer: usize) {
        let graph = self.graph;
        let node = &graph.nodes[layer];
        let shape = node.shape;
        let inputs: Vec<View> = node.inputs.iter().map(|&source| self.view(source)).collect();
        let plain = || Kernel::Plain(self.weights.layers[layer].clone());
        let kernel = match &node.op {
            Op::Conv(conv) if Dense::affordable(conv, graph.input_shape(layer), shape) => {
                return self.convolution(layer, conv, inputs[0]);
            }
            Op::Connected(connected) => self.connected(layer, connected).unwrap_or_else(plain),
            Op::Dropout | Op::Cost | Op::Reshape(_) => {
                let whole = (0, inputs[0].len);
                return self.alias_or_copy(layer, inputs, vec![whole]);
            }
            Op::Route(route) => {
                let slices = inputs
                    .iter()
                    .map(|view| (view.len / route.groups * route.group_id, view.len / route.groups))
                    .collect();
                return self.alias_or_copy(layer, inputs, slices);
            }
            Op::MaxPool(pool)
                if pool.depth.is_none() && MaxPool::affordable(pool, graph.input_shape(layer), shape) =>
            {
                Kernel::MaxPool(MaxPool::new(pool, graph.input_shape(layer), shape))
            }
            Op::Shortcut(s)
                if s.weights == ShortcutWeights::None
                    && element_wise(s.activation)
                    && graph
                        .input_shapes(layer)
                        .iter()
                        .all(|input| (input.h, input.w) == (shape.h, shape.w)) =>
            {
                Kernel::Add(s.activation)
            }
            Op::Upsample(up) if !up.reverse => Kernel::Upsample(up.clone(), graph.input_shape(layer)),
            Op::AvgPool => Kernel::Average(graph.input_shape(layer).plane()),
            Op::ScaleChannels(s) if element_wise(s.activation) => {
                let by = if s.scale_wh { Factors::Pixel } else { Factors::Channel };
                Kernel::Scale(by, shape.plane(), s.activation)
            }
            Op::Sam(activation) if element_wise(*activation) => {
                Kernel::Scale(Factors::Element, shape.plane(), *activation)
            }
            Op::Yolo(yolo) => Kernel::Yolo(yolo.clone(), shape.plane()),
            _ => plain(),
        };
        let macs = match &node.op {
            Op::Connected(_) | Op::Deconv(_) | Op::Conv(_) => self.weights.layers[layer].weights.len() as u64,
            _ => 0,
        } * match &node.op {
            Op::Deconv(_) => graph.input_shape(layer).plane() as u64,
            Op::Conv(_) => shape.plane() as u64,
            _ => 1,
        };
        let output = self.step(kernel, (layer, layer), inputs, shape.len(), macs);
        self.built.views[layer] = Some(output);
    }

    fn view(&self, source: Source) -> View {
        match source {
            Source::Image => View { value: IMAGE, start: 0, len: self.graph.input.len() },
            Source::Layer(from) => {
                self.built.views[from].expect("only a value that nobody reads is left out")
            }
        }
    }

    /// Adds a step that defines a new value.
    fn step(
        &mut self,
        kernel: Kernel,
        (first, layer): (usize, usize),
        inputs: Vec<View>,
        len: usize,
        macs: u64,
    ) -> View {
        let output = self.built.lens.len();
        self.built.lens.push(len);
        self.built.steps.push(Step {
            kernel: Arc::new(kernel),
            first,
            layer,
            inputs,
            output,
            output_len: len,
            macs,
        });
        View { value: output, start: 0, len }
    }

    /// One slice needs no copy, except of the image, which is not kept.
    fn alias_or_copy(&mut self, layer: usize, inputs: Vec<View>, slices: Vec<(usize, usize)>) {
        self.built.views[layer] = Some(match (&inputs[..], &slices[..]) {
            (&[View { value, start, .. }], &[(at, len)]) if !(value == IMAGE && self.kept[layer]) => {
                View { value, start: start + at, len }
            }
            _ => {
                let len = slices.iter().map(|&(_, len)| len).sum();
                self.step(Kernel::Copy(slices), (layer, layer), inputs, len, 0)
            }
        });
    }

    fn convolution(&mut self, layer: usize, conv: &Conv, input: View) {
        let (from, to) = (self.graph.input_shape(layer), self.graph.nodes[layer].shape);
        let folded = fold_layer(&self.graph.nodes[layer].op, &self.weights.layers[layer]);
        let macs = (to.plane() * folded.weights.len()) as u64;
        let epilogue = Epilogue::new(conv.activation);
        let whole = Convolution::new(conv, &folded, from, to);
        let mut layers = (layer, layer);
        let mut inputs = vec![input];
        let kernel = if conv.depth_multiplier(from.c).is_some() {
            Kernel::Depthwise(Depthwise::new(whole))
        } else {
            if conv.is_pointwise() {
                if epilogue.is_some()
                    && conv.groups == 1
                    && to.plane() >= Separable::MIN_PIXELS
                    && let Some((next, depthwise)) = self.fusible_depthwise(layer)
                {
                    return self.separable((layer, conv), (next, depthwise), input);
                }
                if epilogue.is_some()
                    && let Some((chain, added)) = self.fusible_shortcut(layer)
                {
                    inputs.push(self.view(added));
                    layers = (layer, *chain.last().expect("the chain ends in the shortcut"));
                    chain.into_iter().for_each(|absorbed| self.absorbed[absorbed] = true);
                }
            } else {
                let phases = Dense::phases(conv, from, to);
                let len = phases.len(from.c);
                inputs = vec![self.step(Kernel::Phases(phases, from.c), layers, inputs, len, 0)];
            }
            Kernel::Dense(Dense::new(whole))
        };
        let mut output = self.step(kernel, layers, inputs, to.len(), macs);
        if epilogue.is_none() {
            output = self.step(Kernel::Normalize(conv.activation), layers, vec![output], to.len(), 0);
        }
        self.built.views[layers.1] = Some(output);
    }

    /// The depthwise convolution that alone reads `layer`.
    fn fusible_depthwise(&self, layer: usize) -> Option<(usize, &'a Conv)> {
        let &[next] = &self.consumers[layer][..] else { return None };
        let (from, node) = (self.graph.nodes[layer].shape, &self.graph.nodes[next]);
        match &node.op {
            Op::Conv(conv)
                if !self.kept[layer]
                    && Dense::affordable(conv, from, node.shape)
                    && conv.depth_multiplier(from.c).is_some()
                    && Epilogue::new(conv.activation).is_some() =>
            {
                Some((next, conv))
            }
            _ => None,
        }
    }

    /// One step for a pointwise convolution and the depthwise one after it.
    fn separable(&mut self, (layer, conv): (usize, &Conv), (next, depthwise): (usize, &Conv), input: View) {
        let graph = self.graph;
        let (from, hidden, to) =
            (graph.input_shape(layer), graph.nodes[layer].shape, graph.nodes[next].shape);
        let numbers = |layer: usize| fold_layer(&graph.nodes[layer].op, &self.weights.layers[layer]);
        let (first, second) = (numbers(layer), numbers(next));
        let macs = (hidden.plane() * first.weights.len() + to.plane() * second.weights.len()) as u64;
        let dense = Dense::new(Convolution::new(conv, &first, from, hidden));
        let depthwise = Depthwise::new(Convolution::new(depthwise, &second, hidden, to));
        let kernel = Kernel::Separable(Separable::new(dense, depthwise, hidden));
        self.absorbed[next] = true;
        self.built.views[next] = Some(self.step(kernel, (layer, next), vec![input], to.len(), macs));
    }

    /// The shortcut that alone reads `layer`, after the identities before it, and the earlier feature map
    /// that it adds.
    fn fusible_shortcut(&self, layer: usize) -> Option<(Vec<usize>, Source)> {
        let mut chain = Vec::new();
        loop {
            let last = *chain.last().unwrap_or(&layer);
            let &[next] = &self.consumers[last][..] else { return None };
            if self.kept[last] {
                return None;
            }
            chain.push(next);
            let node = &self.graph.nodes[next];
            match &node.op {
                Op::Dropout | Op::Cost => {}
                Op::Shortcut(s)
                    if s.weights == ShortcutWeights::None && s.activation == Activation::Linear =>
                {
                    let &[a, b] = &node.inputs[..] else { return None };
                    let added = if a == Source::Layer(last) { b } else { a };
                    let earlier = match added {
                        Source::Image => true,
                        Source::Layer(from) => from < layer,
                    };
                    let same = self.graph.shape_of(added) == node.shape
                        && self.graph.nodes[layer].shape == node.shape;
                    return (earlier && same).then_some((chain, added));
                }
                _ => return None,
            }
        }
    }

    fn connected(&self, layer: usize, connected: &Connected) -> Option<Kernel> {
        let folded = fold_layer(&self.graph.nodes[layer].op, &self.weights.layers[layer]);
        element_wise(connected.activation).then_some(Kernel::Connected {
            weights: folded.weights,
            bias: folded.bias,
            activation: connected.activation,
        })
    }
}

fn element_wise(activation: Activation) -> bool {
    Epilogue::new(activation).is_some()
}

/// Refuses weights that are not this graph's.
fn check(graph: &Graph, weights: &Weights) -> Result<()> {
    if weights.layers.len() != graph.nodes.len() {
        return Err(Error::new("the weights are another network's")
            .found(format!("{} layers", weights.layers.len()))
            .allowed(format!("{} layers", graph.nodes.len())));
    }
    for i in 0..graph.nodes.len() {
        check_layer(graph, i, &weights.layers[i])?;
    }
    Ok(())
}

/// [`check`] of one layer.
pub(super) fn check_layer(graph: &Graph, i: usize, layer: &secateur_ir::LayerWeights) -> Result<()> {
    let counts = parameter_counts(&graph.nodes[i].op, &graph.input_shapes(i));
    let (outputs, numbers) = (counts.bias, counts.weights);
    let normalized = layer
        .batch_norm
        .as_ref()
        .is_none_or(|norm| [&norm.scale, &norm.mean, &norm.variance].iter().all(|v| v.len() == outputs));
    if layer.bias.len() == outputs && layer.weights.len() == numbers && normalized {
        return Ok(());
    }
    let error = Error::new("the layer's weights do not fit its shape")
        .found(format!("{} biases, {} weights", layer.bias.len(), layer.weights.len()))
        .allowed(format!("{outputs} biases, {numbers} weights"));
    Err(graph.locate(i, error))
}
