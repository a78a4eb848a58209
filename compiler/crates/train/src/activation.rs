//! Activations and their derivatives in the engine's number types.
//!
//! In `f32` the values are those of the float oracle; a derivative is of the value as it is defined there.

use secateur_ir::Activation;

use crate::scalar::Scalar;

/// The slope of an activation below zero, where it is linear on both sides of zero with slope 1 above.
pub(crate) fn slope<T: Scalar>(activation: Activation) -> Option<T> {
    Some(T::from_f64(match activation {
        Activation::Linear => 1.0,
        Activation::Relu => 0.0,
        Activation::Leaky | Activation::Revleaky => f64::from(secateur_float::LEAKY_SLOPE),
        Activation::Relie => 0.01,
        _ => return None,
    }))
}

/// Returns whether the activation has a value at one point: those that normalise over channels have none.
pub(crate) fn is_elementwise(activation: Activation) -> bool {
    !matches!(
        activation,
        Activation::NormChan | Activation::NormChanSoftmax | Activation::NormChanSoftmaxMaxval
    )
}

/// Value of an element-wise activation at `x`.
pub(crate) fn value<T: Scalar>(activation: Activation, x: T) -> T {
    let n = T::from_f64;
    if let Some(slope) = slope::<T>(activation) {
        return if x > T::ZERO { x } else { slope * x };
    }
    match activation {
        Activation::Logistic => logistic(x),
        Activation::Loggy => n(2.0) * logistic(x) - T::ONE,
        Activation::Relu6 => x.maximum(T::ZERO).minimum(n(6.0)),
        Activation::Ramp => x.maximum(T::ZERO) + n(0.1) * x,
        Activation::Tanh => tanh(x),
        Activation::Elu => {
            if x >= T::ZERO {
                x
            } else {
                x.exp() - T::ONE
            }
        }
        Activation::Selu => n(1.0507) * if x >= T::ZERO { x } else { n(1.6732) * (x.exp() - T::ONE) },
        Activation::Gelu => n(0.5) * x * (T::ONE + gelu_inner(x).tanh()),
        Activation::Swish => x * logistic(x),
        Activation::Mish => x * tanh(softplus(x)),
        Activation::HardMish => {
            if x > T::ZERO {
                x
            } else if x > n(-2.0) {
                x * x / n(2.0) + x
            } else {
                T::ZERO
            }
        }
        Activation::Plse => {
            if x < n(-4.0) {
                n(0.01) * (x + n(4.0))
            } else if x > n(4.0) {
                n(0.01) * (x - n(4.0)) + T::ONE
            } else {
                n(0.125) * x + n(0.5)
            }
        }
        Activation::Stair => T::from_f64(f64::from(secateur_float::activate(activation, x.to_f32()))),
        Activation::Hardtan => x.maximum(-T::ONE).minimum(T::ONE),
        Activation::Lhtan => {
            if x < T::ZERO {
                n(0.001) * x
            } else if x > T::ONE {
                n(0.001) * (x - T::ONE) + T::ONE
            } else {
                x
            }
        }
        _ => unreachable!("{activation:?} has no value at one point"),
    }
}

/// Derivative of an element-wise activation at `x`; at a kink, that of the side below.
pub(crate) fn derivative<T: Scalar>(activation: Activation, x: T) -> T {
    let n = T::from_f64;
    let inside = |low: f64, high: f64| x > n(low) && x < n(high);
    if let Some(slope) = slope::<T>(activation) {
        return if x > T::ZERO { T::ONE } else { slope };
    }
    let choose = |condition: bool, yes: T, no: T| if condition { yes } else { no };
    match activation {
        Activation::Logistic => logistic_derivative(x),
        Activation::Loggy => n(2.0) * logistic_derivative(x),
        Activation::Relu6 => choose(inside(0.0, 6.0), T::ONE, T::ZERO),
        Activation::Ramp => choose(x > T::ZERO, n(1.1), n(0.1)),
        Activation::Tanh => tanh_derivative(x),
        Activation::Elu => choose(x >= T::ZERO, T::ONE, x.exp()),
        Activation::Selu => n(1.0507) * choose(x >= T::ZERO, T::ONE, n(1.6732) * x.exp()),
        Activation::Gelu => {
            let t = gelu_inner(x).tanh();
            let inner = n(0.797_885) + n(3.0 * 0.035_677) * x * x;
            n(0.5) * (T::ONE + t) + n(0.5) * x * (T::ONE - t * t) * inner
        }
        Activation::Swish => logistic(x) + x * logistic_derivative(x),
        Activation::Mish => {
            let softplus = softplus(x);
            tanh(softplus) + x * tanh_derivative(softplus) * logistic(x)
        }
        Activation::HardMish => choose(x > T::ZERO, T::ONE, choose(x > n(-2.0), x + T::ONE, T::ZERO)),
        Activation::Plse => choose(inside(-4.0, 4.0), n(0.125), n(0.01)),
        Activation::Stair => {
            let floor = x.to_f64().floor();
            choose(floor % 2.0 == 0.0 || x.to_f64() == floor, T::ZERO, T::ONE)
        }
        Activation::Hardtan => choose(inside(-1.0, 1.0), T::ONE, T::ZERO),
        Activation::Lhtan => choose(inside(0.0, 1.0), T::ONE, n(0.001)),
        _ => unreachable!("{activation:?} has no derivative at one point"),
    }
}

/// `1 / (1 + e^-x)`.
pub(crate) fn logistic<T: Scalar>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

fn logistic_derivative<T: Scalar>(x: T) -> T {
    let y = logistic(x);
    y * (T::ONE - y)
}

fn tanh<T: Scalar>(x: T) -> T {
    T::from_f64(2.0) * logistic(x + x) - T::ONE
}

fn tanh_derivative<T: Scalar>(x: T) -> T {
    let y = tanh(x);
    T::ONE - y * y
}

/// The argument of the hyperbolic tangent in GELU.
fn gelu_inner<T: Scalar>(x: T) -> T {
    T::from_f64(0.797_885) * x + T::from_f64(0.035_677) * x * x * x
}

/// `ln(1 + e^x)`, linear and exponential where the other term is lost anyway.
fn softplus<T: Scalar>(x: T) -> T {
    let threshold = T::from_f64(20.0);
    if x > threshold {
        x
    } else if x < -threshold {
        x.exp()
    } else {
        (x.exp() + T::ONE).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elementwise() -> impl Iterator<Item = Activation> {
        Activation::ALL.into_iter().filter(|&activation| is_elementwise(activation))
    }

    #[test]
    fn values_are_the_oracles() {
        for activation in elementwise() {
            for i in -300..300 {
                let x = i as f32 * 0.037;
                let (found, expected) = (value(activation, x), secateur_float::activate(activation, x));
                assert!((found - expected).abs() <= 2e-6 * expected.abs().max(1.0), "{activation:?} at {x}");
            }
        }
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        // Between the kinks, which all lie at whole numbers.
        for activation in elementwise() {
            for i in -70..70 {
                let (x, h) = (f64::from(i) * 0.1 + 0.05, 1e-5);
                // Stair is computed in f32: it is exact only where its slope is.
                if activation == Activation::Stair {
                    continue;
                }
                let difference = (value(activation, x + h) - value(activation, x - h)) / (2.0 * h);
                let found = derivative(activation, x);
                assert!((found - difference).abs() < 1e-8, "{activation:?} at {x}: {found}, {difference}");
            }
        }
        assert_eq!([0.5, 1.5, 2.5, 3.5].map(|x| derivative(Activation::Stair, x)), [0.0, 1.0, 0.0, 1.0]);
    }
}
