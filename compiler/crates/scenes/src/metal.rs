//! Metals and finishes.

use crate::dice::Dice;

/// How a part's surface takes light.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metal {
    /// Reflectance in linear red, green, blue.
    pub(crate) tint: [f32; 3],
    /// Fraction of the light that is mirrored rather than scattered.
    pub(crate) mirror: f32,
    /// Sharpness of highlights: large for polished surfaces.
    pub(crate) gloss: f32,
    /// Strength of the grain that brushing or turning leaves.
    pub(crate) grain: f32,
    /// Grains a pixel along the part: small for long ones.
    pub(crate) grain_length: f32,
    /// Strength of rust and dirt.
    pub(crate) dirt: f32,
    pub(crate) dirt_tint: [f32; 3],
    /// Seed of grain and dirt.
    pub(crate) seed: u32,
}

const STEEL: [f32; 3] = [0.56, 0.57, 0.58];
const ZINC: [f32; 3] = [0.68, 0.71, 0.74];
const YELLOW_ZINC: [f32; 3] = [0.66, 0.58, 0.36];
const BRASS: [f32; 3] = [0.72, 0.54, 0.24];
const COPPER: [f32; 3] = [0.70, 0.42, 0.30];
const BLACK_OXIDE: [f32; 3] = [0.085, 0.085, 0.095];
const RUST: [f32; 3] = [0.20, 0.085, 0.035];
const SOOT: [f32; 3] = [0.05, 0.045, 0.04];

impl Metal {
    /// Draws a metal: mostly steel and zinc.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let tint = dice.pick(&[
            STEEL,
            STEEL,
            STEEL,
            ZINC,
            ZINC,
            ZINC,
            YELLOW_ZINC,
            BRASS,
            BRASS,
            COPPER,
            BLACK_OXIDE,
            BLACK_OXIDE,
        ]);
        let shade = dice.between(0.85, 1.1);
        let is_rusty = tint == STEEL && dice.chance(0.3);
        Self {
            tint: tint.map(|value| value * shade),
            mirror: dice.between(0.5, 0.9),
            gloss: dice.by_ratio(8.0, 90.0),
            grain: dice.between(0.02, 0.09),
            grain_length: dice.by_ratio(0.25, 1.0),
            dirt: if is_rusty { dice.between(0.4, 1.0) } else { dice.between(0.0, 0.4) },
            dirt_tint: if is_rusty { RUST } else { SOOT },
            seed: dice.bits(),
        }
    }
}
