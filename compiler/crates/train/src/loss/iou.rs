//! Overlaps of boxes and Darknet's gradients of them, in the arithmetic of its box.c.

use std::f64::consts::PI;

use secateur_base::BBox;
use secateur_ir::training::Overlap;

/// Returns the overlap of `a` and `b`: 1 where they are the same box.
pub(super) fn overlap(kind: Overlap, a: &BBox, b: &BBox) -> f32 {
    let iou = a.iou(b);
    let [w, h] = enclosing(a, b);
    match kind {
        Overlap::Iou => iou,
        Overlap::Giou => {
            let area = w * h;
            let union = a.w * a.h + b.w * b.h - intersection(a, b);
            if area == 0.0 { iou } else { iou - (area - union) / area }
        }
        // Darknet's exponent.
        Overlap::Diou => a.iou_less_distance(b, 0.6),
        Overlap::Ciou => {
            let diagonal = w * w + h * h;
            if diagonal == 0.0 {
                return iou;
            }
            let (shape, weight) = shape_term(a, b, iou);
            iou - (distance(a, b) / diagonal + weight * shape)
        }
    }
}

/// Returns Darknet's gradient of the overlap by `pred`'s x, y, w and h; both boxes must have an area.
///
/// Where the boxes overlap it is the gradient of IoU and GIoU, doubled by w and h; where they are apart their
/// intersection counts as the product of negative lengths. DIoU and CIoU add a term that pulls the centres together,
/// in which the enclosing box' derivatives by x and y have the wrong sign, and CIoU one that makes the shapes alike,
/// which lacks a division by w² + h². Networks were tuned with these, so they are kept.
pub(super) fn gradient(kind: Overlap, pred: &BBox, truth: &BBox) -> [f32; 4] {
    let edges = Edges::new(pred, truth);
    match kind {
        Overlap::Iou => edges.by_box(edges.of_iou()),
        Overlap::Giou if edges.apart() => edges.by_box(edges.of_enclosing_area()),
        Overlap::Giou => {
            let (iou, area) = (edges.of_iou(), edges.of_enclosing_area());
            edges.by_box([0, 1, 2, 3].map(|edge| iou[edge] + area[edge]))
        }
        Overlap::Diou | Overlap::Ciou => {
            let [mut x, mut y, mut w, mut h] = edges.of_distance(pred, truth);
            if !edges.apart() {
                let iou = edges.by_box(edges.of_iou());
                [x, y, w, h] = [x + iou[0], y + iou[1], w + iou[2], h + iou[3]];
            }
            if kind == Overlap::Ciou {
                let (_, weight) = shape_term(pred, truth, edges.intersection() / edges.union());
                let turn = (8.0 / (PI * PI) * slope_difference(pred, truth)) as f32;
                w += weight * turn * pred.h;
                h -= weight * turn * pred.w;
            }
            [x, y, w, h]
        }
    }
}

/// Returns width and height of the smallest box that holds both.
fn enclosing(a: &BBox, b: &BBox) -> [f32; 2] {
    let ([l1, t1, r1, b1], [l2, t2, r2, b2]) = (a.edges(), b.edges());
    [r1.max(r2) - l1.min(l2), b1.max(b2) - t1.min(t2)]
}

fn intersection(a: &BBox, b: &BBox) -> f32 {
    let ([l1, t1, r1, b1], [l2, t2, r2, b2]) = (a.edges(), b.edges());
    let (w, h) = (r1.min(r2) - l1.max(l2), b1.min(b2) - t1.max(t2));
    if w < 0.0 || h < 0.0 { 0.0 } else { w * h }
}

/// Returns the squared distance of the centres.
fn distance(a: &BBox, b: &BBox) -> f32 {
    (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y)
}

/// Returns the difference of the diagonals' angles.
fn slope_difference(pred: &BBox, truth: &BBox) -> f64 {
    libm::atan(f64::from(truth.w / truth.h)) - libm::atan(f64::from(pred.w / pred.h))
}

/// Returns CIoU's difference of shapes and its weight.
fn shape_term(pred: &BBox, truth: &BBox, iou: f32) -> (f32, f32) {
    let slopes = slope_difference(pred, truth);
    let shape = (4.0 / (PI * PI) * slopes * slopes) as f32;
    (shape, (f64::from(shape) / (f64::from(1.0 - iou + shape) + 0.000_001)) as f32)
}

/// The edges of two boxes: left, top, right, bottom.
struct Edges {
    pred: [f32; 4],
    truth: [f32; 4],
}

/// Direction in which each edge moves when the box grows.
const OUTWARD: [f32; 4] = [-1.0, -1.0, 1.0, 1.0];

impl Edges {
    fn new(pred: &BBox, truth: &BBox) -> Self {
        Self { pred: pred.edges(), truth: truth.edges() }
    }

    /// Returns width and height of the intersection; negative where the boxes are apart.
    fn common(&self) -> [f32; 2] {
        [0, 1]
            .map(|axis| self.pred[axis + 2].min(self.truth[axis + 2]) - self.pred[axis].max(self.truth[axis]))
    }

    fn enclosing(&self) -> [f32; 2] {
        [0, 1]
            .map(|axis| self.pred[axis + 2].max(self.truth[axis + 2]) - self.pred[axis].min(self.truth[axis]))
    }

    fn apart(&self) -> bool {
        let [w, h] = self.common();
        w <= 0.0 || h <= 0.0
    }

    /// Returns the product of the intersection's sides, which is positive where the boxes are apart on both axes, too.
    fn intersection(&self) -> f32 {
        let [w, h] = self.common();
        w * h
    }

    fn union(&self) -> f32 {
        let area = |[l, t, r, b]: [f32; 4]| (b - t) * (r - l);
        area(self.pred) + area(self.truth) - self.intersection()
    }

    /// Returns whether the predicted box is the inner one at an edge.
    fn inside(&self, edge: usize) -> bool {
        OUTWARD[edge] * self.pred[edge] < OUTWARD[edge] * self.truth[edge]
    }

    /// Returns whether the predicted box is the outer one at an edge.
    fn outside(&self, edge: usize) -> bool {
        OUTWARD[edge] * self.pred[edge] > OUTWARD[edge] * self.truth[edge]
    }

    /// Returns the derivatives of the union by the edges, and those of the intersection.
    fn of_areas(&self) -> ([f32; 4], [f32; 4]) {
        let [l, t, r, b] = self.pred;
        let (sides, common) = ([r - l, b - t], self.common());
        // An edge moves the area by the length of the side across it.
        let moved = |by: [f32; 2], edge: usize| OUTWARD[edge] * by[1 - edge % 2];
        let intersection = [0, 1, 2, 3].map(|edge| if self.inside(edge) { moved(common, edge) } else { 0.0 });
        ([0, 1, 2, 3].map(|edge| moved(sides, edge) - intersection[edge]), intersection)
    }

    fn of_iou(&self) -> [f32; 4] {
        let (union, intersection) = (self.union(), self.intersection());
        if union <= 0.0 {
            return [0.0; 4];
        }
        let (by_union, by_intersection) = self.of_areas();
        [0, 1, 2, 3]
            .map(|edge| (union * by_intersection[edge] - intersection * by_union[edge]) / (union * union))
    }

    /// Returns the derivatives of union ÷ enclosing area, GIoU's second term.
    fn of_enclosing_area(&self) -> [f32; 4] {
        let enclosing = self.enclosing();
        let area = enclosing[0] * enclosing[1];
        let (union, (by_union, _)) = (self.union(), self.of_areas());
        [0, 1, 2, 3].map(|edge| {
            let by_area = if self.outside(edge) { OUTWARD[edge] * enclosing[1 - edge % 2] } else { 0.0 };
            (area * by_union[edge] - union * by_area) / (area * area)
        })
    }

    /// Returns the derivatives of −distance² ÷ diagonal² by x, y, w, h, with the wrong sign that [`gradient`] describes.
    fn of_distance(&self, pred: &BBox, truth: &BBox) -> [f32; 4] {
        let sides = self.enclosing();
        let diagonal = sides[0] * sides[0] + sides[1] * sides[1];
        if diagonal <= 0.0 {
            return [0.0; 4];
        }
        let apart = [truth.x - pred.x, truth.y - pred.y];
        let squared = distance(pred, truth);
        let grows = |edge: usize| f32::from(u8::from(self.outside(edge)));
        let centre = |axis: usize| {
            let diagonal_by = 2.0 * sides[axis] * (grows(axis + 2) - grows(axis));
            (2.0 * apart[axis] * diagonal - diagonal_by * squared) / (diagonal * diagonal)
        };
        let size = |axis: usize| {
            let diagonal_by = 2.0 * sides[axis] * (0.5 * grows(axis + 2) + 0.5 * grows(axis));
            diagonal_by * squared / (diagonal * diagonal)
        };
        [centre(0), centre(1), size(0), size(1)]
    }

    /// Turns derivatives by left, top, right and bottom into those by x and y and twice those by w and h.
    fn by_box(&self, [l, t, r, b]: [f32; 4]) -> [f32; 4] {
        [l + r, t + b, r - l, b - t]
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn boxes(random: &mut ChaCha8Rng) -> BBox {
        let mut side = |low: f32, high: f32| random.random_range(low..high);
        BBox { x: side(0.3, 0.7), y: side(0.3, 0.7), w: side(0.2, 0.6), h: side(0.2, 0.6) }
    }

    /// Returns the edges in f64, in which differences of small steps are exact enough.
    fn edges([x, y, w, h]: [f64; 4]) -> [f64; 4] {
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    }

    fn iou_and_giou(a: [f64; 4], b: [f64; 4]) -> [f64; 2] {
        let (p, t) = (edges(a), edges(b));
        let length = |far: [f64; 2], near: [f64; 2]| [far[0] - near[0], far[1] - near[1]];
        let common = length([p[2].min(t[2]), p[3].min(t[3])], [p[0].max(t[0]), p[1].max(t[1])]);
        let around = length([p[2].max(t[2]), p[3].max(t[3])], [p[0].min(t[0]), p[1].min(t[1])]);
        let intersection = common[0].max(0.0) * common[1].max(0.0);
        let union = a[2] * a[3] + b[2] * b[3] - intersection;
        let area = around[0] * around[1];
        [intersection / union, intersection / union - (area - union) / area]
    }

    /// Returns the distance's term of DIoU, with an exponent of 1.
    fn closeness(a: [f64; 4], b: [f64; 4]) -> f64 {
        let (p, t) = (edges(a), edges(b));
        let around = [p[2].max(t[2]) - p[0].min(t[0]), p[3].max(t[3]) - p[1].min(t[1])];
        let distance = (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
        -distance / (around[0].powi(2) + around[1].powi(2))
    }

    fn wide(b: &BBox) -> [f64; 4] {
        [b.x, b.y, b.w, b.h].map(f64::from)
    }

    /// Returns central differences by x, y, w, h.
    fn differences(a: [f64; 4], f: impl Fn([f64; 4]) -> f64) -> [f64; 4] {
        [0, 1, 2, 3].map(|i| {
            let at = |step: f64| {
                let mut moved = a;
                moved[i] += step;
                f(moved)
            };
            (at(1e-6) - at(-1e-6)) / 2e-6
        })
    }

    fn close(found: f32, expected: f64, what: &str) {
        assert!((f64::from(found) - expected).abs() < 2e-4, "{what}: {found} instead of {expected}");
    }

    #[test]
    fn overlaps_agree_with_f64() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let (a, b) = (boxes(&mut random), boxes(&mut random));
            let [iou, giou] = iou_and_giou(wide(&a), wide(&b));
            close(overlap(Overlap::Iou, &a, &b), iou, "iou");
            close(overlap(Overlap::Giou, &a, &b), giou, "giou");
            close(overlap(Overlap::Diou, &a, &b), iou - (-closeness(wide(&a), wide(&b))).powf(0.6), "diou");
            let shape = 4.0 / (PI * PI) * (f64::from(b.w / b.h).atan() - f64::from(a.w / a.h).atan()).powi(2);
            let weight = shape / (1.0 - iou + shape + 1e-6);
            let ciou = iou + closeness(wide(&a), wide(&b)) - weight * shape;
            close(overlap(Overlap::Ciou, &a, &b), ciou, "ciou");
        }
        let same = boxes(&mut random);
        for kind in [Overlap::Iou, Overlap::Giou, Overlap::Diou, Overlap::Ciou] {
            close(overlap(kind, &same, &same), 1.0, "a box and itself");
        }
    }

    #[test]
    fn gradients_of_iou_and_giou_are_differences() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for case in 0..500 {
            let (pred, truth) = (boxes(&mut random), boxes(&mut random));
            if pred.iou(&truth) == 0.0 {
                continue;
            }
            for (index, kind) in [Overlap::Iou, Overlap::Giou].into_iter().enumerate() {
                let found = gradient(kind, &pred, &truth);
                let expected = differences(wide(&pred), |a| iou_and_giou(a, wide(&truth))[index]);
                let factors = [1.0, 1.0, 2.0, 2.0];
                for i in 0..4 {
                    close(found[i], factors[i] * expected[i], &format!("case {case}, {kind:?}, {i}"));
                }
            }
        }
    }

    #[test]
    fn distance_and_shape_add_to_the_gradient_of_iou() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut compared = 0;
        for case in 0..500 {
            let (pred, truth) = (boxes(&mut random), boxes(&mut random));
            if pred.iou(&truth) == 0.0 {
                continue;
            }
            let iou = gradient(Overlap::Iou, &pred, &truth);
            let diou = gradient(Overlap::Diou, &pred, &truth);
            let ciou = gradient(Overlap::Ciou, &pred, &truth);
            let expected = differences(wide(&pred), |a| closeness(a, wide(&truth)));
            let edges = Edges::new(&pred, &truth);
            for i in 0..4 {
                // By x and y the enclosing box' derivative has the wrong sign: comparable where it is 0.
                let moves = i < 2 && edges.outside(i) != edges.outside(i + 2);
                if !moves {
                    close(diou[i] - iou[i], expected[i], &format!("case {case}, distance by {i}"));
                    compared += 1;
                }
            }
            // The shape's term is the gradient of −weight · shape with a fixed weight, times w² + h².
            let (_, weight) = shape_term(&pred, &truth, pred.iou(&truth));
            let target = f64::from(truth.w / truth.h).atan();
            let shape = differences(wide(&pred), |a| {
                -4.0 / (PI * PI) * (target - (a[2] / a[3]).atan()).powi(2) * f64::from(weight)
            });
            let squares = f64::from(pred.w * pred.w + pred.h * pred.h);
            for i in 0..4 {
                close(ciou[i] - diou[i], squares * shape[i], &format!("case {case}, shape by {i}"));
            }
        }
        assert!(compared > 1000, "{compared}");
    }

    #[test]
    fn boxes_apart_are_pulled_together() {
        let truth = BBox { x: 0.2, y: 0.2, w: 0.1, h: 0.1 };
        let pred = BBox { x: 0.8, y: 0.5, w: 0.1, h: 0.2 };
        for kind in [Overlap::Giou, Overlap::Diou, Overlap::Ciou] {
            let [x, y, ..] = gradient(kind, &pred, &truth);
            assert!(x < 0.0 && y < 0.0, "{kind:?}: {x} {y}");
        }
    }
}
