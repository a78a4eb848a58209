//! Reordering of channels that groups unimportant weights into the same vectors.
//!
//! A vector is one input channel × `rows` neighbouring output channels. Which channels are neighbours
//! does not matter to the network, so the order is free: channels that hardly read the same inputs
//! belong together (after Pool and Yu 2021, "Channel permutations for N:M sparsity").

use super::units::takes_part;
use secateur_float as float;
use secateur_ir::{
    ChannelGroups, Columns, Graph, LayerWeights, Op, ShortcutWeights, Source, Weights, is_dense,
};

/// The minimum gain of a swap, relative to the sum of all products: above the rounding of that sum, so that
/// the exchange ends.
const MIN_GAIN: f64 = 1e-9;

/// The origin of the channels of every layer: `order[layer][new channel]` is the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    layers: Vec<Vec<usize>>,
}

impl Order {
    /// Chooses the order for vectors of `rows` output channels.
    ///
    /// Channels are exchanged within their group, those of a residual chain in all its layers at
    /// once; the inputs of a head keep their order.
    pub fn choose(graph: &Graph, weights: &Weights, rows: usize) -> Self {
        let groups = ChannelGroups::new(graph);
        let folded = float::fold(graph, weights);
        let mut layers: Vec<Vec<usize>> =
            graph.nodes.iter().map(|node| (0..node.shape.c).collect()).collect();
        for group in &groups.groups {
            // Units with channels in the same layers, equally many in each, can be exchanged.
            let signature = |unit: usize| -> Vec<usize> {
                groups.units[unit].channels.iter().map(|&(layer, _)| layer).collect()
            };
            let alike: Vec<usize> =
                group.units.iter().copied().filter(|&u| signature(u) == signature(group.units[0])).collect();
            let producers: Vec<usize> =
                group.producers.iter().copied().filter(|&layer| takes_part(graph, layer)).collect();
            let single = |layer: &usize| {
                groups.units[alike[0]].channels.iter().filter(|(l, _)| l == layer).count() == 1
            };
            if producers.is_empty() || !producers.iter().all(single) {
                continue;
            }
            let channel = |unit: usize, layer: usize| {
                let found = groups.units[unit].channels.iter().find(|(l, _)| *l == layer);
                found.expect("units alike have channels in the same layers").1
            };
            let profiles: Vec<Vec<f64>> = alike
                .iter()
                .map(|&unit| {
                    let of =
                        |&layer: &usize| profile(graph, &folded.layers[layer], layer, channel(unit, layer));
                    producers.iter().flat_map(of).collect()
                })
                .collect();
            let blocks: Vec<usize> = alike.iter().map(|&unit| channel(unit, producers[0]) / rows).collect();
            for (position, unit) in alike.iter().zip(arrange(&profiles, &blocks)) {
                let (to, from) = (&groups.units[*position].channels, &groups.units[alike[unit]].channels);
                for (&(layer, to), &(_, from)) in to.iter().zip(from) {
                    layers[layer][to] = from;
                }
            }
        }
        Self { layers }
    }

    /// Number of channels of all layers that have another position.
    pub fn moved(&self) -> usize {
        self.layers.iter().flat_map(|order| order.iter().enumerate()).filter(|(to, from)| to != *from).count()
    }

    /// The same network with its channels in this order; shapes and results stay.
    pub fn apply(&self, graph: &Graph, weights: &Weights) -> Weights {
        let layers = graph.nodes.iter().zip(&weights.layers).enumerate();
        let reordered = layers.map(|(layer, (node, old))| {
            let order = &self.layers[layer];
            let pick = |values: &[f32]| -> Vec<f32> { order.iter().map(|&from| values[from]).collect() };
            let mut new = old.clone();
            if old.bias.len() == order.len() {
                new.bias = pick(&old.bias);
            }
            if let Some(norm) = &mut new.batch_norm {
                for values in [&mut norm.scale, &mut norm.mean, &mut norm.variance] {
                    *values = pick(values);
                }
            }
            match &node.op {
                op if is_dense(op) => {
                    let columns = Columns::of(graph, layer);
                    let inputs = graph.input_shape(layer).c;
                    let input = |to: usize| match node.inputs[0] {
                        Source::Layer(from) => self.layers[from][to],
                        Source::Image => to,
                    };
                    for (to, &from) in order.iter().enumerate() {
                        for column in 0..inputs {
                            new.weights[columns.range(to, column)]
                                .copy_from_slice(&old.weights[columns.range(from, input(column))]);
                        }
                    }
                }
                Op::Conv(_) => {
                    let filter = old.weights.len() / order.len();
                    let filters = order.iter().flat_map(|&from| &old.weights[from * filter..][..filter]);
                    new.weights = filters.copied().collect();
                }
                Op::Shortcut(shortcut) if shortcut.weights == ShortcutWeights::PerChannel => {
                    new.weights = old.weights.chunks_exact(order.len()).flat_map(pick).collect();
                }
                _ => {}
            }
            new
        });
        Weights { layers: reordered.collect() }
    }
}

/// The use that an output channel makes of each input: the sum of |w| relative to the layer's mean.
fn profile(graph: &Graph, weights: &LayerWeights, layer: usize, output: usize) -> Vec<f64> {
    let columns = Columns::of(graph, layer);
    let sum = |values: &[f32]| values.iter().map(|&w| f64::from(w).abs()).sum::<f64>();
    let mean = sum(&weights.weights) / (graph.input_shape(layer).c * graph.nodes[layer].shape.c) as f64;
    let relative = |input| sum(&weights.weights[columns.range(output, input)]) / mean.max(f64::MIN_POSITIVE);
    (0..graph.input_shape(layer).c).map(relative).collect()
}

/// Assigns members to positions so that members of a block resemble each other; `blocks[position]`.
///
/// The sum over blocks and inputs of (a vector's sum)² grows with the products of members that share a
/// block; pairs are exchanged as long as that makes it greater.
fn arrange(profiles: &[Vec<f64>], blocks: &[usize]) -> Vec<usize> {
    let count = profiles.len();
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let likeness: Vec<Vec<f64>> =
        profiles.iter().map(|a| profiles.iter().map(|b| product(a, b)).collect()).collect();
    let least = MIN_GAIN * likeness.iter().flatten().sum::<f64>();
    let last = blocks.iter().copied().max().unwrap_or(0);
    // `pull[member][block]`: likeness to all of a block, its own included.
    let mut pull = vec![vec![0.0; last + 1]; count];
    for (member, pull) in pull.iter_mut().enumerate() {
        for (other, &block) in blocks.iter().enumerate() {
            pull[block] += likeness[member][other];
        }
    }
    let mut at: Vec<usize> = (0..count).collect();
    loop {
        let mut improved = false;
        for first in 0..count {
            for second in first + 1..count {
                let (a, b, p, q) = (at[first], at[second], blocks[first], blocks[second]);
                let gain =
                    pull[a][q] - pull[a][p] + pull[b][p] - pull[b][q] + likeness[a][a] + likeness[b][b]
                        - 2.0 * likeness[a][b];
                if p == q || gain <= least {
                    continue;
                }
                at.swap(first, second);
                for (member, pull) in pull.iter_mut().enumerate() {
                    let change = likeness[member][b] - likeness[member][a];
                    pull[p] += change;
                    pull[q] -= change;
                }
                improved = true;
            }
        }
        if !improved {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use secateur_float::oracle;
    use secateur_ir::Op;
    use secateur_testing::{RandomOptions, cases, random_network};

    #[test]
    fn members_that_read_the_same_inputs_meet() {
        // Four kinds, dealt out in turn.
        let profiles: Vec<Vec<f64>> =
            (0..16).map(|m| (0..4).map(|i| f64::from(u8::from(i == m % 4))).collect()).collect();
        let blocks: Vec<usize> = (0..16).map(|position| position / 4).collect();
        let at = arrange(&profiles, &blocks);
        for block in at.chunks(4) {
            assert!(block.iter().all(|member| member % 4 == block[0] % 4), "{at:?}");
        }
        let mut all = at.clone();
        all.sort_unstable();
        assert_eq!(all, (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn reordered_networks_compute_the_same() {
        let mut moved = 0;
        for seed in 0..cases(60) {
            let rare = seed % 3 == 0;
            let options = RandomOptions { rare, classifier: seed % 7 == 0, side: 16, ..Default::default() };
            let (_, graph, weights) = random_network(seed, &options);
            let order = Order::choose(&graph, &weights, 2);
            moved += order.moved();
            let reordered = order.apply(&graph, &weights);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let image: Vec<f32> = (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
            let (before, after) =
                (oracle::run(&graph, &weights, &image), oracle::run(&graph, &reordered, &image));
            for (layer, node) in graph.nodes.iter().enumerate() {
                let plane = node.shape.plane();
                let largest = before[layer].iter().fold(0f32, |l, v| l.max(v.abs()));
                for (to, &from) in order.layers[layer].iter().enumerate() {
                    // Softmax and region are in an order of their own, and nothing in front of them moves.
                    let (a, b) =
                        (&before[layer][from * plane..][..plane], &after[layer][to * plane..][..plane]);
                    for (a, b) in a.iter().zip(b).filter(|(a, b)| a != b) {
                        assert!((a - b).abs() <= 1e-5 * largest, "seed {seed}, layer {layer}: {a} {b}");
                    }
                }
                if matches!(node.op, Op::Yolo(_) | Op::Softmax(_)) {
                    assert!(order.layers[layer].is_sorted(), "seed {seed}: a head's channels moved");
                }
            }
        }
        assert!(moved > 500, "{moved} channels moved");
    }

    #[test]
    fn vectors_differ_more_after_it() {
        let (_, graph, weights) =
            random_network(5, &RandomOptions { channels: 64, layers: 12, ..Default::default() });
        let spread = |weights: &Weights| -> f64 {
            let dense = (0..graph.nodes.len()).filter(|&layer| takes_part(&graph, layer));
            let of_layer = |layer: usize| {
                let columns = Columns::of(&graph, layer);
                let outputs = graph.nodes[layer].shape.c;
                let vector = |block: usize, input: usize| -> f64 {
                    let members = block * 8..outputs.min(block * 8 + 8);
                    let all = members.flat_map(|output| columns.range(output, input));
                    all.map(|at| f64::from(weights.layers[layer].weights[at]).abs()).sum()
                };
                let blocks = 0..outputs.div_ceil(8);
                let inputs = graph.input_shape(layer).c;
                blocks
                    .flat_map(|b| (0..inputs).map(move |i| (b, i)))
                    .map(|(b, i)| vector(b, i).powi(2))
                    .sum::<f64>()
            };
            dense.map(of_layer).sum()
        };
        let after = Order::choose(&graph, &weights, 8).apply(&graph, &weights);
        assert!(spread(&after) > spread(&weights), "{} {}", spread(&after), spread(&weights));
    }
}
