//! `detect`: objects in images, listed, drawn or as JSON.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_base::terminal::print;
use secateur_base::{Error, Result, files, outln};
use secateur_data::{Fit, Sample, class_name, load_image, save_image};
use secateur_eval::{Detection, Detector, NMS_THRESH, top_k};
use secateur_report::{draw_detections, to_json};
use serde::Serialize;

use super::Global;
use super::subject::{Subject, check_names, checked_names, fraction};

/// Classes that are listed for a classifier's image.
const TOP: usize = 5;

/// Find objects in images and draw them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur detect yolov4-tiny.cfg yolov4-tiny.weights street.jpg --names coco.names --out drawn
  secateur detect yolo-fastest.sct photos/*.jpg --thresh 0.4 --out drawn
  secateur detect yolo-fastest.sct dog.jpg --json

Names come from the artefact, from --names, or from `names` or MODEL.names beside the cfg.
With a classifier the five best classes are listed.")]
pub(crate) struct Args {
    /// CFG WEIGHTS or ARTEFACT, then images (JPEG, PNG or BMP).
    #[arg(required = true, num_args = 1.., value_name = "CFG WEIGHTS|ARTEFACT> <IMAGE")]
    paths: Vec<PathBuf>,
    /// Class names, one a line.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Detections need a score (objectness × class) above this.
    #[arg(long, default_value_t = 0.25, value_parser = fraction)]
    thresh: f32,
    /// Non-maximum suppression: two boxes of a class with an IoU above this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = fraction)]
    nms: f32,
    /// Draw the boxes and write the images into this folder, under their own names.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of text: an array with one entry per image.
    #[arg(long)]
    json: bool,
}

/// The detections of one image.
#[derive(Debug, Serialize)]
struct Report {
    /// Path as text: bytes that are not UTF-8 are replaced.
    image: String,
    width: usize,
    height: usize,
    objects: Vec<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<String>,
}

/// A found object; centre and size of its box as fractions of the image, not clipped.
#[derive(Debug, Serialize)]
struct Object {
    class: usize,
    name: String,
    score: f32,
    cx: f32,
    cy: f32,
    w: f32,
    h: f32,
}

#[derive(Debug, Serialize)]
struct ClassScore {
    class: usize,
    name: String,
    probability: f32,
}

impl Args {
    /// A network and an image at least; options may stand between them.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.paths.len() {
            0 | 1 => Err("a network and one or more images are needed".to_owned()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (subject, images) = Subject::take(args.paths.clone())?;
    if images.is_empty() {
        return Err(Error::new("no image given").help("name one or more images after the network"));
    }
    let threads = rayon::current_num_threads();
    subject.open(threads, |detector, known| {
        let names = match &args.names {
            Some(path) => checked_names(path, detector.classes())?,
            None => known,
        };
        if !names.is_empty() {
            check_names(&names, detector.classes())?;
        }
        let mut inputs = subject.files()?;
        inputs.extend(images.iter().chain(&args.names).cloned());
        let mut taken = HashSet::new();
        let mut reports = Vec::new();
        for image in &images {
            let drawn = args.out.as_ref().map(|folder| drawn_path(folder, image, &inputs, &mut taken));
            let report = one_image(detector, &names, image, drawn, &args)?;
            if args.json {
                reports.push(report);
            }
        }
        if args.json {
            print(format_args!("{}", to_json(&reports)?));
        }
        Ok(())
    })
}

fn one_image(
    detector: &dyn Detector,
    names: &[String],
    image: &Path,
    drawn: Option<PathBuf>,
    args: &Args,
) -> Result<Report> {
    let sample = Sample::load(image, detector.input(), detector.fit())?;
    let (width, height) = sample.size;
    let name = image.display().to_string();
    let mut report = Report { image: name, width, height, objects: vec![], classes: vec![], drawn: None };
    let started = Instant::now();
    let took;
    if detector.fit() == Fit::Crop {
        let output = detector.heads(&sample.input).pop().unwrap_or_default();
        took = started.elapsed();
        report.classes = top_k(&output, TOP)
            .into_iter()
            .map(|class| ClassScore { class, name: class_name(names, class), probability: output[class] })
            .collect();
    } else {
        let mut found = detector.detect(&sample.input, sample.frame, args.thresh, args.nms);
        took = started.elapsed();
        found.sort_by(|a, b| b.prob.total_cmp(&a.prob));
        if let Some(path) = drawn {
            save_image(&path, &draw_detections(&load_image(image)?, &found, names))?;
            report.drawn = Some(path.display().to_string());
        }
        report.objects = found.iter().map(|detection| object(detection, names)).collect();
    }
    if !args.json {
        print_text(&report, took.as_secs_f64() * 1e3);
    }
    Ok(report)
}

fn object(detection: &Detection, names: &[String]) -> Object {
    let Detection { class, prob, bbox, .. } = *detection;
    Object {
        class,
        name: class_name(names, class),
        score: prob,
        cx: bbox.x,
        cy: bbox.y,
        w: bbox.w,
        h: bbox.h,
    }
}

/// The file of a drawn image: its own name, as PNG where it was neither JPEG nor PNG, numbered where two images have
/// one name or an input would be drawn over.
fn drawn_path(folder: &Path, image: &Path, inputs: &[PathBuf], taken: &mut HashSet<PathBuf>) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default();
    let extension = match image.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("jpg" | "jpeg") => "jpg",
        _ => "png",
    };
    let named = |suffix: &str| {
        let mut name = stem.to_owned();
        name.push(format!("{suffix}.{extension}"));
        folder.join(name)
    };
    let mut path = named("");
    let mut number = 2;
    while files::refuse_overwrite(inputs, &[&path]).is_err() || !taken.insert(path.clone()) {
        path = named(&format!("-{number}"));
        number += 1;
    }
    path
}

fn print_text(report: &Report, milliseconds: f64) {
    let Report { width, height, .. } = *report;
    let mut text = format!("{}: {width}×{height}, {milliseconds:.1} ms", report.image);
    for class in &report.classes {
        text += &format!("\n  {:>5.1}%  {}", class.probability * 100.0, class.name);
    }
    for object in &report.objects {
        let pixel = |fraction: f32, extent: usize| fraction * extent as f32;
        text += &format!(
            "\n  {:>5.1}%  {:<16} left {:>5.0}  top {:>5.0}  width {:>5.0}  height {:>5.0}",
            object.score * 100.0,
            object.name,
            pixel(object.cx - object.w / 2.0, width),
            pixel(object.cy - object.h / 2.0, height),
            pixel(object.w, width),
            pixel(object.h, height),
        );
    }
    if report.objects.is_empty() && report.classes.is_empty() {
        text += "\n  nothing found";
    }
    if let Some(drawn) = &report.drawn {
        text += &format!("\n  → {}", drawn);
    }
    outln!("{text}");
}
