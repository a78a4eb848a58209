//! Accuracy of a changed network on a set of pictures, beside the original's.

use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    Detection, Heads, Interval, MAP_THRESH, MapOptions, NMS_THRESH, as_truths, bootstrap_map, bootstrap_mean,
    bootstrap_paired_map, cross_entropy, decode, detection_loss, label_of_path, mean_ap, top_k,
};
use secateur_base::progress::Progress;
use secateur_base::{Error, Result};
use secateur_data::{Dataset, Fit, Sample, Truth};
use secateur_float::{Plan, Scratch};

/// What accuracy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Darknet's mean average precision against the labels.
    Map,
    /// mAP with the original network's detections at .25 as truth; needs no labels.
    Agree,
    /// Mean |change of objectness × class| at the original's detections of .1 and above; needs no
    /// labels and is the least noisy.
    Dp,
    /// Training loss against the labels.
    Loss,
    /// Share of pictures whose best class is right (classifiers).
    Top1,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Map => "mAP",
            Metric::Agree => "agreement",
            Metric::Dp => "1 - dP",
            Metric::Loss => "-loss",
            Metric::Top1 => "top-1",
        })
    }
}

/// What a network says of one picture, as far as the metric needs it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Detections(Vec<Detection>),
    /// A term of a mean: `Σ sum / Σ weight` over the pictures.
    Term {
        sum: f64,
        weight: f64,
    },
}

/// An accuracy with what it has lost against the original.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// In the metric's own terms, more is better.
    pub value: f64,
    pub interval: Interval,
    /// `original − value`, in the same terms: what a budget bounds.
    pub loss: f64,
    /// 95 % interval of the loss, paired over pictures.
    pub loss_interval: Interval,
}

/// Pictures, labels and the original's answers.
pub struct Bench {
    pub metric: Metric,
    layout: Heads,
    /// Layers whose outputs are the answer.
    outputs: Vec<usize>,
    samples: Vec<Sample>,
    /// Labels (map, loss), or the original's detections (agree).
    truths: Vec<Vec<Truth>>,
    /// Classes of the pictures (top1, loss of a classifier).
    classes: Vec<usize>,
    /// The original's detections at .1 and above.
    reference: Vec<Vec<Detection>>,
    original: Vec<Answer>,
}

/// Detections from this probability on are compared by dP.
const DP_THRESH: f32 = 0.1;

impl Bench {
    /// Reads all pictures and runs the original network on them.
    ///
    /// Fails if the metric does not suit the network, a classifier's picture has no class in its
    /// path, or a picture cannot be read.
    pub fn new(metric: Metric, plan: &Plan, dataset: &Dataset) -> Result<Self> {
        let graph = plan.graph();
        let layout = Heads::of(graph)?;
        let classifier = layout.heads.is_empty();
        let fits = match metric {
            Metric::Top1 => classifier,
            Metric::Loss => true,
            Metric::Map | Metric::Agree | Metric::Dp => !classifier,
        };
        if !fits {
            let kind = if classifier { "a classifier" } else { "a detector" };
            return Err(Error::new(format!("{metric} says nothing of {kind}")).allowed(match classifier {
                true => "top1, loss",
                false => "map, agree, dp, loss",
            }));
        }
        let (fit, outputs) = match classifier {
            true => (Fit::Crop, vec![graph.nodes.len() - 1]),
            false if graph.letter_box => {
                (Fit::Letterbox, layout.heads.iter().map(|head| head.layer).collect())
            }
            false => (Fit::Stretch, layout.heads.iter().map(|head| head.layer).collect()),
        };
        let classes = match classifier {
            true => {
                dataset.pictures.iter().map(|picture| class_of(picture, dataset)).collect::<Result<_>>()?
            }
            false => Vec::new(),
        };
        let samples = dataset.load_all(graph.input, fit)?;
        let mut bench = Self {
            metric,
            layout,
            outputs,
            samples,
            truths: dataset.labels.clone(),
            classes,
            reference: Vec::new(),
            original: Vec::new(),
        };
        if matches!(metric, Metric::Loss | Metric::Top1) {
            bench.original = bench.answers(plan);
            return Ok(bench);
        }
        let found = bench.run_all(plan, |picture, outputs| bench.detections(picture, &outputs));
        if metric == Metric::Agree {
            bench.truths = as_truths(&found);
        }
        let sure =
            |picture: &Vec<Detection>| picture.iter().filter(|d| d.prob >= DP_THRESH).copied().collect();
        bench.reference = found.iter().map(sure).collect();
        bench.original = match metric {
            Metric::Dp => {
                let nothing =
                    |places: &Vec<Detection>| Answer::Term { sum: 0.0, weight: places.len() as f64 };
                bench.reference.iter().map(nothing).collect()
            }
            _ => found.into_iter().map(Answer::Detections).collect(),
        };
        Ok(bench)
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Input tensor of a picture.
    pub fn input(&self, picture: usize) -> &[f32] {
        &self.samples[picture].input
    }

    /// Input tensors of all pictures.
    pub fn inputs(&self) -> Vec<&[f32]> {
        self.samples.iter().map(|sample| sample.input.as_slice()).collect()
    }

    /// Layers whose outputs [`Bench::answer`] takes.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// What the metric needs of a run's outputs.
    pub fn answer(&self, picture: usize, outputs: &[Vec<f32>]) -> Answer {
        let frame = self.samples[picture].frame;
        match self.metric {
            Metric::Map | Metric::Agree => Answer::Detections(self.detections(picture, outputs)),
            Metric::Dp => {
                let places = &self.reference[picture];
                let sum = places.iter().map(|detection| {
                    let head = detection.place.head;
                    let score =
                        self.layout.heads[head].score(&outputs[head], detection.place, detection.class);
                    (f64::from(score) - f64::from(detection.prob)).abs()
                });
                Answer::Term { sum: sum.sum(), weight: places.len() as f64 }
            }
            Metric::Loss if self.classes.is_empty() => {
                let terms = detection_loss(&self.layout, outputs, frame, &self.truths[picture]);
                Answer::Term { sum: terms.sum(), weight: terms.truths as f64 }
            }
            Metric::Loss => {
                Answer::Term { sum: cross_entropy(&outputs[0], self.classes[picture]), weight: 1.0 }
            }
            Metric::Top1 => {
                let right = top_k(&outputs[0], 1).contains(&self.classes[picture]);
                Answer::Term { sum: f64::from(u8::from(right)), weight: 1.0 }
            }
        }
    }

    /// Answers of a network with the same heads on all pictures.
    pub fn answers(&self, plan: &Plan) -> Vec<Answer> {
        self.run_all(plan, |picture, outputs| self.answer(picture, &outputs))
    }

    /// Accuracy of a network with the same heads.
    pub fn measure(&self, plan: &Plan, seed: u64) -> Accuracy {
        self.accuracy(&self.answers(plan), seed)
    }

    /// The original's accuracy.
    pub fn baseline(&self, seed: u64) -> Accuracy {
        self.accuracy(&self.original, seed)
    }

    /// Accuracy of answers to all pictures, with intervals.
    pub fn accuracy(&self, answers: &[Answer], seed: u64) -> Accuracy {
        let value = self.value(answers);
        let loss = self.value(&self.original) - value;
        let negative = |interval: Interval| Interval { low: -interval.high, high: -interval.low, ..interval };
        let (interval, loss_interval) = match self.metric {
            Metric::Map | Metric::Agree => {
                let (original, changed) = (detections(&self.original), detections(answers));
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
                let interval = bootstrap_mean(&terms(answers), seed);
                let value = Interval { low: 1.0 - interval.high, high: 1.0 - interval.low, ..interval };
                (value, interval)
            }
            Metric::Loss | Metric::Top1 => {
                let (original, changed) = (terms(&self.original), terms(answers));
                let differences: Vec<(f64, f64)> =
                    original.iter().zip(&changed).map(|(a, b)| (a.0 - b.0, b.1)).collect();
                let (value, loss) = (bootstrap_mean(&changed, seed), bootstrap_mean(&differences, seed));
                if self.metric == Metric::Loss { (negative(value), negative(loss)) } else { (value, loss) }
            }
        };
        Accuracy { value, interval, loss, loss_interval }
    }

    /// What a layer's threshold is compared with: the relative drop of an accuracy (map, top1), the
    /// relative rise of the loss, dP, or the disagreement.
    pub fn relative_loss(&self, answers: &[Answer]) -> f64 {
        let (original, value) = (self.value(&self.original), self.value(answers));
        (original - value) / original.abs().max(1e-12)
    }

    /// A bound that [`Bench::relative_loss`] cannot fall below, given answers to some pictures only;
    /// `None` where the metric has no such bound.
    pub fn relative_loss_at_least(&self, answers: &[Option<Answer>]) -> Option<f64> {
        let given = || answers.iter().zip(&self.original).filter_map(|(a, o)| Some((a.as_ref()?, o)));
        match self.metric {
            // A sum of absolute values over a known number of places only grows.
            Metric::Dp => {
                let sum: f64 = given().map(|(answer, _)| term(answer).0).sum();
                let weight: f64 = self.original.iter().map(|original| term(original).1).sum();
                Some(sum / weight.max(1.0))
            }
            // At best every picture to come is right.
            Metric::Top1 => {
                let right: f64 = self.original.iter().map(|original| term(original).0).sum();
                let best: f64 = given().map(|(answer, _)| term(answer).0).sum::<f64>()
                    + answers.iter().filter(|answer| answer.is_none()).count() as f64;
                Some((right - best) / right.max(1.0))
            }
            Metric::Map | Metric::Agree | Metric::Loss => None,
        }
    }

    /// Pictures in the order that shows a loss soonest; pictures that cannot show one are left out.
    pub fn telling_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if self.metric == Metric::Dp {
            order.retain(|&picture| !self.reference[picture].is_empty());
            order.sort_by_key(|&picture| std::cmp::Reverse(self.reference[picture].len()));
        }
        order
    }

    /// The original's answer to a picture.
    pub fn original(&self, picture: usize) -> &Answer {
        &self.original[picture]
    }

    fn value(&self, answers: &[Answer]) -> f64 {
        let options = MapOptions::default();
        match self.metric {
            Metric::Map => mean_ap(&detections(answers), &self.truths, self.layout.classes, options).map,
            Metric::Agree => {
                mean_ap(&detections(answers), &self.truths, self.layout.classes, options).map_present
            }
            Metric::Dp => 1.0 - mean(answers),
            Metric::Loss => -mean(answers),
            Metric::Top1 => mean(answers),
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

    fn detections(&self, picture: usize, outputs: &[Vec<f32>]) -> Vec<Detection> {
        decode(&self.layout, outputs, self.samples[picture].frame, MAP_THRESH, NMS_THRESH)
    }

    fn run_all<T: Send>(&self, plan: &Plan, read: impl Fn(usize, Vec<Vec<f32>>) -> T + Sync) -> Vec<T> {
        let progress = Progress::new(format!("measuring {}", self.metric), self.len() as u64);
        (0..self.len())
            .into_par_iter()
            .map_init(
                || plan.scratch(),
                |scratch, picture| {
                    plan.run(scratch, self.input(picture));
                    progress.advance(1);
                    read(picture, self.read_outputs(plan, scratch))
                },
            )
            .collect()
    }

    /// Copies of the outputs that [`Bench::answer`] takes.
    pub fn read_outputs(&self, plan: &Plan, scratch: &Scratch) -> Vec<Vec<f32>> {
        self.outputs.iter().map(|&layer| plan.output(scratch, layer).to_vec()).collect()
    }
}

fn class_of(picture: &std::path::Path, dataset: &Dataset) -> Result<usize> {
    label_of_path(picture, &dataset.names).ok_or_else(|| {
        Error::new("no class name occurs in the picture's path")
            .file(picture)
            .help("a classifier's pictures carry their class in the path, as in cat/17.png")
    })
}

fn detections(answers: &[Answer]) -> Vec<Vec<Detection>> {
    let of = |answer: &Answer| match answer {
        Answer::Detections(detections) => detections.clone(),
        Answer::Term { .. } => Vec::new(),
    };
    answers.iter().map(of).collect()
}

fn term(answer: &Answer) -> (f64, f64) {
    match answer {
        Answer::Term { sum, weight } => (*sum, *weight),
        Answer::Detections(_) => (0.0, 0.0),
    }
}

fn terms(answers: &[Answer]) -> Vec<(f64, f64)> {
    answers.iter().map(term).collect()
}

fn mean(answers: &[Answer]) -> f64 {
    let (sum, weight) = terms(answers).iter().fold((0.0, 0.0), |total, t| (total.0 + t.0, total.1 + t.1));
    if weight > 0.0 { sum / weight } else { 0.0 }
}
