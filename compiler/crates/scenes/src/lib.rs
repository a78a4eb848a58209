//! Seeded images of parts on a conveyor belt, with labels: data that the project makes itself.
//!
//! A scene depends on its seed and number alone. Parts are heights over the belt's plane (`solid`, `kind`), laid
//! down one after the other (`layout`, `field`); a lamp with an extent and a sky light them, mirrored and scattered
//! (`light`, `metal`, `belt`); a camera with blur, vignette and noise takes the image (`camera`).

mod belt;
mod camera;
mod dataset;
mod dice;
mod field;
mod kind;
mod layout;
mod light;
mod metal;
mod noise;
mod solid;

pub use dataset::{Format, Split, Splits};
pub use kind::CLASSES;

use secateur_base::BBox;
use secateur_data::{Image, Truth};
use secateur_ir::Shape;

use belt::Belt;
use camera::Camera;
use dice::Dice;
use field::Field;
use light::{Lighting, SAMPLES, View};

/// A part of which less than this fraction can be seen has no label.
const LEAST_SEEN: f32 = 0.4;

/// Properties of all scenes of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// Width and height of the images in pixels.
    pub size: usize,
}

impl Options {
    /// Sizes in pixels that scenes can have.
    pub const SIZES: std::ops::RangeInclusive<usize> = 64..=1024;
}

impl Default for Options {
    fn default() -> Self {
        Self { size: 192 }
    }
}

/// An image with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Three planes whose values are whole 255ths.
    pub image: Image,
    /// The parts of a class that can be seen, the lowest first: boxes of what is visible of them.
    pub truths: Vec<Truth>,
}

impl Scene {
    /// Draws scene number `index` of `seed`.
    ///
    /// # Panics
    /// If the size is outside [`Options::SIZES`].
    pub fn generate(seed: u64, index: u64, options: &Options) -> Self {
        let rendered = Rendered::new(seed, index, options);
        let truths = rendered.truths();
        let size = options.size;
        Self { image: Image::from_bytes(Shape::new(3, size, size), &rendered.bytes), truths }
    }
}

/// A scene with what its labels are told from.
struct Rendered {
    bytes: Vec<u8>,
    /// Samples a side.
    side: usize,
    /// The part that each sample shows.
    shown: Vec<u8>,
    /// Class and whole area in samples of each part.
    parts: Vec<(Option<usize>, u32)>,
}

impl Rendered {
    fn new(seed: u64, index: u64, options: &Options) -> Self {
        let size = options.size;
        assert!(Options::SIZES.contains(&size), "scenes of {size} pixels");
        let mut dice = Dice::new(seed, index);
        let side = SAMPLES * size;
        let parts = layout::draw(&mut dice, side);
        let field = Field::new(&parts, side);
        let belt = Belt::draw(&mut dice, size);
        let lighting = Lighting::draw(&mut dice);
        let camera = Camera::draw(&mut dice, size);
        let (light, shown) = View::new(&field, &parts, &belt, &lighting).render();
        let bytes = camera.take(&mut dice, light, size, belt.travel);
        let parts = parts.iter().map(|part| part.class).zip(field.areas).collect();
        Self { bytes, side, shown, parts }
    }

    /// Labels of the parts that can be seen.
    fn truths(&self) -> Vec<Truth> {
        // Left, top, right, bottom (outside) and number of samples.
        let mut seen = vec![([usize::MAX, usize::MAX, 0, 0], 0); self.parts.len()];
        for (i, &number) in self.shown.iter().enumerate().filter(|(_, number)| **number > 0) {
            let (x, y) = (i % self.side, i / self.side);
            let ([left, top, right, bottom], count) = &mut seen[usize::from(number) - 1];
            (*left, *top) = ((*left).min(x), (*top).min(y));
            (*right, *bottom) = ((*right).max(x + 1), (*bottom).max(y + 1));
            *count += 1;
        }
        let scale = 1.0 / self.side as f32;
        let truths = self.parts.iter().zip(&seen).filter_map(|(&(class, area), &(edges, count))| {
            let enough = count as f32 >= LEAST_SEEN * area as f32 && count > 0;
            let [left, top, right, bottom] = edges.map(|edge| edge as f32 * scale);
            let bbox = || BBox {
                x: 0.5 * (left + right),
                y: 0.5 * (top + bottom),
                w: right - left,
                h: bottom - top,
            };
            class.filter(|_| enough).map(|class| Truth { class, bbox: bbox() })
        });
        truths.collect()
    }
}

#[cfg(test)]
mod tests;
