//! Taylor ranking: how much the loss would change, to first order, if a channel were zero.
//!
//! Source: Molchanov et al. 2017, arXiv:1611.06440.

use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_data::Truth;
use secateur_ir::training::LayerTraining;
use secateur_ir::{Graph, Weights};

use crate::engine::{BatchVariance, Engine, EngineOptions};
use crate::loss::{self, Loss, Pass, Truths};
use crate::recalibrate::{LoadImage, load, of_pass};
use crate::samples::Labels;

/// Images of a pass at most: batch norm is in training mode, and its statistics are those of so many images.
const PASS_IMAGES: usize = 8;
/// Images that the network has seen, as the losses count them: beyond every burn-in of a head.
const SEEN: u64 = 1 << 20;

/// What [`taylor`] measured, of the passes with even and those with odd numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TaylorSums {
    /// Sums over the images of a half, `[layer][channel]`; 0 where no gradient arrives.
    pub halves: [Vec<Vec<f64>>; 2],
    /// Images that went through the network.
    pub images: usize,
}

impl TaylorSums {
    /// The sums over all images.
    pub fn total(&self) -> Vec<Vec<f64>> {
        let [even, odd] = &self.halves;
        let add = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a + b).collect();
        even.iter().zip(odd).map(add).collect()
    }
}

/// Sums over the images, for every channel of every layer, `|mean over the map of output · gradient|`, where the
/// gradient is that of the task's loss by the layer's output after its activation.
///
/// Batch norm is in training mode, which ranks better than with running statistics. Images go through in equal passes
/// of at most eight, each spread over the list; up to seven at the end are left out. Boxes of `labels` are relative to
/// the network's input.
///
/// # Errors
/// Fewer than two images, no label at all, a network without a loss, a layer that cannot be trained through, an image
/// that cannot be read, a gradient that is not finite.
pub fn taylor(
    graph: &Graph,
    weights: &Weights,
    layers: &[LayerTraining],
    image: LoadImage<'_>,
    labels: &Labels,
) -> Result<TaylorSums> {
    let size = PASS_IMAGES.min(labels.len() / 2);
    if size == 0 {
        return Err(Error::new("a ranking by gradients needs images")
            .found(format!("{} images", labels.len()))
            .allowed("at least 2, better 200"));
    }
    if matches!(labels, Labels::Boxes(boxes) if boxes.iter().all(Vec::is_empty)) {
        return Err(Error::new("a ranking by gradients needs labelled objects")
            .found(format!("no label in {} images", labels.len()))
            .help("give labelled images, or rank by a criterion that needs no labels"));
    }
    let losses = loss::of_graph(graph, layers);
    if losses.iter().all(Option::is_none) {
        return Err(Error::new("a ranking by gradients needs a loss, and no layer has one")
            .allowed("networks that end in yolo, region, detection, softmax or cost"));
    }
    let options =
        EngineOptions { images: size, variance: BatchVariance::Darknet, ..EngineOptions::default() };
    let mut engine = Engine::<f32>::new(graph, weights, &options)?;
    let zeros: Vec<Vec<f64>> = graph.nodes.iter().map(|node| vec![0.0; node.shape.c]).collect();
    let mut halves = [zeros.clone(), zeros];
    let passes = labels.len() / size;
    let progress = Progress::new(format!("{passes} passes forward and back"), passes as u64);
    for pass in 0..passes {
        let images = of_pass(pass, passes, size);
        let input = load(image, &images)?;
        let sums = &mut halves[pass % 2];
        match labels {
            Labels::Boxes(all) => {
                let boxes: Vec<Vec<Truth>> = images.iter().map(|&image| all[image].clone()).collect();
                add_pass(&mut engine, &losses, &input, Truths::Boxes(&boxes), sums);
            }
            Labels::Targets(all) => {
                let targets: Vec<f32> = images.iter().flat_map(|&image| all[image].clone()).collect();
                add_pass(&mut engine, &losses, &input, Truths::Targets(&targets), sums);
            }
        }
        progress.advance(1);
    }
    if halves.iter().flatten().flatten().any(|sum| !sum.is_finite()) {
        return Err(Error::new("the gradients are not finite numbers")
            .help("check that the weights belong to the .cfg, and that the training has not diverged"));
    }
    Ok(TaylorSums { halves, images: passes * size })
}

/// Runs one pass and adds its images' terms to `sums`.
fn add_pass(
    engine: &mut Engine<f32>,
    losses: &[Option<Box<dyn Loss>>],
    input: &[f32],
    truths: Truths<'_>,
    sums: &mut [Vec<f64>],
) {
    let pass = Pass { input: engine.graph().input, truths, seen: SEEN };
    let mut gradients: Vec<(usize, Vec<f32>)> = Vec::new();
    engine.forward(input, 0, &mut |layer, x| {
        let Some(loss) = &losses[layer] else { return Some(x.to_vec()) };
        let (mut output, mut delta) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        loss.forward(x, &pass, Some(&mut output), &mut delta);
        // The sign of a whole gradient changes no score, so that the delta stands for it as it is.
        gradients.push((layer, delta));
        Some(output)
    });
    for (layer, gradient) in &gradients {
        engine.seed(*layer, gradient);
    }
    engine.backward_observed(&mut |layer, observation| {
        for (sum, images) in sums[layer].iter_mut().zip(observation.mean_products()) {
            *sum += images.iter().map(|mean| mean.abs()).sum::<f64>();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trainer;
    use crate::tests::{Net, in_threads};

    const NET: &str = "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\nactivation=leaky\n\
                       [convolutional]\nfilters=4\nsize=1\nactivation=linear\n[cost]\n";
    const CHANNELS: usize = 6;

    fn targets(net: &Net, images: usize) -> Vec<Vec<f32>> {
        let values = net.graph.nodes[1].shape.len();
        (0..images).map(|image| (0..values).map(|i| ((i * 7 + image) % 5) as f32 / 5.0).collect()).collect()
    }

    fn scores(net: &Net, images: usize) -> TaylorSums {
        let labels = Labels::Targets(targets(net, images));
        taylor(&net.graph, &net.weights, &net.training.layers, &|image| Ok(net.image(image)), &labels)
            .unwrap()
    }

    /// The cost of an image where the second layer's weights on a channel are scaled.
    fn cost(net: &Net, image: usize, targets: &[f32], channel: usize, factor: f32) -> f64 {
        let mut weights = net.weights.clone();
        let filters = weights.layers[1].weights.chunks_exact_mut(CHANNELS);
        filters.for_each(|filter| filter[channel] *= factor);
        let mut trainer = Trainer::<f64>::new(&net.graph, &weights, &net.training, 0, 1).unwrap();
        trainer.pass(&net.image(image), Truths::Targets(targets), None)[0].cost.total
    }

    /// Two images go in passes of their own. The cost is quadratic in the factor of a channel, so that a central
    /// difference is its derivative; Darknet's delta is half of it.
    #[test]
    fn scores_are_derivatives_by_the_factor_of_a_channel() {
        let net = Net::new(NET, 1);
        let (found, targets) = (scores(&net, 2), targets(&net, 2));
        assert_eq!(found.images, 2);
        let plane = net.graph.nodes[0].shape.plane() as f64;
        for (image, targets) in targets.iter().enumerate() {
            for channel in 0..CHANNELS {
                let at = |factor| cost(&net, image, targets, channel, factor);
                let expected = (at(1.5) - at(0.5)).abs() / 2.0 / plane;
                let score = found.halves[image][0][channel];
                assert!((score - expected).abs() < 1e-4 * expected + 1e-6, "{score} instead of {expected}");
            }
        }
    }

    #[test]
    fn a_channel_that_nobody_reads_scores_nothing() {
        let mut net = Net::new(NET, 2);
        let filters = net.weights.layers[1].weights.chunks_exact_mut(CHANNELS);
        filters.for_each(|filter| filter[2] = 0.0);
        let total = scores(&net, 20).total();
        for (channel, &score) in total[0].iter().enumerate() {
            assert_eq!(score == 0.0, channel == 2, "{channel}: {score}");
        }
    }

    #[test]
    fn threads_change_nothing_and_whole_passes_count() {
        let net = Net::new(NET, 3);
        let [one, three] = [1, 3].map(|threads| in_threads(threads, || scores(&net, 21)));
        assert!(one == three);
        assert_eq!(one.images, 16);
        assert_ne!(one.halves[0], one.halves[1]);
        let [even, odd] = &one.halves;
        assert_eq!(one.total()[0][3], even[0][3] + odd[0][3]);
    }

    #[test]
    fn a_ranking_needs_images_labels_and_a_loss() {
        let net = Net::new(NET, 4);
        let ranked = |net: &Net, labels: &Labels| {
            taylor(&net.graph, &net.weights, &net.training.layers, &|image| Ok(net.image(image)), labels)
                .unwrap_err()
                .to_string()
        };
        let error = ranked(&net, &Labels::Targets(targets(&net, 1)));
        assert!(error.contains("at least 2"), "{error}");
        let error = ranked(&net, &Labels::Boxes(vec![Vec::new(); 8]));
        assert!(error.contains("no label in 8 images"), "{error}");
        let headless = Net::new("[convolutional]\nfilters=6\nsize=3\nactivation=leaky\n", 4);
        let error = ranked(&headless, &Labels::Targets(vec![Vec::new(); 4]));
        assert!(error.contains("needs a loss"), "{error}");
    }
}
