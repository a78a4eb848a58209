//! Outlier channel splitting (OCS): more than eight bits where the heads need them, on the same int8 back
//! ends.
//!
//! A *split* channel is computed twice, a quarter of a step too high and a quarter too low, and its consumers
//! take half of each: together the copies resolve half steps. The float network stays the same
//! function. It costs operations, so units of channels (which can only go together, as in pruning) are
//! split in the order of what they bring for an operation. After Zhao et al. 2019 ("Improving neural
//! network quantization without retraining using outlier channel splitting"), which halves outliers.

use rayon::prelude::*;

use super::quantised::Quantised;
use super::sensitivity;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_float::{Cut, Keep, Plan};
use secateur_ir::{
    ChannelGroups, Columns, Graph, Op, Source, Weights, is_dense, layer_cost, select_graph, select_layer,
};

/// Images that noise is measured on.
const IMAGES: usize = 4;

/// Offset of the two copies of a channel, in steps.
const OFFSET: f32 = 0.25;

/// Anchors of less objectness than this, with and without noise, are left out: they are no detections at any
/// threshold in use, and there are thousands of them.
const MIN_OBJECTNESS: f32 = 0.01;

/// A network with some channels twice.
pub(crate) struct Split {
    pub(crate) graph: Graph,
    pub(crate) weights: Weights,
    /// `[layer][channel]`: offset of the channel, in steps of its output's scale.
    pub(crate) offsets: Vec<Vec<f32>>,
}

/// Splits what brings most, for up to the share `budget` of the network's multiply-accumulates.
///
/// `quantised` is the network without splits, `images` as for calibration.
pub(crate) fn split(
    graph: &Graph,
    weights: &Weights,
    quantised: &Quantised,
    images: &[Vec<f32>],
    budget: f64,
) -> Result<Split> {
    let groups = ChannelGroups::new(graph);
    let noise = noise(quantised, images)?;
    let chosen = choose(graph, &groups, &noise, budget);
    Ok(widen(graph, weights, &groups, &chosen))
}

/// `[layer][channel]`: squared change of the heads' scores when that channel alone is rounded.
fn noise(quantised: &Quantised, images: &[Vec<f32>]) -> Result<Vec<Vec<f64>>> {
    let Quantised { net, prepared } = quantised;
    let plan = Plan::keeping(&prepared.graph, &prepared.weights, &Keep::All)?;
    let images = sensitivity::some(images, IMAGES);
    let outputs = sensitivity::outputs(&plan, prepared.graph.nodes.len(), &images);
    let answers: Vec<usize> = net.heads().into_iter().map(|layer| prepared.output_of(layer)).collect();
    let layers: Vec<usize> = (0..net.nodes.len()).collect();
    let cuts: Vec<Option<Cut>> = layers
        .iter()
        .map(|&layer| net.nodes[layer].op.rounds().then(|| plan.downstream_of(prepared.output_of(layer))))
        .collect();
    let trials: Vec<(usize, usize)> = layers
        .iter()
        .filter(|&&layer| cuts[layer].is_some())
        .flat_map(|&layer| (0..net.nodes[layer].output.shape.c).map(move |channel| (layer, channel)))
        .collect();
    let progress = Progress::new("measuring per-channel output noise", trials.len() as u64);
    let changes: Vec<f64> = trials
        .par_iter()
        .map_init(
            || plan.scratch(),
            |scratch, &(layer, channel)| {
                let cut = cuts[layer].as_ref().expect("trials are of layers that round");
                let node = prepared.output_of(layer);
                let plane = prepared.graph.nodes[node].shape.plane();
                let mut sum = 0.0;
                for (outputs, image) in outputs.iter().zip(&images) {
                    let mut rounded = outputs[node].clone();
                    let values = &mut rounded[channel * plane..][..plane];
                    net.nodes[layer].output.round(values, prepared.sign(Source::Layer(node), channel));
                    let input = |source: &Source| match *source {
                        Source::Image => &image[..],
                        Source::Layer(from) if from == node => &rounded,
                        Source::Layer(from) => &outputs[from],
                    };
                    let inputs: Vec<&[f32]> = cut.inputs().iter().map(input).collect();
                    plan.run_cut(scratch, cut, &inputs);
                    for &answer in answers.iter().filter(|answer| cut.outputs().contains(answer)) {
                        let shape = prepared.graph.nodes[answer].shape;
                        let op = &prepared.graph.nodes[answer].op;
                        sum += change(op, shape.plane(), &outputs[answer], plan.output(scratch, answer));
                    }
                }
                progress.advance(1);
                sum
            },
        )
        .collect();
    let mut noise: Vec<Vec<f64>> = net.nodes.iter().map(|node| vec![0.0; node.output.shape.c]).collect();
    for ((layer, channel), change) in trials.into_iter().zip(changes) {
        noise[layer][channel] = change;
    }
    Ok(noise)
}

/// Squared change of a head's scores, or of whatever else the network puts out.
fn change(op: &Op, plane: usize, before: &[f32], after: &[f32]) -> f64 {
    let Op::Yolo(yolo) = op else {
        return before.iter().zip(after).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    };
    let entries = 5 + yolo.classes;
    let mut sum = 0.0;
    for anchor in 0..yolo.mask.len() {
        let entry = |k: usize| (anchor * entries + k) * plane;
        for pixel in 0..plane {
            let (a, b) = (before[entry(4) + pixel], after[entry(4) + pixel]);
            if a.max(b) < MIN_OBJECTNESS {
                continue;
            }
            for class in 5..entries {
                let at = entry(class) + pixel;
                sum += f64::from(a * before[at] - b * after[at]).powi(2);
            }
        }
    }
    sum
}

/// Flags of the units to be split: as many as the budget holds, those first that bring most for what each
/// costs alone.
fn choose(graph: &Graph, groups: &ChannelGroups, noise: &[Vec<f64>], budget: f64) -> Vec<bool> {
    let mut cost = vec![0f64; groups.units.len()];
    for (layer, node) in graph.nodes.iter().enumerate() {
        let macs = layer_cost(graph, layer).macs as f64;
        for &unit in groups.units_of(layer) {
            cost[unit] += macs / node.shape.c as f64;
        }
        if let (true, Source::Layer(from)) = (is_dense(&node.op), node.inputs[0]) {
            let inputs = groups.units_of(from);
            inputs.iter().for_each(|&unit| cost[unit] += macs / inputs.len() as f64);
        }
    }
    let gain =
        |unit: usize| groups.units[unit].channels.iter().map(|&(layer, c)| noise[layer][c]).sum::<f64>();
    let total: f64 = (0..graph.nodes.len()).map(|layer| layer_cost(graph, layer).macs as f64).sum();
    let mut units: Vec<(f64, usize)> = (0..groups.units.len())
        .filter(|&unit| cost[unit] > 0.0 && cost[unit] <= budget * total && can_split(graph, groups, unit))
        .map(|unit| (gain(unit) / cost[unit], unit))
        .filter(|(worth, _)| *worth > 0.0)
        .collect();
    units.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    // What a unit adds grows with the others: a weight is there twice for either channel that is.
    let chosen = |count: usize| {
        let mut chosen = vec![false; groups.units.len()];
        units[..count].iter().for_each(|&(_, unit)| chosen[unit] = true);
        chosen
    };
    let macs = |count: usize| {
        let wide = select_graph(graph, &counts(graph, groups, &chosen(count)));
        (0..wide.nodes.len()).map(|layer| layer_cost(&wide, layer).macs as f64).sum::<f64>()
    };
    let limit = (1.0 + budget) * total;
    let sizes: Vec<usize> = (1..=units.len()).collect();
    chosen(sizes.partition_point(|&count| macs(count) <= limit))
}

/// Channels of every layer with the units that `chosen` flags twice.
fn counts(graph: &Graph, groups: &ChannelGroups, chosen: &[bool]) -> Vec<usize> {
    let count = |layer: usize| {
        let units = groups.units_of(layer);
        units.len() + units.iter().filter(|&&unit| chosen[unit]).count()
    };
    (0..graph.nodes.len()).map(count).collect()
}

/// Returns true if every operator that a unit passes computes its channels one by one, or sums over them.
fn can_split(graph: &Graph, groups: &ChannelGroups, unit: usize) -> bool {
    let unit = &groups.units[unit];
    unit.group.is_some()
        && unit.channels.iter().all(|&(layer, _)| match &graph.nodes[layer].op {
            op @ Op::Conv(_) => is_dense(op) || op.is_depthwise(graph.input_shape(layer).c),
            Op::Connected(_)
            | Op::BatchNorm(_)
            | Op::AvgPool
            | Op::LocalAvgPool(_)
            | Op::Upsample(_)
            | Op::Route(_)
            | Op::Shortcut(_)
            | Op::Dropout
            | Op::Cost => true,
            Op::MaxPool(pool) => pool.depth.is_none(),
            _ => false,
        })
}

/// The network with the units that `chosen` flags twice, copies side by side.
fn widen(graph: &Graph, weights: &Weights, groups: &ChannelGroups, chosen: &[bool]) -> Split {
    let copies = |unit: usize| if chosen[unit] { 2 } else { 1 };
    let channels: Vec<Vec<usize>> = (0..graph.nodes.len())
        .map(|layer| {
            let units = groups.units_of(layer).iter().enumerate();
            units.flat_map(|(c, &unit)| std::iter::repeat_n(c, copies(unit))).collect()
        })
        .collect();
    let image: Vec<usize> = (0..graph.input.c).collect();
    let wide = select_graph(graph, &counts(graph, groups, chosen));
    let layers = (0..graph.nodes.len()).map(|layer| {
        let node = &graph.nodes[layer];
        let inputs = match node.inputs[0] {
            Source::Layer(from) => &channels[from],
            Source::Image => &image,
        };
        let mut selected = select_layer(graph, layer, &weights.layers[layer], inputs, &channels[layer]);
        if let (true, Source::Layer(from)) = (is_dense(&node.op), node.inputs[0]) {
            let columns = Columns::of(&wide, layer);
            let halved = |&input: &usize| chosen[groups.unit_of(from, inputs[input])];
            for input in (0..inputs.len()).filter(halved) {
                for output in 0..channels[layer].len() {
                    selected.weights[columns.range(output, input)].iter_mut().for_each(|w| *w *= 0.5);
                }
            }
        }
        selected
    });
    let weights = Weights { layers: layers.collect() };
    let offsets = channels.iter().enumerate().map(|(layer, channels)| {
        let offset = |(at, &c): (usize, &usize)| match chosen[groups.unit_of(layer, c)] {
            true if at > 0 && channels[at - 1] == c => -OFFSET,
            true => OFFSET,
            false => 0.0,
        };
        channels.iter().enumerate().map(offset).collect()
    });
    let offsets = offsets.collect();
    Split { graph: wide, weights, offsets }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::net::Provenance;
    use crate::{QuantiseOptions, detector, exec, quantise};
    use secateur_float::oracle;
    use secateur_testing::{RandomOptions, random_network};

    fn random(seed: u64, layers: usize) -> (Graph, Weights, Vec<Vec<f32>>) {
        let options = RandomOptions {
            layers,
            side: 16,
            rare: seed.is_multiple_of(3),
            classifier: seed.is_multiple_of(7),
            ..RandomOptions::default()
        };
        let (_, graph, weights) = random_network(seed, &options);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut image = || (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
        let images = vec![image(), image(), image()];
        (graph, weights, images)
    }

    /// The original's channel of each channel of a widened layer.
    fn originals(offsets: &[f32]) -> Vec<usize> {
        let second = offsets.iter().scan(0, |seen, &offset| {
            *seen += usize::from(offset < 0.0);
            Some(*seen)
        });
        second.enumerate().map(|(at, copies)| at - copies).collect()
    }

    #[test]
    fn a_widened_network_computes_the_same() {
        let mut twice = 0;
        for seed in 0..200 {
            let (graph, weights, images) = random(seed, 12);
            let groups = ChannelGroups::new(&graph);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let chosen: Vec<bool> = (0..groups.units.len())
                .map(|unit| can_split(&graph, &groups, unit) && rng.random_bool(0.4))
                .collect();
            let split = widen(&graph, &weights, &groups, &chosen);
            let narrow = oracle::run(&graph, &weights, &images[0]);
            let wide = oracle::run(&split.graph, &split.weights, &images[0]);
            for (layer, (narrow, wide)) in narrow.iter().zip(&wide).enumerate() {
                let plane = graph.nodes[layer].shape.plane();
                let scale = narrow.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
                let places = originals(&split.offsets[layer]);
                twice += places.len() - graph.nodes[layer].shape.c;
                for (channel, &from) in wide.chunks_exact(plane).zip(&places) {
                    for (a, b) in narrow[from * plane..][..plane].iter().zip(channel) {
                        assert!(
                            (a - b).abs() <= 1e-4 * scale,
                            "seed {seed} layer {layer} {}: {b} for {a}",
                            graph.nodes[layer].op.name()
                        );
                    }
                }
            }
        }
        assert!(twice > 2000, "{twice} channels twice: the test tests nothing");
    }

    #[test]
    fn splits_stay_within_their_budget_and_use_most_of_it() {
        let macs = |graph: &Graph| {
            (0..graph.nodes.len()).map(|layer| layer_cost(graph, layer).macs as f64).sum::<f64>()
        };
        let (mut spent, mut networks) = (0.0, 0.0);
        for seed in 0..100 {
            let (graph, _, _) = random(seed, 30);
            let groups = ChannelGroups::new(&graph);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let noise = graph.nodes.iter().map(|node| (0..node.shape.c).map(|_| rng.random()).collect());
            let chosen = choose(&graph, &groups, &noise.collect::<Vec<_>>(), 0.2);
            let share = macs(&select_graph(&graph, &counts(&graph, &groups, &chosen))) / macs(&graph) - 1.0;
            assert!(share <= 0.2, "seed {seed}: {share}");
            (spent, networks) = (spent + share, networks + 1.0);
        }
        assert!(spent / networks > 0.1, "{} on average", spent / networks);
    }

    #[test]
    fn split_networks_follow_the_float_network_more_closely() {
        let error = |split: f64| {
            let mut total = 0.0;
            for seed in 0..24 {
                let (graph, weights, images) = random(seed, 30);
                let options = QuantiseOptions { split, ..QuantiseOptions::default() };
                let Quantised { net, .. } =
                    quantise(&graph, &weights, &images, &options, vec![], Provenance::default()).unwrap();
                for image in &images {
                    let float = oracle::run(&graph, &weights, image);
                    let int = exec::run(&net, image);
                    for layer in net.heads() {
                        let Source::Layer(from) = graph.nodes[layer].inputs[0] else { continue };
                        let real = detector::real_values(&net.nodes[from].output, &int[from]);
                        if real.len() != float[from].len() {
                            continue;
                        }
                        let power: f64 = float[from].iter().map(|&v| f64::from(v).powi(2)).sum();
                        let noise = real.iter().zip(&float[from]).map(|(a, b)| f64::from(a - b).powi(2));
                        total += noise.sum::<f64>() / power.max(1e-9);
                    }
                }
            }
            total
        };
        let (without, with) = (error(0.0), error(3.0));
        // What weights and the heads' own rounding do is left.
        assert!(with < 0.85 * without, "{with} against {without}");
    }
}
