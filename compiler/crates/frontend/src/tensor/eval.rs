//! The meaning of a graph: every value computed in plain loops.

use std::collections::HashMap;

use secateur_base::{Error, Result};

use super::{Binary, Graph, Op, Reduction, Unary, Value, detection, kernels, strides};

/// A computed value.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Graph {
    /// Computes every value from the inputs by name.
    ///
    /// # Errors
    /// An input is missing or has another number of elements.
    pub fn evaluate(&self, inputs: &HashMap<String, Vec<f32>>) -> Result<HashMap<Value, Tensor>> {
        let mut values: HashMap<Value, Tensor> = HashMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let operands: Vec<&Tensor> = node.operands.iter().map(|value| &values[value]).collect();
            let tensor = match &node.op {
                Op::Input => {
                    let data = inputs.get(&node.name).cloned().unwrap_or_default();
                    if data.len() != node.shape.iter().product::<usize>() {
                        return Err(Error::new(format!(
                            "the input {} has another number of values",
                            node.name
                        ))
                        .found(data.len().to_string())
                        .allowed(format!("{:?}", node.shape)));
                    }
                    Tensor { shape: node.shape.clone(), data }
                }
                op => compute(op, &operands, &node.shape),
            };
            values.insert(Value(at), tensor);
        }
        Ok(values)
    }
}

/// Computes one operator.
pub(super) fn compute(op: &Op, operands: &[&Tensor], shape: &[usize]) -> Tensor {
    let data = match op {
        Op::Input => Vec::new(),
        Op::Constant(values) => values.clone(),
        Op::Conv(conv) => kernels::conv(conv, operands, shape),
        Op::ConvTranspose(conv) => kernels::conv_transpose(conv, operands, shape),
        Op::MaxPool(pool) => kernels::max_pool(pool, operands[0], shape),
        Op::AveragePool(pool) => kernels::average_pool(pool, operands[0], shape),
        Op::MatMul => mat_mul(operands[0], operands[1]),
        Op::Unary(unary) => operands[0].data.iter().map(|x| apply(*unary, *x)).collect(),
        Op::Binary(binary) => elementwise(*binary, operands[0], operands[1], shape),
        Op::Reduce { kind, axes } => reduce(*kind, axes, operands[0], shape),
        Op::Concat { axis } => concat(*axis, operands),
        Op::Slice(ranges) => {
            let steps = strides(&operands[0].shape);
            gather(operands[0], shape, |at| {
                at.iter()
                    .zip(ranges)
                    .zip(&steps)
                    .map(|((at, range), step)| {
                        (range.start as isize + *at as isize * range.step) as usize * step
                    })
                    .sum()
            })
        }
        Op::Reshape(_) => operands[0].data.clone(),
        Op::Transpose(order) => {
            let steps = strides(&operands[0].shape);
            gather(operands[0], shape, |at| at.iter().zip(order).map(|(at, axis)| at * steps[*axis]).sum())
        }
        Op::Softmax { axis } => softmax(operands[0], *axis),
        Op::Pad { before, fill, .. } => kernels::pad(operands[0], before, *fill, shape),
        Op::Tile(_) => {
            let steps = strides(&operands[0].shape);
            let dims = &operands[0].shape;
            gather(operands[0], shape, |at| {
                (0..at.len()).map(|axis| at[axis] % dims[axis] * steps[axis]).sum()
            })
        }
        Op::ArgMax { axis } => {
            let step = strides(&operands[0].shape)[*axis];
            lanes(operands[0], *axis, |data, start| {
                let values = (0..operands[0].shape[*axis]).map(|at| data[start + at * step]);
                let best = values
                    .enumerate()
                    .fold((0, f32::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best });
                best.0 as f32
            })
        }
        Op::Lrn { before, after, alpha, beta, bias } => {
            kernels::lrn(operands[0], *before, *after, [*alpha, *beta, *bias])
        }
        Op::Resize { size, linear, grid } => kernels::resize(operands[0], *size, *linear, *grid),
        Op::DetectionOutput(op) => {
            let data = detection::detect(op, operands[0], operands[1], operands[2]);
            return Tensor { shape: vec![1, 1, data.len() / 7, 7], data };
        }
    };
    Tensor { shape: shape.to_vec(), data }
}

fn apply(unary: Unary, x: f32) -> f32 {
    match unary {
        Unary::Relu => x.max(0.0),
        Unary::LeakyRelu(slope) => x.max(0.0) + slope * x.min(0.0),
        Unary::Elu(alpha) => x.max(0.0) + alpha * x.min(0.0).exp_m1(),
        Unary::Clip(low, high) => x.max(low).min(high),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Tanh => x.tanh(),
        Unary::Abs => x.abs(),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Floor => x.floor(),
        Unary::Erf => libm_erf(x),
        Unary::Power(power) => x.powf(power),
        Unary::Above(threshold) => f32::from(u8::from(x > threshold)),
    }
}

/// The error function (Abramowitz and Stegun 7.1.26 with a Taylor series near 0), within 1e-7.
fn libm_erf(x: f32) -> f32 {
    let x = f64::from(x);
    if x.abs() < 3.0 {
        // Σ (−1)ⁿ x^(2n+1) / (n! (2n+1)), in double precision.
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return (sum * std::f64::consts::FRAC_2_SQRT_PI) as f32;
    }
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let poly = ((((1.061_405_429 * t - 1.453_152_027) * t + 1.421_413_741) * t - 0.284_496_736) * t
        + 0.254_829_592)
        * t;
    ((1.0 - poly * (-x * x).exp()) * x.signum()) as f32
}

fn mat_mul(a: &Tensor, b: &Tensor) -> Vec<f32> {
    let (k, n) = (b.shape[0], b.shape[1]);
    let mut out = vec![0.0; a.shape[0] * n];
    for (row, out) in out.chunks_mut(n.max(1)).enumerate() {
        for at in 0..k {
            let x = a.data[row * k + at];
            for (out, y) in out.iter_mut().zip(&b.data[at * n..(at + 1) * n]) {
                *out += x * y;
            }
        }
    }
    out
}

/// Calls with every index of a shape, in order.
fn indices(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut at = vec![0; shape.len()];
    for _ in 0..shape.iter().product() {
        visit(&at);
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
}

fn gather(from: &Tensor, shape: &[usize], place: impl Fn(&[usize]) -> usize) -> Vec<f32> {
    let mut data = Vec::with_capacity(shape.iter().product());
    indices(shape, |at| data.push(from.data[place(at)]));
    data
}

fn elementwise(binary: Binary, a: &Tensor, b: &Tensor, shape: &[usize]) -> Vec<f32> {
    let apply = |x: f32, y: f32| match binary {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Max => x.max(y),
        Binary::Min => x.min(y),
        Binary::Pow => x.powf(y),
        Binary::PRelu => x.max(0.0) + y * x.min(0.0),
    };
    if a.shape == b.shape {
        return a.data.iter().zip(&b.data).map(|(x, y)| apply(*x, *y)).collect();
    }
    // An axis of length 1 does not advance.
    let steps = |shape_of: &[usize]| {
        let lead = shape.len() - shape_of.len();
        let own = strides(shape_of);
        (0..shape.len())
            .map(|at| if at < lead || shape_of[at - lead] == 1 { 0 } else { own[at - lead] })
            .collect::<Vec<_>>()
    };
    let (a_steps, b_steps) = (steps(&a.shape), steps(&b.shape));
    let place =
        |at: &[usize], steps: &[usize]| -> usize { at.iter().zip(steps).map(|(at, step)| at * step).sum() };
    let mut data = Vec::with_capacity(shape.iter().product());
    indices(shape, |at| data.push(apply(a.data[place(at, &a_steps)], b.data[place(at, &b_steps)])));
    data
}

fn reduce(kind: Reduction, axes: &[usize], from: &Tensor, shape: &[usize]) -> Vec<f32> {
    let start = match kind {
        Reduction::Sum | Reduction::Mean => 0.0,
        Reduction::Max => f64::NEG_INFINITY,
        Reduction::Min => f64::INFINITY,
        Reduction::Prod => 1.0,
    };
    let mut sums = vec![start; shape.iter().product()];
    let steps = strides(shape);
    let mut next = from.data.iter();
    indices(&from.shape, |at| {
        let place: usize =
            (0..at.len()).filter(|axis| !axes.contains(axis)).map(|axis| at[axis] * steps[axis]).sum();
        let x = next.next().map_or(0.0, |x| f64::from(*x));
        let sum = &mut sums[place];
        *sum = match kind {
            Reduction::Sum | Reduction::Mean => *sum + x,
            Reduction::Max => sum.max(x),
            Reduction::Min => sum.min(x),
            Reduction::Prod => *sum * x,
        };
    });
    let count = if kind == Reduction::Mean { from.data.len() as f64 / sums.len().max(1) as f64 } else { 1.0 };
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

fn concat(axis: usize, operands: &[&Tensor]) -> Vec<f32> {
    let outer: usize = operands[0].shape[..axis].iter().product();
    let mut data = Vec::new();
    for at in 0..outer {
        for operand in operands {
            let length = operand.data.len() / outer;
            data.extend_from_slice(&operand.data[at * length..(at + 1) * length]);
        }
    }
    data
}

/// One result for each lane along an axis, given where the lane starts.
fn lanes(from: &Tensor, axis: usize, result: impl Fn(&[f32], usize) -> f32) -> Vec<f32> {
    let inner: usize = from.shape[axis + 1..].iter().product();
    let outer: usize = from.shape[..axis].iter().product();
    let length = from.shape[axis];
    let starts = (0..outer).flat_map(|o| (0..inner).map(move |i| o * length * inner + i));
    starts.map(|start| result(&from.data, start)).collect()
}

fn softmax(from: &Tensor, axis: usize) -> Vec<f32> {
    let step: usize = from.shape[axis + 1..].iter().product();
    let length = from.shape[axis];
    let mut data = from.data.clone();
    for outer in data.chunks_mut((length * step).max(1)) {
        for start in 0..step {
            let place = |at: usize| start + at * step;
            let max = (0..length).map(|at| outer[place(at)]).fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for at in 0..length {
                outer[place(at)] = (outer[place(at)] - max).exp();
                sum += outer[place(at)];
            }
            for at in 0..length {
                outer[place(at)] /= sum;
            }
        }
    }
    data
}
