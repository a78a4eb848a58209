//! Where the entries of a box lie in a head's tensor, the sums over them, and which box a truth is for.

use secateur_base::BBox;
use secateur_data::Truth;

use super::Cost;
use super::math::squares;

/// Layout of one image of a head: `[anchor][x, y, w, h, objectness, classes …][row][column]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) anchors: usize,
    pub(super) classes: usize,
}

/// Entry of the objectness.
pub(super) const OBJECTNESS: usize = 4;
/// Entry of the first class.
pub(super) const CLASS: usize = 5;

/// A box of a head: anchor (as the head counts them), row and column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) anchor: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Entries {
    /// Returns the number of elements of one entry.
    pub(super) fn plane(self) -> usize {
        self.h * self.w
    }

    /// Returns the number of elements of one anchor.
    pub(super) fn anchor(self) -> usize {
        self.plane() * (CLASS + self.classes)
    }

    /// Returns the number of elements of one image.
    pub(super) fn image(self) -> usize {
        self.anchor() * self.anchors
    }

    /// Returns the index of an entry of a box.
    pub(super) fn at(self, cell: Cell, entry: usize) -> usize {
        cell.anchor * self.anchor() + entry * self.plane() + cell.row * self.w + cell.column
    }

    /// Returns the box of `anchor` in whose cell the point (`x`, `y`), in fractions of the image, is. Darknet takes a
    /// point on the image's far edge for one in the next row; here it is in the last cell.
    pub(super) fn cell(self, anchor: usize, x: f32, y: f32) -> Cell {
        let index = |at: f32, cells: usize| ((at * cells as f32) as usize).min(cells - 1);
        Cell { anchor, row: index(y, self.h), column: index(x, self.w) }
    }

    /// Returns every box.
    pub(super) fn cells(self) -> impl Iterator<Item = Cell> {
        let rows = move |anchor| {
            let columns = move |row| (0..self.w).map(move |column| Cell { anchor, row, column });
            (0..self.h).flat_map(columns)
        };
        (0..self.anchors).flat_map(rows)
    }

    /// Returns the sums of squares of the deltas of boxes, objectness and classes.
    pub(super) fn squares(self, delta: &[f32]) -> [f64; 3] {
        let plane = self.plane();
        let mut sums = [0.0; 3];
        for anchor in delta.chunks_exact(self.anchor()) {
            let (boxes, rest) = anchor.split_at(OBJECTNESS * plane);
            let (objectness, classes) = rest.split_at(plane);
            for (sum, part) in sums.iter_mut().zip([boxes, objectness, classes]) {
                *sum += squares(part);
            }
        }
        sums
    }
}

/// Adds to `delta` what draws the values `y` of heads with `entries` to those of a teacher: the objectness everywhere,
/// boxes and classes as far as the teacher sees an object, since labels trained them nowhere else. All are in the order of
/// a head's input, after its logistic functions. Returns half the sum of the squares of what was added. Source: Mehta and
/// Ozturk 2018, arXiv:1805.06361.
pub(super) fn imitate(entries: Entries, y: &[f32], target: &[f32], factor: f32, delta: &mut [f32]) -> f64 {
    let plane = entries.plane();
    let mut cost = 0.0;
    let anchors = y.chunks_exact(entries.anchor()).zip(target.chunks_exact(entries.anchor()));
    for ((y, target), delta) in anchors.zip(delta.chunks_exact_mut(entries.anchor())) {
        let seen = &target[OBJECTNESS * plane..CLASS * plane];
        let planes = y.chunks_exact(plane).zip(target.chunks_exact(plane)).zip(delta.chunks_exact_mut(plane));
        for (entry, ((y, target), delta)) in planes.enumerate() {
            for (((delta, &y), &target), &seen) in delta.iter_mut().zip(y).zip(target).zip(seen) {
                let weight = if entry == OBJECTNESS { factor } else { factor * seen };
                let pull = weight * (target - y);
                *delta += pull;
                cost += 0.5 * f64::from(pull) * f64::from(pull);
            }
        }
    }
    cost
}

/// Builds a cost with its parts of boxes, objectness and classes.
pub(super) fn cost(total: f64, [boxes, objectness, classes]: [f64; 3]) -> Cost {
    Cost { total, parts: vec![("box", boxes), ("objectness", objectness), ("class", classes)] }
}

/// Returns the truth that a box overlaps with the highest IoU, and that; the box is computed only if there are truths.
pub(super) fn best_truth(pred: impl FnOnce() -> BBox, truths: &[Truth]) -> (Option<&Truth>, f32) {
    if truths.is_empty() {
        return (None, 0.0);
    }
    let pred = pred();
    let mut best = (None, 0.0);
    for truth in truths {
        let iou = pred.iou(&truth.bbox);
        if iou > best.1 {
            best = (Some(truth), iou);
        }
    }
    best
}

/// Returns the first of the shapes (width and height) that has the highest IoU with the truth's.
pub(super) fn best_shape(shapes: impl Iterator<Item = (f32, f32)>, truth: &BBox) -> usize {
    let mut best = (0, 0.0);
    for (index, (w, h)) in shapes.enumerate() {
        let iou = shape(w, h).iou(&shape(truth.w, truth.h));
        if iou > best.1 {
            best = (index, iou);
        }
    }
    best.0
}

/// Returns a box around the origin.
pub(super) fn shape(w: f32, h: f32) -> BBox {
    BBox { x: 0.0, y: 0.0, w, h }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One anchor, one class, two cells: an object that the teacher is sure of, and none.
    #[test]
    fn imitation_counts_where_the_teacher_sees_an_object() {
        let entries = Entries { h: 1, w: 2, anchors: 1, classes: 1 };
        let y = [0.5; 12];
        let target = [1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 2.5, 2.5, 1.0, 0.0, 0.25, 0.25];
        let mut delta = [1.0; 12];
        let cost = imitate(entries, &y, &target, 2.0, &mut delta);
        let pulls = [1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 4.0, 0.0, 1.0, -1.0, -0.5, 0.0];
        assert_eq!(delta.map(|delta| delta - 1.0), pulls);
        assert_eq!(cost, 0.5 * pulls.iter().map(|pull| f64::from(pull * pull)).sum::<f64>());
    }

    #[test]
    fn every_image_and_anchor_is_drawn_alike() {
        let entries = Entries { h: 1, w: 1, anchors: 2, classes: 2 };
        let (y, target) = ([0.2, 0.4, -1.0, 2.0, 0.7, 0.1, 0.9], [0.3, 0.1, 1.5, -2.0, 0.6, 0.8, 0.3]);
        let mut once = [0.0; 7];
        let cost = imitate(entries, &y, &target, 1.0, &mut once);
        let mut all = [0.0; 28];
        let of_all = imitate(entries, &y.repeat(4), &target.repeat(4), 1.0, &mut all);
        assert_eq!(all.to_vec(), once.repeat(4));
        assert!((of_all - 4.0 * cost).abs() < 1e-12, "{of_all}");
    }
}
