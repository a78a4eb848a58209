//! Accuracy of a changed network on a set of images, beside the original's.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::agreement::ImageShift;
use crate::truths::TruthIndex;
use crate::{
    Accuracy, BROKEN_LOSS, Detection, Heads, ImageResult, Interval, MAP_THRESH, MapOptions, Metric,
    NMS_THRESH, as_truths, bootstrap_map, bootstrap_mean, bootstrap_paired_map, cross_entropy, decode,
    detection_loss, label_of_path, mean_ap, top_k,
};
use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_data::{Dataset, Fit, Frame, Sample, Truth};
use secateur_float::{Plan, Scratch};

/// Values of an image that are hashed at a time.
const HASHED_VALUES: usize = 1 << 14;

/// Images, labels and the original network's results on them.
pub struct Evaluator {
    pub metric: Metric,
    layout: Heads,
    /// Layers whose outputs are the network's result.
    outputs: Vec<usize>,
    samples: Vec<Sample>,
    /// Labels (map), or the original's detections (agree).
    truths: Vec<Vec<Truth>>,
    /// Labels, where the metric is a detector's loss.
    indices: Vec<TruthIndex>,
    /// Classes of the images (top1, loss of a classifier).
    classes: Vec<usize>,
    /// The original's detections that dP compares.
    reference: Vec<Vec<Detection>>,
    original: Vec<ImageResult>,
}

impl Evaluator {
    /// Reads all images and runs the original network on them.
    ///
    /// # Errors
    /// A metric that does not suit the network, labels or names of other classes, a classifier's image
    /// without a class in its path, an image that cannot be read, a network whose outputs are not finite.
    pub fn new(metric: Metric, plan: &Plan, dataset: &Dataset) -> Result<Self> {
        let graph = plan.graph();
        let layout = Heads::of(graph)?;
        let classifier = layout.heads.is_empty();
        if !metric.suits(classifier) {
            let kind = if classifier { "a classifier" } else { "a detector" };
            let suiting = Metric::ALL.into_iter().filter(|metric| metric.suits(classifier)).map(Metric::name);
            return Err(Error::new(format!("{metric} is not defined for {kind}"))
                .allowed(suiting.collect::<Vec<_>>().join(", ")));
        }
        let outputs = match classifier {
            true => vec![graph.nodes.len() - 1],
            false => layout.heads.iter().map(|head| head.layer).collect(),
        };
        let mut evaluator = Self {
            metric,
            samples: Vec::new(),
            truths: Vec::new(),
            indices: Vec::new(),
            classes: Vec::new(),
            reference: Vec::new(),
            original: Vec::new(),
            layout,
            outputs,
        };
        evaluator.take_labels(plan, dataset)?;
        evaluator.samples = dataset.load_all(graph.input, Fit::of_network(!classifier, graph.letter_box))?;
        evaluator.run_original(plan)?;
        Ok(evaluator)
    }

    /// Takes over the labels that the metric needs.
    fn take_labels(&mut self, plan: &Plan, dataset: &Dataset) -> Result<()> {
        let classifier = self.layout.heads.is_empty();
        let classes = match classifier {
            true => plan.graph().nodes[self.outputs[0]].shape.len(),
            false => self.layout.classes,
        };
        if (classifier || self.metric.reads_labels(classifier)) && dataset.names.len() != classes {
            return Err(Error::new("names and network do not belong together")
                .found(format!("{} names, {classes} classes in the network", dataset.names.len()))
                .help("give the names that the network was trained with"));
        }
        if classifier {
            let classes = dataset.images.iter().map(|image| class_of(image, dataset));
            self.classes = classes.collect::<Result<_>>()?;
        }
        match self.metric {
            Metric::Map => self.truths.clone_from(&dataset.labels),
            Metric::Loss if !classifier => {
                self.indices = dataset.labels.iter().map(|truths| TruthIndex::new(truths.clone())).collect();
            }
            _ => {}
        }
        Ok(())
    }

    /// Runs the original on all images.
    fn run_original(&mut self, plan: &Plan) -> Result<()> {
        if matches!(self.metric, Metric::Loss | Metric::Top1) {
            self.original = self.results(plan);
        } else {
            let found = self.run_all(plan, |image, outputs| {
                is_finite(&outputs).then(|| self.detections(image, &outputs))
            });
            let detections: Vec<Vec<Detection>> = found.iter().flatten().cloned().collect();
            self.reference = detections.iter().map(|image| ImageShift::reference(image)).collect();
            if self.metric == Metric::Agree {
                self.truths = as_truths(&detections);
            }
            let result = |found: Option<_>| found.map_or(ImageResult::NotFinite, ImageResult::Detections);
            self.original = found.into_iter().map(result).collect();
        }
        if let Some(image) = self.original.iter().position(|result| *result == ImageResult::NotFinite) {
            return Err(Error::new("the network's outputs are not finite numbers")
                .found(format!("image {} of {}", image + 1, self.len()))
                .help("check that the weights belong to the .cfg and that none of them is NaN"));
        }
        if self.metric == Metric::Dp {
            let unchanged =
                |found: &Vec<Detection>| ImageResult::Term { sum: 0.0, weight: found.len() as f64 };
            self.original = self.reference.iter().map(unchanged).collect();
        }
        Ok(())
    }

    /// Checks that the original has something on these images that a changed network could lose.
    ///
    /// # Errors
    /// No detection, no true positive or no label stands behind the metric: every loss would be 0.
    pub fn require_evidence(&self) -> Result<()> {
        let weight = || self.original.iter().map(|result| term(result).1).sum::<f64>();
        let missing = match self.metric {
            Metric::Dp if weight() == 0.0 => "the original detects no object of score .1 or above",
            Metric::Agree if self.truths.iter().all(Vec::is_empty) => {
                "the original detects no object of score .25 or above"
            }
            Metric::Loss if weight() == 0.0 => "no object is labelled",
            Metric::Map if self.truths.iter().all(Vec::is_empty) => "no object is labelled",
            Metric::Map if self.value(&self.original) == 0.0 => "the original finds no labelled object",
            Metric::Top1 if self.value(&self.original) == 0.0 => "the original gives no image its class",
            _ => return Ok(()),
        };
        Err(Error::new(format!("no loss of {} can be measured on these images", self.metric))
            .found(format!("{missing} on {} images", self.len()))
            .help(
                "give images of what the network was trained for, with weights and names that belong to it",
            ))
    }

    /// SHA-256 of everything that a measurement on these images depends on besides network and metric: the
    /// prepared images, whatever their names, and the labels.
    pub fn images_hash(&self) -> [u8; 32] {
        let of_image = |sample: &Sample| -> [u8; 32] {
            let mut hash = Sha256::new();
            let (net, inner) = (sample.frame.net, sample.frame.inner);
            [net.0, net.1, inner.0, inner.1]
                .iter()
                .for_each(|&side| hash.update((side as u64).to_le_bytes()));
            for values in sample.input.chunks(HASHED_VALUES) {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                hash.update(bytes);
            }
            hash.finalize().into()
        };
        let images: Vec<[u8; 32]> = self.samples.par_iter().map(of_image).collect();
        let mut hash = Sha256::new();
        images.iter().for_each(|image| hash.update(image));
        self.classes.iter().for_each(|&class| hash.update((class as u64).to_le_bytes()));
        let labels: Vec<&[Truth]> = match self.metric {
            Metric::Map => self.truths.iter().map(Vec::as_slice).collect(),
            _ => self.indices.iter().map(TruthIndex::truths).collect(),
        };
        for truths in labels {
            hash.update((truths.len() as u64).to_le_bytes());
            for Truth { class, bbox } in truths {
                hash.update((*class as u64).to_le_bytes());
                [bbox.x, bbox.y, bbox.w, bbox.h].iter().for_each(|value| hash.update(value.to_le_bytes()));
            }
        }
        hash.finalize().into()
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Input tensor of an image.
    pub fn input(&self, image: usize) -> &[f32] {
        &self.samples[image].input
    }

    /// Where an image lies within the network's input.
    pub fn frame(&self, image: usize) -> Frame {
        self.samples[image].frame
    }

    /// Input tensors of all images.
    pub fn inputs(&self) -> Vec<&[f32]> {
        self.samples.iter().map(|sample| sample.input.as_slice()).collect()
    }

    /// Layers whose outputs [`Evaluator::image_result`] takes.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// The contribution of one image, from the outputs of a network's run on it.
    pub fn image_result(&self, image: usize, outputs: &[Vec<f32>]) -> ImageResult {
        if !is_finite(outputs) {
            return ImageResult::NotFinite;
        }
        let (sum, weight) = match self.metric {
            Metric::Map | Metric::Agree => return ImageResult::Detections(self.detections(image, outputs)),
            Metric::Dp => {
                let reference = &self.reference[image];
                (ImageShift::of(&self.layout, reference, outputs).absolute, reference.len() as f64)
            }
            Metric::Loss if self.classes.is_empty() => {
                let frame = self.samples[image].frame;
                let terms = detection_loss(&self.layout, outputs, frame, &self.indices[image]);
                (terms.sum(), terms.truths as f64)
            }
            Metric::Loss => (cross_entropy(&outputs[0], self.classes[image]), 1.0),
            Metric::Top1 => {
                let right = top_k(&outputs[0], 1).contains(&self.classes[image]);
                (f64::from(u8::from(right)), 1.0)
            }
        };
        if sum.is_finite() { ImageResult::Term { sum, weight } } else { ImageResult::NotFinite }
    }

    /// Results of a network with the same heads on all images.
    pub fn results(&self, plan: &Plan) -> Vec<ImageResult> {
        self.run_all(plan, |image, outputs| self.image_result(image, &outputs))
    }

    /// Accuracy of a network with the same heads.
    pub fn measure(&self, plan: &Plan, seed: u64) -> Accuracy {
        self.accuracy(&self.results(plan), seed)
    }

    /// The original's accuracy.
    pub fn baseline(&self, seed: u64) -> Accuracy {
        self.accuracy(&self.original, seed)
    }

    /// Counts losses from these results of the original in another arithmetic. What `agree` and `dp` compare with stays
    /// the original in float.
    #[must_use]
    pub fn with_original(self, results: Vec<ImageResult>) -> Self {
        Self { original: results, ..self }
    }

    /// Accuracy of the results on all images, with intervals.
    pub fn accuracy(&self, results: &[ImageResult], seed: u64) -> Accuracy {
        if results.contains(&ImageResult::NotFinite) {
            return Accuracy::broken();
        }
        let value = self.value(results);
        let loss = self.value(&self.original) - value;
        let negative = |interval: Interval| Interval { low: -interval.high, high: -interval.low, ..interval };
        let (interval, loss_interval) = match self.metric {
            Metric::Map | Metric::Agree => {
                let (original, changed) = (detections(&self.original), detections(results));
                let classes = self.layout.classes;
                let options = MapOptions::default();
                let scale = self.map_scale();
                let scaled = |i: Interval| Interval {
                    low: i.low * scale,
                    high: i.high * scale,
                    deviation: i.deviation * scale,
                };
                (
                    scaled(bootstrap_map(&changed, &self.truths, classes, options, seed)),
                    negative(scaled(bootstrap_paired_map(
                        &original,
                        &changed,
                        &self.truths,
                        classes,
                        options,
                        seed,
                    ))),
                )
            }
            Metric::Dp => {
                let interval = bootstrap_mean(&terms(results), seed);
                let value = Interval { low: 1.0 - interval.high, high: 1.0 - interval.low, ..interval };
                (value, interval)
            }
            Metric::Loss | Metric::Top1 => {
                let (original, changed) = (terms(&self.original), terms(results));
                let differences: Vec<(f64, f64)> =
                    original.iter().zip(&changed).map(|(a, b)| (a.0 - b.0, b.1)).collect();
                let (value, loss) = (bootstrap_mean(&changed, seed), bootstrap_mean(&differences, seed));
                if self.metric == Metric::Loss { (negative(value), negative(loss)) } else { (value, loss) }
            }
        };
        Accuracy { value, interval, loss, loss_interval }
    }

    /// The loss that a layer's threshold bounds: the relative drop of an accuracy (map, top1), the
    /// relative rise of the loss, dP, or the disagreement. [`BROKEN_LOSS`] where outputs are not finite.
    pub fn relative_loss(&self, results: &[ImageResult]) -> f64 {
        if results.contains(&ImageResult::NotFinite) {
            return BROKEN_LOSS;
        }
        let (original, value) = (self.value(&self.original), self.value(results));
        (original - value) / original.abs().max(1e-12)
    }

    /// A bound that [`Evaluator::relative_loss`] cannot fall below, given the results on some images only;
    /// `None` where the metric has no such bound.
    pub fn relative_loss_at_least(&self, results: &[Option<ImageResult>]) -> Option<f64> {
        if results.contains(&Some(ImageResult::NotFinite)) {
            return Some(BROKEN_LOSS);
        }
        let given = || results.iter().zip(&self.original).filter_map(|(a, o)| Some((a.as_ref()?, o)));
        match self.metric {
            // A sum of absolute values over a known number of detections only grows.
            Metric::Dp => {
                let sum: f64 = given().map(|(result, _)| term(result).0).sum();
                let weight: f64 = self.original.iter().map(|original| term(original).1).sum();
                let own = mean(&self.original);
                Some((sum / weight.max(1.0) - own) / (1.0 - own).max(1e-12))
            }
            // At best every image to come is right.
            Metric::Top1 => {
                let right: f64 = self.original.iter().map(|original| term(original).0).sum();
                let best: f64 = given().map(|(result, _)| term(result).0).sum::<f64>()
                    + results.iter().filter(|result| result.is_none()).count() as f64;
                Some((right - best) / right.max(1.0))
            }
            Metric::Map | Metric::Agree | Metric::Loss => None,
        }
    }

    /// Images in the order that shows a loss soonest; images that cannot show one are left out.
    pub fn most_discriminative_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if self.metric == Metric::Dp {
            order.retain(|&image| !self.reference[image].is_empty());
            order.sort_by_key(|&image| std::cmp::Reverse(self.reference[image].len()));
        }
        order
    }

    /// The original's result on an image.
    pub fn original(&self, image: usize) -> &ImageResult {
        &self.original[image]
    }

    fn value(&self, results: &[ImageResult]) -> f64 {
        let options = MapOptions::default();
        match self.metric {
            Metric::Map => mean_ap(&detections(results), &self.truths, self.layout.classes, options).map,
            Metric::Agree => {
                mean_ap(&detections(results), &self.truths, self.layout.classes, options).map_present
            }
            Metric::Dp => 1.0 - mean(results),
            Metric::Loss => -mean(results),
            Metric::Top1 => mean(results),
        }
    }

    /// Agreement is a mean over the classes that the original found; intervals are over all classes.
    fn map_scale(&self) -> f64 {
        if self.metric == Metric::Map {
            return 1.0;
        }
        let mut present = vec![false; self.layout.classes];
        self.truths.iter().flatten().for_each(|truth| present[truth.class] = true);
        let present = present.into_iter().filter(|&present| present).count();
        self.layout.classes as f64 / present.max(1) as f64
    }

    fn detections(&self, image: usize, outputs: &[Vec<f32>]) -> Vec<Detection> {
        decode(&self.layout, outputs, self.samples[image].frame, MAP_THRESH, NMS_THRESH)
    }

    fn run_all<T: Send>(&self, plan: &Plan, read: impl Fn(usize, Vec<Vec<f32>>) -> T + Sync) -> Vec<T> {
        let progress = Progress::new(format!("measuring {}", self.metric), self.len() as u64);
        (0..self.len())
            .into_par_iter()
            .map_init(
                || plan.scratch(),
                |scratch, image| {
                    plan.run(scratch, self.input(image));
                    progress.advance(1);
                    read(image, self.read_outputs(plan, scratch))
                },
            )
            .collect()
    }

    /// Copies of the outputs that [`Evaluator::image_result`] takes.
    pub fn read_outputs(&self, plan: &Plan, scratch: &Scratch) -> Vec<Vec<f32>> {
        self.outputs.iter().map(|&layer| plan.output(scratch, layer).to_vec()).collect()
    }
}

fn class_of(image: &std::path::Path, dataset: &Dataset) -> Result<usize> {
    label_of_path(image, &dataset.names).ok_or_else(|| {
        Error::new("no class name occurs in the image's path")
            .file(image)
            .help("a classifier's images carry their class in the path, as in cat/17.png")
    })
}

fn detections(results: &[ImageResult]) -> Vec<Vec<Detection>> {
    let of = |result: &ImageResult| match result {
        ImageResult::Detections(detections) => detections.clone(),
        ImageResult::Term { .. } | ImageResult::NotFinite => Vec::new(),
    };
    results.iter().map(of).collect()
}

fn term(result: &ImageResult) -> (f64, f64) {
    match result {
        ImageResult::Term { sum, weight } => (*sum, *weight),
        ImageResult::Detections(_) | ImageResult::NotFinite => (0.0, 0.0),
    }
}

fn terms(results: &[ImageResult]) -> Vec<(f64, f64)> {
    results.iter().map(term).collect()
}

fn mean(results: &[ImageResult]) -> f64 {
    let (sum, weight) = terms(results).iter().fold((0.0, 0.0), |total, t| (total.0 + t.0, total.1 + t.1));
    if weight > 0.0 { sum / weight } else { 0.0 }
}

fn is_finite(outputs: &[Vec<f32>]) -> bool {
    outputs.iter().flatten().all(|value| value.is_finite())
}
