//! Operators that move elements, and shape arithmetic.

use secateur_base::{Error, Result};
use secateur_tensor::op::{Pad, PadKind, Range};
use secateur_tensor::{DType, Data, MAX_ELEMENTS, Op, Spec, Tensor, Value};

use crate::onnx::call::{Call, sizes};

/// The value of an operator of this file.
pub(super) fn translate(call: &mut Call) -> Result<Option<Value>> {
    let value = match call.node.kind.as_str() {
        "Constant" => constant(call)?,
        "ConstantOfShape" => constant_of_shape(call)?,
        "Shape" => shape(call)?,
        "Size" => {
            let x = call.input(0)?;
            let len = call.spec(x).len() as i64;
            call.constant(Tensor::int(DType::I64, [], vec![len])?)
        }
        "Range" => range(call)?,
        "Reshape" => reshape(call)?,
        "Flatten" => {
            let x = call.input(0)?;
            let shape = call.shape(x);
            let axis = call.node.int("axis")?.unwrap_or(1);
            let axis = if axis == shape.len() as i64 { shape.len() } else { Call::axis(axis, shape.len())? };
            let sides = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
            call.add(Op::Reshape(sides), &[x])?
        }
        "Squeeze" => squeeze(call)?,
        "Unsqueeze" => unsqueeze(call)?,
        "Transpose" => {
            let x = call.input(0)?;
            let rank = call.spec(x).rank();
            let order = call.sizes("perm", &(0..rank).rev().collect::<Vec<_>>())?;
            call.add(Op::Transpose(order), &[x])?
        }
        "Concat" => {
            let inputs = (0..call.inputs.len()).map(|at| call.input(at)).collect::<Result<Vec<_>>>()?;
            let first = *inputs.first().ok_or_else(|| Error::new("a concatenation needs inputs"))?;
            let axis = call.axis_attribute(1, call.spec(first).rank())?;
            call.add(Op::Concat { axis }, &inputs)?
        }
        "Slice" => slice(call)?,
        "Expand" => expand(call)?,
        "Tile" => {
            let x = call.input(0)?;
            let repeats = sizes(&call.ints(1, "")?.ok_or_else(|| missing("repeats"))?)?;
            call.add(Op::Tile(repeats), &[x])?
        }
        "Pad" => pad(call)?,
        "Gather" => {
            let (x, indices) = (call.input(0)?, call.input(1)?);
            let axis = call.axis_attribute(0, call.spec(x).rank())?;
            call.add(Op::Gather { axis }, &[x, indices])?
        }
        "DepthToSpace" => depth_to_space(call)?,
        "SpaceToDepth" => space_to_depth(call)?,
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn missing(what: &str) -> Error {
    Error::new(format!("the node lacks its {what}"))
}

fn constant(call: &mut Call) -> Result<Value> {
    let node = call.node;
    let tensor = if let Some(tensor) = call.tensor("value")? {
        tensor
    } else if let Some(value) = node.float("value_float")? {
        Tensor::scalar(value)
    } else if let Some(value) = node.int("value_int")? {
        Tensor::int(DType::I64, [], vec![value])?
    } else if let Some(values) = node.floats("value_floats")? {
        Tensor::f32([values.len()], values)?
    } else if let Some(values) = node.ints("value_ints")? {
        Tensor::int(DType::I64, [values.len()], values)?
    } else {
        return Err(Error::new("a constant has no value that is read").allowed("a tensor or numbers"));
    };
    Ok(call.constant(tensor))
}

fn constant_of_shape(call: &mut Call) -> Result<Value> {
    let shape = sizes(&call.ints(0, "")?.ok_or_else(|| missing("shape"))?)?;
    let value = call.tensor("value")?.unwrap_or_else(|| Tensor::scalar(0.0));
    let spec = Spec::new(value.dtype(), shape);
    call.computed(spec, |len| match value.data() {
        Data::F32(values) => Data::F32(vec![values.first().copied().unwrap_or_default(); len]),
        Data::Int(values) => Data::Int(vec![values.first().copied().unwrap_or_default(); len]),
    })
}

fn shape(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let sides = call.shape(x);
    let rank = sides.len() as i64;
    let position = |value: i64| (if value < 0 { value + rank } else { value }).clamp(0, rank) as usize;
    let start = position(call.node.int("start")?.unwrap_or(0));
    let end = position(call.node.int("end")?.unwrap_or(rank));
    Ok(call.constant(Tensor::list(sides.get(start..end).unwrap_or_default())))
}

fn range(call: &mut Call) -> Result<Value> {
    let mut numbers = [0.0f64; 3];
    let mut dtype = DType::F32;
    for (at, number) in numbers.iter_mut().enumerate() {
        let tensor = call.parameter(at)?.ok_or_else(|| missing("start, limit or step"))?;
        dtype = tensor.dtype();
        *number = match tensor.data() {
            Data::F32(values) => values.first().map(|&value| f64::from(value)),
            Data::Int(values) => values.first().map(|&value| value as f64),
        }
        .unwrap_or_default();
    }
    let [start, limit, step] = numbers;
    let length = ((limit - start) / step).ceil().max(0.0);
    if step == 0.0 || !length.is_finite() || length > MAX_ELEMENTS as f64 {
        return Err(
            Error::new("the range never ends").found(format!("{start} to {limit} in steps of {step}"))
        );
    }
    call.computed(Spec::new(dtype, [length as usize]), |len| {
        let values = (0..len).map(|i| start + i as f64 * step);
        match dtype {
            DType::F32 => Data::F32(values.map(|value| value as f32).collect()),
            _ => Data::Int(values.map(|value| value as i64).collect()),
        }
    })
}

fn reshape(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let wanted = call.ints(1, "shape")?.ok_or_else(|| missing("shape"))?;
    let keep_zero = call.flag("allowzero")?;
    let mut sides = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &side) in wanted.iter().enumerate() {
        sides.push(match side {
            0 if !keep_zero => *shape.get(axis).ok_or_else(|| {
                Error::new("a reshape copies an axis that there is not")
                    .found(format!("{wanted:?} of {shape:?}"))
            })?,
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            side => usize::try_from(side)
                .map_err(|_| Error::new("a reshape has a negative size").found(format!("{wanted:?}")))?,
        });
    }
    if let Some(open) = open {
        let others = sides.iter().try_fold(1usize, |product, &side| product.checked_mul(side)).unwrap_or(0);
        let len: usize = shape.iter().product();
        sides[open] = len.checked_div(others).unwrap_or(0);
    }
    call.add(Op::Reshape(sides), &[x])
}

fn squeeze(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let gone = match call.ints(1, "axes")? {
        Some(axes) => Call::axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&axis| shape[axis] != 1) {
        return Err(Error::new("only axes of length 1 can go").found(format!("axis {axis} of {shape:?}")));
    }
    let rest = (0..shape.len()).filter(|axis| !gone.contains(axis)).map(|axis| shape[axis]).collect();
    call.add(Op::Reshape(rest), &[x])
}

fn unsqueeze(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let axes = call.ints(1, "axes")?.ok_or_else(|| missing("axes"))?;
    let shape = call.shape(x);
    let rank = shape.len() + axes.len();
    let new = Call::axes(&axes, rank)?;
    let mut old = shape.into_iter();
    let sides = (0..rank).map(|axis| if new.contains(&axis) { 1 } else { old.next().unwrap_or(1) }).collect();
    call.add(Op::Reshape(sides), &[x])
}

fn slice(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let starts = call.ints(1, "starts")?.ok_or_else(|| missing("starts"))?;
    let ends = call.ints(2, "ends")?.ok_or_else(|| missing("ends"))?;
    let axes = call.ints(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&length| length != starts.len()) {
        return Err(Error::new("starts, ends, axes and steps of a slice differ in length"));
    }
    let mut ranges: Vec<Range> = shape.iter().map(|&length| Range { start: 0, step: 1, length }).collect();
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = Call::axis(axis, shape.len())?;
        ranges[axis] = part(shape[axis], start, end, step)?;
    }
    call.add(Op::Slice(ranges), &[x])
}

/// The positions `start, start + step, …` before `end`, counted from the end where negative and cut to the axis.
fn part(side: usize, start: i64, end: i64, step: i64) -> Result<Range> {
    let side = side as i64;
    let step = step.clamp(-side.max(1), side.max(1));
    let from_start = |position: i64| if position < 0 { position.saturating_add(side) } else { position };
    let (start, end) = (from_start(start), from_start(end));
    let length = match step {
        0 => return Err(Error::new("a slice in steps of 0 never ends")),
        1.. => {
            let (start, end) = (start.clamp(0, side), end.clamp(0, side));
            ((end - start).max(0) + step - 1) / step
        }
        _ => {
            let (start, end) = (start.clamp(-1, side - 1), end.clamp(-1, side - 1));
            ((start - end).max(0) - step - 1) / -step
        }
    };
    let first = if step > 0 { start.clamp(0, side) } else { start.clamp(-1, side - 1).max(0) };
    Ok(Range { start: first as usize, step: step as isize, length: length as usize })
}

pub(super) fn split(call: &mut Call) -> Result<Vec<Value>> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let axis = call.axis_attribute(0, shape.len())?;
    let parts = call.node.outputs.len().max(1);
    let lengths = match call.ints(1, "split")? {
        Some(lengths) => sizes(&lengths)?,
        None => {
            // The last part is smaller where the axis cannot be divided.
            let each = shape[axis].div_ceil(parts);
            (0..parts).map(|part| each.min(shape[axis].saturating_sub(part * each))).collect()
        }
    };
    if lengths.iter().fold(0usize, |sum, &length| sum.saturating_add(length)) != shape[axis] {
        return Err(Error::new("the parts of a split are not the whole")
            .found(format!("{lengths:?}"))
            .allowed(format!("a sum of {}", shape[axis])));
    }
    let mut start = 0;
    lengths
        .into_iter()
        .map(|length| {
            let mut ranges: Vec<Range> =
                shape.iter().map(|&length| Range { start: 0, step: 1, length }).collect();
            ranges[axis] = Range { start, step: 1, length };
            start += length;
            call.add(Op::Slice(ranges), &[x])
        })
        .collect()
}

fn expand(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let own = call.shape(x);
    let wanted = sizes(&call.ints(1, "")?.ok_or_else(|| missing("shape"))?)?;
    // Either side may be the one that repeats.
    let rank = own.len().max(wanted.len());
    let side = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |position| shape[position])
    };
    let sides = (0..rank).map(|axis| match side(&wanted, axis) {
        1 => side(&own, axis),
        wanted => wanted,
    });
    call.add(Op::Expand(sides.collect()), &[x])
}

fn pad(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let shape = call.shape(x);
    let pads = call.ints(1, "pads")?.ok_or_else(|| missing("pads"))?;
    let value = call.float(2, "value")?.unwrap_or(0.0);
    let axes = match call.ints(3, "")? {
        Some(axes) => axes.iter().map(|&axis| Call::axis(axis, shape.len())).collect::<Result<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(Error::new("a pad needs two numbers for every axis").found(format!("{pads:?}")));
    }
    let kind = match call.node.text("mode")?.as_deref().unwrap_or("constant") {
        "constant" => PadKind::Constant(value),
        "edge" => PadKind::Edge,
        "reflect" => PadKind::Reflect,
        "wrap" => PadKind::Wrap,
        other => return Err(Call::refuse("mode", other, "constant, edge, reflect or wrap")),
    };
    // Negative pads cut.
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let mut ranges: Vec<Range> = shape.iter().map(|&length| Range { start: 0, step: 1, length }).collect();
    for (at, &axis) in axes.iter().enumerate() {
        let (first, last) = (pads[at], pads[at + axes.len()]);
        let cut = |pad: i64| usize::try_from(-pad.min(0)).unwrap_or(usize::MAX);
        let (front, back) = (cut(first), cut(last));
        let length =
            shape[axis].checked_sub(front).and_then(|rest| rest.checked_sub(back)).ok_or_else(|| {
                Error::new("a pad cuts more than there is").found(format!("{pads:?} of {shape:?}"))
            })?;
        ranges[axis] = Range { start: front.min(shape[axis]), step: 1, length };
        before[axis] = first.max(0) as usize;
        after[axis] = last.max(0) as usize;
    }
    let cut = if pads.iter().any(|&pad| pad < 0) { call.add(Op::Slice(ranges), &[x])? } else { x };
    call.add(Op::Pad(Pad { before, after, kind }), &[cut])
}

/// Block size, and the sides of an image.
fn blocks(call: &Call, x: Value) -> Result<(usize, [usize; 4])> {
    let block = call.node.int("blocksize")?.unwrap_or(0);
    let block = usize::try_from(block).ok().filter(|&n| n > 0);
    let block = block.ok_or_else(|| Error::new("the block's size must be positive"))?;
    match call.shape(x)[..] {
        [n, c, h, w] => Ok((block, [n, c, h, w])),
        ref shape => Err(Error::new("blocks need images").found(format!("{shape:?}")).allowed("four axes")),
    }
}

fn depth_to_space(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let (block, [n, c, h, w]) = blocks(call, x)?;
    let squared = block.saturating_mul(block);
    if c % squared != 0 {
        return Err(
            Error::new("the channels cannot be divided into blocks").found(format!("{c} by {squared}"))
        );
    }
    let inner = c / squared;
    let (sides, order) = match call.node.text("mode")?.as_deref().unwrap_or("DCR") {
        "DCR" => ([n, block, block, inner, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, inner, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(Call::refuse("mode", other, "DCR or CRD")),
    };
    let split = call.add(Op::Reshape(sides.to_vec()), &[x])?;
    let moved = call.add(Op::Transpose(order.to_vec()), &[split])?;
    call.add(Op::Reshape(vec![n, inner, h * block, w * block]), &[moved])
}

fn space_to_depth(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let (block, [n, c, h, w]) = blocks(call, x)?;
    if h % block != 0 || w % block != 0 {
        return Err(
            Error::new("the image cannot be divided into blocks").found(format!("{h} × {w} by {block}"))
        );
    }
    let split = call.add(Op::Reshape(vec![n, c, h / block, block, w / block, block]), &[x])?;
    let order = match call.node.text("mode")?.as_deref().unwrap_or("DCR") {
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        _ => vec![0, 3, 5, 1, 2, 4],
    };
    let moved = call.add(Op::Transpose(order), &[split])?;
    call.add(Op::Reshape(vec![n, c * block * block, h / block, w / block]), &[moved])
}
