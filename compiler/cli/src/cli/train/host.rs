//! What a training shows, measures and writes.

use std::path::Path;
use std::time::{Duration, Instant};

use secateur_base::terminal::printable_line;
use secateur_base::{Result, errln, files, outln};
use secateur_data::save_image;
use secateur_eval::{Evaluator, Metric};
use secateur_float::Plan;
use secateur_frontend::darknet::{WeightsHeader, write_weights};
use secateur_ir::{Graph, Weights};
use secateur_report::Curves;
use secateur_train::log::Log;
use secateur_train::session::{Event, Host};

use super::super::Global;
use super::super::int8::Int8;
use super::interrupt::Interrupt;
use super::job::Job;
use super::{Manner, config};

/// Time between two lines of progress, and between two drawings of the curves.
const LINES: Duration = Duration::from_secs(5);
const CURVES: Duration = Duration::from_secs(30);

pub(super) struct TrainingHost {
    graph: Graph,
    header: WeightsHeader,
    manner: Manner,
    evaluator: Option<Evaluator>,
    int8: Option<Int8>,
    /// Accuracy of the int8 form before it is trained.
    start: Option<f64>,
    seed: u64,
    interrupt: Interrupt,
    batches: u64,
    batch: usize,
    started: Instant,
    first: Option<u64>,
    printed: Option<Instant>,
    drawn: Option<Instant>,
    /// Path of the curves without extension.
    curves: std::path::PathBuf,
    name: String,
}

impl TrainingHost {
    pub(super) fn new(job: &Job, global: &Global) -> Result<Self> {
        let metric = if job.graph.has_heads() { Metric::Map } else { Metric::Top1 };
        let evaluator = job
            .valid
            .as_ref()
            .map(|valid| Evaluator::new(metric, &Plan::new(&job.graph, &job.weights)?, valid))
            .transpose()?;
        let mut start = None;
        if let (Some(evaluator), Some(int8)) = (&evaluator, &job.int8) {
            let results = int8.results(evaluator, &job.graph, &job.weights)?;
            let accuracy = evaluator.accuracy(&results, global.seed);
            outln!("before, in int8: {}: {accuracy}", evaluator.metric);
            start = Some(accuracy.value);
        }
        Ok(Self {
            graph: job.graph.clone(),
            header: job.header,
            manner: job.manner,
            evaluator,
            int8: job.int8.clone(),
            start,
            seed: global.seed,
            interrupt: Interrupt::catch()?,
            batches: job.options.batches,
            batch: job.training.batch,
            started: Instant::now(),
            first: None,
            printed: None,
            drawn: None,
            curves: job.options.folder.join(&job.options.name),
            name: job.options.name.clone(),
        })
    }

    /// Accuracy of the weights that the training begins with, where it was measured.
    pub(super) fn start(&self) -> Option<f64> {
        self.start
    }

    /// Name of the measure of accuracy.
    pub(super) fn measure(&self) -> &'static str {
        if self.graph.has_heads() { "mAP@0.5" } else { "top-1" }
    }

    fn draw(&mut self, log: &Log) -> Result<()> {
        self.drawn = Some(Instant::now());
        let history = log.history();
        let curves = Curves {
            title: self.name.clone(),
            batches: self.batches,
            batch: self.batch,
            loss: history.steps.iter().map(|step| (step.batch, step.loss)).collect(),
            smoothed: history.smoothed_loss(),
            measure: self.measure().to_owned(),
            accuracy: history.evaluations.iter().map(|e| (e.batch, e.accuracy)).collect(),
        };
        let path = |extension: &str| {
            let mut path = self.curves.clone().into_os_string();
            path.push(extension);
            std::path::PathBuf::from(path)
        };
        files::write_bytes(&path(".svg"), curves.to_svg()?.as_bytes())?;
        save_image(&path(".png"), &curves.to_image()?)
    }

    fn print_step(&mut self, log: &Log) {
        let Some(step) = log.history().steps.last() else { return };
        let first = *self.first.get_or_insert(step.batch - 1);
        let is_last = step.batch == self.batches;
        let seconds = self.started.elapsed().as_secs_f64();
        let done = step.batch - first;
        let left = seconds * self.batches.saturating_sub(step.batch) as f64 / done as f64;
        if self.manner == Manner::Config {
            config::step_line(log, left).iter().for_each(|line| outln!("{line}"));
            return;
        }
        if self.printed.is_some_and(|printed| printed.elapsed() < LINES) && !is_last {
            return;
        }
        self.printed = Some(Instant::now());
        let smoothed = log.history().smoothed_loss().last().map_or(step.loss, |(_, loss)| *loss);
        let parts: Vec<String> = log
            .columns()
            .parts
            .iter()
            .zip(&step.parts)
            .map(|(name, loss)| format!("{name} {loss:.3}"))
            .collect();
        outln!(
            "batch {}/{}: loss {:.4} ({smoothed:.4} smoothed{}{}), rate {:.2e}, {:.0} images/s, {} left",
            step.batch,
            self.batches,
            step.loss,
            if parts.is_empty() { "" } else { "; " },
            parts.join(", "),
            step.rate,
            done as f64 * self.batch as f64 / seconds,
            duration(left)
        );
    }
}

fn duration(seconds: f64) -> String {
    match seconds as u64 {
        seconds @ ..90 => format!("{seconds} s"),
        seconds @ 90..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

impl Host for TrainingHost {
    fn evaluate(&mut self, weights: &Weights) -> Result<f64> {
        let evaluator = self.evaluator.as_ref().expect("evaluations are only due where there is `valid`");
        let results = match &self.int8 {
            Some(int8) => int8.results(evaluator, &self.graph, weights)?,
            None => evaluator.results(&Plan::new(&self.graph, weights)?),
        };
        Ok(evaluator.accuracy(&results, self.seed).value)
    }

    fn save(&mut self, path: &Path, weights: &Weights, seen: u64) -> Result<()> {
        let header = WeightsHeader { seen, ..self.header };
        if self.manner == Manner::Config {
            outln!("Saving weights to {}", printable_line(&path.display().to_string()));
        }
        files::write_bytes(path, &write_weights(&self.graph, header, weights))
    }

    fn show(&mut self, log: &Log, event: Event) -> Result<()> {
        match event {
            Event::Step(step) => {
                self.print_step(log);
                let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() > CURVES);
                if is_due || step.batch == self.batches {
                    self.draw(log)?;
                }
            }
            Event::Evaluated { evaluation, .. } if self.manner == Manner::Config => {
                outln!("{}", config::accuracy_line(self.graph.has_heads(), evaluation.accuracy));
                self.draw(log)?;
            }
            Event::Evaluated { evaluation, is_best } => {
                let best = if is_best { " (best)" } else { "" };
                outln!("batch {}: {} {:.4}{best}", evaluation.batch, self.measure(), evaluation.accuracy);
                self.draw(log)?;
            }
            Event::Skipped { batch } => {
                errln!("batch {batch}: loss or gradient is not finite; it changes nothing");
            }
            Event::SetBack { batch } => {
                errln!("batch {batch}: back to the last checkpoint, with half the learning rate");
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.interrupt.is_asked()
    }
}
