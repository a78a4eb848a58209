//! The command line: one file a verb; raw arguments become a checked job before any work starts.

use clap::{CommandFactory, Parser, Subcommand};
use secateur_base::terminal::eprint;
use secateur_base::{Error, Result};

mod ana;
mod artefact;
mod build;
mod compile;
mod completions;
mod detect;
mod disasm;
mod dump;
mod emit;
mod flash;
mod images;
mod info;
mod int8;
mod map;
mod models;
mod on_board;
mod on_system;
mod partial;
mod permute;
mod probe;
mod prune;
mod pruning;
mod quantize;
mod recalibrate;
mod run;
mod scenes;
mod sim;
mod soc;
mod stat;
mod subject;
mod targets;
mod tensors;
#[cfg(test)]
mod tests;
mod train;
mod transform;

const EXAMPLES: &str = "\
Examples:
  secateur models get yolo-fastest-1.1
  secateur info models/yolo-fastest-1.1/model.cfg
  secateur build configs/recipes/yolo-fastest-1.1.toml
  secateur detect out/yolo-fastest-1.1/model.sct photo.jpg --out found

Every verb has its own --help with examples. Exit codes: 0 done, 1 failed, 2 wrong usage,
70 internal error (please report it).";

/// Prunes, quantises and compiles Darknet networks for small processors and FPGAs.
#[derive(Debug, Parser)]
#[command(
    name = "secateur",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every verb understands.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// Worker threads, at most four for each core [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Seed of everything that draws random numbers.
    #[arg(long, global = true, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Say more (-v: steps, -vv: details).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a network layer by layer.
    Info(info::Args),
    /// Count operations and parameters layer by layer.
    Stat(stat::Args),
    /// Measure accuracy on labelled images as Darknet does (mAP).
    Map(map::Args),
    /// Find objects in images and draw them.
    Detect(detect::Args),
    /// Write every layer's output as .npy.
    Dump(dump::Args),
    /// Measure how sensitive each channel group is to pruning.
    Ana(ana::Args),
    /// Group unimportant weights into the accelerator's SIMD vectors by reordering channels.
    Permute(permute::Args),
    /// Choose the channels to remove, within an accuracy budget.
    Prune(prune::Args),
    /// Train a network from scratch, from weights, or from a body with a new head, as its cfg says.
    Train(train::Args),
    /// Train a trained or pruned network further, in few epochs.
    Finetune(train::Args),
    /// Write the weights of a network's first layers, to begin a training with.
    Partial(partial::Args),
    /// Remove the chosen channels from cfg and weights.
    Transform(transform::Args),
    /// Recompute the batch-norm statistics of a network whose weights or channels have changed.
    Recalibrate(recalibrate::Args),
    /// Turn a float network into an int8 one.
    Quantize(quantize::Args),
    /// Pack an int8 network into an artefact for a target.
    Compile(compile::Args),
    /// List the commands of an artefact's accelerator program.
    Disasm(disasm::Args),
    /// Run an artefact on an image with the integer runtime, here or on an emulated board.
    Run(run::Args),
    /// Write an artefact with its firmware to a board, run it there and compare every step with this machine.
    Flash(flash::Args),
    /// List the debug probes that `flash` can use.
    Probe(probe::Args),
    /// Simulate an artefact's accelerator program on an image and compare it with the runtime.
    Sim(sim::Args),
    /// Build a whole system for a board with an FPGA.
    Soc(soc::Args),
    /// Write a test bench of a frame, or the accelerator's generated sources.
    Emit(emit::Args),
    /// Build an artefact as a recipe describes it, reusing finished steps.
    Build(build::Args),
    /// Draw labelled images of parts on a conveyor belt, to train and measure detectors on.
    Scenes(scenes::Args),
    /// List known models, or get one with its checksums verified.
    Models(models::Args),
    /// List the targets and boards that artefacts are compiled for, or show one.
    Targets(targets::Args),
    /// Print a shell completion script.
    Completions(completions::Args),
}

/// Threads for each core; more only wait for one another.
const THREADS_PER_CORE: usize = 4;

fn threads(text: &str) -> std::result::Result<usize, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = THREADS_PER_CORE * cores.max(4);
    match text.parse() {
        Ok(threads) if (1..=most).contains(&threads) => Ok(threads),
        _ => Err(format!("1 to {most} threads are allowed on this machine")),
    }
}

impl Cli {
    /// Parses the process's arguments.
    ///
    /// # Errors
    /// Wrong usage; help and version, which are printed the same way.
    pub(crate) fn parse_checked() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        let (verb, checked) = match &cli.command {
            Command::Detect(args) => ("detect", args.check()),
            Command::Dump(args) => ("dump", args.check()),
            _ => return Ok(cli),
        };
        checked.map(|()| cli).map_err(|message| {
            let mut command = Self::command();
            command.build();
            let verb = command.find_subcommand_mut(verb).expect("the verb was parsed");
            verb.error(clap::error::ErrorKind::WrongNumberOfValues, message)
        })
    }

    pub(crate) fn execute(self) -> Result<()> {
        let global = self.global;
        start_logging(global.verbose);
        if let Some(threads) = global.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .map_err(|e| Error::new(format!("cannot start {threads} threads: {e}")))?;
        }
        self.command.run(&global)
    }
}

impl Command {
    fn run(self, global: &Global) -> Result<()> {
        match self {
            Command::Info(args) => info::run(args, global),
            Command::Stat(args) => stat::run(args, global),
            Command::Map(args) => map::run(args, global),
            Command::Detect(args) => detect::run(args, global),
            Command::Dump(args) => dump::run(args, global),
            Command::Ana(args) => ana::run(args, global),
            Command::Permute(args) => permute::run(args, global),
            Command::Prune(args) => prune::run(args, global),
            Command::Train(args) => train::run(args, train::Manner::Darknet, global),
            Command::Finetune(args) => train::run(args, train::Manner::Finetune, global),
            Command::Partial(args) => partial::run(args, global),
            Command::Transform(args) => transform::run(args, global),
            Command::Recalibrate(args) => recalibrate::run(args, global),
            Command::Quantize(args) => quantize::run(args, global),
            Command::Compile(args) => compile::run(args, global),
            Command::Disasm(args) => disasm::run(args, global),
            Command::Run(args) => run::run(args, global),
            Command::Flash(args) => flash::run(args, global),
            Command::Probe(args) => probe::run(args, global),
            Command::Sim(args) => sim::run(args, global),
            Command::Soc(args) => soc::run(args, global),
            Command::Emit(args) => emit::run(args, global),
            Command::Build(args) => build::run(args, global),
            Command::Scenes(args) => scenes::run(args, global),
            Command::Models(args) => models::run(args, global),
            Command::Targets(args) => targets::run(args, global),
            Command::Completions(args) => completions::run(args, global),
        }
    }
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        // The library of debug probes warns of each kind of probe that it does not find.
        0 => "warn,probe_rs=error",
        1 => "secateur=info",
        _ => "secateur=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(|| Log)
        .without_time()
        .init();
}

/// The standard error output, for log lines that may hold foreign text.
struct Log;

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        eprint(format_args!("{}", String::from_utf8_lossy(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
