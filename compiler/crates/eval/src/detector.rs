//! The interface of an evaluation to a network, however that runs: float plan or deployed artefact.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{Detection, Heads, decode};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_data::{Dataset, Fit, Frame, Sample};
use secateur_float::{Keep, Plan, Scratch};
use secateur_ir::{Graph, Op, Shape, Source, Weights};

/// A network that can be run on prepared images, from several threads at once.
pub trait Detector: Sync {
    /// Shape of the input; values are `[c][h][w]`, 0..1.
    fn input(&self) -> Shape;

    /// Number of classes, of heads or of a classifier.
    fn classes(&self) -> usize {
        self.layout().classes
    }

    /// Images keep their proportions (`letter_box=1`).
    fn letter_box(&self) -> bool;

    /// The way in which images are brought to the input's size.
    fn fit(&self) -> Fit {
        Fit::of_network(!self.layout().heads.is_empty(), self.letter_box())
    }

    /// The heads in the order of [`Detector::heads`]; none for a classifier.
    fn layout(&self) -> &Heads;

    /// Output of every head as Darknet's layer leaves it (see [`decode`]); of a classifier the
    /// last layer's output alone.
    fn heads(&self, input: &[f32]) -> Vec<Vec<f32>>;

    /// The tensor that every head reads, `[c][h][w]`; of a classifier what its softmax reads.
    fn head_inputs(&self, input: &[f32]) -> Vec<Vec<f32>>;

    /// [`Detector::heads`] and [`Detector::head_inputs`].
    fn heads_and_inputs(&self, input: &[f32]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        (self.heads(input), self.head_inputs(input))
    }

    /// Objects over `thresh` after suppression at `nms`, best order first as Darknet has it.
    ///
    /// `frame` tells where the image lies within the input; boxes are In fractions of the image.
    fn detect(&self, input: &[f32], frame: Frame, thresh: f32, nms: f32) -> Vec<Detection> {
        decode(self.layout(), &self.heads(input), frame, thresh, nms)
    }
}

/// A trained network in float.
pub struct FloatDetector {
    plan: Plan,
    layout: Heads,
    /// Layers whose outputs are the result.
    outputs: Vec<usize>,
    /// Threads that share one image.
    threads: usize,
    /// Memory of runs that are over, for the next ones.
    pool: Mutex<Vec<Scratch>>,
}

impl FloatDetector {
    /// # Errors
    /// If the weights do not fit the graph, or its heads differ in their number of classes.
    pub fn new(graph: &Graph, weights: &Weights) -> Result<Self> {
        let layout = Heads::of(graph)?;
        let outputs: Vec<usize> = if layout.heads.is_empty() {
            let softmax = graph.nodes.iter().rposition(|node| matches!(node.op, Op::Softmax(_)));
            softmax.or(graph.nodes.len().checked_sub(1)).into_iter().collect()
        } else {
            layout.heads.iter().map(|head| head.layer).collect()
        };
        let inputs: Vec<usize> = outputs.iter().filter_map(|&layer| input_layer(graph, layer)).collect();
        let plan = Plan::keeping(graph, weights, &Keep::Layers(inputs))?;
        Ok(Self { plan, layout, outputs, threads: 1, pool: Mutex::default() })
    }

    /// Divides each image among `threads` threads: for one image after the other.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The network's plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The layers that the outputs read; a layer on the image itself stands for its input.
    fn input_layers(&self) -> impl Iterator<Item = usize> {
        self.outputs.iter().map(|&layer| input_layer(self.plan.graph(), layer).unwrap_or(layer))
    }

    fn run(&self, input: &[f32], layers: impl Iterator<Item = usize>) -> Vec<Vec<f32>> {
        let lock = || self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let recycled = lock().pop();
        let mut scratch = recycled.unwrap_or_else(|| self.plan.scratch());
        self.plan.run_threaded(&mut scratch, input, self.threads);
        let outputs = layers.map(|layer| self.plan.output(&scratch, layer).to_vec()).collect();
        lock().push(scratch);
        outputs
    }
}

/// The layer that a layer reads first; none where that is the image.
fn input_layer(graph: &Graph, layer: usize) -> Option<usize> {
    match graph.nodes[layer].inputs.first() {
        Some(Source::Layer(input)) => Some(*input),
        _ => None,
    }
}

impl Detector for FloatDetector {
    fn input(&self) -> Shape {
        self.plan.graph().input
    }

    fn classes(&self) -> usize {
        match self.outputs.last() {
            Some(&layer) if self.layout.heads.is_empty() => self.plan.graph().nodes[layer].shape.len(),
            _ => self.layout.classes,
        }
    }

    fn letter_box(&self) -> bool {
        self.plan.graph().letter_box
    }

    fn layout(&self) -> &Heads {
        &self.layout
    }

    fn heads(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.run(input, self.outputs.iter().copied())
    }

    fn head_inputs(&self, input: &[f32]) -> Vec<Vec<f32>> {
        self.run(input, self.input_layers())
    }

    fn heads_and_inputs(&self, input: &[f32]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let mut heads = self.run(input, self.outputs.iter().copied().chain(self.input_layers()));
        let inputs = heads.split_off(self.outputs.len());
        (heads, inputs)
    }
}

/// Runs a detector over all images of a dataset, decoding each when its turn comes.
///
/// The result has one list for each image, whatever the number of threads.
pub fn detect_all(
    detector: &dyn Detector,
    dataset: &Dataset,
    thresh: f32,
    nms: f32,
) -> Result<Vec<Vec<Detection>>> {
    over_images(detector, dataset, |sample| detector.detect(&sample.input, sample.frame, thresh, nms))
}

/// Head tensors of every image.
pub fn heads_all(detector: &dyn Detector, dataset: &Dataset) -> Result<Vec<Vec<Vec<f32>>>> {
    over_images(detector, dataset, |sample| detector.heads(&sample.input))
}

/// Prepares every image for `detector` and hands it to `run`, several at once; shows progress.
pub(super) fn over_images<T: Send>(
    detector: &dyn Detector,
    dataset: &Dataset,
    run: impl Fn(&Sample) -> T + Sync,
) -> Result<Vec<T>> {
    let progress = Progress::new(format!("running {} images", dataset.len()), dataset.len() as u64);
    (0..dataset.len())
        .into_par_iter()
        .map(|index| {
            let result = run(&dataset.sample(index, detector.input(), detector.fit())?);
            progress.advance(1);
            Ok(result)
        })
        .collect()
}
