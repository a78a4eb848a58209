//! The scale and zero point of a tensor.

use secateur_ir::round_half_up;

/// The smallest scale. A tensor of such small values is as good as zero, and products of two scales and of
/// a weight's scale (f32) stay far above the smallest normal f32 (1e-38).
const MIN_SCALE: f64 = 1e-12;

/// `real = scale · (q − zero_point)`; the scale is exactly an `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) scale: f64,
    pub(crate) zero_point: i8,
}

impl Scale {
    /// Scale of the network's input image: `q = pixel − 128`.
    pub(crate) const IMAGE: Self = Self { scale: (1.0f32 / 255.0) as f64, zero_point: -128 };

    /// Scale of a softmax's output: `q = round(256 · p) − 128`.
    pub(crate) const SOFTMAX: Self = Self { scale: 1.0 / 256.0, zero_point: -128 };

    /// Scale of a tensor that is zero everywhere.
    const ZERO_TENSOR: Self = Self { scale: (1.0f32 / 255.0) as f64, zero_point: 0 };

    /// Returns the 8-bit scale over `[low, high]`, which holds zero.
    pub(crate) fn of_range((low, high): (f64, f64)) -> Self {
        if high - low <= 0.0 {
            return Self::ZERO_TENSOR;
        }
        let scale = f64::from(((high - low) / 255.0).max(MIN_SCALE) as f32);
        Self { scale, zero_point: round_half_up(-128.0 - low / scale).clamp(-128.0, 127.0) as i8 }
    }

    /// Returns the integer nearest to `real`, saturated.
    pub(crate) fn quantise(self, real: f64) -> i8 {
        // A float cast saturates at the type's bounds.
        (round_half_up(real / self.scale) + f64::from(self.zero_point)) as i8
    }

    /// Returns the real value that `q` stands for.
    pub(crate) fn real(self, q: i8) -> f64 {
        self.scale * (f64::from(q) - f64::from(self.zero_point))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn zero_is_exact_and_values_in_range_are_within_half_a_step(
            low in -100.0f64..=0.0, high in 0.001f64..100.0, at in 0.0f64..=1.0,
        ) {
            let scale = Scale::of_range((low, high));
            prop_assert_eq!(scale.real(scale.quantise(0.0)), 0.0);
            let real = low + at * (high - low);
            // The zero point's own rounding moves the range by up to half a step.
            prop_assert!((scale.real(scale.quantise(real)) - real).abs() <= scale.scale * 1.01);
        }
    }

    #[test]
    fn an_empty_range_still_has_a_positive_scale() {
        assert_eq!(Scale::of_range((0.0, 0.0)), Scale::ZERO_TENSOR);
        assert!(Scale::of_range((0.0, 1e-30)).scale > 0.0);
    }
}
