//! Reconstruction of a whole network, layer by layer, from the outputs of the layers already reconstructed.

use std::ops::Range;

use rayon::prelude::*;

use super::moments::Moments;
use super::{IMAGES_PER_SUM, Reconstruction, refit};
use crate::mask::zero_removed;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_float::{Cut, Keep, Plan, Pool, Scratch};
use secateur_ir::{Graph, Source, Weights, is_dense};

/// Activations kept between layers: images beyond this many bytes do not take part.
const MAX_STATE_BYTES: usize = 1 << 30;

/// One image's live tensors at a layer.
type State = Vec<(Source, Vec<f32>)>;

/// Neighbouring outputs of a dense layer, and the input channels that they still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub outputs: Range<usize>,
    /// One flag an input channel.
    pub kept: Vec<bool>,
}

/// Fits every dense layer of a pruned network anew that is downstream of a removed unit.
///
/// `masked` is the pruned network in the original shapes; the result is, too. `blocks`
/// gives the inputs that the outputs of a dense layer still read, `made[layer]` which of
/// its own channels stay (the others are zero as after [`Masks::apply`]). Layers are fitted in
/// order, each to the output that it has in the original network, given the inputs that it gets in
/// the reconstructed one. No labels, no gradients; nothing is random.
///
/// [`Masks::apply`]: crate::Masks::apply
pub fn network(
    graph: &Graph,
    original: &Weights,
    masked: Weights,
    blocks: &dyn Fn(usize) -> Vec<Block>,
    made: &[Vec<bool>],
    reconstruction: Reconstruction,
) -> Result<Weights> {
    let Reconstruction { images, ridge, .. } = reconstruction;
    let mut weights = masked;
    let stages = stages(graph, blocks);
    if stages.is_empty() || images.is_empty() {
        return Ok(weights);
    }

    let before = Plan::keeping(graph, original, &Keep::All)?;
    let mut after = Plan::keeping(graph, &weights, &Keep::All)?;
    let state_bytes = 2 * size_of::<f32>() * widest_state(&before);
    let images = &images[..images.len().min((MAX_STATE_BYTES / state_bytes.max(1)).max(1))];

    let progress = Progress::new("reconstructing layers", stages.len() as u64);
    let mut states: Vec<[State; 2]> =
        images.par_iter().map(|image| [(); 2].map(|()| vec![(Source::Image, image.to_vec())])).collect();
    let scratches = Pool::default();
    let mut at = 0;
    for Stage { layer, from, blocks } in stages {
        let moments = advance(&mut states, [&before, &after], &scratches, at..layer, from);
        let mut fitted = original.layers[layer].clone();
        for Block { outputs, kept } in blocks {
            fitted = refit(graph, layer, &fitted, &kept, &moments, ridge, outputs);
        }
        zero_removed(&graph.nodes[layer].op, &mut fitted, &made[layer]);
        after.set_layer(layer, &fitted)?;
        weights.layers[layer] = fitted;
        at = layer;
        progress.advance(1);
    }
    Ok(weights)
}

/// A dense layer to fit anew.
struct Stage {
    layer: usize,
    /// The layer that it reads.
    from: usize,
    blocks: Vec<Block>,
}

/// Dense layers that read less than before or are downstream of one that does.
fn stages(graph: &Graph, blocks: &dyn Fn(usize) -> Vec<Block>) -> Vec<Stage> {
    let mut drifts = vec![false; graph.nodes.len()];
    let mut stages = Vec::new();
    for (layer, node) in graph.nodes.iter().enumerate() {
        let mut read = node.inputs.iter().filter_map(|input| match *input {
            Source::Layer(from) => Some(from),
            Source::Image => None,
        });
        drifts[layer] = read.any(|from| drifts[from]);
        if is_dense(&node.op)
            && let Source::Layer(from) = node.inputs[0]
        {
            let blocks = blocks(layer);
            drifts[layer] |= blocks.iter().any(|block| block.kept.contains(&false));
            if drifts[layer] {
                stages.push(Stage { layer, from, blocks });
            }
        }
    }
    stages
}

/// Most elements that are live between two layers.
fn widest_state(plan: &Plan) -> usize {
    let graph = plan.graph();
    let live = |layer| plan.live_at(layer).iter().map(|&source| graph.shape_of(source).len()).sum();
    (0..graph.nodes.len()).map(live).max().unwrap_or(0)
}

/// Runs both networks over `layers` on every image and measures the output of layer `from`, which
/// layer `layers.end` reads.
fn advance(
    states: &mut [[State; 2]],
    plans: [&Plan; 2],
    scratches: &Pool<[Scratch; 2]>,
    layers: Range<usize>,
    from: usize,
) -> Moments {
    let cuts = plans.map(|plan| plan.range(layers.start, layers.end));
    let live = plans.map(|plan| plan.live_at(layers.end));
    let read = plans.map(|plan| plan.range(layers.end, layers.end + 1).inputs().to_vec());
    let channels = plans[0].graph().nodes[from].shape.c;
    let partial: Vec<Moments> = states
        .par_chunks_mut(IMAGES_PER_SUM)
        .map(|chunk| {
            scratches.with(
                || plans.map(Plan::scratch),
                |scratches| {
                    let mut sum = Moments::zero(channels);
                    for state in chunk {
                        for (net, scratch) in scratches.iter_mut().enumerate() {
                            step(plans[net], scratch, &cuts[net], &live[net], &mut state[net]);
                        }
                        // A route may read a part of a tensor that is held: the plan knows.
                        let [a, b] = [0, 1].map(|net| {
                            for &source in &read[net] {
                                plans[net].load(&mut scratches[net], source, find(&state[net], source));
                            }
                            plans[net].peek(&scratches[net], Source::Layer(from)).to_vec()
                        });
                        sum.add(&Moments::of_maps(&a, Some(&b), channels));
                    }
                    sum
                },
            )
        })
        .collect();
    let mut total = Moments::zero(channels);
    partial.iter().for_each(|sum| total.add(sum));
    total
}

/// Runs a cut from a state and leaves the tensors that are live after it.
fn step(plan: &Plan, scratch: &mut Scratch, cut: &Cut, live: &[Source], state: &mut State) {
    let inputs: Vec<&[f32]> = cut.inputs().iter().map(|&source| find(state, source)).collect();
    plan.run_cut(scratch, cut, &inputs);
    let mut next: State = Vec::with_capacity(live.len());
    for &source in live {
        let old = state.iter().position(|(held, _)| *held == source);
        next.push(match old {
            Some(at) => state.swap_remove(at),
            None => (source, plan.peek(scratch, source).to_vec()),
        });
    }
    *state = next;
}

fn find(state: &State, source: Source) -> &[f32] {
    let held = state.iter().find(|(held, _)| *held == source);
    &held.expect("a live tensor is held").1
}
