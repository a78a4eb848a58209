//! `info`: a network layer by layer.

use std::path::PathBuf;

use secateur_base::terminal::print;
use secateur_base::{Result, outln};
use secateur_deploy::is_artefact;
use secateur_frontend::darknet::{self, Network};
use secateur_frontend::{Framework, framework};
use secateur_ir::{self as graph, Graph, LayerCost, Op, Source};

use super::subject::model_cfg;
use super::{Global, artefact, tensors};

/// Show a network layer by layer.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur info yolov3-tiny.cfg
  secateur info yolov3-tiny.cfg yolov3-tiny.weights
  secateur info yolov3-tiny.cfg --ir
  secateur info yolov3-tiny.sct
  secateur info yolov8n.onnx
  secateur info yolov8n.onnx --input-shape images=1,3,320,320
  secateur info deploy.prototxt net.caffemodel
  secateur info graph.pbtxt model.ckpt

With weights, their file is checked against the cfg too.")]
pub(crate) struct Args {
    /// The network's .cfg, a config file with a [pruning] section, an artefact, an ONNX model, a prototxt of Caffe, or
    /// a graph of TensorFlow.
    #[arg(value_name = "NETWORK")]
    cfg: PathBuf,
    /// Its trained .weights, its .caffemodel, or its checkpoint.
    weights: Option<PathBuf>,
    /// Print the intermediate representation instead of the table.
    #[arg(long)]
    ir: bool,
    /// Shape of an input of another framework's network, which may leave dimensions open.
    #[arg(long, value_name = "NAME=SIZE,SIZE,…", value_parser = tensors::named_shape)]
    input_shape: Vec<(String, Vec<usize>)>,
}

pub(crate) fn run(args: Args, _global: &Global) -> Result<()> {
    if is_artefact(&args.cfg) {
        return artefact::print(&args.cfg);
    }
    match framework(&args.cfg) {
        Framework::Darknet => {}
        other => return tensors::print(other, &args.cfg, args.weights.as_deref(), args.input_shape),
    }
    let (cfg, _) = model_cfg(&args.cfg)?;
    let network = darknet::load(&cfg, args.weights.as_deref())?;
    if args.ir {
        print(format_args!("{}", graph::dump(&network.graph)));
        return Ok(());
    }
    print_table(&network.graph);
    print_weights(&network);
    Ok(())
}

fn print_table(graph: &Graph) {
    outln!(
        "{:>5}  {:<15} {:>7}  {:<12} {:>18}   {:<18} {:>9} {:>9}",
        "layer",
        "type",
        "filters",
        "size/stride",
        "input",
        "output",
        "ops",
        "params"
    );
    let costs = graph::stat(graph);
    for (layer, (node, cost)) in graph.nodes.iter().zip(&costs).enumerate() {
        let filters = match &node.op {
            Op::Conv(conv) | Op::Deconv(conv) => conv.filters.to_string(),
            Op::Connected(connected) => connected.outputs.to_string(),
            _ => String::new(),
        };
        let line = format!(
            "{layer:>5}  {:<15} {filters:>7}  {:<12} {:>18} → {:<18} {:>9} {:>9}",
            node.op.name(),
            window(&node.op),
            inputs(graph, layer),
            node.shape.to_string(),
            human(cost.ops),
            human(cost.params)
        );
        outln!("{}", line.trim_end());
    }
    let total: LayerCost = costs.iter().copied().sum();
    outln!(
        "{} layers, input {}: {}operations ({}multiply-accumulates), {}parameters",
        graph.nodes.len(),
        graph.input,
        unit(total.ops),
        unit(total.macs),
        unit(total.params)
    );
}

/// Window and stride; groups or dilation where there are any.
fn window(op: &Op) -> String {
    // Columns before rows, as Darknet prints sizes.
    let sizes = |[rows, columns]: [usize; 2], [down, across]: [usize; 2]| match down == across {
        true => format!("{columns}×{rows}/{across}"),
        false => format!("{columns}×{rows}/{across}×{down}"),
    };
    match op {
        Op::Conv(conv) | Op::Deconv(conv) => {
            let mut text = sizes(conv.kernel, conv.stride);
            if conv.groups > 1 {
                text += &format!(" g{}", conv.groups);
            }
            if conv.dilation != [1; 2] {
                text += &format!(" d{}", conv.dilation[0].max(conv.dilation[1]));
            }
            text
        }
        Op::MaxPool(pool) if pool.depth.is_some() => "depth".to_owned(),
        Op::MaxPool(pool) | Op::LocalAvgPool(pool) => sizes(pool.kernel, pool.stride),
        Op::Upsample(upsample) if upsample.reverse => format!("/{}", upsample.stride),
        Op::Upsample(upsample) => format!("×{}", upsample.stride),
        Op::Reorg(reorg) if reorg.reverse => format!("×{}", reorg.stride),
        Op::Reorg(reorg) => format!("/{}", reorg.stride),
        Op::Route(route) if route.groups > 1 => format!("{}/{}", route.group_id, route.groups),
        Op::Yolo(yolo) => format!("{} boxes", yolo.mask.len()),
        Op::Region(region) => format!("{} boxes", region.anchors.len()),
        Op::Detection(detection) => format!("{} boxes", detection.num),
        _ => String::new(),
    }
}

/// The input's shape, or the layers' numbers where there are several or another than the one above.
fn inputs(graph: &Graph, layer: usize) -> String {
    match graph.nodes[layer].inputs[..] {
        [Source::Image] => graph.input.to_string(),
        [Source::Layer(from)] if from + 1 == layer => graph.nodes[from].shape.to_string(),
        ref inputs => {
            let numbers: Vec<String> = inputs
                .iter()
                .map(|input| match input {
                    Source::Image => "image".to_owned(),
                    Source::Layer(from) => from.to_string(),
                })
                .collect();
            numbers.join(", ")
        }
    }
}

fn print_weights(network: &Network) {
    if let Some(path) = &network.weights_path {
        let header = network.header;
        outln!(
            "{}: version {}.{}.{}, trained on {} images, {} bytes, as the cfg says",
            path.display(),
            header.major,
            header.minor,
            header.revision,
            header.seen,
            darknet::file_size(&network.graph, header)
        );
    }
}

/// Three digits and a unit; nothing for 0.
pub(super) fn human(count: u64) -> String {
    if count == 0 { String::new() } else { unit(count).trim_end().to_owned() }
}

/// Three digits, a space and k, M or G.
pub(super) fn unit(count: u64) -> String {
    let mut value = count as f64;
    let mut prefix = "";
    for next in ["k", "M", "G", "T"] {
        // 999.5 would print as 1000.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        prefix = next;
    }
    let digits = match value {
        _ if prefix.is_empty() => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {prefix}")
}
