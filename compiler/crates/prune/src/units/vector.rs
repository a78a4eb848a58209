//! Pruning vectors: one input channel × some neighbouring output channels of a dense layer.
//!
//! Shapes stay; removed weights are zero. The accelerator holds a vector in one weight word and spends no
//! cycle on words that are zero.

use bitvec::slice::BitSlice;

use super::{Part, PruneGroup, PruneUnits, Pruned};
use crate::reconstruct::{self, Block, Elimination, Reconstruction, Statistics};
use crate::{Figures, Masks};
use secateur_base::Result;
use secateur_float::Plan;
use secateur_ir::{Columns, Graph, LayerWeights, Op, Source, Weights, stat};

/// The vectors of a network's dense layers. Unit `block · inputs + input` of a layer's group is the weights
/// of output channels `block · rows ..` on one input channel.
pub struct VectorUnits<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    rows: usize,
    groups: Vec<PruneGroup>,
}

/// Returns whether vectors of `layer` can be removed: convolutions of one group and connected layers take part,
/// except those that read the image.
pub(crate) fn takes_part(graph: &Graph, layer: usize) -> bool {
    let node = &graph.nodes[layer];
    let dense = match &node.op {
        Op::Conv(conv) => conv.groups == 1,
        Op::Connected(_) => true,
        _ => false,
    };
    dense && node.inputs[0] != Source::Image
}

impl<'a> VectorUnits<'a> {
    /// Vectors of `rows` output channels; the last block of a layer may have fewer.
    pub fn new(graph: &'a Graph, weights: &'a Weights, rows: usize) -> Self {
        let masks = Masks::of_vectors(graph, rows);
        let groups = masks.layers().map(|(layer, units)| PruneGroup {
            primary: layer,
            dependents: Vec::new(),
            related: Vec::new(),
            units,
        });
        let groups = groups.collect();
        Self { graph, weights, rows, groups }
    }

    /// The inputs that each block of a layer's outputs still reads.
    fn blocks(&self, layer: usize, kept: &BitSlice<u8>) -> Vec<Block> {
        let (inputs, outputs) = (self.graph.input_shape(layer).c, self.graph.nodes[layer].shape.c);
        let block = |(block, kept): (usize, &BitSlice<u8>)| Block {
            outputs: block * self.rows..outputs.min((block + 1) * self.rows),
            kept: kept.iter().by_vals().collect(),
        };
        kept.chunks_exact(inputs).enumerate().map(block).collect()
    }

    /// A layer without its removed vectors; with `statistics` the others make up for them.
    fn masked(&self, layer: usize, kept: &BitSlice<u8>, statistics: Option<&Statistics>) -> LayerWeights {
        let mut weights = self.weights.layers[layer].clone();
        let columns = Columns::of(self.graph, layer);
        let blocks = self.blocks(layer, kept).into_iter().filter(|block| block.kept.contains(&false));
        for Block { outputs, kept } in blocks {
            if let Some(statistics) = statistics {
                weights = statistics.reconstruct_some(self.graph, layer, &weights, &kept, outputs.clone());
            }
            for input in (0..kept.len()).filter(|&input| !kept[input]) {
                outputs.clone().for_each(|output| weights.weights[columns.range(output, input)].fill(0.0));
            }
        }
        weights
    }

    /// The groups that lose something, and how many units they keep.
    fn pruned<'k>(&'k self, keep: &'k [usize]) -> impl Iterator<Item = (&'k PruneGroup, usize)> {
        self.groups.iter().zip(keep.iter().copied()).filter(|(group, keep)| *keep < group.units)
    }
}

impl PruneUnits for VectorUnits<'_> {
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
        Masks::of_vectors(self.graph, self.rows)
    }

    fn parts(&self, group: usize) -> Vec<Vec<Part>> {
        self.parts_of_layer(self.groups[group].primary).into_iter().map(|part| vec![part]).collect()
    }

    fn channels(&self, group: usize) -> Vec<Vec<(usize, usize)>> {
        let of_part = |part: Part| part.outputs.map(|channel| (part.layer, channel)).collect();
        self.parts_of_layer(self.groups[group].primary).into_iter().map(of_part).collect()
    }

    fn parts_of_layer(&self, layer: usize) -> Vec<Part> {
        let (inputs, outputs) = (self.graph.input_shape(layer).c, self.graph.nodes[layer].shape.c);
        let block = |block: usize| block * self.rows..outputs.min((block + 1) * self.rows);
        (0..outputs.div_ceil(self.rows))
            .flat_map(|b| (0..inputs).map(move |i| (b, i)))
            .map(|(b, input)| Part { layer, outputs: block(b), inputs: input..input + 1 })
            .collect()
    }

    fn eliminate(&self, statistics: &Statistics, group: usize) -> Elimination {
        let layer = self.groups[group].primary;
        reconstruct::eliminate_vectors(self.graph, self.weights, statistics, layer, self.rows)
    }

    fn changes(
        &self,
        group: usize,
        kept: &BitSlice<u8>,
        statistics: Option<&Statistics>,
    ) -> Vec<(usize, LayerWeights)> {
        let layer = self.groups[group].primary;
        vec![(layer, self.masked(layer, kept, statistics))]
    }

    fn prune(&self, masks: &Masks, reconstruction: Option<Reconstruction>) -> Result<Pruned> {
        let statistics = reconstruction.map(|reconstruction| reconstruction.statistics);
        let mut weights = self.weights.clone();
        for (group, details) in self.groups.iter().enumerate().filter(|(g, _)| !masks.of_group(*g).all()) {
            weights.layers[details.primary] = self.masked(details.primary, masks.of_group(group), statistics);
        }
        if let Some(reconstruction) = reconstruction {
            let of_layer = |layer: usize| match self.groups.iter().position(|group| group.primary == layer) {
                Some(group) => self.blocks(layer, masks.of_group(group)),
                None => vec![Block {
                    outputs: 0..self.graph.nodes[layer].shape.c,
                    kept: vec![true; self.graph.input_shape(layer).c],
                }],
            };
            let made: Vec<Vec<bool>> = self.graph.nodes.iter().map(|node| vec![true; node.shape.c]).collect();
            weights =
                reconstruct::network(self.graph, self.weights, weights, &of_layer, &made, reconstruction)?;
        }
        let plan = Plan::new(self.graph, &weights)?;
        Ok(Pruned { weights, plan })
    }

    /// Vectors count alike, whether their rows are all in use or not: the accelerator spends alike.
    fn macs(&self, keep: &[usize]) -> u64 {
        let costs = stat(self.graph);
        let all: u64 = costs.iter().map(|cost| cost.macs).sum();
        let gone = self.pruned(keep).map(|(group, keep)| {
            costs[group.primary].macs * (group.units - keep) as u64 / group.units as u64
        });
        all - gone.sum::<u64>()
    }

    fn figures(&self, keep: &[usize]) -> Figures {
        let whole = Figures::of_graph(self.graph);
        let whole_macs: u64 = stat(self.graph).iter().map(|cost| cost.macs).sum();
        let gone = self.pruned(keep).map(|(group, keep)| {
            let weights = self.weights.layers[group.primary].weights.len() as u64;
            weights * (group.units - keep) as u64 / group.units as u64
        });
        Figures {
            weights: whole.weights - gone.sum::<u64>(),
            operations: whole.operations - 2 * (whole_macs - self.macs(keep)),
            ..whole
        }
    }
}
