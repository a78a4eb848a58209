//! Cost of a layer in one run: multiply-accumulates, constants, bytes of activations moved.

use crate::cpu::program::{CpuProgram, LayerAction};
use secateur_quant::net::{QEpilogue, QNet, QOp, QRequant};

/// Multiply-accumulates of convolutions and connected layers, padding included.
pub fn macs(net: &QNet, layer: usize) -> u64 {
    let node = &net.nodes[layer];
    let input = net.tensor(node.inputs[0]).shape;
    match &node.op {
        QOp::Conv(conv) => {
            let row = input.c / conv.groups * conv.size * conv.size;
            node.output.shape.len() as u64 * row as u64
        }
        QOp::Connected(full) => full.weights.len() as u64,
        _ => 0,
    }
}

/// Bytes of a layer's weights, biases, requantisation constants and tables as an artefact stores them.
pub fn constant_bytes(program: &CpuProgram<'_>, layer: usize) -> usize {
    let net = program.net;
    const REQUANT: usize = size_of::<secateur_runtime::kernels::Requant>();
    let table = |epilogue: &QEpilogue| if epilogue.table.is_some() { 256 } else { 0 };
    let rows = |weights: &[i8], bias: &[i32], requant: &[QRequant], epilogue: &QEpilogue| {
        weights.len() + size_of_val(bias) + requant.len() * REQUANT + table(epilogue)
    };
    match &net.nodes[layer].op {
        QOp::Conv(conv) if let Some(packing) = program.packings[layer] => {
            packing.constant_bytes() + table(&conv.epilogue)
        }
        QOp::Conv(conv) => rows(&conv.weights, &conv.bias, &conv.requant, &conv.epilogue),
        QOp::Connected(full) => rows(&full.weights, &full.bias, &full.requant, &full.epilogue),
        QOp::AvgPool(scaled) | QOp::Sam(scaled) | QOp::ScaleChannels { scaled, .. } => {
            REQUANT + table(&scaled.epilogue)
        }
        QOp::LocalAvgPool(average) => average.requant.len() * REQUANT + table(&average.epilogue),
        QOp::Route(route) => route.rescale.iter().flatten().count() * REQUANT,
        QOp::Shortcut(shortcut) => {
            size_of_val(&shortcut.multipliers[..]) + REQUANT + table(&shortcut.epilogue)
        }
        QOp::Softmax(softmax) => size_of_val(&softmax.exp[..]),
        QOp::Yolo { tables, .. } | QOp::Region { tables, .. } | QOp::Detection { tables, .. } => {
            size_of_val(&tables.xy[..])
                + size_of_val(&tables.wh[..])
                + size_of_val(&tables.objectness[..])
                + size_of_val(&tables.class[..])
        }
        QOp::MaxPool(_) | QOp::Upsample { .. } | QOp::Reorg(_) | QOp::Identity | QOp::Crop { .. } => 0,
    }
}

/// Bytes of activations that a layer reads and writes, each once; what is addressing costs nothing.
pub fn traffic(program: &CpuProgram<'_>, layer: usize) -> usize {
    match &program.actions[layer] {
        LayerAction::View => 0,
        LayerAction::Concat { copied } => {
            let plane = program.shape(layer + 1).plane();
            copied.iter().map(|&position| 2 * program.slice_channels(layer, position) * plane).sum()
        }
        LayerAction::Compute | LayerAction::InPlace(_) => {
            let read: usize = program.inputs(layer).map(|input| program.shape(input).len()).sum();
            read + program.shape(layer + 1).len()
        }
    }
}
