//! Loss between values and their targets: behaviour of Darknet's cost_layer.c.

use secateur_ir::training::{CostKind, CostLoss};

use super::{Cost, Loss, Pass};

pub(super) struct CostLayer {
    loss: CostLoss,
}

impl CostLayer {
    pub(super) fn new(loss: CostLoss) -> Self {
        Self { loss }
    }
}

/// Returns the cost of a difference to the target, and the delta that it gives: half the negative gradient, but the
/// whole one of [`CostKind::Absolute`].
fn compare(kind: CostKind, difference: f32) -> (f32, f32) {
    let sign = if difference > 0.0 { 1.0 } else { -1.0 };
    match kind {
        CostKind::Smooth if difference.abs() >= 1.0 => (2.0 * difference.abs() - 1.0, sign),
        CostKind::Smooth | CostKind::SquaredError => (difference * difference, difference),
        CostKind::Absolute => (difference.abs(), sign),
    }
}

impl Loss for CostLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, mut output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost {
        let targets = pass.truths.targets(x.len());
        let mut total = 0.0;
        for (i, ((&x, &target), delta)) in x.iter().zip(targets).zip(delta).enumerate() {
            let (cost, moves) = compare(self.loss.kind, target - x);
            *delta = self.loss.scale * moves;
            total += f64::from(cost);
            if let Some(output) = &mut output {
                output[i] = cost;
            }
        }
        Cost { total, parts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use secateur_ir::Shape;

    use super::*;
    use crate::loss::Truths;

    #[test]
    fn delta_is_minus_half_the_gradient() {
        let (x, targets) = ([0.3, -1.2, 2.5, 0.7], [1.0, 0.0, 0.0, 0.0]);
        for (kind, half) in
            [(CostKind::SquaredError, 0.5), (CostKind::Smooth, 0.5), (CostKind::Absolute, 1.0)]
        {
            let cost = |x: &[f32], delta: &mut [f32]| {
                let layer = CostLayer::new(CostLoss { kind, scale: 3.0 });
                let truths = Truths::Targets(&targets);
                layer.forward(x, &Pass { input: Shape::new(4, 1, 1), truths, seen: 0 }, None, delta)
            };
            let mut delta = [0.0; 4];
            let total = cost(&x, &mut delta).total;
            for i in 0..4 {
                let mut moved = x;
                moved[i] += 1.0 / 1024.0;
                let gradient = (cost(&moved, &mut [0.0; 4]).total - total) * 1024.0;
                let expected = -3.0 * half * gradient;
                // The step of 1/1024 bends a square by half of it.
                assert!((f64::from(delta[i]) - expected).abs() < 2e-3, "{kind:?} {i}: {delta:?} {expected}");
            }
        }
    }
}
