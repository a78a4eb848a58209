//! Operators that move elements.

use secateur_base::{Error, Result};

use crate::op::{Pad, PadKind, Range};
use crate::tensor::{Data, Spec, Tensor};

use super::elementwise::{indices, tensor, walk};
use super::{around, strides};

pub(super) fn transpose(x: &Tensor, order: &[usize], spec: &Spec) -> Tensor {
    let own = strides(x.shape());
    let steps = order.iter().map(|&axis| own[axis]).collect();
    picked(x, walk(spec.shape.clone(), steps, 0), spec)
}

pub(super) fn concat(axis: usize, inputs: &[&Tensor], spec: &Spec) -> Tensor {
    fn joined<T: Copy>(parts: &[(&[T], usize)], before: usize) -> Vec<T> {
        let mut data = Vec::with_capacity(parts.iter().map(|(part, _)| part.len()).sum());
        for outer in 0..before {
            for &(part, run) in parts {
                data.extend_from_slice(&part[outer * run..(outer + 1) * run]);
            }
        }
        data
    }
    let (before, ..) = around(&spec.shape, axis);
    let run = |input: &Tensor| {
        let (_, along, behind) = around(input.shape(), axis);
        along * behind
    };
    let data = match inputs[0].data() {
        Data::F32(_) => {
            let parts: Vec<_> =
                inputs.iter().map(|input| (input.as_f32().unwrap_or_default(), run(input))).collect();
            Data::F32(joined(&parts, before))
        }
        Data::Int(_) => {
            let parts: Vec<_> =
                inputs.iter().map(|input| (input.as_int().unwrap_or_default(), run(input))).collect();
            Data::Int(joined(&parts, before))
        }
    };
    tensor(spec.clone(), data)
}

pub(super) fn slice(x: &Tensor, ranges: &[Range], spec: &Spec) -> Tensor {
    let own = strides(x.shape());
    let start = ranges.iter().zip(&own).map(|(range, stride)| range.start * stride).sum();
    let steps = ranges.iter().zip(&own).map(|(range, stride)| (range.step as usize).wrapping_mul(*stride));
    picked(x, walk(spec.shape.clone(), steps.collect(), start), spec)
}

pub(super) fn expand(x: &Tensor, spec: &Spec) -> Tensor {
    picked(x, indices(x.shape(), &spec.shape), spec)
}

pub(super) fn tile(x: &Tensor, spec: &Spec) -> Tensor {
    let sides = x.shape();
    by_axis(x, spec, |axis, i| Some(i % sides[axis]), 0.0)
}

pub(super) fn pad(x: &Tensor, pad: &Pad, spec: &Spec) -> Tensor {
    let sides = x.shape();
    let fill = if let PadKind::Constant(value) = pad.kind { value } else { 0.0 };
    let position = |axis: usize, i: usize| {
        let (side, before) = (sides[axis] as i64, pad.before[axis] as i64);
        let i = i as i64 - before;
        let inside = match pad.kind {
            PadKind::Constant(_) => return usize::try_from(i).ok().filter(|&i| i < sides[axis]),
            PadKind::Edge => i.clamp(0, side - 1),
            PadKind::Wrap => i.rem_euclid(side),
            PadKind::Symmetric => {
                let i = i.rem_euclid(2 * side);
                i.min(2 * side - 1 - i)
            }
            PadKind::Reflect => {
                let period = (2 * (side - 1)).max(1);
                let i = i.rem_euclid(period);
                i.min(period - i).min(side - 1)
            }
        };
        Some(inside as usize)
    };
    by_axis(x, spec, position, fill)
}

/// For every axis, output positions map to input positions on their own; `None` yields `fill`.
fn by_axis(x: &Tensor, spec: &Spec, position: impl Fn(usize, usize) -> Option<usize>, fill: f32) -> Tensor {
    let own = strides(x.shape());
    let tables: Vec<Vec<Option<usize>>> = (0..spec.rank())
        .map(|axis| (0..spec.shape[axis]).map(|i| position(axis, i).map(|i| i * own[axis])).collect())
        .collect();
    // The sum of the axes' offsets, grown axis by axis.
    let mut offsets = vec![Some(0usize)];
    for table in &tables {
        offsets =
            offsets.iter().flat_map(|&base| table.iter().map(move |&step| Some(base? + step?))).collect();
    }
    let data = match x.data() {
        Data::F32(values) => Data::F32(offsets.iter().map(|i| i.map_or(fill, |i| values[i])).collect()),
        Data::Int(values) => {
            Data::Int(offsets.iter().map(|i| i.map_or(fill as i64, |i| values[i])).collect())
        }
    };
    tensor(spec.clone(), data)
}

pub(super) fn gather(x: &Tensor, index: &Tensor, axis: usize, spec: &Spec) -> Result<Tensor> {
    let (before, side, behind) = around(x.shape(), axis);
    let rows = index.as_int().unwrap_or_default().iter().map(|&i| {
        let from_start = if i < 0 { i.saturating_add(side as i64) } else { i };
        usize::try_from(from_start).ok().filter(|&i| i < side).ok_or_else(|| {
            Error::new("an index lies outside the axis")
                .found(i.to_string())
                .allowed(format!("-{side} to {side}, less one"))
        })
    });
    let rows: Vec<usize> = rows.collect::<Result<_>>()?;
    let picks = (0..before).flat_map(|outer| {
        rows.iter().flat_map(move |row| (0..behind).map(move |inner| (outer * side + row) * behind + inner))
    });
    Ok(picked(x, picks, spec))
}

/// The elements of these indices.
fn picked(x: &Tensor, indices: impl Iterator<Item = usize>, spec: &Spec) -> Tensor {
    let data = match x.data() {
        Data::F32(values) => Data::F32(indices.map(|i| values[i]).collect()),
        Data::Int(values) => Data::Int(indices.map(|i| values[i]).collect()),
    };
    tensor(spec.clone(), data)
}
