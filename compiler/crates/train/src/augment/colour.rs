//! Random changes of hue, saturation and brightness.

use rand_chacha::ChaCha8Rng;

use secateur_ir::training::Augmentation;

use super::{draw_factor, draw_uniform};

/// A change of colours, in hue, saturation and value (the greatest of the three channels).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Distortion {
    /// Fraction of the circle of hues.
    pub(super) hue: f32,
    /// Factors.
    pub(super) saturation: f32,
    pub(super) exposure: f32,
}

impl Distortion {
    pub(super) fn draw(keys: &Augmentation, rng: &mut ChaCha8Rng) -> Self {
        Self {
            hue: draw_uniform(rng, -keys.hue, keys.hue),
            saturation: draw_factor(rng, keys.saturation),
            exposure: draw_factor(rng, keys.exposure),
        }
    }

    /// Distorts pixels of 0..1 given as one row for each channel, in place; results are clipped to 0..1.
    ///
    /// Of grey pixels only the brightness changes.
    pub(super) fn apply<'a>(&self, rows: impl Iterator<Item = &'a mut [f32]>) {
        let mut rows = rows;
        match [rows.next(), rows.next(), rows.next()] {
            // Saves the two divisions a pixel where nothing would change.
            [Some(_), Some(_), Some(_)] if (self.hue, self.saturation, self.exposure) == (0.0, 1.0, 1.0) => {}
            [Some(red), Some(green), Some(blue)] => {
                for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
                    [*red, *green, *blue] = self.distorted([*red, *green, *blue]);
                }
            }
            [Some(grey), ..] => grey.iter_mut().for_each(|v| *v = (*v * self.exposure).clamp(0.0, 1.0)),
            [None, ..] => {}
        }
    }

    /// One pixel. Conditions select values and never branch, so that loops over pixels become vector code.
    #[inline(always)]
    fn distorted(&self, [red, green, blue]: [f32; 3]) -> [f32; 3] {
        let max = |a: f32, b: f32| if a > b { a } else { b };
        let min = |a: f32, b: f32| if a < b { a } else { b };
        let value = max(max(red, green), blue);
        let delta = value - min(min(red, green), blue);
        // Of a grey pixel the hue has no meaning: the sector below is 0 then, whatever it is divided by.
        let scale = 1.0 / max(delta, f32::MIN_POSITIVE);
        let sector = if value == red {
            (green - blue) * scale
        } else if value == green {
            2.0 + (blue - red) * scale
        } else {
            4.0 + (red - green) * scale
        };
        // Between -1 - 6 and 5 + 6, brought to 0..6.
        let turned = sector + 6.0 * self.hue;
        let turned = if turned < 0.0 { turned + 6.0 } else { turned };
        let turned = if turned < 0.0 { turned + 6.0 } else { turned };
        let turned = if turned >= 6.0 { turned - 6.0 } else { turned };
        let value = value * self.exposure;
        // Saturation × value, the new delta: the factor of `delta / max` times that of `max`.
        let chroma = delta * self.saturation * self.exposure;
        let channel = |offset: f32| {
            let angle = turned + offset;
            let angle = if angle >= 6.0 { angle - 6.0 } else { angle };
            let slope = max(min(min(angle, 4.0 - angle), 1.0), 0.0);
            max(min(value - chroma * slope, 1.0), 0.0)
        };
        [channel(5.0), channel(3.0), channel(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distorted(hue: f32, saturation: f32, exposure: f32, pixel: [f32; 3]) -> [f32; 3] {
        Distortion { hue, saturation, exposure }.distorted(pixel)
    }

    fn near(found: [f32; 3], expected: [f32; 3]) {
        let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 2e-6, "{found:?}, not {expected:?}");
    }

    #[test]
    fn nothing_changes_without_a_distortion() {
        for index in 0..11 * 11 * 11 {
            let pixel = [index % 11, index / 11 % 11, index / 121].map(|step| step as f32 / 10.0);
            near(distorted(0.0, 1.0, 1.0, pixel), pixel);
            near(distorted(1.0, 1.0, 1.0, pixel), pixel);
            near(distorted(-1.0, 1.0, 1.0, pixel), pixel);
        }
    }

    #[test]
    fn hue_saturation_and_exposure_do_what_they_say() {
        near(distorted(1.0 / 3.0, 1.0, 1.0, [0.9, 0.2, 0.4]), [0.4, 0.9, 0.2]);
        near(distorted(-1.0 / 3.0, 1.0, 1.0, [0.9, 0.2, 0.4]), [0.2, 0.4, 0.9]);
        near(distorted(0.0, 0.5, 1.0, [0.8, 0.4, 0.0]), [0.8, 0.6, 0.4]);
        near(distorted(0.0, 0.0, 1.0, [0.8, 0.4, 0.0]), [0.8; 3]);
        near(distorted(0.0, 1.0, 0.5, [0.8, 0.4, 0.2]), [0.4, 0.2, 0.1]);
        near(distorted(0.1, 1.5, 1.5, [0.6; 3]), [0.9; 3]);
        // Beyond the range is clipped: saturation 1.5 would make the lower channel negative.
        near(distorted(0.0, 2.0, 1.0, [0.8, 0.4, 0.2]), [0.8, 0.0, 0.0]);
        near(distorted(0.0, 1.0, 2.0, [0.8, 0.4, 0.2]), [1.0, 0.8, 0.4]);
    }

    #[test]
    fn grey_images_change_in_brightness_alone() {
        let mut row = [0.2, 0.4, 0.9];
        let distortion = Distortion { hue: 0.5, saturation: 3.0, exposure: 1.5 };
        distortion.apply([&mut row[..]].into_iter());
        near(row, [0.3, 0.6, 1.0]);
    }
}
