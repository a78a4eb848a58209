//! Masks: which prune units a network keeps.

mod file;

use bitvec::prelude::{BitSlice, BitVec};

use crate::Granularity;
use crate::units::takes_part;
use secateur_base::{Error, Result};
use secateur_ir::{BatchNorm, ChannelGroups, Columns, Graph, LayerWeights, Op, Weights};

pub use file::{MaskFile, NetworkHash};

/// One flag for each unit of every prune group: whether it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    granularity: Granularity,
    groups: Vec<GroupMask>,
}

/// The flags of one group, in the order of its units.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupMask {
    /// The layer that gives the group its name.
    layer: usize,
    kept: BitVec<u8>,
}

impl GroupMask {
    fn keep_all(layer: usize, units: usize) -> Self {
        Self { layer, kept: BitVec::repeat(true, units) }
    }
}

impl Masks {
    /// Keeps all channels.
    pub fn of_channels(channels: &ChannelGroups) -> Self {
        let groups =
            channels.groups.iter().map(|group| GroupMask::keep_all(group.primary(), group.units.len()));
        Self { granularity: Granularity::Channel, groups: groups.collect() }
    }

    /// Keeps all vectors of `rows` output channels.
    pub fn of_vectors(graph: &Graph, rows: usize) -> Self {
        let groups = (0..graph.nodes.len()).filter(|&layer| takes_part(graph, layer)).map(|layer| {
            let blocks = graph.nodes[layer].shape.c.div_ceil(rows);
            GroupMask::keep_all(layer, blocks * graph.input_shape(layer).c)
        });
        Self { granularity: Granularity::Vector { rows }, groups: groups.collect() }
    }

    /// Keeps all units of a granularity.
    pub fn keep_all(graph: &Graph, granularity: Granularity) -> Self {
        match granularity {
            Granularity::Channel => Self::of_channels(&ChannelGroups::new(graph)),
            Granularity::Vector { rows } => Self::of_vectors(graph, rows),
        }
    }

    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Every group's layer and number of units.
    pub fn layers(&self) -> impl Iterator<Item = (usize, usize)> {
        self.groups.iter().map(|group| (group.layer, group.kept.len()))
    }

    /// Sets which units of `group` stay. Of channels at least one must.
    pub fn set(&mut self, group: usize, kept: BitVec<u8>) {
        assert_eq!(kept.len(), self.groups[group].kept.len(), "one flag a unit");
        assert!(kept.any() || self.granularity != Granularity::Channel, "a group keeps at least one channel");
        self.groups[group].kept = kept;
    }

    /// Flags of one group's units.
    pub fn of_group(&self, group: usize) -> &BitSlice<u8> {
        &self.groups[group].kept
    }

    /// Number of units that stay, and of all.
    pub fn kept(&self) -> (usize, usize) {
        let kept = self.groups.iter().map(|group| group.kept.count_ones()).sum();
        (kept, self.groups.iter().map(|group| group.kept.len()).sum())
    }
}

/// What masks remove of weights, whatever the granularity.
impl Masks {
    /// Zeroes every weight that the masks remove, in the original shapes.
    pub fn zero(&self, graph: &Graph, weights: &mut Weights) {
        match self.granularity {
            Granularity::Channel => self.apply(graph, &ChannelGroups::new(graph), weights),
            Granularity::Vector { .. } => self.apply_vectors(graph, weights),
        }
    }

    /// 1 for every number that stays and 0 for every weight, bias and scale that the masks remove, in the shapes of
    /// `weights`.
    pub fn kept_numbers(&self, graph: &Graph, weights: &Weights) -> Weights {
        let ones = |numbers: &Vec<f32>| vec![1.0; numbers.len()];
        let of_layer = |layer: &LayerWeights| LayerWeights {
            bias: ones(&layer.bias),
            weights: ones(&layer.weights),
            batch_norm: layer.batch_norm.as_ref().map(|norm| BatchNorm {
                scale: ones(&norm.scale),
                mean: ones(&norm.mean),
                variance: ones(&norm.variance),
            }),
        };
        let mut kept = Weights { layers: weights.layers.iter().map(of_layer).collect() };
        self.zero(graph, &mut kept);
        kept
    }

    /// Checks that weights, biases and scales are 0 where the masks remove them, as in the weights that were written
    /// with the masks, and in those that were trained further under them.
    ///
    /// # Errors
    /// A number that is not 0, with its layer.
    pub fn require_masked(&self, graph: &Graph, weights: &Weights) -> Result<()> {
        let kept = self.kept_numbers(graph, weights);
        for (layer, (kept, weights)) in kept.layers.iter().zip(&weights.layers).enumerate() {
            let numbers = parameters(weights).zip(parameters(kept));
            let stray = numbers.filter(|(number, kept)| **kept == 0.0 && **number != 0.0).count();
            if stray > 0 {
                return Err(Error::new("the masks belong to other weights")
                    .layer(layer)
                    .section(graph.nodes[layer].op.name())
                    .found(format!("{stray} numbers that are not 0 where the masks remove them"))
                    .allowed(
                        "weights that `prune` wrote with these masks, or that were trained under them",
                    ));
            }
        }
        Ok(())
    }
}

/// What is trained of a layer.
fn parameters(layer: &LayerWeights) -> impl Iterator<Item = &f32> {
    let scales = layer.batch_norm.iter().flat_map(|norm| &norm.scale);
    layer.weights.iter().chain(&layer.bias).chain(scales)
}

/// Masks of channels.
impl Masks {
    /// Flag of every unit of the graph; units of no group are always kept.
    pub fn unit_flags(&self, channels: &ChannelGroups) -> Vec<bool> {
        assert_eq!(self.granularity, Granularity::Channel);
        let mut flags = vec![true; channels.units.len()];
        for (group, mask) in channels.groups.iter().zip(&self.groups) {
            for (&unit, kept) in group.units.iter().zip(mask.kept.iter().by_vals()) {
                flags[unit] = kept;
            }
        }
        flags
    }

    /// For every layer, which of its output channels are kept.
    pub fn channel_flags(&self, channels: &ChannelGroups, graph: &Graph) -> Vec<Vec<bool>> {
        let flags = self.unit_flags(channels);
        (0..graph.nodes.len())
            .map(|layer| channels.units_of(layer).iter().map(|&unit| flags[unit]).collect())
            .collect()
    }

    /// Zeroes every parameter that makes a removed channel, so that the channel is `activation(0)`.
    ///
    /// The shapes stay; [`crate::transform()`] makes the cut that computes the same.
    pub fn apply(&self, graph: &Graph, channels: &ChannelGroups, weights: &mut Weights) {
        let flags = self.channel_flags(channels, graph);
        for ((node, layer), kept) in graph.nodes.iter().zip(&mut weights.layers).zip(&flags) {
            zero_removed(&node.op, layer, kept);
        }
    }

    /// Finds the channels whose filters are all zero, as a pruner or a fine-tuning under masks leaves
    /// them. The last channel of a group is kept whatever it holds.
    pub fn detect(graph: &Graph, channels: &ChannelGroups, weights: &Weights) -> Self {
        let dead: Vec<Vec<bool>> = graph
            .nodes
            .iter()
            .zip(&weights.layers)
            .map(|(node, layer)| {
                (0..node.shape.c).map(|c| is_zero_filter(&node.op, layer, c, node.shape.c)).collect()
            })
            .collect();
        let mut masks = Self::of_channels(channels);
        for (number, group) in channels.groups.iter().enumerate() {
            let alive = |&unit: &usize| {
                let mut made = channels.units[unit].channels.iter();
                made.any(|&(layer, channel)| group.changes(layer) && !dead[layer][channel])
            };
            let mut kept: BitVec<u8> = group.units.iter().map(alive).collect();
            if kept.not_any() {
                kept.set(0, true);
            }
            masks.set(number, kept);
        }
        masks
    }
}

/// Masks of vectors.
impl Masks {
    /// Zeroes every weight of removed vectors; shapes stay.
    pub fn apply_vectors(&self, graph: &Graph, weights: &mut Weights) {
        let Granularity::Vector { rows } = self.granularity else { panic!("masks of vectors are needed") };
        for GroupMask { layer, kept } in &self.groups {
            let columns = Columns::of(graph, *layer);
            let (inputs, outputs) = (graph.input_shape(*layer).c, graph.nodes[*layer].shape.c);
            for unit in kept.iter_zeros() {
                let (block, input) = (unit / inputs, unit % inputs);
                for output in block * rows..outputs.min((block + 1) * rows) {
                    weights.layers[*layer].weights[columns.range(output, input)].fill(0.0);
                }
            }
        }
    }
}

/// Indices of the filter weights of output channel `channel` of `channels`.
fn filter(op: &Op, weights: usize, channel: usize, channels: usize) -> impl Iterator<Item = usize> + use<> {
    let (run, step) = match op {
        // A weighted shortcut's factors multiply channels that are made elsewhere.
        Op::Shortcut(_) => (0, 1),
        // `[in][out][k][k]`
        Op::Deconv(conv) => (conv.taps(), channels * conv.taps()),
        _ => (weights / channels, weights.max(1)),
    };
    (channel * run..weights).step_by(step).flat_map(move |start| start..start + run)
}

/// Zeroes the parameters of the output channels that are not `kept`.
pub(crate) fn zero_removed(op: &Op, layer: &mut LayerWeights, kept: &[bool]) {
    for channel in (0..kept.len()).filter(|&channel| !kept[channel]) {
        zero_channel(op, layer, channel, kept.len());
    }
}

/// Zeroes the parameters of output channel `channel` of `channels`: filter, bias and batch norm.
fn zero_channel(op: &Op, layer: &mut LayerWeights, channel: usize, channels: usize) {
    zero_filter(op, layer, channel, channels);
    if let Some(bias) = layer.bias.get_mut(channel) {
        *bias = 0.0;
    }
    if let Some(batch_norm) = &mut layer.batch_norm {
        batch_norm.scale[channel] = 0.0;
        batch_norm.mean[channel] = 0.0;
        batch_norm.variance[channel] = 1.0;
    }
}

/// Zeroes the filter weights of output channel `channel` of `channels`; its bias stays.
pub(crate) fn zero_filter(op: &Op, layer: &mut LayerWeights, channel: usize, channels: usize) {
    filter(op, layer.weights.len(), channel, channels).for_each(|i| layer.weights[i] = 0.0);
}

/// Returns whether output channel `channel` of `channels` has no weight that is not zero. A batchnorm layer
/// has no filter: there the scale decides.
fn is_zero_filter(op: &Op, layer: &LayerWeights, channel: usize, channels: usize) -> bool {
    match (op, &layer.batch_norm) {
        (Op::BatchNorm(_), Some(norm)) => norm.scale[channel] == 0.0,
        _ => filter(op, layer.weights.len(), channel, channels).all(|i| layer.weights[i] == 0.0),
    }
}
