//! Activations as straight-line code that the compiler turns into vectors.

use secateur_ir::Activation;

/// Adding it rounds a float below 2^22 to an integer, which is then in its low bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has trailing zeros, so that its multiples are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `e^x` within 2 units in the last place; saturates near the ends of f32.
/// Source: Cephes `expf` (Moshier), the degree-5 polynomial.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let scale = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * scale
}

#[inline(always)]
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Applies an element-wise activation in place.
#[inline(always)]
pub(super) fn activate(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => map(values, |x| x.max(0.0)),
        Activation::Leaky | Activation::Revleaky => map(values, |x| x.max(crate::LEAKY_SLOPE * x)),
        Activation::Relu6 => map(values, |x| x.clamp(0.0, 6.0)),
        Activation::Logistic => map(values, logistic),
        Activation::Loggy => map(values, |x| 2.0 * logistic(x) - 1.0),
        Activation::Tanh => map(values, |x| 2.0 * logistic(2.0 * x) - 1.0),
        Activation::Swish => map(values, |x| x * logistic(x)),
        Activation::Mish => map(values, mish),
        Activation::HardMish => map(values, |x| {
            let below = if x > -2.0 { x * x / 2.0 + x } else { 0.0 };
            if x > 0.0 { x } else { below }
        }),
        other => map(values, |x| crate::activate(other, x)),
    }
}

/// `x · tanh(ln(1 + e^x))`, with `tanh ∘ ln` written as a quotient.
#[inline(always)]
fn mish(x: f32) -> f32 {
    let e = exp(x.min(20.0));
    let n = e * (e + 2.0);
    x * (n / (n + 2.0))
}

#[inline(always)]
fn map(values: &mut [f32], f: impl Fn(f32) -> f32) {
    values.iter_mut().for_each(|x| *x = f(*x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_a_few_units() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.5e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
    }

    #[test]
    fn every_activation_matches_the_plain_one() {
        let all = [
            Activation::Linear,
            Activation::Logistic,
            Activation::Loggy,
            Activation::Relu,
            Activation::Relu6,
            Activation::Relie,
            Activation::Ramp,
            Activation::Leaky,
            Activation::Revleaky,
            Activation::Tanh,
            Activation::Elu,
            Activation::Selu,
            Activation::Gelu,
            Activation::Swish,
            Activation::Mish,
            Activation::HardMish,
            Activation::Plse,
            Activation::Stair,
            Activation::Hardtan,
            Activation::Lhtan,
        ];
        for activation in all {
            for i in -3000..3000 {
                let x = i as f32 * 0.01;
                let mut fast = [x];
                super::activate(activation, &mut fast);
                let plain = crate::activate(activation, x);
                let error = (fast[0] - plain).abs() / plain.abs().max(1.0);
                // Darknet's mish subtracts nearly equal numbers far below zero.
                assert!(error < 2e-6, "{activation:?}({x}) = {}, plainly {plain}", fast[0]);
            }
        }
    }
}
