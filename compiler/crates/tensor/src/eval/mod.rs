//! Evaluation: what operators yield, plainly. Every function relies on the checks of [`crate::infer`].

mod conv;
mod elementwise;
mod layout;
mod matmul;
mod pool;
mod reduce;
mod resize;
pub(crate) mod ssd;

use std::sync::Arc;

use secateur_base::{Error, Result};

use crate::graph::{Graph, Value};
use crate::op::Op;
use crate::tensor::{Spec, Tensor};

/// Is told every value that is computed.
pub type Observer<'a> = &'a mut dyn FnMut(Value, &Tensor);

/// Runs a network: the outputs, in its order, for inputs in its order. A value is freed after its last reader.
///
/// # Errors
/// An input has another type or shape, or an index that is data lies outside.
pub fn evaluate(graph: &Graph, inputs: &[Tensor], observe: Observer) -> Result<Vec<Tensor>> {
    let mut values: Vec<Option<Arc<Tensor>>> =
        graph.values.iter().map(|known| known.constant.clone()).collect();
    if inputs.len() != graph.inputs.len() {
        return Err(Error::new("the network has another number of inputs")
            .found(format!("{}", inputs.len()))
            .allowed(format!("{}", graph.inputs.len())));
    }
    for (&value, input) in graph.inputs.iter().zip(inputs) {
        if graph.spec(value) != input.spec() {
            return Err(Error::new(format!("input \"{}\" has another type or shape", graph.name(value)))
                .found(input.spec().to_string())
                .allowed(graph.spec(value).to_string()));
        }
        values[value.0] = Some(Arc::new(input.clone()));
    }
    let mut readers = vec![0usize; graph.values.len()];
    let read =
        graph.nodes.iter().flat_map(|node| &node.inputs).chain(graph.outputs.iter().map(|(_, value)| value));
    read.for_each(|value| readers[value.0] += 1);
    for node in &graph.nodes {
        let missing =
            || Error::internal(format!("node \"{}\" reads a value before it is computed", node.name));
        let operands: Option<Vec<&Tensor>> =
            node.inputs.iter().map(|input| values[input.0].as_deref()).collect();
        let result = run(&node.op, &operands.ok_or_else(missing)?, graph.spec(node.output))
            .map_err(|error| node.locate(error))?;
        observe(node.output, &result);
        values[node.output.0] = Some(Arc::new(result));
        for input in &node.inputs {
            readers[input.0] -= 1;
            if readers[input.0] == 0 {
                values[input.0] = None;
            }
        }
    }
    let missing = || Error::internal("an output of the network is never computed");
    graph.outputs.iter().map(|(_, value)| values[value.0].as_deref().cloned().ok_or_else(missing)).collect()
}

/// Runs one operator whose output [`crate::infer`] found to be `spec`.
///
/// # Errors
/// An index that is data lies outside.
pub(crate) fn run(op: &Op, inputs: &[&Tensor], spec: &Spec) -> Result<Tensor> {
    let x = inputs[0];
    Ok(match op {
        Op::Unary(unary) => elementwise::unary(*unary, x),
        Op::Binary(binary) => elementwise::binary(*binary, x, inputs[1], spec),
        Op::Where => elementwise::select(x, inputs[1], inputs[2], spec),
        Op::Cast(dtype) => elementwise::cast(x, *dtype),
        Op::Conv(conv) => conv::conv(conv, inputs, spec),
        Op::ConvTranspose(transpose) => conv::transpose(transpose, inputs, spec),
        Op::Pool(pool) => pool::pool(pool, x, spec),
        Op::Reduce(reduce) => reduce::reduce(reduce, x, spec),
        Op::MatMul => matmul::matmul(x, inputs[1], spec),
        Op::BatchNorm { epsilon } => reduce::batch_norm(*epsilon, inputs),
        Op::Softmax { axis, log } => reduce::softmax(*axis, *log, x),
        Op::Lrn(lrn) => pool::lrn(lrn, x),
        Op::Reshape(shape) => x.clone().reshaped(shape),
        Op::Transpose(order) => layout::transpose(x, order, spec),
        Op::Concat { axis } => layout::concat(*axis, inputs, spec),
        Op::Slice(ranges) => layout::slice(x, ranges, spec),
        Op::Expand(_) => layout::expand(x, spec),
        Op::Tile(_) => layout::tile(x, spec),
        Op::Pad(pad) => layout::pad(x, pad, spec),
        Op::Gather { axis } => layout::gather(x, inputs[1], *axis, spec)?,
        Op::Resize(resize) => resize::resize(x, resize, spec),
        Op::ArgMax { axis, last } => reduce::arg_max(x, *axis, *last, spec),
        Op::Quantize { axis } => elementwise::quantize(x, inputs[1], inputs[2], *axis, spec),
        Op::Dequantize { axis } => elementwise::dequantize(x, inputs[1], inputs[2], *axis, spec),
        Op::DetectionOutput(output) => ssd::detect(output, inputs),
    })
}

/// Strides of a row-major shape, in elements.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Elements before, along and behind an axis.
fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}
