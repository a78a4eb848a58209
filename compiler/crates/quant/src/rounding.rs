//! What quantisation rounds, in the numbers of the float network.
//!
//! Equalisation divides a channel by a factor, and the tensor's scale rounds the quotient: in the float network that is a
//! step of its own for every channel. A weight is rounded as its producer's and consumer's factors have changed it; the
//! producer's cancels, since every output channel has its own weight scale.

use super::build;
use super::equalise::ChannelFactors;
use super::net::QOp;
use super::numeric::Scale;
use super::prepare::Prepared;
use super::quantise::{Calibration, QuantiseOptions, equalised};
use secateur_base::Result;
use secateur_ir::{Graph, Grid, Op, Rounding, Source, Weights};

/// Returns what the int8 form of a network rounds, `[layer]`, with the ranges of these calibration images.
///
/// Left out are the rounding of biases, of requantisation constants and of the inputs that a concatenation rescales: they
/// are finer than what is here by orders of magnitude, or round a second time what is rounded already.
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
    let scales = Calibration::measure(&prepared, &extremes, images, options)?.scales;
    let of_layer = |layer: usize| {
        let nodes = prepared.nodes_of[layer].clone();
        let op = build::node(graph, &prepared, &scales, layer)?.op;
        let grids = |node: usize| grids(scales.nodes[node], &factors.nodes[node]);
        let has_table = nodes.len() > 1;
        let block = match &graph.nodes[layer].op {
            Op::Conv(conv) => conv.taps(),
            Op::Connected(_) => graph.input_shape(layer).plane(),
            _ => 0,
        };
        Ok(Rounding {
            columns: if block > 0 { columns(graph, &prepared, &factors, layer) } else { Vec::new() },
            block,
            before: if has_table { grids(nodes.start) } else { Vec::new() },
            output: if op.rounds() && !matches!(op, QOp::Route(_) | QOp::Softmax(_)) {
                grids(nodes.end - 1)
            } else {
                Vec::new()
            },
        })
    };
    (0..graph.nodes.len()).map(of_layer).collect()
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
