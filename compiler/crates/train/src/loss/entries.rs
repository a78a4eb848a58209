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
