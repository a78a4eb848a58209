//! Gaussian noise.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::coin;

/// Greatest standard deviation in grey levels; Darknet's.
const MAX_DEVIATION: usize = 127;

/// Noise of one image, with a stream of random numbers of its own: parts of an image that a mosaic does not show draw
/// none.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    /// Standard deviation, of values 0..1.
    deviation: f32,
    rng: ChaCha8Rng,
}

impl Noise {
    /// Noise of standard deviation `key` in grey levels for half of the images.
    pub(super) fn draw(key: usize, rng: &mut ChaCha8Rng) -> Option<Self> {
        let noisy = key > 0 && coin(rng);
        noisy.then(|| {
            let deviation = key.min(MAX_DEVIATION) as f32 / 255.0;
            Self { deviation, rng: ChaCha8Rng::from_seed(rng.random()) }
        })
    }

    /// Adds the noise to values of 0..1 and clips them.
    pub(super) fn add(&self, values: &mut [f32]) {
        let mut rng = self.rng.clone();
        for pair in values.chunks_mut(2) {
            let normal = draw_normal_pair(&mut rng);
            for (value, normal) in pair.iter_mut().zip(normal) {
                *value = (*value + self.deviation * normal).clamp(0.0, 1.0);
            }
        }
    }
}

/// Two independent normal numbers, after Box and Muller 1958.
fn draw_normal_pair(rng: &mut ChaCha8Rng) -> [f32; 2] {
    // Above 0, for the logarithm.
    let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - rng.random::<f32>()));
    let (sin, cos) = libm::sincosf(std::f32::consts::TAU * rng.random::<f32>());
    [radius * sin, radius * cos]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_deviation_that_the_key_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn: Vec<Option<Noise>> = (0..100).map(|_| Noise::draw(20, &mut rng)).collect();
        let noisy: Vec<&Noise> = drawn.iter().flatten().collect();
        assert!((30..70).contains(&noisy.len()), "{} of 100 are noisy", noisy.len());
        let mut values = vec![0.5; 100_001];
        noisy[0].add(&mut values);
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
        assert!((mean - 0.5).abs() < 1e-3 && (deviation * 255.0 - 20.0).abs() < 0.2, "{mean} {deviation}");
        let beyond = values.iter().filter(|v| (*v - 0.5).abs() > 2.0 * 20.0 / 255.0).count();
        assert!((beyond as f32 / count - 0.0455).abs() < 0.003, "{beyond} beyond two deviations");
        let mut again = vec![0.5; 100_001];
        noisy[0].add(&mut again);
        assert_eq!(values, again);
        let mut other = vec![0.5; 100_001];
        noisy[1].add(&mut other);
        assert_ne!(values, other);
        assert!((0..100).all(|_| Noise::draw(0, &mut rng).is_none()));
    }
}
