//! Pruning whole channels, each with everything that makes and reads it.

use bitvec::slice::BitSlice;

use super::{Part, PruneGroup, PruneUnits, Pruned};
use crate::mask::zero_removed;
use crate::reconstruct::{self, Block, Elimination, Reconstruction, Statistics};
use crate::{Figures, Masks, constants, cut_graph, transform};
use secateur_base::Result;
use secateur_float::Plan;
use secateur_ir::{ChannelGroups, Columns, Graph, LayerWeights, Source, Weights, stat};

/// The channels of a network.
pub struct ChannelUnits<'a> {
    graph: &'a Graph,
    channels: ChannelGroups,
    weights: &'a Weights,
    groups: Vec<PruneGroup>,
}

impl<'a> ChannelUnits<'a> {
    pub fn new(graph: &'a Graph, weights: &'a Weights) -> Self {
        let channels = ChannelGroups::new(graph);
        let groups = channels.groups.iter().map(|group| PruneGroup {
            primary: group.primary(),
            dependents: group.producers[1..].to_vec(),
            related: group.related.clone(),
            units: group.units.len(),
        });
        Self { graph, groups: groups.collect(), channels, weights }
    }

    /// Costs do not depend on which units are kept, so the first ones stand for them.
    fn cut(&self, keep: &[usize]) -> Graph {
        let mut masks = self.keep_all();
        for (group, &keep) in keep.iter().enumerate() {
            masks.set(group, (0..self.groups[group].units).map(|position| position < keep).collect());
        }
        cut_graph(self.graph, &self.channels, &masks)
    }

    /// The layer that a layer reads first; none where that is the image.
    fn input(&self, layer: usize) -> Option<usize> {
        match self.graph.nodes[layer].inputs[0] {
            Source::Layer(from) => Some(from),
            Source::Image => None,
        }
    }

    /// A layer's weights with those on removed input channels zero.
    fn without_inputs(&self, layer: usize, kept: &[bool]) -> LayerWeights {
        let mut weights = self.weights.layers[layer].clone();
        let columns = Columns::of(self.graph, layer);
        for channel in (0..kept.len()).filter(|&channel| !kept[channel]) {
            for output in 0..self.graph.nodes[layer].shape.c {
                weights.weights[columns.range(output, channel)].fill(0.0);
            }
        }
        weights
    }
}

impl PruneUnits for ChannelUnits<'_> {
    fn graph(&self) -> &Graph {
        self.graph
    }

    fn weights(&self) -> &Weights {
        self.weights
    }

    fn groups(&self) -> &[PruneGroup] {
        &self.groups
    }

    fn keep_all(&self) -> Masks {
        Masks::of_channels(&self.channels)
    }

    fn parts(&self, group: usize) -> Vec<Vec<Part>> {
        let producers = &self.channels.groups[group].producers;
        let of_unit = |&unit: &usize| {
            let channels = self.channels.units[unit].channels.iter();
            let made = channels.filter(|(layer, _)| producers.contains(layer));
            made.map(|&(layer, channel)| filter(self.graph, layer, channel)).collect()
        };
        self.channels.groups[group].units.iter().map(of_unit).collect()
    }

    fn channels(&self, group: usize) -> Vec<Vec<(usize, usize)>> {
        let details = &self.channels.groups[group];
        let of_unit = |&unit: &usize| {
            let channels = self.channels.units[unit].channels.iter();
            channels.filter(|(layer, _)| details.changes(*layer)).copied().collect()
        };
        details.units.iter().map(of_unit).collect()
    }

    fn parts_of_layer(&self, layer: usize) -> Vec<Part> {
        (0..self.graph.nodes[layer].shape.c).map(|channel| filter(self.graph, layer, channel)).collect()
    }

    fn eliminate(&self, statistics: &Statistics, group: usize) -> Elimination {
        reconstruct::eliminate_channels(self.graph, &self.channels, self.weights, statistics, group)
    }

    /// Where dead channels are zero these are the consumers alone, else all layers that make the channels.
    fn changes(
        &self,
        group: usize,
        kept: &BitSlice<u8>,
        statistics: Option<&Statistics>,
    ) -> Vec<(usize, LayerWeights)> {
        let mut masks = self.keep_all();
        masks.set(group, kept.to_bitvec());
        let kept = masks.channel_flags(&self.channels, self.graph);
        let details = &self.channels.groups[group];
        let consumers = || details.consumers.iter().filter_map(|&layer| Some((layer, self.input(layer)?)));
        if let Some(statistics) = statistics {
            let fitted = consumers().map(|(layer, from)| {
                let weights = &self.weights.layers[layer];
                (layer, statistics.reconstruct(self.graph, layer, weights, &kept[from]))
            });
            return fitted.collect();
        }
        let mut masked = self.weights.clone();
        masks.apply(self.graph, &self.channels, &mut masked);
        let constants = constants::of_removed(self.graph, &masked, &kept);
        let zero = |from: usize| constants[from].iter().all(|constant| *constant == Some(0.0));
        if consumers().all(|(_, from)| zero(from)) {
            return consumers()
                .map(|(layer, from)| (layer, self.without_inputs(layer, &kept[from])))
                .collect();
        }
        let makers = details.producers.iter().chain(&details.related);
        let masked = makers.map(|&layer| {
            let mut weights = self.weights.layers[layer].clone();
            zero_removed(&self.graph.nodes[layer].op, &mut weights, &kept[layer]);
            (layer, weights)
        });
        masked.collect()
    }

    fn prune(&self, masks: &Masks, reconstruction: Option<Reconstruction>) -> Result<Pruned> {
        let mut weights = self.weights.clone();
        masks.apply(self.graph, &self.channels, &mut weights);
        if let Some(reconstruction) = reconstruction {
            let kept = masks.channel_flags(&self.channels, self.graph);
            let all = |layer: usize| match self.input(layer) {
                Some(from) => {
                    vec![Block { outputs: 0..self.graph.nodes[layer].shape.c, kept: kept[from].clone() }]
                }
                None => Vec::new(),
            };
            weights = reconstruct::network(self.graph, self.weights, weights, &all, &kept, reconstruction)?;
        }
        let cut = transform(self.graph, &self.channels, &weights, masks);
        Ok(Pruned { weights, plan: Plan::new(&cut.graph, &cut.weights)? })
    }

    fn macs(&self, keep: &[usize]) -> u64 {
        stat(&self.cut(keep)).iter().map(|cost| cost.macs).sum()
    }

    fn figures(&self, keep: &[usize]) -> Figures {
        Figures::of_graph(&self.cut(keep))
    }
}

fn filter(graph: &Graph, layer: usize, channel: usize) -> Part {
    Part { layer, outputs: channel..channel + 1, inputs: 0..graph.input_shape(layer).c }
}
