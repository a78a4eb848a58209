//! What quantisation rounds, in the numbers of the float network.
//!
//! Equalisation divides a channel by a factor, and the tensor's scale rounds the quotient: in the float network that is a
//! step of its own for every channel. A weight is rounded as its producer's and consumer's factors have changed it; the
//! producer's cancels, since every output channel has its own weight scale.

use super::equalise::ChannelFactors;
use super::net::QOp;
use super::numeric::Scale;
use super::prepare::Prepared;
use super::quantise::{Calibration, QuantiseOptions, assemble, equalised};
use super::ranges::Scales;
use secateur_base::Result;
use secateur_ir::{Graph, Grid, Op, Rounding, Source, Weights};

/// Returns what the int8 form of a network rounds, `[layer]`, with the ranges of these calibration images.
///
/// Left out are the rounding of requantisation constants, which is finer by orders of magnitude, and of the inputs that a
/// concatenation rescales, which are rounded already.
///
/// # Errors
/// As [`quantise`](super::quantise()).
pub fn roundings(
    graph: &Graph,
    weights: &Weights,
    images: &[Vec<f32>],
    options: &QuantiseOptions,
) -> Result<Vec<Rounding>> {
    super::quantise::check_inputs(graph, weights, images)?;
    let mut prepared = Prepared::new(graph, weights)?;
    let (factors, extremes) = equalised(&mut prepared, images, options)?;
    let calibration = Calibration::measure(&prepared, &extremes, images, options)?;
    let net = assemble(graph, &prepared, &calibration, images, options)?;
    let scales = &calibration.scales;
    let of_layer = |layer: usize| {
        let (nodes, op) = (prepared.nodes_of[layer].clone(), &net.nodes[layer].op);
        let grids = |node: usize| grids(scales.nodes[node], &factors.nodes[node]);
        let block = match &graph.nodes[layer].op {
            Op::Conv(conv) => conv.taps(),
            Op::Connected(_) => graph.input_shape(layer).plane(),
            _ => 0,
        };
        let rounds = op.rounds() && !matches!(op, QOp::Route(_) | QOp::Softmax(_));
        Rounding {
            columns: if block > 0 { columns(graph, &prepared, &factors, layer) } else { Vec::new() },
            block,
            correction: correction(op, &prepared, scales, &factors, nodes.start),
            before: if nodes.len() > 1 { grids(nodes.start) } else { Vec::new() },
            output: if rounds { grids(nodes.end - 1) } else { Vec::new() },
        }
    };
    Ok((0..graph.nodes.len()).map(of_layer).collect())
}

/// By how much the integer biases of a node differ from the float ones: what bias correction has added, and rounding.
fn correction(
    op: &QOp,
    prepared: &Prepared,
    scales: &Scales,
    factors: &ChannelFactors,
    node: usize,
) -> Vec<f32> {
    let (weights, bias, weight_scales) = match op {
        QOp::Conv(conv) => (&conv.weights, &conv.bias, &conv.scales),
        QOp::Connected(full) => (&full.weights, &full.bias, &full.scales),
        _ => return Vec::new(),
    };
    let input = scales.of(prepared.graph.nodes[node].inputs[0]);
    let float = prepared.biases(node, scales.nodes[node].scale);
    let rows = weights.chunks_exact(weights.len() / bias.len());
    let of_channel = |(c, row): (usize, &[i8])| {
        let sum: i64 = row.iter().map(|&w| i64::from(w)).sum();
        let folded = i64::from(bias[c]) + i64::from(input.zero_point) * sum;
        let real = folded as f64 * input.scale * f64::from(weight_scales[c]);
        (factors.nodes[node][c] * (real - f64::from(float[c]))) as f32
    };
    rows.enumerate().map(of_channel).collect()
}

/// Factors of a layer's input channels.
fn columns(graph: &Graph, prepared: &Prepared, factors: &ChannelFactors, layer: usize) -> Vec<f32> {
    match prepared.graph.nodes[prepared.nodes_of[layer].start].inputs[0] {
        Source::Image => vec![1.0; graph.input.c],
        Source::Layer(from) => factors.nodes[from].iter().map(|factor| factor.abs() as f32).collect(),
    }
}

/// The grids of a tensor's channels, whose integers stand for quotients by `factors`.
fn grids(scale: Scale, factors: &[f64]) -> Vec<Grid> {
    let of_channel = |&factor: &f64| {
        let ends = [i8::MIN, i8::MAX].map(|q| (factor * scale.real(q)) as f32);
        Grid {
            step: (factor.abs() * scale.scale) as f32,
            low: ends[0].min(ends[1]),
            high: ends[0].max(ends[1]),
        }
    };
    factors.iter().map(of_channel).collect()
}
