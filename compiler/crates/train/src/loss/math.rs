//! Functions of several losses, in Darknet's arithmetic.

/// `1 / (1 + e^−x)`
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// Derivative of the logistic function by its argument, from its value.
pub(super) fn logistic_gradient(y: f32) -> f32 {
    (1.0 - y) * y
}

/// Softmax in place over `n` values, `step` apart from `start` on.
pub(super) fn softmax(x: &mut [f32], start: usize, step: usize, n: usize, temperature: f32) {
    let places = || (0..n).map(|i| start + i * step);
    let largest = places().map(|i| x[i]).fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for i in places() {
        x[i] = libm::expf(x[i] / temperature - largest / temperature);
        sum += x[i];
    }
    places().for_each(|i| x[i] /= sum);
}

/// Factor of the class' deltas by the probability of the true class (Lin et al. 2017, γ = 2): small where it is found
/// already.
pub(super) fn focal(probability: f32) -> f32 {
    let p = probability + 1e-15;
    0.5 * -(1.0 - p) * (2.0 * p * libm::logf(p) + p - 1.0)
}

/// Sum of squares.
pub(super) fn squares<'a>(values: impl IntoIterator<Item = &'a f32>) -> f64 {
    values.into_iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}
