//! Loss of YOLOv3 and YOLOv4 heads: behaviour of Darknet's yolo_layer.c.

use rayon::prelude::*;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::training::{Overlap, YoloLoss};
use secateur_ir::{Shape, Yolo};

use super::entries::{CLASS, Cell, Entries, OBJECTNESS, best_shape, best_truth, cost, imitate, shape};
use super::iou::{gradient, overlap};
use super::math::{focal, logistic, printed_squares};
use super::{Cost, Loss, Pass};

/// A box whose classes are all less probable counts as a negative example, whatever it overlaps.
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

    /// Returns the head's output for a value of its input.
    fn activate(&self, entry: usize, x: f32) -> f32 {
        let y = if self.head.new_coords || matches!(entry, 2 | 3) { x } else { logistic(x) };
        match entry {
            0 | 1 => y * self.head.scale_x_y - 0.5 * (self.head.scale_x_y - 1.0),
            _ => y,
        }
    }

    fn write_output(&self, x: &[f32], output: &mut [f32]) {
        let plane = self.entries.plane();
        let planes = x.par_chunks_exact(plane).zip(output.par_chunks_exact_mut(plane));
        planes.enumerate().for_each(|(i, (x, output))| {
            let entry = i % (CLASS + self.head.classes);
            x.iter().zip(output).for_each(|(x, output)| *output = self.activate(entry, *x));
        });
    }
}

impl YoloLayer {
    /// Returns the cost with a loss of overlaps: the mean of 1 − overlap (IoU where Darknet has no own figure), and the
    /// squares of all other deltas.
    fn overlap_cost(&self, kind: Overlap, matches: &[Matches], squares: [f64; 3], delta: &[f32]) -> Cost {
        let count: usize = matches.iter().map(|matches| matches.count).sum();
        let of_overlap = |matches: &Matches| if kind == Overlap::Giou { matches.giou } else { matches.iou };
        let mean = matches.iter().map(of_overlap).sum::<f64>() / count.max(1) as f64;
        let (boxes, factor) =
            (f64::from(self.loss.iou_normalizer) * mean, f64::from(self.loss.obj_normalizer));
        let begin = OBJECTNESS * self.entries.plane();
        let others = delta.chunks_exact(self.entries.anchor()).map(|anchor| &anchor[begin..]);
        let [_, objectness, classes] = squares;
        cost(boxes + factor * printed_squares(others), [boxes, factor * objectness, factor * classes])
    }
}

impl Loss for YoloLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost {
        let image = self.entries.image();
        let truths = pass.truths.boxes();
        assert_eq!([x.len(), delta.len()], [truths.len() * image; 2], "values of all images");
        if let Some(output) = output {
            self.write_output(x, output);
        }
        let (matches, squares): (Vec<Matches>, Vec<[f64; 3]>) = delta
            .par_chunks_exact_mut(image)
            .zip((x.par_chunks_exact(image), truths))
            .map(|(delta, (x, truths))| {
                delta.fill(0.0);
                let mut image = Image { layer: self, input: pass.input, x, delta };
                let matches = image.compare(&truths[..truths.len().min(self.loss.max_boxes)]);
                (matches, self.entries.squares(image.delta))
            })
            .unzip();
        let parts = [0, 1, 2].map(|part| squares.iter().map(|squares| squares[part]).sum());
        let cost = match self.loss.overlap {
            None => cost(printed_squares([&*delta]), parts),
            Some(kind) => self.overlap_cost(kind, &matches, parts, delta),
        };
        if self.loss.delta_normalizer != 1.0 {
            delta.iter_mut().for_each(|delta| *delta *= self.loss.delta_normalizer);
        }
        cost
    }

    fn imitate(&self, x: &[f32], target: &[f32], factor: f32, delta: &mut [f32]) -> f64 {
        let [mut y, mut target_y] = [vec![0.0; x.len()], vec![0.0; x.len()]];
        self.write_output(x, &mut y);
        self.write_output(target, &mut target_y);
        imitate(self.entries, &y, &target_y, factor, delta)
    }
}

/// One image of a pass.
struct Image<'a> {
    layer: &'a YoloLayer,
    input: Shape,
    x: &'a [f32],
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

    /// Fills the objectness' delta of a box as if it were no object, and all deltas of one that overlaps a truth by more
    /// than `truth_thresh`.
    fn compare_box(&mut self, cell: Cell, truths: &[Truth]) {
        let loss = &self.layer.loss;
        let (best, best_iou) = best_truth(|| self.predicted(cell), truths);
        let object = self.layer.entries.at(cell, OBJECTNESS);
        let objectness = self.value(cell, OBJECTNESS);
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
            self.delta[class] = self.weight(truth.class) * (target - self.value(cell, CLASS + truth.class));
        }
        self.box_delta(cell, self.layer.head.mask[cell.anchor], truth);
    }

    /// Returns whether any class of a box is probable.
    fn is_sure(&self, cell: Cell) -> bool {
        (0..self.layer.head.classes).any(|class| self.value(cell, CLASS + class) > SURE)
    }

    /// Fills the deltas of the boxes that are responsible for a truth: of the anchor whose shape overlaps it the best, and
    /// of those that overlap it by more than `iou_thresh`.
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
            let Some(anchor) = head.mask.iter().position(|&masked| masked == index) else { continue };
            let cell = self.layer.entries.cell(anchor, truth.bbox.x, truth.bbox.y);
            self.compare_match(cell, index, truth, matches);
        }
    }

    /// Fills the deltas of a box that is responsible for a truth.
    fn compare_match(&mut self, cell: Cell, anchor: usize, truth: &Truth, matches: &mut Matches) {
        let loss = &self.layer.loss;
        let pred = self.predicted(cell);
        matches.count += 1;
        matches.iou += f64::from(1.0 - overlap(Overlap::Iou, &pred, &truth.bbox));
        matches.giou += f64::from(1.0 - overlap(Overlap::Giou, &pred, &truth.bbox));
        self.box_delta(cell, anchor, truth);
        let object = self.layer.entries.at(cell, OBJECTNESS);
        if !loss.objectness_smooth || self.delta[object] == 0.0 {
            let missing = 1.0 - self.value(cell, OBJECTNESS);
            self.delta[object] = self.weight(truth.class) * loss.obj_normalizer * missing;
        }
        self.class_delta(cell, truth.class);
    }

    /// Adds the deltas that move a box towards a truth.
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

    /// Returns the differences between the entries that would give the truth and those that are. Small boxes count up to
    /// twice.
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

    /// Returns the gradient of the overlap with a truth by the head's output.
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

    /// Returns a value of the head's output. Most are never needed.
    fn value(&self, cell: Cell, entry: usize) -> f32 {
        self.layer.activate(entry, self.x[self.layer.entries.at(cell, entry)])
    }

    /// Returns the output's x, y, w, h of a box.
    fn boxes(&self, cell: Cell) -> [f32; 4] {
        [0, 1, 2, 3].map(|entry| self.value(cell, entry))
    }

    /// Returns the box that the output describes.
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

    /// Sets the deltas that move the classes of a box towards one; where the box has this class already, the others stay.
    fn class_delta(&mut self, cell: Cell, class: usize) {
        let (entries, loss) = (self.layer.entries, &self.layer.loss);
        let at = |class: usize| entries.at(cell, CLASS + class);
        let smooth = |target: f32| target * (1.0 - loss.label_smooth_eps) + 0.5 * loss.label_smooth_eps;
        let weight = self.weight(class);
        if self.delta[at(class)] != 0.0 {
            self.delta[at(class)] = (smooth(1.0) - self.value(cell, CLASS + class)) * weight;
            return;
        }
        let focus = loss.focal.then(|| focal(self.value(cell, CLASS + class)));
        for other in 0..entries.classes {
            let target = if other == class { 1.0 } else { 0.0 };
            let now = self.value(cell, CLASS + other);
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

    /// Divides the sum of what several truths have added to a box by the number of its classes.
    fn average(&mut self, cell: Cell) {
        let entries = self.layer.entries;
        let moved = (0..OBJECTNESS).any(|entry| self.delta[entries.at(cell, entry)] != 0.0);
        if !moved || self.delta[entries.at(cell, OBJECTNESS)] == 0.0 {
            return;
        }
        let of_class = |class: &usize| self.delta[entries.at(cell, CLASS + class)] > 0.0;
        let classes = (0..entries.classes).filter(of_class).count();
        if classes > 1 {
            (0..OBJECTNESS).for_each(|entry| self.delta[entries.at(cell, entry)] /= classes as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use secateur_ir::NmsKind;

    use super::*;
    use crate::loss::Truths;

    const INPUT: Shape = Shape::new(3, 64, 64);

    /// Builds a head of two anchors, three classes, 2 × 2 cells.
    fn layer(change: impl FnOnce(&mut YoloLoss)) -> YoloLayer {
        let head = Yolo {
            classes: 3,
            mask: vec![0, 1],
            anchors: vec![(20.0, 20.0), (40.0, 30.0)],
            scale_x_y: 1.0,
            new_coords: false,
            nms_kind: NmsKind::Default,
            beta_nms: 0.6,
        };
        let mut loss = YoloLoss {
            ignore_thresh: 0.5,
            truth_thresh: 1.0,
            iou_thresh: 1.0,
            iou_thresh_kind: Overlap::Iou,
            overlap: Some(Overlap::Ciou),
            iou_normalizer: 0.5,
            obj_normalizer: 1.0,
            cls_normalizer: 1.0,
            delta_normalizer: 1.0,
            max_delta: None,
            max_boxes: 200,
            class_weights: vec![],
            label_smooth_eps: 0.0,
            focal: false,
            objectness_smooth: false,
        };
        change(&mut loss);
        YoloLayer::new(head, loss, Shape::new(16, 2, 2))
    }

    fn values(images: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(images as u64);
        (0..images * 64).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    fn forward(layer: &YoloLayer, x: &[f32], truths: &[Vec<Truth>]) -> (Cost, Vec<f32>) {
        let (mut output, mut delta) = (vec![9.0; x.len()], vec![9.0; x.len()]);
        let pass = Pass { input: INPUT, truths: Truths::Boxes(truths), seen: 0 };
        let cost = layer.forward(x, &pass, Some(&mut output), &mut delta);
        (cost, delta)
    }

    fn truth(class: usize, x: f32, y: f32) -> Truth {
        Truth { class, bbox: BBox { x, y, w: 0.3, h: 0.3 } }
    }

    #[test]
    fn truths_that_are_not_seen() {
        let x = values(1);
        let seen = |truths: Vec<Truth>, layer: &YoloLayer| forward(layer, &x, &[truths]);
        let plain = layer(|_| ());
        assert_eq!(seen(vec![truth(3, 0.3, 0.3)], &plain), seen(vec![], &plain));
        let one = layer(|loss| loss.max_boxes = 1);
        let both = vec![truth(0, 0.3, 0.3), truth(1, 0.7, 0.7)];
        assert_eq!(seen(both.clone(), &one), seen(both[..1].to_vec(), &plain));
        assert_ne!(seen(both.clone(), &plain), seen(both[..1].to_vec(), &plain));
    }

    #[test]
    fn a_centre_on_the_far_edge_is_in_the_last_cell() {
        let x = values(1);
        let (_, delta) = forward(&layer(|_| ()), &x, &[vec![truth(2, 1.0, 1.0)]]);
        // Anchor 0, the classes' planes of four cells: only the last one is set.
        let classes: Vec<usize> = (20..32).filter(|&i| delta[i] != 0.0).collect();
        assert_eq!(classes, [23, 27, 31]);
    }

    #[test]
    fn images_do_not_depend_on_each_other() {
        let (x, layer) = (values(3), layer(|loss| loss.overlap = None));
        let truths = [vec![truth(0, 0.3, 0.3)], vec![], vec![truth(1, 0.7, 0.2), truth(2, 0.7, 0.8)]];
        let (cost, delta) = forward(&layer, &x, &truths);
        let mut sum = 0.0;
        for image in 0..3 {
            let (own, alone) = forward(&layer, &x[image * 64..][..64], &truths[image..=image]);
            assert_eq!(alone, delta[image * 64..][..64]);
            sum += own.total;
        }
        assert!((cost.total - sum).abs() < 1e-5 * sum);
    }

    #[test]
    fn the_delta_normalizer_is_no_part_of_the_cost() {
        let (x, truths) = (values(1), [vec![truth(0, 0.3, 0.3)]]);
        let (cost, delta) = forward(&layer(|_| ()), &x, &truths);
        let (same, half) = forward(&layer(|loss| loss.delta_normalizer = 0.5), &x, &truths);
        assert_eq!(cost, same);
        assert!(delta.iter().zip(half).all(|(delta, half)| delta * 0.5 == half));
    }

    #[test]
    fn truths_of_one_box_are_averaged_with_iou_thresh_alone() {
        let (x, truths) = (values(1), [truth(0, 0.3, 0.3), truth(1, 0.3, 0.3)]);
        let (_, sum) = forward(&layer(|_| ()), &x, &[truths.to_vec()]);
        // 0.99: the other anchor is not alike.
        let (_, mean) = forward(&layer(|loss| loss.iou_thresh = 0.99), &x, &[truths.to_vec()]);
        for entry in 0..4 {
            assert!(sum[entry * 4] != 0.0);
            assert_eq!(mean[entry * 4], sum[entry * 4] / 2.0);
        }
        assert_eq!(mean[16..], sum[16..]);
    }

    #[test]
    fn alike_anchors_are_responsible_too() {
        let (x, truths) = (values(1), [vec![truth(0, 0.3, 0.3)]]);
        let objects = |loss: &dyn Fn(&mut YoloLoss)| {
            let (_, delta) = forward(&layer(loss), &x, &truths);
            [delta[16], delta[32 + 16]].map(|delta| delta > 0.0)
        };
        // The truth is 19.2 pixels wide and high: IoU .922 with the first anchor, .3072 with the second.
        assert_eq!(objects(&|_| ()), [true, false]);
        assert_eq!(objects(&|loss| loss.iou_thresh = 0.3), [true, true]);
        assert_eq!(objects(&|loss| loss.iou_thresh = 0.32), [true, false]);
        // The sides' ratios differ: CIoU of the second is .3071.
        assert_eq!(objects(&|loss| loss.iou_thresh = 0.30715), [true, true]);
        let ciou = |loss: &mut YoloLoss| {
            (loss.iou_thresh, loss.iou_thresh_kind) = (0.30715, Overlap::Ciou);
        };
        assert_eq!(objects(&ciou), [true, false]);
    }

    #[test]
    fn the_limit_holds_for_boxes() {
        let (x, truths) = (values(1), [vec![truth(0, 0.3, 0.3)]]);
        let (_, free) = forward(&layer(|_| ()), &x, &truths);
        let (_, held) = forward(&layer(|loss| loss.max_delta = Some(0.05)), &x, &truths);
        for (i, (free, held)) in free.iter().zip(held).enumerate() {
            let expected = if i < 16 { free.clamp(-0.05, 0.05) } else { *free };
            assert_eq!(held, expected, "{i}");
        }
        assert!(free[..16].iter().any(|delta| delta.abs() > 0.05));
    }

    #[test]
    fn imitation_rests_at_the_teacher() {
        let layer = layer(|_| ());
        let (x, mut delta) = (values(2), vec![0.0; 128]);
        assert_eq!(layer.imitate(&x, &x, 1.0, &mut delta), 0.0);
        assert_eq!(delta, [0.0; 128]);
        // Logistic values are drawn as such, sides as logarithms.
        let target: Vec<f32> = x.iter().map(|x| x + 0.5).collect();
        layer.imitate(&x, &target, 2.0, &mut delta);
        let seen = logistic(target[OBJECTNESS * 4]);
        for (entry, (weight, value)) in
            [(0, (seen, logistic as fn(f32) -> f32)), (3, (seen, |x| x)), (4, (1.0, logistic))]
        {
            let expected = 2.0 * weight * (value(target[entry * 4]) - value(x[entry * 4]));
            assert!((delta[entry * 4] - expected).abs() < 1e-6, "{entry}: {}", delta[entry * 4]);
        }
    }
}
