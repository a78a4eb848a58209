//! `detect`: objects in pictures, listed, drawn or as JSON.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_base::{Error, Result};
use secateur_data::{Fit, Sample, class_name, load_picture};
use secateur_eval::{Detection, Detector, NMS_THRESH, top_k};
use secateur_report::{draw_detections, save_picture};
use serde::Serialize;

use super::Global;
use super::subject::{Subject, check_names, checked_names, share};

/// Classes that are listed for a picture by a classifier.
const TOP: usize = 5;

/// Find objects in pictures and draw them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur detect yolov4-tiny.cfg yolov4-tiny.weights street.jpg --names coco.names --out drawn
  secateur detect yolo-fastest.sct photos/*.jpg --thresh 0.4 --out drawn
  secateur detect yolo-fastest.sct dog.jpg --json

Names come from the artefact, from --names, or from `names` or MODEL.names beside the cfg.
With a classifier the five best classes are listed.")]
pub(crate) struct Args {
    /// CFG WEIGHTS or ARTEFACT, then pictures (JPEG, PNG or BMP).
    #[arg(required = true, num_args = 2.., value_name = "CFG WEIGHTS|ARTEFACT> <IMAGE")]
    paths: Vec<PathBuf>,
    /// Class names, one a line.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Detections need a score (objectness × class) above this.
    #[arg(long, default_value_t = 0.25, value_parser = share)]
    thresh: f32,
    /// Two boxes of a class that overlap by more than this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = share)]
    nms: f32,
    /// Draw the boxes and write the pictures into this folder, under their own names.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of text: one array, an entry a picture.
    #[arg(long)]
    json: bool,
}

/// What is said of a picture.
#[derive(Debug, Serialize)]
struct Report {
    image: PathBuf,
    width: usize,
    height: usize,
    objects: Vec<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<PathBuf>,
}

/// A found object; the box in shares of the picture, its centre and size, not clipped.
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

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (subject, images) = Subject::take(args.paths.clone())?;
    if images.is_empty() {
        return Err(Error::new("no picture given").help("name one or more pictures after the network"));
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
        let mut taken = HashSet::new();
        let mut reports = Vec::new();
        for image in &images {
            let drawn = args.out.as_ref().map(|folder| drawn_path(folder, image, &mut taken));
            let report = one_picture(detector, &names, image, drawn, &args)?;
            if args.json {
                reports.push(report);
            }
        }
        if args.json {
            let text = serde_json::to_string_pretty(&reports)
                .map_err(|e| Error::new(format!("cannot write JSON: {e}")))?;
            print_line(&text)?;
        }
        Ok(())
    })
}

fn one_picture(
    detector: &dyn Detector,
    names: &[String],
    image: &Path,
    drawn: Option<PathBuf>,
    args: &Args,
) -> Result<Report> {
    let sample = Sample::load(image, detector.input(), detector.fit())?;
    let (width, height) = sample.size;
    let mut report =
        Report { image: image.to_owned(), width, height, objects: vec![], classes: vec![], drawn: None };
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
            save_picture(&path, &draw_detections(&load_picture(image)?, &found, names))?;
            report.drawn = Some(path);
        }
        report.objects = found.iter().map(|detection| object(detection, names)).collect();
    }
    if !args.json {
        print_text(&report, took.as_secs_f64() * 1e3)?;
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

/// Where a drawn picture goes: its own name, as PNG where it was neither JPEG nor PNG, numbered
/// where two pictures have one name.
fn drawn_path(folder: &Path, image: &Path, taken: &mut HashSet<PathBuf>) -> PathBuf {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = match image.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("jpg" | "jpeg") => "jpg",
        _ => "png",
    };
    let mut path = folder.join(format!("{stem}.{extension}"));
    let mut number = 2;
    // A picture of this very folder must not be drawn over.
    while path == image || !taken.insert(path.clone()) {
        path = folder.join(format!("{stem}-{number}.{extension}"));
        number += 1;
    }
    path
}

fn print_text(report: &Report, milliseconds: f64) -> Result<()> {
    let Report { width, height, .. } = *report;
    let mut text = format!("{}: {width}×{height}, {milliseconds:.1} ms", report.image.display());
    for class in &report.classes {
        text += &format!("\n  {:>5.1}%  {}", class.probability * 100.0, class.name);
    }
    for object in &report.objects {
        let pixel = |share: f32, extent: usize| share * extent as f32;
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
        text += &format!("\n  → {}", drawn.display());
    }
    print_line(&text)
}

/// Prints to standard output; a reader that went away (as `head` does) is no mistake of ours.
fn print_line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(format!("cannot print: {e}"))),
        _ => Ok(()),
    }
}
