//! Layer-wise quantisation sensitivity: the noise at the heads when one layer alone is quantised.

use rayon::prelude::*;
use serde::Serialize;

use super::net::QOp;
use super::quantised::Quantised;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_eval::Sqnr;
use secateur_float::{Cut, Keep, Plan};
use secateur_ir::{LayerWeights, Source};

/// Images that sensitivities are measured on: ranks hardly change with more.
const IMAGES: usize = 2;

/// Signal-to-noise ratio, over all tensors that heads read, where nothing but a part of one layer is
/// quantised; infinite where that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerSensitivity {
    /// dB with the layer's output rounded; `None` if it forwards its input's values.
    pub output: Option<f64>,
    /// dB with the layer's weights rounded, channel means kept; `None` where it has none.
    pub weights: Option<f64>,
}

impl LayerSensitivity {
    /// Noise energy at the heads relative to their signal's: that of the output plus that of the weights.
    pub fn noise(&self) -> f64 {
        let of = |db: Option<f64>| db.map_or(0.0, |db| 10f64.powf(-db / 10.0));
        of(self.output) + of(self.weights)
    }
}

/// One tensor that is quantised alone.
struct SensitivityTrial {
    layer: usize,
    plan: Plan,
    cut: Cut,
    /// The weights are quantised instead of the output.
    weights: bool,
}

/// Measures every layer of `quantised` on a few of `images`; `[layer]`.
///
/// Only what is downstream of a layer runs again, in f32 with everything else as it was.
pub(crate) fn measure(quantised: &Quantised, images: &[Vec<f32>]) -> Result<Vec<LayerSensitivity>> {
    let Quantised { net, prepared } = quantised;
    let plan = Plan::keeping(&prepared.graph, &prepared.weights, &Keep::All)?;
    let heads = head_inputs(quantised);
    let images = some(images, IMAGES);
    let outputs = outputs(&plan, prepared.graph.nodes.len(), &images);
    let trials = trials(quantised, &plan, &outputs)?;
    let progress = Progress::new("measuring layer sensitivity", trials.len() as u64);
    let ratios: Vec<f64> = trials
        .par_iter()
        .map(|trial| {
            let mut scratch = trial.plan.scratch();
            let mut ratio = Sqnr::default();
            for (outputs, image) in outputs.iter().zip(&images) {
                let node = prepared.output_of(trial.layer);
                let rounded = (!trial.weights).then(|| round(quantised, trial.layer, &outputs[node]));
                let input = |source: &Source| match *source {
                    Source::Image => &image[..],
                    Source::Layer(from) if from == node => rounded.as_ref().unwrap_or(&outputs[from]),
                    Source::Layer(from) => &outputs[from],
                };
                let inputs: Vec<&[f32]> = trial.cut.inputs().iter().map(input).collect();
                trial.plan.run_cut(&mut scratch, &trial.cut, &inputs);
                for &head in &heads {
                    let changed = match &rounded {
                        Some(rounded) if head == node => rounded,
                        _ if trial.cut.outputs().contains(&head) => trial.plan.output(&scratch, head),
                        _ => &outputs[head],
                    };
                    ratio.add(&outputs[head], changed);
                }
            }
            progress.advance(1);
            ratio.db()
        })
        .collect();
    let mut sensitivities = vec![LayerSensitivity { output: None, weights: None }; net.nodes.len()];
    for (trial, db) in trials.iter().zip(ratios) {
        let sensitivity = &mut sensitivities[trial.layer];
        *if trial.weights { &mut sensitivity.weights } else { &mut sensitivity.output } = Some(db);
    }
    Ok(sensitivities)
}

/// About `count` images, evenly from all of them.
pub(super) fn some(images: &[Vec<f32>], count: usize) -> Vec<&Vec<f32>> {
    images.iter().step_by(images.len().div_ceil(count).max(1)).collect()
}

/// `[image][node]`: what each of the `nodes` of `plan`, which keeps all, computes.
pub(super) fn outputs(plan: &Plan, nodes: usize, images: &[&Vec<f32>]) -> Vec<Vec<Vec<f32>>> {
    let run = |image: &&Vec<f32>| {
        let mut scratch = plan.scratch();
        plan.run(&mut scratch, image);
        (0..nodes).map(|node| plan.output(&scratch, node).to_vec()).collect()
    };
    images.par_iter().map(run).collect()
}

/// Nodes whose outputs the heads read; the last node's own where there are no heads.
fn head_inputs(Quantised { net, prepared }: &Quantised) -> Vec<usize> {
    let heads = net.heads().into_iter().map(|layer| match net.nodes[layer].inputs[0] {
        Source::Layer(from) if net.nodes[layer].op.is_head() => prepared.output_of(from),
        _ => prepared.output_of(layer),
    });
    heads.collect()
}

fn trials(quantised: &Quantised, plan: &Plan, outputs: &[Vec<Vec<f32>>]) -> Result<Vec<SensitivityTrial>> {
    let Quantised { net, prepared } = quantised;
    let mut trials = Vec::new();
    for (layer, node) in net.nodes.iter().enumerate() {
        if node.op.rounds() {
            let cut = plan.downstream_of(prepared.output_of(layer));
            trials.push(SensitivityTrial { layer, plan: plan.clone(), cut, weights: false });
        }
        let first = prepared.nodes_of[layer].start;
        if let Some(numbers) = rounded_weights(quantised, layer, outputs) {
            let mut plan = plan.clone();
            plan.set_layer(first, &numbers)?;
            trials.push(SensitivityTrial { layer, cut: plan.affected(&[first]), plan, weights: true });
        }
    }
    Ok(trials)
}

/// Returns a layer's weights after rounding. The bias absorbs the shift of the channel means.
fn rounded_weights(
    Quantised { net, prepared }: &Quantised,
    layer: usize,
    outputs: &[Vec<Vec<f32>>],
) -> Option<LayerWeights> {
    let (int8, scales) = match &net.nodes[layer].op {
        QOp::Conv(conv) => (&conv.weights, &conv.scales),
        QOp::Connected(full) => (&full.weights, &full.scales),
        _ => return None,
    };
    let first = prepared.nodes_of[layer].start;
    let numbers = &prepared.weights.layers[first];
    let input = prepared.graph.input_shape(first);
    let (rows, plane) = (numbers.bias.len(), input.plane());
    let row = int8.len() / rows;
    let columns = match &net.nodes[layer].op {
        QOp::Conv(conv) => input.c / conv.groups,
        _ => input.c,
    };
    let block = row / columns;
    let source = prepared.graph.nodes[first].inputs[0];
    let mean = |channel: usize| match source {
        // An image's channels have means of their own, all about a half.
        Source::Image => 0.5,
        Source::Layer(from) => {
            let channels = outputs.iter().map(|outputs| &outputs[from][channel * plane..][..plane]);
            channels.flatten().map(|&v| f64::from(v)).sum::<f64>() / (outputs.len() * plane) as f64
        }
    };
    let means: Vec<f64> = (0..input.c).map(mean).collect();
    let mut rounded = numbers.clone();
    for (o, (row, &scale)) in int8.chunks_exact(row).zip(scales).enumerate() {
        let group = o / (rows / (input.c / columns)) * columns;
        let weights = &mut rounded.weights[o * row.len()..][..row.len()];
        let mut lost = 0.0;
        // Quantised weights are `[block][columns]`, real ones `[columns][block]`.
        for (i, weight) in weights.iter_mut().enumerate() {
            let (column, tap) = (i / block, i % block);
            let channel = group + column;
            let sign = prepared.sign(Source::Layer(first), o) * prepared.sign(source, channel);
            let code = sign * scale * f32::from(row[tap * columns + column]);
            lost += f64::from(*weight - code) * means[channel];
            *weight = code;
        }
        rounded.bias[o] += lost as f32;
    }
    Some(rounded)
}

/// Returns a tensor rounded as `layer`'s output is.
fn round(Quantised { net, prepared }: &Quantised, layer: usize, values: &[f32]) -> Vec<f32> {
    let node = prepared.output_of(layer);
    let plane = prepared.graph.nodes[node].shape.plane();
    let mut rounded = values.to_vec();
    for (c, channel) in rounded.chunks_exact_mut(plane).enumerate() {
        net.nodes[layer].output.round(channel, prepared.sign(Source::Layer(node), c));
    }
    rounded
}
