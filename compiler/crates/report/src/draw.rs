//! Detections and labels drawn on an image: boxes in the class's colour, names on plates that keep clear of
//! one another.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight};

use secateur_base::BBox;
use secateur_data::{Image, Truth, class_name};
use secateur_eval::Detection;
use secateur_ir::Shape;

use crate::glyphs::{blend, raster};

/// Images with a shorter side are enlarged to twice this, if their longer side allows.
const SMALL_SIDE: usize = 120;
/// Longest side after enlarging.
const ENLARGED_SIDE: usize = 2048;
/// A name's height as a fraction of the image's shorter side.
const TEXT_FRACTION: f32 = 1.0 / 22.0;
/// A box line's width as a fraction of the image's shorter side.
const LINE_FRACTION: f32 = 1.0 / 200.0;
/// Hues that are told apart at a glance; further classes repeat them in other shades.
const HUES: usize = 12;
/// Saturation and value of the shades.
const SHADES: [(f32, f32); 3] = [(0.85, 0.95), (0.5, 1.0), (0.9, 0.65)];

/// A box with the text on its plate.
struct Mark {
    bbox: BBox,
    class: usize,
    text: String,
}

/// Draws `detections`, boxes first and then all names, the most certain on top.
///
/// A grey image becomes a colour one, a tiny one is enlarged so that names can be read. Names
/// beyond Latin letters show as `?`.
pub fn draw_detections(image: &Image, detections: &[Detection], names: &[String]) -> Image {
    let mut order: Vec<&Detection> = detections.iter().collect();
    order.sort_by(|a, b| a.prob.total_cmp(&b.prob));
    let mark = |detection: &&Detection| Mark {
        bbox: detection.bbox,
        class: detection.class,
        text: format!("{} {:.0}%", class_name(names, detection.class), detection.prob * 100.0),
    };
    draw_marks(image, &order.iter().map(mark).collect::<Vec<_>>())
}

/// Draws labelled boxes, in the way of [`draw_detections`].
pub fn draw_truths(image: &Image, truths: &[Truth], names: &[String]) -> Image {
    let mark = |&Truth { class, bbox }: &Truth| Mark { bbox, class, text: class_name(names, class) };
    draw_marks(image, &truths.iter().map(mark).collect::<Vec<_>>())
}

/// Draws `marks`, the last on top.
fn draw_marks(image: &Image, marks: &[Mark]) -> Image {
    let mut canvas = Canvas::new(image);
    let (w, h) = (canvas.image.width() as usize, canvas.image.height() as usize);
    for mark in marks {
        canvas.frame(pixel_edges(mark.bbox, w, h), colour(mark.class));
    }
    // What is on top chooses the place of its plate first.
    let mut plates = Vec::new();
    for mark in marks.iter().rev() {
        let place = canvas.plate_place(pixel_edges(mark.bbox, w, h), &mark.text, &plates);
        plates.push(place);
        canvas.plate(place, &mark.text, colour(mark.class));
    }
    Image::from_bytes(Shape::new(3, h, w), canvas.image.as_raw())
}

/// Left, top, right, bottom in pixels; the last ones are outside.
type Rect = [i32; 4];

/// A box's edges, clipped to the image.
fn pixel_edges(bbox: BBox, w: usize, h: usize) -> Rect {
    let [left, top, right, bottom] = bbox.edges();
    // A saturating cast: foreign weights can yield infinite boxes.
    let pixel =
        |fraction: f32, extent: usize| ((fraction * extent as f32).round() as i32).clamp(0, extent as i32);
    [pixel(left, w), pixel(top, h), pixel(right, w), pixel(bottom, h)]
}

/// A colour for every class; those of neighbouring classes lie 150 degrees of hue apart.
fn colour(class: usize) -> Rgb<u8> {
    let hue = (class * 5 % HUES) as f32 * (6.0 / HUES as f32);
    let (saturation, value) = SHADES[class / HUES % SHADES.len()];
    let channel = |offset: f32| {
        let full = (((hue + offset) % 6.0 - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        ((1.0 - saturation * (1.0 - full)) * value * 255.0).round() as u8
    };
    Rgb([channel(0.0), channel(4.0), channel(2.0)])
}

/// Black or white, whichever reads better on `background` (Rec. 709 luma).
fn ink(background: Rgb<u8>) -> Rgb<u8> {
    let [r, g, b] = background.0.map(f32::from);
    if 0.2126 * r + 0.7152 * g + 0.0722 * b > 140.0 { Rgb([0; 3]) } else { Rgb([255; 3]) }
}

struct Canvas {
    image: RgbImage,
    /// Width of a box's line.
    line: i32,
    font: RasterHeight,
    /// Every pixel of the font becomes a square of this side.
    zoom: i32,
}

impl Canvas {
    fn new(image: &Image) -> Self {
        let Shape { c, h, w } = image.shape;
        let enlarge = if w.min(h) < SMALL_SIDE {
            (2 * SMALL_SIDE).div_ceil(w.min(h)).min(ENLARGED_SIDE / w.max(h)).max(1)
        } else {
            1
        };
        let bytes = image.to_bytes();
        let image = RgbImage::from_fn((w * enlarge) as u32, (h * enlarge) as u32, |x, y| {
            let pixel = &bytes[(y as usize / enlarge * w + x as usize / enlarge) * c..][..c];
            if c == 1 { Rgb([pixel[0]; 3]) } else { Rgb([pixel[0], pixel[1], pixel[2]]) }
        });
        let short = image.width().min(image.height()) as f32;
        let wanted = short * TEXT_FRACTION;
        let zoom = (wanted / 32.0).floor().max(1.0);
        let font = match wanted / zoom {
            size if size < 18.0 => RasterHeight::Size16,
            size if size < 22.0 => RasterHeight::Size20,
            size if size < 28.0 => RasterHeight::Size24,
            _ => RasterHeight::Size32,
        };
        Self { image, line: (short * LINE_FRACTION).round().max(2.0) as i32, font, zoom: zoom as i32 }
    }

    fn text_size(&self, text: &str) -> (i32, i32) {
        let glyph = noto_sans_mono_bitmap::get_raster_width(FontWeight::Bold, self.font) as i32;
        (text.chars().count() as i32 * glyph * self.zoom, self.font.val() as i32 * self.zoom)
    }

    fn fill(&mut self, [left, top, right, bottom]: Rect, colour: Rgb<u8>) {
        let (w, h) = (self.image.width() as i32, self.image.height() as i32);
        for y in top.max(0)..bottom.min(h) {
            for x in left.max(0)..right.min(w) {
                self.image.put_pixel(x as u32, y as u32, colour);
            }
        }
    }

    /// The four sides of a box, with a dark hairline outside that sets them off from the image.
    fn frame(&mut self, [left, top, right, bottom]: Rect, colour: Rgb<u8>) {
        for (grow, width, colour) in [(1, self.line + 2, Rgb([20; 3])), (0, self.line, colour)] {
            let [l, t, r, b] = [left - grow, top - grow, right + grow, bottom + grow];
            for side in
                [[l, t, r, t + width], [l, b - width, r, b], [l, t, l + width, b], [r - width, t, r, b]]
            {
                self.fill(side, colour);
            }
        }
    }

    /// The place of a box's plate: above it, inside its top, below it, or the next free place down.
    fn plate_place(&self, [left, top, _, bottom]: Rect, text: &str, taken: &[Rect]) -> Rect {
        let (text_w, text_h) = self.text_size(text);
        let (w, h) = (text_w + text_h / 2, text_h + 2 * self.zoom);
        let (image_w, image_h) = (self.image.width() as i32, self.image.height() as i32);
        let x = left.min(image_w - w).max(0);
        let at = |y: i32| [x, y, x + w, y + h];
        let free = |place: &Rect| {
            place[1] >= 0
                && place[3] <= image_h
                && taken
                    .iter()
                    .all(|t| place[2] <= t[0] || t[2] <= place[0] || place[3] <= t[1] || t[3] <= place[1])
        };
        let below = (0..).map(|n| top + n * h).take_while(|&y| y + h <= image_h);
        [top - h, top, bottom]
            .into_iter()
            .chain(below)
            .map(at)
            .find(free)
            .unwrap_or(at(top.clamp(0, (image_h - h).max(0))))
    }

    /// A filled plate with its text.
    fn plate(&mut self, place: Rect, text: &str, background: Rgb<u8>) {
        self.fill(place, background);
        let (_, text_h) = self.text_size(text);
        let (mut x, y) = (place[0] + text_h / 4, place[1] + self.zoom);
        for character in text.chars() {
            x += self.glyph(character, x, y, ink(background));
        }
    }

    /// Blends one character in and returns its width.
    fn glyph(&mut self, character: char, left: i32, top: i32, ink: Rgb<u8>) -> i32 {
        let raster = raster(character, FontWeight::Bold, self.font);
        let zoom = self.zoom;
        let width = raster.width() as i32 * zoom;
        let (w, h) = (self.image.width() as i32, self.image.height() as i32);
        for y in 0..raster.height() as i32 * zoom {
            for x in 0..width {
                let (at_x, at_y) = (left + x, top + y);
                if at_x < 0 || at_y < 0 || at_x >= w || at_y >= h {
                    continue;
                }
                let cover =
                    f32::from(raster.pixel((x / zoom) as usize, (y / zoom) as usize).unwrap_or(0)) / 255.0;
                blend(self.image.get_pixel_mut(at_x as u32, at_y as u32), ink, cover);
            }
        }
        width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_eval::Place;

    fn grey(w: usize, h: usize) -> Image {
        Image { shape: Shape::new(1, h, w), data: vec![0.5; w * h] }
    }

    fn detection(class: usize, x: f32, y: f32, w: f32, h: f32) -> Detection {
        let place = Place { head: 0, anchor: 0, cell: 0 };
        Detection { class, prob: 0.7, objectness: 0.9, bbox: BBox { x, y, w, h }, place }
    }

    #[test]
    fn a_box_is_drawn_where_it_is() {
        let found = detection(0, 0.5, 0.6, 0.5, 0.4);
        let drawn = draw_detections(&grey(200, 150), &[found], &[]);
        let at = |x: usize, y: usize| [0, 1, 2].map(|c| drawn.data[c * 30000 + y * 200 + x]);
        let line = Image::from_bytes(Shape::new(3, 1, 1), &colour(0).0);
        assert_eq!(at(50, 100), [line.data[0], line.data[1], line.data[2]], "left side");
        assert_eq!(at(149, 100), at(50, 100), "right side");
        assert_eq!(at(100, 100), [128.0 / 255.0; 3], "the inside stays");
        assert_eq!(at(10, 140), [128.0 / 255.0; 3], "the outside stays");
        let labelled = draw_truths(&grey(200, 150), &[Truth { class: 0, bbox: found.bbox }], &[]);
        let below_the_plate = 60 * 200;
        assert!(
            labelled.data[below_the_plate..30000] == drawn.data[below_the_plate..30000],
            "a label's box is the same"
        );
    }

    #[test]
    fn odd_boxes_and_tiny_images_are_drawn_too() {
        let odd = [
            detection(3, f32::INFINITY, 0.5, f32::INFINITY, 0.1),
            detection(4, f32::NAN, 0.5, 1.0, 1.0),
            detection(5, -4.0, 9.0, 0.1, 0.1),
            detection(6, 0.5, 0.5, 40.0, 40.0),
        ];
        for (w, h, enlarged) in
            [(1, 1, 240), (3, 40, 51), (640, 5, 3), (64, 64, 4), (5000, 2, 1), (200, 120, 1)]
        {
            let names = ["日本".to_owned()];
            let drawn = draw_detections(&grey(w, h), &odd, &names);
            assert_eq!(drawn.shape, Shape::new(3, h * enlarged, w * enlarged));
        }
    }

    #[test]
    fn plates_keep_clear_of_one_another() {
        let canvas = Canvas::new(&grey(400, 300));
        let mut plates: Vec<Rect> = Vec::new();
        for _ in 0..5 {
            let place = canvas.plate_place([50, 80, 200, 180], "person 87%", &plates);
            for other in &plates {
                assert!(place[3] <= other[1] || other[3] <= place[1], "{place:?} over {other:?}");
            }
            plates.push(place);
        }
    }
}
