//! Fidelity of an int8 network to its float original: layer by layer, and as a detector.

use std::fmt::Write;

use rayon::prelude::*;
use serde::Serialize;

use super::detector::{QDetector, real_values};
use super::exec::Executor;
use super::net::{QNet, QOp, QRequant};
use super::quantised::Quantised;
use super::sensitivity::{self, LayerSensitivity};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_data::Dataset;
use secateur_eval::{
    Detector, FloatDetector, Interval, MAP_THRESH, MapOptions, NMS_THRESH, Sqnr, bootstrap_map, compare,
    detect_all, mean_ap,
};
use secateur_float::{Keep, Plan};
use secateur_ir::{Graph, Source, Weights};

/// Images that the SQNR of layers is measured on.
const SQNR_IMAGES: usize = 16;

/// Report of `quantize`.
#[derive(Debug, Clone, Serialize)]
pub struct QuantisationReport {
    pub layers: Vec<QuantisedLayer>,
    /// Present if labelled images were given and the network has heads.
    pub accuracy: Option<QuantisedAccuracy>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantisedLayer {
    /// Darknet's number.
    pub layer: usize,
    pub kind: &'static str,
    /// Of the output.
    pub scale: f32,
    pub zero_point: i8,
    /// Signal-to-noise ratio of the output in dB, noise of all layers before included; of the
    /// equalised network, so that every channel counts alike.
    pub sqnr: f64,
    /// SQNR at the heads when this layer alone is quantised.
    pub sensitivity: LayerSensitivity,
    /// Proved bound of the accumulators, for layers with weights.
    pub accumulator: Option<i64>,
    /// Least and greatest shift of the requantisation.
    pub shifts: Option<(u8, u8)>,
}

/// The whole network as a detector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantisedAccuracy {
    pub images: usize,
    pub float_map: IntervalEstimate,
    pub map: IntervalEstimate,
    /// Paired difference, int8 − float.
    pub difference: IntervalEstimate,
    /// mAP with the float detections at .25 and above as truth, over the classes found.
    pub agree: f64,
    /// dP: mean |difference of objectness × class| at the float detections of .1 and above.
    pub score_shift: IntervalEstimate,
    /// The same with its sign: below zero, scores sink.
    pub signed_score_shift: f64,
    /// SQNR in dB of every head's input.
    pub heads: Vec<f64>,
}

/// A number and its 95 % bootstrap interval over images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct IntervalEstimate {
    pub value: f64,
    pub interval: Interval,
}

/// Reports on every layer; `images` as for calibration, of which the first sixteen are run.
///
/// # Errors
/// If the float network cannot be planned.
pub fn layers(quantised: &Quantised, images: &[Vec<f32>]) -> Result<Vec<QuantisedLayer>> {
    let (net, prepared) = (&quantised.net, &quantised.prepared);
    let steps = Executor::new(net);
    let plan = Plan::keeping(&prepared.graph, &prepared.weights, &Keep::All)?;
    let images = &images[..images.len().min(SQNR_IMAGES)];
    let progress = Progress::new("comparing layers", images.len() as u64);
    let each: Vec<Vec<Sqnr>> = images
        .par_iter()
        .map(|image| {
            let mut scratch = plan.scratch();
            plan.run(&mut scratch, image);
            let mut ratios = Vec::with_capacity(net.nodes.len());
            steps.run(image, |layer, map| {
                let mut ratio = Sqnr::default();
                // A head hands on its input's quantised values.
                let node = &net.nodes[layer];
                let source = match node.inputs[0] {
                    Source::Layer(from) if node.op.is_head() => from,
                    _ => layer,
                };
                let mut real = real_values(&net.nodes[layer].output, map);
                let node = prepared.output_of(source);
                prepared.negate(node, &mut real);
                ratio.add(plan.output(&scratch, node), &real);
                ratios.push(ratio);
            });
            progress.advance(1);
            ratios
        })
        .collect();
    let sensitivities = sensitivity::measure(quantised, images)?;
    let layer = |layer: usize| {
        let mut ratio = Sqnr::default();
        each.iter().for_each(|ratios| ratio.merge(&ratios[layer]));
        describe(net, layer, ratio.db(), sensitivities[layer])
    };
    Ok((0..net.nodes.len()).map(layer).collect())
}

fn describe(net: &QNet, layer: usize, sqnr: f64, sensitivity: LayerSensitivity) -> QuantisedLayer {
    let node = &net.nodes[layer];
    let (accumulator, requant): (Option<i64>, &[QRequant]) = match &node.op {
        QOp::Conv(conv) => (Some(bound(&conv.weights, &conv.bias)), &conv.requant),
        QOp::Connected(full) => (Some(bound(&full.weights, &full.bias)), &full.requant),
        QOp::AvgPool(scaled) | QOp::Sam(scaled) | QOp::ScaleChannels { scaled, .. } => {
            (None, std::slice::from_ref(&scaled.requant))
        }
        QOp::Shortcut(shortcut) => (None, std::slice::from_ref(&shortcut.requant)),
        _ => (None, &[]),
    };
    let shifts = requant.iter().map(|r| r.shift);
    QuantisedLayer {
        layer,
        kind: node.op.name(),
        scale: node.output.scale,
        zero_point: node.output.zero_point,
        sqnr,
        sensitivity,
        accumulator,
        shifts: shifts.clone().min().zip(shifts.max()),
    }
}

/// Greatest `|b'| + 128 · Σ|w|` of a layer's channels.
fn bound(weights: &[i8], bias: &[i32]) -> i64 {
    let rows = weights.chunks_exact((weights.len() / bias.len().max(1)).max(1));
    let bounds = rows.zip(bias).map(|(row, &bias)| {
        i64::from(bias).abs() + 128 * row.iter().map(|&w| i64::from(w).abs()).sum::<i64>()
    });
    bounds.max().unwrap_or(0)
}

/// Compares the int8 network with its float original on labelled images; `None` for a classifier.
///
/// # Errors
/// Images that cannot be read, weights that do not fit the graph.
pub fn accuracy(
    graph: &Graph,
    weights: &Weights,
    net: &QNet,
    dataset: &Dataset,
    seed: u64,
) -> Result<Option<QuantisedAccuracy>> {
    let original = FloatDetector::new(graph, weights)?;
    let changed = QDetector::new(net, graph)?;
    if changed.layout().heads.is_empty() {
        return Ok(None);
    }
    let (classes, options) = (changed.layout().classes, MapOptions::default());
    let found = detect_all(&changed, dataset, MAP_THRESH, NMS_THRESH)?;
    let comparison = compare(&original, &changed, &found, dataset, options, seed)?;
    Ok(Some(QuantisedAccuracy {
        images: dataset.len(),
        float_map: IntervalEstimate {
            value: comparison.original.map,
            interval: comparison.original_interval,
        },
        map: IntervalEstimate {
            value: mean_ap(&found, &dataset.labels, classes, options).map,
            interval: bootstrap_map(&found, &dataset.labels, classes, options, seed),
        },
        difference: IntervalEstimate { value: comparison.difference.0, interval: comparison.difference.1 },
        agree: comparison.agree.0,
        score_shift: IntervalEstimate {
            value: comparison.shift.absolute,
            interval: comparison.shift_interval,
        },
        signed_score_shift: comparison.shift.signed,
        heads: comparison.head_sqnr,
    }))
}

impl QuantisationReport {
    /// A table for people.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "                                                      sensitivity, dB\n\
             layer  kind            scale         zero   SQNR dB   output  weights  accumulator  shifts\n",
        );
        let db = |db: Option<f64>| db.map_or(String::new(), |db| format!("{db:.1}"));
        for layer in &self.layers {
            let accumulator = layer.accumulator.map_or(String::new(), |bound| bound.to_string());
            let shifts = layer.shifts.map_or(String::new(), |(low, high)| format!("{low}-{high}"));
            let _ = writeln!(
                text,
                "{:5}  {:14}  {:<12.6e}  {:4}  {:8.2}  {:>7}  {:>7}  {accumulator:>11}  {shifts}",
                layer.layer,
                layer.kind,
                layer.scale,
                layer.zero_point,
                layer.sqnr,
                db(layer.sensitivity.output),
                db(layer.sensitivity.weights),
            );
        }
        let ranking = self.ranking();
        let total: f64 = ranking.iter().map(|layer| layer.sensitivity.noise()).sum();
        text.push_str("\nrank  layer  kind            share of the noise at the heads\n");
        for (rank, layer) in ranking.iter().enumerate() {
            let share = 100.0 * layer.sensitivity.noise() / total;
            let _ = writeln!(text, "{:4}  {:5}  {:14}  {share:5.1} %", rank + 1, layer.layer, layer.kind);
        }
        text + "\n" + &self.summary()
    }

    /// Layers whose quantisation the heads notice, the worst first.
    pub fn ranking(&self) -> Vec<&QuantisedLayer> {
        let mut layers: Vec<&QuantisedLayer> =
            self.layers.iter().filter(|l| l.sensitivity.noise() > 0.0).collect();
        layers.sort_by(|a, b| {
            b.sensitivity.noise().total_cmp(&a.sensitivity.noise()).then(a.layer.cmp(&b.layer))
        });
        layers
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let finite = self.layers.iter().filter(|layer| layer.sqnr.is_finite());
        let (sum, count) = finite.clone().fold((0.0, 0), |(sum, count), layer| (sum + layer.sqnr, count + 1));
        let mut text = format!("mean SQNR of {count} layers {:.2} dB", sum / f64::from(count.max(1)));
        if let Some(worst) = finite.min_by(|a, b| a.sqnr.total_cmp(&b.sqnr)) {
            let _ = write!(text, ", least {:.2} dB at layer {} [{}]", worst.sqnr, worst.layer, worst.kind);
        }
        let ranking = self.ranking();
        let total: f64 = ranking.iter().map(|layer| layer.sensitivity.noise()).sum();
        let worst = ranking.iter().take(5).map(|layer| {
            let share = 100.0 * layer.sensitivity.noise() / total;
            format!("layer {} [{}] {share:.0} %", layer.layer, layer.kind)
        });
        let worst = worst.collect::<Vec<_>>().join(", ");
        let _ = write!(text, "\nnoise at the heads comes from {worst}");
        if let Some(bound) = self.layers.iter().filter_map(|layer| layer.accumulator).max() {
            let _ = write!(text, "\ngreatest accumulator {bound} of {}", 1i64 << 31);
        }
        text.push('\n');
        if let Some(accuracy) = &self.accuracy {
            let _ = write!(text, "{accuracy}");
        }
        text
    }
}

impl std::fmt::Display for QuantisedAccuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "on {} images (95 % intervals by bootstrap over images)", self.images)?;
        writeln!(f, "  mAP float       {}", self.float_map)?;
        writeln!(f, "  mAP int8        {}", self.map)?;
        writeln!(f, "  difference      {}", self.difference)?;
        writeln!(f, "  agree           {:.4}", self.agree)?;
        writeln!(f, "  dP              {}", self.score_shift)?;
        writeln!(f, "  dP, signed      {:+.4}", self.signed_score_shift)?;
        let heads: Vec<String> = self.heads.iter().map(|db| format!("{db:.2}")).collect();
        writeln!(f, "  head SQNR       {} dB", heads.join(", "))
    }
}

impl std::fmt::Display for IntervalEstimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.4} [{:.4}, {:.4}]", self.value, self.interval.low, self.interval.high)
    }
}
