//! `flash`: an artefact with its firmware on a real board, beside the same artefact on this machine.

use std::path::PathBuf;
use std::time::Duration;

use secateur_base::{Result, errln, outln};
use secateur_boards::{Board, Gdb, Image, Job, Link, StepReport, Workshop, check_family, expected, flash};
use secateur_codegen::target::Counter;
use secateur_data::Sample;
use secateur_deploy::{Deployed, kernel_name, read_artefact};
use secateur_eval::{Detector, NMS_THRESH};

use super::Global;
use super::on_board::{self, Counts};
use super::subject::fraction;

/// What `--probe` names a server of GDB's protocol with.
const GDB: &str = "gdb:";

/// Write an artefact with its firmware to a board, run it there and compare every step with this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur compile net.int8 --board stm32f746g-disco -o net.sct
  secateur flash net.sct --board stm32f746g-disco --image photo.jpg --dry-run
  secateur flash net.sct --board stm32f746g-disco --image photo.jpg
  secateur flash net.sct --board mps2-an386 --probe gdb:localhost:1234

What the board's flash held is lost. Everything that is written is read back; then the firmware
runs the image, and the CRC-32 of every step's output is compared with this machine's.

A debug probe needs a secateur that was built with `--features probe`. gdb:HOST:PORT is QEMU,
started with `-S -gdb tcp::PORT`. It was tried in QEMU alone, on no board.")]
pub(crate) struct Args {
    /// The artefact that `compile --board` wrote (.sct).
    artefact: PathBuf,
    /// A known board's name or a board file (.toml).
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// An image (JPEG, PNG or BMP) [default: grey].
    #[arg(long)]
    image: Option<PathBuf>,
    /// The debug probe, as `secateur probe list` writes it, or gdb:HOST:PORT [default: the only probe].
    #[arg(long, value_name = "SELECTOR")]
    probe: Option<String>,
    /// Build the firmware, and say what would be written where; touch no board.
    #[arg(long)]
    dry_run: bool,
    /// Detections need a score above this.
    #[arg(long, default_value_t = 0.25, value_parser = fraction)]
    thresh: f32,
    /// Non-maximum suppression: two boxes of a class with an IoU above this are one object.
    #[arg(long, default_value_t = NMS_THRESH, value_parser = fraction)]
    nms: f32,
    /// Give up on a program after so long.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time_limit: u32,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let board = Board::load(&args.board)?;
    check_family(&board)?;
    let bytes = read_artefact(&args.artefact)?;
    let deployed = Deployed::new(&bytes, &args.artefact)?;
    let (image, frame) = input(&args, &deployed)?;
    let job = on_board::job(&bytes, &image, frame, [args.thresh, args.nms]);
    // Before anything is built: it may not be there.
    let link = if args.dry_run { None } else { Some(link(&board, args.probe.as_deref())?) };
    let building = || errln!("building the program of {} …", board.name);
    let program = Workshop::of_user()?.build(&board, building)?;
    let contents = Image::new(&board, &program, &job)?;
    let Some(mut link) = link else { return announce(&args, &board, &deployed, &contents, &job) };
    let limit = Duration::from_secs(args.time_limit.into());
    let report = flash(link.as_mut(), &board, &contents, limit, |step| errln!("{step}"))?;
    // An emulator's counters say nothing unless it counts instructions, as `run --on` makes it do.
    let is_counted = board.emulator.is_none()
        && board.firmware.is_some_and(|firmware| firmware.counter == Counter::Cycles);
    let count = |step: &StepReport| Counts { counted: step.ticks.into(), expected: None };
    let counts: Option<Vec<Counts>> = is_counted.then(|| report.steps.iter().map(count).collect());
    let remark = match counts {
        Some(_) => "cycles are the core's own",
        None => "no cycles are counted",
    };
    let counts = counts.as_deref().map(|counts| ("cycles", counts));
    on_board::conclude(&board.name, &deployed, &job, &report, counts, remark)?;
    if !deployed.layout().heads.is_empty() {
        outln!("{} objects over {}, as on this machine", report.detections.len(), args.thresh);
    }
    Ok(())
}

/// The image's codes, and the columns and rows of the network's input that it covers.
fn input(args: &Args, deployed: &Deployed<'_>) -> Result<(Vec<i8>, [usize; 2])> {
    let Some(path) = &args.image else {
        let [h, w, c] = deployed.model().input_shape();
        return Ok((vec![0; h * w * c], [w, h]));
    };
    let sample = Sample::load(path, deployed.input(), deployed.fit())?;
    let (w, h) = sample.frame.inner;
    Ok((deployed.quantise(&sample.input), [w, h]))
}

/// Says what would be written where, and what would be compared.
fn announce(args: &Args, board: &Board, deployed: &Deployed<'_>, image: &Image, job: &Job<'_>) -> Result<()> {
    let chip = board.chip.as_deref().unwrap_or("none: an emulator's board");
    outln!("board {}, chip for probe-rs: {chip}", board.name);
    outln!("{:<16} {:>10} {:>10}", "section", "address", "bytes");
    for part in &image.parts {
        outln!("{:<16} {:>#010x} {:>10}", part.name, part.address, part.bytes.len());
    }
    outln!("{:<16} {:>10} {:>10}", "all", "", image.len());
    let report = expected(job)?;
    outln!("{:>4} {:>5}  {:<13} {:>11}", "step", "layer", "kernel", "host CRC-32");
    for (step, here) in deployed.model().steps().zip(&report.steps) {
        outln!(
            "{:>4} {:>5}  {:<13} {:>11}",
            here.index,
            here.layer,
            kernel_name(&step),
            format!("{:08x}", here.crc)
        );
    }
    let by = args.probe.as_deref().unwrap_or("the only debug probe");
    outln!(
        "nothing was written; without --dry-run it would go to {by}, and {} CRCs be compared",
        report.steps.len()
    );
    Ok(())
}

fn link(board: &Board, selector: Option<&str>) -> Result<Box<dyn Link>> {
    match selector.and_then(|selector| selector.strip_prefix(GDB)) {
        Some(address) => Ok(Box::new(Gdb::connect(address)?)),
        None => probe(board, selector),
    }
}

#[cfg(feature = "probe")]
fn probe(board: &Board, selector: Option<&str>) -> Result<Box<dyn Link>> {
    Ok(Box::new(secateur_boards::Probe::open(board, selector)?))
}

#[cfg(not(feature = "probe"))]
fn probe(_: &Board, _: Option<&str>) -> Result<Box<dyn Link>> {
    Err(super::probe::missing())
}
