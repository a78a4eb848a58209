//! Boxes and their overlaps, in Darknet's f32 arithmetic (its box.c).

/// A box by its centre and size, in shares of the image's width and height.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BBox {
    pub x: f32,
    pub y: f32,
    pub w: f32,
    pub h: f32,
}

impl BBox {
    /// Intersection over union; 0 where either is 0.
    pub fn iou(&self, other: &Self) -> f32 {
        let w = overlap(self.x, self.w, other.x, other.w);
        let h = overlap(self.y, self.h, other.y, other.h);
        let intersection = if w < 0.0 || h < 0.0 { 0.0 } else { w * h };
        let union = self.w * self.h + other.w * other.h - intersection;
        if intersection == 0.0 || union == 0.0 { 0.0 } else { intersection / union }
    }

    /// `IoU − (d²/c²)^beta`: d between the centres, c the diagonal of the box that encloses both.
    ///
    /// Zheng et al. 2019 (DIoU) with Darknet's exponent.
    pub fn iou_less_distance(&self, other: &Self, beta: f64) -> f32 {
        let iou = self.iou(other);
        let w = enclosing(self.x, self.w, other.x, other.w);
        let h = enclosing(self.y, self.h, other.y, other.h);
        let diagonal = w * w + h * h;
        if diagonal == 0.0 {
            return iou;
        }
        let distance = (self.x - other.x) * (self.x - other.x) + (self.y - other.y) * (self.y - other.y);
        iou - f64::from(distance / diagonal).powf(beta) as f32
    }

    /// Left, top, right, bottom.
    pub fn edges(&self) -> [f32; 4] {
        [self.x - self.w / 2.0, self.y - self.h / 2.0, self.x + self.w / 2.0, self.y + self.h / 2.0]
    }
}

/// Length of the common part of two intervals given by centre and length; negative where apart.
fn overlap(x1: f32, w1: f32, x2: f32, w2: f32) -> f32 {
    let (left1, left2) = (x1 - w1 / 2.0, x2 - w2 / 2.0);
    let left = if left1 > left2 { left1 } else { left2 };
    let (right1, right2) = (x1 + w1 / 2.0, x2 + w2 / 2.0);
    let right = if right1 < right2 { right1 } else { right2 };
    right - left
}

/// Length of the smallest interval that holds both.
fn enclosing(x1: f32, w1: f32, x2: f32, w2: f32) -> f32 {
    (x1 + w1 / 2.0).max(x2 + w2 / 2.0) - (x1 - w1 / 2.0).min(x2 - w2 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_of_known_boxes() {
        let a = BBox { x: 0.5, y: 0.5, w: 0.5, h: 0.5 };
        let b = BBox { x: 0.75, y: 0.5, w: 0.5, h: 0.5 };
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&b), 1.0 / 3.0);
        assert_eq!(a.iou(&BBox { x: 2.0, ..a }), 0.0);
        assert_eq!(a.iou(&BBox { w: 0.0, ..a }), 0.0);
        // d² = 1/16, c² = 9/16 + 1/4 = 13/16.
        let expected = 1.0 / 3.0 - (1.0_f64 / 13.0).powf(0.6) as f32;
        assert!((a.iou_less_distance(&b, 0.6) - expected).abs() < 1e-6);
        assert_eq!(a.edges(), [0.25, 0.25, 0.75, 0.75]);
    }

    #[test]
    fn infinite_boxes_do_not_overlap_by_accident() {
        let endless = BBox { x: 0.5, y: 0.5, w: f32::INFINITY, h: f32::INFINITY };
        let small = BBox { x: 0.5, y: 0.5, w: 0.1, h: 0.1 };
        for other in [small, endless] {
            let suppressed = endless.iou(&other) > 0.5;
            assert!(!suppressed, "{other:?}");
        }
    }
}
