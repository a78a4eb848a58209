//! The int8 network of a float one on the images of an evaluator.

use rayon::prelude::*;
use secateur_base::Result;
use secateur_eval::{Detector, Evaluator, ImageResult};
use secateur_ir::{Graph, Weights};
use secateur_quant::net::Provenance;
use secateur_quant::{QDetector, QuantiseOptions, quantise, spread};

/// Calibration images where a network is quantised for every measurement: thirty do.
const IMAGES: usize = 32;

/// Quantises networks as `quantize` does, on images that stay the same.
pub(crate) struct Int8 {
    /// Calibration images, `[c][h][w]` in 0..1.
    images: Vec<Vec<f32>>,
}

impl Int8 {
    /// Calibrates on images of an evaluator, spread over all of them.
    pub(crate) fn new(evaluator: &Evaluator) -> Self {
        let images = spread(evaluator.len(), IMAGES).map(|image| evaluator.input(image).to_vec());
        Self { images: images.collect() }
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
        let quantised =
            quantise(graph, weights, &self.images, &options, Vec::new(), Provenance::default())?;
        let network = QDetector::new(&quantised.net, graph)?;
        let result = |image| evaluator.image_result(image, &network.heads(evaluator.input(image)));
        Ok((0..evaluator.len()).into_par_iter().map(result).collect())
    }
}
