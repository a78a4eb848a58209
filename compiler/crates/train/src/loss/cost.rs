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

/// The cost of a difference to the target, and which way it moves the value: by half the gradient, but the whole one
/// of [`CostKind::Absolute`].
fn compare(kind: CostKind, difference: f32) -> (f32, f32) {
    let sign = if difference > 0.0 { 1.0 } else { -1.0 };
    match kind {
        CostKind::Smooth if difference.abs() >= 1.0 => (2.0 * difference.abs() - 1.0, sign),
        CostKind::Smooth | CostKind::SquaredError => (difference * difference, difference),
        CostKind::Absolute => (difference.abs(), sign),
    }
}

impl Loss for CostLayer {
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost {
        let targets = pass.truths.targets(x.len());
        let mut total = 0.0;
        for (((&x, &target), output), delta) in x.iter().zip(targets).zip(output).zip(delta) {
            let (cost, moves) = compare(self.loss.kind, target - x);
            (*output, *delta) = (cost, self.loss.scale * moves);
            total += f64::from(cost);
        }
        Cost { total, parts: Vec::new() }
    }
}
