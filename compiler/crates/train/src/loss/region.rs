//! Loss of YOLOv2 heads: behaviour of Darknet's region_layer.c.

use rayon::prelude::*;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::training::RegionLoss;
use secateur_ir::{Region, Shape};

use super::entries::{CLASS, Cell, Entries, OBJECTNESS, best_shape, best_truth, cost, imitate};
use super::math::{focal, logistic, logistic_gradient, printed_squares, softmax};
use super::{Cost, Loss, Pass};

/// Number of images in which every box is also pulled to its default box.
const BURN_IN: u64 = 12_800;
/// Factor of that pull.
const BURN_IN_SCALE: f32 = 0.01;

pub(super) struct RegionLayer {
    head: Region,
    loss: RegionLoss,
    entries: Entries,
}

impl RegionLayer {
    /// # Panics
    /// If boxes have other than four coordinates, or the input has not the channels that the head needs.
    pub(super) fn new(head: Region, loss: RegionLoss, input: Shape) -> Self {
        assert_eq!(head.coords, OBJECTNESS, "training needs four coordinates");
        let entries = Entries { h: input.h, w: input.w, anchors: head.anchors.len(), classes: head.classes };
        assert_eq!(entries.image(), input.len(), "entries of all anchors in the head's input");
        Self { head, loss, entries }
    }

    /// Writes the head's output for one image: `[row][column][anchor][entry]`.
    fn write_output(&self, x: &[f32], output: &mut [f32]) {
        let (plane, channels) = (self.entries.plane(), self.entries.image() / self.entries.plane());
        for (i, value) in output.iter_mut().enumerate() {
            *value = x[i % channels * plane + i / channels];
        }
        for values in output.chunks_exact_mut(CLASS + self.head.classes) {
            values[OBJECTNESS] = logistic(values[OBJECTNESS]);
            if self.head.softmax {
                softmax(values, CLASS, 1, self.head.classes, 1.0);
            }
        }
    }

    /// The values that labels are compared with, in the order of the input.
    fn activated(&self, x: &[f32]) -> Vec<f32> {
        let plane = self.entries.plane();
        let mut y = x.to_vec();
        for anchor in y.chunks_exact_mut(self.entries.anchor()) {
            for entry in [0, 1, OBJECTNESS] {
                anchor[entry * plane..(entry + 1) * plane]
                    .iter_mut()
                    .for_each(|value| *value = logistic(*value));
            }
            if self.head.softmax {
                let classes = &mut anchor[CLASS * plane..];
                (0..plane).for_each(|cell| softmax(classes, cell, plane, self.head.classes, 1.0));
            }
        }
        y
    }
}

impl Loss for RegionLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost {
        let image = self.entries.image();
        let truths = pass.truths.boxes();
        assert_eq!([x.len(), delta.len()], [truths.len() * image; 2], "values of all images");
        if let Some(output) = output {
            let images = x.chunks_exact(image).zip(output.chunks_exact_mut(image));
            images.for_each(|(x, output)| self.write_output(x, output));
        }
        let burn_in = pass.seen + (truths.len() as u64) < BURN_IN;
        let squares: Vec<[f64; 3]> = delta
            .par_chunks_exact_mut(image)
            .zip((x.par_chunks_exact(image), truths))
            .map(|(delta, (x, truths))| {
                delta.fill(0.0);
                let mut image = Image { layer: self, x, delta };
                image.compare(&truths[..truths.len().min(self.loss.max_boxes)], burn_in);
                self.entries.squares(image.delta)
            })
            .collect();
        let parts = [0, 1, 2].map(|part| squares.iter().map(|squares| squares[part]).sum());
        cost(printed_squares([&*delta]), parts)
    }

    fn imitate(&self, x: &[f32], target: &[f32], factor: f32, delta: &mut [f32]) -> f64 {
        imitate(self.entries, &self.activated(x), &self.activated(target), factor, delta)
    }
}

/// One image of a pass.
struct Image<'a> {
    layer: &'a RegionLayer,
    x: &'a [f32],
    delta: &'a mut [f32],
}

impl Image<'_> {
    /// Fills the deltas. Truths of classes that the head does not have are not seen.
    fn compare(&mut self, truths: &[Truth], burn_in: bool) {
        let truths: Vec<Truth> =
            truths.iter().copied().filter(|truth| truth.class < self.layer.head.classes).collect();
        let loss = &self.layer.loss;
        for cell in self.layer.entries.cells() {
            let (_, best_iou) = best_truth(|| self.predicted(cell), &truths);
            if best_iou <= loss.thresh {
                self.objectness_delta(cell, 0.0, loss.noobject_scale);
            }
            if burn_in {
                self.box_delta(cell, &self.default_box(cell), BURN_IN_SCALE);
            }
        }
        truths.iter().for_each(|truth| self.compare_truth(truth));
    }

    /// Fills the deltas of the box that is responsible for a truth: of the anchor whose default or predicted shape has
    /// the highest IoU with it.
    fn compare_truth(&mut self, truth: &Truth) {
        let (entries, loss) = (self.layer.entries, &self.layer.loss);
        let at = |anchor: usize| entries.cell(anchor, truth.bbox.x, truth.bbox.y);
        let boxes = (0..entries.anchors).map(|anchor| match loss.bias_match {
            true => self.default_box(at(anchor)),
            false => self.predicted(at(anchor)),
        });
        let cell = at(best_shape(boxes.map(|bbox| (bbox.w, bbox.h)), &truth.bbox));
        let iou = self.predicted(cell).iou(&truth.bbox);
        self.box_delta(cell, &truth.bbox, loss.coord_scale);
        self.objectness_delta(cell, if loss.rescore { iou } else { 1.0 }, loss.object_scale);
        self.class_delta(cell, truth.class);
    }

    /// Sets the deltas that move a box to `truth`.
    fn box_delta(&mut self, cell: Cell, truth: &BBox, scale: f32) {
        let entries = self.layer.entries;
        let (anchor_w, anchor_h) = self.layer.head.anchors[cell.anchor];
        let [x, y, w, h] = self.boxes(cell);
        let (x, y) = (logistic(x), logistic(y));
        let log = |side: f32| libm::log(f64::from(side)) as f32;
        let dx = (truth.x * entries.w as f32 - cell.column as f32 - x) * logistic_gradient(x);
        let dy = (truth.y * entries.h as f32 - cell.row as f32 - y) * logistic_gradient(y);
        let dw = log(truth.w * entries.w as f32 / anchor_w) - w;
        let dh = log(truth.h * entries.h as f32 / anchor_h) - h;
        for (entry, delta) in [dx, dy, dw, dh].into_iter().enumerate() {
            self.delta[entries.at(cell, entry)] = scale * delta;
        }
    }

    fn objectness_delta(&mut self, cell: Cell, target: f32, scale: f32) {
        let at = self.layer.entries.at(cell, OBJECTNESS);
        let now = logistic(self.x[at]);
        self.delta[at] = scale * ((target - now) * logistic_gradient(now));
    }

    fn class_delta(&mut self, cell: Cell, class: usize) {
        let (head, loss, entries) = (&self.layer.head, &self.layer.loss, self.layer.entries);
        let of_class = |class: usize| self.x[entries.at(cell, CLASS + class)];
        let mut classes: Vec<f32> = (0..head.classes).map(of_class).collect();
        if head.softmax {
            softmax(&mut classes, 0, 1, head.classes, 1.0);
        }
        let focus = if loss.focal { focal(classes[class]) } else { 1.0 };
        for (other, now) in classes.into_iter().enumerate() {
            let target = if other == class { 1.0 } else { 0.0 };
            self.delta[entries.at(cell, CLASS + other)] = loss.class_scale * (target - now) * focus;
        }
    }

    /// Returns the x, y, w, h of a box, before any function.
    fn boxes(&self, cell: Cell) -> [f32; 4] {
        [0, 1, 2, 3].map(|entry| self.x[self.layer.entries.at(cell, entry)])
    }

    /// Returns the box that the output describes.
    fn predicted(&self, cell: Cell) -> BBox {
        let entries = self.layer.entries;
        let (anchor_w, anchor_h) = self.layer.head.anchors[cell.anchor];
        let [x, y, w, h] = self.boxes(cell);
        let side = |value: f32, anchor: f32, cells: usize| {
            (libm::exp(f64::from(value)) * f64::from(anchor) / cells as f64) as f32
        };
        BBox {
            x: (cell.column as f32 + logistic(x)) / entries.w as f32,
            y: (cell.row as f32 + logistic(y)) / entries.h as f32,
            w: side(w, anchor_w, entries.w),
            h: side(h, anchor_h, entries.h),
        }
    }

    /// Returns the default box: the anchor in the middle of its cell.
    fn default_box(&self, cell: Cell) -> BBox {
        let Entries { w, h, .. } = self.layer.entries;
        let (anchor_w, anchor_h) = self.layer.head.anchors[cell.anchor];
        BBox {
            x: (cell.column as f32 + 0.5) / w as f32,
            y: (cell.row as f32 + 0.5) / h as f32,
            w: anchor_w / w as f32,
            h: anchor_h / h as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Truths;

    /// One cell and one anchor.
    fn region() -> RegionLayer {
        let head =
            Region { classes: 2, coords: 4, anchors: vec![(0.5, 0.5)], softmax: true, background: false };
        let loss = RegionLoss {
            thresh: 0.6,
            coord_scale: 1.0,
            object_scale: 5.0,
            noobject_scale: 1.0,
            class_scale: 1.0,
            bias_match: true,
            rescore: false,
            focal: false,
            max_boxes: 1,
        };
        RegionLayer::new(head, loss, Shape::new(7, 1, 1))
    }

    /// Returns the deltas of two images of one cell and one anchor, after `seen` images.
    fn forward(seen: u64, truths: &[Vec<Truth>; 2]) -> Vec<f32> {
        let mut delta = vec![9.0; 14];
        let pass = Pass { input: Shape::new(3, 32, 32), truths: Truths::Boxes(truths), seen };
        region().forward(&[1.0; 14], &pass, None, &mut delta);
        delta
    }

    #[test]
    fn burn_in_counts_the_images_of_the_pass() {
        let none = [vec![], vec![]];
        assert!(forward(12_797, &none)[..4].iter().all(|&delta| delta != 0.0));
        assert!(forward(12_798, &none)[..4].iter().all(|&delta| delta == 0.0));
    }

    #[test]
    fn truths_that_are_not_seen() {
        let truth = |class| Truth { class, bbox: BBox { x: 1.0, y: 1.0, w: 0.5, h: 0.5 } };
        let none = forward(20_000, &[vec![], vec![]]);
        assert_eq!(forward(20_000, &[vec![truth(2)], vec![]]), none);
        let first = forward(20_000, &[vec![truth(0)], vec![]]);
        assert_eq!(forward(20_000, &[vec![truth(0), truth(1)], vec![]]), first);
        assert_ne!(first[..7], none[..7]);
        assert_eq!(first[7..], none[7..]);
    }

    #[test]
    fn imitation_compares_probabilities() {
        let layer = region();
        let target = [0.5, -0.5, 1.0, 0.0, 2.0, 3.0, -1.0];
        let mut delta = [0.0; 7];
        assert_eq!(layer.imitate(&target, &target, 1.0, &mut delta), 0.0);
        layer.imitate(&[0.0; 7], &target, 1.0, &mut delta);
        let seen = logistic(2.0);
        let drawn = [logistic(0.5) - 0.5, logistic(-0.5) - 0.5, 1.0, 0.0];
        let classes = [0.5 - logistic(-4.0), logistic(-4.0) - 0.5];
        let expected = drawn.into_iter().chain([(seen - 0.5) / seen]).chain(classes).map(|pull| seen * pull);
        for (entry, (delta, expected)) in delta.into_iter().zip(expected).enumerate() {
            assert!((delta - expected).abs() < 1e-6, "{entry}: {delta} instead of {expected}");
        }
    }
}
