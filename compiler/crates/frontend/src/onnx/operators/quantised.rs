//! Integers with scales and zero points.

use secateur_base::{Error, Result};
use secateur_tensor::op::{Binary, Conv};
use secateur_tensor::{DType, Op, Tensor, Value};

use super::spatial;
use crate::onnx::call::Call;

/// Scale and zero point; a missing zero point is 0 of type `missing`.
fn pair(call: &mut Call, at: usize, missing: DType) -> Result<(Value, Value)> {
    let scale = call.input(at)?;
    if let Some(zero_point) = call.optional(at + 1) {
        return Ok((scale, zero_point));
    }
    let shape = call.shape(scale);
    let zeros = vec![0; shape.iter().product()];
    Ok((scale, call.constant(Tensor::int(missing, shape, zeros)?)))
}

/// The axis of scales that are more than one.
fn axis(call: &Call, x: Value, scale: Value) -> Result<usize> {
    if call.node.int("block_size")?.unwrap_or(0) != 0 {
        return Err(Error::new("scales of blocks are not read")
            .allowed("one scale, or one for each position of an axis"));
    }
    match call.shape(scale)[..] {
        [] | [1] => Ok(0),
        _ => call.axis_attribute(1, call.spec(x).rank()),
    }
}

pub(super) fn quantize(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let missing = match call.node.int("output_dtype")?.unwrap_or(0) {
        0 => DType::U8,
        number => crate::onnx::proto::dtype(number as u64)?,
    };
    let (scale, zero_point) = pair(call, 1, missing)?;
    let axis = axis(call, x, scale)?;
    call.add(Op::Quantize { axis }, &[x, scale, zero_point])
}

pub(super) fn dequantize(call: &mut Call) -> Result<Value> {
    let x = call.input(0)?;
    let dtype = call.spec(x).dtype;
    let (scale, zero_point) = pair(call, 1, dtype)?;
    let axis = axis(call, x, scale)?;
    call.add(Op::Dequantize { axis }, &[x, scale, zero_point])
}

/// `x − zero_point` in 32 bits; several zero points lie along `axis`.
fn centred(call: &mut Call, x: Value, zero_point: Option<Value>, axis: usize) -> Result<Value> {
    let wide = call.add(Op::Cast(DType::I32), &[x])?;
    let Some(zero_point) = zero_point else { return Ok(wide) };
    let zero_point = call.add(Op::Cast(DType::I32), &[zero_point])?;
    let zero_point = along(call, zero_point, axis, call.spec(x).rank())?;
    call.add(Op::Binary(Binary::Sub), &[wide, zero_point])
}

/// A list as a tensor that repeats on every axis but `axis`.
fn along(call: &mut Call, list: Value, axis: usize, rank: usize) -> Result<Value> {
    match call.shape(list)[..] {
        [length] if length > 1 => {
            let mut shape = vec![1; rank];
            *shape.get_mut(axis).ok_or_else(|| Error::new("a tensor has too few axes for its scales"))? =
                length;
            call.add(Op::Reshape(shape), &[list])
        }
        _ => Ok(list),
    }
}

pub(super) fn conv_integer(call: &mut Call) -> Result<Value> {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    integer_conv(call, [x, weights], [call.optional(2), call.optional(3)], None)
}

fn integer_conv(
    call: &mut Call,
    [x, weights]: [Value; 2],
    zero_points: [Option<Value>; 2],
    bias: Option<Value>,
) -> Result<Value> {
    let window = spatial::window(call, &call.shape(x), spatial::kernel(call, weights)?)?;
    let groups = spatial::groups(call)?;
    // Padding is the zero point, so that it is 0 here.
    let x = centred(call, x, zero_points[0], 1)?;
    let weights = centred(call, weights, zero_points[1], 0)?;
    let inputs: Vec<Value> = [Some(x), Some(weights), bias].into_iter().flatten().collect();
    call.add(Op::Conv(Conv { window, groups }), &inputs)
}

pub(super) fn matmul_integer(call: &mut Call) -> Result<Value> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    integer_matmul(call, [a, b], [call.optional(2), call.optional(3)])
}

fn integer_matmul(call: &mut Call, [a, b]: [Value; 2], zero_points: [Option<Value>; 2]) -> Result<Value> {
    let rows = call.spec(a).rank().saturating_sub(2);
    let columns = call.spec(b).rank().saturating_sub(1);
    let a = centred(call, a, zero_points[0], rows)?;
    let b = centred(call, b, zero_points[1], columns)?;
    call.add(Op::MatMul, &[a, b])
}

/// `x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias`.
pub(super) fn qlinear_conv(call: &mut Call) -> Result<Value> {
    let (x, weights) = (call.input(0)?, call.input(3)?);
    let sums = integer_conv(call, [x, weights], [call.optional(2), call.optional(5)], call.optional(8))?;
    requantise(call, sums, [1, 4, 6, 7], 1)
}

/// `a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero`.
pub(super) fn qlinear_matmul(call: &mut Call) -> Result<Value> {
    let (a, b) = (call.input(0)?, call.input(3)?);
    let sums = integer_matmul(call, [a, b], [call.optional(2), call.optional(5)])?;
    let last = call.spec(sums).rank().saturating_sub(1);
    requantise(call, sums, [1, 4, 6, 7], last)
}

/// Sums of products of two scales as integers of a third.
fn requantise(
    call: &mut Call,
    sums: Value,
    [a, b, scale, zero_point]: [usize; 4],
    axis: usize,
) -> Result<Value> {
    let rank = call.spec(sums).rank();
    let mut real = call.add(Op::Cast(DType::F32), &[sums])?;
    for at in [a, b] {
        let factor = call.input(at)?;
        let factor = along(call, factor, axis, rank)?;
        real = call.add(Op::Binary(Binary::Mul), &[real, factor])?;
    }
    let (scale, zero_point) = (call.input(scale)?, call.input(zero_point)?);
    call.add(Op::Quantize { axis: 0 }, &[real, scale, zero_point])
}
