//! Reconstruction: the remaining inputs of a layer make up for removed ones, without labels or gradients.
//!
//! A removed channel is, in part, a linear function of the kept ones. Least squares over a few
//! images finds that function, and it is folded into the weights of every dense layer that reads
//! the channel (for a 1×1 convolution this is the best possible change of its weights and bias).
//! [`network`] goes through the network from the image to the heads, so that each layer also
//! corrects the drift that the layers before it have left. Sources: He et al. 2017, arXiv:1707.06168;
//! Frantar and Alistarh 2022 (Optimal Brain Compression), arXiv:2208.11580.

mod augment;
mod elimination;
mod moments;
mod network;
mod solve;

use std::ops::Range;

use rayon::prelude::*;

pub use augment::augment;
pub use elimination::{Elimination, eliminate_channels, eliminate_vectors};
pub use network::{Block, network};

use self::moments::Moments;
use self::solve::{Cholesky, dot};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_float::{Keep, Plan};
use secateur_ir::{Columns, Graph, LayerWeights, Op, Padding, Source, Weights, is_dense};

/// Images that share one partial sum: fixed, so that sums do not depend on the threads.
const IMAGES_PER_SUM: usize = 8;

/// Weight of the prior "leave the weights alone", as a fraction of the inputs' mean square.
pub const DEFAULT_RIDGE: f64 = 1e-2;

/// Copies of every analysed image that the network is fitted to: the image and its mirror image
/// ([`augment()`]).
pub const COPIES: usize = 2;

/// The data that the consumers of removed units are fitted to.
#[derive(Clone, Copy)]
pub struct Reconstruction<'a> {
    /// Moments of the original network, for one group alone.
    pub statistics: &'a Statistics,
    /// Inputs for all groups at once.
    pub images: &'a [&'a [f32]],
    pub ridge: f64,
}

/// Moments of every dense layer's input in the original network.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// By the layer whose output is read.
    moments: Vec<Option<Moments>>,
    ridge: f64,
}

impl Statistics {
    /// Runs the network on `images` (inputs as [`Plan::run`] takes them).
    pub fn collect(graph: &Graph, weights: &Weights, images: &[&[f32]], ridge: f64) -> Result<Self> {
        let mut sources: Vec<usize> = graph
            .nodes
            .iter()
            .filter(|node| is_dense(&node.op))
            .filter_map(|node| match node.inputs[0] {
                Source::Layer(from) => Some(from),
                Source::Image => None,
            })
            .collect();
        sources.sort_unstable();
        sources.dedup();
        let plan = Plan::keeping(graph, weights, &Keep::Layers(sources.clone()))?;
        let progress = Progress::new("measuring channels", images.len() as u64);
        let partial: Vec<Vec<Moments>> = images
            .par_chunks(IMAGES_PER_SUM)
            .map_init(
                || plan.scratch(),
                |scratch, chunk| {
                    let mut sums: Vec<Moments> =
                        sources.iter().map(|&from| Moments::zero(graph.nodes[from].shape.c)).collect();
                    for image in chunk {
                        plan.run(scratch, image);
                        for (sum, &from) in sums.iter_mut().zip(&sources) {
                            sum.add(&Moments::of_maps(plan.output(scratch, from), None, sum.channels));
                        }
                        progress.advance(1);
                    }
                    sums
                },
            )
            .collect();
        let mut moments = vec![None; graph.nodes.len()];
        for sums in partial {
            for (sum, &from) in sums.into_iter().zip(&sources) {
                match &mut moments[from] {
                    Some(total) => Moments::add(total, &sum),
                    empty => *empty = Some(sum),
                }
            }
        }
        Ok(Self { moments, ridge })
    }

    /// Multiply-accumulates of the moments themselves.
    pub fn macs(&self) -> u64 {
        self.moments.iter().flatten().map(|m| m.count as u64 * (m.channels * m.channels) as u64).sum()
    }

    /// Moments of the input of `layer`; `None` for layers that read the image.
    fn of(&self, graph: &Graph, layer: usize) -> Option<&Moments> {
        match graph.nodes[layer].inputs[0] {
            Source::Layer(from) => self.moments[from].as_ref(),
            Source::Image => None,
        }
    }

    /// The weights of dense `layer` when only the input channels in `kept` remain, all else unchanged.
    /// Weights on removed channels are zero.
    pub fn reconstruct(
        &self,
        graph: &Graph,
        layer: usize,
        weights: &LayerWeights,
        kept: &[bool],
    ) -> LayerWeights {
        self.reconstruct_some(graph, layer, weights, kept, 0..graph.nodes[layer].shape.c)
    }

    /// As [`Self::reconstruct`], the input channels being gone for some `outputs` only.
    pub fn reconstruct_some(
        &self,
        graph: &Graph,
        layer: usize,
        weights: &LayerWeights,
        kept: &[bool],
        outputs: Range<usize>,
    ) -> LayerWeights {
        match self.of(graph, layer) {
            Some(moments) => refit(graph, layer, weights, kept, moments, self.ridge, outputs),
            None => weights.clone(),
        }
    }
}

/// Returns whether a constant added to an input channel changes the output by a constant.
fn uniform(op: &Op) -> bool {
    match op {
        Op::Conv(conv) => conv.padding == Padding::NONE,
        Op::Connected(_) => true,
        _ => false,
    }
}

/// Fits the weights of a dense layer to the output that it should have.
///
/// `moments.a` are the input channels that `weights` were trained on, `moments.b` those it gets now
/// (removed ones do not count). Minimises `Σ |W·a − W'·b|² + λ |W' − W|²` over `W'` that mix input
/// channels alike at every tap; where the border allows, the bias takes up the means. Only `outputs`
/// are fitted.
fn refit(
    graph: &Graph,
    layer: usize,
    weights: &LayerWeights,
    kept: &[bool],
    moments: &Moments,
    ridge: f64,
    outputs: Range<usize>,
) -> LayerWeights {
    let centred = uniform(&graph.nodes[layer].op);
    let constant = centred && !moments.vary();
    let channels = moments.channels;
    let kept: Vec<usize> = (0..channels).filter(|&channel| kept[channel]).collect();
    let n = kept.len();

    let mut normal = vec![0.0; n * n];
    for (row, &i) in kept.iter().enumerate() {
        for (column, &j) in kept.iter().enumerate() {
            normal[row * n + column] = moments.square(i, j, centred);
        }
    }
    // `Wᵀ` times this is the right-hand side: what is missing, correlated with what is there.
    let mut missing = vec![0.0; n * channels];
    for (column, &j) in kept.iter().enumerate() {
        for c in 0..channels {
            missing[column * channels + c] = moments.cross(c, j, centred);
        }
        for (row, &i) in kept.iter().enumerate() {
            missing[column * channels + i] -= normal[row * n + column];
        }
    }
    let lambda = damping(&mut normal, n, ridge);
    let factor = Cholesky::new(normal, n, lambda);

    let columns = Columns::of(graph, layer);
    let rows: Vec<(Vec<f64>, f64)> = (outputs.start * columns.window..outputs.end * columns.window)
        .into_par_iter()
        .map(|row| {
            let (output, tap) = (row / columns.window, row % columns.window);
            let old: Vec<f64> = (0..channels)
                .map(|c| f64::from(weights.weights[columns.range(output, c).start + tap]))
                .collect();
            let mut change: Vec<f64> =
                (0..n).map(|column| dot(&old, &missing[column * channels..][..channels])).collect();
            factor.solve(&mut change);
            // Inputs that never vary are made up for by the bias alone.
            if constant || change.iter().any(|change| !change.is_finite()) {
                change.fill(0.0);
            }
            let mut new = vec![0.0; channels];
            for (&channel, change) in kept.iter().zip(&change) {
                new[channel] = old[channel] + change;
            }
            let shift = (dot(&old, &moments.sum_a) - dot(&new, &moments.sum_b)) / moments.count;
            (new, shift)
        })
        .collect();

    let mut fitted = weights.clone();
    for (row, (new, shift)) in (outputs.start * columns.window..).zip(&rows) {
        let (output, tap) = (row / columns.window, row % columns.window);
        for (c, &weight) in new.iter().enumerate() {
            fitted.weights[columns.range(output, c).start + tap] = weight as f32;
        }
        if centred {
            match &mut fitted.batch_norm {
                Some(norm) => norm.mean[output] = (f64::from(norm.mean[output]) - shift) as f32,
                None => fitted.bias[output] = (f64::from(fitted.bias[output]) + shift) as f32,
            }
        }
    }
    fitted
}

/// Adds `ridge` times the mean of the diagonal to it and returns what was added, never zero.
fn damping(matrix: &mut [f64], n: usize, ridge: f64) -> f64 {
    let mean = (0..n).map(|i| matrix[i * n + i]).sum::<f64>() / n.max(1) as f64;
    let lambda = (ridge * mean).max(1e-12);
    for i in 0..n {
        matrix[i * n + i] += lambda;
    }
    lambda
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_float::oracle;
    use secateur_ir::ChannelGroups;
    use secateur_testing::{RandomOptions, random_network};

    /// A channel that is a combination of others can go without a trace.
    #[test]
    fn a_dependent_channel_is_made_up_for_exactly() {
        let (_, graph, mut weights) = (0..)
            .map(|seed| random_network(seed, &RandomOptions::default()))
            .find(|(_, graph, _)| {
                // Linear convolution of 3 or more channels, read by one 1×1 convolution right behind.
                let [a, b] = [0, 1].map(|layer| match &graph.nodes[layer].op {
                    Op::Conv(conv) => Some(conv.clone()),
                    _ => None,
                });
                let (Some(a), Some(b)) = (a, b) else { return false };
                a.activation == secateur_ir::Activation::Linear
                    && (3..=graph.input.c * 9).contains(&a.filters)
                    && (b.groups, b.padding, b.kernel) == (1, Padding::NONE, [1; 2])
                    && graph.consumers()[0] == [1]
            })
            .unwrap();
        let channels = graph.nodes[0].shape.c;
        // Filter 0 becomes the sum of filters 1 and 2; their batch norm is the same.
        let layer = &mut weights.layers[0];
        let row = layer.weights.len() / channels;
        for i in 0..row {
            layer.weights[i] = layer.weights[row + i] + layer.weights[2 * row + i];
        }
        if let Some(norm) = &mut layer.batch_norm {
            norm.scale.fill(1.0);
            norm.variance.fill(1.0);
        }

        let images: Vec<Vec<f32>> = (0..4)
            .map(|p| (0..graph.input.len()).map(|i| ((i * (p + 3) * 7919) % 997) as f32 / 997.0).collect())
            .collect();
        let inputs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        let statistics = Statistics::collect(&graph, &weights, &inputs, 1e-9).unwrap();
        let mut kept = vec![true; channels];
        kept[0] = false;
        let mut fitted = weights.clone();
        fitted.layers[1] = statistics.reconstruct(&graph, 1, &weights.layers[1], &kept);
        let before = oracle::run(&graph, &weights, inputs[0]);
        let after = oracle::run(&graph, &fitted, inputs[0]);
        let largest = before[1].iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
        for (a, b) in before[1].iter().zip(&after[1]) {
            assert!((a - b).abs() <= 1e-3 * largest, "{a} {b}");
        }
        let columns = Columns::of(&graph, 1);
        let read = |output: usize| &fitted.layers[1].weights[columns.range(output, 0)];
        assert!((0..graph.nodes[1].shape.c).all(|output| read(output).iter().all(|&w| w == 0.0)));

        // The ranking finds it too: that channel or one of the two that make it goes first.
        let groups = ChannelGroups::new(&graph);
        let order = eliminate_channels(&graph, &groups, &weights, &statistics, 0).order;
        assert!(order[0] <= 2, "{order:?}");
    }
}
