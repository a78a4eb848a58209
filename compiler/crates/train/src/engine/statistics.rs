//! Sums over channels: the moments that batch norm needs, and the projections that its backward needs.
//!
//! They are taken in the engine's type over short runs and in `f64` beyond, in an order that the shape alone decides.

#![allow(clippy::needless_range_loop, reason = "sums side by side are indexed in step with each other")]

use super::value::Row;
use crate::scalar::Scalar;

/// Numbers that are summed in the engine's type before the sum is added in `f64`.
const RUN: usize = 2048;
/// Partial sums side by side, so that they fill vectors.
const SIDE: usize = 64;

/// Sums of what `term` yields for every pair of numbers, as many sums as it yields numbers.
#[inline(always)]
fn sums<T: Scalar, const N: usize>(x: &[T], y: &[T], term: impl Fn(T, T) -> [T; N]) -> [f64; N] {
    let mut totals = [0.0; N];
    for (x, y) in x.chunks(RUN).zip(y.chunks(RUN)) {
        let mut sums = [[T::ZERO; SIDE]; N];
        let ((x_sides, x_rest), (y_sides, y_rest)) = (x.as_chunks::<SIDE>(), y.as_chunks::<SIDE>());
        for (x, y) in x_sides.iter().zip(y_sides) {
            for i in 0..SIDE {
                let terms = term(x[i], y[i]);
                for n in 0..N {
                    sums[n][i] += terms[n];
                }
            }
        }
        for (i, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
            let terms = term(x, y);
            for n in 0..N {
                sums[n][i] += terms[n];
            }
        }
        for n in 0..N {
            totals[n] += total(&sums[n]);
        }
    }
    totals
}

/// The sum of partial sums, eight side by side.
#[inline(always)]
fn total<T: Scalar>(partial: &[T; SIDE]) -> f64 {
    let mut sums = [0.0; 8];
    for partial in partial.as_chunks::<8>().0 {
        for i in 0..8 {
            sums[i] += partial[i].to_f64();
        }
    }
    sums.iter().sum()
}

/// Numbers of a channel or of a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Moments {
    pub count: f64,
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub squares: f64,
}

impl Moments {
    /// In one sweep: distances are from the mean of the first numbers, which keeps their squares small.
    #[inline(always)]
    pub(super) fn of<T: Scalar>(x: &[T]) -> Self {
        let (head, count) = (&x[..x.len().min(SIDE)], x.len() as f64);
        let [first] = sums(head, head, |value, _| [value]);
        let centre = T::from_f64(first / head.len() as f64);
        let [sum, squares] = sums(x, x, |value, _| {
            let distance = value - centre;
            [distance, distance * distance]
        });
        Self { count, mean: centre.to_f64() + sum / count, squares: (squares - sum * sum / count).max(0.0) }
    }

    /// With a mean that is known.
    #[inline(always)]
    pub(super) fn around<T: Scalar>(x: &[T], mean: f64) -> Self {
        let centre = T::from_f64(mean);
        let [squares] = sums(x, x, |value, _| [(value - centre) * (value - centre)]);
        Self { count: x.len() as f64, mean, squares }
    }

    /// Adds those of another part. Source: Chan, Golub and LeVeque 1979.
    pub(super) fn add(&mut self, other: Self) {
        let count = self.count + other.count;
        let (distance, share) = (other.mean - self.mean, other.count / count);
        self.mean += distance * share;
        self.squares += other.squares + distance * distance * self.count * share;
        self.count = count;
    }
}

/// Moments of every row.
pub(super) fn moments_of<T: Scalar>(rows: &[impl AsRef<[T]>]) -> Vec<Moments> {
    let mut moments = vec![Moments::default(); rows.len()];
    T::vectorise(
        #[inline(always)]
        || {
            for (moments, row) in moments.iter_mut().zip(rows) {
                *moments = Moments::of(row.as_ref());
            }
        },
    );
    moments
}

/// Means of channels of equal length, summed as Darknet does, one number after the other.
///
/// A sum of `f32` depends on its order, and with it the side of zero on which a unit falls that has almost the mean;
/// there a leaky unit's gradient jumps.
pub(super) fn means_in_order<T: Scalar>(rows: &[&[T]]) -> Vec<f64> {
    /// Channels side by side, since an addition waits for the one before it.
    const CHANNELS: usize = 16;
    let mut means = Vec::with_capacity(rows.len());
    for rows in rows.chunks(CHANNELS) {
        let len = rows[0].len();
        let mut sums = [T::ZERO; CHANNELS];
        let side: [&[T]; CHANNELS] = std::array::from_fn(|c| &rows[c.min(rows.len() - 1)][..len]);
        for i in 0..len {
            for c in 0..CHANNELS {
                sums[c] += side[c][i];
            }
        }
        means.extend(sums[..rows.len()].iter().map(|sum| sum.to_f64() * f64::from(1.0 / len as f32)));
    }
    means
}

/// Sums over a channel of the gradient by what its activation is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Projections {
    /// Of the gradient itself.
    pub sum: f64,
    /// Of the gradient times the raw number's distance from the mean.
    pub along: f64,
}

impl Projections {
    /// Adds those of another part.
    pub(super) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.along += other.along;
    }
}

/// Projections of `gradient`, which is by the output of an activation with this slope below zero.
#[inline(always)]
pub(super) fn projections<T: Scalar>(row: Row<'_, T>, gradient: &[T], slope: T) -> Projections {
    let mean = row.mean;
    let [sum, along] = sums(row.raw, gradient, |z, g| {
        let g = if row.is_positive(z) { g } else { slope * g };
        [g, g * (z - mean)]
    });
    Projections { sum, along }
}

/// Moments of every channel over all parts, which are `[part][channel]`; nothing if the parts have none.
pub(super) fn join(parts: &[Vec<Moments>]) -> Vec<Moments> {
    let Some((first, rest)) = parts.split_first() else { return Vec::new() };
    let mut joined = first.clone();
    for part in rest {
        joined.iter_mut().zip(part).for_each(|(sum, &moments)| sum.add(moments));
    }
    joined
}
