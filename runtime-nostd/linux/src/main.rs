//! `secateur-run ARTEFACT IMAGE…`: an artefact on a small computer with Linux, such as one with an Arm processor.
//!
//! It has the runtime and the decoding of images, and no pruner, quantiser or trainer. What it prints is what `secateur
//! detect` prints of the same artefact, except for the time; exit codes are the command's.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![forbid(unsafe_code)]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use secateur_base::{Error, Result, outln};
use secateur_data::{Fit, Sample, class_name};
use secateur_deploy::{Deployed, q30, read_artefact};
use secateur_eval::{Detector, NMS_THRESH, top_k};
use secateur_job::Job;
use secateur_kernels::HostKernels;

/// Classes that are listed for a classifier's image.
const TOP: usize = 5;

/// Run an artefact on images and print what it finds.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  secateur-run yolo-fastest.sct photos/*.jpg
  secateur-run yolo-fastest.sct dog.jpg --report

Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
struct Args {
    /// The artefact that `secateur compile` wrote (.sct).
    artefact: PathBuf,
    /// Images (JPEG, PNG or BMP).
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Detections need a score (objectness × class) above this.
    #[arg(long, default_value_t = 0.25, value_parser = fraction)]
    thresh: f32,
    /// Non-maximum suppression: two boxes of a class with an IoU above this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = fraction)]
    nms: f32,
    /// Print each step's CRC-32 and nanoseconds and the integers of what was found, as firmware on a board does.
    #[arg(long)]
    report: bool,
}

fn fraction(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is allowed".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.kind().exit_code();
            // If this fails, nobody is left to be told.
            let _ = writeln!(std::io::stderr(), "{:?}", miette::Report::new(error));
            ExitCode::from(code)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let bytes = read_artefact(&args.artefact)?;
    let network = Deployed::new(&bytes, &args.artefact)?;
    for image in &args.images {
        let sample = Sample::load(image, network.input(), network.fit())?;
        if args.report {
            report(args, &bytes, &network, &sample)?;
        } else {
            print(args, &network, image, &sample);
        }
    }
    Ok(())
}

/// Runs an image as firmware does and prints its report.
fn report(args: &Args, artefact: &[u8], network: &Deployed<'_>, sample: &Sample) -> Result<()> {
    let (w, h) = sample.frame.inner;
    let job = Job {
        artefact,
        image: &network.quantise(&sample.input),
        score_threshold: q30(args.thresh),
        overlap_threshold: q30(args.nms),
        frame: [w as u32, h as u32],
    };
    let package = job.package().ok_or_else(|| Error::new("artefact and image are too long for a report"))?;
    secateur_job::report(&package, HostKernels, BufWriter::new(std::io::stdout().lock()))
        .map_err(|error| Error::new(format!("cannot write to the standard output: {error}")))?
        .map_err(|fault| Error::new(format!("the artefact cannot be run: {fault:?}")))
}

/// Runs an image and prints what is found in it, best first.
fn print(args: &Args, network: &Deployed<'_>, image: &Path, sample: &Sample) {
    let (names, (width, height)) = (network.names(), sample.size);
    let started = Instant::now();
    let mut lines = Vec::new();
    let took;
    if network.fit() == Fit::Crop {
        let shares = network.heads(&sample.input).pop().unwrap_or_default();
        took = started.elapsed();
        for class in top_k(&shares, TOP) {
            lines.push(format!("{:>5.1}%  {}", shares[class] * 100.0, class_name(&names, class)));
        }
    } else {
        let mut found = network.detect(&sample.input, sample.frame, args.thresh, args.nms);
        took = started.elapsed();
        found.sort_by(|a, b| b.prob.total_cmp(&a.prob));
        let pixel = |fraction: f32, extent: usize| fraction * extent as f32;
        for object in &found {
            let b = &object.bbox;
            lines.push(format!(
                "{:>5.1}%  {:<16} left {:>5.0}  top {:>5.0}  width {:>5.0}  height {:>5.0}",
                object.prob * 100.0,
                class_name(&names, object.class),
                pixel(b.x - b.w / 2.0, width),
                pixel(b.y - b.h / 2.0, height),
                pixel(b.w, width),
                pixel(b.h, height),
            ));
        }
        if found.is_empty() {
            lines.push("nothing found".to_owned());
        }
    }
    let milliseconds = took.as_secs_f64() * 1e3;
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    outln!("{}: {width}×{height}, {milliseconds:.1} ms{lines}", image.display());
}
