//! An int8 network as text: its structure, and of its constants the ranges and a checksum.
//!
//! For reading and for tests that hold what quantisation makes of a network. Two lines for a layer: operator,
//! inputs, parameters and the tensor's scale and zero point; then, after `;`, the constants. There is no way
//! back from it: the whole network is in its file.

use std::fmt::{Display, Write};

use super::net::{HeadTables, QConv, QEpilogue, QNet, QOp, QPool, QRequant, QTensor};
use secateur_ir::Source;

/// The whole network as text.
pub fn dump(net: &QNet) -> String {
    let mut text = format!("image: {}", tensor(&net.input));
    if net.letter_box {
        text.push_str(" letter_box");
    }
    text.push('\n');
    for (layer, node) in net.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|input| match input {
            Source::Image => "image".to_owned(),
            Source::Layer(from) => format!("v{from}"),
        });
        let inputs = inputs.collect::<Vec<_>>().join(", ");
        let name = node.op.name();
        let mut line = format!("v{layer}: {} = {name} {inputs}", tensor(&node.output));
        parameters(&node.op, &mut line);
        text.push_str(&line);
        text.push('\n');
        let constants = constants(&node.op);
        if !constants.is_empty() {
            let _ = writeln!(text, "  ; {constants}");
        }
    }
    text
}

fn tensor(tensor: &QTensor) -> String {
    let shape = tensor.shape;
    format!("[{}, {}, {}] {} {}", shape.c, shape.h, shape.w, tensor.scale, tensor.zero_point)
}

/// Appends ` key=value` unless the value is the neutral one.
fn put<T: Display + PartialEq>(line: &mut String, key: &str, value: T, neutral: T) {
    if value != neutral {
        let _ = write!(line, " {key}={value}");
    }
}

fn flag(line: &mut String, key: &str, value: bool) {
    if value {
        let _ = write!(line, " {key}");
    }
}

fn stride(line: &mut String, rows: usize, columns: usize) {
    match rows == columns {
        true => put(line, "stride", rows, 1),
        false => put(line, "stride", format!("{rows}x{columns}"), String::new()),
    }
}

fn parameters(op: &QOp, line: &mut String) {
    match op {
        QOp::Conv(conv) => {
            put(line, "kernel", conv.size, 1);
            stride(line, conv.stride_y, conv.stride_x);
            put(line, "padding", conv.pad, 0);
            put(line, "dilation", conv.dilation, 1);
            put(line, "groups", conv.groups, 1);
        }
        QOp::MaxPool(pool) => pooling(pool, line),
        QOp::LocalAvgPool(average) => pooling(&average.pool, line),
        QOp::Upsample { stride } => put(line, "stride", *stride, 1),
        QOp::Route(route) => {
            put(line, "groups", route.groups, 1);
            put(line, "group", route.group_id, 0);
        }
        QOp::Shortcut(shortcut) => flag(line, "per_channel", shortcut.per_channel),
        QOp::Reorg(reorg) => {
            put(line, "stride", reorg.stride, 1);
            flag(line, "reverse", reorg.reverse);
            flag(line, "old", reorg.old);
        }
        QOp::Crop { top, left } => {
            put(line, "top", *top, 0);
            put(line, "left", *left, 0);
        }
        QOp::ScaleChannels { scale_wh, .. } => flag(line, "scale_wh", *scale_wh),
        QOp::Softmax(softmax) => {
            put(line, "groups", softmax.groups, 1);
            flag(line, "spatial", softmax.spatial);
        }
        QOp::Yolo { head, .. } => {
            let _ = write!(line, " classes={} boxes={}", head.classes, head.mask.len());
        }
        QOp::Region { head, .. } => {
            let _ = write!(line, " classes={} boxes={}", head.classes, head.anchors.len());
        }
        QOp::Detection { head, .. } => {
            let _ = write!(line, " classes={} boxes={} side={}", head.classes, head.num, head.side);
        }
        QOp::Connected(_) | QOp::AvgPool(_) | QOp::Identity | QOp::Sam(_) => {}
    }
}

fn pooling(pool: &QPool, line: &mut String) {
    put(line, "kernel", pool.size, 1);
    stride(line, pool.stride_y, pool.stride_x);
    put(line, "padding", pool.pad, 0);
}

/// Ranges of an operator's constants, and the checksum of all.
fn constants(op: &QOp) -> String {
    let mut parts = Vec::new();
    match op {
        QOp::Conv(QConv { weights, bias, requant, epilogue: last, .. }) => {
            parts.extend([range("weights", weights), range("bias", bias)]);
            parts.extend([shifts(requant), epilogue(last)]);
        }
        QOp::Connected(full) => {
            parts.extend([range("weights", &full.weights), range("bias", &full.bias)]);
            parts.extend([shifts(&full.requant), epilogue(&full.epilogue)]);
        }
        QOp::AvgPool(scaled) | QOp::Sam(scaled) | QOp::ScaleChannels { scaled, .. } => {
            parts.extend([shifts(&[scaled.requant]), epilogue(&scaled.epilogue)]);
        }
        QOp::LocalAvgPool(average) => parts.extend([shifts(&average.requant), epilogue(&average.epilogue)]),
        QOp::Route(route) if route.rescale.iter().any(Option::is_some) => {
            let rescaled: Vec<QRequant> = route.rescale.iter().flatten().copied().collect();
            parts.push(shifts(&rescaled));
        }
        QOp::Shortcut(shortcut) => {
            parts.push(range("multipliers", &shortcut.multipliers));
            parts.extend([shifts(&[shortcut.requant]), epilogue(&shortcut.epilogue)]);
        }
        QOp::Softmax(softmax) => parts.push(range("exp", &softmax.exp)),
        QOp::Yolo { tables, .. } | QOp::Region { tables, .. } | QOp::Detection { tables, .. } => {
            let HeadTables { xy, wh, objectness, class } = tables;
            parts.extend([range("xy", xy), range("wh", wh)]);
            parts.extend([range("objectness", objectness), range("class", class)]);
        }
        QOp::Route(_)
        | QOp::MaxPool(_)
        | QOp::Upsample { .. }
        | QOp::Reorg(_)
        | QOp::Identity
        | QOp::Crop { .. } => return String::new(),
    }
    let bytes = postcard::to_stdvec(op).expect("plain data always serialises");
    parts.push(format!("crc {:08x}", secateur_runtime::artefact::crc32(&bytes)));
    parts.join(", ")
}

fn range<T: Ord + Display + Copy>(name: &str, values: &[T]) -> String {
    match (values.iter().min(), values.iter().max()) {
        (Some(low), Some(high)) => format!("{} {name} {low}..={high}", values.len()),
        _ => format!("no {name}"),
    }
}

fn shifts(requant: &[QRequant]) -> String {
    let shifts: Vec<u8> = requant.iter().map(|requant| requant.shift).collect();
    range("shifts", &shifts)
}

fn epilogue(finish: &QEpilogue) -> String {
    let table = if finish.table.is_some() { " table" } else { "" };
    format!("clamp {}..={}{table}", finish.lo, finish.hi)
}
