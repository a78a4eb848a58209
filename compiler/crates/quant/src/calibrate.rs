//! Statistics of the float network's activations on the calibration images.

use rayon::prelude::*;

use super::histogram::Histogram;
use super::numeric::TwoSlope;
use super::prepare::Prepared;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_float::{self as float, Keep, Plan};
use secateur_ir::{Activation, Op, Source};

/// Parts that the images are split into: a constant, so that sums do not depend on threads.
const PARTS: usize = 16;

/// Images that a calibration takes unless told otherwise: 30 do, 100 are better, and one of 320 × 320 pixels
/// takes two megabytes.
pub const CALIBRATION_IMAGES: usize = 128;

/// Returns `count` of `total` indices, ascending and evenly spread; all of them if there are no more.
pub fn spread(total: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(total);
    (0..count).map(move |i| (i as u128 * total as u128 / count as u128) as usize)
}

/// Half the distance of a numerical derivative.
const HALF_STEP: f32 = 1e-3;

/// Least and greatest value of every channel of every node.
#[derive(Debug, Clone)]
pub(crate) struct Extremes {
    /// `[node][channel]`
    pub(crate) low: Vec<Vec<f32>>,
    pub(crate) high: Vec<Vec<f32>>,
}

impl Extremes {
    /// Runs the network on all images.
    pub(crate) fn measure(prepared: &Prepared, images: &[Vec<f32>]) -> Result<Self> {
        let empty = || {
            let channels = prepared.graph.nodes.iter().map(|node| vec![0f32; node.shape.c]);
            let zeros: Vec<Vec<f32>> = channels.collect();
            Self { low: zeros.clone(), high: zeros }
        };
        let parts = each_part(prepared, images, "measuring activations", empty, |extremes, outputs| {
            for (i, values) in outputs.iter().enumerate() {
                let plane = prepared.graph.nodes[i].shape.plane();
                for (c, channel) in values.chunks_exact(plane).enumerate() {
                    let finite = channel.iter().all(|v| v.is_finite());
                    let (low, high) = channel.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
                    let high = if finite { high } else { f32::INFINITY };
                    extremes.low[i][c] = extremes.low[i][c].min(low);
                    extremes.high[i][c] = extremes.high[i][c].max(high);
                }
            }
        })?;
        let mut all = empty();
        for part in parts {
            for (i, (low, high)) in part.low.iter().zip(&part.high).enumerate() {
                for c in 0..low.len() {
                    all.low[i][c] = all.low[i][c].min(low[c]);
                    all.high[i][c] = all.high[i][c].max(high[c]);
                }
            }
        }
        Ok(all)
    }

    /// Divides every channel by its equalisation factor, which is negative for a negated channel.
    pub(crate) fn divide(&mut self, factors: &[Vec<f64>]) {
        let ends = self.low.iter_mut().flatten().zip(self.high.iter_mut().flatten());
        for ((low, high), &factor) in ends.zip(factors.iter().flatten()) {
            *low = (f64::from(*low) / factor) as f32;
            *high = (f64::from(*high) / factor) as f32;
            if factor < 0.0 {
                std::mem::swap(low, high);
            }
        }
    }

    /// `[node][channel]` greatest absolute value.
    pub(crate) fn largest(&self) -> Vec<Vec<f32>> {
        let pairs = self.low.iter().zip(&self.high);
        pairs.map(|(low, high)| low.iter().zip(high).map(|(&l, &h)| h.max(-l)).collect()).collect()
    }
}

/// Distributions of the equalised network.
#[derive(Debug, Clone)]
pub(crate) struct Distributions {
    /// `[node]`
    pub(crate) histograms: Vec<Histogram>,
    pub(crate) targets: Targets,
}

/// Targets of bias correction.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    /// `[node][channel]` mean of the activation's derivative.
    pub(crate) slopes: Vec<Vec<f64>>,
    /// `[node][channel]` means that the integers' real values shall have, weighted as [`Attention`] says.
    pub(crate) means: Vec<Vec<f64>>,
    /// `[image]`
    pub(crate) attention: Vec<Attention>,
}

/// Weights of a head's pixels for an image: the float network's objectness.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    /// `[node]`: for a node read by a `[yolo]` head, `[anchor][pixel]` weights; else empty.
    pub(crate) weights: Vec<Vec<f32>>,
}

impl Attention {
    /// Weighted sum and total weight of one channel, whose values are `value(pixel)`.
    pub(crate) fn sum(
        &self,
        node: usize,
        channel: usize,
        channels: usize,
        plane: usize,
        value: impl Fn(usize) -> f64,
    ) -> (f64, f64) {
        let weights = &self.weights[node];
        if weights.is_empty() {
            return ((0..plane).map(value).sum(), plane as f64);
        }
        let anchors = weights.len() / plane;
        let anchor = channel / (channels / anchors);
        let weights = &weights[anchor * plane..][..plane];
        weights
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |(sum, total), (p, &w)| (sum + f64::from(w) * value(p), total + f64::from(w)))
    }
}

impl Distributions {
    /// Runs the network on all images; `extremes` bound the histograms.
    pub(crate) fn measure(prepared: &Prepared, extremes: &Extremes, images: &[Vec<f32>]) -> Result<Self> {
        let graph = &prepared.graph;
        let per_channel = || graph.nodes.iter().map(|node| vec![0f64; node.shape.c]).collect::<Vec<_>>();
        let empty = || CalibrationPart {
            histograms: (0..graph.nodes.len())
                .map(|i| {
                    let low = extremes.low[i].iter().copied().fold(0.0, f32::min);
                    Histogram::new(low, extremes.high[i].iter().copied().fold(0.0, f32::max))
                })
                .collect(),
            slopes: per_channel(),
            sums: per_channel(),
            totals: per_channel(),
            attention: Vec::new(),
        };
        let heads = heads(prepared);
        let fill = |part: &mut CalibrationPart, outputs: &[&[f32]]| {
            let attention = Attention::of(prepared, &heads, outputs);
            for (i, values) in outputs.iter().enumerate() {
                let shape = graph.nodes[i].shape;
                let activation = activation(&graph.nodes[i].op);
                let inner: &[f32] = match graph.nodes[i].inputs[0] {
                    Source::Layer(from) if prepared.is_table(i) => outputs[from],
                    _ => values,
                };
                for c in 0..shape.c {
                    let channel = c * shape.plane()..(c + 1) * shape.plane();
                    let values = &values[channel.clone()];
                    let sign = prepared.sign(Source::Layer(i), c);
                    part.histograms[i].add(values, sign);
                    let (sum, total) = attention.sum(i, c, shape.c, shape.plane(), |p| f64::from(values[p]));
                    part.sums[i][c] += f64::from(sign) * sum;
                    part.totals[i][c] += total;
                    if let Some(activation) = activation {
                        part.slopes[i][c] += total_slope(activation, &inner[channel]);
                    }
                }
            }
            part.attention.push(attention);
        };
        let parts = each_part(prepared, images, "measuring distributions", empty, fill)?;
        let mut all = empty();
        for part in parts {
            for (to, from) in all.histograms.iter_mut().zip(&part.histograms) {
                to.merge(from);
            }
            for (to, from) in
                [(&mut all.slopes, part.slopes), (&mut all.sums, part.sums), (&mut all.totals, part.totals)]
            {
                for (to, from) in to.iter_mut().flatten().zip(from.iter().flatten()) {
                    *to += from;
                }
            }
            all.attention.extend(part.attention);
        }
        let per_value = 1.0 / images.len() as f64;
        for (i, slopes) in all.slopes.iter_mut().enumerate() {
            let plane = graph.nodes[i].shape.plane() as f64;
            slopes.iter_mut().for_each(|slope| *slope *= per_value / plane);
        }
        for (sum, total) in all.sums.iter_mut().flatten().zip(all.totals.iter().flatten()) {
            *sum /= total.max(f64::MIN_POSITIVE);
        }
        let CalibrationPart { histograms, slopes, sums: means, attention, .. } = all;
        Ok(Self { histograms, targets: Targets { slopes, means, attention } })
    }
}

struct CalibrationPart {
    histograms: Vec<Histogram>,
    slopes: Vec<Vec<f64>>,
    sums: Vec<Vec<f64>>,
    totals: Vec<Vec<f64>>,
    attention: Vec<Attention>,
}

impl Attention {
    fn of(prepared: &Prepared, heads: &[(usize, usize)], outputs: &[&[f32]]) -> Self {
        let mut weights = vec![Vec::new(); outputs.len()];
        for &(node, head) in heads {
            let Op::Yolo(yolo) = &prepared.graph.nodes[head].op else {
                unreachable!("heads() lists yolo layers")
            };
            let plane = prepared.graph.nodes[head].shape.plane();
            let entries = 5 + yolo.classes;
            let objectness = (0..yolo.mask.len()).flat_map(|anchor| {
                outputs[head][(anchor * entries + 4) * plane..][..plane].iter().map(|&o| o.clamp(0.0, 1.0))
            });
            weights[node] = objectness.collect();
        }
        Self { weights }
    }
}

/// `(node before it, node)` of every `[yolo]` head.
fn heads(prepared: &Prepared) -> Vec<(usize, usize)> {
    let nodes = prepared.graph.nodes.iter().enumerate();
    let heads = nodes.filter_map(|(i, node)| match (&node.op, node.inputs[0]) {
        (Op::Yolo(_), Source::Layer(from)) => Some((from, i)),
        _ => None,
    });
    heads.collect()
}

/// The activation of a layer with biases.
fn activation(op: &Op) -> Option<Activation> {
    match op {
        Op::Conv(conv) => Some(conv.activation),
        Op::Connected(full) => Some(full.activation),
        _ => None,
    }
}

/// Sum of the activation's derivative; `values` are after it where two slopes express it, else before.
fn total_slope(activation: Activation, values: &[f32]) -> f64 {
    match TwoSlope::of(activation) {
        Some(slopes) => {
            let slope = |&v: &f32| match slopes.clamp {
                Some((low, high)) if f64::from(v) <= low || f64::from(v) >= high => 0.0,
                _ if v > 0.0 => slopes.positive,
                _ => slopes.negative,
            };
            values.iter().map(slope).sum()
        }
        None => {
            let f = |x| float::activate(activation, x);
            let slope = |&x: &f32| f64::from((f(x + HALF_STEP) - f(x - HALF_STEP)) / (2.0 * HALF_STEP));
            values.iter().map(slope).sum()
        }
    }
}

/// Folds the outputs of all images into a fixed number of parts, in order within each.
fn each_part<T: Send>(
    prepared: &Prepared,
    images: &[Vec<f32>],
    doing: &str,
    empty: impl Fn() -> T + Sync,
    fill: impl Fn(&mut T, &[&[f32]]) + Sync,
) -> Result<Vec<T>> {
    let plan = Plan::keeping(&prepared.graph, &prepared.weights, &Keep::All)?;
    let progress = Progress::new(doing, images.len() as u64);
    let size = images.len().div_ceil(PARTS).max(1);
    let parts = images.par_chunks(size).map(|chunk| {
        let mut part = empty();
        let mut scratch = plan.scratch();
        for image in chunk {
            plan.run(&mut scratch, image);
            let outputs = (0..prepared.graph.nodes.len()).map(|i| plan.output(&scratch, i));
            fill(&mut part, &outputs.collect::<Vec<_>>());
            progress.advance(1);
        }
        part
    });
    Ok(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_spread_over_the_whole_list() {
        assert_eq!(spread(126, CALIBRATION_IMAGES).collect::<Vec<_>>(), (0..126).collect::<Vec<_>>());
        assert_eq!(spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(spread(0, 5).count() + spread(5, 0).count(), 0);
        let many: Vec<usize> = spread(118_287, 128).collect();
        assert!(many.len() == 128 && many[127] > 117_000 && many.windows(2).all(|w| w[0] < w[1]));
    }
}
