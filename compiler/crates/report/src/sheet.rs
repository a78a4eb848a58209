//! Contact sheets: many images on one.

use secateur_data::Image;
use secateur_ir::Shape;

/// Pixels between images, and their grey.
const GAP: usize = 4;
const PAPER: f32 = 1.0;

/// Lays images of one shape out in rows of `columns`, with white gaps between and around them.
///
/// # Panics
/// If the images' shapes differ, or there is no image or no column.
pub fn contact_sheet(images: &[Image], columns: usize) -> Image {
    let Shape { c, h, w } = images[0].shape;
    let columns = columns.min(images.len());
    let rows = images.len().div_ceil(columns);
    let shape = Shape::new(c, rows * (h + GAP) + GAP, columns * (w + GAP) + GAP);
    let mut sheet = Image { shape, data: vec![PAPER; shape.len()] };
    for (i, image) in images.iter().enumerate() {
        assert_eq!(image.shape, images[0].shape, "images of one sheet");
        let (left, top) = (GAP + i % columns * (w + GAP), GAP + i / columns * (h + GAP));
        for (line, row) in image.data.chunks_exact(w).enumerate() {
            let (channel, y) = (line / h, line % h);
            let start = (channel * shape.h + top + y) * shape.w + left;
            sheet.data[start..start + w].copy_from_slice(row);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_its_place() {
        let shape = Shape::new(3, 2, 5);
        let images: Vec<Image> =
            (0..4).map(|i| Image { shape, data: vec![0.1 * i as f32; shape.len()] }).collect();
        let sheet = contact_sheet(&images, 3);
        assert_eq!(sheet.shape, Shape::new(3, 16, 31));
        let at = |c: usize, y: usize, x: usize| sheet.data[(c * 16 + y) * 31 + x];
        for c in 0..3 {
            assert_eq!([at(c, 4, 4), at(c, 5, 26), at(c, 10, 8), at(c, 10, 13)], [0.0, 0.2, 0.3, 1.0]);
        }
        assert_eq!(contact_sheet(&images[..1], 3).shape, Shape::new(3, 10, 13));
    }
}
