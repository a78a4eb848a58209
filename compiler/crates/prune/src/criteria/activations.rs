//! Outputs of single channels on images.

use rayon::prelude::*;

use crate::PruneUnits;
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_float::{Keep, Plan};

/// Images that share one partial sum: fixed, so that sums do not depend on the threads.
const IMAGES_PER_SUM: usize = 8;

/// What the outputs of channels, after the activation, are over images and pixels. `[layer][channel]`, empty for
/// layers that make no unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Activations {
    /// Mean of the absolute values.
    means: Vec<Vec<f64>>,
    /// Fraction of the values that are 0.
    zeros: Vec<Vec<f64>>,
}

impl Activations {
    /// Runs the original network on `images` (inputs as [`Plan::run`] takes them).
    ///
    /// # Errors
    /// A network that cannot be executed in float.
    ///
    /// # Panics
    /// Without images.
    pub fn collect(units: &dyn PruneUnits, images: &[&[f32]]) -> Result<Self> {
        assert!(!images.is_empty(), "there are images to measure on");
        let graph = units.graph();
        let channels = (0..units.groups().len()).flat_map(|group| units.channels(group)).flatten();
        let mut layers: Vec<usize> = channels.map(|(layer, _)| layer).collect();
        layers.sort_unstable();
        layers.dedup();
        let plan = Plan::keeping(graph, units.weights(), &Keep::Layers(layers.clone()))?;
        let progress = Progress::new("measuring channels", images.len() as u64);
        let zero = || {
            let mut sums = vec![Vec::new(); graph.nodes.len()];
            layers.iter().for_each(|&layer| sums[layer] = vec![0.0; graph.nodes[layer].shape.c]);
            Self { means: sums.clone(), zeros: sums }
        };
        let partial: Vec<Self> = images
            .par_chunks(IMAGES_PER_SUM)
            .map_init(
                || plan.scratch(),
                |scratch, chunk| {
                    let mut sums = zero();
                    for image in chunk {
                        plan.run(scratch, image);
                        for &layer in &layers {
                            let plane = graph.nodes[layer].shape.plane();
                            let maps = plan.output(scratch, layer).chunks_exact(plane);
                            for (channel, map) in maps.enumerate() {
                                let (mean, zeros) = of_map(map);
                                sums.means[layer][channel] += mean;
                                sums.zeros[layer][channel] += zeros;
                            }
                        }
                        progress.advance(1);
                    }
                    sums
                },
            )
            .collect();
        let mean = |of: fn(Self) -> Vec<Vec<f64>>, partial: &[Self]| {
            let mut total = of(zero());
            for sums in partial {
                let pairs = total.iter_mut().flatten().zip(of(sums.clone()).into_iter().flatten());
                pairs.for_each(|(total, sum)| *total += sum);
            }
            total.iter_mut().flatten().for_each(|sum| *sum /= images.len() as f64);
            total
        };
        Ok(Self { means: mean(|sums| sums.means, &partial), zeros: mean(|sums| sums.zeros, &partial) })
    }

    /// Mean absolute output of a channel, relative to its layer's mean.
    pub(super) fn relative_mean(&self, (layer, channel): (usize, usize)) -> f64 {
        let means = &self.means[layer];
        let mean = (means.iter().sum::<f64>() / means.len() as f64).max(f64::MIN_POSITIVE);
        means[channel] / mean
    }

    /// Fraction of a channel's outputs that are not 0.
    pub(super) fn nonzero(&self, (layer, channel): (usize, usize)) -> f64 {
        1.0 - self.zeros[layer][channel]
    }
}

/// Mean absolute value, and fraction of zeros.
fn of_map(map: &[f32]) -> (f64, f64) {
    let sum: f64 = map.iter().map(|value| f64::from(value.abs())).sum();
    let zeros = map.iter().filter(|&&value| value == 0.0).count();
    (sum / map.len() as f64, zeros as f64 / map.len() as f64)
}
