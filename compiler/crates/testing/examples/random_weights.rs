//! Random weights for a cfg, for what follows from shapes alone: `random_weights CFG OUT [--seed N]`.
//!
//! Uniform numbers of sizes that keep activations near 1; the same seed gives the same file.

use std::path::PathBuf;

use clap::Parser;
use secateur_base::files;
use secateur_frontend::darknet::{self, WeightsHeader, write_weights};
use secateur_testing::random_weights;

#[derive(Parser)]
struct Args {
    cfg: PathBuf,
    weights: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> miette::Result<()> {
    let args = Args::parse();
    let graph = darknet::load(&args.cfg, None)?.graph;
    let bytes = write_weights(&graph, WeightsHeader::default(), &random_weights(args.seed, &graph));
    files::write_bytes(&args.weights, &bytes)?;
    println!("{}: {} bytes", args.weights.display(), bytes.len());
    Ok(())
}
