//! Running statistics of batch norm, computed anew after weights or channels have changed.

use rayon::prelude::*;

use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_ir::{Graph, Weights};

use crate::engine::{BatchVariance, Engine, EngineOptions};

/// Returns an image of the network's input by its number, `[c][h][w]` in 0..1. No type parameter, so that the engine is
/// compiled here and not in whoever calls.
pub type LoadImage<'a> = &'a (dyn Fn(usize) -> Result<Vec<f32>> + Sync);

/// Replaces the running means and variances of every batch norm by their averages over `passes` passes forward in
/// training mode, of `size` images each. All other numbers stay; neither labels nor gradients are used.
///
/// Every pass counts alike: the running statistics follow pass k (from 0) by 1 / (k + 1). Variances are those within a
/// pass, divided by N − 1 as in Darknet. Images from 0 to below `passes · size` are asked for: pass k has images k,
/// k + `passes`, k + 2 · `passes`, …, so that a list in order of classes does no harm.
///
/// Source: Li et al. 2020 (EagleEye, adaptive batch normalisation), arXiv:2007.02491.
///
/// # Errors
/// A network without batch norm, a layer that cannot be trained through, an image that cannot be read, and statistics
/// that are not finite.
///
/// # Panics
/// If there is no pass, or a pass has no image.
pub fn recalibrate(
    graph: &Graph,
    weights: &Weights,
    image: LoadImage<'_>,
    passes: usize,
    size: usize,
) -> Result<Weights> {
    assert!(passes > 0 && size > 0, "statistics need images");
    if weights.layers.iter().all(|layer| layer.batch_norm.is_none()) {
        return Err(Error::new("the network has no batch norm: there is nothing to recalibrate")
            .help("use the weights as they are"));
    }
    let options =
        EngineOptions { images: size, variance: BatchVariance::Darknet, ..EngineOptions::default() };
    let mut engine = Engine::<f32>::new(graph, weights, &options)?;
    let progress = Progress::new(format!("{passes} passes forward"), passes as u64);
    for pass in 0..passes {
        engine.set_momentum(1.0 / (pass + 1) as f64);
        let input = load(image, &of_pass(pass, passes, size))?;
        engine.forward(&input, pass as u64, &mut |_, x| Some(x.to_vec()));
        progress.advance(1);
    }
    let mut recalibrated = weights.clone();
    for (layer, found) in engine.weights().layers.into_iter().enumerate() {
        let Some((old, new)) = recalibrated.layers[layer].batch_norm.as_mut().zip(found.batch_norm) else {
            continue;
        };
        if !new.mean.iter().chain(&new.variance).all(|value| value.is_finite()) {
            let error = Error::new("the statistics of batch norm are not finite numbers");
            return Err(graph.locate(layer, error.help("check the weights: the training may have diverged")));
        }
        (old.mean, old.variance) = (new.mean, new.variance);
    }
    Ok(recalibrated)
}

/// The images of one of `passes` passes of `size` images, spread over all of them.
pub(crate) fn of_pass(pass: usize, passes: usize, size: usize) -> Vec<usize> {
    (0..size).map(|i| i * passes + pass).collect()
}

/// Images one after the other, loaded side by side.
pub(crate) fn load(image: LoadImage<'_>, numbers: &[usize]) -> Result<Vec<f32>> {
    let images: Vec<Vec<f32>> = numbers.par_iter().map(|&number| image(number)).collect::<Result<_>>()?;
    Ok(images.concat())
}

#[cfg(test)]
mod tests {
    use secateur_ir::BatchNorm;

    use super::*;
    use crate::tests::{Net, in_threads};

    const NET: &str = "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\nactivation=leaky\n\
                       [convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=2\npad=1\nactivation=mish\n[cost]\n";

    fn norms(weights: &Weights) -> Vec<&BatchNorm> {
        weights.layers.iter().filter_map(|layer| layer.batch_norm.as_ref()).collect()
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} instead of {b}");
    }

    /// Every pass counts alike in every layer: the statistics are the averages of those of each pass alone.
    #[test]
    fn statistics_are_averages_over_passes() {
        let net = Net::new(NET, 1);
        let all = net.recalibrated(|image| image, 3, 4);
        let single: Vec<Weights> =
            (0..3).map(|pass| net.recalibrated(move |image| of_pass(pass, 3, 4)[image], 1, 4)).collect();
        for (layer, found) in norms(&all).into_iter().enumerate() {
            for c in 0..found.mean.len() {
                let mean = |value: fn(&BatchNorm, usize) -> f32| -> f64 {
                    single.iter().map(|weights| f64::from(value(norms(weights)[layer], c))).sum::<f64>() / 3.0
                };
                close(f64::from(found.mean[c]), mean(|norm, c| norm.mean[c]));
                close(f64::from(found.variance[c]), mean(|norm, c| norm.variance[c]));
            }
        }
        assert_ne!(norms(&single[0])[0], norms(&single[1])[0]);
    }

    /// Before the first batch norm one big batch has the mean of equal passes, and their variance plus that of their means.
    #[test]
    fn equal_passes_add_up_to_one_big_batch() {
        let net = Net::new(NET, 2);
        let (passes, whole) = (net.recalibrated(|image| image, 3, 4), net.recalibrated(|image| image, 1, 12));
        let (passes, whole) = (norms(&passes)[0], norms(&whole)[0]);
        let pixels = (4 * net.graph.nodes[0].shape.plane()) as f64;
        for c in 0..6 {
            let means: Vec<f64> = (0..3)
                .map(|pass| {
                    let alone = net.recalibrated(move |image| of_pass(pass, 3, 4)[image], 1, 4);
                    f64::from(norms(&alone)[0].mean[c])
                })
                .collect();
            let mean = f64::from(whole.mean[c]);
            close(f64::from(passes.mean[c]), mean);
            let between: f64 = means.iter().map(|m| pixels * (m - mean) * (m - mean)).sum();
            let within = 3.0 * (pixels - 1.0) * f64::from(passes.variance[c]);
            close((within + between) / (3.0 * pixels - 1.0), f64::from(whole.variance[c]));
        }
    }

    #[test]
    fn nothing_else_changes_on_any_number_of_threads() {
        let net = Net::new(NET, 3);
        let [one, three] =
            [1, 3].map(|threads| in_threads(threads, || net.recalibrated(|image| image, 2, 3)));
        assert!(one == three);
        assert_ne!(norms(&one)[1], norms(&net.weights)[1]);
        let mut restored = one;
        for (layer, original) in restored.layers.iter_mut().zip(&net.weights.layers) {
            if let (Some(norm), Some(original)) = (&mut layer.batch_norm, &original.batch_norm) {
                (norm.mean, norm.variance) = (original.mean.clone(), original.variance.clone());
            }
        }
        assert!(restored == net.weights);
    }

    #[test]
    fn a_network_without_batch_norm_is_an_error() {
        let net = Net::new("[convolutional]\nfilters=6\nsize=3\nactivation=leaky\n[cost]\n", 1);
        let error = recalibrate(&net.graph, &net.weights, &|_| Ok(net.image(0)), 1, 2).unwrap_err();
        assert!(error.what().contains("no batch norm"), "{error}");
    }
}
