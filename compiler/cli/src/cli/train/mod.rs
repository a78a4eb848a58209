//! `train` and `finetune`: training on labelled images.

mod config;
mod host;
mod interrupt;
mod job;
mod lists;
mod masks;

use std::path::{Path, PathBuf};

use secateur_base::{Error, Result, errln, outln};
use secateur_frontend::darknet;
use secateur_train::Teacher;
use secateur_train::log::Columns;
use secateur_train::session::{Outcome, Session};

use super::Global;
use host::TrainingHost;
use job::Job;

/// Options of a training.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur train yolo.cfg --data parts.data
  secateur train yolo.cfg yolo.weights --classes 5 --anchors auto --data parts.data --epochs 40
  secateur finetune pruned.cfg pruned.weights --teacher full.cfg full.weights --data parts.data --epochs 10
  secateur finetune full.cfg weights.prune --masks weights.mask --data parts.data --epochs 10
  secateur finetune yolo.cfg yolo.weights --int8 --data parts.data --epochs 10
  secateur finetune pruning.cfg     (the closed pruner's config file)

`train` means what Darknet means: batch, rate, policy, augmentation and loss are the cfg's. `finetune`, and
`train` with --epochs or --batches, take a cosine rate (.002 and .005) after a short burn-in, mosaics, clipped
gradients and a moving average of the weights; each option changes one of these.

Files are Darknet's, in the backup folder: NAME_last.weights, NAME_best.weights, NAME_final.weights and
NAME_1000.weights …; NAME.csv and NAME.json are the log, NAME.svg and NAME.png its curves. Kill it at any time:
the same command goes on and ends with the same bytes.")]
pub(crate) struct Args {
    /// The network; for finetune also a config file with a [pruning] section.
    cfg: PathBuf,
    /// Weights to begin with; without them the training begins with random ones.
    weights: Option<PathBuf>,
    #[command(flatten)]
    source: lists::Source,
    /// Folder of all files [default: `backup` of the .data file, else `backup`].
    #[arg(long, value_name = "FOLDER")]
    backup: Option<PathBuf>,
    /// Give the heads this many classes; layers that change begin with random weights.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    classes: Option<u32>,
    /// `auto`: choose the anchors by k-means over the training labels.
    #[arg(long, value_name = "auto", value_parser = ["auto"])]
    anchors: Option<String>,
    /// Passes over the training images.
    #[arg(long, value_name = "N", conflicts_with = "batches", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Batches of the whole training [default: `max_batches` of the cfg].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batches: Option<u32>,
    /// Images of a batch [default: the cfg's; finetune: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: Option<u32>,
    /// Learning rate.
    #[arg(long, value_name = "RATE", value_parser = positive)]
    rate: Option<f32>,
    /// Batches between two evaluations on `valid` [default: an epoch, at least 20; 0: none].
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u32>,
    /// End after so many evaluations without a gain.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Share of the old value in the moving average of the weights, 0 for none
    /// [default: ema_alpha of the cfg; finetune: .995].
    #[arg(long, value_name = "SHARE", value_parser = super::subject::fraction)]
    average: Option<f32>,
    /// Largest norm of a batch's gradient [default: none; finetune: 50].
    #[arg(long, value_name = "NORM", value_parser = positive)]
    clip: Option<f32>,
    /// A trained network with the same heads, whose outputs this one follows.
    #[arg(long, num_args = 2, value_names = ["CFG", "WEIGHTS"])]
    teacher: Option<Vec<PathBuf>>,
    /// Weight of the teacher beside the labels [default: 3].
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    teacher_weight: Option<f32>,
    /// Masks that `prune` wrote with the weights: what they remove stays zero.
    #[arg(long, value_name = "FILE.mask")]
    masks: Option<PathBuf>,
    /// Train the network's int8 form: forward in rounded weights and outputs, with frozen batch norm; accuracy is that
    /// of the int8 network. A detector's teacher is itself in float, unless --teacher names another.
    #[arg(long, conflicts_with = "classes")]
    int8: bool,
    /// Also write the best weights (without `valid`: the last) to this file.
    #[arg(short, long, value_name = "FILE.weights")]
    output: Option<PathBuf>,
    /// Begin anew where the folder holds a checkpoint of another training, instead of refusing it.
    #[arg(long)]
    renew: bool,
    /// Count batches from 0, whatever the weights have seen: always so, accepted for Darknet's users.
    #[arg(long, hide = true)]
    clear: bool,
    /// The config file that named the network.
    #[arg(skip)]
    config: Option<PathBuf>,
    /// Filters that are zero stay so: a config file has no masks beside its weights.
    #[arg(skip)]
    zero_filters: bool,
}

impl Args {
    /// Cfg and weights of the teacher. A detector's int8 form has the detector itself, unless another one is named.
    fn teacher(&self, is_detector: bool) -> Option<[&Path; 2]> {
        match (&self.teacher, &self.weights) {
            (Some(paths), _) => Some([&paths[0], &paths[1]]),
            (None, Some(weights)) if self.int8 && is_detector => Some([&self.cfg, weights]),
            _ => None,
        }
    }

    fn teacher_weight(&self) -> f32 {
        self.teacher_weight.unwrap_or(TEACHER_WEIGHT)
    }
}

/// The teacher says of every place what labels say of few.
const TEACHER_WEIGHT: f32 = 3.0;

/// Which defaults hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The cfg's.
    Darknet,
    /// Those of a short training.
    Finetune,
    /// The closed pruner's: those of the pruned cfg, and lines as it prints them.
    Config,
}

fn positive(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("a positive number is needed".to_owned()),
    }
}

pub(crate) fn run(args: Args, manner: Manner, global: &Global) -> Result<()> {
    let (args, manner) = match manner {
        Manner::Finetune => config::resolve(args)?,
        other => (args, other),
    };
    if manner == Manner::Finetune && args.weights.is_none() {
        return Err(Error::new("finetune needs trained weights").help("give WEIGHTS, or use `train`"));
    }
    if args.int8 && args.weights.is_none() {
        return Err(Error::new("--int8 needs trained weights").help("train the network in float first"));
    }
    let job = Job::prepare(&args, manner, global)?;
    job.warnings.iter().for_each(|warning| errln!("warning: {warning}"));
    let mut host = TrainingHost::new(&job, global)?;
    let teacher = args.teacher(job.graph.has_heads());
    if args.teacher_weight.is_some() && teacher.is_none() {
        return Err(Error::new("--teacher-weight needs a teacher").help("give --teacher CFG WEIGHTS"));
    }
    let columns = Columns { parts: job.parts(teacher.is_some()), measure: host.measure().to_owned() };
    let teacher = teacher.map(|[cfg, weights]| -> Result<Teacher> {
        let teacher = darknet::load(cfg, Some(weights))?;
        Teacher::new(&teacher.graph, teacher.weights()?, &job.graph, args.teacher_weight())
            .map_err(|error| error.file(cfg))
    });
    let session = Session::open(
        &job.graph,
        &job.weights,
        &job.training,
        &job.samples,
        teacher.transpose()?,
        columns,
        job.options.clone(),
    )?;
    let session = match host.start() {
        Some(accuracy) => session.with_start(&mut host, accuracy)?,
        None => session,
    };
    if session.batches() > 0 {
        outln!("going on after batch {}", session.batches());
    }
    match session.run(&mut host)? {
        Outcome::Stopped { batches } => {
            Err(Error::new(format!("stopped after batch {batches}"))
                .help("the same command goes on from there"))
        }
        Outcome::Finished { best, batches } => {
            let (path, what) = match best {
                Some(best) => {
                    let measure = host.measure();
                    outln!("best {measure}: {:.4} after batch {} of {batches}", best.accuracy, best.batch);
                    (job.options.best_weights(), "best")
                }
                None => (job.options.final_weights(), "last"),
            };
            outln!(
                "{what} weights: {}",
                secateur_base::terminal::printable_line(&path.display().to_string())
            );
            if let Some(output) = &args.output {
                let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
                secateur_base::files::write_bytes(output, &bytes)?;
            }
            Ok(())
        }
    }
}
