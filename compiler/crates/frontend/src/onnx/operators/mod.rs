//! ONNX's operators by name.

mod layout;
mod normalise;
mod quantised;
mod resize;
mod spatial;

use secateur_base::{Error, Result};
use secateur_tensor::op::{Binary, Reduce, ReduceKind, Unary};
use secateur_tensor::{DType, Op, Value};

use super::call::Call;
use super::proto;

/// The values of a node's outputs; those after the first may be missing where training alone needs them.
pub(super) fn translate(call: &mut Call) -> Result<Vec<Value>> {
    let one = match call.node.kind.as_str() {
        "Abs" => unary(call, Unary::Abs),
        "Neg" => unary(call, Unary::Neg),
        "Not" => unary(call, Unary::Not),
        "Sign" => unary(call, Unary::Sign),
        "Exp" => unary(call, Unary::Exp),
        "Log" => unary(call, Unary::Log),
        "Sqrt" => unary(call, Unary::Sqrt),
        "Reciprocal" => unary(call, Unary::Reciprocal),
        "Floor" => unary(call, Unary::Floor),
        "Ceil" => unary(call, Unary::Ceil),
        "Round" => unary(call, Unary::Round),
        "Sin" => unary(call, Unary::Sin),
        "Cos" => unary(call, Unary::Cos),
        "Erf" => unary(call, Unary::Erf),
        "Relu" => unary(call, Unary::Relu),
        "Sigmoid" => unary(call, Unary::Sigmoid),
        "Tanh" => unary(call, Unary::Tanh),
        "Softplus" => unary(call, Unary::Softplus),
        "Softsign" => unary(call, Unary::Softsign),
        "Mish" => unary(call, Unary::Mish),
        "HardSwish" => unary(call, Unary::HardSwish),
        "Swish" => with(call, "alpha", 1.0, Unary::Swish),
        "LeakyRelu" => with(call, "alpha", 0.01, Unary::LeakyRelu),
        "Elu" => with(call, "alpha", 1.0, Unary::Elu),
        "ThresholdedRelu" => with(call, "alpha", 1.0, Unary::ThresholdedRelu),
        "Celu" => {
            // max(0, x) + min(0, α (e^(x/α) − 1)) = α · elu(x / α)
            let alpha = call.node.float("alpha")?.unwrap_or(1.0);
            let x = call.input(0)?;
            let factor = call.scalar(x, alpha)?;
            let scaled = call.add(Op::Binary(Binary::Div), &[x, factor])?;
            let elu = call.unary(Unary::Elu(1.0), scaled)?;
            call.add(Op::Binary(Binary::Mul), &[elu, factor])
        }
        "Selu" => {
            let alpha = call.node.float("alpha")?.unwrap_or(1.673_263_2);
            let gamma = call.node.float("gamma")?.unwrap_or(1.050_701);
            unary(call, Unary::Selu { alpha, gamma })
        }
        "HardSigmoid" => {
            let alpha = call.node.float("alpha")?.unwrap_or(0.2);
            let beta = call.node.float("beta")?.unwrap_or(0.5);
            unary(call, Unary::HardSigmoid { alpha, beta })
        }
        "Gelu" => {
            let approximate = call.node.text("approximate")?.unwrap_or_default();
            unary(call, if approximate == "tanh" { Unary::GeluTanh } else { Unary::Gelu })
        }
        "Clip" => {
            let low = call.float(1, "min")?.unwrap_or(f32::NEG_INFINITY);
            let high = call.float(2, "max")?.unwrap_or(f32::INFINITY);
            unary(call, Unary::Clip { low, high })
        }
        "Identity" => unary(call, Unary::Identity),
        "Cast" => {
            let to = call.node.int("to")?.unwrap_or(1);
            let dtype = proto::dtype(to as u64)?;
            let x = call.input(0)?;
            call.add(Op::Cast(dtype), &[x])
        }
        "CastLike" => {
            let (x, like) = (call.input(0)?, call.input(1)?);
            let dtype = call.spec(like).dtype;
            call.add(Op::Cast(dtype), &[x])
        }
        "Add" => binary(call, Binary::Add),
        "Sub" => binary(call, Binary::Sub),
        "Mul" => binary(call, Binary::Mul),
        "Div" => binary(call, Binary::Div),
        "Pow" => binary(call, Binary::Pow),
        "PRelu" => binary(call, Binary::PRelu),
        "Equal" => binary(call, Binary::Equal),
        "Less" => binary(call, Binary::Less),
        "LessOrEqual" => binary(call, Binary::LessOrEqual),
        "Greater" => binary(call, Binary::Greater),
        "GreaterOrEqual" => binary(call, Binary::GreaterOrEqual),
        "And" => binary(call, Binary::And),
        "Or" => binary(call, Binary::Or),
        "Mod" => {
            let truncated = call.flag("fmod")?;
            binary(call, Binary::Mod { truncated })
        }
        "Sum" => variadic(call, Binary::Add),
        "Max" => variadic(call, Binary::Max),
        "Min" => variadic(call, Binary::Min),
        "Mean" => {
            let sum = variadic(call, Binary::Add)?;
            let count = call.scalar(sum, call.inputs.len() as f32)?;
            call.add(Op::Binary(Binary::Div), &[sum, count])
        }
        "Where" => {
            let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
            call.add(Op::Where, &inputs)
        }
        "MatMul" => {
            let inputs = [call.input(0)?, call.input(1)?];
            call.add(Op::MatMul, &inputs)
        }
        "Gemm" => gemm(call),
        "ReduceSum" => reduce(call, ReduceKind::Sum),
        "ReduceMean" => reduce(call, ReduceKind::Mean),
        "ReduceMax" => reduce(call, ReduceKind::Max),
        "ReduceMin" => reduce(call, ReduceKind::Min),
        "ReduceProd" => reduce(call, ReduceKind::Product),
        "ReduceL2" => {
            let x = call.input(0)?;
            let squares = call.unary(Unary::Square, x)?;
            call.inputs[0] = Some(squares);
            let sum = reduce(call, ReduceKind::Sum)?;
            call.unary(Unary::Sqrt, sum)
        }
        "ArgMax" => {
            let x = call.input(0)?;
            let shape = call.shape(x);
            let axis = call.axis_attribute(0, shape.len())?;
            let last = call.flag("select_last_index")?;
            let index = call.add(Op::ArgMax { axis, last }, &[x])?;
            match call.node.int("keepdims")?.unwrap_or(1) {
                0 => {
                    let mut shape = shape;
                    shape.remove(axis);
                    call.add(Op::Reshape(shape), &[index])
                }
                _ => Ok(index),
            }
        }
        "Softmax" => softmax(call, false),
        "LogSoftmax" => softmax(call, true),
        "Conv" => spatial::conv(call),
        "ConvTranspose" => spatial::conv_transpose(call),
        "MaxPool" => spatial::max_pool(call),
        "AveragePool" => spatial::average_pool(call),
        "GlobalAveragePool" => spatial::global(call, ReduceKind::Mean),
        "GlobalMaxPool" => spatial::global(call, ReduceKind::Max),
        "BatchNormalization" => normalise::batch(call),
        "InstanceNormalization" => normalise::instance(call),
        "LRN" => normalise::lrn(call),
        "LpNormalization" => normalise::lp(call),
        "Resize" => resize::resize(call),
        "Upsample" => resize::upsample(call),
        "QuantizeLinear" => quantised::quantize(call),
        "DequantizeLinear" => quantised::dequantize(call),
        "ConvInteger" => quantised::conv_integer(call),
        "MatMulInteger" => quantised::matmul_integer(call),
        "QLinearConv" => quantised::qlinear_conv(call),
        "QLinearMatMul" => quantised::qlinear_matmul(call),
        "Dropout" => return dropout(call),
        "LayerNormalization" => return normalise::layer(call),
        "Split" => return layout::split(call),
        _ => match layout::translate(call)? {
            Some(value) => Ok(value),
            None => Err(Error::new("the operator is not read")
                .found(call.node.kind.clone())
                .allowed("the operators of docs/frontends.md")),
        },
    };
    one.map(|value| vec![value])
}

fn unary(call: &mut Call, op: Unary) -> Result<Value> {
    let x = call.input(0)?;
    call.unary(op, x)
}

fn with(call: &mut Call, attribute: &str, default: f32, op: fn(f32) -> Unary) -> Result<Value> {
    let alpha = call.node.float(attribute)?.unwrap_or(default);
    unary(call, op(alpha))
}

fn binary(call: &mut Call, op: Binary) -> Result<Value> {
    let inputs = [call.input(0)?, call.input(1)?];
    call.add(Op::Binary(op), &inputs)
}

/// Any number of inputs, two at a time.
fn variadic(call: &mut Call, op: Binary) -> Result<Value> {
    let mut result = call.input(0)?;
    for at in 1..call.inputs.len() {
        let next = call.input(at)?;
        result = call.add(Op::Binary(op), &[result, next])?;
    }
    Ok(result)
}

/// `alpha · A' · B' + beta · C`.
fn gemm(call: &mut Call) -> Result<Value> {
    let (mut a, mut b) = (call.input(0)?, call.input(1)?);
    if call.spec(a).rank() != 2 || call.spec(b).rank() != 2 {
        return Err(Error::new("Gemm multiplies matrices").found(format!(
            "{} and {}",
            call.spec(a),
            call.spec(b)
        )));
    }
    if call.flag("transA")? {
        a = call.add(Op::Transpose(vec![1, 0]), &[a])?;
    }
    if call.flag("transB")? {
        b = call.add(Op::Transpose(vec![1, 0]), &[b])?;
    }
    let mut result = call.add(Op::MatMul, &[a, b])?;
    result = times(call, result, call.node.float("alpha")?.unwrap_or(1.0))?;
    if let Some(c) = call.optional(2) {
        let c = times(call, c, call.node.float("beta")?.unwrap_or(1.0))?;
        result = call.add(Op::Binary(Binary::Add), &[result, c])?;
    }
    Ok(result)
}

fn times(call: &mut Call, value: Value, factor: f32) -> Result<Value> {
    if factor == 1.0 {
        return Ok(value);
    }
    let factor = call.scalar(value, factor)?;
    call.add(Op::Binary(Binary::Mul), &[value, factor])
}

fn reduce(call: &mut Call, kind: ReduceKind) -> Result<Value> {
    let x = call.input(0)?;
    let rank = call.spec(x).rank();
    let axes = call.ints(1, "axes")?.unwrap_or_default();
    if axes.is_empty() && call.flag("noop_with_empty_axes")? {
        return Ok(x);
    }
    let axes = if axes.is_empty() { (0..rank).collect() } else { Call::axes(&axes, rank)? };
    let keep = call.node.int("keepdims")?.unwrap_or(1) != 0;
    call.add(Op::Reduce(Reduce { kind, axes, keep }), &[x])
}

fn softmax(call: &mut Call, log: bool) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    if call.opset >= 13 {
        let axis = call.axis_attribute(-1, shape.len())?;
        return call.add(Op::Softmax { axis, log }, &[x]);
    }
    // Before version 13 everything from the axis on is one axis.
    let axis = call.node.int("axis")?.unwrap_or(1);
    let axis = if axis == shape.len() as i64 { shape.len() } else { Call::axis(axis, shape.len())? };
    let sides = [shape[..axis].iter().product(), shape[axis..].iter().product()];
    let flat = call.add(Op::Reshape(sides.to_vec()), &[x])?;
    let result = call.add(Op::Softmax { axis: 1, log }, &[flat])?;
    call.add(Op::Reshape(shape), &[result])
}

/// At inference the identity, with a mask of truth.
fn dropout(call: &mut Call) -> Result<Vec<Value>> {
    if call.parameter(2)?.is_some_and(|flag| flag.as_int() == Some(&[1])) {
        return Err(Error::new("the model is exported for training").help("export it in evaluation mode"));
    }
    let result = unary(call, Unary::Identity)?;
    if call.node.outputs.len() < 2 {
        return Ok(vec![result]);
    }
    let shape = call.shape(result);
    let len = shape.iter().product();
    let dtype = if call.opset >= 10 { DType::Bool } else { DType::F32 };
    let mask = match dtype {
        DType::Bool => secateur_tensor::Tensor::int(dtype, shape, vec![1; len])?,
        _ => secateur_tensor::Tensor::f32(shape, vec![1.0; len])?,
    };
    let mask = call.constant(mask);
    Ok(vec![result, mask])
}
