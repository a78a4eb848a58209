//! Functions of several losses, in Darknet's arithmetic.

/// Returns `1 / (1 + e^−x)`.
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// Returns the derivative of the logistic function by its argument, from its value.
pub(super) fn logistic_gradient(y: f32) -> f32 {
    (1.0 - y) * y
}

/// Replaces `n` values, `step` apart from `start` on, by their softmax.
pub(super) fn softmax(x: &mut [f32], start: usize, step: usize, n: usize, temperature: f32) {
    let indices = || (0..n).map(|i| start + i * step);
    let largest = indices().map(|i| x[i]).fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for i in indices() {
        x[i] = libm::expf(x[i] / temperature - largest / temperature);
        sum += x[i];
    }
    indices().for_each(|i| x[i] /= sum);
}

/// Returns the focal loss' factor of the class' deltas, by the probability of the true class (Lin et al. 2017, γ = 2):
/// small where that is probable already.
pub(super) fn focal(probability: f32) -> f32 {
    let p = probability + 1e-15;
    0.5 * -(1.0 - p) * (2.0 * p * libm::logf(p) + p - 1.0)
}

/// Returns the sum of squares.
pub(super) fn squares(values: &[f32]) -> f64 {
    let mut sum = 0.0;
    not_zero(values).flatten().for_each(|&value| sum += f64::from(value) * f64::from(value));
    sum
}

/// Returns the sum of squares as Darknet prints it: one f32 sum in the order of memory, of which it takes the root and
/// squares that. With many values its rounding shows.
pub(super) fn printed_squares<'a>(parts: impl IntoIterator<Item = &'a [f32]>) -> f64 {
    let mut sum = 0.0_f32;
    parts.into_iter().flat_map(not_zero).flatten().for_each(|value| sum += value * value);
    let root = f64::from(sum.sqrt());
    root * root
}

/// Returns runs of values that are not all 0, as most deltas are: a comparison is faster than a sum that waits for the
/// last one.
fn not_zero(values: &[f32]) -> impl Iterator<Item = &[f32]> {
    values.chunks(32).filter(|run| run.iter().fold(0, |bits, value| bits | value.to_bits()) << 1 != 0)
}
