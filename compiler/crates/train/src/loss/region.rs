//! Loss of YOLOv2 heads: behaviour of Darknet's region_layer.c.

use rayon::prelude::*;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::training::RegionLoss;
use secateur_ir::{Region, Shape};

use super::entries::{CLASS, Cell, Entries, OBJECTNESS, best_shape, best_truth, cost};
use super::math::{focal, logistic, logistic_gradient, softmax};
use super::{Cost, Loss, Pass};

/// Images in which every box is also pulled to its anchor's place and shape, and how strongly.
const BURN_IN: u64 = 12_800;
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
    fn activate(&self, x: &[f32], output: &mut [f32]) {
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
}

impl Loss for RegionLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost {
        let image = self.entries.image();
        let truths = pass.truths.boxes();
        assert_eq!(x.len(), truths.len() * image, "values of all images");
        let burn_in = pass.seen + (truths.len() as u64) < BURN_IN;
        let squares: Vec<[f64; 3]> = (output.par_chunks_exact_mut(image), delta.par_chunks_exact_mut(image))
            .into_par_iter()
            .zip((x.par_chunks_exact(image), truths))
            .map(|((output, delta), (x, truths))| {
                self.activate(x, output);
                delta.fill(0.0);
                let mut image = Image { layer: self, output, delta };
                image.compare(&truths[..truths.len().min(self.loss.max_boxes)], burn_in);
                self.entries.squares(image.delta)
            })
            .collect();
        cost([0, 1, 2].map(|part| squares.iter().map(|squares| squares[part]).sum()))
    }
}

/// One image of a pass.
struct Image<'a> {
    layer: &'a RegionLayer,
    output: &'a [f32],
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

    /// The box that is responsible for a truth: of the anchor whose shape, or whose box' shape, is likest.
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

    /// The four entries that would give `truth` against those that are.
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
        let now = self.values(cell)[OBJECTNESS];
        self.delta[self.layer.entries.at(cell, OBJECTNESS)] =
            scale * ((target - now) * logistic_gradient(now));
    }

    fn class_delta(&mut self, cell: Cell, class: usize) {
        let loss = &self.layer.loss;
        let focus = if loss.focal { focal(self.values(cell)[CLASS + class]) } else { 1.0 };
        for other in 0..self.layer.head.classes {
            let target = if other == class { 1.0 } else { 0.0 };
            let delta = loss.class_scale * (target - self.values(cell)[CLASS + other]) * focus;
            self.delta[self.layer.entries.at(cell, CLASS + other)] = delta;
        }
    }

    /// The output's values of a box.
    fn values(&self, cell: Cell) -> &[f32] {
        let entries = self.layer.entries;
        let size = CLASS + entries.classes;
        &self.output[((cell.row * entries.w + cell.column) * entries.anchors + cell.anchor) * size..][..size]
    }

    /// The x, y, w, h of a box, before any function.
    fn boxes(&self, cell: Cell) -> [f32; 4] {
        [0, 1, 2, 3].map(|entry| self.values(cell)[entry])
    }

    /// The box that the output describes.
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

    /// The anchor in the middle of its cell.
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
