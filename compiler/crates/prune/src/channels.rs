//! Pruning whole channels, each with everything that makes and reads it.

use std::path::Path;

use super::repair::{self, Block, Statistics};
use super::{Figures, Granularity, Masks, Pruned, Ranking, UnitSet, constants, cut_graph, masks, transform};
use secateur_base::Result;
use secateur_float::Plan;
use secateur_ir::{ChannelGroups, Columns, Graph, LayerWeights, Source, Weights, stat};

/// The channels of a network in the order of a criterion.
pub struct Channels<'a> {
    graph: &'a Graph,
    groups: &'a ChannelGroups,
    weights: &'a Weights,
    ranking: Ranking,
    repair: Option<Repair<'a>>,
    sets: Vec<UnitSet>,
}

/// What the readers of removed units are refitted with.
#[derive(Clone, Copy)]
pub struct Repair<'a> {
    /// Of the original, for one set alone.
    pub statistics: &'a Statistics,
    /// Inputs for a repair of the whole network.
    pub pictures: &'a [&'a [f32]],
    pub ridge: f64,
}

impl<'a> Channels<'a> {
    /// Without a `repair` the readers' weights stay as they are.
    pub fn new(
        graph: &'a Graph,
        groups: &'a ChannelGroups,
        weights: &'a Weights,
        ranking: Ranking,
        repair: Option<Repair<'a>>,
    ) -> Self {
        let sets = groups.groups.iter().map(|group| UnitSet {
            main: group.main(),
            slaves: group.producers[1..].to_vec(),
            related: group.related.clone(),
            units: group.units.len(),
        });
        Self { graph, groups, weights, ranking, repair, sets: sets.collect() }
    }

    /// Which units make no difference to the costs, so the first ones stand for them.
    fn cut(&self, keep: &[usize]) -> Graph {
        let mut masks = Masks::keep_all(self.groups);
        for (group, &keep) in keep.iter().enumerate() {
            masks.set(group, (0..self.sets[group].units).map(|position| position < keep).collect());
        }
        cut_graph(self.graph, self.groups, &masks)
    }
}

impl Granularity for Channels<'_> {
    fn graph(&self) -> &Graph {
        self.graph
    }

    fn weights(&self) -> &Weights {
        self.weights
    }

    fn sets(&self) -> &[UnitSet] {
        &self.sets
    }

    fn costs(&self, set: usize) -> Option<&[f64]> {
        self.ranking.costs.as_ref().map(|costs| costs[set].as_slice())
    }

    /// Where dead channels are zero these are the readers alone, else all layers that make the channels.
    fn changes(&self, set: usize, keep: usize) -> Vec<(usize, LayerWeights)> {
        let mut masks = Masks::keep_all(self.groups);
        masks.set(set, self.ranking.flags(set, keep));
        let kept = masks.channel_flags(self.groups, self.graph);
        let details = &self.groups.groups[set];
        let node = |layer: usize| &self.graph.nodes[layer];
        let from = |layer: usize| match node(layer).inputs[0] {
            Source::Layer(from) => Some(from),
            Source::Image => None,
        };
        if let Some(repair) = self.repair {
            let readers = details.consumers.iter().filter_map(|&layer| {
                let weights = &self.weights.layers[layer];
                Some((layer, repair.statistics.repair(self.graph, layer, weights, &kept[from(layer)?])))
            });
            return readers.collect();
        }
        let mut masked = self.weights.clone();
        masks.apply(self.graph, self.groups, &mut masked);
        let constants = constants::of_removed(self.graph, &masked, &kept);
        let mut read = details.consumers.iter().filter_map(|&layer| from(layer));
        if !read.all(|from| constants[from].iter().all(|constant| *constant == Some(0.0))) {
            let makers = details.producers.iter().chain(&details.related);
            return makers
                .map(|&layer| {
                    let mut weights = self.weights.layers[layer].clone();
                    masks::zero_removed(&node(layer).op, &mut weights, &kept[layer]);
                    (layer, weights)
                })
                .collect();
        }
        let readers = details.consumers.iter().filter_map(|&layer| {
            let mut weights = self.weights.layers[layer].clone();
            let columns = Columns::of(self.graph, layer);
            for (channel, _) in kept[from(layer)?].iter().enumerate().filter(|(_, kept)| !**kept) {
                for output in 0..node(layer).shape.c {
                    weights.weights[columns.range(output, channel)].fill(0.0);
                }
            }
            Some((layer, weights))
        });
        readers.collect()
    }

    fn prune(&self, keep: &[usize]) -> Result<Pruned> {
        let masks = self.ranking.masks(self.groups, keep);
        let mut weights = self.weights.clone();
        masks.apply(self.graph, self.groups, &mut weights);
        if let Some(Repair { pictures, ridge, .. }) = self.repair {
            let kept = masks.channel_flags(self.groups, self.graph);
            let all = |layer: usize| match self.graph.nodes[layer].inputs[0] {
                Source::Layer(from) => {
                    vec![Block { outputs: 0..self.graph.nodes[layer].shape.c, kept: kept[from].clone() }]
                }
                Source::Image => Vec::new(),
            };
            weights = repair::joint(self.graph, self.weights, weights, &all, &kept, pictures, ridge)?;
        }
        let cut = transform(self.graph, self.groups, &weights, &masks);
        Ok(Pruned { weights, plan: Plan::new(&cut.graph, &cut.weights)? })
    }

    fn macs(&self, keep: &[usize]) -> u64 {
        stat(&self.cut(keep)).iter().map(|cost| cost.macs).sum()
    }

    fn figures(&self, keep: &[usize]) -> Figures {
        Figures::of_graph(&self.cut(keep))
    }

    fn save_masks(&self, keep: &[usize], path: &Path) -> Result<()> {
        self.ranking.masks(self.groups, keep).save(self.groups, path)
    }
}
