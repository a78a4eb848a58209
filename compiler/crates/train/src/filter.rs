//! The two inner loops of a depthwise convolution: one filter over the rows of a plane, and its gradient.
//!
//! Row r of the result has `width` numbers from `rows[r].0` on; tap t of its first one meets the plane's number at
//! `rows[r].1 + offsets[t]`. Behind the plane's last number a vector more is read, of finite numbers.

#![allow(clippy::needless_range_loop, reason = "taps side by side are indexed in step with each other")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::scalar::Scalar;

/// Taps that are summed in registers at a time.
const TAPS: usize = 9;

/// Calls a function for the taps at a time, of which it must know the number when it is compiled.
macro_rules! for_taps {
    ($count:expr, $run:ident $(, $argument:expr)*) => {
        for first in (0..$count).step_by(TAPS) {
            match $count - first {
                1 => $run::<S, 1>($($argument,)* first),
                2 => $run::<S, 2>($($argument,)* first),
                3 => $run::<S, 3>($($argument,)* first),
                4 => $run::<S, 4>($($argument,)* first),
                5 => $run::<S, 5>($($argument,)* first),
                6 => $run::<S, 6>($($argument,)* first),
                7 => $run::<S, 7>($($argument,)* first),
                8 => $run::<S, 8>($($argument,)* first),
                _ => $run::<S, TAPS>($($argument,)* first),
            }
        }
    };
}

/// `out[at + i] = Σ_t weights[t] · plane[place + offsets[t] + i]` for every row `(at, place)`.
pub struct Filter<'a, T> {
    pub weights: &'a [T],
    pub plane: &'a [T],
    pub offsets: &'a [usize],
    pub rows: &'a [(usize, usize)],
    pub width: usize,
    pub out: &'a mut [T],
    /// Adds to what is there.
    pub add: bool,
}

impl<T: Scalar> Filter<'_, T> {
    pub(crate) fn plain(self) {
        for &(at, place) in self.rows {
            for i in 0..self.width {
                let taps = self.weights.iter().zip(self.offsets);
                let sum: T = taps.map(|(&weight, &offset)| weight * self.plane[place + offset + i]).sum();
                self.out[at + i] = if self.add { self.out[at + i] + sum } else { sum };
            }
        }
    }
}

impl WithSimd for Filter<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.weights.is_empty() && !self.add {
            self.rows.iter().for_each(|&(at, _)| self.out[at..][..self.width].fill(0.0));
        }
        for_taps!(self.weights.len(), filter, simd, &mut self);
    }
}

/// Adds the products of `N` taps from `first` on, or writes those of the first ones.
#[inline(always)]
fn filter<S: Simd, const N: usize>(simd: S, filter: &mut Filter<'_, f32>, first: usize) {
    let add = filter.add || first > 0;
    let weights: [S::f32s; N] = std::array::from_fn(|t| simd.splat_f32s(filter.weights[first + t]));
    let offsets: [usize; N] = std::array::from_fn(|t| filter.offsets[first + t]);
    for &(at, place) in filter.rows {
        let taps: [&[f32]; N] = std::array::from_fn(|t| &filter.plane[place + offsets[t]..]);
        let out = &mut filter.out[at..][..filter.width];
        // What does not fill a vector overlaps the one before, or ends early. It is computed from what there is before
        // that changes.
        let (rest, last) = (out.len() % S::F32_LANES, out.len().saturating_sub(S::F32_LANES));
        let mut tail = [0.0; MAX_LANES];
        let kept = out.len() - last;
        if rest > 0 {
            if add {
                tail[..kept].copy_from_slice(&out[last..]);
            }
            let tail = &mut S::as_mut_simd_f32s(&mut tail).0[0];
            for t in 0..N {
                let vector = S::as_simd_f32s(&taps[t][last..][..S::F32_LANES]).0[0];
                *tail = simd.mul_add_f32s(weights[t], vector, *tail);
            }
        }
        let whole = S::as_mut_simd_f32s(out).0;
        let vectors: [&[S::f32s]; N] = std::array::from_fn(|t| &S::as_simd_f32s(taps[t]).0[..whole.len()]);
        for v in 0..whole.len() {
            let mut sum = if add { whole[v] } else { simd.splat_f32s(0.0) };
            for t in 0..N {
                sum = simd.mul_add_f32s(weights[t], vectors[t][v], sum);
            }
            whole[v] = sum;
        }
        if rest > 0 {
            out[last..].copy_from_slice(&tail[..kept]);
        }
    }
}

/// Most numbers of a vector.
const MAX_LANES: usize = 16;

/// `sums[t] += Σ_rows Σ_i left[at + i] · plane[place + offsets[t] + i]`.
pub struct FilterGradient<'a, T> {
    pub left: &'a [T],
    pub plane: &'a [T],
    pub offsets: &'a [usize],
    pub rows: &'a [(usize, usize)],
    pub width: usize,
    pub sums: &'a mut [T],
}

impl<T: Scalar> FilterGradient<'_, T> {
    pub(crate) fn plain(self) {
        for (sum, &offset) in self.sums.iter_mut().zip(self.offsets) {
            for &(at, place) in self.rows {
                let range = |from: usize| -> Range<usize> { from..from + self.width };
                let pairs = self.left[range(at)].iter().zip(&self.plane[range(place + offset)]);
                *sum += pairs.map(|(&a, &b)| a * b).sum();
            }
        }
    }
}

impl WithSimd for FilterGradient<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for_taps!(self.offsets.len(), filter_gradient, simd, &mut self);
    }
}

/// The sums of `N` taps from `first` on.
#[inline(always)]
fn filter_gradient<S: Simd, const N: usize>(simd: S, gradient: &mut FilterGradient<'_, f32>, first: usize) {
    let mut sums = [simd.splat_f32s(0.0); N];
    let offsets: [usize; N] = std::array::from_fn(|t| gradient.offsets[first + t]);
    for &(at, place) in gradient.rows {
        let row = &gradient.left[at..][..gradient.width];
        let (left, rest) = S::as_simd_f32s(row);
        let taps: [&[f32]; N] = std::array::from_fn(|t| &gradient.plane[place + offsets[t]..]);
        let vectors: [&[S::f32s]; N] = std::array::from_fn(|t| &S::as_simd_f32s(taps[t]).0[..left.len()]);
        for v in 0..left.len() {
            for t in 0..N {
                sums[t] = simd.mul_add_f32s(left[v], vectors[t][v], sums[t]);
            }
        }
        if !rest.is_empty() {
            let mut tail = [0.0; MAX_LANES];
            tail[..rest.len()].copy_from_slice(rest);
            let left = S::as_simd_f32s(&tail).0[0];
            for t in 0..N {
                let vector = S::as_simd_f32s(&taps[t][row.len() - rest.len()..][..S::F32_LANES]).0[0];
                sums[t] = simd.mul_add_f32s(left, vector, sums[t]);
            }
        }
    }
    for t in 0..N {
        gradient.sums[first + t] += simd.reduce_sum_f32s(sums[t]);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Both loops in f32 against `plain` in f64: any number of taps, rows with and without a remainder.
    #[test]
    fn vectors_compute_what_the_plain_loops_do() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut numbers =
            |len: usize| -> Vec<f32> { (0..len).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&v| f64::from(v)).collect() };
        let close = |found: &[f32], expected: &[f64]| {
            let pairs = found.iter().zip(expected);
            pairs.for_each(|(&a, b)| assert!((f64::from(a) - b).abs() < 1e-4, "{a} instead of {b}"));
        };
        for (taps, width, add) in
            [(0, 5, false), (1, 16, true), (4, 33, false), (9, 100, false), (25, 10, true)]
        {
            let rows: Vec<(usize, usize)> = (0..4).map(|row| (row * width, row * (width + 3))).collect();
            let offsets: Vec<usize> = (0..taps).map(|t| t * 7).collect();
            let (weights, plane) = (numbers(taps), numbers(4 * (width + 3) + 180));
            let mut out = numbers(4 * width);
            let (left, mut sums) = (out.clone(), numbers(taps));
            let (mut wide_out, mut wide_sums) = (wide(&out), wide(&sums));
            let (wide_weights, wide_plane, wide_left) = (wide(&weights), wide(&plane), wide(&left));
            let (offsets, rows) = (&offsets[..], &rows[..]);
            f32::filter(Filter {
                weights: &weights,
                plane: &plane,
                offsets,
                rows,
                width,
                out: &mut out,
                add,
            });
            f64::filter(Filter {
                weights: &wide_weights,
                plane: &wide_plane,
                offsets,
                rows,
                width,
                out: &mut wide_out,
                add,
            });
            close(&out, &wide_out);
            f32::filter_gradient(FilterGradient {
                left: &left,
                plane: &plane,
                offsets,
                rows,
                width,
                sums: &mut sums,
            });
            f64::filter_gradient(FilterGradient {
                left: &wide_left,
                plane: &wide_plane,
                offsets,
                rows,
                width,
                sums: &mut wide_sums,
            });
            close(&sums, &wide_sums);
        }
    }
}
