//! Pruning vectors: one input channel × some neighbouring output channels of a dense layer.
//!
//! Shapes stay; what goes is zero. The accelerator holds a vector in one weight word and spends no
//! cycle on words that are zero.

use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::channels::Repair;
use super::criteria::ascending;
use super::repair::{self, Block};
use super::vector_masks::{VectorMasks, takes_part};
use super::{Criterion, Figures, Granularity, Pruned, Ranking, UnitSet};
use secateur_base::Result;
use secateur_float::{self as float, Plan};
use secateur_ir::{Columns, Graph, LayerWeights, Weights, stat};

/// The vectors of a network's dense layers in the order of a criterion. Unit `block · inputs + input`
/// of a layer's set is the weights of output channels `block · rows ..` on one input channel.
pub struct Vectors<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    rows: usize,
    ranking: Ranking,
    repair: Option<Repair<'a>>,
    sets: Vec<UnitSet>,
}

impl<'a> Vectors<'a> {
    /// Ranks by L1, L2 or at random, or, with a `repair`, by what a layer loses after it
    /// ([`Criterion::Repair`]; without one that counts as `l1`, as does `bn-gamma`).
    ///
    /// Convolutions of one group and connected layers take part, except those that read the picture.
    pub fn new(
        graph: &'a Graph,
        weights: &'a Weights,
        rows: usize,
        criterion: Criterion,
        repair: Option<Repair<'a>>,
        seed: u64,
    ) -> Self {
        let sets: Vec<UnitSet> = (0..graph.nodes.len())
            .filter(|&layer| takes_part(graph, layer))
            .map(|layer| UnitSet {
                main: layer,
                slaves: Vec::new(),
                related: Vec::new(),
                units: graph.nodes[layer].shape.c.div_ceil(rows) * graph.input_shape(layer).c,
            })
            .collect();
        let folded = float::fold(graph, weights);
        let scores = |set: &UnitSet| -> Vec<f64> {
            let layer = set.main;
            let inputs = graph.input_shape(layer).c;
            let columns = Columns::of(graph, layer);
            let outputs = graph.nodes[layer].shape.c;
            let score = |unit: usize| {
                let (block, input) = (unit / inputs, unit % inputs);
                let members = block * rows..outputs.min((block + 1) * rows);
                let taps = members.flat_map(|output| columns.range(output, input));
                let values = taps.map(|at| f64::from(folded.layers[layer].weights[at]));
                match criterion {
                    Criterion::L2 => values.map(|w| w * w).sum::<f64>().sqrt(),
                    _ => values.map(f64::abs).sum(),
                }
            };
            (0..set.units).map(score).collect()
        };
        let ranking = match (criterion, repair) {
            (Criterion::Random, _) => Ranking {
                order: (0..).zip(&sets).map(|(stream, set)| shuffled(set, seed, stream)).collect(),
                costs: None,
            },
            (Criterion::Repair, Some(Repair { statistics, .. })) => {
                let of_set = |set: &UnitSet| {
                    let ranked = repair::rank_vectors(graph, weights, statistics, set.main, rows);
                    ranked.expect("a layer that takes part reads another layer")
                };
                let (order, costs) = sets.iter().map(of_set).unzip();
                Ranking { order, costs: Some(costs) }
            }
            _ => Ranking { order: sets.iter().map(|set| ascending(&scores(set))).collect(), costs: None },
        };
        Self { graph, weights, rows, ranking, repair, sets }
    }

    /// What the outputs of a set's layer read when it keeps `keep` vectors.
    fn blocks(&self, set: usize, keep: usize) -> Vec<Block> {
        let layer = self.sets[set].main;
        let (inputs, outputs) = (self.graph.input_shape(layer).c, self.graph.nodes[layer].shape.c);
        let kept = self.ranking.flags(set, keep);
        let block = |(block, kept): (usize, &[bool])| Block {
            outputs: block * self.rows..outputs.min((block + 1) * self.rows),
            kept: kept.to_vec(),
        };
        kept.chunks_exact(inputs).enumerate().map(block).collect()
    }

    /// A set's layer without the vectors that go, the others' work taken over where there is a repair.
    fn masked(&self, set: usize, keep: usize) -> LayerWeights {
        let layer = self.sets[set].main;
        let mut weights = self.weights.layers[layer].clone();
        let columns = Columns::of(self.graph, layer);
        let blocks = self.blocks(set, keep).into_iter().filter(|block| block.kept.contains(&false));
        for Block { outputs, kept } in blocks {
            if let Some(repair) = self.repair {
                weights = repair.statistics.repair_some(self.graph, layer, &weights, &kept, outputs.clone());
            }
            for (input, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
                outputs.clone().for_each(|output| weights.weights[columns.range(output, input)].fill(0.0));
            }
        }
        weights
    }

    /// `(set, kept)` of the sets that lose something.
    fn pruned<'k>(&self, keep: &'k [usize]) -> impl Iterator<Item = (usize, usize)> + use<'k, '_> {
        keep.iter().copied().enumerate().filter(|&(set, keep)| keep < self.sets[set].units)
    }
}

fn shuffled(set: &UnitSet, seed: u64, stream: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut order: Vec<usize> = (0..set.units).collect();
    order.shuffle(&mut rng);
    order
}

impl Granularity for Vectors<'_> {
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

    fn changes(&self, set: usize, keep: usize) -> Vec<(usize, LayerWeights)> {
        vec![(self.sets[set].main, self.masked(set, keep))]
    }

    fn prune(&self, keep: &[usize]) -> Result<Pruned> {
        let mut weights = self.weights.clone();
        for (set, keep) in self.pruned(keep) {
            weights.layers[self.sets[set].main] = self.masked(set, keep);
        }
        if let Some(Repair { pictures, ridge, .. }) = self.repair {
            let of_layer = |layer: usize| match self.sets.iter().position(|set| set.main == layer) {
                Some(set) => self.blocks(set, keep[set]),
                None => vec![Block {
                    outputs: 0..self.graph.nodes[layer].shape.c,
                    kept: vec![true; self.graph.input_shape(layer).c],
                }],
            };
            let made: Vec<Vec<bool>> = self.graph.nodes.iter().map(|node| vec![true; node.shape.c]).collect();
            weights = repair::joint(self.graph, self.weights, weights, &of_layer, &made, pictures, ridge)?;
        }
        let plan = Plan::new(self.graph, &weights)?;
        Ok(Pruned { weights, plan })
    }

    /// Vectors count alike, whether their rows are all in use or not: the accelerator spends alike.
    fn macs(&self, keep: &[usize]) -> u64 {
        let costs = stat(self.graph);
        let all: u64 = costs.iter().map(|cost| cost.macs).sum();
        let gone = self.pruned(keep).map(|(set, keep)| {
            let UnitSet { main, units, .. } = self.sets[set];
            costs[main].macs * (units - keep) as u64 / units as u64
        });
        all - gone.sum::<u64>()
    }

    fn figures(&self, keep: &[usize]) -> Figures {
        let whole = Figures::of_graph(self.graph);
        let whole_macs: u64 = stat(self.graph).iter().map(|cost| cost.macs).sum();
        let gone = self.pruned(keep).map(|(set, keep)| {
            let UnitSet { main, units, .. } = self.sets[set];
            self.weights.layers[main].weights.len() as u64 * (units - keep) as u64 / units as u64
        });
        Figures {
            weights: whole.weights - gone.sum::<u64>(),
            operations: whole.operations - 2 * (whole_macs - self.macs(keep)),
            ..whole
        }
    }

    fn save_masks(&self, keep: &[usize], path: &Path) -> Result<()> {
        let mut masks = VectorMasks::new(self.rows);
        for (set, &UnitSet { main, .. }) in self.sets.iter().enumerate() {
            masks.set(main, self.graph.input_shape(main).c, &self.ranking.flags(set, keep[set]));
        }
        masks.save(path)
    }
}
