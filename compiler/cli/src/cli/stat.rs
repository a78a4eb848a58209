//! `stat`: operations and parameters of every layer, as the Darknet pruner prints them.

use std::path::PathBuf;

use secateur_base::Result;
use secateur_frontend::darknet;
use secateur_ir::{self as graph, LayerCost};

use super::Global;

/// Count operations and parameters layer by layer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur stat yolov3-tiny.cfg
  secateur stat yolov3-tiny.cfg --json

Operations are two for each multiply-accumulate and one for each output, over convolutional,
deconvolutional and connected layers; parameters are weights and biases, batch norm folded.")]
pub(crate) struct Args {
    /// The network's .cfg.
    cfg: PathBuf,
    /// Print JSON instead: every layer and the total.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    let graph = darknet::load(&args.cfg, None)?.graph;
    let costs = graph::stat(&graph);
    let total: LayerCost = costs.iter().copied().sum();
    if args.json {
        let layers: Vec<_> = graph
            .nodes
            .iter()
            .zip(&costs)
            .enumerate()
            .map(|(layer, (node, cost))| {
                serde_json::json!({ "layer": layer, "type": node.op.name(), "macs": cost.macs, "ops": cost.ops, "params": cost.params })
            })
            .collect();
        println!("{:#}", serde_json::json!({ "layers": layers, "total": total }));
        return Ok(());
    }
    for (layer, cost) in costs.iter().enumerate().filter(|(_, cost)| cost.ops > 0 || cost.params > 0) {
        println!("layer {layer}, ops:{}, params:{}", cost.ops, cost.params);
    }
    println!("Total operations: {}", total.ops);
    println!("Total parameters: {}", total.params);
    println!("Total multiply-accumulates: {}", total.macs);
    Ok(())
}
