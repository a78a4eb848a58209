//! Operators over whole axes.

use crate::op::{Reduce, ReduceKind};
use crate::tensor::{DType, Data, Spec, Tensor};

use super::around;
use super::elementwise::{indices, tensor};

pub(super) fn reduce(reduce: &Reduce, x: &Tensor, spec: &Spec) -> Tensor {
    // Where every input element goes: the output with its axes kept repeats along those that are reduced.
    let mut kept = x.shape().to_vec();
    reduce.axes.iter().for_each(|&axis| kept[axis] = 1);
    let targets = indices(&kept, x.shape());
    let count: usize = reduce.axes.iter().map(|&axis| x.shape()[axis]).product();
    let outputs: usize = kept.iter().product();
    let data = match x.data() {
        Data::F32(values) => {
            let first = match reduce.kind {
                ReduceKind::Sum | ReduceKind::Mean => 0.0,
                ReduceKind::Product => 1.0,
                ReduceKind::Max => f64::NEG_INFINITY,
                ReduceKind::Min => f64::INFINITY,
            };
            let mut results = vec![first; outputs];
            for (&value, target) in values.iter().zip(targets) {
                let (result, value) = (&mut results[target], f64::from(value));
                *result = match reduce.kind {
                    ReduceKind::Sum | ReduceKind::Mean => *result + value,
                    ReduceKind::Product => *result * value,
                    ReduceKind::Max => result.max(value),
                    ReduceKind::Min => result.min(value),
                };
            }
            let divisor = if reduce.kind == ReduceKind::Mean { count as f64 } else { 1.0 };
            Data::F32(results.into_iter().map(|result| (result / divisor) as f32).collect())
        }
        Data::Int(values) => {
            let (low, high) = spec.dtype.limits();
            let first = match reduce.kind {
                ReduceKind::Sum | ReduceKind::Mean => 0,
                ReduceKind::Product => 1,
                ReduceKind::Max => low,
                ReduceKind::Min => high,
            };
            let mut results = vec![first; outputs];
            for (&value, target) in values.iter().zip(targets) {
                let result = &mut results[target];
                *result = match reduce.kind {
                    ReduceKind::Sum | ReduceKind::Mean => result.wrapping_add(value),
                    ReduceKind::Product => result.wrapping_mul(value),
                    ReduceKind::Max => (*result).max(value),
                    ReduceKind::Min => (*result).min(value),
                };
            }
            if reduce.kind == ReduceKind::Mean {
                results.iter_mut().for_each(|result| *result /= (count as i64).max(1));
            }
            Data::Int(results)
        }
    };
    tensor(spec.clone(), data)
}

pub(super) fn batch_norm(epsilon: f32, inputs: &[&Tensor]) -> Tensor {
    let x = inputs[0];
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| inputs[i].as_f32().unwrap_or_default());
    let (_, channels, behind) = around(x.shape(), 1);
    let factors: Vec<(f32, f32)> = (0..channels)
        .map(|c| {
            let factor = f64::from(scale[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
            (factor as f32, (f64::from(bias[c]) - f64::from(mean[c]) * factor) as f32)
        })
        .collect();
    let values = x.as_f32().unwrap_or_default().iter().enumerate();
    let data = values.map(|(i, value)| {
        let (factor, shift) = factors[i / behind % channels];
        value * factor + shift
    });
    tensor(x.spec().clone(), Data::F32(data.collect()))
}

pub(super) fn softmax(axis: usize, log: bool, x: &Tensor) -> Tensor {
    let (before, side, behind) = around(x.shape(), axis);
    let values = x.as_f32().unwrap_or_default();
    let mut data = vec![0f32; values.len()];
    for lane in 0..before * behind {
        let at = |i: usize| (lane / behind * side + i) * behind + lane % behind;
        let greatest = (0..side).map(|i| values[at(i)]).fold(f32::NEG_INFINITY, f32::max);
        let difference = |i: usize| f64::from(values[at(i)]) - f64::from(greatest);
        let sum: f64 = (0..side).map(|i| libm::exp(difference(i))).sum();
        for i in 0..side {
            let value = if log { difference(i) - libm::log(sum) } else { libm::exp(difference(i)) / sum };
            data[at(i)] = value as f32;
        }
    }
    tensor(x.spec().clone(), Data::F32(data))
}

pub(super) fn arg_max(x: &Tensor, axis: usize, last: bool, spec: &Spec) -> Tensor {
    let (_, side, behind) = around(x.shape(), axis);
    let greatest = |lane: usize, greater: &dyn Fn(usize, usize) -> bool| {
        let at = |i: usize| (lane / behind * side + i) * behind + lane % behind;
        (1..side).fold(0, |best, i| if greater(at(i), at(best)) { i } else { best }) as i64
    };
    let compare: Box<dyn Fn(usize, usize) -> bool> = match x.data() {
        Data::F32(v) => Box::new(move |a, b| v[a] > v[b] || last && v[a] == v[b]),
        Data::Int(v) if x.dtype() == DType::U64 => {
            Box::new(move |a, b| (v[a] as u64) > v[b] as u64 || last && v[a] == v[b])
        }
        Data::Int(v) => Box::new(move |a, b| v[a] > v[b] || last && v[a] == v[b]),
    };
    let data = (0..spec.len()).map(|lane| greatest(lane, &compare)).collect();
    tensor(spec.clone(), Data::Int(data))
}
