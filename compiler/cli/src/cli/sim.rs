//! `sim`: a frame of an artefact's accelerator program, in simulation, against the runtime.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_base::progress::Progress;
use secateur_base::terminal::print;
use secateur_base::{Error, Result, files, outln};
use secateur_data::Sample;
use secateur_deploy::sim::{self, SimulatedFrame};
use secateur_deploy::{Deployed, read_artefact};
use secateur_eval::Detector;
use secateur_runtime::npu::Placement;
use secateur_sim::Simulator;
use secateur_sim::emulator::Emulator;

use super::{Global, on_system};

/// Simulate an artefact's accelerator program on an image and compare it with the runtime.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur sim yolo-fastest.sct dog.jpg
  secateur sim yolo-fastest.sct dog.jpg --stalls 30 --timeline frame.svg
  secateur sim yolo-fastest.sct dog.jpg --waves frame.fst --window 12000..13000
  secateur sim yolo-fastest.sct dog.jpg --emulate
  secateur sim yolo-fastest.sct dog.jpg --soc ulx3s-85f

With -v every command's cycles are listed.
Every byte that the accelerator computes is compared with the integer runtime. The RTL runs under
Verilator if secateur was built with `--features sim`; --emulate runs the same commands without time.
--soc simulates a whole system: processor, memory controller and accelerator, with the firmware that
a board runs. It is built when it is first used, which needs Python 3, Verilator, a C++ compiler and
a Rust tool chain.")]
pub(crate) struct Args {
    /// The artefact that `compile --target npu-…` wrote (.sct).
    artefact: PathBuf,
    /// An image (JPEG, PNG or BMP).
    image: PathBuf,
    /// Run the functional emulator instead of the RTL: no cycles.
    #[arg(long, conflicts_with_all = ["timeline", "waves", "latency", "efficiency", "stalls"])]
    emulate: bool,
    /// Run the firmware on a whole system, of this target.
    #[arg(long, value_name = "TARGET", conflicts_with_all = ["emulate", "timeline", "waves", "latency", "efficiency", "stalls"])]
    soc: Option<String>,
    /// Cycles of the whole system after which it counts as silent.
    #[arg(long, value_name = "CYCLES", default_value_t = 2_000_000_000, requires = "soc")]
    cycles: u64,
    /// Draw what LOAD, EXEC and STORE did when (.svg).
    #[arg(long, value_name = "FILE.svg")]
    timeline: Option<PathBuf>,
    /// Write waves (.fst), of the whole frame or of --window.
    #[arg(long, value_name = "FILE.fst")]
    waves: Option<PathBuf>,
    /// Cycles whose waves are written.
    #[arg(long, value_name = "A..B", requires = "waves", value_parser = window)]
    window: Option<Range<u64>>,
    /// Cycles from an address to its first data.
    #[arg(long, default_value_t = 40, value_name = "CYCLES", value_parser = clap::value_parser!(u32).range(..=10_000))]
    latency: u32,
    /// Beats of 8 bytes in a hundred cycles.
    #[arg(long, default_value_t = 70, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    efficiency: u32,
    /// Cycles in a hundred in which each channel of the bus stalls at random.
    #[arg(long, default_value_t = 0, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(..=95))]
    stalls: u32,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let outputs: Vec<&Path> = args.timeline.iter().chain(&args.waves).map(PathBuf::as_path).collect();
    files::refuse_overwrite(&[&args.artefact, &args.image], &outputs)?;
    let bytes = read_artefact(&args.artefact)?;
    let deployed = Deployed::new(&bytes, &args.artefact)?;
    let sample = Sample::load(&args.image, deployed.input(), deployed.fit())?;
    if let Some(target) = &args.soc {
        return on_system::run(target, &bytes, &args.artefact, &deployed, &sample, args.cycles);
    }
    let int8 = deployed.quantise(&sample.input);
    let program = sim::program(&deployed).map_err(|e| e.file(&args.artefact))?;
    let started = Instant::now();
    let frame = if args.emulate {
        let (memory, placement) = sim::memory(&program);
        let mut emulator = Emulator::new(program.parameters(), memory);
        watch(&mut emulator, &deployed, placement, &int8)?
    } else {
        rtl(&args, global, &deployed, &int8)?
    };
    let seconds = started.elapsed().as_secs_f64();
    if !args.emulate {
        let parameters = program.parameters();
        let multipliers = u64::from(parameters.rows) * u64::from(parameters.lanes);
        print(format_args!("{}", sim::print(&frame, &sim::layers(&frame, &deployed), multipliers)));
        if global.verbose > 0 {
            print_commands(&frame);
        }
        let cycles = f64::from(frame.counters.cycles);
        outln!("simulated in {seconds:.1} s, {:.0} k cycles/s", cycles / seconds / 1e3);
        if let Some(path) = &args.timeline {
            files::write_bytes(path, sim::svg(&frame).as_bytes())?;
        }
    }
    verdict(&args, &frame)
}

/// Prints every command's cycles.
fn print_commands(frame: &SimulatedFrame) {
    outln!(
        "{:<5} {:>5} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "queue",
        "layer",
        "start",
        "end",
        "predicted",
        "end",
        "bytes"
    );
    for command in &frame.commands {
        let (start, end) = command.predicted;
        let queue = format!("{:?}", command.queue).to_uppercase();
        outln!(
            "{queue:<5} {:>5} {:>9} {:>9} {start:>9} {end:>9} {:>8}",
            command.layer,
            command.start,
            command.end,
            command.bytes
        );
    }
}

/// Says what was compared; the first difference is an error.
fn verdict(args: &Args, frame: &SimulatedFrame) -> Result<()> {
    if let Some(mismatch) = &frame.mismatch {
        let (start, end) = mismatch.window;
        let error = Error::new(format!("{mismatch}")).file(&args.artefact);
        let waves = format!("--waves frame.fst --window {}..{}", start.saturating_sub(100), end + 100);
        return Err(if args.emulate {
            error.help("the compiler's program is wrong: the emulator is the reference model")
        } else {
            error.help(format!("see whether --emulate agrees; look at it with {waves}"))
        });
    }
    let visible = frame.visible.iter().filter(|&&seen| seen).count();
    outln!(
        "{} bytes of {visible} layers compared with the runtime, 0 differ; {} layers have no on-chip tensor \
         of their own: fused, views, heads, or the processor's",
        frame.compared,
        frame.visible.len() - visible,
    );
    Ok(())
}

/// A frame with progress shown.
fn watch<S: Simulator>(
    simulator: &mut S,
    deployed: &Deployed<'_>,
    placement: Placement,
    int8: &[i8],
) -> Result<SimulatedFrame> {
    let cycles = sim::program(deployed)?.header().cycles.get();
    let progress = Progress::new("simulating", cycles.into());
    let mut shown = 0;
    sim::frame(simulator, deployed, placement, int8, |cycle| {
        progress.advance(cycle.saturating_sub(shown));
        shown = shown.max(cycle);
    })
}

#[cfg(feature = "sim")]
fn rtl(args: &Args, global: &Global, deployed: &Deployed<'_>, int8: &[i8]) -> Result<SimulatedFrame> {
    use secateur_sim::PARAMETERS;
    use secateur_sim::rtl::{Rtl, Timing};

    let program = sim::program(deployed)?;
    if program.parameters() != PARAMETERS {
        return Err(Error::new("the simulated RTL has other sizes than the artefact was compiled for")
            .file(&args.artefact)
            .found(program.parameters().to_string())
            .allowed(PARAMETERS.to_string())
            .help("build secateur with NPU_TARGET set to the artefact's target, or use --emulate"));
    }
    let (memory, placement) = sim::memory(&program);
    let timing =
        Timing { latency: args.latency, efficiency: args.efficiency, stalls: args.stalls, seed: global.seed };
    let mut rtl = Rtl::new(memory, timing);
    if let Some(path) = &args.waves {
        let window = args.window.clone().unwrap_or(0..u64::MAX);
        rtl.record(path, window).map_err(|e| Error::io("write", path, &e))?;
    }
    watch(&mut rtl, deployed, placement, int8)
}

#[cfg(not(feature = "sim"))]
fn rtl(_: &Args, _: &Global, _: &Deployed<'_>, _: &[i8]) -> Result<SimulatedFrame> {
    Err(Error::new("this secateur was built without the RTL simulation")
        .help("install Verilator and build with `cargo build -p secateur --features sim`, or use --emulate"))
}

/// Parses `A..B`.
fn window(text: &str) -> std::result::Result<Range<u64>, String> {
    let wrong = || format!("`{text}` is no range of cycles such as 12000..13000");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let (start, end) = (start.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if start < end { Ok(start..end) } else { Err(wrong()) }
}
