//! Random draws of a scene, from the generator's bits alone, so that they are the same on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The random stream of one scene.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of scene `index` under `seed`; no two pairs share one.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Self(rng)
    }

    /// Draws 32 bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Draws from 0..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Draws from `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Draws from `low..high`, small values as often as large ones by ratio.
    pub(crate) fn by_ratio(&mut self, low: f32, high: f32) -> f32 {
        low * libm::powf(high / low, self.unit())
    }

    /// Draws a whole number of `low..=high`.
    pub(crate) fn whole(&mut self, low: u32, high: u32) -> u32 {
        low + ((u64::from(self.bits()) * u64::from(high - low + 1)) >> 32) as u32
    }

    /// True with probability `p`.
    pub(crate) fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Draws one of `items`.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.whole(0, items.len() as u32 - 1) as usize]
    }

    /// Draws a direction: cosine and sine of any angle.
    pub(crate) fn direction(&mut self) -> [f32; 2] {
        direction(self.between(0.0, std::f32::consts::TAU))
    }
}

/// Cosine and sine of an angle in radians.
pub(crate) fn direction(angle: f32) -> [f32; 2] {
    [libm::cosf(angle), libm::sinf(angle)]
}
