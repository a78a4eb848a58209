//! Mosaic: four images around a random point.

use rand_chacha::ChaCha8Rng;

use secateur_data::Truth;
use secateur_ir::Shape;

use super::boxes::{clip, is_visible};
use super::crop::Window;
use super::{Augmenter, Patch, Source, draw_between};

/// The point where the four images join is at least this fraction of a side away from the edges.
const MARGIN: f32 = 0.2;

/// Draws the point where the four images join, in pixels of the input, x before y.
pub(super) fn draw_centre(rng: &mut ChaCha8Rng, input: Shape) -> [usize; 2] {
    [input.w, input.h].map(|side| {
        let side = side as f32;
        draw_between(rng, (side * MARGIN) as usize, (side * (1.0 - MARGIN)) as usize)
    })
}

/// The four parts of the input around a point: top left, top right, bottom left, bottom right.
pub(super) fn quarters([x, y]: [usize; 2], input: Shape) -> [Patch; 4] {
    let part = |to: [usize; 2], size: [usize; 2]| Patch { from: to, to, size };
    let (right, bottom) = (input.w - x, input.h - y);
    [part([0, 0], [x, y]), part([x, 0], [right, y]), part([0, y], [x, bottom]), part([x, y], [right, bottom])]
}

impl Augmenter {
    /// A detector's mosaic; see [`Augmenter::detection`].
    pub(super) fn mosaic(
        &self,
        sources: &[Source<'_, [Truth]>],
        rng: &mut ChaCha8Rng,
        input: Shape,
        out: &mut [f32],
    ) -> Vec<Truth> {
        let quarters = quarters(draw_centre(rng, input), input);
        let mut truths = Vec::new();
        for (corner, (source, quarter)) in sources.iter().zip(quarters).enumerate() {
            let view = self.draw_view(source, Some(corner), rng, input);
            let patch = visible_part(quarter, corner, &view.window, input);
            patch.paste(&view.render(patch), out, input);
            truths.extend(view.truths.iter().filter_map(|truth| self.move_truth(truth, patch, input)));
        }
        truths.truncate(self.max_boxes);
        truths
    }

    /// The label of a view as it is in the mosaic; none where less than a pixel remains.
    fn move_truth(&self, truth: &Truth, patch: Patch, input: Shape) -> Option<Truth> {
        let [left, top, right, bottom] = truth.bbox.edges();
        let relative = |x: usize, axis: usize| x as f32 / [input.w, input.h][axis] as f32;
        let [dx, dy] = [0, 1].map(|axis| relative(patch.to[axis], axis) - relative(patch.from[axis], axis));
        let bounds = if self.keys.mosaic_bound {
            let [[left, right], [top, bottom]] = [0, 1].map(|axis| {
                [patch.to[axis], patch.to[axis] + patch.size[axis]].map(|edge| relative(edge, axis))
            });
            [left, top, right, bottom]
        } else {
            [0.0, 0.0, 1.0, 1.0]
        };
        let bbox = clip([left + dx, top + dy, right + dx, bottom + dy], bounds);
        is_visible(&bbox, input).then_some(Truth { bbox, ..*truth })
    }
}

/// The part of a view that fills `quarter`: the corner of the view that is opposite to the mosaic's centre is cut
/// off, and where the window reaches beyond the image, that border first.
fn visible_part(quarter: Patch, corner: usize, window: &Window, input: Shape) -> Patch {
    let mut from = quarter.from;
    for (axis, side) in [input.w, input.h].into_iter().enumerate() {
        let (mut before, mut after) = (-window.start[axis], window.overhang(axis));
        if axis == 0 && window.flip {
            std::mem::swap(&mut before, &mut after);
        }
        let size = quarter.size[axis];
        // Darknet measures the border in the image's pixels, not in the window's.
        let border =
            |pixels: i32| (pixels.max(0) as usize * side / window.image[axis] as usize).min(side - size);
        let at_start = if axis == 0 { corner.is_multiple_of(2) } else { corner < 2 };
        from[axis] = if at_start { side - size - border(after) } else { border(before) };
    }
    Patch { from, ..quarter }
}
