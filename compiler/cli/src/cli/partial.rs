//! `partial`: the first layers of a network, to begin a training with.

use std::path::PathBuf;

use secateur_base::{Error, Result, files, outln};
use secateur_frontend::darknet::{self, WeightsHeader};

use super::Global;
use super::subject::model_cfg;

/// Write the weights of a network's first layers, to begin a training with.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur partial yolov4.cfg yolov4.weights yolov4.conv.137 137
  secateur train my-yolov4.cfg yolov4.conv.137 --data parts.data

The file is the one that `darknet partial` writes: it has seen no image, and ends with layer N - 1. `train`
takes it for any .cfg that begins with the same layers; those that follow begin with random weights.")]
pub(crate) struct Args {
    /// The network's .cfg, or a config file with a [pruning] section.
    cfg: PathBuf,
    /// Its .weights, or those of a body of N layers or more.
    weights: PathBuf,
    /// The .weights to write.
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Number of layers.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    layers: u32,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (cfg, _) = model_cfg(&args.cfg)?;
    files::refuse_overwrite(&[&args.cfg, &cfg, &args.weights], &[&args.output])?;
    let graph = darknet::load(&cfg, None)?.graph;
    let (_, mut weights) = darknet::load_body(&graph, &args.weights)?;
    let (layers, held) = (args.layers as usize, weights.layers.len());
    if layers > held {
        return Err(Error::new("there are not so many layers")
            .file(&args.weights)
            .found(layers.to_string())
            .allowed(format!("1 to {held}")));
    }
    weights.layers.truncate(layers);
    let bytes = darknet::write_weights(&graph, WeightsHeader::default(), &weights);
    files::write_bytes(&args.output, &bytes)?;
    outln!("layers 0 to {} of {}", layers - 1, graph.nodes.len());
    outln!("{}", args.output.display());
    Ok(())
}
