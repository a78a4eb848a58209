//! Normalisations, put together of sums.

use secateur_base::{Error, Result};
use secateur_tensor::op::{Binary, Lrn, Reduce, ReduceKind, Unary};
use secateur_tensor::{Op, Value};

use crate::onnx::call::Call;

pub(super) fn batch(call: &mut Call) -> Result<Value> {
    if call.flag("training_mode")? {
        return Err(Error::new("the model is exported for training").help("export it in evaluation mode"));
    }
    let epsilon = call.node.float("epsilon")?.unwrap_or(1e-5);
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?, call.input(3)?, call.input(4)?];
    call.add(Op::BatchNorm { epsilon }, &inputs)
}

/// `(x − mean) / sqrt(variance + epsilon)` over `axes`.
///
/// Also the mean, and one over the root.
fn standardise(call: &mut Call, x: Value, axes: &[usize], epsilon: f32) -> Result<[Value; 3]> {
    let mean = Op::Reduce(Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep: true });
    let centre = call.add(mean.clone(), &[x])?;
    let centred = call.add(Op::Binary(Binary::Sub), &[x, centre])?;
    let squares = call.unary(Unary::Square, centred)?;
    let variance = call.add(mean, &[squares])?;
    let epsilon = call.scalar(variance, epsilon)?;
    let variance = call.add(Op::Binary(Binary::Add), &[variance, epsilon])?;
    let factor = call.unary(Unary::Rsqrt, variance)?;
    let normal = call.add(Op::Binary(Binary::Mul), &[centred, factor])?;
    Ok([normal, centre, factor])
}

/// Every channel of every image by itself.
pub(super) fn instance(call: &mut Call) -> Result<Value> {
    let epsilon = call.node.float("epsilon")?.unwrap_or(1e-5);
    let x = call.input(0)?;
    let rank = call.spec(x).rank();
    let axes: Vec<usize> = (2..rank).collect();
    let [mut result, ..] = standardise(call, x, &axes, epsilon)?;
    for (at, op) in [(1, Binary::Mul), (2, Binary::Add)] {
        let factors = call.input(at)?;
        let mut shape = call.shape(factors);
        shape.resize(rank.max(2) - 1, 1);
        let factors = call.add(Op::Reshape(shape), &[factors])?;
        result = call.add(Op::Binary(op), &[result, factors])?;
    }
    Ok(result)
}

/// Everything from an axis on; mean and inverse deviation are outputs too.
pub(super) fn layer(call: &mut Call) -> Result<Vec<Value>> {
    let epsilon = call.node.float("epsilon")?.unwrap_or(1e-5);
    let x = call.input(0)?;
    let rank = call.spec(x).rank();
    let axes: Vec<usize> = (call.axis_attribute(-1, rank)?..rank).collect();
    let [normal, mean, factor] = standardise(call, x, &axes, epsilon)?;
    let scale = call.input(1)?;
    let mut result = call.add(Op::Binary(Binary::Mul), &[normal, scale])?;
    if let Some(bias) = call.optional(2) {
        result = call.add(Op::Binary(Binary::Add), &[result, bias])?;
    }
    Ok(vec![result, mean, factor])
}

pub(super) fn lrn(call: &mut Call) -> Result<Value> {
    let size = call.node.int("size")?.unwrap_or(0);
    let size = usize::try_from(size).ok().filter(|&n| n > 0);
    let size = size.ok_or_else(|| Error::new("LRN needs a size of 1 or more"))?;
    let alpha = call.node.float("alpha")?.unwrap_or(1e-4) / size as f32;
    let beta = call.node.float("beta")?.unwrap_or(0.75);
    let bias = call.node.float("bias")?.unwrap_or(1.0);
    let x = call.input(0)?;
    call.add(Op::Lrn(Lrn { size, alpha, beta, bias, within: false }), &[x])
}

/// By the sum of magnitudes, or the root of the sum of squares, along an axis.
pub(super) fn lp(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let axis = call.axis_attribute(-1, call.spec(x).rank())?;
    let sum = Op::Reduce(Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep: true });
    let norm = match call.node.int("p")?.unwrap_or(2) {
        1 => {
            let magnitudes = call.unary(Unary::Abs, x)?;
            call.add(sum, &[magnitudes])?
        }
        2 => {
            let squares = call.unary(Unary::Square, x)?;
            let sum = call.add(sum, &[squares])?;
            call.unary(Unary::Sqrt, sum)?
        }
        p => return Err(Call::refuse("p", &p.to_string(), "1 or 2")),
    };
    call.add(Op::Binary(Binary::Div), &[x, norm])
}
