//! Bias correction after activation, rounding and clamp.
//!
//! Layer by layer, on the integer outputs of the already corrected layers before it: the means of
//! every channel are brought back to the float network's. Corrections before the activation make
//! scores worse, so the integer network itself is run (after Nagel et al. 2019, section 4.2).

use rayon::prelude::*;

use super::build::biases;
use super::calibrate::Targets;
use super::exec::{Int8Map, LayerKernel, last_uses, quantise_input};
use super::net::{QNet, QOp};
use super::prepare::Prepared;
use super::ranges::Scales;
use super::verify::prove_accumulators;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_ir::{Graph, Source};

/// Channels whose activation is flatter than this on average are left as they are.
const MIN_SLOPE: f64 = 0.02;

/// Outputs that later layers still read, for one image.
struct Live {
    image: Int8Map,
    layers: Vec<Option<Int8Map>>,
}

/// Corrects all biases of `net`; `rounds` times per layer.
pub(crate) fn correct(
    net: &mut QNet,
    graph: &Graph,
    prepared: &Prepared,
    scales: &Scales,
    targets: &Targets,
    images: &[Vec<f32>],
    rounds: usize,
) -> Result<()> {
    let last_use = last_uses(net);
    let mut live: Vec<Live> = images
        .par_iter()
        .map(|image| Live { image: quantise_input(net, image), layers: vec![None; graph.nodes.len()] })
        .collect();
    let progress = Progress::new("correcting biases", graph.nodes.len() as u64);
    for layer in 0..graph.nodes.len() {
        let first = prepared.nodes_of[layer].start;
        let step = scales.nodes[first].scale;
        let mut bias = prepared.biases(first, step);
        run_layer(net, layer, &mut live);
        let corrected = matches!(net.nodes[layer].op, QOp::Conv(_) | QOp::Connected(_));
        for _ in 0..if corrected { rounds } else { 0 } {
            let output = prepared.output_of(layer);
            let means = means(net, layer, output, targets, &mut live);
            for (c, bias) in bias.iter_mut().enumerate() {
                let slope = targets.slopes[output][c];
                if slope >= MIN_SLOPE {
                    let offset = f64::from(prepared.offsets[first][c]) * step;
                    *bias += ((targets.means[output][c] - means[c]) / slope + offset) as f32;
                }
            }
            let input = scales.of(prepared.graph.nodes[first].inputs[0]);
            set_biases(net, layer, |weights, weight_scales| biases(&bias, weights, weight_scales, input))
                .map_err(|e| e.layer(layer).section(graph.nodes[layer].op.name()))?;
            run_layer(net, layer, &mut live);
        }
        for image in &mut live {
            for (map, &last) in image.layers[..=layer].iter_mut().zip(&last_use) {
                if last <= layer {
                    *map = None;
                }
            }
        }
        progress.advance(1);
    }
    Ok(())
}

fn run_layer(net: &QNet, layer: usize, live: &mut [Live]) {
    let step = LayerKernel::new(net, layer);
    live.par_iter_mut().for_each(|image| {
        let output = {
            let inputs = net.nodes[layer].inputs.iter().map(|&source| match source {
                Source::Image => &image.image,
                Source::Layer(from) => image.layers[from].as_ref().expect("kept until its last use"),
            });
            step.run(&inputs.collect::<Vec<_>>())
        };
        image.layers[layer] = Some(output);
    });
}

/// Mean of every channel of the integer output, weighted as the float means were.
fn means(net: &QNet, layer: usize, node: usize, targets: &Targets, live: &mut [Live]) -> Vec<f64> {
    let tensor = net.nodes[layer].output;
    let (channels, plane) = (tensor.shape.c, tensor.shape.plane());
    let sums: Vec<Vec<(f64, f64)>> = live
        .par_iter_mut()
        .zip(&targets.attention)
        .map(|(image, attention)| {
            let map = image.layers[layer].as_ref().expect("the layer has just run");
            (0..channels)
                .map(|c| attention.sum(node, c, channels, plane, |p| f64::from(map[p * channels + c].get())))
                .collect()
        })
        .collect();
    (0..channels)
        .map(|c| {
            let (sum, total) = sums.iter().fold((0.0, 0.0), |(s, t), each| (s + each[c].0, t + each[c].1));
            let mean = sum / total.max(f64::MIN_POSITIVE);
            f64::from(tensor.scale) * (mean - f64::from(tensor.zero_point))
        })
        .collect()
}

/// Replaces a layer's biases by what `make` yields of its weights and their scales.
fn set_biases(net: &mut QNet, layer: usize, make: impl Fn(&[i8], &[f32]) -> Vec<i32>) -> Result<()> {
    let (weights, scales, bias) = match &mut net.nodes[layer].op {
        QOp::Conv(conv) => (&conv.weights, &conv.scales, &mut conv.bias),
        QOp::Connected(full) => (&full.weights, &full.scales, &mut full.bias),
        _ => unreachable!("only layers with weights are corrected"),
    };
    *bias = make(weights, scales);
    prove_accumulators(weights, bias)
}
