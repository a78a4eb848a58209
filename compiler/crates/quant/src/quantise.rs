//! The steps of quantisation: equalise, choose ranges, build integers, correct biases.

use std::ops::RangeInclusive;

use super::calibrate::{Distributions, Extremes, Targets};
use super::equalise::{self, ChannelFactors};
use super::histogram::RangeRule;
use super::net::{Provenance, QNet};
use super::numeric::Scale;
use super::prepare::Prepared;
use super::quantised::Quantised;
use super::ranges::Scales;
use super::{build, correct, split};
use secateur_base::{Error, Result};
use secateur_ir::{Graph, Weights};

/// Choices about quantisation.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct QuantiseOptions {
    pub ranges: RangeRule,
    /// Cross-layer equalisation (CLE).
    pub equalise: bool,
    /// Rounds of bias correction per layer; 0 for none.
    pub correction: usize,
    /// Fraction of the multiply-accumulates that outlier channel splitting (OCS) may add.
    pub split: f64,
}

/// Percent of additional multiply-accumulates that [`QuantiseOptions::split`] may stand for: with three times more
/// of them every channel is there twice.
pub const SPLIT_PERCENT: RangeInclusive<f64> = 0.0..=300.0;

impl Default for QuantiseOptions {
    fn default() -> Self {
        Self { ranges: RangeRule::Mse, equalise: true, correction: 1, split: 0.0 }
    }
}

/// Quantises a network.
///
/// `images` are calibration inputs `[c][h][w]` in 0..1, as the network takes them; their labels
/// are not needed.
///
/// # Errors
/// No images, images of another shape, weights that are not finite, an operator without an
/// integer meaning, or a channel whose accumulator may overflow.
pub fn quantise(
    graph: &Graph,
    weights: &Weights,
    images: &[Vec<f32>],
    options: &QuantiseOptions,
    names: Vec<String>,
    provenance: Provenance,
) -> Result<Quantised> {
    check_inputs(graph, weights, images)?;
    let mut quantised = calibrated(graph, Prepared::new(graph, weights)?, images, options)?;
    if options.split > 0.0 {
        let split = split::split(graph, weights, &quantised, images, options.split)?;
        let mut prepared = Prepared::new(&split.graph, &split.weights)?;
        for (layer, offsets) in split.offsets.into_iter().enumerate() {
            let node = prepared.nodes_of[layer].start;
            prepared.offsets[node] = offsets;
        }
        quantised = calibrated(&split.graph, prepared, images, options)?;
    }
    quantised.net.names = names;
    quantised.net.provenance = provenance;
    Ok(quantised)
}

/// Equalises, chooses ranges, builds integers, corrects biases.
fn calibrated(
    graph: &Graph,
    mut prepared: Prepared,
    images: &[Vec<f32>],
    options: &QuantiseOptions,
) -> Result<Quantised> {
    let (_, extremes) = equalised(&mut prepared, images, options)?;
    let calibration = Calibration::measure(&prepared, &extremes, images, options)?;
    let net = assemble(graph, &prepared, &calibration, images, options)?;
    Ok(Quantised { net, prepared })
}

/// Equalises `prepared`; also returns what its activations reach thereafter.
pub(crate) fn equalised(
    prepared: &mut Prepared,
    images: &[Vec<f32>],
    options: &QuantiseOptions,
) -> Result<(ChannelFactors, Extremes)> {
    let mut extremes = Extremes::measure(prepared, images)?;
    check_extremes(prepared, &extremes)?;
    let factors = match options.equalise {
        true => equalise::choose(prepared, &extremes),
        false => ChannelFactors::ones(prepared),
    };
    equalise::apply(prepared, &factors);
    extremes.divide(&factors.nodes);
    Ok((factors, extremes))
}

/// Decisions that the calibration images make about an equalised network.
pub(crate) struct Calibration {
    pub(crate) scales: Scales,
    pub(crate) targets: Targets,
}

impl Calibration {
    /// Chooses all ranges.
    pub(crate) fn measure(
        prepared: &Prepared,
        extremes: &Extremes,
        images: &[Vec<f32>],
        options: &QuantiseOptions,
    ) -> Result<Self> {
        let Distributions { histograms, targets } = Distributions::measure(prepared, extremes, images)?;
        let scales = Scales::choose(prepared, &histograms, options.ranges);
        Ok(Self { scales, targets })
    }
}

/// The integer network of an equalised one.
pub(crate) fn assemble(
    graph: &Graph,
    prepared: &Prepared,
    calibration: &Calibration,
    images: &[Vec<f32>],
    options: &QuantiseOptions,
) -> Result<QNet> {
    let Calibration { scales, targets } = calibration;
    let nodes = (0..graph.nodes.len()).map(|layer| build::node(graph, prepared, scales, layer));
    let mut net = QNet {
        input: build::tensor(graph.input, Scale::IMAGE),
        letter_box: graph.letter_box,
        nodes: nodes.collect::<Result<_>>()?,
        names: Vec::new(),
        provenance: Provenance::default(),
    };
    correct::correct(&mut net, graph, prepared, scales, targets, images, options.correction)?;
    net.verify()?;
    Ok(net)
}

pub(crate) fn check_inputs(graph: &Graph, weights: &Weights, images: &[Vec<f32>]) -> Result<()> {
    if images.is_empty() {
        return Err(Error::new("quantisation needs calibration images")
            .help("give some dozens of images of the kind that the network will see"));
    }
    if let Some(image) = images.iter().find(|image| image.len() != graph.input.len()) {
        return Err(Error::new("calibration image has another shape than the network's input")
            .found(format!("{} values", image.len()))
            .allowed(format!("{} values", graph.input.len())));
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        let norm = layer.batch_norm.iter().flat_map(|n| n.scale.iter().chain(&n.mean).chain(&n.variance));
        let all = layer.weights.iter().chain(&layer.bias).chain(norm);
        if let Some(bad) = all.copied().find(|w| !w.is_finite()) {
            let error = Error::new("weights hold a number that is not finite")
                .found(bad.to_string())
                .help("the training has diverged: take an earlier weights file");
            return Err(graph.locate(i, error));
        }
    }
    Ok(())
}

fn check_extremes(prepared: &Prepared, extremes: &Extremes) -> Result<()> {
    for (layer, nodes) in prepared.nodes_of.iter().enumerate() {
        for node in nodes.clone() {
            let values = extremes.low[node].iter().chain(&extremes.high[node]);
            if values.copied().any(|v| !v.is_finite()) {
                let error = Error::new("activations on the calibration images are not finite")
                    .help("check that these weights belong to this cfg");
                return Err(prepared.graph.locate(node, error).layer(layer));
            }
        }
    }
    Ok(())
}
