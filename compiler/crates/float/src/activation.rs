//! Darknet's activations, as its CPU code computes them (`activations.h`, `activations.c`).

// Those of the C library differ from system to system, and with the processor.
use libm::{expf, logf, tanhf};
use secateur_ir::Activation;

/// Leaky's slope below zero.
pub const LEAKY_SLOPE: f32 = 0.1;

/// Added to the sums of the channel-normalising activations.
const NORMALIZE_EPSILON: f32 = 1e-4;

/// Value of an element-wise activation at `x`; the channel-normalising ones need [`activate_map`].
///
/// Darknet forgets `relu6` on the CPU (it yields 0 there); here it is `min(max(x, 0), 6)`.
pub fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Linear => x,
        Activation::Logistic => logistic(x),
        Activation::Loggy => 2.0 * logistic(x) - 1.0,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Relie => slope(x, 0.01),
        Activation::Ramp => x.max(0.0) + 0.1 * x,
        Activation::Leaky | Activation::Revleaky => slope(x, LEAKY_SLOPE),
        Activation::Tanh => 2.0 * logistic(2.0 * x) - 1.0,
        Activation::Elu => {
            if x >= 0.0 {
                x
            } else {
                expf(x) - 1.0
            }
        }
        Activation::Selu => {
            if x >= 0.0 {
                1.0507 * x
            } else {
                1.0507 * 1.6732 * (expf(x) - 1.0)
            }
        }
        Activation::Gelu => 0.5 * x * (1.0 + tanhf(0.797_885 * x + 0.035_677 * x.powi(3))),
        Activation::Swish => x * logistic(x),
        Activation::Mish => {
            let softplus = softplus(x, 20.0);
            x * (2.0 / (1.0 + expf(-2.0 * softplus)) - 1.0)
        }
        Activation::HardMish => {
            if x > 0.0 {
                x
            } else if x > -2.0 {
                x * x / 2.0 + x
            } else {
                0.0
            }
        }
        Activation::Plse => {
            if x < -4.0 {
                0.01 * (x + 4.0)
            } else if x > 4.0 {
                0.01 * (x - 4.0) + 1.0
            } else {
                0.125 * x + 0.5
            }
        }
        Activation::Stair => {
            let n = x.floor();
            let half = (x / 2.0).floor();
            if n % 2.0 == 0.0 { half } else { (x - n) + half }
        }
        Activation::Hardtan => x.clamp(-1.0, 1.0),
        Activation::Lhtan => {
            if x < 0.0 {
                0.001 * x
            } else if x > 1.0 {
                0.001 * (x - 1.0) + 1.0
            } else {
                x
            }
        }
        Activation::NormChan | Activation::NormChanSoftmax | Activation::NormChanSoftmaxMaxval => {
            unreachable!("a channel-normalising activation has no value at one point")
        }
    }
}

/// Applies `activation` in place to a feature map `[channels][pixels]`.
pub fn activate_map(activation: Activation, map: &mut [f32], channels: usize) {
    match activation {
        Activation::Linear => {}
        Activation::NormChan => normalize_channels(map, channels, |x, _| x.max(0.0), false),
        Activation::NormChanSoftmax => normalize_channels(map, channels, |x, _| expf(x), false),
        Activation::NormChanSoftmaxMaxval => {
            normalize_channels(map, channels, |x, largest| expf(x - largest), true);
        }
        _ => map.iter_mut().for_each(|x| *x = activate(activation, *x)),
    }
}

/// `1 / (1 + e^-x)`.
pub fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + expf(-x))
}

fn slope(x: f32, below: f32) -> f32 {
    if x > 0.0 { x } else { below * x }
}

fn softplus(x: f32, threshold: f32) -> f32 {
    if x > threshold {
        x
    } else if x < -threshold {
        expf(x)
    } else {
        logf(expf(x) + 1.0)
    }
}

/// Replaces every pixel's channel values `x` by `f(x, largest) / (ε + Σ f)`.
fn normalize_channels(map: &mut [f32], channels: usize, f: impl Fn(f32, f32) -> f32, use_largest: bool) {
    let pixels = map.len() / channels;
    for pixel in 0..pixels {
        let column = || (0..channels).map(|c| c * pixels + pixel);
        let largest = if use_largest { column().map(|i| map[i]).fold(f32::MIN, f32::max) } else { 0.0 };
        let sum = column().fold(NORMALIZE_EPSILON, |sum, i| sum + f(map[i], largest));
        for i in column() {
            map[i] = f(map[i], largest) / sum;
        }
    }
}
