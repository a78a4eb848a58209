//! `secateur-run ARTEFACT IMAGE…`: an artefact on a small computer with Linux, such as one with an Arm processor.
//!
//! It depends on the runtime and on the decoding of images alone. What it prints is what `secateur detect` prints of
//! the same artefact, except for the time; exit codes are the command's.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![forbid(unsafe_code)]

mod network;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use secateur_base::limits::MAX_ARTEFACT_BYTES;
use secateur_base::{Result, files, outln};
use secateur_data::{Sample, class_name};

use network::{Found, Network};

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
    #[arg(long, default_value_t = 0.45, value_parser = fraction)]
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
    let bytes = files::read_limited(&args.artefact, MAX_ARTEFACT_BYTES)?;
    let mut network = Network::new(&bytes).map_err(|error| error.file(&args.artefact))?;
    for image in &args.images {
        let sample = network.sample(image)?;
        if args.report {
            network.report(&sample, [args.thresh, args.nms])?;
        } else {
            let started = Instant::now();
            let found = network.run(&sample, [args.thresh, args.nms])?;
            print(image, &sample, &network.names(), &found, started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(())
}

fn print(image: &Path, sample: &Sample, names: &[String], found: &Found, milliseconds: f64) {
    let (width, height) = sample.size;
    let mut text = format!("{}: {width}×{height}, {milliseconds:.1} ms", image.display());
    match found {
        Found::Classes(classes) => {
            for &(class, probability) in classes {
                text += &format!("\n  {:>5.1}%  {}", probability * 100.0, class_name(names, class));
            }
        }
        Found::Objects(objects) if objects.is_empty() => text += "\n  nothing found",
        Found::Objects(objects) => {
            for object in objects {
                let b = &object.bbox;
                let pixel = |fraction: f32, extent: usize| fraction * extent as f32;
                text += &format!(
                    "\n  {:>5.1}%  {:<16} left {:>5.0}  top {:>5.0}  width {:>5.0}  height {:>5.0}",
                    object.score * 100.0,
                    class_name(names, object.class),
                    pixel(b.x - b.w / 2.0, width),
                    pixel(b.y - b.h / 2.0, height),
                    pixel(b.w, width),
                    pixel(b.h, height),
                );
            }
        }
    }
    outln!("{text}");
}
