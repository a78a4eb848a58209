//! Characters of a bitmap font: pictures have the same text on every machine.

use image::Rgb;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster};

/// The pixels of a character; of one that the font lacks, those of `?`.
pub(crate) fn raster(character: char, weight: FontWeight, height: RasterHeight) -> RasterizedChar {
    get_raster(character, weight, height)
        .unwrap_or_else(|| get_raster('?', weight, height).expect("the font has ASCII"))
}

/// Covers the fraction `cover` of a pixel with `ink`.
pub(crate) fn blend(pixel: &mut Rgb<u8>, ink: Rgb<u8>, cover: f32) {
    for (value, ink) in pixel.0.iter_mut().zip(ink.0) {
        *value = (f32::from(*value) * (1.0 - cover) + f32::from(ink) * cover).round() as u8;
    }
}
