//! Operators that treat every element alone.

use crate::op::{Binary, Unary};
use crate::tensor::{DType, Data, Spec, Tensor};

use super::strides;

pub(super) fn unary(op: Unary, x: &Tensor) -> Tensor {
    let dtype = x.dtype();
    let data = match x.data() {
        Data::F32(values) => Data::F32(values.iter().map(|&value| of_float(op, value)).collect()),
        Data::Int(values) => {
            Data::Int(values.iter().map(|&value| dtype.wrap(of_integer(op, value))).collect())
        }
    };
    tensor(x.spec().clone(), data)
}

fn of_float(op: Unary, x: f32) -> f32 {
    match op {
        Unary::Identity => x,
        Unary::Abs => x.abs(),
        Unary::Neg => -x,
        Unary::Not => f32::from(x == 0.0),
        Unary::Sign => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        Unary::Exp => libm::expf(x),
        Unary::Log => libm::logf(x),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Square => x * x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Sin => libm::sinf(x),
        Unary::Cos => libm::cosf(x),
        Unary::Erf => libm::erff(x),
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::LeakyRelu(alpha) => {
            if x < 0.0 {
                alpha * x
            } else {
                x
            }
        }
        Unary::Elu(alpha) => {
            if x < 0.0 {
                alpha * libm::expm1f(x)
            } else {
                x
            }
        }
        Unary::Selu { alpha, gamma } => gamma * of_float(Unary::Elu(alpha), x),
        Unary::Sigmoid => sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::Swish(alpha) => x * sigmoid(alpha * x),
        Unary::Tanh => libm::tanhf(x),
        Unary::Softplus => softplus(x),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Gelu => {
            let x = f64::from(x);
            (0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
        }
        Unary::GeluTanh => {
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            (0.5 * x * (1.0 + libm::tanh(inner))) as f32
        }
        Unary::Mish => x * libm::tanhf(softplus(x)),
        Unary::Above(threshold) => f32::from(u8::from(x > threshold)),
        Unary::ThresholdedRelu(alpha) => {
            if x > alpha {
                x
            } else {
                0.0
            }
        }
        // `clamp` would panic where the limits cross: the upper one then wins, as ONNX has it.
        Unary::Clip { low, high } => x.max(low).min(high),
        Unary::Power { power, scale, shift } => {
            let base = shift + scale * x;
            if power == 1.0 { base } else { libm::powf(base, power) }
        }
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

fn softplus(x: f32) -> f32 {
    // The greater part is split off, so that the exponential does not overflow.
    x.max(0.0) + libm::log1pf(libm::expf(-x.abs()))
}

fn of_integer(op: Unary, x: i64) -> i64 {
    match op {
        Unary::Abs => x.wrapping_abs(),
        Unary::Neg => x.wrapping_neg(),
        Unary::Not => i64::from(x == 0),
        Unary::Sign => x.signum(),
        Unary::Square => x.wrapping_mul(x),
        Unary::Relu => x.max(0),
        // A limit beyond an i64 saturates in the conversion.
        Unary::Clip { low, high } => {
            let low = if low == f32::NEG_INFINITY { i64::MIN } else { low.ceil() as i64 };
            let high = if high == f32::INFINITY { i64::MAX } else { high.floor() as i64 };
            x.max(low).min(high)
        }
        // Of the rest, shape inference lets through what leaves integers as they are.
        _ => x,
    }
}

pub(super) fn binary(op: Binary, a: &Tensor, b: &Tensor, spec: &Spec) -> Tensor {
    let dtype = a.dtype();
    match (a.data(), b.data()) {
        (Data::F32(x), Data::F32(y)) if op.is_predicate() => {
            let data = zipped(a, b, spec, |i, j| i64::from(predicate(op, x[i], y[j])));
            tensor(spec.clone(), Data::Int(data))
        }
        (Data::Int(x), Data::Int(y)) if op.is_predicate() => {
            let data = zipped(a, b, spec, |i, j| {
                i64::from(match dtype {
                    DType::U64 => predicate(op, x[i] as u64, y[j] as u64),
                    DType::Bool => match op {
                        Binary::And => x[i] & y[j] != 0,
                        Binary::Or => x[i] | y[j] != 0,
                        _ => predicate(op, x[i], y[j]),
                    },
                    _ => predicate(op, x[i], y[j]),
                })
            });
            tensor(spec.clone(), Data::Int(data))
        }
        (Data::F32(x), Data::F32(y)) => {
            let data = match op {
                Binary::Add => zipped(a, b, spec, |i, j| x[i] + y[j]),
                Binary::Sub => zipped(a, b, spec, |i, j| x[i] - y[j]),
                Binary::Mul => zipped(a, b, spec, |i, j| x[i] * y[j]),
                _ => zipped(a, b, spec, |i, j| of_floats(op, x[i], y[j])),
            };
            tensor(spec.clone(), Data::F32(data))
        }
        (Data::F32(x), Data::Int(_)) => {
            let y = b.to_f32();
            tensor(spec.clone(), Data::F32(zipped(a, b, spec, |i, j| libm::powf(x[i], y[j]))))
        }
        (Data::Int(x), Data::F32(y)) => {
            // An integer base with a real exponent: rounded towards zero.
            let data = zipped(a, b, spec, |i, j| dtype.wrap(libm::pow(x[i] as f64, f64::from(y[j])) as i64));
            tensor(spec.clone(), Data::Int(data))
        }
        (Data::Int(x), Data::Int(y)) => {
            let data = zipped(a, b, spec, |i, j| dtype.wrap(of_integers(op, x[i], y[j], dtype)));
            tensor(spec.clone(), Data::Int(data))
        }
    }
}

fn predicate<T: PartialOrd>(op: Binary, a: T, b: T) -> bool {
    match op {
        Binary::Less => a < b,
        Binary::LessOrEqual => a <= b,
        Binary::Greater => a > b,
        Binary::GreaterOrEqual => a >= b,
        _ => a == b,
    }
}

fn of_floats(op: Binary, a: f32, b: f32) -> f32 {
    match op {
        Binary::Div => a / b,
        Binary::FloorDiv => (a / b).floor(),
        Binary::Mod { truncated: true } => libm::fmodf(a, b),
        Binary::Mod { truncated: false } => a - b * (a / b).floor(),
        Binary::Pow => libm::powf(a, b),
        Binary::Max => {
            if a >= b || a.is_nan() {
                a
            } else {
                b
            }
        }
        Binary::Min => {
            if a <= b || a.is_nan() {
                a
            } else {
                b
            }
        }
        Binary::SquaredDifference => (a - b) * (a - b),
        _ => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
    }
}

fn of_integers(op: Binary, a: i64, b: i64, dtype: DType) -> i64 {
    let unsigned = dtype == DType::U64;
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div | Binary::FloorDiv | Binary::Mod { .. } if b == 0 => 0,
        Binary::Div | Binary::FloorDiv if unsigned => (a as u64 / b as u64) as i64,
        Binary::Mod { .. } if unsigned => (a as u64 % b as u64) as i64,
        Binary::Div => a.wrapping_div(b),
        Binary::FloorDiv => {
            let quotient = a.wrapping_div(b);
            quotient - i64::from(a.wrapping_rem(b) != 0 && (a < 0) != (b < 0))
        }
        Binary::Mod { truncated: true } => a.wrapping_rem(b),
        Binary::Mod { truncated: false } => {
            let rest = a.wrapping_rem(b);
            if rest != 0 && (rest < 0) != (b < 0) { rest.wrapping_add(b) } else { rest }
        }
        Binary::Pow => match u32::try_from(b) {
            Ok(exponent) => a.wrapping_pow(exponent),
            // A negative exponent: only ±1 have an integer power.
            Err(_) if b < 0 => match a {
                1 => 1,
                -1 => 1 - 2 * (b & 1),
                _ => 0,
            },
            Err(_) => a.wrapping_pow(u32::MAX),
        },
        Binary::Max if unsigned => (a as u64).max(b as u64) as i64,
        Binary::Min if unsigned => (a as u64).min(b as u64) as i64,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::SquaredDifference => a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)),
        _ if a < 0 => a.wrapping_mul(b),
        _ => a,
    }
}

pub(super) fn select(condition: &Tensor, a: &Tensor, b: &Tensor, spec: &Spec) -> Tensor {
    let flags = condition.as_int().unwrap_or_default();
    let ways = zipped(condition, a, spec, |i, j| (flags[i] != 0, j));
    let others = indices(b.shape(), &spec.shape);
    let data = match (a.data(), b.data()) {
        (Data::F32(x), Data::F32(y)) => Data::F32(
            ways.iter().zip(others).map(|(&(first, j), k)| if first { x[j] } else { y[k] }).collect(),
        ),
        (Data::Int(x), Data::Int(y)) => Data::Int(
            ways.iter().zip(others).map(|(&(first, j), k)| if first { x[j] } else { y[k] }).collect(),
        ),
        _ => unreachable!("inference found one type"),
    };
    tensor(spec.clone(), data)
}

pub(super) fn cast(x: &Tensor, dtype: DType) -> Tensor {
    let data = match x.data() {
        Data::F32(values) if dtype == DType::F32 => Data::F32(values.clone()),
        Data::F32(values) if dtype == DType::Bool => {
            Data::Int(values.iter().map(|&value| i64::from(value != 0.0)).collect())
        }
        Data::F32(values) if dtype == DType::U64 => {
            Data::Int(values.iter().map(|&value| value as u64 as i64).collect())
        }
        Data::F32(values) => Data::Int(values.iter().map(|&value| dtype.wrap(value as i64)).collect()),
        Data::Int(_) if dtype == DType::F32 => Data::F32(x.to_f32()),
        Data::Int(values) => Data::Int(values.iter().map(|&value| dtype.wrap(value)).collect()),
    };
    tensor(Spec::new(dtype, x.shape()), data)
}

pub(super) fn quantize(x: &Tensor, scale: &Tensor, zero_point: &Tensor, axis: usize, spec: &Spec) -> Tensor {
    let (scales, zeros) = (scale.to_f32(), zero_point.as_int().unwrap_or_default());
    let (low, high) = spec.dtype.limits();
    let channel = channels(&spec.shape, axis, scales.len());
    let values = x.to_f32();
    let data = values.iter().enumerate().map(|(i, value)| {
        let c = channel(i);
        let rounded = f64::from((value / scales[c]).round_ties_even());
        ((rounded as i64).saturating_add(zeros[c])).clamp(low, high)
    });
    tensor(spec.clone(), Data::Int(data.collect()))
}

pub(super) fn dequantize(
    x: &Tensor,
    scale: &Tensor,
    zero_point: &Tensor,
    axis: usize,
    spec: &Spec,
) -> Tensor {
    let (values, zeros) = (x.as_int().unwrap_or_default(), zero_point.as_int().unwrap_or_default());
    let scales = scale.to_f32();
    let channel = channels(&spec.shape, axis, scales.len());
    let data = values.iter().enumerate().map(|(i, value)| {
        let c = channel(i);
        value.wrapping_sub(zeros[c]) as f32 * scales[c]
    });
    tensor(spec.clone(), Data::F32(data.collect()))
}

/// The index of an element's scale.
fn channels(shape: &[usize], axis: usize, scales: usize) -> impl Fn(usize) -> usize {
    let behind: usize = shape.get(axis + 1..).map_or(1, |sides| sides.iter().product());
    move |i| if scales == 1 { 0 } else { i / behind % scales }
}

/// `f` of the indices of both elements, for every element of the output.
fn zipped<T>(a: &Tensor, b: &Tensor, spec: &Spec, f: impl Fn(usize, usize) -> T) -> Vec<T> {
    if a.shape() == spec.shape && b.shape() == spec.shape {
        return (0..spec.len()).map(|i| f(i, i)).collect();
    }
    let pairs = indices(a.shape(), &spec.shape).zip(indices(b.shape(), &spec.shape));
    pairs.map(|(i, j)| f(i, j)).collect()
}

/// For every element of `output` in order, the index of the element of `shape` that repeats there.
pub(super) fn indices(shape: &[usize], output: &[usize]) -> impl Iterator<Item = usize> {
    let missing = output.len() - shape.len();
    let own = strides(shape);
    let steps: Vec<usize> = (0..output.len())
        .map(|axis| if axis < missing || shape[axis - missing] == 1 { 0 } else { own[axis - missing] })
        .collect();
    walk(output.to_vec(), steps, 0)
}

/// For every position of a row-major `shape` in order, `start` plus its coordinates times `steps`. Steps may be
/// negative, in two's complement: the sums wrap round to where they belong.
pub(super) fn walk(shape: Vec<usize>, steps: Vec<usize>, start: usize) -> impl Iterator<Item = usize> {
    let mut left: usize = shape.iter().product();
    let mut position = vec![0; shape.len()];
    let mut index = start;
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let current = index;
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            index = index.wrapping_add(steps[axis]);
            if position[axis] < shape[axis] {
                break;
            }
            index = index.wrapping_sub(steps[axis].wrapping_mul(position[axis]));
            position[axis] = 0;
        }
        Some(current)
    })
}

/// A tensor of what inference promised.
pub(super) fn tensor(spec: Spec, data: Data) -> Tensor {
    Tensor::new(spec, data).expect("the operator yields what inference found")
}
