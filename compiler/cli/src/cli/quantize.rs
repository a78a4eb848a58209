//! `quantize`: a float network becomes an int8 one.

use std::path::{Path, PathBuf};

use secateur_base::progress::Progress;
use secateur_base::terminal::print;
use secateur_base::{Error, Result, files, outln};
use secateur_data::{DataFile, Dataset, Fit, Sample, class_name, label_path, read_list, read_names};
use secateur_eval::Heads;
use secateur_frontend::darknet::{self, Network};
use secateur_ir::{Graph, Op};
use secateur_quant::net::Provenance;
use secateur_quant::report::{self, QuantisationReport};
use secateur_quant::{self as quant, RangeRule, SPLIT_PERCENT};
use sha2::{Digest, Sha256};

use super::Global;
use super::images::data_files;
use super::subject::check_names;

/// The largest .cfg or .weights that is hashed.
const MAX_HASHED_BYTES: u64 = 1 << 32;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur quantize yolo.cfg yolo.weights --data coco.data -o yolo.int8
  secateur quantize yolo.cfg yolo.weights --list train.txt --names coco.names \\
      --eval val.txt --report quantisation.txt -o yolo.int8
  secateur quantize yolo.cfg yolo.weights --data coco.data --split 15 -o yolo.int8

Calibration looks at the images only, not at their labels: 30 images do, 100 are better. Keep
those that accuracy is measured on (--eval) apart.")]
pub(crate) struct Args {
    /// The network's .cfg.
    cfg: PathBuf,
    /// Its trained .weights.
    weights: PathBuf,
    /// Darknet's .data file: its `train` list is calibrated on.
    #[arg(long, value_name = "FILE", conflicts_with = "list", required_unless_present = "list")]
    data: Option<PathBuf>,
    /// List of images to calibrate on.
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Calibrate on N images, spread over the list.
    #[arg(long, visible_alias = "pictures", value_name = "N", default_value_t = quant::CALIBRATION_IMAGES as u32,
        value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Names of the classes, one a line [default: those of --data, else numbers].
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// The int8 network to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write the report there (JSON if it ends in .json) instead of printing its summary.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Labelled held-out images to measure mAP, agreement and score shift on.
    #[arg(long, value_name = "LIST")]
    eval: Option<PathBuf>,
    /// How ranges are chosen: mse, minmax, percentile or percentile:P.
    #[arg(long, value_name = "RULE", default_value = "mse")]
    ranges: RangeRule,
    /// Compute channels twice where that makes int8 more precise, for up to PERCENT more operations.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    split: f64,
    /// Do not equalise channels.
    #[arg(long)]
    no_equalize: bool,
    /// Do not correct biases.
    #[arg(long)]
    no_bias_correction: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if SPLIT_PERCENT.contains(&percent) { Ok(percent) } else { Err("allowed: 0 to 300".to_owned()) }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let network = darknet::load(&args.cfg, Some(&args.weights))?;
    let weights = network.weights()?;
    let graph = &network.graph;
    let (list, names) = calibration_files(&args)?;
    check_paths(&args, &list)?;
    let names = names.map(|path| read_names(&path)).transpose()?;
    let classes = classes(graph)?;
    if let (Some(names), Some(classes)) = (&names, classes) {
        check_names(names, classes)?;
    }
    let fit = Fit::of_network(graph.has_heads(), graph.letter_box);
    let numbered = || (0..classes.unwrap_or(0)).map(|class| class_name(&[], class)).collect();
    let labelled = |eval: &PathBuf| Dataset::with_names(eval, names.clone().unwrap_or_else(numbered));
    let held_out = args.eval.as_ref().map(labelled).transpose()?;
    let paths = calibration_images(read_list(&list)?, args.images as usize);
    let images = load_images(&paths, &network, fit)?;
    let defaults = quant::QuantiseOptions::default();
    let options = quant::QuantiseOptions {
        ranges: args.ranges,
        equalise: !args.no_equalize,
        correction: if args.no_bias_correction { 0 } else { defaults.correction },
        split: args.split / 100.0,
    };
    let provenance = provenance(&args, &options, &images)?;
    let quantised =
        quant::quantise(graph, weights, &images, &options, names.unwrap_or_default(), provenance)?;
    let layers = report::layers(&quantised, &images)?;
    drop(images);
    let accuracy = match &held_out {
        Some(dataset) => report::accuracy(graph, weights, &quantised.net, dataset, global.seed)?,
        None => None,
    };
    quantised.net.save(&args.output)?;
    let report = QuantisationReport { layers, accuracy };
    match &args.report {
        Some(path) if path.extension().is_some_and(|extension| extension == "json") => {
            let json = serde_json::to_vec_pretty(&report).expect("plain data always serialises");
            files::write_bytes(path, &json)?;
        }
        Some(path) => files::write_bytes(path, report.to_text().as_bytes())?,
        None => {}
    }
    print(format_args!("{}", report.summary()));
    Ok(())
}

/// Refuses outputs that would overwrite what the command reads.
fn check_paths(args: &Args, list: &Path) -> Result<()> {
    let mut inputs = vec![args.cfg.clone(), args.weights.clone(), list.to_owned()];
    inputs.extend(args.names.iter().chain(&args.eval).cloned());
    if let Some(data) = &args.data {
        inputs.extend(data_files(data)?);
    }
    for list in [Some(list), args.eval.as_deref()].into_iter().flatten() {
        inputs.extend(read_list(list)?.into_iter().flat_map(|image| [label_path(&image), image]));
    }
    files::refuse_overwrite(
        &inputs,
        &[Some(&args.output), args.report.as_ref()].into_iter().flatten().collect::<Vec<_>>(),
    )
}

/// The calibration list and, where one is named, the names.
fn calibration_files(args: &Args) -> Result<(PathBuf, Option<PathBuf>)> {
    match (&args.data, &args.list) {
        (Some(data), _) => {
            let file = DataFile::load(data)?;
            let names = match &args.names {
                Some(names) => Some(names.clone()),
                None => file.get("names").is_some().then(|| file.file("names")).transpose()?,
            };
            Ok((file.file("train")?, names))
        }
        (None, Some(list)) => Ok((list.clone(), args.names.clone())),
        (None, None) => Err(Error::new("calibration images are missing").help("give --data or --list")),
    }
}

/// The images to calibrate on; says so where they are not all of the list.
fn calibration_images(paths: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    if paths.len() > count {
        outln!("calibrating on {count} of {} images, spread over the list (--images)", paths.len());
    }
    quant::spread(paths.len(), count).map(|index| paths[index].clone()).collect()
}

/// Number of classes; `None` where nothing in the network says it.
fn classes(graph: &Graph) -> Result<Option<usize>> {
    let heads = Heads::of(graph)?;
    let softmax = graph.nodes.last().filter(|node| matches!(node.op, Op::Softmax(_)));
    Ok(match heads.heads.is_empty() {
        false => Some(heads.classes),
        true => softmax.map(|node| node.shape.len()),
    })
}

fn load_images(paths: &[PathBuf], network: &Network, fit: Fit) -> Result<Vec<Vec<f32>>> {
    use rayon::prelude::*;
    let progress = Progress::new(format!("reading {} images", paths.len()), paths.len() as u64);
    let load = |path: &PathBuf| {
        let sample = Sample::load(path, network.graph.input, fit);
        progress.advance(1);
        sample.map(|sample| sample.input)
    };
    paths.par_iter().map(load).collect()
}

fn provenance(args: &Args, options: &quant::QuantiseOptions, images: &[Vec<f32>]) -> Result<Provenance> {
    let hash = |path| Ok::<_, Error>(Sha256::digest(files::read_limited(path, MAX_HASHED_BYTES)?).into());
    let mut recipe = Sha256::new();
    recipe.update(serde_json::to_vec(options).expect("plain data always serialises"));
    for image in images {
        recipe.update(image.iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<_>>());
    }
    Ok(Provenance {
        model: args.cfg.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        cfg_sha256: hash(&args.cfg)?,
        weights_sha256: hash(&args.weights)?,
        recipe_sha256: recipe.finalize().into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
