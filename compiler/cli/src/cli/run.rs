//! `run`: an artefact on one image with the integer runtime, as a device would do it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use secateur_base::{Error, Result, outln};
use secateur_data::{Sample, class_name};
use secateur_deploy::{Deployed, kernel_macs, kernel_name, read_artefact};
use secateur_eval::{Detection, Detector, NMS_THRESH, top_k};
use secateur_runtime::artefact::Step;
use secateur_runtime::{Hook, Tensor};

use super::Global;
use super::on_board::{self, Place};
use super::subject::fraction;

/// Classes that a classifier's run prints.
const TOP: usize = 5;

/// Run an artefact on an image with the integer runtime, here or on an emulated board or processor.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur run yolo-fastest.sct dog.jpg
  secateur run yolo-fastest.sct dog.jpg --repeat 20 -v
  secateur run yolo-fastest.sct dog.jpg --on qemu:mps2-an500
  secateur run yolo-fastest.sct dog.jpg --on cortex-a53

With -v a table shows each step's time; times are medians over the repetitions.

With --on the firmware of a board is built and run in QEMU, every step's bytes are compared with this
machine's, and a table shows each step's instructions. `secateur targets list` names the boards.
cortex-a53 and cortex-a76 are processors with Linux, whose instructions QEMU does not count.")]
pub(crate) struct Args {
    /// The artefact that `compile` wrote (.sct).
    artefact: PathBuf,
    /// An image (JPEG, PNG or BMP).
    image: PathBuf,
    /// Detections need a score above this.
    #[arg(long, default_value_t = 0.25, value_parser = fraction)]
    thresh: f32,
    /// Non-maximum suppression: two boxes of a class with an IoU above this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = fraction)]
    nms: f32,
    /// Runs to time.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    repeat: u32,
    /// Run on a board or a processor that an emulator shows, and compare every step with this machine.
    #[arg(long, value_name = "qemu:BOARD|PROCESSOR", conflicts_with = "repeat")]
    on: Option<Place>,
    /// Give up on an emulator after so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "on", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time_limit: u32,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let bytes = read_artefact(&args.artefact)?;
    let started = Instant::now();
    let deployed = Deployed::new(&bytes, &args.artefact)?;
    let loaded = started.elapsed();
    let sample = Sample::load(&args.image, deployed.input(), deployed.fit())?;
    if let Some(place) = &args.on {
        let limit = Duration::from_secs(args.time_limit.into());
        let report = on_board::run(place, &bytes, &deployed, &sample, [args.thresh, args.nms], limit)?;
        if deployed.layout().heads.is_empty() {
            let scores: Vec<f32> = report.classes.iter().map(|&share| f32::from(share) / 32768.0).collect();
            print_classes(&deployed, &scores);
        } else {
            print_detections(
                &deployed,
                &sample,
                &args,
                &deployed.detections(&report.detections, sample.frame),
            );
        }
        return Ok(());
    }
    let profile = profile(&deployed, &sample.input, args.repeat as usize)?;
    if deployed.layout().heads.is_empty() {
        let outputs = deployed.heads(&sample.input);
        print_classes(&deployed, outputs.first().map_or(&[], Vec::as_slice));
    } else {
        let detections = deployed.detect(&sample.input, sample.frame, args.thresh, args.nms);
        print_detections(&deployed, &sample, &args, &detections);
    }
    if global.verbose > 0 {
        print_steps(&deployed, &profile);
    }
    let model = deployed.model();
    outln!(
        "{}: {} bytes, checked in {:.2} ms; arena {} bytes; {:.2} ms per image (median of {})",
        args.artefact.display(),
        bytes.len(),
        milliseconds(loaded),
        model.arena_bytes(),
        milliseconds(profile.whole),
        args.repeat,
    );
    Ok(())
}

/// Medians of a whole run and of every step.
struct Profile {
    whole: Duration,
    steps: Vec<Duration>,
}

/// Takes the time of every step.
struct StopWatch {
    started: Instant,
    /// By step, one entry a run.
    times: Vec<Vec<Duration>>,
}

impl Hook for StopWatch {
    fn before(&mut self, _step: &Step<'_>) {
        self.started = Instant::now();
    }

    fn after(&mut self, step: &Step<'_>, _output: Tensor<'_>) {
        self.times[step.index()].push(self.started.elapsed());
    }
}

fn profile(deployed: &Deployed<'_>, input: &[f32], repeat: usize) -> Result<Profile> {
    let image = deployed.quantise(input);
    let progress = secateur_base::progress::Progress::new("running", repeat as u64);
    let mut watch =
        StopWatch { started: Instant::now(), times: vec![Vec::new(); deployed.model().step_count()] };
    let whole = deployed.with_engine(|engine| {
        (0..repeat)
            .map(|_| {
                let started = Instant::now();
                engine.run(&image, &mut watch);
                let took = started.elapsed();
                progress.advance(1);
                took
            })
            .collect::<Vec<_>>()
    });
    let steps: Option<Vec<Duration>> = watch.times.into_iter().map(median).collect();
    match (median(whole), steps) {
        (Some(whole), Some(steps)) => Ok(Profile { whole, steps }),
        _ => Err(Error::new("a step of the artefact did not run")),
    }
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn print_detections(deployed: &Deployed<'_>, sample: &Sample, args: &Args, detections: &[Detection]) {
    let names = deployed.names();
    let (width, height) = (sample.size.0 as f32, sample.size.1 as f32);
    for found in detections {
        let b = &found.bbox;
        outln!(
            "{:<16} {:>3.0} %  left {:>5.0} top {:>5.0} width {:>5.0} height {:>5.0}",
            class_name(&names, found.class),
            100.0 * found.prob,
            (b.x - b.w / 2.0) * width,
            (b.y - b.h / 2.0) * height,
            b.w * width,
            b.h * height,
        );
    }
    outln!("{}: {} objects over {}", args.image.display(), detections.len(), args.thresh);
}

fn print_classes(deployed: &Deployed<'_>, scores: &[f32]) {
    let names = deployed.names();
    for class in top_k(scores, TOP) {
        outln!("{:<16} {:.4}", class_name(&names, class), scores[class]);
    }
}

fn print_steps(deployed: &Deployed<'_>, profile: &Profile) {
    outln!(
        "{:>4} {:>5}  {:<12} {:>14} {:>7} {:>9} {:>9} {:>8}",
        "step",
        "layer",
        "kernel",
        "output",
        "pitch",
        "MACs",
        "us",
        "GMAC/s"
    );
    for (step, time) in deployed.model().steps().zip(&profile.steps) {
        let (kernel, macs) = (kernel_name(&step), kernel_macs(&step));
        let microseconds = time.as_secs_f64() * 1e6;
        let output = step.output().map(|record| (record.shape(), record.pitch.get()));
        let ([h, w, c], pitch) = output.unwrap_or(([0; 3], 0));
        let rate = if macs == 0 { String::new() } else { format!("{:.2}", macs as f64 / microseconds / 1e3) };
        outln!(
            "{:>4} {:>5}  {kernel:<12} {:>14} {pitch:>7} {macs:>9} {microseconds:>9.1} {rate:>8}",
            step.index(),
            step.layer(),
            format!("{w}x{h}x{c}"),
        );
    }
}
