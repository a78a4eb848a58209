//! Loss of YOLOv3 and YOLOv4 heads: behaviour of Darknet's yolo_layer.c.

use rayon::prelude::*;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::training::{Overlap, YoloLoss};
use secateur_ir::{Shape, Yolo};

use super::entries::{CLASS, Cell, Entries, OBJECTNESS, best_shape, best_truth, cost, shape};
use super::iou::{gradient, overlap};
use super::math::{focal, logistic};
use super::{Cost, Loss, Pass};

/// A box with a class that is less probable is not taken for the object that it covers.
const SURE: f32 = 0.25;

pub(super) struct YoloLayer {
    head: Yolo,
    loss: YoloLoss,
    entries: Entries,
}

/// Overlaps of the boxes that are responsible for a truth.
#[derive(Debug, Clone, Copy, Default)]
struct Matches {
    count: usize,
    /// Sums of 1 − IoU and 1 − GIoU.
    iou: f64,
    giou: f64,
}

impl YoloLayer {
    /// # Panics
    /// If the input has not the channels that the head needs.
    pub(super) fn new(head: Yolo, loss: YoloLoss, input: Shape) -> Self {
        let entries = Entries { h: input.h, w: input.w, anchors: head.mask.len(), classes: head.classes };
        assert_eq!(entries.image(), input.len(), "entries of all anchors in the head's input");
        Self { head, loss, entries }
    }

    /// Writes the head's output for one image.
    fn activate(&self, x: &[f32], output: &mut [f32]) {
        output.copy_from_slice(x);
        let shift = -0.5 * (self.head.scale_x_y - 1.0);
        for (i, values) in output.chunks_exact_mut(self.entries.plane()).enumerate() {
            let entry = i % (CLASS + self.head.classes);
            if !self.head.new_coords && !matches!(entry, 2 | 3) {
                values.iter_mut().for_each(|value| *value = logistic(*value));
            }
            if entry < 2 {
                values.iter_mut().for_each(|value| *value = *value * self.head.scale_x_y + shift);
            }
        }
    }
}

impl Loss for YoloLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost {
        let image = self.entries.image();
        let truths = pass.truths.boxes();
        assert_eq!(x.len(), truths.len() * image, "values of all images");
        let images: Vec<_> = (output.par_chunks_exact_mut(image), delta.par_chunks_exact_mut(image))
            .into_par_iter()
            .zip((x.par_chunks_exact(image), truths))
            .map(|((output, delta), (x, truths))| {
                self.activate(x, output);
                delta.fill(0.0);
                let mut image = Image { layer: self, input: pass.input, output, delta };
                let matches = image.compare(&truths[..truths.len().min(self.loss.max_boxes)]);
                (matches, self.entries.squares(image.delta))
            })
            .collect();
        let total = |of: fn(&Matches) -> f64| images.iter().map(|(matches, _)| of(matches)).sum::<f64>();
        let mut parts = [0, 1, 2].map(|part| images.iter().map(|(_, squares)| squares[part]).sum::<f64>());
        if let Some(kind) = self.loss.overlap {
            let sum = if kind == Overlap::Giou { total(|m| m.giou) } else { total(|m| m.iou) };
            let count = total(|m| m.count as f64).max(1.0);
            parts[0] = f64::from(self.loss.iou_normalizer) * sum / count;
            parts[1..].iter_mut().for_each(|part| *part *= f64::from(self.loss.obj_normalizer));
        }
        if self.loss.delta_normalizer != 1.0 {
            delta.iter_mut().for_each(|delta| *delta *= self.loss.delta_normalizer);
        }
        cost(parts)
    }
}

/// One image of a pass.
struct Image<'a> {
    layer: &'a YoloLayer,
    input: Shape,
    output: &'a [f32],
    delta: &'a mut [f32],
}

impl Image<'_> {
    /// Fills the deltas. Truths of classes that the head does not have are not seen.
    fn compare(&mut self, truths: &[Truth]) -> Matches {
        let truths: Vec<Truth> =
            truths.iter().copied().filter(|truth| truth.class < self.layer.head.classes).collect();
        let entries = self.layer.entries;
        entries.cells().for_each(|cell| self.compare_box(cell, &truths));
        let mut matches = Matches::default();
        truths.iter().for_each(|truth| self.compare_truth(truth, &mut matches));
        if self.layer.loss.iou_thresh < 1.0 {
            entries.cells().for_each(|cell| self.average(cell));
        }
        matches
    }

    /// The objectness of a box that may be no object, and all of one that covers a truth by more than `truth_thresh`.
    fn compare_box(&mut self, cell: Cell, truths: &[Truth]) {
        let loss = &self.layer.loss;
        let (best, best_iou) = best_truth(|| self.predicted(cell), truths);
        let object = self.layer.entries.at(cell, OBJECTNESS);
        let objectness = self.output[object];
        self.delta[object] = loss.obj_normalizer * (0.0 - objectness);
        if best_iou > loss.ignore_thresh && self.is_sure(cell) {
            self.delta[object] = match loss.objectness_smooth {
                true => self.delta[object].max(loss.obj_normalizer * (best_iou - objectness)),
                false => 0.0,
            };
        }
        let Some(truth) = best.filter(|_| best_iou > loss.truth_thresh) else { return };
        let target = if loss.objectness_smooth { best_iou * best_iou } else { 1.0 };
        self.delta[object] = loss.obj_normalizer * (target - objectness);
        self.class_delta(cell, truth.class);
        if loss.objectness_smooth {
            let class = self.layer.entries.at(cell, CLASS + truth.class);
            self.delta[class] = self.weight(truth.class) * (target - self.output[class]);
        }
        self.box_delta(cell, self.layer.head.mask[cell.anchor], truth);
    }

    /// Whether any class of a box is probable.
    fn is_sure(&self, cell: Cell) -> bool {
        let entries = self.layer.entries;
        (0..entries.classes).any(|class| self.output[entries.at(cell, CLASS + class)] > SURE)
    }

    /// The boxes that are responsible for a truth: of the anchor whose shape is likest, and of those of this head that
    /// overlap it by more than `iou_thresh`.
    fn compare_truth(&mut self, truth: &Truth, matches: &mut Matches) {
        let (head, loss) = (&self.layer.head, &self.layer.loss);
        let shapes = head.anchors.iter().map(|(w, h)| (w / self.input.w as f32, h / self.input.h as f32));
        let best = best_shape(shapes.clone(), &truth.bbox);
        let alike = shapes.enumerate().filter(|&(index, (w, h))| {
            let target = shape(truth.bbox.w, truth.bbox.h);
            index != best
                && loss.iou_thresh < 1.0
                && overlap(loss.iou_thresh_kind, &shape(w, h), &target) > loss.iou_thresh
        });
        let responsible: Vec<usize> = std::iter::once(best).chain(alike.map(|(index, _)| index)).collect();
        for index in responsible {
            let Some(place) = head.mask.iter().position(|&masked| masked == index) else { continue };
            let cell = self.layer.entries.cell(place, truth.bbox.x, truth.bbox.y);
            self.compare_match(cell, index, truth, matches);
        }
    }

    /// A box that is responsible for a truth.
    fn compare_match(&mut self, cell: Cell, anchor: usize, truth: &Truth, matches: &mut Matches) {
        let loss = &self.layer.loss;
        let pred = self.predicted(cell);
        matches.count += 1;
        matches.iou += f64::from(1.0 - overlap(Overlap::Iou, &pred, &truth.bbox));
        matches.giou += f64::from(1.0 - overlap(Overlap::Giou, &pred, &truth.bbox));
        self.box_delta(cell, anchor, truth);
        let object = self.layer.entries.at(cell, OBJECTNESS);
        if !loss.objectness_smooth || self.delta[object] == 0.0 {
            self.delta[object] = self.weight(truth.class) * loss.obj_normalizer * (1.0 - self.output[object]);
        }
        self.class_delta(cell, truth.class);
    }

    /// Adds what moves a box towards a truth.
    fn box_delta(&mut self, cell: Cell, anchor: usize, truth: &Truth) {
        let (layer, loss) = (self.layer, &self.layer.loss);
        let normalizer = loss.iou_normalizer * self.weight(truth.class);
        let moves = match loss.overlap {
            None => self.squared_error(cell, anchor, &truth.bbox).map(|delta| delta * normalizer),
            Some(kind) => self.overlap_gradient(kind, cell, &truth.bbox).map(|delta| {
                let delta = delta * normalizer;
                let delta = if delta.is_finite() { delta } else { 0.0 };
                loss.max_delta.map_or(delta, |limit| delta.clamp(-limit, limit))
            }),
        };
        for (entry, delta) in moves.into_iter().enumerate() {
            self.delta[layer.entries.at(cell, entry)] += delta;
        }
    }

    /// Differences between the entries that would give the truth and those that are. Small boxes count up to twice.
    fn squared_error(&self, cell: Cell, anchor: usize, truth: &BBox) -> [f32; 4] {
        let entries = self.layer.entries;
        let (w, h) = self.layer.head.anchors[anchor];
        let sides = [truth.w * self.input.w as f32, truth.h * self.input.h as f32];
        let [tw, th] = match self.layer.head.new_coords {
            true => [(sides[0] / (4.0 * w)).sqrt(), (sides[1] / (4.0 * h)).sqrt()],
            false => [sides[0] / w, sides[1] / h].map(|side| libm::log(f64::from(side)) as f32),
        };
        let tx = truth.x * entries.w as f32 - cell.column as f32;
        let ty = truth.y * entries.h as f32 - cell.row as f32;
        let scale = 2.0 - truth.w * truth.h;
        let (targets, now) = ([tx, ty, tw, th], self.boxes(cell));
        [0, 1, 2, 3].map(|entry| scale * (targets[entry] - now[entry]))
    }

    /// Gradient of the overlap with a truth by the head's output.
    fn overlap_gradient(&self, kind: Overlap, cell: Cell, truth: &BBox) -> [f32; 4] {
        let mut pred = self.predicted(cell);
        // Without an area there is no gradient.
        pred.w = if pred.w == 0.0 { 1.0 } else { pred.w };
        pred.h = if pred.h == 0.0 { 1.0 } else { pred.h };
        let [dx, dy, dw, dh] = gradient(kind, &pred, truth);
        if self.layer.head.new_coords {
            return [dx, dy, dw, dh];
        }
        let [_, _, w, h] = self.boxes(cell).map(|side| libm::exp(f64::from(side)));
        [dx, dy, (f64::from(dw) * w) as f32, (f64::from(dh) * h) as f32]
    }

    /// The output's x, y, w, h of a box.
    fn boxes(&self, cell: Cell) -> [f32; 4] {
        [0, 1, 2, 3].map(|entry| self.output[self.layer.entries.at(cell, entry)])
    }

    /// The box that the output describes.
    fn predicted(&self, cell: Cell) -> BBox {
        let (head, entries) = (&self.layer.head, self.layer.entries);
        let (w, h) = head.anchors[head.mask[cell.anchor]];
        let [x, y, sw, sh] = self.boxes(cell);
        let side = |value: f32, anchor: f32, input: usize| match head.new_coords {
            true => value * value * 4.0 * anchor / input as f32,
            false => (libm::exp(f64::from(value)) * f64::from(anchor) / input as f64) as f32,
        };
        BBox {
            x: (cell.column as f32 + x) / entries.w as f32,
            y: (cell.row as f32 + y) / entries.h as f32,
            w: side(sw, w, self.input.w),
            h: side(sh, h, self.input.h),
        }
    }

    /// Sets what moves the classes of a box towards one; where the box has this class already, the others stay.
    fn class_delta(&mut self, cell: Cell, class: usize) {
        let (entries, loss) = (self.layer.entries, &self.layer.loss);
        let at = |class: usize| entries.at(cell, CLASS + class);
        let smooth = |target: f32| target * (1.0 - loss.label_smooth_eps) + 0.5 * loss.label_smooth_eps;
        let weight = self.weight(class);
        if self.delta[at(class)] != 0.0 {
            self.delta[at(class)] = (smooth(1.0) - self.output[at(class)]) * weight;
            return;
        }
        let focus = loss.focal.then(|| focal(self.output[at(class)]));
        for other in 0..entries.classes {
            let target = if other == class { 1.0 } else { 0.0 };
            let now = self.output[at(other)];
            self.delta[at(other)] = match focus {
                Some(factor) => (target - now) * factor,
                None => smooth(target) - now,
            };
        }
        if focus.is_none() && !loss.class_weights.is_empty() {
            self.delta[at(class)] *= weight * loss.cls_normalizer;
        }
    }

    fn weight(&self, class: usize) -> f32 {
        self.layer.loss.class_weights.get(class).copied().unwrap_or(1.0)
    }

    /// Divides what several truths have added to a box by the number of its classes.
    fn average(&mut self, cell: Cell) {
        let entries = self.layer.entries;
        if self.delta[entries.at(cell, OBJECTNESS)] == 0.0 {
            return;
        }
        let of_class = |class: &usize| self.delta[entries.at(cell, CLASS + class)] > 0.0;
        let classes = (0..entries.classes).filter(of_class).count();
        if classes > 1 {
            (0..OBJECTNESS).for_each(|entry| self.delta[entries.at(cell, entry)] /= classes as f32);
        }
    }
}
