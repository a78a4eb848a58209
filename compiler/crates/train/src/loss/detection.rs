//! Loss of YOLOv1 heads: behaviour of Darknet's detection_layer.c.
//!
//! An image of such a head is `[cell][class]`, then `[cell][box]` objectness, then `[cell][box][x, y, w, h]`, where x
//! and y count from the cell's corner in cells.

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::Detection;
use secateur_ir::training::DetectionLoss;

use super::entries::cost;
use super::math::{softmax, squares};
use super::{Cost, Loss, Pass};

/// Of boxes that do not overlap a truth, the likest one is responsible if it differs by less.
const FARTHEST: f64 = 20.0;
/// With `forced`, the first box of a cell is responsible for truths of this area on, the second for smaller ones.
const LARGE: f32 = 0.1;

pub(super) struct DetectionLayer {
    head: Detection,
    loss: DetectionLoss,
}

/// Numbers of a box.
const COORDINATES: usize = 4;

impl DetectionLayer {
    /// # Panics
    /// If boxes have other than four coordinates.
    pub(super) fn new(head: Detection, loss: DetectionLoss) -> Self {
        assert_eq!(head.coords, COORDINATES, "training needs four coordinates");
        Self { head, loss }
    }

    fn cells(&self) -> usize {
        self.head.side * self.head.side
    }

    /// Where the objectness and where the boxes begin.
    fn begins(&self) -> [usize; 2] {
        let objectness = self.cells() * self.head.classes;
        [objectness, objectness + self.cells() * self.head.num]
    }

    /// The first truth of every cell.
    fn truths<'a>(&self, truths: &'a [Truth]) -> Vec<Option<&'a Truth>> {
        let mut of_cells = vec![None; self.cells()];
        for truth in truths {
            let index = |place: f32| ((place * self.head.side as f32) as usize).min(self.head.side - 1);
            of_cells[index(truth.bbox.y) * self.head.side + index(truth.bbox.x)].get_or_insert(truth);
        }
        of_cells
    }

    /// Writes one image's output and delta.
    fn compare(&self, x: &[f32], truths: &[Truth], output: &mut [f32], delta: &mut [f32]) {
        let [objectness, boxes] = self.begins();
        output.copy_from_slice(x);
        if self.head.softmax {
            let classes = self.head.classes;
            (0..self.cells()).for_each(|cell| softmax(output, cell * classes, 1, classes, 1.0));
        }
        delta.fill(0.0);
        for (delta, now) in delta[objectness..boxes].iter_mut().zip(&output[objectness..boxes]) {
            *delta = self.loss.noobject_scale * (0.0 - now);
        }
        for (cell, truth) in self.truths(truths).into_iter().enumerate() {
            if let Some(truth) = truth {
                self.compare_cell(cell, truth, output, delta);
            }
        }
    }

    fn compare_cell(&self, cell: usize, truth: &Truth, output: &[f32], delta: &mut [f32]) {
        let (head, loss) = (&self.head, &self.loss);
        for class in 0..head.classes {
            let target = if class == truth.class { 1.0 } else { 0.0 };
            let at = cell * head.classes + class;
            delta[at] = loss.class_scale * (target - output[at]);
        }
        let side = head.side as f32;
        let [column, row] = [(cell % head.side) as f32, (cell / head.side) as f32];
        let BBox { x, y, w, h } = truth.bbox;
        let target = BBox { x: x * side - column, y: y * side - row, w, h };
        let (responsible, iou) = self.responsible(cell, &target, output);
        let [objectness, boxes] = self.begins();
        let at = objectness + responsible;
        delta[at] = loss.object_scale * (if loss.rescore { iou } else { 1.0 } - output[at]);
        let root = |side: f32| if head.sqrt { side.sqrt() } else { side };
        let at = boxes + responsible * COORDINATES;
        for (i, target) in [target.x, target.y, root(w), root(h)].into_iter().enumerate() {
            delta[at + i] = loss.coord_scale * (target - output[at + i]);
        }
    }

    /// The box of a cell that is responsible for a truth, counted over all cells, and its IoU: the one that overlaps
    /// it the most or, if none does, the likest one.
    fn responsible(&self, cell: usize, target: &BBox, output: &[f32]) -> (usize, f32) {
        let [_, begin] = self.begins();
        let side = self.head.side as f32;
        let in_image = |b: BBox| BBox { x: b.x / side, y: b.y / side, ..b };
        let truth = in_image(*target);
        let pred = |index: usize| {
            let at = begin + (cell * self.head.num + index) * COORDINATES;
            let side = |side: f32| if self.head.sqrt { side * side } else { side };
            in_image(BBox {
                x: output[at],
                y: output[at + 1],
                w: side(output[at + 2]),
                h: side(output[at + 3]),
            })
        };
        let (mut best, mut best_iou, mut best_difference) = (0, 0.0, FARTHEST);
        for index in 0..self.head.num {
            let (iou, difference) = (pred(index).iou(&truth), difference(&pred(index), &truth));
            if iou > best_iou {
                (best, best_iou) = (index, iou);
            } else if best_iou == 0.0 && difference < best_difference {
                (best, best_difference) = (index, difference);
            }
        }
        if self.loss.forced {
            best = usize::from(truth.w * truth.h < LARGE).min(self.head.num - 1);
        }
        (cell * self.head.num + best, pred(best).iou(&truth))
    }
}

/// Root of the sum of squared differences.
fn difference(a: &BBox, b: &BBox) -> f64 {
    let squares = [a.x - b.x, a.y - b.y, a.w - b.w, a.h - b.h].map(|d| f64::from(d) * f64::from(d));
    squares.iter().sum::<f64>().sqrt()
}

impl Loss for DetectionLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost {
        let [objectness, boxes] = self.begins();
        let image = boxes + self.cells() * self.head.num * COORDINATES;
        let truths = pass.truths.boxes();
        assert_eq!(x.len(), truths.len() * image, "values of all images");
        let mut parts = [0.0; 3];
        let layers =
            x.chunks_exact(image).zip(output.chunks_exact_mut(image)).zip(delta.chunks_exact_mut(image));
        for (((x, output), delta), truths) in layers.zip(truths) {
            self.compare(x, truths, output, delta);
            parts[0] += squares(&delta[boxes..]);
            parts[1] += squares(&delta[objectness..boxes]);
            parts[2] += squares(&delta[..objectness]);
        }
        cost(parts)
    }
}
