//! A training from its start, or its last checkpoint, to its end.

mod average;
mod checkpoint;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secateur_base::{Error, ErrorKind, Result, files};
use secateur_ir::training::Training;
use secateur_ir::{Graph, Rounding, Weights};

use crate::log::{Evaluation, Log, Step};
use crate::samples::Samples;
use crate::teacher::Teacher;
use crate::trainer::{LayerCost, Trainer};
pub use checkpoint::{Best, Checkpoint};

/// Time between two checkpoints.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// Batches in a row without a finite gradient after which a training goes back.
const MAX_SKIPPED: u32 = 3;
/// Batches between two numbered files of weights, as in Darknet.
pub const NUMBERED: u64 = 1000;

/// How a training runs.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// Folder of all files.
    pub folder: PathBuf,
    /// What their names begin with.
    pub name: String,
    /// Batches of the whole training.
    pub batches: u64,
    /// Batches between two evaluations; 0: none is made.
    pub evaluate_every: u64,
    /// Evaluations without a gain after which the training ends.
    pub patience: Option<u32>,
    /// Share of the old value in the moving average of the weights; 0: there is none.
    pub average: f32,
    /// Bound of the norm of a batch's mean gradient.
    pub clip: Option<f64>,
    /// 1 for every number that is trained, 0 for those that masks hold, in the shapes of the weights; nothing: all are
    /// trained.
    pub kept: Option<Weights>,
    /// By node, what the int8 form rounds that is trained; nothing: the network is trained in float.
    pub rounding: Vec<Rounding>,
    pub seed: u64,
    /// Hash of network, data and options, by which a checkpoint is known.
    pub identity: [u8; 32],
    /// Begin anew where the checkpoint is of another training, instead of refusing it.
    pub renew: bool,
}

impl SessionOptions {
    fn file(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}{suffix}", self.name))
    }

    /// The file that a killed training goes on from.
    pub fn checkpoint(&self) -> PathBuf {
        self.file(".checkpoint")
    }

    /// Weights after the last batch.
    pub fn final_weights(&self) -> PathBuf {
        self.file("_final.weights")
    }

    /// Weights after so many batches, of each [`NUMBERED`].
    pub fn numbered_weights(&self, batches: u64) -> PathBuf {
        self.file(&format!("_{batches}.weights"))
    }

    /// Weights of the best evaluation.
    pub fn best_weights(&self) -> PathBuf {
        self.file("_best.weights")
    }
}

/// What a training asks of its surroundings.
pub trait Host {
    /// Accuracy, 0..1, of weights on images that are not trained on.
    ///
    /// # Errors
    /// It cannot be measured.
    fn evaluate(&mut self, weights: &Weights) -> Result<f64>;

    /// Writes a file of weights of a network that has seen `seen` images.
    ///
    /// # Errors
    /// It cannot be written.
    fn save(&mut self, path: &Path, weights: &Weights, seen: u64) -> Result<()>;

    /// Shows a step of training, with the log so far.
    ///
    /// # Errors
    /// What it draws cannot be written.
    fn show(&mut self, log: &Log, event: Event) -> Result<()>;

    /// Returns whether the training is to stop after this batch.
    fn is_stopped(&self) -> bool;
}

/// What there is to be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Step(Step),
    Evaluated {
        evaluation: Evaluation,
        is_best: bool,
    },
    /// A batch with a loss or gradient that is not finite changed nothing.
    Skipped {
        batch: u64,
    },
    /// The training went back to its last checkpoint, with half the learning rate.
    SetBack {
        batch: u64,
    },
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Finished {
        best: Option<Best>,
        batches: u64,
    },
    /// The host stopped it; the checkpoint is written.
    Stopped {
        batches: u64,
    },
}

/// A running training.
pub struct Session<'a> {
    options: SessionOptions,
    training: &'a Training,
    samples: &'a Samples,
    graph: Graph,
    trainer: Trainer,
    state: Checkpoint,
    log: Log,
    written: Instant,
    skipped_in_a_row: u32,
    _lock: File,
}

impl<'a> Session<'a> {
    /// Goes on from the checkpoint, if there is one of this training, else begins with `weights`.
    ///
    /// # Errors
    /// A checkpoint of another training; another training at work on the same files; a network that cannot be trained;
    /// files that cannot be written.
    pub fn open(
        graph: &Graph,
        weights: &Weights,
        training: &'a Training,
        samples: &'a Samples,
        teacher: Option<Teacher>,
        columns: crate::log::Columns,
        options: SessionOptions,
    ) -> Result<Self> {
        let lock = files::lock(&options.file(".lock"))?.ok_or_else(|| {
            Error::new("another training is at work on the same files")
                .file(options.checkpoint())
                .help("wait for it, or give this one another folder (--backup)")
        })?;
        let found = match Checkpoint::read(&options.checkpoint(), options.identity) {
            Err(error) if options.renew && error.kind() == ErrorKind::User => {
                tracing::warn!("the training begins anew: {error}");
                None
            }
            found => found?,
        };
        let state = found
            .unwrap_or_else(|| Checkpoint::start(options.identity, weights.clone(), options.average > 0.0));
        let seen = state.batches * training.batch as u64;
        let mut trainer = Trainer::new(graph, &state.weights, training, seen, options.seed)?
            .with_clip(options.clip)
            .with_kept(options.kept.clone())
            .with_teacher(teacher)
            .with_rounding(options.rounding.clone())?;
        trainer.restore(state.memories.clone(), state.rate_factor);
        let log = Log::open(&options.file(".csv"), columns, state.batches)?;
        let graph = graph.clone();
        let written = Instant::now();
        Ok(Self {
            options,
            training,
            samples,
            graph,
            trainer,
            state,
            log,
            written,
            skipped_in_a_row: 0,
            _lock: lock,
        })
    }

    /// Counts the weights that the training begins with, of this accuracy, as its first evaluation: it then hands out none
    /// that are worse.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn with_start(mut self, host: &mut dyn Host, accuracy: f64) -> Result<Self> {
        if self.state.batches == 0 && self.state.best.is_none() {
            self.state.best = Some(Best { accuracy, batch: 0 });
            self.save(host, &self.options.best_weights())?;
        }
        Ok(self)
    }

    /// Batches that have been learnt.
    pub fn batches(&self) -> u64 {
        self.state.batches
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Images or files that cannot be read or written; a loss that is not finite again and again.
    pub fn run(mut self, host: &mut dyn Host) -> Result<Outcome> {
        while self.state.batches < self.options.batches && !self.is_patience_over() {
            if host.is_stopped() {
                self.checkpoint()?;
                return Ok(Outcome::Stopped { batches: self.state.batches });
            }
            self.step(host)?;
            if self.is_evaluation_due() {
                self.evaluate(host)?;
            }
            if self.state.batches.is_multiple_of(NUMBERED) {
                self.save(host, &self.options.numbered_weights(self.state.batches))?;
            }
            if self.written.elapsed() > CHECKPOINT {
                self.checkpoint()?;
            }
        }
        self.save(host, &self.options.final_weights())?;
        self.log.write_summary(&self.options.file(".json"))?;
        self.checkpoint()?;
        if host.is_stopped() {
            // Whoever asked during the last batch wants no more of what comes after it.
            return Ok(Outcome::Stopped { batches: self.state.batches });
        }
        Ok(Outcome::Finished { best: self.state.best, batches: self.state.batches })
    }

    fn is_patience_over(&self) -> bool {
        self.options.patience.is_some_and(|patience| self.state.without_gain >= patience)
    }

    fn is_evaluation_due(&self) -> bool {
        let (batches, every) = (self.state.batches, self.options.evaluate_every);
        every > 0 && (batches.is_multiple_of(every) || batches == self.options.batches)
    }

    /// The weights that the training would hand out now.
    fn current(&self) -> &Weights {
        self.state.average.as_ref().unwrap_or(&self.state.weights)
    }

    fn seen(&self) -> u64 {
        self.state.batches * self.training.batch as u64
    }

    fn save(&self, host: &mut dyn Host, path: &Path) -> Result<()> {
        host.save(path, self.current(), self.seen())
    }

    fn checkpoint(&mut self) -> Result<()> {
        self.state.memories = self.trainer.memories().to_vec();
        self.state.write(&self.options.checkpoint())?;
        self.written = Instant::now();
        Ok(())
    }

    /// One batch.
    fn step(&mut self, host: &mut dyn Host) -> Result<()> {
        let started = Instant::now();
        let number = self.state.batches;
        let pass = self.training.pass();
        let mut costs: Vec<LayerCost> = Vec::new();
        let mut images = Vec::new();
        for part in 0..self.training.subdivisions {
            let batch = self.samples.batch(number, part * pass..(part + 1) * pass)?;
            self.trainer.resize(&self.graph, batch.input)?;
            costs.extend(self.trainer.pass(&batch.values, batch.truths(), None));
            images.extend(batch.images);
        }
        let loss: f64 = costs.iter().map(|layer| layer.cost.total).sum();
        let (rate, norm) = if loss.is_finite() { self.trainer.update() } else { (0.0, f64::NAN) };
        if !norm.is_finite() {
            self.trainer.drop_gradients();
            return self.skip(host, &images);
        }
        self.skipped_in_a_row = 0;
        self.state.batches += 1;
        self.state.weights = self.trainer.weights();
        if let Some(average) = &mut self.state.average {
            average::follow(average, &self.state.weights, self.options.average, number);
        }
        let of_images = self.training.batch as f64;
        let parts = self.log.columns().parts.iter();
        let step = Step {
            batch: self.state.batches,
            images: self.seen(),
            loss: loss / of_images,
            parts: parts.map(|part| part_of(&costs, part) / of_images).collect(),
            rate: f64::from(rate),
            images_per_second: of_images / started.elapsed().as_secs_f64(),
        };
        self.log.step(step.clone())?;
        host.show(&self.log, Event::Step(step))
    }

    /// A batch without a finite gradient changes nothing. After a few in a row the training goes back to its last
    /// checkpoint with half the rate, and the second time it ends.
    fn skip(&mut self, host: &mut dyn Host, images: &[usize]) -> Result<()> {
        let batch = self.state.batches + 1;
        self.state.skipped += 1;
        self.skipped_in_a_row += 1;
        if self.skipped_in_a_row < MAX_SKIPPED {
            // The statistics of batch norm may have moved: they go back too.
            self.trainer.set_weights(&self.graph, &self.state.weights)?;
            self.state.batches += 1;
            return host.show(&self.log, Event::Skipped { batch });
        }
        let setbacks = self.state.setbacks + 1;
        if setbacks > 1 {
            let names: Vec<String> =
                images.iter().map(|&image| self.samples.images()[image].display().to_string()).collect();
            return Err(Error::new("the loss is not finite again and again")
                .found(format!("batch {batch} with the images {}", names.join(", ")))
                .help("lower the learning rate (--rate), or look for odd labels in these images; the best weights so far are kept"));
        }
        let path = self.options.checkpoint();
        if let Some(last) = Checkpoint::read(&path, self.options.identity)? {
            self.state = last;
        }
        self.state.setbacks = setbacks;
        self.state.rate_factor *= 0.5;
        self.skipped_in_a_row = 0;
        self.trainer.set_weights(&self.graph, &self.state.weights)?;
        self.trainer.set_seen(self.seen());
        self.trainer.restore(self.state.memories.clone(), self.state.rate_factor);
        host.show(&self.log, Event::SetBack { batch })
    }

    fn evaluate(&mut self, host: &mut dyn Host) -> Result<()> {
        let accuracy = host.evaluate(self.current())?;
        let batch = self.state.batches;
        let evaluation = Evaluation { batch, images: self.seen(), accuracy };
        self.log.evaluation(evaluation)?;
        // Of equal ones the last counts, as in Darknet.
        let is_best = self.state.best.is_none_or(|best| accuracy >= best.accuracy);
        if is_best {
            let gained = self.state.best.is_none_or(|best| accuracy > best.accuracy);
            self.state.without_gain = if gained { 0 } else { self.state.without_gain + 1 };
            self.state.best = Some(Best { accuracy, batch });
            self.save(host, &self.options.best_weights())?;
        } else {
            self.state.without_gain += 1;
        }
        self.save(host, &self.options.file("_last.weights"))?;
        self.log.write_summary(&self.options.file(".json"))?;
        host.show(&self.log, Event::Evaluated { evaluation, is_best })?;
        self.checkpoint()
    }
}

/// The sum of one part of the loss over all layers.
fn part_of(costs: &[LayerCost], name: &str) -> f64 {
    let parts = costs.iter().flat_map(|layer| &layer.cost.parts);
    parts.filter(|(part, _)| *part == name).map(|(_, cost)| cost).sum()
}
