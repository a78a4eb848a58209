//! A training, checked before it starts.

use std::io::Read;
use std::path::{Path, PathBuf};

use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, files};
use secateur_data::{Dataset, label_path, read_list, read_names};
use secateur_frontend::darknet::{self, Cfg, WeightsHeader};
use secateur_ir::training::{LayerLoss, Mix, Optimizer, Policy, Schedule, Training};
use secateur_ir::{Graph, Op, Weights};
use secateur_train::anchors::{anchors, box_sizes};
use secateur_train::initial::{random_weights, take_over};
use secateur_train::samples::{Findings, Labels, Options, Samples, Sizes};
use secateur_train::session::{NUMBERED, SessionOptions};
use secateur_train::{TEACHER, initial};
use sha2::{Digest, Sha256};

use super::super::Global;
use super::super::int8::Int8;
use super::lists::Lists;
use super::{Args, Manner, masks};

/// Defaults of a short training; starting points with which pruned detectors healed well.
const SHORT_RATE: f32 = 0.005;
/// A pruned network that was reconstructed begins near its goal, and a larger rate throws it back.
const FINETUNE_RATE: f32 = 0.002;
/// Rounded weights move in steps: a trained network is to stay where it is.
const INT8_RATE: f32 = 0.0005;
const FINETUNE_AVERAGE: f32 = 0.995;
const FINETUNE_CLIP: f32 = 50.0;
const FINETUNE_BATCH: u32 = 8;
const FINETUNE_EPOCHS: u64 = 10;
/// Batches between evaluations, at least.
const MIN_EVALUATION: u64 = 20;
/// Largest file of a teacher.
const MAX_TEACHER_BYTES: u64 = 1 << 31;
/// Bytes of an image's file that a checkpoint is known by.
const FINGERPRINT_BYTES: u64 = 1 << 16;
/// Memory for decoded images.
const CACHE_BYTES: usize = 1 << 30;

/// Everything that a training needs.
pub(super) struct Job {
    pub(super) graph: Graph,
    pub(super) header: WeightsHeader,
    pub(super) weights: Weights,
    pub(super) training: Training,
    pub(super) samples: Samples,
    pub(super) valid: Option<Dataset>,
    pub(super) options: SessionOptions,
    pub(super) warnings: Vec<String>,
    pub(super) manner: Manner,
    /// Measures the int8 form, where that is trained.
    pub(super) int8: Option<Int8>,
}

impl Job {
    pub(super) fn prepare(args: &Args, manner: Manner, global: &Global) -> Result<Self> {
        let lists = args.source.open()?;
        let names = read_names(&lists.names)?;
        let images = read_list(&lists.train)?;
        let folder = args.backup.as_ref().unwrap_or(&lists.backup).clone();
        let original = darknet::load(&args.cfg, None)?;
        let (header, given) = start(args, manner, &original.graph)?;
        let mut findings = Findings::default();

        // Labels are read before the heads may change: anchors come from them.
        let classes = args.classes.map_or_else(|| classes_of(&original.graph), |classes| classes as usize);
        if names.len() != classes {
            return Err(Error::new("names and network do not belong together")
                .file(&lists.names)
                .found(format!("{} names, {classes} classes in the network", names.len()))
                .help("give the names of the network's classes, or --classes"));
        }
        let is_detector = original.graph.has_heads();
        let labels = if is_detector {
            Labels::read_boxes(&images, classes, &names, &mut findings)
        } else {
            let smoothing = darknet::training(&original.cfg, &original.graph)?.augmentation.label_smooth_eps;
            Labels::of_paths(&images, &names, smoothing, &mut findings)
        };
        let (cfg, graph) = new_heads(args, &original, &labels, global.seed)?;
        let mut training = darknet::training(&cfg, &graph)?;
        let batches = adapt(&mut training, args, manner, images.len(), is_detector)?;
        let mut weights = random_weights(&graph, global.seed);
        let mut warnings = Vec::new();
        if let Some(given) = &given {
            let left = take_over(&mut weights, given);
            warnings.extend(random_layers(left, given.layers.len(), graph.nodes.len()));
        }
        let kept = masks::kept_numbers(args, &graph, &weights)?;
        let valid = lists.valid.as_ref().filter(|_| args.evaluate_every != Some(0));
        let held_out = valid.map(|valid| read_list(valid)).transpose()?.unwrap_or_default();
        let identity = identity(
            (&cfg, &weights, kept.as_ref()),
            [&images, &held_out],
            &labels,
            &training,
            args,
            global.seed,
        )?;
        let epoch = (images.len() as u64).div_ceil(training.batch as u64);
        let mut options = SessionOptions {
            batches,
            evaluate_every: if valid.is_some() { evaluate_every(args, epoch) } else { 0 },
            seed: global.seed,
            identity,
            kept,
            ..session_options(args, manner, &training, folder)
        };
        refuse_overwrite(args, &lists, &options, &images)?;
        let samples_options = samples_options(&graph, &training, batches, global.seed);
        let (samples, found) = Samples::new(images, labels, findings, samples_options)?;
        warnings.extend(found);
        // Read last: its first mistake would hide all those of the training images.
        let read = if is_detector { Dataset::from_list } else { Dataset::images_of_list };
        let valid = valid.map(|valid| read(valid, &lists.names)).transpose()?;
        let int8 = args.int8.then(|| Int8::of_list(samples.images(), &graph)).transpose()?;
        if let Some(int8) = &int8 {
            options.rounding = int8.roundings(&graph, &weights)?;
        }
        std::fs::create_dir_all(&options.folder).map_err(|e| Error::io("create", &options.folder, &e))?;
        if args.classes.is_some() || args.anchors.is_some() {
            let path = options.folder.join(format!("{}.cfg", options.name));
            files::write_bytes(&path, &cfg.to_bytes())?;
        }
        Ok(Self { header, graph, weights, training, samples, valid, options, warnings, manner, int8 })
    }

    /// Names of the loss's parts.
    pub(super) fn parts(&self, teacher: bool) -> Vec<String> {
        let boxes: &[&str] = if self.graph.has_heads() { &["box", "objectness", "class"] } else { &[] };
        boxes.iter().copied().chain(teacher.then_some(TEACHER)).map(str::to_owned).collect()
    }
}

/// The weights that a training begins with: a finetuning's are those of a whole network.
fn start(args: &Args, manner: Manner, graph: &Graph) -> Result<(WeightsHeader, Option<Weights>)> {
    let Some(path) = &args.weights else { return Ok((WeightsHeader::default(), None)) };
    let (header, weights) = darknet::load_body(graph, path)?;
    let (held, all) = (weights.layers.len(), graph.nodes.len());
    if manner != Manner::Darknet && held < all {
        return Err(Error::new("finetune needs the weights of all layers")
            .file(path)
            .found(format!("a body of {held} layers"))
            .allowed(format!("{all} layers"))
            .help("a network with a new end is trained with `train`"));
    }
    Ok((header, Some(weights)))
}

/// Says which layers begin with random weights: those of `left`, and all after the `held` ones of a body.
fn random_layers(left: Vec<usize>, held: usize, all: usize) -> Option<String> {
    let changed = left.into_iter().filter(|&layer| layer < held).map(|layer| layer.to_string());
    let after = (held < all).then(|| format!("{held} to {}", all - 1));
    let layers: Vec<String> = changed.chain(after).collect();
    (!layers.is_empty()).then(|| format!("layers that begin with random weights: {}", layers.join(", ")))
}

/// Batches between two evaluations.
fn evaluate_every(args: &Args, epoch: u64) -> u64 {
    args.evaluate_every.map_or(epoch.max(MIN_EVALUATION), u64::from)
}

/// What the options alone decide of a session.
fn session_options(args: &Args, manner: Manner, training: &Training, folder: PathBuf) -> SessionOptions {
    let is_short = is_short(args, manner);
    let stem = args.cfg.file_stem();
    SessionOptions {
        folder,
        name: stem.map_or_else(|| "network".into(), |stem| stem.to_string_lossy().into_owned()),
        batches: 0,
        evaluate_every: 0,
        patience: args.patience,
        average: args.average.unwrap_or(if is_short { FINETUNE_AVERAGE } else { training.ema_alpha }),
        clip: args.clip.or(is_short.then_some(FINETUNE_CLIP)).map(f64::from),
        kept: None,
        rounding: Vec::new(),
        seed: 0,
        identity: [0; 32],
        renew: args.renew,
    }
}

fn is_short(args: &Args, manner: Manner) -> bool {
    manner == Manner::Finetune || args.int8 || args.epochs.is_some() || args.batches.is_some()
}

/// Classes of a network's heads, or outputs of a classifier.
fn classes_of(graph: &Graph) -> usize {
    let of_head = |op: &Op| match op {
        Op::Yolo(head) => Some(head.classes),
        Op::Region(head) => Some(head.classes),
        Op::Detection(head) => Some(head.classes),
        _ => None,
    };
    let heads = graph.nodes.iter().find_map(|node| of_head(&node.op));
    heads.unwrap_or_else(|| graph.nodes.last().map_or(0, |node| node.shape.len()))
}

/// The cfg and graph with the heads that the options ask for.
fn new_heads(args: &Args, original: &darknet::Network, labels: &Labels, seed: u64) -> Result<(Cfg, Graph)> {
    if args.classes.is_none() && args.anchors.is_none() {
        return Ok((original.cfg.clone(), original.graph.clone()));
    }
    let graph = &original.graph;
    let chosen = match (&args.anchors, labels) {
        (Some(_), Labels::Boxes(boxes)) => {
            let count = graph.nodes.iter().find_map(|node| match &node.op {
                Op::Yolo(head) => Some(head.anchors.len()),
                Op::Region(head) => Some(head.anchors.len()),
                _ => None,
            });
            Some(anchors(&box_sizes(boxes, graph.input), count.unwrap_or(0), seed)?.sizes)
        }
        _ => None,
    };
    let classes = args.classes.map_or_else(|| classes_of(graph), |classes| classes as usize);
    let cfg = darknet::with_heads(&original.cfg, graph, classes, chosen.as_deref())?;
    let graph = darknet::build_graph(&cfg)?;
    Ok((cfg, graph))
}

/// Changes what the options and the manner ask for; returns the number of batches.
fn adapt(
    training: &mut Training,
    args: &Args,
    manner: Manner,
    images: usize,
    is_detector: bool,
) -> Result<u64> {
    if let Some(batch) = args.batch.or((manner == Manner::Finetune).then_some(FINETUNE_BATCH)) {
        training.batch = batch as usize;
        training.subdivisions = 1;
    }
    let epoch = (images as u64).div_ceil(training.batch as u64);
    let is_short = is_short(args, manner);
    let batches = match (args.epochs, args.batches) {
        (Some(epochs), _) => u64::from(epochs) * epoch,
        (None, Some(batches)) => u64::from(batches),
        (None, None) if manner == Manner::Finetune => FINETUNE_EPOCHS * epoch,
        (None, None) => training.schedule.max_batches,
    };
    if batches == 0 {
        return Err(Error::new("the length of the training is not known")
            .file(&args.cfg)
            .help("set max_batches in [net], or give --epochs"));
    }
    if is_short {
        let rate = args.rate.unwrap_or(match manner {
            _ if args.int8 => INT8_RATE,
            Manner::Darknet => SHORT_RATE,
            _ => FINETUNE_RATE,
        });
        training.schedule = Schedule {
            learning_rate: rate,
            burn_in: (batches / 20).min(100),
            power: 1.0,
            policy: Policy::Sgdr { minimum: rate / 100.0, cycle: batches + 1, factor: 1 },
            max_batches: batches,
        };
        if is_detector && training.augmentation.mix == Mix::None {
            training.augmentation.mix = Mix::Mosaic;
        }
    } else if let Some(rate) = args.rate {
        training.schedule.learning_rate = rate;
    }
    if let Optimizer::Sgd { momentum } = &mut training.optimizer
        && *momentum >= 1.0
    {
        return Err(Error::new("momentum must be below 1").file(&args.cfg).found(momentum.to_string()));
    }
    Ok(batches)
}

/// How examples are made.
fn samples_options(graph: &Graph, training: &Training, batches: u64, seed: u64) -> Options {
    let sizes = Sizes {
        input: graph.input,
        multi_scale: training.augmentation.multi_scale,
        resize_step: training.augmentation.resize_step,
        max_batches: batches,
    };
    Options {
        augmentation: training.augmentation.clone(),
        sizes,
        max_boxes: max_boxes(training),
        batch: training.batch,
        seed,
        cache_bytes: CACHE_BYTES,
    }
}

fn max_boxes(training: &Training) -> usize {
    let of_layer = |loss: &LayerLoss| match loss {
        LayerLoss::Yolo(loss) => Some(loss.max_boxes),
        LayerLoss::Region(loss) => Some(loss.max_boxes),
        _ => None,
    };
    training.layers.iter().filter_map(|layer| of_layer(layer.loss.as_ref()?)).min().unwrap_or(usize::MAX)
}

/// A hash of all that decides the result, by which a checkpoint is known.
///
/// # Errors
/// A file cannot be read.
fn identity(
    (cfg, weights, kept): (&Cfg, &Weights, Option<&Weights>),
    images: [&[PathBuf]; 2],
    labels: &Labels,
    training: &Training,
    args: &Args,
    seed: u64,
) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(cfg.to_bytes());
    for layer in [Some(weights), kept].into_iter().flatten().flat_map(|weights| &weights.layers) {
        let norm = layer.batch_norm.iter().flat_map(|norm| [&norm.scale, &norm.mean, &norm.variance]);
        for value in [&layer.weights, &layer.bias].into_iter().chain(norm).flatten() {
            hash.update(value.to_le_bytes());
        }
    }
    for image in images.into_iter().flatten() {
        hash.update(fingerprint(image)?);
    }
    for label in images[1].iter().map(|image| label_path(image)).filter(|label| label.is_file()) {
        hash.update(files::read_limited(&label, MAX_TEXT_BYTES)?);
    }
    match labels {
        Labels::Boxes(boxes) => boxes.iter().for_each(|image| hash.update(format!("{image:?}"))),
        Labels::Targets(targets) => targets.iter().for_each(|image| hash.update(format!("{image:?}"))),
    }
    for path in args.teacher.iter().flatten() {
        hash.update(files::read_limited(path, MAX_TEACHER_BYTES)?);
    }
    let options =
        (&args.average, &args.clip, args.teacher_weight(), &args.patience, &args.evaluate_every, args.int8);
    hash.update(format!("{training:?} {options:?} {seed} {}", initial::VERSION));
    Ok(hash.finalize().into())
}

/// Length and beginning of an image's file: other content under the same name is told apart, and a large data set is not
/// read whole. Its path does not count, so that a folder may move.
fn fingerprint(image: &Path) -> Result<[u8; 32]> {
    let fail = |e: std::io::Error| Error::io("read", image, &e);
    let file = std::fs::File::open(image).map_err(fail)?;
    let mut beginning = Vec::new();
    let length = file.metadata().map_err(fail)?.len();
    file.take(FINGERPRINT_BYTES).read_to_end(&mut beginning).map_err(fail)?;
    Ok(Sha256::new().chain_update(length.to_le_bytes()).chain_update(beginning).finalize().into())
}

/// Refuses to write over anything that is read.
fn refuse_overwrite(args: &Args, lists: &Lists, options: &SessionOptions, images: &[PathBuf]) -> Result<()> {
    let mut read: Vec<PathBuf> = lists.files.iter().chain([&args.cfg]).cloned().collect();
    read.extend(args.weights.iter().chain(args.teacher.iter().flatten()).cloned());
    read.extend(args.masks.iter().chain(&args.config).cloned());
    read.extend(images.iter().cloned());
    let suffixes = [
        "_last.weights",
        "_best.weights",
        "_final.weights",
        ".csv",
        ".json",
        ".svg",
        ".png",
        ".checkpoint",
        ".cfg",
    ];
    let mut written: Vec<PathBuf> =
        suffixes.iter().map(|suffix| options.folder.join(format!("{}{suffix}", options.name))).collect();
    written.extend((1..=options.batches / NUMBERED).map(|n| options.numbered_weights(n * NUMBERED)));
    written.extend(args.output.iter().cloned());
    files::refuse_overwrite(&read, &written.iter().map(PathBuf::as_path).collect::<Vec<&Path>>())
}
