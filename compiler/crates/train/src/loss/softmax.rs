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

    /// Replaces the values of one image by their probabilities.
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
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost {
        let targets = pass.truths.targets(x.len());
        delta.copy_from_slice(x);
        delta.chunks_exact_mut(self.input.len()).for_each(|image| self.activate(image));
        if let Some(output) = output {
            output.copy_from_slice(delta);
        }
        let mut total = 0.0;
        for (delta, &target) in delta.iter_mut().zip(targets) {
            let p = *delta;
            *delta = target - p;
            if target != 0.0 {
                // Of a probability that is too small for f32 the cost stays finite.
                total -= libm::log(f64::from(p.max(f32::MIN_POSITIVE)));
            }
        }
        Cost { total, parts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Truths;

    fn forward(layer: &SoftmaxLayer, x: &[f32], targets: &[f32]) -> (Cost, Vec<f32>, Vec<f32>) {
        let pass = Pass { input: layer.input, truths: Truths::Targets(targets), seen: 0 };
        let (mut output, mut delta) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let cost = layer.forward(x, &pass, Some(&mut output), &mut delta);
        (cost, output, delta)
    }

    /// Returns the cross-entropy weighted by the targets, over groups of `n`.
    fn cross_entropy(x: &[f64], targets: &[f32], n: usize) -> f64 {
        let groups = x.chunks(n).zip(targets.chunks(n));
        let of_group = |(x, targets): (&[f64], &[f32])| {
            let log_sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
            x.iter().zip(targets).map(|(x, &t)| f64::from(t) * (log_sum - x)).sum::<f64>()
        };
        groups.map(of_group).sum()
    }

    #[test]
    fn delta_is_minus_the_gradient_of_the_cross_entropy() {
        let x = [0.3, -1.2, 2.0, 0.7, 0.1, -0.4, 1.1, 0.2];
        let targets = [0.7, 0.1, 0.1, 0.1, 0.0, 0.0, 1.0, 0.0];
        let softmax = Softmax { groups: 2, temperature: 1.0, axis: None };
        let (_, _, delta) = forward(&SoftmaxLayer::new(softmax, Shape::new(8, 1, 1)), &x, &targets);
        for (i, delta) in delta.into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = x.map(f64::from);
                moved[i] += step;
                cross_entropy(&moved, &targets, 4)
            };
            let gradient = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((f64::from(delta) + gradient).abs() < 1e-6, "{i}: {delta} {gradient}");
        }
    }

    #[test]
    fn cost_of_a_sure_mistake_is_finite() {
        let layer =
            SoftmaxLayer::new(Softmax { groups: 1, temperature: 1.0, axis: None }, Shape::new(2, 1, 1));
        let (cost, output, delta) = forward(&layer, &[0.0, 500.0], &[1.0, 0.0]);
        assert_eq!((output, delta), (vec![0.0, 1.0], vec![1.0, -1.0]));
        assert!(cost.total > 80.0 && cost.total.is_finite(), "{}", cost.total);
    }

    #[test]
    fn along_channels_every_pixel_is_a_group() {
        let shape = Shape::new(2, 1, 3);
        let layer =
            SoftmaxLayer::new(Softmax { groups: 1, temperature: 2.0, axis: Some(Axis::Channels) }, shape);
        let (_, output, _) = forward(&layer, &[0.0, 1.0, 2.0, 0.0, 0.0, 0.0], &[0.0; 6]);
        let of = |x: f32| x.exp() / (x.exp() + 1.0);
        for (pixel, x) in [0.0, 1.0, 2.0].into_iter().enumerate() {
            assert!((output[pixel] - of(x)).abs() < 1e-6);
            assert!((output[pixel] + output[3 + pixel] - 1.0).abs() < 1e-6);
        }
    }
}
