//! Sections become [`Node`]s: options with Darknet's defaults, inputs by layer number, shapes inferred.

use std::sync::Arc;

use super::cfg::Cfg;
use super::heads;
use super::options::{Options, nearest};
use secateur_base::{Error, Result};
use secateur_ir::{
    Activation, Axis, Connected, Conv, Crop, Graph, MAX_ELEMENTS, MAX_SIDE, Node, Op, Origin, Padding, Pool,
    Reorg, Route, ScaleChannels, Shape, Shortcut, ShortcutWeights, Softmax, Source, Upsample,
    WeightsNormalization, check, infer,
};

/// More layers than any network has.
const MAX_LAYERS: usize = 10_000;
/// Elements of all feature maps together (4 GiB of floats).
const MAX_NETWORK_ELEMENTS: usize = 1 << 30;
/// Ranges of what counts and sizes may be.
const SIDE: std::ops::RangeInclusive<usize> = 1..=MAX_SIDE;
const PADDING: std::ops::RangeInclusive<usize> = 0..=MAX_SIDE;

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
/// yet, shapes that do not fit: each with its line, the layer's number, what was found and what is allowed.
pub fn build_graph(cfg: &Cfg) -> Result<Graph> {
    let net = Options { cfg, section: cfg.net(), layer: None };
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
        let options = Options { cfg, section, layer: Some(layer) };
        if layer == MAX_LAYERS {
            return Err(options.error("too many layers").allowed(format!("at most {MAX_LAYERS}")));
        }
        let (op, inputs) = node(&options, &graph)?;
        let shapes: Vec<Shape> = inputs.iter().map(|&source| graph.shape_of(source)).collect();
        let shape = infer(&op, &shapes).map_err(|error| options.locate(error))?;
        elements += shape.len();
        if elements > MAX_NETWORK_ELEMENTS {
            return Err(options
                .error("the feature maps up to here are too large together")
                .found(format!("{elements} elements"))
                .allowed(format!("at most {MAX_NETWORK_ELEMENTS}")));
        }
        let origin = Origin { file: Some(Arc::clone(&file)), line: Some(section.line), layer: Some(layer) };
        graph.nodes.push(Node { origin, ..Node::new(op, inputs, shape) });
    }
    Ok(graph)
}

fn input_shape(net: &Options) -> Result<Shape> {
    let sides = ["channels", "height", "width"];
    if net.has("inputs") && !sides.iter().any(|side| net.has(side)) {
        return Ok(Shape::new(net.required("inputs", "", 1..=MAX_ELEMENTS)?, 1, 1));
    }
    let [c, h, w] = sides.map(|side| net.required(side, "", SIDE));
    let shape = Shape::new(c?, h?, w?);
    check(shape).map_err(|error| net.locate(error))?;
    Ok(shape)
}

/// One section's operator and inputs.
fn node(options: &Options, graph: &Graph) -> Result<(Op, Vec<Source>)> {
    let previous = match graph.nodes.len() {
        0 => Source::Image,
        n => Source::Layer(n - 1),
    };
    let with_from = |op: Op| -> Result<(Op, Vec<Source>)> {
        let from = sources(options, "from")?;
        Ok((op, std::iter::once(previous).chain(from).collect()))
    };
    let op = match options.section.name.as_str() {
        "conv" | "convolutional" => convolution(options)?,
        "deconvolutional" => deconvolution(options)?,
        "conn" | "connected" => Op::Connected(Connected {
            outputs: options.required("output", "1", SIDE)?,
            batch_norm: options.flag("batch_normalize")?,
            activation: options.activation(Activation::Logistic)?,
        }),
        "batchnorm" => Op::BatchNorm(Activation::Linear),
        "max" | "maxpool" => {
            options.refuse(&["antialiasing", "maxpool_zero_nonmax"])?;
            let depth = options.flag("maxpool_depth")?;
            let depth = depth.then(|| options.size("out_channels", 1, SIDE)).transpose()?;
            Op::MaxPool(Pool { depth, ..pooling(options)? })
        }
        "local_avg" | "local_avgpool" => Op::LocalAvgPool(pooling(options)?),
        "avg" | "avgpool" => Op::AvgPool,
        "upsample" => upsample(options)?,
        "route" => {
            let groups = options.size("groups", 1, SIDE)?;
            let group_id = options.size("group_id", 0, PADDING)?;
            return Ok((Op::Route(Route { groups, group_id }), sources(options, "layers")?));
        }
        "shortcut" => return with_from(shortcut(options)?),
        "scale_channels" => {
            return with_from(Op::ScaleChannels(ScaleChannels {
                scale_wh: options.flag("scale_wh")?,
                activation: options.activation(Activation::Linear)?,
            }));
        }
        "sam" => return with_from(Op::Sam(options.activation(Activation::Linear)?)),
        // Darknet's [empty] and [silence] pass their input on, as dropout does at inference.
        "dropout" | "empty" | "silence" => Op::Dropout,
        // The section [reorg] is the layer that Darknet's sources call reorg_old.
        "reorg" => reorg(options, true)?,
        "reorg3d" => {
            options.refuse(&["reverse"])?;
            reorg(options, false)?
        }
        "soft" | "softmax" => {
            options.refuse_any("tree")?;
            Op::Softmax(Softmax {
                groups: options.size("groups", 1, SIDE)?,
                temperature: positive(options, "temperature")?,
                axis: (options.float("spatial", 0.0)? != 0.0).then_some(Axis::Channels),
            })
        }
        "yolo" => heads::yolo(options)?,
        "region" => heads::region(options)?,
        "detection" => heads::detection(options)?,
        "crop" => Op::Crop(Crop {
            height: options.required("crop_height", "1", SIDE)?,
            width: options.required("crop_width", "1", SIDE)?,
            noadjust: options.flag("noadjust")?,
        }),
        "cost" => Op::Cost,
        name => return Err(unknown_section(options, name)),
    };
    Ok((op, vec![previous]))
}

fn unknown_section(options: &Options, name: &str) -> Error {
    if name == "net" || name == "network" {
        return options.error("a second [net]").help("a cfg describes one network: remove this section");
    }
    let error = if UNSUPPORTED.contains(&name) {
        options.error("this kind of layer is not supported")
    } else {
        options.error("unknown section")
    };
    let help = match nearest(name, SUPPORTED.iter().copied()) {
        Some(near) => format!("is [{near}] meant?"),
        None => "replace the layer by supported ones, or remove it".to_owned(),
    };
    error.found(super::cfg::clip(&format!("[{name}]"))).allowed(SUPPORTED.join(", ")).help(help)
}

/// The layers that `key` names: absolute numbers, or negative ones counted back from here.
fn sources(options: &Options, key: &str) -> Result<Vec<Source>> {
    let here = options.layer.unwrap_or(0) as i64;
    let numbers = options.ints(key)?.ok_or_else(|| options.missing(key, ""))?;
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
            let error = options.error_at(key, what);
            Err(match here {
                0 => error.allowed("nothing: no layer is above the first"),
                _ => error.allowed(format!("0 to {}, or -1 to -{here}", here - 1)),
            }
            .help("layers are counted from 0 at the first section after [net]; [dropout] counts too"))
        })
        .collect()
}

/// `stride`, overridden by `stride_x` and `stride_y`: rows, columns.
fn strides(options: &Options) -> Result<[usize; 2]> {
    let stride = options.size("stride", 1, SIDE)?;
    let columns = options.size("stride_x", stride, SIDE)?;
    Ok([options.size("stride_y", stride, SIDE)?, columns])
}

fn convolution(options: &Options) -> Result<Op> {
    options.refuse_any("share_index")?;
    options.refuse(&[
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
    let size = options.size("size", 1, SIDE)?;
    let stride = strides(options)?;
    let dilation = if size == 1 { 1 } else { options.size("dilation", 1, SIDE)? };
    let pad = padding(options, size)?;
    // Darknet sizes the output for an undilated window and pads by pad · dilation; both agree only
    // where pad is half the window.
    if dilation > 1 && pad != (size - 1) / 2 {
        return Err(options
            .error_at("dilation", "dilation without matching padding writes outside Darknet's output")
            .allowed(format!("pad=1 and an odd size, or padding={}", (size - 1) / 2)));
    }
    Ok(Op::Conv(Conv {
        filters: options.required("filters", "1", SIDE)?,
        groups: options.size("groups", 1, PADDING)?.max(1),
        kernel: [size; 2],
        stride,
        dilation: [dilation; 2],
        padding: Padding::all(pad * dilation),
        batch_norm: options.flag("batch_normalize")? || options.flag("cbn")?,
        activation: options.activation(Activation::Logistic)?,
    }))
}

fn deconvolution(options: &Options) -> Result<Op> {
    options.refuse(&["dilation", "dontload", "dontloadscales", "flipped"])?;
    let size = options.size("size", 1, SIDE)?;
    let stride = options.size("stride", 1, SIDE)?;
    Ok(Op::Deconv(Conv {
        filters: options.required("filters", "1", SIDE)?,
        groups: options.size("groups", 1, 1..=1)?,
        stride: [stride; 2],
        padding: Padding::all(padding(options, size)?),
        batch_norm: options.flag("batch_normalize")?,
        activation: options.activation(Activation::Logistic)?,
        ..Conv::square(1, size)
    }))
}

/// `pad=1` means half the window; `padding` counts only without it.
fn padding(options: &Options, size: usize) -> Result<usize> {
    if options.flag("pad")? { Ok(size / 2) } else { options.size("padding", 0, PADDING) }
}

/// `padding` counts rows and columns of both sides together; the window begins half of it outside.
fn pooling(options: &Options) -> Result<Pool> {
    let stride = strides(options)?;
    let size = options.size("size", options.size("stride", 1, SIDE)?, SIDE)?;
    let padding = Padding::centred(options.size("padding", size - 1, PADDING)?);
    Ok(Pool { stride, padding, ..Pool::square(size, 1) })
}

fn upsample(options: &Options) -> Result<Op> {
    let stride = options.int("stride")?.unwrap_or(2);
    let size = stride.unsigned_abs() as usize;
    if !SIDE.contains(&size) {
        return Err(options
            .error_at("stride", "stride is zero or too large")
            .allowed("1 to 65536, or negative to shrink"));
    }
    Ok(Op::Upsample(Upsample { stride: size, reverse: stride < 0, scale: options.float("scale", 1.0)? }))
}

fn shortcut(options: &Options) -> Result<Op> {
    let weights = match options.word("weights_type")?.unwrap_or("none") {
        "none" => ShortcutWeights::None,
        "per_feature" | "per_layer" => ShortcutWeights::PerFeature,
        "per_channel" => ShortcutWeights::PerChannel,
        _ => {
            return Err(options
                .error_at("weights_type", "unknown weights_type")
                .allowed("none, per_feature, per_layer or per_channel"));
        }
    };
    let normalization = match options.word("weights_normalization")?.unwrap_or("none") {
        "none" => WeightsNormalization::None,
        "relu" | "avg_relu" => WeightsNormalization::Relu,
        "softmax" => WeightsNormalization::Softmax,
        _ => {
            return Err(options
                .error_at("weights_normalization", "unknown weights_normalization")
                .allowed("none, relu, avg_relu or softmax"));
        }
    };
    Ok(Op::Shortcut(Shortcut { activation: options.activation(Activation::Linear)?, weights, normalization }))
}

fn reorg(options: &Options, old: bool) -> Result<Op> {
    let stride = options.size("stride", 1, SIDE)?;
    Ok(Op::Reorg(Reorg { stride, reverse: options.flag("reverse")?, old }))
}

/// A positive factor, 1 by default.
fn positive(options: &Options, key: &str) -> Result<f32> {
    let value = options.float(key, 1.0)?;
    if value > 0.0 { Ok(value) } else { Err(options.error_at(key, format!("{key} must be positive"))) }
}
