//! `map`: accuracy on labelled images, as Darknet measures it, with its uncertainty.

use std::path::PathBuf;

use secateur_base::terminal::print;
use secateur_base::{Error, Result, files};
use secateur_data::Dataset;
use secateur_eval::{
    Detector, MAP_THRESH, MapOptions, NMS_THRESH, bootstrap_map, compare, detect_all, mean_ap, top_k_accuracy,
};
use secateur_report::{AccuracyReport, ClassifierReport, DetectorReport, to_json};

use super::Global;
use super::images::ImageSource;
use super::subject::{Subject, check_names, fraction};

/// Measure accuracy on labelled images as Darknet does (mAP).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur map yolov4-tiny.cfg yolov4-tiny.weights --data coco.data
  secateur map yolo-fastest.sct --list val.txt --names coco.names --json
  secateur map yolo-fastest.sct --data coco.data --against model.cfg model.weights
  secateur map main.cfg model.weights        (the closed pruner's config file)

mAP is the mean over all classes of the network; a class without objects counts 0. The interval
after each figure holds 95 % of the results on other images of the same kind (bootstrap over
images). A classifier's images carry their class's name in their path; its top-1 and top-5 are
measured.")]
pub(crate) struct Args {
    /// CFG WEIGHTS or ARTEFACT.
    #[arg(required = true, num_args = 1..=2, value_name = "CFG WEIGHTS|ARTEFACT")]
    network: Vec<PathBuf>,
    #[command(flatten)]
    source: ImageSource,
    /// List of the .data file to measure on.
    #[arg(long, default_value = "valid", value_parser = ["valid", "train", "test"])]
    split: String,
    /// Only the first N images.
    #[arg(long, alias = "pictures", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// Recall points: 0 is the area under the curve, 11 is Pascal VOC 2007, 101 is COCO.
    #[arg(long, default_value_t = 0, value_parser = points)]
    points: usize,
    /// A detection is a true positive (TP) if its IoU with an object of its class is above this.
    #[arg(long, default_value_t = 0.5, value_parser = fraction)]
    iou_thresh: f32,
    /// Score at which TP, FP and FN are counted.
    #[arg(long, default_value_t = 0.25, value_parser = fraction)]
    thresh: f32,
    /// Non-maximum suppression: two boxes of a class with an IoU above this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = fraction)]
    nms: f32,
    /// The float network that this one was made from: also report how closely this one agrees with it.
    #[arg(long, num_args = 2, value_names = ["CFG", "WEIGHTS"])]
    against: Option<Vec<PathBuf>>,
    /// List every class.
    #[arg(long)]
    per_class: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    /// Write the JSON to this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// 0, or at least 2.
fn points(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(points) if points != 1 && points <= 10_001 => Ok(points),
        _ => Err("0, or a number from 2 to 10001 is needed (11 and 101 are usual)".to_owned()),
    }
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let (subject, extra) = Subject::take(args.network.clone())?;
    if let Some(extra) = extra.first() {
        return Err(
            Error::new(format!("unexpected argument {}", extra.display())).allowed("CFG WEIGHTS or ARTEFACT")
        );
    }
    let dataset = dataset(&args, &subject)?;
    check_paths(&args, &subject, &dataset)?;
    subject.open(1, |detector, _| {
        check_names(&dataset.names, detector.classes())?;
        let report = if detector.layout().heads.is_empty() {
            let top = top_k_accuracy(detector, &dataset, global.seed)?;
            AccuracyReport::Classifier(ClassifierReport::new(subject.path(), dataset.len(), top))
        } else {
            AccuracyReport::Detector(Box::new(measure(detector, &subject, &dataset, &args, global.seed)?))
        };
        let json = to_json(&report)?;
        if let Some(path) = &args.report {
            files::write_bytes(path, json.as_bytes())?;
        }
        match args.json {
            true => print(format_args!("{json}")),
            false => print(format_args!("{}", report.to_text(args.per_class))),
        }
        Ok(())
    })
}

fn dataset(args: &Args, subject: &Subject) -> Result<Dataset> {
    let configured = match subject {
        Subject::Float { config: Some(config), .. } => config.data.as_ref(),
        _ => None,
    };
    let dataset = match (&args.source.data, &args.source.list, &args.source.names) {
        (Some(data), ..) => Dataset::from_data_file(data, &args.split)?,
        (None, Some(list), Some(names)) => Dataset::from_list(list, names)?,
        _ => match configured {
            Some(data) => Dataset::from_data_file(data, &args.split)?,
            None => {
                return Err(Error::new("no images given")
                    .allowed("--data FILE.data, or --list FILE --names FILE, or datacfg= in a config file"));
            }
        },
    };
    Ok(match args.images {
        Some(count) => dataset.take(count as usize),
        None => dataset,
    })
}

/// Refuses a report that would overwrite what the command reads.
fn check_paths(args: &Args, subject: &Subject, dataset: &Dataset) -> Result<()> {
    let Some(report) = &args.report else { return Ok(()) };
    let mut read = [args.source.files()?, subject.files()?].concat();
    read.extend(args.network.iter().chain(args.against.iter().flatten()).cloned());
    read.extend(dataset.files());
    files::refuse_overwrite(&read, &[report])
}

fn measure(
    detector: &dyn Detector,
    subject: &Subject,
    dataset: &Dataset,
    args: &Args,
    seed: u64,
) -> Result<DetectorReport> {
    let options = MapOptions { iou_thresh: args.iou_thresh, points: args.points, count_thresh: args.thresh };
    let found = detect_all(detector, dataset, MAP_THRESH, args.nms)?;
    let classes = detector.classes();
    let result = mean_ap(&found, &dataset.labels, classes, options);
    let interval = bootstrap_map(&found, &dataset.labels, classes, options, seed);
    let comparison = match args.against.as_deref() {
        Some([cfg, weights]) => {
            let original = Subject::Float { cfg: cfg.clone(), weights: weights.clone(), config: None };
            Some(
                original
                    .open(1, |original, _| compare(original, detector, &found, dataset, options, seed))?,
            )
        }
        _ => None,
    };
    Ok(DetectorReport::new(
        subject.path(),
        dataset.len(),
        &dataset.names,
        &result,
        interval,
        comparison.as_ref(),
    ))
}
