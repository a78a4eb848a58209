//! Pooling, and the local response normalisation, which pools squares.

use rayon::prelude::*;

use crate::op::{Lrn, Pool, PoolKind};
use crate::tensor::{Data, Spec, Tensor};

use super::around;
use super::elementwise::tensor;

/// A window's positions along one axis: those on the map, and how many are on the map or its padding.
struct Extent {
    inside: std::iter::StepBy<std::ops::Range<usize>>,
    count: usize,
    padded: usize,
}

fn extents(pool: &Pool, axis: usize, side: usize, outputs: usize) -> Vec<Extent> {
    let window = &pool.window;
    let before = window.before[axis];
    let whole = before + side + window.after[axis];
    let dilation = window.dilations[axis];
    (0..outputs)
        .map(|out| {
            let start = out * window.strides[axis];
            // Taps on the padded map, and of those the first one on the map itself.
            let padded = window.kernel[axis].min(whole.saturating_sub(start).div_ceil(dilation));
            let first = before.saturating_sub(start).div_ceil(dilation);
            let end = (before + side).saturating_sub(start).div_ceil(dilation).min(padded);
            let count = end.saturating_sub(first);
            let from = (start + first * dilation).saturating_sub(before);
            let inside = (from..from + count * dilation).step_by(dilation);
            Extent { inside, count, padded }
        })
        .collect()
}

pub(super) fn pool(pool: &Pool, x: &Tensor, spec: &Spec) -> Tensor {
    let pair = |shape: &[usize]| if shape.len() == 4 { (shape[2], shape[3]) } else { (1, shape[2]) };
    let ((rows_in, columns_in), (rows, columns)) = (pair(x.shape()), pair(&spec.shape));
    let last = pool.window.kernel.len() - 1;
    let across = extents(pool, last, columns_in, columns);
    let down = match last {
        0 => vec![Extent { inside: (0..1).step_by(1), count: 1, padded: 1 }],
        _ => extents(pool, 0, rows_in, rows),
    };
    let plane = rows_in * columns_in;
    let data = match x.data() {
        Data::F32(values) => {
            let mut y = vec![0f32; spec.len()];
            y.par_chunks_mut((rows * columns).max(1)).enumerate().for_each(|(map, y)| {
                let x = &values[map * plane..][..plane];
                for (y, (v, h)) in
                    y.iter_mut().zip(down.iter().flat_map(|v| across.iter().map(move |h| (v, h))))
                {
                    let window = v
                        .inside
                        .clone()
                        .flat_map(|row| h.inside.clone().map(move |c| x[row * columns_in + c]));
                    *y = match pool.kind {
                        PoolKind::Max => window.fold(f32::NEG_INFINITY, f32::max),
                        PoolKind::AverageInside => mean(window, v.count * h.count),
                        PoolKind::AveragePadded => mean(window, v.padded * h.padded),
                    };
                }
            });
            Data::F32(y)
        }
        Data::Int(values) => {
            let maps = values.chunks(plane.max(1));
            let y = maps.flat_map(|x| {
                down.iter()
                    .flat_map(|v| across.iter().map(move |h| (v, h)))
                    .map(|(v, h)| {
                        let window = v
                            .inside
                            .clone()
                            .flat_map(|row| h.inside.clone().map(move |c| x[row * columns_in + c]));
                        match pool.kind {
                            PoolKind::Max => window.max().unwrap_or(spec.dtype.limits().0),
                            _ => window.sum::<i64>() / (v.count * h.count).max(1) as i64,
                        }
                    })
                    .collect::<Vec<_>>()
            });
            Data::Int(y.collect())
        }
    };
    tensor(spec.clone(), data)
}

fn mean(window: impl Iterator<Item = f32>, divisor: usize) -> f32 {
    let sum: f64 = window.map(f64::from).sum();
    (sum / divisor.max(1) as f64) as f32
}

pub(super) fn lrn(lrn: &Lrn, x: &Tensor) -> Tensor {
    let values = x.as_f32().unwrap_or_default();
    let before = (lrn.size - 1) / 2;
    let scaled = |i: usize, sum: f64| {
        let base = f64::from(lrn.bias) + f64::from(lrn.alpha) * sum;
        (f64::from(values[i]) * libm::pow(base, -f64::from(lrn.beta))) as f32
    };
    let square = |i: usize| f64::from(values[i]) * f64::from(values[i]);
    let window = |at: usize, side: usize| at.saturating_sub(before)..(at + lrn.size - before).min(side);
    let data: Vec<f32> = if lrn.within {
        let (rows, columns) = (x.shape()[2], x.shape()[3]);
        (0..values.len())
            .map(|i| {
                let (map, row, column) = (i / (rows * columns), i / columns % rows, i % columns);
                let pixels = window(row, rows).flat_map(|r| window(column, columns).map(move |c| (r, c)));
                scaled(i, pixels.map(|(r, c)| square((map * rows + r) * columns + c)).sum())
            })
            .collect()
    } else {
        let (_, channels, behind) = around(x.shape(), 1);
        (0..values.len())
            .map(|i| {
                let (channel, base) = (i / behind % channels, i / (channels * behind) * channels);
                let at = |channel: usize| (base + channel) * behind + i % behind;
                scaled(i, window(channel, channels).map(|channel| square(at(channel))).sum())
            })
            .collect()
    };
    tensor(x.spec().clone(), Data::F32(data))
}
