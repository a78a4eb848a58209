//! Loss of YOLOv1 heads: behaviour of Darknet's detection_layer.c.
//!
//! An image of such a head is `[cell][class]`, then `[cell][box]` objectness, then `[cell][box][x, y, w, h]`, where x
//! and y count from the cell's corner in cells.

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::Detection;
use secateur_ir::training::DetectionLoss;

use super::entries::cost;
use super::math::{printed_squares, softmax, squares};
use super::{Cost, Loss, Pass};

/// Of boxes that do not overlap a truth, the nearest one is responsible if it differs by less.
const MAX_DIFFERENCE: f64 = 20.0;
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

    /// Returns the index of the first objectness and that of the first box.
    fn begins(&self) -> [usize; 2] {
        let objectness = self.cells() * self.head.classes;
        [objectness, objectness + self.cells() * self.head.num]
    }

    /// Returns the first truth of every cell.
    fn truths<'a>(&self, truths: &'a [Truth]) -> Vec<Option<&'a Truth>> {
        let mut of_cells = vec![None; self.cells()];
        for truth in truths {
            let index = |at: f32| ((at * self.head.side as f32) as usize).min(self.head.side - 1);
            of_cells[index(truth.bbox.y) * self.head.side + index(truth.bbox.x)].get_or_insert(truth);
        }
        of_cells
    }

    /// Returns the head's output for one image.
    fn output(&self, x: &[f32]) -> Vec<f32> {
        let mut output = x.to_vec();
        if self.head.softmax {
            let classes = self.head.classes;
            (0..self.cells()).for_each(|cell| softmax(&mut output, cell * classes, 1, classes, 1.0));
        }
        output
    }

    /// Writes one image's delta.
    fn compare(&self, output: &[f32], truths: &[Truth], delta: &mut [f32]) {
        let [objectness, boxes] = self.begins();
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

    /// Returns the box of a cell that is responsible for a truth, counted over all cells, and its IoU: the box with the
    /// highest IoU or, if none overlaps the truth, the nearest one.
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
        let (mut best, mut best_iou, mut best_difference) = (0, 0.0, MAX_DIFFERENCE);
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

/// Returns the root of the sum of squared differences.
fn difference(a: &BBox, b: &BBox) -> f64 {
    let squares = [a.x - b.x, a.y - b.y, a.w - b.w, a.h - b.h].map(|d| f64::from(d) * f64::from(d));
    squares.iter().sum::<f64>().sqrt()
}

impl Loss for DetectionLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, mut output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost {
        let [objectness, boxes] = self.begins();
        let image = boxes + self.cells() * self.head.num * COORDINATES;
        let truths = pass.truths.boxes();
        assert_eq!([x.len(), delta.len()], [truths.len() * image; 2], "values of all images");
        let mut parts = [0.0; 3];
        let images = x.chunks_exact(image).zip(delta.chunks_exact_mut(image)).zip(truths);
        for (i, ((x, delta), truths)) in images.enumerate() {
            let values = self.output(x);
            self.compare(&values, truths, delta);
            if let Some(output) = &mut output {
                output[i * image..][..image].copy_from_slice(&values);
            }
            parts[0] += squares(&delta[boxes..]);
            parts[1] += squares(&delta[objectness..boxes]);
            parts[2] += squares(&delta[..objectness]);
        }
        cost(printed_squares([&*delta]), parts)
    }
}

#[cfg(test)]
mod tests {
    use secateur_ir::Shape;

    use super::*;
    use crate::loss::Truths;

    /// Builds a head of four cells with two boxes and two classes.
    fn layer(sqrt: bool, loss: impl FnOnce(&mut DetectionLoss)) -> DetectionLayer {
        let head = Detection { classes: 2, coords: 4, side: 2, num: 2, sqrt, softmax: false };
        let mut plain = DetectionLoss {
            coord_scale: 5.0,
            object_scale: 1.0,
            noobject_scale: 0.5,
            class_scale: 2.0,
            rescore: false,
            forced: false,
        };
        loss(&mut plain);
        DetectionLayer::new(head, plain)
    }

    /// Returns classes of 0.25, objectness of 0.5, boxes in the middle of their cells: 0.2 × 0.5 and 0.5 × 0.5.
    fn values() -> Vec<f32> {
        let boxes = [0.5, 0.5, 0.2, 0.5, 0.5, 0.5, 0.5, 0.5];
        [[0.25; 8].as_slice(), &[0.5; 8], &boxes.repeat(4)].concat()
    }

    fn forward(layer: &DetectionLayer, truths: Vec<Truth>) -> (Cost, Vec<f32>) {
        let x = values();
        let (mut output, mut delta) = (vec![9.0; x.len()], vec![9.0; x.len()]);
        let truths = [truths];
        let pass = Pass { input: Shape::new(3, 8, 8), truths: Truths::Boxes(&truths), seen: 0 };
        let cost = layer.forward(&x, &pass, Some(&mut output), &mut delta);
        assert_eq!(output, x);
        (cost, delta)
    }

    /// In the cell at the lower left.
    const TRUTH: Truth = Truth { class: 1, bbox: BBox { x: 0.25, y: 0.875, w: 0.5, h: 0.25 } };

    #[test]
    fn without_truths_only_objectness_falls() {
        let (cost, delta) = forward(&layer(false, |_| ()), vec![]);
        assert!(delta[..8].iter().chain(&delta[16..]).all(|&delta| delta == 0.0));
        assert_eq!(delta[8..16], [-0.25; 8]);
        assert!((cost.total - 8.0 * 0.0625).abs() < 1e-6);
    }

    #[test]
    fn the_box_that_overlaps_most_is_responsible() {
        let (_, delta) = forward(&layer(false, |_| ()), vec![TRUTH]);
        // Cell 2: classes 4 and 5, objectness 8 + 4 and 8 + 5, of which the second box overlaps the truth more.
        assert_eq!(delta[4..6], [-0.5, 1.5]);
        assert_eq!(delta[12..14], [-0.25, 0.5]);
        let at = 16 + (2 * 2 + 1) * 4;
        assert_eq!(delta[at..at + 4], [0.0, 5.0 * 0.25, 0.0, 5.0 * -0.25]);
        let touched = delta[16..].iter().filter(|&&delta| delta != 0.0).count();
        assert_eq!(touched, 2, "no other box is moved");
    }

    #[test]
    fn options_change_what_they_name() {
        let at = 16 + (2 * 2 + 1) * 4;
        // IoU in the image: both 0.5 wide, 0.5 and 0.25 high, centres an eighth apart.
        let (_, rescored) = forward(&layer(false, |loss| loss.rescore = true), vec![TRUTH]);
        assert!((rescored[13] - (0.5 - 0.5)).abs() < 1e-6, "{}", rescored[13]);
        // With roots, the entry 0.5 is a side of 0.25.
        let (_, roots) = forward(&layer(true, |_| ()), vec![TRUTH]);
        assert!((roots[at + 2] - 5.0 * (0.5_f32.sqrt() - 0.5)).abs() < 1e-6);
        // An eighth of the image is large enough for the first box.
        let (_, forced) = forward(&layer(false, |loss| loss.forced = true), vec![TRUTH]);
        assert_eq!(forced[12..14], [0.5, -0.25]);
        // The first truth of a cell is the only one.
        let second = Truth { class: 0, ..TRUTH };
        let (_, twice) = forward(&layer(false, |_| ()), vec![TRUTH, second]);
        assert_eq!(twice, forward(&layer(false, |_| ()), vec![TRUTH]).1);
    }
}
