//! What an evaluation needs of a network, however it runs: float plan or deployed artefact.

use rayon::prelude::*;

use super::{Detection, Heads, decode};
use crate::Result;
use crate::data::{Dataset, Fit, Frame};
use crate::graph::Shape;
use crate::progress::Progress;

/// A network that can be run on prepared pictures, from several threads at once.
pub trait Detector: Sync {
    /// Shape of the input; values are `[c][h][w]`, 0..1.
    fn input(&self) -> Shape;

    /// Pictures keep their proportions (`letter_box=1`).
    fn letter_box(&self) -> bool;

    /// How pictures are brought to the input's size; a classifier takes their middle.
    fn fit(&self) -> Fit {
        match (self.layout().heads.is_empty(), self.letter_box()) {
            (true, _) => Fit::Crop,
            (false, true) => Fit::Letterbox,
            (false, false) => Fit::Stretch,
        }
    }

    /// The heads in the order of [`Detector::heads`]; none for a classifier.
    fn layout(&self) -> &Heads;

    /// Output of every head as Darknet's layer leaves it (see [`decode`]); of a classifier the
    /// last layer's output alone.
    fn heads(&self, input: &[f32]) -> Vec<Vec<f32>>;

    /// The tensor that every head reads, `[c][h][w]`; of a classifier what its softmax reads.
    fn head_inputs(&self, input: &[f32]) -> Vec<Vec<f32>>;

    /// Objects over `thresh` after suppression at `nms`, best order first as Darknet has it.
    ///
    /// `frame` tells where the picture lies within the input; boxes are in shares of the picture.
    fn detect(&self, input: &[f32], frame: Frame, thresh: f32, nms: f32) -> Vec<Detection> {
        decode(self.layout(), &self.heads(input), frame, thresh, nms)
    }
}

/// Runs a detector over all pictures of a dataset, decoding each when its turn comes.
///
/// The result has one list a picture, whatever the number of threads.
pub fn detect_all(
    detector: &dyn Detector,
    dataset: &Dataset,
    thresh: f32,
    nms: f32,
) -> Result<Vec<Vec<Detection>>> {
    map_pictures(detector, dataset, "detecting", |input, frame| detector.detect(input, frame, thresh, nms))
}

/// Head tensors of every picture.
pub fn heads_all(detector: &dyn Detector, dataset: &Dataset) -> Result<Vec<Vec<Vec<f32>>>> {
    map_pictures(detector, dataset, "running", |input, _| detector.heads(input))
}

fn map_pictures<T: Send>(
    detector: &dyn Detector,
    dataset: &Dataset,
    doing: &str,
    run: impl Fn(&[f32], Frame) -> T + Sync,
) -> Result<Vec<T>> {
    let progress = Progress::new(format!("{doing} in {} pictures", dataset.len()), dataset.len() as u64);
    (0..dataset.len())
        .into_par_iter()
        .map(|index| {
            let sample = dataset.sample(index, detector.input(), detector.fit())?;
            let result = run(&sample.input, sample.frame);
            progress.advance(1);
            Ok(result)
        })
        .collect()
}
