//! `map`: accuracy on labelled pictures, as Darknet measures it, with its uncertainty.

use std::path::PathBuf;

use secateur_base::{Error, Result, files};
use secateur_data::{Dataset, class_name};
use secateur_eval::{
    Comparison, Detector, Interval, MAP_THRESH, MapOptions, MeanAp, NMS_THRESH, bootstrap_map,
    bootstrap_mean, compare, detect_all, heads_all, label_of_path, mean_ap, top_k_hits,
};
use serde_json::{Value, json};

use super::Global;
use super::pictures::Pictures;
use super::subject::{Subject, check_names, share};

/// Measure accuracy on labelled pictures as Darknet does (mAP).
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("given").args(["data", "list"]).required(true))]
#[command(after_help = "Examples:
  secateur map yolov4-tiny.cfg yolov4-tiny.weights --data coco.data
  secateur map yolo-fastest.sct --list val.txt --names coco.names --json
  secateur map yolo-fastest.sct --data coco.data --against model.cfg model.weights

The mean runs over all classes of the network; a class without objects counts 0. The range behind
each figure holds 95 % of what other pictures of the same kind would give (bootstrap over pictures).
A classifier's pictures carry their class's name in their path; its top-1 and top-5 are measured.")]
pub(crate) struct Args {
    /// CFG WEIGHTS or ARTEFACT.
    #[arg(required = true, num_args = 1..=2, value_name = "CFG WEIGHTS|ARTEFACT")]
    network: Vec<PathBuf>,
    #[command(flatten)]
    source: Pictures,
    /// Which list of the .data file.
    #[arg(long, default_value = "valid", value_parser = ["valid", "train"])]
    split: String,
    /// Only the first N pictures.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pictures: Option<u32>,
    /// Recall points: 0 is the area under the curve, 11 is Pascal VOC 2007, 101 is COCO.
    #[arg(long, default_value_t = 0, value_parser = points)]
    points: usize,
    /// A detection is right where it overlaps an object of its class by more than this (IoU).
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    iou_thresh: f32,
    /// Score at which right, wrong and missed objects are counted.
    #[arg(long, default_value_t = 0.25, value_parser = share)]
    thresh: f32,
    /// Overlap from which on two boxes of a class are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = share)]
    nms: f32,
    /// The float network that this one was made from: also report how closely it is followed.
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
    let dataset = dataset(&args)?;
    subject.open(1, |detector, _| {
        check_names(&dataset.names, detector.classes())?;
        let mut result = if detector.layout().heads.is_empty() {
            classifier(detector, &dataset, &args, global.seed)?
        } else {
            detections(detector, &dataset, &args, global.seed)?
        };
        result["network"] = json!(subject.path());
        if args.json {
            println!("{result:#}");
        }
        match &args.report {
            Some(report) => files::write_bytes(report, format!("{result:#}\n").as_bytes()),
            None => Ok(()),
        }
    })
}

fn dataset(args: &Args) -> Result<Dataset> {
    let dataset = match (&args.source.data, &args.source.list, &args.source.names) {
        (Some(data), ..) => Dataset::from_data_file(data, &args.split)?,
        (None, Some(list), Some(names)) => Dataset::from_list(list, names)?,
        _ => {
            return Err(
                Error::new("no pictures given").allowed("--data FILE.data, or --list FILE --names FILE")
            );
        }
    };
    Ok(match args.pictures {
        Some(count) => dataset.take(count as usize),
        None => dataset,
    })
}

fn detections(detector: &dyn Detector, dataset: &Dataset, args: &Args, seed: u64) -> Result<Value> {
    let options = MapOptions { iou_thresh: args.iou_thresh, points: args.points, count_thresh: args.thresh };
    let found = detect_all(detector, dataset, MAP_THRESH, args.nms)?;
    let classes = detector.classes();
    let result = mean_ap(&found, &dataset.labels, classes, options);
    let interval = bootstrap_map(&found, &dataset.labels, classes, options, seed);
    let comparison = match args.against.as_deref() {
        Some([cfg, weights]) => {
            let original = Subject::Float { cfg: cfg.clone(), weights: weights.clone() };
            Some(
                original
                    .open(1, |original, _| compare(original, detector, &found, dataset, options, seed))?,
            )
        }
        _ => None,
    };
    if !args.json {
        print_map(&result, interval, dataset, args);
        if let Some(comparison) = &comparison {
            print_comparison(comparison);
        }
    }
    let mut value = json!(result);
    value["pictures"] = json!(dataset.len());
    value["interval"] = json!(interval);
    if let Some(classes) = value["classes"].as_array_mut() {
        for (class, entry) in classes.iter_mut().enumerate() {
            entry["name"] = json!(class_name(&dataset.names, class));
        }
    }
    if let Some(c) = comparison {
        value["against"] = json!({
            "map": c.original.map,
            "difference": c.difference.0,
            "difference_interval": c.difference.1,
            "agree": c.agree.0,
            "agree_interval": c.agree.1,
            "score_shift": c.shift,
            "score_shift_interval": c.shift_interval,
            "head_sqnr_db": c.head_sqnr,
        });
    }
    Ok(value)
}

fn print_map(result: &MeanAp, interval: Interval, dataset: &Dataset, args: &Args) {
    if args.per_class {
        println!("{:<20} {:>7} {:>7} {:>6} {:>6}", "class", "objects", "AP", "right", "wrong");
        for (class, r) in result.classes.iter().enumerate() {
            println!(
                "{:<20} {:>7} {:>6.2}% {:>6} {:>6}",
                class_name(&dataset.names, class),
                r.truths,
                r.ap * 100.0,
                r.true_positives,
                r.false_positives
            );
        }
    }
    let present = result.classes.iter().filter(|class| class.truths > 0).count();
    let MeanAp { true_positives: right, false_positives: wrong, false_negatives: missed, .. } = *result;
    println!(
        "{} pictures, {} objects of {present} classes, {} detections",
        dataset.len(),
        result.truths,
        result.detections
    );
    let ratio = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    println!(
        "at score {:.2}: {right} right, {wrong} wrong, {missed} missed; precision {:.2}, recall {:.2}, mean IoU {:.1}%",
        args.thresh,
        ratio(right, right + wrong),
        ratio(right, right + missed),
        result.mean_iou * 100.0
    );
    let method = match args.points {
        0 => "area under the curve".to_owned(),
        points => format!("{points} recall points"),
    };
    println!(
        "mAP@{:.2} ({method}): {} over all {} classes",
        args.iou_thresh,
        figure(result.map, interval, 6),
        result.classes.len()
    );
    if present < result.classes.len() {
        println!(
            "mAP@{:.2} over the {present} classes with objects: {:.6}",
            args.iou_thresh, result.map_present
        );
    }
}

fn print_comparison(c: &Comparison) {
    println!("against the original (mAP {:.6}):", c.original.map);
    println!("  difference of mAP   {}", figure(c.difference.0, c.difference.1, 4));
    println!("  agree               {}", figure(c.agree.0, c.agree.1, 4));
    println!(
        "  score shift dP      {}, signed {:+.4}, at {} detections",
        figure(c.shift.absolute, c.shift_interval, 4),
        c.shift.signed,
        c.shift.places
    );
    let heads: Vec<String> = c.head_sqnr.iter().map(|db| format!("{db:.1}")).collect();
    println!("  head SQNR           {} dB", heads.join(", "));
}

fn classifier(detector: &dyn Detector, dataset: &Dataset, args: &Args, seed: u64) -> Result<Value> {
    let labels: Vec<usize> = dataset
        .pictures
        .iter()
        .map(|picture| {
            label_of_path(picture, &dataset.names).ok_or_else(|| {
                Error::new("no class name occurs in the picture's path")
                    .file(picture)
                    .allowed("a path that holds one of the names, as in train/0017_cat.png")
            })
        })
        .collect::<Result<_>>()?;
    let outputs: Vec<Vec<f32>> =
        heads_all(detector, dataset)?.into_iter().map(|mut heads| heads.pop().unwrap_or_default()).collect();
    let mut value = json!({ "pictures": dataset.len() });
    for k in [1, 5] {
        let hits = top_k_hits(&outputs, &labels, k);
        let counted: Vec<(f64, f64)> = hits.iter().map(|&hit| (f64::from(u8::from(hit)), 1.0)).collect();
        let share = counted.iter().map(|&(hit, _)| hit).sum::<f64>() / counted.len() as f64;
        let interval = bootstrap_mean(&counted, seed);
        if !args.json {
            println!("top-{k} of {} pictures: {}", dataset.len(), figure(share, interval, 4));
        }
        value[format!("top{k}")] = json!({ "value": share, "interval": interval });
    }
    Ok(value)
}

/// A figure with its interval.
fn figure(value: f64, interval: Interval, digits: usize) -> String {
    format!("{value:.digits$} [{:.3}, {:.3}]", interval.low, interval.high)
}
