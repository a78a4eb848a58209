//! The int8 network of a float one on the images of an evaluator.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use secateur_base::Result;
use secateur_data::{Fit, Sample};
use secateur_eval::{Detector, Evaluator, ImageResult};
use secateur_ir::{Graph, Rounding, Weights};
use secateur_quant::net::Provenance;
use secateur_quant::{CALIBRATION_IMAGES, QDetector, QuantiseOptions, quantise, roundings, spread};

/// Calibration images where a network is quantised for every measurement: thirty do.
const IMAGES: usize = 32;

/// Quantises networks as `quantize` does, on images that stay the same.
#[derive(Clone)]
pub(crate) struct Int8 {
    /// Calibration images, `[c][h][w]` in 0..1.
    images: Arc<Vec<Vec<f32>>>,
}

impl Int8 {
    /// Calibrates on images of an evaluator, spread over all of them.
    pub(crate) fn new(evaluator: &Evaluator) -> Self {
        let images = spread(evaluator.len(), IMAGES).map(|image| evaluator.input(image).to_vec());
        Self { images: Arc::new(images.collect()) }
    }

    /// Calibrates on as many images of a list as `quantize` does.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub(crate) fn of_list(images: &[PathBuf], graph: &Graph) -> Result<Self> {
        let fit = Fit::of_network(graph.has_heads(), graph.letter_box);
        let chosen: Vec<usize> = spread(images.len(), CALIBRATION_IMAGES).collect();
        let load = |&image: &usize| Ok(Sample::load(&images[image], graph.input, fit)?.input);
        Ok(Self { images: Arc::new(chosen.par_iter().map(load).collect::<Result<_>>()?) })
    }

    /// What the int8 form of a network rounds, by layer.
    ///
    /// # Errors
    /// As [`Int8::results`].
    pub(crate) fn roundings(&self, graph: &Graph, weights: &Weights) -> Result<Vec<Rounding>> {
        roundings(graph, weights, &self.images, &QuantiseOptions::default())
    }

    /// [`Int8::results`] on one evaluator.
    pub(crate) fn measure<'a>(
        &'a self,
        evaluator: &'a Evaluator,
    ) -> impl Fn(&Graph, &Weights) -> Result<Vec<ImageResult>> + Sync + use<'a> {
        move |graph, weights| self.results(evaluator, graph, weights)
    }

    /// What the int8 network makes of each image of `evaluator`.
    ///
    /// # Errors
    /// An operator without an integer meaning, a channel whose accumulator may overflow.
    pub(crate) fn results(
        &self,
        evaluator: &Evaluator,
        graph: &Graph,
        weights: &Weights,
    ) -> Result<Vec<ImageResult>> {
        let options = QuantiseOptions::default();
        let quantised = quantise(graph, weights, &self.images, &options, Vec::new(), Provenance::default())?;
        let network = QDetector::new(&quantised.net, graph)?;
        let result = |image| evaluator.image_result(image, &network.heads(evaluator.input(image)));
        Ok((0..evaluator.len()).into_par_iter().map(result).collect())
    }
}
