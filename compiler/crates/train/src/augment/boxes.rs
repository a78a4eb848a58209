//! Labels of a crop.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::Shape;

use super::crop::Window;

/// The labels of an image as they are in its window, relative to the window: at most `max`, in random order, clipped.
///
/// Boxes that are less than a pixel of the input wide or high are left out, as are those that are no boxes to
/// Darknet: with the centre in the image's corner (0, 0) or wholly outside the image.
pub(super) fn place(
    truths: &[Truth],
    window: &Window,
    input: Shape,
    max: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Truth> {
    let mut truths = truths.to_vec();
    // Where heads let one label win a cell, the order decides; it must not be the file's.
    truths.shuffle(rng);
    truths.truncate(max);
    truths.retain_mut(|truth| match move_into(&truth.bbox, window) {
        Some(bbox) if is_visible(&bbox, input) => {
            truth.bbox = bbox;
            true
        }
        _ => false,
    });
    truths
}

/// The box relative to the window and clipped to it; none where it is no box of the image.
fn move_into(bbox: &BBox, window: &Window) -> Option<BBox> {
    let [left, top, right, bottom] = bbox.edges();
    if (bbox.x == 0.0 && bbox.y == 0.0) || right < 0.0 || bottom < 0.0 || left > 1.0 || top > 1.0 {
        return None;
    }
    let along = |axis: usize, edge: f32| {
        (edge * window.image[axis] as f32 - window.start[axis] as f32) / window.size[axis] as f32
    };
    let [left, right] = [along(0, left), along(0, right)];
    let [left, right] = if window.flip { [1.0 - right, 1.0 - left] } else { [left, right] };
    Some(clip([left, along(1, top), right, along(1, bottom)], [0.0, 0.0, 1.0, 1.0]))
}

/// The part of a box (left, top, right, bottom) within bounds of the same form.
pub(super) fn clip([left, top, right, bottom]: [f32; 4], bounds: [f32; 4]) -> BBox {
    let [left, right] = [left, right].map(|x| x.clamp(bounds[0], bounds[2]));
    let [top, bottom] = [top, bottom].map(|y| y.clamp(bounds[1], bounds[3]));
    BBox { x: (left + right) / 2.0, y: (top + bottom) / 2.0, w: right - left, h: bottom - top }
}

/// Whether a clipped box covers at least a pixel of the input in each direction.
pub(super) fn is_visible(bbox: &BBox, input: Shape) -> bool {
    bbox.w >= 1.0 / input.w as f32 && bbox.h >= 1.0 / input.h as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const INPUT: Shape = Shape::new(3, 100, 100);

    fn placed(bbox: BBox, start: [i32; 2], size: [i32; 2], flip: bool) -> Vec<BBox> {
        let window = Window { image: [200, 100], start, size, flip };
        let truths = [Truth { class: 0, bbox }];
        place(&truths, &window, INPUT, 9, &mut ChaCha8Rng::seed_from_u64(1))
            .iter()
            .map(|truth| truth.bbox)
            .collect()
    }

    fn near(found: &[BBox], [x, y, w, h]: [f32; 4]) {
        let [found] = found else { panic!("{found:?}") };
        let errors = [found.x - x, found.y - y, found.w - w, found.h - h];
        assert!(errors.iter().all(|error| error.abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn boxes_move_with_the_window() {
        let bbox = BBox { x: 0.5, y: 0.5, w: 0.2, h: 0.4 };
        near(&placed(bbox, [0, 0], [200, 100], false), [0.5, 0.5, 0.2, 0.4]);
        // The box covers x 80 to 120 and y 30 to 70; the window starts at its middle.
        near(&placed(bbox, [100, 50], [100, 50], false), [0.1, 0.2, 0.2, 0.4]);
        near(&placed(bbox, [100, 50], [100, 50], true), [0.9, 0.2, 0.2, 0.4]);
        // A window twice as large as the image.
        near(&placed(bbox, [-100, -50], [400, 200], false), [0.5, 0.5, 0.1, 0.2]);
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        let whole = |bbox| placed(bbox, [0, 0], [200, 100], false).len();
        assert_eq!(whole(BBox { x: 0.5, y: 0.5, w: 0.0101, h: 0.0101 }), 1);
        assert_eq!(whole(BBox { x: 0.5, y: 0.5, w: 0.0099, h: 0.5 }), 0, "less than a pixel wide");
        assert_eq!(whole(BBox { x: 0.5, y: 0.5, w: 0.5, h: 0.0099 }), 0, "less than a pixel high");
        assert_eq!(whole(BBox { x: 0.0, y: 0.0, w: 0.5, h: 0.5 }), 0, "Darknet's mark of no box");
        assert_eq!(whole(BBox { x: 1.2, y: 0.5, w: 0.3, h: 0.3 }), 0, "outside the image");
        assert_eq!(placed(BBox { x: 0.2, y: 0.5, w: 0.2, h: 0.4 }, [100, 0], [100, 100], false).len(), 0);
    }

    #[test]
    fn no_more_boxes_than_the_head_takes() {
        let window = Window { image: [200, 100], start: [0; 2], size: [200, 100], flip: false };
        let truths: Vec<Truth> =
            (0..20).map(|class| Truth { class, bbox: BBox { x: 0.5, y: 0.5, w: 0.2, h: 0.2 } }).collect();
        let classes = |seed| -> Vec<usize> {
            let kept = place(&truths, &window, INPUT, 5, &mut ChaCha8Rng::seed_from_u64(seed));
            kept.iter().map(|truth| truth.class).collect()
        };
        assert_eq!(classes(1).len(), 5);
        assert_eq!(classes(1), classes(1));
        assert_ne!(classes(1), classes(2));
    }
}
