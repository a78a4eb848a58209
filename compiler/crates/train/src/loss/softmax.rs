//! Cross-entropy of a softmax: behaviour of Darknet's softmax_layer.c.

use secateur_ir::{Axis, Shape, Softmax};

use super::math::softmax;
use super::{Cost, Loss, Pass};

pub(super) struct SoftmaxLayer {
    layer: Softmax,
    input: Shape,
}

impl SoftmaxLayer {
    pub(super) fn new(layer: Softmax, input: Shape) -> Self {
        Self { layer, input }
    }

    /// Writes the probabilities of one image in place of its values.
    fn activate(&self, x: &mut [f32]) {
        let Some(axis) = self.layer.axis else {
            let n = x.len() / self.layer.groups;
            (0..self.layer.groups).for_each(|group| softmax(x, group * n, 1, n, self.layer.temperature));
            return;
        };
        let n = self.input.along(axis);
        let step = match axis {
            Axis::Channels => self.input.plane(),
            Axis::Rows => self.input.w,
            Axis::Columns => 1,
        };
        // Darknet ignores the temperature here.
        for block in x.chunks_exact_mut(n * step) {
            (0..step).for_each(|start| softmax(block, start, step, n, 1.0));
        }
    }
}

impl Loss for SoftmaxLayer {
    /// The delta is that of a temperature of 1, as Darknet's. The cost of a target between 0 and 1 is not weighted by
    /// it, either.
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost {
        let targets = pass.truths.targets(x.len());
        output.copy_from_slice(x);
        output.chunks_exact_mut(self.input.len()).for_each(|image| self.activate(image));
        let mut total = 0.0;
        for ((delta, &p), &target) in delta.iter_mut().zip(output.iter()).zip(targets) {
            *delta = target - p;
            if target != 0.0 {
                // Of a probability that is too small for f32 the cost stays finite.
                total -= libm::log(f64::from(p.max(f32::MIN_POSITIVE)));
            }
        }
        Cost { total, parts: Vec::new() }
    }
}
