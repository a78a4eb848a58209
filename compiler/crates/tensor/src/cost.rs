//! What nodes cost.

use crate::graph::{Graph, Node};
use crate::op::Op;

/// Multiply-accumulates of a node: of convolutions and matrix products, for one run.
pub fn macs(graph: &Graph, node: &Node) -> u64 {
    let shape = |at: usize| &graph.spec(node.inputs[at]).shape;
    let outputs = graph.spec(node.output).len() as u64;
    let product = |sides: &[usize]| sides.iter().map(|&side| side as u64).product::<u64>();
    match &node.op {
        // Every output reads a kernel of every input channel of its group.
        Op::Conv(_) => outputs.saturating_mul(product(&shape(1)[1..])),
        // Every input adds a kernel to every output channel of its group.
        Op::ConvTranspose(_) => product(shape(0)).saturating_mul(product(&shape(1)[1..])),
        Op::MatMul => outputs.saturating_mul(shape(0).last().copied().unwrap_or(1) as u64),
        _ => 0,
    }
}

/// Elements of the constants that a node reads.
pub fn parameters(graph: &Graph, node: &Node) -> u64 {
    let constants = node.inputs.iter().filter_map(|&input| graph.constant(input));
    constants.map(|tensor| tensor.spec().len() as u64).sum()
}

/// Window and stride of a node, where it has a window.
pub fn window(node: &Node) -> Option<String> {
    let (window, groups) = match &node.op {
        Op::Conv(conv) => (&conv.window, conv.groups),
        Op::ConvTranspose(conv) => (&conv.window, conv.groups),
        Op::Pool(pool) => (&pool.window, 1),
        _ => return None,
    };
    let joined = |sides: &[usize]| sides.iter().rev().map(ToString::to_string).collect::<Vec<_>>().join("×");
    let mut text = joined(&window.kernel);
    text += "/";
    text += &match window.strides[..] {
        [down, across] if down == across => down.to_string(),
        ref strides => joined(strides),
    };
    if groups > 1 {
        text += &format!(" g{groups}");
    }
    if window.dilations.iter().any(|&dilation| dilation != 1) {
        text += &format!(" d{}", joined(&window.dilations));
    }
    Some(text)
}
