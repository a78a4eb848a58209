//! Types and shapes of what operators yield.

use secateur_base::{Error, Result};

use crate::op::{Binary, Conv, ConvTranspose, Op, Pool, PoolRounding, Unary, Window};
use crate::tensor::{DType, MAX_ELEMENTS, Spec};

/// Type and shape of an operator's output. Operators that pass this check cannot fail later, but for indices that
/// are data.
///
/// # Errors
/// Number, types or shapes of the inputs do not fit the operator, or the output would be too large.
pub fn infer(op: &Op, inputs: &[&Spec]) -> Result<Spec> {
    count(op, inputs.len())?;
    let spec = match op {
        Op::Unary(unary) => return self::unary(*unary, inputs[0]),
        Op::Binary(binary) => return self::binary(*binary, inputs[0], inputs[1]),
        Op::Where => {
            typed(inputs[0], &[DType::Bool])?;
            same_type(inputs[1], inputs[2])?;
            let shape = broadcast(&inputs[0].shape, &broadcast(&inputs[1].shape, &inputs[2].shape)?)?;
            Spec::new(inputs[1].dtype, shape)
        }
        Op::Cast(dtype) => Spec::new(*dtype, inputs[0].shape.clone()),
        Op::Conv(conv) => self::conv(conv, inputs)?,
        Op::ConvTranspose(conv) => conv_transpose(conv, inputs)?,
        Op::Pool(pool) => self::pool(pool, inputs[0])?,
        Op::Reduce(reduce) => {
            if !reduce.axes.is_sorted_by(|a, b| a < b) {
                return Err(Error::new("axes must ascend").found(format!("{:?}", reduce.axes)));
            }
            reduce.axes.iter().try_for_each(|&axis| has_axis(inputs[0], axis))?;
            let sides = inputs[0].shape.iter().enumerate();
            let shape: Vec<usize> = sides
                .filter(|(axis, _)| reduce.keep || !reduce.axes.contains(axis))
                .map(|(axis, &side)| if reduce.axes.contains(&axis) { 1 } else { side })
                .collect();
            Spec::new(inputs[0].dtype, shape)
        }
        Op::MatMul => matmul(inputs[0], inputs[1])?,
        Op::BatchNorm { .. } => {
            let channels = *at(inputs[0], 1)?;
            for input in inputs {
                typed(input, &[DType::F32])?;
            }
            for input in &inputs[1..] {
                shaped(input, &[channels])?;
            }
            inputs[0].clone()
        }
        Op::Softmax { axis, .. } => {
            typed(inputs[0], &[DType::F32])?;
            has_axis(inputs[0], *axis)?;
            inputs[0].clone()
        }
        Op::Lrn(lrn) => {
            typed(inputs[0], &[DType::F32])?;
            if lrn.size == 0 || inputs[0].rank() < 2 || lrn.within && inputs[0].rank() != 4 {
                return Err(Error::new("local response normalisation needs a window and channels")
                    .found(format!("a window of {} on {}", lrn.size, inputs[0])));
            }
            inputs[0].clone()
        }
        Op::Reshape(shape) => {
            let spec = Spec::new(inputs[0].dtype, shape.clone()).check()?;
            if spec.len() != inputs[0].len() {
                return Err(Error::new("a reshape must keep the number of elements")
                    .found(format!("{:?} as {:?}", inputs[0].shape, shape)));
            }
            spec
        }
        Op::Transpose(order) => {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..inputs[0].rank()) {
                return Err(Error::new("a transpose needs every axis once")
                    .found(format!("{order:?}"))
                    .allowed(format!("a permutation of {} axes", inputs[0].rank())));
            }
            Spec::new(inputs[0].dtype, order.iter().map(|&axis| inputs[0].shape[axis]).collect::<Vec<_>>())
        }
        Op::Concat { axis } => concat(*axis, inputs)?,
        Op::Slice(ranges) => {
            ranked(inputs[0], ranges.len())?;
            for (range, &side) in ranges.iter().zip(&inputs[0].shape) {
                let last = range.length.checked_sub(1).and_then(|steps| {
                    let steps = isize::try_from(steps).ok()?.checked_mul(range.step)?;
                    range.start.checked_add_signed(steps)
                });
                if range.length > 0 && (range.start >= side || last.is_none_or(|last| last >= side)) {
                    return Err(Error::new("a slice leaves the tensor")
                        .found(format!("{} from {} in steps of {}", range.length, range.start, range.step))
                        .allowed(format!("positions below {side}")));
                }
            }
            Spec::new(inputs[0].dtype, ranges.iter().map(|range| range.length).collect::<Vec<_>>())
        }
        Op::Expand(shape) => {
            if broadcast(&inputs[0].shape, shape)? != *shape {
                return Err(shapes_differ(&inputs[0].shape, shape));
            }
            Spec::new(inputs[0].dtype, shape.clone())
        }
        Op::Tile(repeats) => {
            ranked(inputs[0], repeats.len())?;
            let sides = inputs[0].shape.iter().zip(repeats);
            Spec::new(inputs[0].dtype, sides.map(|(&side, &n)| side.saturating_mul(n)).collect::<Vec<_>>())
        }
        Op::Pad(pad) => {
            ranked(inputs[0], pad.before.len())?;
            ranked(inputs[0], pad.after.len())?;
            let shape: Vec<usize> = (0..inputs[0].rank())
                .map(|axis| add(&[inputs[0].shape[axis], pad.before[axis], pad.after[axis]]))
                .collect();
            if !matches!(pad.kind, crate::op::PadKind::Constant(_)) && inputs[0].is_empty() {
                return Err(Error::new("nothing can be repeated around an empty tensor"));
            }
            Spec::new(inputs[0].dtype, shape)
        }
        Op::Gather { axis } => {
            has_axis(inputs[0], *axis)?;
            integer(inputs[1])?;
            let mut shape = inputs[0].shape[..*axis].to_vec();
            shape.extend(&inputs[1].shape);
            shape.extend(&inputs[0].shape[axis + 1..]);
            Spec::new(inputs[0].dtype, shape)
        }
        Op::Resize(resize) => {
            ranked(inputs[0], resize.shape.len())?;
            ranked(inputs[0], resize.scales.len())?;
            if resize.scales.iter().any(|scale| !(scale.is_finite() && *scale > 0.0)) || inputs[0].is_empty()
            {
                return Err(Error::new("a resize needs positive scales and an image")
                    .found(format!("{:?} of {}", resize.scales, inputs[0])));
            }
            Spec::new(inputs[0].dtype, resize.shape.clone())
        }
        Op::ArgMax { axis, .. } => {
            has_axis(inputs[0], *axis)?;
            if inputs[0].shape[*axis] == 0 {
                return Err(Error::new("there is no greatest of no elements"));
            }
            let mut shape = inputs[0].shape.clone();
            shape[*axis] = 1;
            Spec::new(DType::I64, shape)
        }
        Op::Quantize { axis } => {
            typed(inputs[0], &[DType::F32, DType::I32])?;
            scales(inputs[0], *axis, inputs[1], inputs[2])?;
            Spec::new(inputs[2].dtype, inputs[0].shape.clone())
        }
        Op::Dequantize { axis } => {
            integer(inputs[0])?;
            scales(inputs[0], *axis, inputs[1], inputs[2])?;
            Spec::new(DType::F32, inputs[0].shape.clone())
        }
        Op::DetectionOutput(output) => return crate::eval::ssd::infer(output, inputs),
    };
    spec.check()
}

/// About how many steps an evaluation takes: elements that are read or written.
pub(crate) fn steps(op: &Op, inputs: &[&Spec], output: &Spec) -> usize {
    let each = match op {
        Op::Conv(_) | Op::ConvTranspose(_) => inputs[1].len(),
        Op::Pool(pool) => pool.window.kernel.iter().fold(1usize, |taps, &side| taps.saturating_mul(side)),
        Op::MatMul => inputs[0].shape.last().copied().unwrap_or(1),
        Op::Lrn(lrn) if lrn.within => lrn.size.saturating_mul(lrn.size),
        Op::Lrn(lrn) => lrn.size,
        // A filter that is widened for downsampling reads whole axes.
        Op::Resize(resize) if resize.antialias => inputs[0].shape.iter().sum(),
        Op::Resize(_) => 16,
        _ => 1,
    };
    let read = inputs.iter().fold(0usize, |sum, input| sum.saturating_add(input.len()));
    output.len().saturating_mul(each).saturating_add(read)
}

/// Checks the number of inputs.
fn count(op: &Op, found: usize) -> Result<()> {
    let allowed = match op {
        Op::Binary(_) | Op::MatMul | Op::Gather { .. } => 2..=2,
        Op::Where | Op::Quantize { .. } | Op::Dequantize { .. } | Op::DetectionOutput(_) => 3..=3,
        Op::Conv(_) | Op::ConvTranspose(_) => 2..=3,
        Op::BatchNorm { .. } => 5..=5,
        Op::Concat { .. } => 1..=usize::MAX,
        _ => 1..=1,
    };
    if allowed.contains(&found) {
        return Ok(());
    }
    Err(Error::new("the operator has another number of inputs").found(format!("{found}")).allowed(format!(
        "{} to {}",
        allowed.start(),
        allowed.end()
    )))
}

fn unary(unary: Unary, input: &Spec) -> Result<Spec> {
    let integers = match unary {
        Unary::Identity => true,
        Unary::Not => return typed(input, &[DType::Bool]).map(|()| input.clone()),
        Unary::Abs
        | Unary::Neg
        | Unary::Sign
        | Unary::Square
        | Unary::Relu
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Clip { .. } => input.dtype != DType::Bool,
        _ => false,
    };
    if !integers {
        typed(input, &[DType::F32])?;
    }
    Ok(input.clone())
}

fn binary(binary: Binary, a: &Spec, b: &Spec) -> Result<Spec> {
    if binary != Binary::Pow {
        same_type(a, b)?;
    }
    match binary {
        Binary::And | Binary::Or => typed(a, &[DType::Bool])?,
        Binary::Equal => (),
        Binary::Pow if b.dtype == DType::Bool => typed(b, &[DType::F32, DType::I32, DType::I64])?,
        _ if a.dtype == DType::Bool => typed(a, &[DType::F32, DType::I32, DType::I64])?,
        _ => (),
    }
    let dtype = if binary.is_predicate() { DType::Bool } else { a.dtype };
    Spec::new(dtype, broadcast(&a.shape, &b.shape)?).check()
}

/// The shape that two shapes have in common when axes of length 1 and missing outer axes repeat.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let side = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => 1,
    };
    (0..rank)
        .map(|axis| match (side(a, axis), side(b, axis)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(shapes_differ(a, b)),
        })
        .collect()
}

fn conv(conv: &Conv, inputs: &[&Spec]) -> Result<Spec> {
    let (input, weights) = (inputs[0], inputs[1]);
    spatial(&conv.window, input)?;
    if inputs.iter().any(|spec| spec.dtype == DType::F32) {
        inputs.iter().try_for_each(|spec| typed(spec, &[DType::F32]))?;
    }
    ranked(weights, input.rank())?;
    let (channels, filters) = (input.shape[1], weights.shape[0]);
    let fits = conv.groups > 0
        && channels % conv.groups == 0
        && filters % conv.groups == 0
        && weights.shape[1] == channels / conv.groups
        && weights.shape[2..] == conv.window.kernel;
    if !fits {
        return Err(Error::new("the weights do not fit the convolution").found(format!(
            "weights {:?} with {} groups and a kernel of {:?} on {:?}",
            weights.shape, conv.groups, conv.window.kernel, input.shape
        )));
    }
    if let Some(bias) = inputs.get(2) {
        shaped(bias, &[filters])?;
    }
    let mut shape = vec![input.shape[0], filters];
    for axis in 0..conv.window.kernel.len() {
        shape.push(positions(&conv.window, axis, input.shape[axis + 2], PoolRounding::Floor)?);
    }
    let dtype = if input.dtype == DType::F32 { DType::F32 } else { DType::I32 };
    Ok(Spec::new(dtype, shape))
}

fn conv_transpose(conv: &ConvTranspose, inputs: &[&Spec]) -> Result<Spec> {
    let (input, weights) = (inputs[0], inputs[1]);
    spatial(&conv.window, input)?;
    inputs.iter().try_for_each(|spec| typed(spec, &[DType::F32]))?;
    ranked(weights, input.rank())?;
    let fits = conv.groups > 0
        && input.shape[1] % conv.groups == 0
        && weights.shape[0] == input.shape[1]
        && weights.shape[2..] == conv.window.kernel
        && conv.output_padding.len() == conv.window.kernel.len();
    if !fits {
        return Err(Error::new("the weights do not fit the transposed convolution").found(format!(
            "weights {:?} with {} groups and a kernel of {:?} on {:?}",
            weights.shape, conv.groups, conv.window.kernel, input.shape
        )));
    }
    let filters = weights.shape[1].saturating_mul(conv.groups);
    if let Some(bias) = inputs.get(2) {
        shaped(bias, &[filters])?;
    }
    let mut shape = vec![input.shape[0], filters];
    for axis in 0..conv.window.kernel.len() {
        let steps = input.shape[axis + 2].saturating_sub(1).saturating_mul(conv.window.strides[axis]);
        let whole = add(&[steps, conv.window.reach(axis), conv.output_padding[axis]]);
        let lost = add(&[conv.window.before[axis], conv.window.after[axis]]);
        let side = whole.checked_sub(lost).filter(|_| input.shape[axis + 2] > 0).ok_or_else(|| {
            Error::new("nothing is left of the transposed convolution's output")
                .found(format!("{whole} positions of which {lost} are cut"))
        })?;
        shape.push(side);
    }
    Ok(Spec::new(DType::F32, shape))
}

fn pool(pool: &Pool, input: &Spec) -> Result<Spec> {
    spatial(&pool.window, input)?;
    let mut shape = input.shape[..2].to_vec();
    for axis in 0..pool.window.kernel.len() {
        shape.push(positions(&pool.window, axis, input.shape[axis + 2], pool.rounding)?);
    }
    Ok(Spec::new(input.dtype, shape))
}

/// Checks that a window has the input's axes of space, and positive sizes.
fn spatial(window: &Window, input: &Spec) -> Result<()> {
    let axes = input.rank().saturating_sub(2);
    let lists = [&window.kernel, &window.strides, &window.dilations, &window.before, &window.after];
    if !(1..=2).contains(&axes) || lists.iter().any(|list| list.len() != axes) {
        return Err(Error::new("the window has other axes than its input")
            .found(format!("a kernel of {:?} on {:?}", window.kernel, input.shape))
            .allowed("one or two axes after batch and channels"));
    }
    let sizes = window.kernel.iter().chain(&window.strides).chain(&window.dilations);
    if sizes.into_iter().any(|&size| size == 0 || size > MAX_ELEMENTS) {
        return Err(Error::new("kernel, strides and dilations must be positive").found(format!("{window:?}")));
    }
    Ok(())
}

/// Number of positions of a window along an axis of `side`.
fn positions(window: &Window, axis: usize, side: usize, rounding: PoolRounding) -> Result<usize> {
    let padded = add(&[side, window.before[axis], window.after[axis]]);
    let reach = window.reach(axis);
    let free = padded.checked_sub(reach).filter(|_| side > 0).ok_or_else(|| {
        Error::new("the kernel is larger than the padded input")
            .found(format!("{reach} positions on {padded}"))
            .allowed("at most as many")
    })?;
    let stride = window.strides[axis];
    Ok(match rounding {
        PoolRounding::Floor => free / stride + 1,
        PoolRounding::Ceil => {
            let positions = free.div_ceil(stride) + 1;
            // A last window that begins behind the map holds padding only.
            if (positions - 1) * stride >= side + window.before[axis] { positions - 1 } else { positions }
        }
    })
}

fn matmul(a: &Spec, b: &Spec) -> Result<Spec> {
    same_type(a, b)?;
    let (Some(&inner_a), Some(&inner_b)) = (a.shape.last(), b.shape.get(b.rank().saturating_sub(2))) else {
        return Err(Error::new("a matrix product needs matrices").found(format!("{a} and {b}")));
    };
    if inner_a != inner_b {
        return Err(shapes_differ(&a.shape, &b.shape));
    }
    let outer = |spec: &Spec| spec.shape[..spec.rank().saturating_sub(2)].to_vec();
    let mut shape = broadcast(&outer(a), &outer(b))?;
    if a.rank() > 1 {
        shape.push(a.shape[a.rank() - 2]);
    }
    if b.rank() > 1 {
        shape.push(b.shape[b.rank() - 1]);
    }
    Ok(Spec::new(a.dtype, shape))
}

fn concat(axis: usize, inputs: &[&Spec]) -> Result<Spec> {
    let first = inputs[0];
    has_axis(first, axis)?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for input in inputs {
        same_type(first, input)?;
        let others = |spec: &Spec| {
            spec.shape.iter().enumerate().filter(|&(i, _)| i != axis).map(|(_, &n)| n).collect()
        };
        let (a, b): (Vec<usize>, Vec<usize>) = (others(first), others(input));
        if input.rank() != first.rank() || a != b {
            return Err(shapes_differ(&first.shape, &input.shape));
        }
        shape[axis] = add(&[shape[axis], input.shape[axis]]);
    }
    Ok(Spec::new(first.dtype, shape))
}

/// Checks scale and zero point of a quantisation.
fn scales(input: &Spec, axis: usize, scale: &Spec, zero_point: &Spec) -> Result<()> {
    typed(scale, &[DType::F32])?;
    integer(zero_point)?;
    if scale.shape != zero_point.shape {
        return Err(shapes_differ(&scale.shape, &zero_point.shape));
    }
    match scale.rank() {
        0 => Ok(()),
        1 if scale.shape[0] == 1 => Ok(()),
        _ => {
            has_axis(input, axis)?;
            shaped(scale, &[input.shape[axis]])
        }
    }
}

fn add(sides: &[usize]) -> usize {
    sides.iter().fold(0usize, |sum, &side| sum.saturating_add(side))
}

fn at(spec: &Spec, axis: usize) -> Result<&usize> {
    spec.shape.get(axis).ok_or_else(|| too_few_axes(spec, axis))
}

fn has_axis(spec: &Spec, axis: usize) -> Result<()> {
    at(spec, axis).map(|_| ())
}

fn too_few_axes(spec: &Spec, axis: usize) -> Error {
    Error::new("a tensor has too few axes").found(format!("axis {axis} of {spec}"))
}

pub(crate) fn ranked(spec: &Spec, rank: usize) -> Result<()> {
    if spec.rank() == rank {
        return Ok(());
    }
    Err(Error::new("a tensor has another number of axes")
        .found(format!("{spec}"))
        .allowed(format!("{rank} axes")))
}

pub(crate) fn shaped(spec: &Spec, shape: &[usize]) -> Result<()> {
    if spec.shape == shape {
        return Ok(());
    }
    Err(Error::new("a tensor has another shape").found(format!("{spec}")).allowed(format!("{shape:?}")))
}

pub(crate) fn typed(spec: &Spec, allowed: &[DType]) -> Result<()> {
    if allowed.contains(&spec.dtype) {
        return Ok(());
    }
    let names: Vec<&str> = allowed.iter().map(|dtype| dtype.name()).collect();
    Err(Error::new("a tensor has another type").found(spec.dtype.name()).allowed(names.join(", ")))
}

fn integer(spec: &Spec) -> Result<()> {
    if spec.dtype.is_integer() {
        return Ok(());
    }
    Err(Error::new("a tensor has another type").found(spec.dtype.name()).allowed("an integer type"))
}

fn same_type(a: &Spec, b: &Spec) -> Result<()> {
    if a.dtype == b.dtype {
        return Ok(());
    }
    Err(Error::new("two tensors differ in type").found(format!("{} and {}", a.dtype.name(), b.dtype.name())))
}

fn shapes_differ(a: &[usize], b: &[usize]) -> Error {
    Error::new("shapes do not fit together").found(format!("{a:?} and {b:?}"))
}
