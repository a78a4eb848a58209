//! Real factors turned into the contract's multipliers and shifts (`docs/numerics.md`).

use std::ops::RangeInclusive;

use secateur_base::{Error, Result};
use secateur_ir::Activation;
use secateur_runtime::kernels::Requant;
use serde::{Deserialize, Serialize};

/// Shifts that the contract allows.
const SHIFTS: RangeInclusive<u8> = 1..=Requant::SHIFT_MAX;

/// Two-slope requantisation of `docs/numerics.md`: `y = (acc · m + 2^(shift−1)) >> shift` with `m` by the
/// sign of `acc`; `|m| < 2^17`, `1 <= shift <= 47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QRequant {
    pub m_pos: i32,
    pub m_neg: i32,
    pub shift: u8,
}

impl QRequant {
    /// Returns the constants in the form that kernels and artefacts take.
    pub fn record(&self) -> Requant {
        Requant::new(self.m_pos, self.m_neg, self.shift)
    }
}

/// Most bits of a shortcut's multipliers once its slopes need fifteen of their own.
const SLOPE_BITS: u8 = 15;

/// The two slopes of an activation that is linear on either side of zero, with its clamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TwoSlope {
    pub(crate) positive: f64,
    pub(crate) negative: f64,
    /// Real values that the activation cuts off at (relu6, hardtan).
    pub(crate) clamp: Option<(f64, f64)>,
}

impl TwoSlope {
    pub(crate) const LINEAR: Self = Self { positive: 1.0, negative: 1.0, clamp: None };

    /// The slopes of `activation`, or `None` where it needs a table.
    pub(crate) fn of(activation: Activation) -> Option<Self> {
        let (positive, negative, clamp) = match activation {
            Activation::Linear => (1.0, 1.0, None),
            Activation::Relu => (1.0, 0.0, None),
            Activation::Leaky | Activation::Revleaky => (1.0, f64::from(0.1f32), None),
            Activation::Relie => (1.0, f64::from(0.01f32), None),
            Activation::Ramp => (f64::from(1.1f32), f64::from(0.1f32), None),
            Activation::Relu6 => (1.0, 0.0, Some((0.0, 6.0))),
            Activation::Hardtan => (1.0, 1.0, Some((-1.0, 1.0))),
            _ => return None,
        };
        Some(Self { positive, negative, clamp })
    }

    /// Returns true if `f(s·x) = s·f(x)` for every positive `s`.
    pub(crate) fn is_homogeneous(self) -> bool {
        self.clamp.is_none()
    }
}

/// `round(factor · 2^shift)` with the shift that puts it into `[2^16, 2^17)`, or the greatest shift.
fn normalise(factor: f64) -> Result<(i32, u8)> {
    let too_large = || {
        Error::new("scales of input and output are too far apart for a requantisation")
            .found(format!("factor {factor:e}"))
            .allowed("positive, below 65536")
            .help("a channel has enormous weights: check the weights file")
    };
    if !(factor.is_finite() && factor > 0.0) {
        return Err(too_large());
    }
    let wanted = 16 - libm::log2(factor).floor() as i64;
    let mut shift = wanted.min(i64::from(*SHIFTS.end()));
    let mut multiplier = (factor * 2f64.powi(shift as i32)).round();
    if multiplier >= f64::from(Requant::MULTIPLIER_LIMIT) {
        shift -= 1;
        multiplier = (factor * 2f64.powi(shift as i32)).round();
    }
    if shift < i64::from(*SHIFTS.start()) {
        return Err(too_large());
    }
    Ok((multiplier as i32, shift as u8))
}

/// Requantisation by `factor` (accumulator unit over output unit) with the slopes of an activation.
pub(crate) fn requant(factor: f64, slopes: TwoSlope) -> Result<QRequant> {
    let (m_pos, shift) = normalise(factor * slopes.positive)?;
    let m_neg = (f64::from(m_pos) * slopes.negative / slopes.positive).round() as i32;
    Ok(QRequant { m_pos, m_neg, shift })
}

/// The same for a negated channel: `−f(−x)`.
pub(crate) fn requant_negated(factor: f64, slopes: TwoSlope) -> Result<QRequant> {
    let QRequant { m_pos, m_neg, shift } = requant(factor, slopes)?;
    Ok(QRequant { m_pos: m_neg, m_neg: m_pos, shift })
}

/// Multipliers of a sum of `factors[i] · (q_i − Z_i)` and the requantisation of that sum.
pub(crate) fn requant_sum(factors: &[f64], slopes: TwoSlope) -> Result<(Vec<i32>, QRequant)> {
    // A shortcut whose weights are all zero is zero everywhere, by whatever shift.
    let nothing = factors.iter().all(|&f| f == 0.0);
    let greatest = if nothing { 1.0 } else { factors.iter().fold(0f64, |m, f| m.max(f.abs())) };
    let (_, shift) = normalise(greatest)?;
    let extra = if slopes == TwoSlope::LINEAR { 0 } else { SLOPE_BITS };
    let shift = shift.min(SHIFTS.end() - extra);
    let multipliers = factors.iter().map(|f| (f * 2f64.powi(i32::from(shift))).round() as i32).collect();
    let slope = |s: f64| (s * 2f64.powi(i32::from(extra))).round() as i32;
    let requant =
        QRequant { m_pos: slope(slopes.positive), m_neg: slope(slopes.negative), shift: shift + extra };
    Ok((multipliers, requant))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn multipliers_are_normalised_and_precise(exponent in -45.0f64..15.9) {
            let factor = exponent.exp2();
            let (m, shift) = normalise(factor).unwrap();
            prop_assert!(m < Requant::MULTIPLIER_LIMIT && SHIFTS.contains(&shift));
            if shift < *SHIFTS.end() {
                prop_assert!(m >= 1 << 16);
                let error = f64::from(m) * 2f64.powi(-i32::from(shift)) / factor - 1.0;
                prop_assert!(error.abs() <= 1.0 / f64::from(1 << 17));
            }
        }

        #[test]
        fn sums_keep_the_ratio_of_their_inputs(a in 0.01f64..100.0, b in 0.01f64..100.0) {
            let leaky = TwoSlope::of(Activation::Leaky).unwrap();
            let (m, requant) = requant_sum(&[a, b], leaky).unwrap();
            let unit = f64::from(requant.m_pos) * 2f64.powi(-i32::from(requant.shift));
            let half_unit = unit * 0.5;
            prop_assert!((f64::from(m[0]) * unit - a).abs() <= half_unit);
            prop_assert!((f64::from(m[1]) * unit - b).abs() <= half_unit);
            prop_assert!(m.iter().all(|m| m.abs() < Requant::MULTIPLIER_LIMIT));
        }
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        assert_eq!(requant_sum(&[0.0, -0.0], TwoSlope::LINEAR).unwrap().0, [0, 0]);
    }

    #[test]
    fn leaky_is_a_tenth_of_the_positive_slope() {
        let leaky = requant(0.0123, TwoSlope::of(Activation::Leaky).unwrap()).unwrap();
        assert_eq!(leaky.m_neg, (f64::from(leaky.m_pos) * 0.1).round() as i32);
        let relu = requant(0.0123, TwoSlope::of(Activation::Relu).unwrap()).unwrap();
        assert_eq!((relu.m_pos, relu.m_neg), (leaky.m_pos, 0));
        let negated = requant_negated(0.0123, TwoSlope::of(Activation::Leaky).unwrap()).unwrap();
        assert_eq!((negated.m_pos, negated.m_neg, negated.shift), (leaky.m_neg, leaky.m_pos, leaky.shift));
    }

    #[test]
    fn factors_out_of_reach_are_errors_and_tiny_ones_become_small_multipliers() {
        assert!(requant(65536.0, TwoSlope::LINEAR).is_err());
        assert!(requant(f64::NAN, TwoSlope::LINEAR).is_err());
        assert!(requant(0.0, TwoSlope::LINEAR).is_err());
        let tiny = requant(2f64.powi(-40), TwoSlope::LINEAR).unwrap();
        assert_eq!((tiny.m_pos, tiny.shift), (128, 47));
    }
}
