//! `stat`: operations and parameters of every layer, as the Darknet pruner prints them.

use std::path::PathBuf;

use secateur_base::terminal::print;
use secateur_base::{Result, outln};
use secateur_frontend::darknet;
use secateur_ir::{self as graph, LayerCost};
use secateur_report::to_json;
use serde::Serialize;

use super::Global;
use super::subject::model_cfg;

/// Count operations and parameters layer by layer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur stat yolov3-tiny.cfg
  secateur stat yolov3-tiny.cfg --json
  secateur stat main.cfg        (the closed pruner's config file)

Operations are two for each multiply-accumulate and one for each output, over convolutional,
deconvolutional and connected layers; parameters are weights and biases, batch norm folded.")]
pub(crate) struct Args {
    /// The network's .cfg, or a config file with a [pruning] section.
    cfg: PathBuf,
    /// Print JSON instead: every layer and the total.
    #[arg(long)]
    json: bool,
}

/// The JSON of `stat`.
#[derive(Serialize)]
struct Report {
    layers: Vec<Layer>,
    total: LayerCost,
}

#[derive(Serialize)]
struct Layer {
    layer: usize,
    r#type: &'static str,
    #[serde(flatten)]
    cost: LayerCost,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let (cfg, _) = model_cfg(&args.cfg)?;
    let graph = darknet::load(&cfg, None)?.graph;
    let costs = graph::stat(&graph);
    let total: LayerCost = costs.iter().copied().sum();
    if args.json {
        let nodes = graph.nodes.iter().zip(&costs).enumerate();
        let layers = nodes.map(|(layer, (node, &cost))| Layer { layer, r#type: node.op.name(), cost });
        print(format_args!("{}", to_json(&Report { layers: layers.collect(), total })?));
        return Ok(());
    }
    for (layer, cost) in costs.iter().enumerate().filter(|(_, cost)| cost.ops > 0 || cost.params > 0) {
        outln!("layer {layer}, ops:{}, params:{}", cost.ops, cost.params);
    }
    outln!("Total operations: {}", total.ops);
    outln!("Total parameters: {}", total.params);
    outln!("Total multiply-accumulates: {}", total.macs);
    Ok(())
}
