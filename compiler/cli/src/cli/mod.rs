//! The command line: one file a verb; raw arguments become a checked job before any work starts.

use clap::{Parser, Subcommand};
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
mod info;
mod map;
mod models;
mod overview;
mod permute;
mod pictures;
mod prune;
mod pruning;
mod quantize;
mod recipe;
mod run;
mod sim;
mod stat;
mod steps;
mod subject;
mod transform;

const EXAMPLES: &str = "\
Examples:
  secateur models get yolo-fastest-1.1
  secateur info models/yolo-fastest-1.1/model.cfg
  secateur build configs/recipes/yolo-fastest-1.1.toml
  secateur detect out/yolo-fastest-1.1/model.sct photo.jpg --out found

Every verb has its own --help with examples. Exit codes: 0 done, 1 failed, 2 wrong usage.";

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
    /// Worker threads [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
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
    /// Measure accuracy on labelled pictures as Darknet does (mAP).
    Map(map::Args),
    /// Find objects in pictures and draw them.
    Detect(detect::Args),
    /// Write every layer's output as .npy.
    Dump(dump::Args),
    /// Measure how sensitive each channel group is to pruning.
    Ana(ana::Args),
    /// Reorder channels so that weights of little use meet in the accelerator's vectors.
    Permute(permute::Args),
    /// Choose the channels to remove, within an accuracy budget.
    Prune(prune::Args),
    /// Cut the removed channels out of cfg and weights.
    Transform(transform::Args),
    /// Turn a float network into an int8 one.
    Quantize(quantize::Args),
    /// Pack an int8 network into an artefact for a target.
    Compile(compile::Args),
    /// List the commands of an artefact's accelerator program.
    Disasm(disasm::Args),
    /// Run an artefact on a picture with the integer runtime.
    Run(run::Args),
    /// Run an artefact's accelerator program on a picture, in simulation, against the runtime.
    Sim(sim::Args),
    /// Write a test bench of a frame, or the accelerator's generated files.
    Emit(emit::Args),
    /// Do everything that a recipe says, reusing finished steps.
    Build(build::Args),
    /// List known models, or get one with its checksums verified.
    Models(models::Args),
    /// Print a shell completion script.
    Completions(completions::Args),
}

impl Cli {
    pub(crate) fn execute(self) -> Result<()> {
        let global = self.global;
        start_logging(global.verbose);
        if let Some(threads) = global.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
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
            Command::Transform(args) => transform::run(args, global),
            Command::Quantize(args) => quantize::run(args, global),
            Command::Compile(args) => compile::run(args, global),
            Command::Disasm(args) => disasm::run(args, global),
            Command::Run(args) => run::run(args, global),
            Command::Sim(args) => sim::run(args, global),
            Command::Emit(args) => emit::run(args, global),
            Command::Build(args) => build::run(args, global),
            Command::Models(args) => models::run(args, global),
            Command::Completions(args) => completions::run(args, global),
        }
    }
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "secateur=info",
        _ => "secateur=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
