//! `permute`: channels in an order that groups unimportant weights into vectors.

use std::path::PathBuf;

use secateur_base::{Result, files, outln};
use secateur_frontend::darknet;
use secateur_prune::Order;

use super::Global;

/// Group unimportant weights into the accelerator's SIMD vectors by reordering channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur permute model.cfg model.weights -o permuted.weights
  secateur prune model.cfg permuted.weights --granularity vector:8 --data coco.data --budget 0.01

The network computes the same, and its .cfg stays: only the order of channels changes. The inputs of a
head keep theirs. Do this before `ana` and `prune`.")]
pub(crate) struct Args {
    /// The network's .cfg.
    cfg: PathBuf,
    /// Its weights.
    weights: PathBuf,
    /// Output channels of a vector: the accelerator's rows.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    rows: u8,
    /// File of the reordered weights.
    #[arg(short, long, value_name = "FILE", default_value = "permuted.weights")]
    output: PathBuf,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    files::refuse_overwrite(&[&args.cfg, &args.weights], &[&args.output])?;
    let network = darknet::load(&args.cfg, Some(&args.weights))?;
    let weights = network.weights()?;
    let order = Order::choose(&network.graph, weights, args.rows.into());
    let reordered = order.apply(&network.graph, weights);
    files::write_bytes(&args.output, &darknet::write_weights(&network.graph, network.header, &reordered))?;
    outln!("{} channels moved\n{}", order.moved(), args.output.display());
    Ok(())
}
