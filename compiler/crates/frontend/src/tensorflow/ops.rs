//! Operations on tensors, to their definitions in TensorFlow (core/ops).

use secateur_base::Result;

use super::graph_def::Node;
use super::import::{Importer, Item, Written};
use super::integers::{axis, item, slice, strided_slice};
use super::layout::{batches, blocks, reshaped, sliced, split};
use super::spatial;
use secateur_tensor::op::{Binary, Lrn, Pad, PadKind, Reduce, ReduceKind, Unary};
use secateur_tensor::{DType, Op, Value};

/// What passes values on, chooses between branches, or is noise.
pub(super) fn control(
    importer: &mut Importer<'_>,
    node: &Node,
    inputs: &[Item],
) -> Result<Option<Vec<Item>>> {
    let first = inputs.first().cloned();
    Ok(match node.op.as_str() {
        "Switch" => {
            let taken = importer.integers(node, inputs, 1)?.data.first().is_some_and(|value| *value != 0);
            let value = first.unwrap_or(Item::Dead);
            Some(if taken { vec![Item::Dead, value] } else { vec![value, Item::Dead] })
        }
        "Merge" => Some(vec![inputs.iter().find(|item| **item != Item::Dead).cloned().unwrap_or(Item::Dead)]),
        _ if inputs.contains(&Item::Dead) => Some(vec![Item::Dead; 2]),
        "Identity"
        | "StopGradient"
        | "Snapshot"
        | "CheckNumerics"
        | "PreventGradient"
        | "PlaceholderWithDefault" => first.map(|item| vec![item]),
        "IdentityN" => Some(inputs.to_vec()),
        "ReadVariableOp" => match first {
            Some(Item::Variable(name)) => Some(vec![importer.variable(node, &name)?]),
            other => other.map(|item| vec![item]),
        },
        "RandomUniform" | "RandomStandardNormal" | "TruncatedNormal" => Some(vec![Item::Random]),
        _ if inputs.contains(&Item::Random) => Some(vec![dropped(importer, node, inputs)?]),
        _ => None,
    })
}

/// Dropout is nothing at inference: `x / keep · floor(keep + random)` is x, and `x · scale · (random >= rate)` too.
fn dropped(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Item> {
    if !matches!(node.op.as_str(), "Mul" | "SelectV2" | "Select") {
        return Ok(Item::Random);
    }
    let Some(at) = inputs.iter().position(|item| matches!(item, Item::Tensor(_))) else {
        return Ok(Item::Random);
    };
    let scaled = importer.source.node(&node.inputs[at].node);
    let is_scaling = |scaled: &&Node| matches!(scaled.op.as_str(), "RealDiv" | "Div" | "Mul");
    // Only the noise's own scaling is undone: the two stand in one scope.
    let scope = |name: &str| name.rsplit_once('/').map(|(scope, _)| scope.to_owned());
    match scaled.filter(is_scaling).filter(|scaled| scope(&scaled.name) == scope(&node.name)) {
        Some(scaled) => {
            let source = scaled.inputs.first().cloned();
            let item = source.and_then(|input| importer.item(&input));
            item.ok_or_else(|| importer.error(node, "the dropout reads nothing"))
        }
        None if scope(&node.name).is_some_and(|scope| scope.to_lowercase().contains("dropout")) => {
            Ok(inputs[at].clone())
        }
        None => Ok(Item::Random),
    }
}

/// Any other operation.
pub(super) fn compute(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    if let Some(unary) = unary(node) {
        let tensor = importer.tensor(node, inputs, 0)?;
        let value = importer.op(node, unary, &[tensor.value])?;
        return Ok(vec![Item::Tensor(Written { value, ..tensor })]);
    }
    if let Some(kind) = binary(&node.op) {
        let [a, b] = [importer.tensor(node, inputs, 0)?, importer.tensor(node, inputs, 1)?];
        return Ok(vec![Item::Tensor(elementwise(importer, node, kind, a, b)?)]);
    }
    match node.op.as_str() {
        "Conv2D" | "DepthwiseConv2dNative" => spatial::convolution(importer, node, inputs),
        "Conv2DBackpropInput" => spatial::transposed(importer, node, inputs),
        "MaxPool" | "AvgPool" => spatial::pooling(importer, node, inputs),
        "ResizeBilinear" | "ResizeNearestNeighbor" => spatial::resize(importer, node, inputs),
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => batch_norm(importer, node, inputs),
        "BiasAdd" | "BiasAddV1" => bias_add(importer, node, inputs),
        "AddN" => {
            let mut sum = importer.tensor(node, inputs, 0)?;
            for at in 1..inputs.len() {
                let next = importer.tensor(node, inputs, at)?;
                sum = elementwise(importer, node, Binary::Add, sum, next)?;
            }
            Ok(vec![Item::Tensor(sum)])
        }
        "Square" | "SquaredDifference" => {
            let mut base = importer.tensor(node, inputs, 0)?;
            if node.op == "SquaredDifference" {
                let other = importer.tensor(node, inputs, 1)?;
                base = elementwise(importer, node, Binary::Sub, base, other)?;
            }
            let value = importer.op(node, Binary::Mul, &[base.value, base.value])?;
            Ok(vec![Item::Tensor(Written { value, ..base })])
        }
        "Neg" => scaled(importer, node, inputs, -1.0),
        "Reciprocal" | "Inv" => {
            let tensor = importer.tensor(node, inputs, 0)?;
            let value = importer.op(node, Unary::Reciprocal, &[tensor.value])?;
            Ok(vec![Item::Tensor(Written { value, ..tensor })])
        }
        "Pad" | "PadV2" | "MirrorPad" => pad(importer, node, inputs),
        _ => plain(importer, node, inputs),
    }
}

fn unary(node: &Node) -> Option<Unary> {
    Some(match node.op.as_str() {
        "Relu" => Unary::Relu,
        "Relu6" => Unary::Clip { low: 0.0, high: 6.0 },
        "LeakyRelu" => Unary::LeakyRelu(node.float("alpha", 0.2)),
        "Elu" => Unary::Elu(1.0),
        "Sigmoid" => Unary::Sigmoid,
        "Tanh" => Unary::Tanh,
        "Softplus" => Unary::Softplus,
        "Abs" => Unary::Abs,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Rsqrt" => Unary::Rsqrt,
        "Floor" => Unary::Floor,
        "Erf" => Unary::Erf,
        _ => return None,
    })
}

fn binary(op: &str) -> Option<Binary> {
    Some(match op {
        "Add" | "AddV2" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "RealDiv" | "Div" => Binary::Div,
        "Maximum" => Binary::Max,
        "Minimum" => Binary::Min,
        "Pow" => Binary::Pow,
        _ => return None,
    })
}

/// Of two tensors, in NCHW order if one of them is: the other is turned, or given the axes that it lacks.
fn elementwise(
    importer: &mut Importer<'_>,
    node: &Node,
    kind: Binary,
    a: Written,
    b: Written,
) -> Result<Written> {
    let is_nchw = a.is_nchw || b.is_nchw;
    if !is_nchw {
        return Ok(Written { value: importer.op(node, kind, &[a.value, b.value])?, is_nchw });
    }
    let mut operands = Vec::new();
    for tensor in [a, b] {
        let shape = importer.graph.shape(tensor.value).to_vec();
        operands.push(match shape.len() {
            _ if tensor.is_nchw => tensor.value,
            0 => tensor.value,
            rank @ 1..4 => {
                let padded = [vec![1; 4 - rank], shape].concat();
                let value = importer.op(node, Op::Reshape(padded), &[tensor.value])?;
                importer.nchw(node, Written { value, is_nchw: false })?
            }
            4 => importer.nchw(node, tensor)?,
            _ => {
                let (a, b) = (importer.plain(&node.name, a)?, importer.plain(&node.name, b)?);
                return Ok(Written { value: importer.op(node, kind, &[a, b])?, is_nchw: false });
            }
        });
    }
    Ok(Written { value: importer.op(node, kind, &operands)?, is_nchw })
}

fn scaled(importer: &mut Importer<'_>, node: &Node, inputs: &[Item], factor: f32) -> Result<Vec<Item>> {
    let tensor = importer.tensor(node, inputs, 0)?;
    let factor = importer.floats(node, &[], vec![factor])?;
    let value = importer.op(node, Binary::Mul, &[tensor.value, factor])?;
    Ok(vec![Item::Tensor(Written { value, ..tensor })])
}

/// A summand by channel, whose axis `data_format` names.
fn bias_add(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let [a, b] = [importer.tensor(node, inputs, 0)?, importer.tensor(node, inputs, 1)?];
    if node.text("data_format", "NHWC") != "NCHW" {
        return Ok(vec![Item::Tensor(elementwise(importer, node, Binary::Add, a, b)?)]);
    }
    let (map, rank) = (importer.plain(&node.name, a)?, importer.shape(a).len());
    let mut along = vec![1; rank.saturating_sub(1).max(1)];
    along[0] = importer.shape(b).iter().product();
    let bias = importer.op(node, Op::Reshape(along), &[b.value])?;
    Ok(item(importer.op(node, Binary::Add, &[map, bias])?))
}

/// `(x − mean) / sqrt(variance + epsilon) · scale + offset` by channel.
fn batch_norm(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    if node.boolean("is_training", true) {
        return Err(importer
            .error(node, "the batch normalisation is in training mode")
            .found("is_training: true")
            .help(
                "export the graph for inference: build it with is_training=False and restore the checkpoint",
            ));
    }
    let is_first = node.text("data_format", "NHWC") == "NCHW";
    let tensor = importer.tensor(node, inputs, 0)?;
    let map = if is_first { importer.plain(&node.name, tensor)? } else { importer.nchw(node, tensor)? };
    let channels = importer.graph.shape(map).get(1).copied().unwrap_or(1);
    let mut by_channel = Vec::new();
    for at in 1..5 {
        let vector = importer.tensor(node, inputs, at)?;
        by_channel.push(importer.op(node, Op::Reshape(vec![channels, 1, 1]), &[vector.value])?);
    }
    let [scale, offset, mean, variance] = by_channel[..] else {
        return Err(importer.error(node, "the batch normalisation has five inputs"));
    };
    let epsilon = importer.floats(node, &[], vec![node.float("epsilon", 1e-4)])?;
    let variance = importer.op(node, Binary::Add, &[variance, epsilon])?;
    let factor = importer.op(node, Unary::Rsqrt, &[variance])?;
    let factor = importer.op(node, Binary::Mul, &[factor, scale])?;
    let centred = importer.op(node, Binary::Sub, &[map, mean])?;
    let normal = importer.op(node, Binary::Mul, &[centred, factor])?;
    let value = importer.op(node, Binary::Add, &[normal, offset])?;
    Ok(vec![Item::Tensor(Written { value, is_nchw: !is_first })])
}

/// By axis, before and behind; in the order of the map that is padded.
fn pad(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let tensor = importer.tensor(node, inputs, 0)?;
    let paddings = importer.integers(node, inputs, 1)?.data;
    let rank = importer.shape(tensor).len();
    let fill = match (node.op.as_str(), node.text("mode", "REFLECT")) {
        ("MirrorPad", "SYMMETRIC") => PadKind::Symmetric,
        ("MirrorPad", _) => PadKind::Reflect,
        ("PadV2", _) => {
            let value = importer.tensor(node, inputs, 2)?.value;
            let value = importer.graph.known(value).and_then(|known| known.to_f32().first().copied());
            PadKind::Constant(
                value.ok_or_else(|| importer.error(node, "the value of the padding is not known"))?,
            )
        }
        _ => PadKind::Constant(0.0),
    };
    let sizes: Option<Vec<usize>> = paddings.iter().map(|pad| usize::try_from(*pad).ok()).collect();
    let Some(sizes) = sizes.filter(|sizes| sizes.len() == 2 * rank) else {
        return Err(importer.error(node, "the paddings are not valid").found(format!("{paddings:?}")));
    };
    let order = if tensor.is_nchw { vec![0, 3, 1, 2] } else { (0..rank).collect() };
    let before: Vec<usize> = order.iter().map(|axis: &usize| sizes[2 * axis]).collect();
    let after: Vec<usize> = order.iter().map(|axis| sizes[2 * axis + 1]).collect();
    let shape = importer.graph.shape(tensor.value);
    let most = if fill == PadKind::Symmetric { 0 } else { 1 };
    let mirrors = !matches!(fill, PadKind::Constant(_));
    if mirrors && (0..rank).any(|at| before[at].max(after[at]) + most > shape[at]) {
        return Err(importer.error(node, "a mirrored padding is larger than the map"));
    }
    let value = importer.op(node, Pad { before, after, kind: fill }, &[tensor.value])?;
    Ok(vec![Item::Tensor(Written { value, ..tensor })])
}

/// Operations that are computed in TensorFlow's order of axes.
fn plain(importer: &mut Importer<'_>, node: &Node, inputs: &[Item]) -> Result<Vec<Item>> {
    let operand = |importer: &mut Importer<'_>, at: usize| {
        let tensor = importer.tensor(node, inputs, at)?;
        importer.plain(&node.name, tensor)
    };
    let value = match node.op.as_str() {
        "MatMul" => {
            let mut operands = [operand(importer, 0)?, operand(importer, 1)?];
            for (at, name) in ["transpose_a", "transpose_b"].into_iter().enumerate() {
                if node.boolean(name, false) {
                    operands[at] = importer.op(node, Op::Transpose(vec![1, 0]), &[operands[at]])?;
                }
            }
            importer.op(node, Op::MatMul, &operands)?
        }
        "ConcatV2" | "Concat" => {
            let at = if node.op == "Concat" { 0 } else { inputs.len().saturating_sub(1) };
            let along = first(importer, node, inputs, at)?;
            let mut operands = Vec::new();
            for input in (0..inputs.len()).filter(|input| *input != at) {
                operands.push(operand(importer, input)?);
            }
            let rank = operands.first().map_or(0, |operand| importer.graph.shape(*operand).len());
            let axis = axis(importer, node, along, rank)?;
            importer.op(node, Op::Concat { axis }, &operands)?
        }
        "Split" | "SplitV" | "Unpack" => return split(importer, node, inputs),
        "Pack" => {
            let mut operands = Vec::new();
            let mut axis_at = 0;
            for at in 0..inputs.len() {
                let part = operand(importer, at)?;
                let mut shape = importer.graph.shape(part).to_vec();
                axis_at = axis(importer, node, node.integer("axis", 0), shape.len() + 1)?;
                shape.insert(axis_at, 1);
                operands.push(importer.op(node, Op::Reshape(shape), &[part])?);
            }
            importer.op(node, Op::Concat { axis: axis_at }, &operands)?
        }
        _ => {
            let value = operand(importer, 0)?;
            return one(importer, node, inputs, value).map(item);
        }
    };
    Ok(item(value))
}

/// The first known integer of an input.
pub(super) fn first(importer: &mut Importer<'_>, node: &Node, inputs: &[Item], at: usize) -> Result<i64> {
    let known = importer.integers(node, inputs, at)?;
    known.data.first().copied().ok_or_else(|| importer.error(node, "an input is empty"))
}

/// Operations of one tensor, which is in TensorFlow's order of axes.
fn one(importer: &mut Importer<'_>, node: &Node, inputs: &[Item], value: Value) -> Result<Value> {
    let shape = importer.graph.shape(value).to_vec();
    let rank = shape.len();
    match node.op.as_str() {
        "Softmax" | "LogSoftmax" => {
            let axis = axis(importer, node, -1, rank)?;
            let softmax = importer.op(node, Op::Softmax { axis, log: false }, &[value])?;
            if node.op == "Softmax" { Ok(softmax) } else { importer.op(node, Unary::Log, &[softmax]) }
        }
        "Mean" | "Sum" | "Max" | "Min" | "Prod" => {
            let mut axes = Vec::new();
            for along in importer.integers(node, inputs, 1)?.data {
                axes.push(axis(importer, node, along, rank)?);
            }
            let kind = match node.op.as_str() {
                "Mean" => ReduceKind::Mean,
                "Sum" => ReduceKind::Sum,
                "Max" => ReduceKind::Max,
                "Min" => ReduceKind::Min,
                _ => ReduceKind::Product,
            };
            let reduced = importer.op(node, Reduce { kind, axes: axes.clone(), keep: true }, &[value])?;
            if node.boolean("keep_dims", false) {
                return Ok(reduced);
            }
            let left = (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| shape[axis]).collect();
            importer.op(node, Op::Reshape(left), &[reduced])
        }
        "ArgMax" => {
            let along = if inputs.len() > 1 { first(importer, node, inputs, 1)? } else { 0 };
            let axis = axis(importer, node, along, rank)?;
            let index = importer.op(node, Op::ArgMax { axis, last: false }, &[value])?;
            let index = importer.op(node, Op::Cast(DType::F32), &[index])?;
            let left = (0..rank).filter(|at| *at != axis).map(|at| shape[at]).collect();
            importer.op(node, Op::Reshape(left), &[index])
        }
        "Reshape" => {
            let dims = importer.integers(node, inputs, 1)?.data;
            let to = reshaped(importer, node, &shape, &dims)?;
            importer.op(node, Op::Reshape(to), &[value])
        }
        "Squeeze" => {
            let mut gone = Vec::new();
            for along in [node.integers("squeeze_dims"), node.integers("axis")].concat() {
                gone.push(axis(importer, node, along, rank)?);
            }
            let keeps = |at: &usize| if gone.is_empty() { shape[*at] != 1 } else { !gone.contains(at) };
            let to = (0..rank).filter(keeps).map(|at| shape[at]).collect();
            importer.op(node, Op::Reshape(to), &[value])
        }
        "ExpandDims" => {
            let along = first(importer, node, inputs, 1)?;
            let at = axis(importer, node, along, rank + 1)?;
            let mut to = shape;
            to.insert(at, 1);
            importer.op(node, Op::Reshape(to), &[value])
        }
        "Transpose" => {
            let order = importer.integers(node, inputs, 1)?.data;
            let order = order.iter().map(|axis| usize::try_from(*axis).unwrap_or(usize::MAX)).collect();
            importer.op(node, Op::Transpose(order), &[value])
        }
        "Tile" => {
            let repeats = importer.integers(node, inputs, 1)?.data;
            let repeats = repeats.iter().map(|repeat| usize::try_from(*repeat).unwrap_or(0)).collect();
            importer.op(node, Op::Tile(repeats), &[value])
        }
        "Slice" => {
            let [begin, size] = [importer.integers(node, inputs, 1)?, importer.integers(node, inputs, 2)?];
            let taken = slice(importer, node, &shape, &begin, &size)?;
            sliced(importer, node, value, taken)
        }
        "StridedSlice" => {
            let [begin, end, steps] = [
                importer.integers(node, inputs, 1)?,
                importer.integers(node, inputs, 2)?,
                importer.integers(node, inputs, 3)?,
            ];
            let taken = strided_slice(importer, node, &shape, [&begin, &end, &steps])?;
            sliced(importer, node, value, taken)
        }
        "LRN" => {
            let radius = usize::try_from(node.integer("depth_radius", 5)).unwrap_or(0);
            let map = importer.nchw(node, Written { value, is_nchw: false })?;
            let op = Lrn {
                size: 2 * radius.min(1 << 24) + 1,
                alpha: node.float("alpha", 1.0),
                beta: node.float("beta", 0.5),
                bias: node.float("bias", 1.0),
                within: false,
            };
            let value = importer.op(node, op, &[map])?;
            importer.plain(&node.name, Written { value, is_nchw: true })
        }
        "SpaceToDepth" | "DepthToSpace" => blocks(importer, node, value, &shape),
        "SpaceToBatchND" | "BatchToSpaceND" => batches(importer, node, inputs, value, &shape),
        _ => Err(importer
            .error(node, "the operation is not read")
            .found(node.op.clone())
            .help("name outputs before this node, as in --output-nodes NAME")),
    }
}
