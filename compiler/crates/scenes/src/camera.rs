//! The camera: lens, exposure, sensor noise and the curve to 8 bits.

use std::sync::LazyLock;

use crate::dice::Dice;
use crate::solid::Point;

type Colour = [f32; 3];

/// Entries of the tone curve for a linear value of 1, and its largest input.
const TONE_STEPS: f32 = 1024.0;
const TONE_END: f32 = 4.0;

/// A camera's properties.
pub(crate) struct Camera {
    /// Standard deviation of the lens's blur, in pixels.
    blur: f32,
    /// Length of the motion blur along the belt, in pixels.
    motion: f32,
    /// Loss of light in the corners.
    vignette: f32,
    /// Mean brightness after exposure.
    exposure: f32,
    /// Gain of each channel, from a white balance that is a little off.
    balance: Colour,
    /// Noise of a dark pixel, and its growth with light.
    read_noise: f32,
    shot_noise: f32,
}

impl Camera {
    /// Draws a camera for images of `side × side` pixels.
    pub(crate) fn draw(dice: &mut Dice, side: usize) -> Self {
        // Blur is a matter of pixels in small images and of the lens in large ones.
        let scale = (side as f32 / 192.0).max(0.8);
        let blur = if dice.chance(0.12) { dice.between(0.8, 1.3) } else { dice.between(0.3, 0.75) };
        let motion = if dice.chance(0.2) { dice.between(1.0, 3.0) } else { 0.0 };
        Self {
            blur: blur * scale,
            motion: motion * scale,
            vignette: dice.between(0.0, 0.7),
            exposure: dice.by_ratio(0.11, 0.3),
            balance: std::array::from_fn(|_| dice.between(0.95, 1.05)),
            read_noise: dice.by_ratio(0.001, 0.008),
            shot_noise: dice.by_ratio(0.0003, 0.0025),
        }
    }

    /// Takes the image: interleaved bytes of a linear image.
    pub(crate) fn take(
        &self,
        dice: &mut Dice,
        mut light: Vec<Colour>,
        side: usize,
        travel: Point,
    ) -> Vec<u8> {
        self.shade_corners(&mut light, side);
        if self.motion > 0.0 {
            light = moved(&light, side, travel.map(|value| value * self.motion));
        }
        let kernel = gaussian(self.blur);
        // Each pass transposes.
        light = blurred(&blurred(&light, side, &kernel), side, &kernel);
        let mean = light.iter().flatten().sum::<f32>() / (3 * light.len()) as f32;
        let gain = self.exposure / mean.max(1e-6);
        self.develop(dice, &light, gain)
    }

    fn shade_corners(&self, light: &mut [Colour], side: usize) {
        let scale = 1.0 / side as f32;
        for (i, colour) in light.iter_mut().enumerate() {
            let (x, y) = ((i % side) as f32 * scale - 0.5, (i / side) as f32 * scale - 0.5);
            let keep = 1.0 - self.vignette * (x * x + y * y);
            *colour = colour.map(|value| value * keep);
        }
    }

    fn develop(&self, dice: &mut Dice, light: &[Colour], gain: f32) -> Vec<u8> {
        let mut random = vec![0; 16 * light.len()];
        dice.fill(&mut random);
        let gains = self.balance.map(|balance| balance * gain);
        let mut bytes = Vec::with_capacity(3 * light.len());
        for (colour, random) in light.iter().zip(random.chunks_exact(16)) {
            let noise: [f32; 4] = std::array::from_fn(|i| normal(&random[4 * i..4 * i + 4]));
            for c in 0..3 {
                let value = colour[c] * gains[c];
                let strength = self.read_noise + (self.shot_noise * value).sqrt();
                // The colour filter's reconstruction shares noise between the channels.
                let noisy = value + strength * (0.75 * noise[3] + 0.5 * noise[c]);
                bytes.push(tone(noisy));
            }
        }
        bytes
    }
}

/// The sum of four bytes as a number of mean 0 and variance 1, which is close to normal.
fn normal(bytes: &[u8]) -> f32 {
    let sum: u16 = bytes.iter().map(|&byte| u16::from(byte)).sum();
    (f32::from(sum) - 510.0) * (1.0 / 147.8)
}

/// The byte of a linear value: a shoulder that saves highlights, then sRGB.
fn tone(value: f32) -> u8 {
    static CURVE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let count = (TONE_STEPS * TONE_END) as usize;
        let byte = |i: usize| {
            let x = (i as f32 + 0.5) / TONE_STEPS;
            let x = (1.25 * x * (1.0 + x / 6.25) / (1.0 + x)).min(1.0);
            let encoded = if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * libm::powf(x, 1.0 / 2.4) - 0.055 };
            (255.0 * encoded + 0.5) as u8
        };
        (0..count).map(byte).collect()
    });
    // A float cast saturates at 0.
    CURVE[((value * TONE_STEPS) as usize).min(CURVE.len() - 1)]
}

/// A Gaussian's weights from its middle outwards; all of them, mirrored, sum to 1.
fn gaussian(sigma: f32) -> Vec<f32> {
    let reach = (2.5 * sigma).ceil().max(1.0) as usize;
    let weights: Vec<f32> =
        (0..=reach).map(|i| libm::expf(-0.5 * (i * i) as f32 / (sigma * sigma))).collect();
    let sum = 2.0 * weights.iter().sum::<f32>() - weights[0];
    weights.iter().map(|weight| weight / sum).collect()
}

/// Blurs the rows of a square image, which it returns transposed.
fn blurred(light: &[Colour], side: usize, kernel: &[f32]) -> Vec<Colour> {
    let reach = kernel.len() - 1;
    let mut result = vec![[0.0; 3]; light.len()];
    let mut padded = vec![[0.0; 3]; side + 2 * reach];
    for (y, row) in light.chunks_exact(side).enumerate() {
        padded[..reach].fill(row[0]);
        padded[reach..reach + side].copy_from_slice(row);
        padded[reach + side..].fill(row[side - 1]);
        for x in 0..side {
            let middle = x + reach;
            let mut sum = padded[middle].map(|value| value * kernel[0]);
            for (i, &weight) in kernel.iter().enumerate().skip(1) {
                let (before, after) = (padded[middle - i], padded[middle + i]);
                for c in 0..3 {
                    sum[c] += weight * (before[c] + after[c]);
                }
            }
            result[x * side + y] = sum;
        }
    }
    result
}

/// The mean of the image over a straight motion of `offset` pixels.
fn moved(light: &[Colour], side: usize, offset: Point) -> Vec<Colour> {
    let taps = 2 * offset[0].abs().max(offset[1].abs()).ceil() as usize + 1;
    let last = (side - 1) as f32;
    let mut result = vec![[0.0; 3]; light.len()];
    for tap in 0..taps {
        let part = tap as f32 / (taps - 1) as f32 - 0.5;
        for (i, sum) in result.iter_mut().enumerate() {
            let x = ((i % side) as f32 + part * offset[0]).clamp(0.0, last);
            let y = ((i / side) as f32 + part * offset[1]).clamp(0.0, last);
            let (left, top) = (x as usize, y as usize);
            let (right, below) = ((left + 1).min(side - 1), (top + 1).min(side - 1));
            let (u, v) = (x - left as f32, y - top as f32);
            for c in 0..3 {
                let at = |x: usize, y: usize| light[y * side + x][c];
                let above = at(left, top) + u * (at(right, top) - at(left, top));
                let under = at(left, below) + u * (at(right, below) - at(left, below));
                sum[c] += (above + v * (under - above)) / taps as f32;
            }
        }
    }
    result
}
