//! Channel groups: which output channels can only be removed together.
//!
//! Every output channel of every layer belongs to exactly one *unit*. Removing a unit removes all
//! of its channels; what remains is a valid network. Units arise by union:
//!
//! | layer | tie |
//! |---|---|
//! | shortcut | channel `c` of all inputs that have it, and of the output |
//! | grouped and depthwise convolution | all inputs and outputs of one convolution group |
//! | pool, upsample, resize, dropout, batchnorm, scale, prelu, crop, cost | input channel = output channel |
//! | slice of rows or columns, transpose of rows and columns | input channel = output channel |
//! | reshape that keeps channels whole, or splits or joins whole ones | their elements' channels |
//! | route | concatenation: offsets; with `groups=` the same position in every slice |
//! | reorg | input channel `c` = output channels `c`, `c + C`, … (stride² of them) |
//! | scale_channels, sam | both inputs and the output |
//!
//! Never removable (frozen): the image, what yolo, region, detection and softmax read, outputs
//! without a consumer, and what mixes or counts channels by position (`reorg_old`, reverse reorg,
//! `maxpool_depth`, channel-normalising activations, a slice of channels, a transpose that moves them, any
//! other reshape).
//!
//! A *group* collects the units that are made by the same convolutions or connected layers, so a
//! ratio means the same for all of its members. A layer can take part in several groups: a shortcut
//! of unequal channels splits the wider input into the shared and the private channels.

use std::collections::BTreeMap;

use super::{Activation, Axis, Conv, Graph, Op, Route, Shape, Source};
use secateur_base::UnionFind;

/// Channels that go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The group that the unit belongs to; `None` if it can never be removed.
    pub group: Option<usize>,
    /// `(layer, output channel)`, ascending.
    pub channels: Vec<(usize, usize)>,
}

/// Units with the same producers; one ratio, one line in the sensitivities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Convolutions and connected layers that make these channels, ascending: the first is the
    /// *primary layer*, the others are *dependent layers* (tied by a shortcut, sam or scale_channels).
    pub producers: Vec<usize>,
    /// Layers with weights of their own between producers and consumers: depthwise and grouped
    /// convolutions, batchnorm, scale, prelu.
    pub related: Vec<usize>,
    /// Dense convolutions and connected layers that read these channels, ascending.
    pub consumers: Vec<usize>,
    /// Indices into [`ChannelGroups::units`], in the order of the primary layer's channels.
    pub units: Vec<usize>,
}

impl Group {
    /// The layer that gives the group its name.
    pub fn primary(&self) -> usize {
        self.producers[0]
    }

    /// Returns whether the group touches the weights of `layer` (a user may ask to leave it alone).
    pub fn changes(&self, layer: usize) -> bool {
        self.producers.contains(&layer) || self.related.contains(&layer)
    }
}

/// All units and groups of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelGroups {
    /// Groups in the order of their primary layers.
    pub groups: Vec<Group>,
    pub units: Vec<Unit>,
    /// `unit_of[layer][channel]`: index into [`ChannelGroups::units`].
    unit_of: Vec<Vec<usize>>,
}

impl ChannelGroups {
    /// Finds the groups of a verified graph.
    pub fn new(graph: &Graph) -> Self {
        let mut ties = Ties::new(graph);
        for layer in 0..graph.nodes.len() {
            ties.tie_layer(graph, layer);
        }
        for (layer, consumers) in graph.consumers().iter().enumerate() {
            if consumers.is_empty() {
                ties.freeze_output(graph, layer);
            }
        }
        ties.into_groups(graph)
    }

    /// The unit that holds an output channel.
    pub fn unit_of(&self, layer: usize, channel: usize) -> usize {
        self.unit_of[layer][channel]
    }

    /// Units of all output channels of a layer, in channel order.
    pub fn units_of(&self, layer: usize) -> &[usize] {
        &self.unit_of[layer]
    }
}

/// Returns whether `op` makes output channels of its own, each from all input channels.
pub fn is_dense(op: &Op) -> bool {
    match op {
        Op::Conv(conv) | Op::Deconv(conv) => conv.groups == 1,
        Op::Connected(_) => true,
        _ => false,
    }
}

/// Returns whether an activation looks at other channels of the same pixel.
fn mixes_channels(activation: Activation) -> bool {
    matches!(
        activation,
        Activation::NormChan | Activation::NormChanSoftmax | Activation::NormChanSoftmaxMaxval
    )
}

/// The units under construction: sets of output channels; the image's channels come first.
struct Ties {
    sets: UnionFind,
    frozen: Vec<bool>,
    /// First element of each layer's output.
    offset: Vec<usize>,
}

impl Ties {
    fn new(graph: &Graph) -> Self {
        let mut offset = Vec::with_capacity(graph.nodes.len());
        let mut total = graph.input.c;
        for node in &graph.nodes {
            offset.push(total);
            total += node.shape.c;
        }
        let mut frozen = vec![false; total];
        frozen[..graph.input.c].fill(true);
        Self { sets: UnionFind::new(total), frozen, offset }
    }

    fn element(&self, source: Source, channel: usize) -> usize {
        match source {
            Source::Image => channel,
            Source::Layer(layer) => self.offset[layer] + channel,
        }
    }

    fn root(&mut self, element: usize) -> usize {
        self.sets.find(element)
    }

    fn tie(&mut self, a: usize, b: usize) {
        if let Some((root, absorbed)) = self.sets.union(a, b) {
            self.frozen[root] |= self.frozen[absorbed];
        }
    }

    fn freeze(&mut self, source: Source, channels: usize) {
        for channel in 0..channels {
            let element = self.element(source, channel);
            let root = self.root(element);
            self.frozen[root] = true;
        }
    }

    fn freeze_output(&mut self, graph: &Graph, layer: usize) {
        self.freeze(Source::Layer(layer), graph.nodes[layer].shape.c);
    }

    fn freeze_all(&mut self, graph: &Graph, layer: usize) {
        for &input in &graph.nodes[layer].inputs {
            self.freeze(input, graph.shape_of(input).c);
        }
        self.freeze_output(graph, layer);
    }

    /// Ties channel `c` of `input` to output channel `c` of `layer`.
    fn tie_same(&mut self, graph: &Graph, layer: usize, input: Source) {
        let channels = graph.nodes[layer].shape.c.min(graph.shape_of(input).c);
        for channel in 0..channels {
            self.tie(self.element(input, channel), self.element(Source::Layer(layer), channel));
        }
    }

    fn tie_layer(&mut self, graph: &Graph, layer: usize) {
        let node = &graph.nodes[layer];
        let own = Source::Layer(layer);
        let activation = match &node.op {
            Op::Conv(conv) | Op::Deconv(conv) => conv.activation,
            Op::Connected(connected) => connected.activation,
            Op::BatchNorm(activation) | Op::Sam(activation) => *activation,
            Op::Shortcut(shortcut) => shortcut.activation,
            Op::ScaleChannels(scale) => scale.activation,
            _ => Activation::Linear,
        };
        match &node.op {
            Op::Conv(conv) | Op::Deconv(conv) if conv.groups > 1 => self.tie_groups(graph, layer, conv),
            Op::Conv(_) | Op::Deconv(_) | Op::Connected(_) => {}
            Op::MaxPool(pool) if pool.depth.is_some() => self.freeze_all(graph, layer),
            Op::MaxPool(_)
            | Op::LocalAvgPool(_)
            | Op::AvgPool
            | Op::Upsample(_)
            | Op::Dropout
            | Op::BatchNorm(_)
            | Op::Crop(_)
            | Op::Cost
            | Op::PRelu
            | Op::Scale
            | Op::GlobalMaxPool
            | Op::Resize(_) => self.tie_same(graph, layer, node.inputs[0]),
            Op::Slice(slice) if slice.axis != Axis::Channels => {
                self.tie_same(graph, layer, node.inputs[0]);
            }
            Op::Transpose(transpose) if transpose.order[0] == Axis::Channels => {
                self.tie_same(graph, layer, node.inputs[0]);
            }
            Op::Slice(_) | Op::Transpose(_) => self.freeze_all(graph, layer),
            Op::Reshape(shape) => self.tie_elements(graph, layer, *shape),
            Op::Shortcut(_) | Op::Sam(_) => {
                for &input in &node.inputs {
                    self.tie_same(graph, layer, input);
                }
            }
            Op::ScaleChannels(scale) => {
                if scale.scale_wh {
                    self.freeze(node.inputs[0], graph.shape_of(node.inputs[0]).c);
                } else {
                    self.tie_same(graph, layer, node.inputs[0]);
                }
                self.tie_same(graph, layer, node.inputs[1]);
            }
            Op::Route(route) => self.tie_slices(graph, layer, route),
            Op::Reorg(reorg) if reorg.old || reorg.reverse => self.freeze_all(graph, layer),
            Op::Reorg(_) => {
                let channels = graph.input_shape(layer).c;
                for output in 0..node.shape.c {
                    self.tie(self.element(node.inputs[0], output % channels), self.element(own, output));
                }
            }
            Op::Softmax(_) | Op::Yolo(_) | Op::Region(_) | Op::Detection(_) => {
                self.freeze_all(graph, layer);
            }
        }
        if mixes_channels(activation) {
            self.freeze_output(graph, layer);
        }
    }

    /// A grouped convolution's channels come and go by whole groups.
    fn tie_groups(&mut self, graph: &Graph, layer: usize, conv: &Conv) {
        let own = Source::Layer(layer);
        let per_group = graph.input_shape(layer).c / conv.groups;
        let filters = conv.filters / conv.groups;
        for group in 0..conv.groups {
            let first = self.element(own, group * filters);
            for channel in group * per_group..(group + 1) * per_group {
                self.tie(first, self.element(graph.nodes[layer].inputs[0], channel));
            }
            for filter in group * filters..(group + 1) * filters {
                self.tie(first, self.element(own, filter));
            }
        }
    }

    /// A reshape's output channels are tied to those input channels that their elements come from.
    fn tie_elements(&mut self, graph: &Graph, layer: usize, shape: Shape) {
        let input = graph.nodes[layer].inputs[0];
        let (from, to) = (graph.shape_of(input).plane(), shape.plane());
        if !from.is_multiple_of(to) && !to.is_multiple_of(from) {
            return self.freeze_all(graph, layer);
        }
        for element in (0..shape.len()).step_by(from.min(to)) {
            let channel = self.element(input, element / from);
            self.tie(channel, self.element(Source::Layer(layer), element / to));
        }
    }

    /// A route's outputs are the chosen slices of its inputs; of all slices the same positions stay.
    fn tie_slices(&mut self, graph: &Graph, layer: usize, route: &Route) {
        let mut next = 0;
        for &input in &graph.nodes[layer].inputs {
            let slice = graph.shape_of(input).c / route.groups;
            for position in 0..slice {
                let output = self.element(Source::Layer(layer), next + position);
                self.tie(output, self.element(input, route.group_id * slice + position));
                for other in 0..route.groups {
                    self.tie(output, self.element(input, other * slice + position));
                }
            }
            next += slice;
        }
    }

    fn into_groups(mut self, graph: &Graph) -> ChannelGroups {
        let mut unit_of_root = BTreeMap::new();
        let mut units: Vec<Unit> = Vec::new();
        let mut frozen = Vec::new();
        let mut unit_of = Vec::with_capacity(graph.nodes.len());
        for (layer, node) in graph.nodes.iter().enumerate() {
            let mut of_layer = Vec::with_capacity(node.shape.c);
            for channel in 0..node.shape.c {
                let root = self.root(self.offset[layer] + channel);
                let unit = *unit_of_root.entry(root).or_insert_with(|| {
                    units.push(Unit { group: None, channels: Vec::new() });
                    frozen.push(self.frozen[root]);
                    units.len() - 1
                });
                units[unit].channels.push((layer, channel));
                of_layer.push(unit);
            }
            unit_of.push(of_layer);
        }

        let weighs = |layer: usize| match &graph.nodes[layer].op {
            Op::Conv(_) | Op::Deconv(_) | Op::BatchNorm(_) | Op::PRelu | Op::Scale => true,
            op => is_dense(op),
        };
        // Units are numbered by first appearance, so each group's units come in channel order.
        let mut by_signature: BTreeMap<Vec<usize>, Group> = BTreeMap::new();
        for (index, unit) in units.iter().enumerate() {
            let producers: Vec<usize> = unit
                .channels
                .iter()
                .map(|&(layer, _)| layer)
                .filter(|&layer| is_dense(&graph.nodes[layer].op))
                .collect();
            // Without a producer the channels are a frozen layer's, or the image's.
            if frozen[index] || producers.is_empty() {
                continue;
            }
            let related = unit
                .channels
                .iter()
                .map(|&(layer, _)| layer)
                .filter(|&layer| weighs(layer) && !is_dense(&graph.nodes[layer].op));
            let group = by_signature.entry(producers.clone()).or_insert_with(|| Group {
                producers,
                related: Vec::new(),
                consumers: Vec::new(),
                units: Vec::new(),
            });
            group.producers.dedup();
            group.related.extend(related);
            group.units.push(index);
        }
        let mut groups: Vec<Group> = by_signature.into_values().collect();
        groups.sort_by_key(|group| (group.primary(), group.units[0]));

        for (number, group) in groups.iter_mut().enumerate() {
            group.related.sort_unstable();
            group.related.dedup();
            for &unit in &group.units {
                units[unit].group = Some(number);
            }
        }
        for (layer, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is_dense(&node.op)) {
            let Some(&Source::Layer(from)) = node.inputs.first() else { continue };
            for &unit in &unit_of[from] {
                if let Some(group) = units[unit].group {
                    let consumers = &mut groups[group].consumers;
                    if consumers.last() != Some(&layer) {
                        consumers.push(layer);
                    }
                }
            }
        }
        ChannelGroups { groups, units, unit_of }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Coordinates, Node, Resize, ResizeKind, Slice, Transpose, infer, verify};

    /// Convolutions of 4 channels around `ops`, each of which reads the layer before it.
    fn between(ops: Vec<Op>) -> (Graph, ChannelGroups) {
        let mut graph = Graph { input: Shape::new(3, 4, 4), nodes: Vec::new(), letter_box: false };
        let conv = || Op::Conv(Conv::square(4, 1));
        for op in std::iter::once(conv()).chain(ops).chain([conv()]) {
            let source = graph.nodes.len().checked_sub(1).map_or(Source::Image, Source::Layer);
            let shape = infer(&op, &[graph.shape_of(source)]).unwrap();
            graph.nodes.push(Node::new(op, vec![source], shape));
        }
        verify(&graph).unwrap();
        let groups = ChannelGroups::new(&graph);
        (graph, groups)
    }

    #[test]
    fn operators_that_keep_channels_tie_them() {
        let (kind, coordinates) = (ResizeKind::Bilinear, Coordinates::HalfPixel);
        let (_, groups) = between(vec![
            Op::Scale,
            Op::PRelu,
            Op::Resize(Resize { height: 6, width: 8, kind, coordinates }),
            Op::Slice(Slice { axis: Axis::Columns, start: 0, end: 8, step: 2 }),
            Op::Transpose(Transpose { order: [Axis::Channels, Axis::Columns, Axis::Rows] }),
            Op::GlobalMaxPool,
        ]);
        let [group] = &groups.groups[..] else { panic!("{groups:?}") };
        assert_eq!(
            (&group.producers[..], &group.related[..], &group.consumers[..]),
            (&[0][..], &[1, 2][..], &[7][..])
        );
        for (channel, &unit) in group.units.iter().enumerate() {
            let expected: Vec<(usize, usize)> = (0..7).map(|layer| (layer, channel)).collect();
            assert_eq!(groups.units[unit].channels, expected);
        }
    }

    #[test]
    fn a_reshape_ties_the_channels_that_its_elements_come_from() {
        let (_, groups) = between(vec![Op::Reshape(Shape::new(8, 8, 1)), Op::Reshape(Shape::new(2, 8, 4))]);
        // Two channels become one, whose removal takes both along.
        assert_eq!(groups.groups[0].units.len(), 2);
        let unit = groups.groups[0].units[1];
        assert_eq!(groups.units[unit].channels, [(0, 2), (0, 3), (1, 4), (1, 5), (1, 6), (1, 7), (2, 1)]);
        let (_, groups) = between(vec![Op::Reshape(Shape::new(1, 8, 8)), Op::Reshape(Shape::new(4, 4, 4))]);
        assert_eq!(groups.groups[0].units.len(), 1);
        // 16 elements a channel against 6: no channel stays whole.
        let (_, groups) = between(vec![
            Op::Slice(Slice { axis: Axis::Rows, start: 0, end: 3, step: 1 }),
            Op::Reshape(Shape::new(6, 8, 1)),
        ]);
        assert!(groups.groups.is_empty(), "{groups:?}");
    }

    #[test]
    fn what_counts_channels_by_position_freezes_them() {
        for op in [
            Op::Slice(Slice { axis: Axis::Channels, start: 1, end: 3, step: 1 }),
            Op::Transpose(Transpose { order: [Axis::Rows, Axis::Channels, Axis::Columns] }),
        ] {
            let (_, groups) = between(vec![op]);
            assert!(groups.groups.is_empty(), "{groups:?}");
        }
    }
}
