//! A picture of pixels that charts are drawn on, with the text of a bitmap font: plotters' own text needs a font of the
//! system, which would make the picture depend on the machine.

use std::convert::Infallible;

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster_width};
use plotters::prelude::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingErrorKind};

use crate::glyphs::{blend, raster};

/// Text of at least this size is a title: bold, and in the larger font.
const TITLE_SIZE: f64 = 18.0;

/// An image that plotters draws on.
pub(crate) struct Canvas<'a>(pub(crate) &'a mut RgbImage);

type Drawn<T = ()> = Result<T, DrawingErrorKind<Infallible>>;

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.0.dimensions()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = self.0.get_pixel_mut_checked(x, y)
        {
            let (red, green, blue) = colour.rgb;
            blend(pixel, Rgb([red, green, blue]), colour.alpha as f32);
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        let (weight, height) = font(style.size());
        let (text_w, text_h) = text_size(text, style.size());
        let left = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => -text_w / 2,
            HPos::Right => -text_w,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -text_h / 2,
            VPos::Bottom => -text_h,
        };
        let colour = style.color();
        let step = get_raster_width(weight, height) as i32;
        for (index, character) in (0..).zip(text.chars()) {
            for (row, pixels) in (0..).zip(raster(character, weight, height).rows()) {
                for (column, &cover) in (0..).zip(pixels) {
                    let (x, y) = style.transform().transform(left + index * step + column, top + row);
                    let alpha = colour.alpha * f64::from(cover) / 255.0;
                    self.draw_pixel((at.0 + x, at.1 + y), BackendColor { alpha, ..colour })?;
                }
            }
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(&self, text: &str, style: &S) -> Drawn<(u32, u32)> {
        let (w, h) = text_size(text, style.size());
        Ok((w.unsigned_abs(), h.unsigned_abs()))
    }
}

/// The bitmap font for a size.
fn font(size: f64) -> (FontWeight, RasterHeight) {
    if size >= TITLE_SIZE {
        (FontWeight::Bold, RasterHeight::Size20)
    } else {
        (FontWeight::Regular, RasterHeight::Size16)
    }
}

/// Width and height of a text in pixels.
fn text_size(text: &str, size: f64) -> (i32, i32) {
    let (weight, height) = font(size);
    ((text.chars().count() * get_raster_width(weight, height)) as i32, height.val() as i32)
}
