//! Sections become [`Node`]s: options with Darknet's defaults, inputs by layer number, shapes inferred.

use std::sync::Arc;

use super::cfg::Cfg;
use super::heads;
use super::reader::{Reader, nearest};
use secateur_base::{Error, Result};
use secateur_ir::{
    Activation, Axis, Connected, Conv, Crop, Graph, LARGEST_SIDE, LARGEST_TENSOR, Node, Op, Origin, Padding,
    Pool, Reorg, Route, ScaleChannels, Shape, Shortcut, ShortcutWeights, Softmax, Source, Upsample,
    WeightsNormalization, check, infer,
};

/// More layers than any network has.
const MOST_LAYERS: usize = 10_000;
/// Elements of all feature maps together (4 GiB of floats).
const LARGEST_NETWORK: usize = 1 << 30;
/// Ranges of what counts and sizes may be.
const SIDE: std::ops::RangeInclusive<usize> = 1..=LARGEST_SIDE;
const PADDING: std::ops::RangeInclusive<usize> = 0..=LARGEST_SIDE;

/// Sections that Darknet knows and this tool does not run.
const UNSUPPORTED: &[&str] = &[
    "Gaussian_yolo",
    "activation",
    "contrastive",
    "conv_lstm",
    "crnn",
    "gru",
    "history",
    "implicit",
    "implicit_add",
    "implicit_mul",
    "local",
    "lrn",
    "lstm",
    "normalization",
    "rnn",
];
const SUPPORTED: &[&str] = &[
    "avgpool",
    "batchnorm",
    "connected",
    "convolutional",
    "cost",
    "crop",
    "deconvolutional",
    "detection",
    "dropout",
    "empty",
    "local_avgpool",
    "maxpool",
    "region",
    "reorg",
    "reorg3d",
    "route",
    "sam",
    "scale_channels",
    "shortcut",
    "softmax",
    "upsample",
    "yolo",
];

/// Builds the graph of a cfg and infers every shape.
///
/// # Errors
/// Unknown or unsupported sections and options, missing or impossible values, inputs that do not exist
/// yet, shapes that do not fit: each with its line, the layer's number, what was found and what may stand there.
pub fn build_graph(cfg: &Cfg) -> Result<Graph> {
    let net = Reader { cfg, section: cfg.net(), layer: None };
    let input = input_shape(&net)?;
    let mut graph = Graph { input, nodes: Vec::new(), letter_box: net.flag("letter_box")? };
    if cfg.layers().is_empty() {
        return Err(net
            .error("network has no layers")
            .help("add sections such as [convolutional] after [net]"));
    }
    let file = Arc::from(cfg.path());
    let mut elements = input.len();
    for (layer, section) in cfg.layers().iter().enumerate() {
        let reader = Reader { cfg, section, layer: Some(layer) };
        if layer == MOST_LAYERS {
            return Err(reader.error("too many layers").allowed(format!("at most {MOST_LAYERS}")));
        }
        let (op, inputs) = node(&reader, &graph)?;
        let shapes: Vec<Shape> = inputs.iter().map(|&source| graph.shape_of(source)).collect();
        let shape = infer(&op, &shapes).map_err(|error| reader.locate(error))?;
        elements += shape.len();
        if elements > LARGEST_NETWORK {
            return Err(reader
                .error("the feature maps up to here are too large together")
                .found(format!("{elements} elements"))
                .allowed(format!("at most {LARGEST_NETWORK}")));
        }
        let origin = Origin { file: Some(Arc::clone(&file)), line: Some(section.line), layer: Some(layer) };
        graph.nodes.push(Node { origin, ..Node::new(op, inputs, shape) });
    }
    Ok(graph)
}

fn input_shape(net: &Reader) -> Result<Shape> {
    let sides = ["channels", "height", "width"];
    if net.has("inputs") && !sides.iter().any(|side| net.has(side)) {
        return Ok(Shape::new(net.required("inputs", "", 1..=LARGEST_TENSOR)?, 1, 1));
    }
    let [c, h, w] = sides.map(|side| net.required(side, "", SIDE));
    let shape = Shape::new(c?, h?, w?);
    check(shape).map_err(|error| net.locate(error))?;
    Ok(shape)
}

/// One section's operator and inputs.
fn node(reader: &Reader, graph: &Graph) -> Result<(Op, Vec<Source>)> {
    let previous = match graph.nodes.len() {
        0 => Source::Image,
        n => Source::Layer(n - 1),
    };
    let with_from = |op: Op| -> Result<(Op, Vec<Source>)> {
        let from = sources(reader, "from")?;
        Ok((op, std::iter::once(previous).chain(from).collect()))
    };
    let op = match reader.section.name.as_str() {
        "conv" | "convolutional" => convolution(reader)?,
        "deconvolutional" => deconvolution(reader)?,
        "conn" | "connected" => Op::Connected(Connected {
            outputs: reader.required("output", "1", SIDE)?,
            batch_norm: reader.flag("batch_normalize")?,
            activation: reader.activation(Activation::Logistic)?,
        }),
        "batchnorm" => Op::BatchNorm(Activation::Linear),
        "max" | "maxpool" => {
            reader.refuse(&["antialiasing", "maxpool_zero_nonmax"])?;
            let depth = reader.flag("maxpool_depth")?;
            let depth = depth.then(|| reader.size("out_channels", 1, SIDE)).transpose()?;
            Op::MaxPool(Pool { depth, ..pooling(reader)? })
        }
        "local_avg" | "local_avgpool" => Op::LocalAvgPool(pooling(reader)?),
        "avg" | "avgpool" => Op::AvgPool,
        "upsample" => upsample(reader)?,
        "route" => {
            let groups = reader.size("groups", 1, SIDE)?;
            let group_id = reader.size("group_id", 0, PADDING)?;
            return Ok((Op::Route(Route { groups, group_id }), sources(reader, "layers")?));
        }
        "shortcut" => return with_from(shortcut(reader)?),
        "scale_channels" => {
            return with_from(Op::ScaleChannels(ScaleChannels {
                scale_wh: reader.flag("scale_wh")?,
                activation: reader.activation(Activation::Linear)?,
            }));
        }
        "sam" => return with_from(Op::Sam(reader.activation(Activation::Linear)?)),
        // Darknet's [empty] and [silence] pass their input on, as dropout does at inference.
        "dropout" | "empty" | "silence" => Op::Dropout,
        // The section [reorg] is the layer that Darknet's sources call reorg_old.
        "reorg" => reorg(reader, true)?,
        "reorg3d" => {
            reader.refuse(&["reverse"])?;
            reorg(reader, false)?
        }
        "soft" | "softmax" => {
            reader.refuse_any("tree")?;
            Op::Softmax(Softmax {
                groups: reader.size("groups", 1, SIDE)?,
                temperature: positive(reader, "temperature")?,
                axis: (reader.float("spatial", 0.0)? != 0.0).then_some(Axis::Channels),
            })
        }
        "yolo" => heads::yolo(reader)?,
        "region" => heads::region(reader)?,
        "detection" => heads::detection(reader)?,
        "crop" => Op::Crop(Crop {
            height: reader.required("crop_height", "1", SIDE)?,
            width: reader.required("crop_width", "1", SIDE)?,
            noadjust: reader.flag("noadjust")?,
        }),
        "cost" => Op::Cost,
        name => return Err(unknown_section(reader, name)),
    };
    Ok((op, vec![previous]))
}

fn unknown_section(reader: &Reader, name: &str) -> Error {
    if name == "net" || name == "network" {
        return reader.error("a second [net]").help("a cfg describes one network: remove this section");
    }
    let error = if UNSUPPORTED.contains(&name) {
        reader.error("this kind of layer is not supported")
    } else {
        reader.error("unknown section")
    };
    let help = match nearest(name, SUPPORTED.iter().copied()) {
        Some(near) => format!("is [{near}] meant?"),
        None => "replace the layer by supported ones, or remove it".to_owned(),
    };
    error.found(super::cfg::clip(&format!("[{name}]"))).allowed(SUPPORTED.join(", ")).help(help)
}

/// The layers that `key` names: absolute numbers, or negative ones counted back from here.
fn sources(reader: &Reader, key: &str) -> Result<Vec<Source>> {
    let here = reader.layer.unwrap_or(0) as i64;
    let numbers = reader.ints(key)?.ok_or_else(|| reader.missing(key, ""))?;
    numbers
        .into_iter()
        .map(|number| {
            let target = if number < 0 { here.saturating_add(number) } else { number };
            if (0..here).contains(&target) {
                return Ok(Source::Layer(target as usize));
            }
            let what = match target {
                _ if target == here => "layer reads its own output".to_owned(),
                ..0 => format!("there is no layer {target}"),
                _ => format!("layer {target} comes later: a layer reads only those above it"),
            };
            let error = reader.error_at(key, what);
            Err(match here {
                0 => error.allowed("nothing: no layer stands above the first"),
                _ => error.allowed(format!("0 to {}, or -1 to -{here}", here - 1)),
            }
            .help("layers are counted from 0 at the first section after [net]; [dropout] counts too"))
        })
        .collect()
}

/// `stride`, overridden by `stride_x` and `stride_y`: rows, columns.
fn strides(reader: &Reader) -> Result<[usize; 2]> {
    let stride = reader.size("stride", 1, SIDE)?;
    let columns = reader.size("stride_x", stride, SIDE)?;
    Ok([reader.size("stride_y", stride, SIDE)?, columns])
}

fn convolution(reader: &Reader) -> Result<Op> {
    reader.refuse_any("share_index")?;
    reader.refuse(&[
        "antialiasing",
        "binary",
        "coordconv",
        "dontload",
        "dontloadscales",
        "flipped",
        "rotate",
        "stretch",
        "stretch_sway",
        "sway",
        "xnor",
    ])?;
    let size = reader.size("size", 1, SIDE)?;
    let stride = strides(reader)?;
    let dilation = if size == 1 { 1 } else { reader.size("dilation", 1, SIDE)? };
    let pad = padding(reader, size)?;
    // Darknet sizes the output for an undilated window and pads by pad · dilation; both agree only
    // where pad is half the window.
    if dilation > 1 && pad != (size - 1) / 2 {
        return Err(reader
            .error_at("dilation", "dilation without matching padding writes outside Darknet's output")
            .allowed(format!("pad=1 and an odd size, or padding={}", (size - 1) / 2)));
    }
    Ok(Op::Conv(Conv {
        filters: reader.required("filters", "1", SIDE)?,
        groups: reader.size("groups", 1, PADDING)?.max(1),
        kernel: [size; 2],
        stride,
        dilation: [dilation; 2],
        padding: Padding::all(pad * dilation),
        batch_norm: reader.flag("batch_normalize")? || reader.flag("cbn")?,
        activation: reader.activation(Activation::Logistic)?,
    }))
}

fn deconvolution(reader: &Reader) -> Result<Op> {
    reader.refuse(&["dilation", "dontload", "dontloadscales", "flipped"])?;
    let size = reader.size("size", 1, SIDE)?;
    let stride = reader.size("stride", 1, SIDE)?;
    Ok(Op::Deconv(Conv {
        filters: reader.required("filters", "1", SIDE)?,
        groups: reader.size("groups", 1, 1..=1)?,
        stride: [stride; 2],
        padding: Padding::all(padding(reader, size)?),
        batch_norm: reader.flag("batch_normalize")?,
        activation: reader.activation(Activation::Logistic)?,
        ..Conv::square(1, size)
    }))
}

/// `pad=1` means half the window; `padding` counts only without it.
fn padding(reader: &Reader, size: usize) -> Result<usize> {
    if reader.flag("pad")? { Ok(size / 2) } else { reader.size("padding", 0, PADDING) }
}

/// `padding` counts rows and columns of both sides together; the window begins half of it before the map.
fn pooling(reader: &Reader) -> Result<Pool> {
    let stride = strides(reader)?;
    let size = reader.size("size", reader.size("stride", 1, SIDE)?, SIDE)?;
    let padding = Padding::centred(reader.size("padding", size - 1, PADDING)?);
    Ok(Pool { stride, padding, ..Pool::square(size, 1) })
}

fn upsample(reader: &Reader) -> Result<Op> {
    let stride = reader.int("stride")?.unwrap_or(2);
    let size = stride.unsigned_abs() as usize;
    if !SIDE.contains(&size) {
        return Err(reader
            .error_at("stride", "stride is zero or too large")
            .allowed("1 to 65536, or negative to shrink"));
    }
    Ok(Op::Upsample(Upsample { stride: size, reverse: stride < 0, scale: reader.float("scale", 1.0)? }))
}

fn shortcut(reader: &Reader) -> Result<Op> {
    let weights = match reader.word("weights_type")?.unwrap_or("none") {
        "none" => ShortcutWeights::None,
        "per_feature" | "per_layer" => ShortcutWeights::PerFeature,
        "per_channel" => ShortcutWeights::PerChannel,
        _ => {
            return Err(reader
                .error_at("weights_type", "unknown weights_type")
                .allowed("none, per_feature, per_layer or per_channel"));
        }
    };
    let normalization = match reader.word("weights_normalization")?.unwrap_or("none") {
        "none" => WeightsNormalization::None,
        "relu" | "avg_relu" => WeightsNormalization::Relu,
        "softmax" => WeightsNormalization::Softmax,
        _ => {
            return Err(reader
                .error_at("weights_normalization", "unknown weights_normalization")
                .allowed("none, relu, avg_relu or softmax"));
        }
    };
    Ok(Op::Shortcut(Shortcut { activation: reader.activation(Activation::Linear)?, weights, normalization }))
}

fn reorg(reader: &Reader, old: bool) -> Result<Op> {
    let stride = reader.size("stride", 1, SIDE)?;
    Ok(Op::Reorg(Reorg { stride, reverse: reader.flag("reverse")?, old }))
}

/// A positive factor, 1 by default.
fn positive(reader: &Reader, key: &str) -> Result<f32> {
    let value = reader.float(key, 1.0)?;
    if value > 0.0 { Ok(value) } else { Err(reader.error_at(key, format!("{key} must be positive"))) }
}
