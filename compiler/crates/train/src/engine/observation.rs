//! Outputs and their gradients, while backward has both.

use rayon::prelude::*;

use super::value::{Read, Value};
use crate::scalar::Scalar;

/// The output of a node, after its activation, and the gradient of the loss by it.
pub struct Observation<'a, T> {
    pub(super) output: &'a Value<T>,
    /// Laid out as the output is.
    pub(super) gradient: &'a [T],
}

/// Is handed every node with its [`Observation`], from the last to the first.
pub type BackwardObserver<'a, T> = &'a mut dyn FnMut(usize, Observation<'_, T>);

impl<T: Scalar> Observation<'_, T> {
    /// The mean over the map of output · gradient, `[c][image]`.
    pub fn mean_products(&self) -> Vec<Vec<f64>> {
        let (plane, len) = (self.output.shape.plane(), self.output.row_len());
        let of_channel = |c: usize| {
            let row = self.output.row(c);
            let mut buffer = vec![T::ZERO; plane];
            let of_image = |(image, gradient): (usize, &[T])| {
                row.read(image * plane, &mut buffer);
                let products = buffer.iter().zip(gradient).map(|(y, g)| y.to_f64() * g.to_f64());
                products.sum::<f64>() / plane as f64
            };
            self.gradient[c * len..][..len].chunks_exact(plane).enumerate().map(of_image).collect()
        };
        (0..self.output.shape.c).into_par_iter().map(of_channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{IMAGES, engine, loss};

    /// The loss of an image is linear in the first layer's output here: without a channel it changes by exactly minus
    /// the sum of output · gradient.
    #[test]
    fn products_are_what_removal_changes() {
        let layers = "[convolutional]\nfilters=5\nsize=3\nstride=1\npad=1\nactivation=linear";
        let (mut engine, input, factors) = engine::<f64>(layers, 5);
        let plane = engine.graph().nodes[0].shape.plane();
        let of_image = |image: usize| -> Vec<f32> {
            let (part, mut alone) = (factors.len() / IMAGES, vec![0.0; factors.len()]);
            alone[image * part..][..part].copy_from_slice(&factors[image * part..][..part]);
            alone
        };
        let before: Vec<f64> = (0..IMAGES).map(|image| loss(&mut engine, &input, &of_image(image))).collect();
        engine.seed(2, &factors);
        let mut products = Vec::new();
        engine.backward_observed(&mut |node, observation| {
            if node == 0 {
                products = observation.mean_products();
            }
        });
        assert_eq!((products.len(), products[0].len()), (6, IMAGES));
        for (channel, products) in products.iter().enumerate() {
            // Weights are the second layer's last parameter, `[5][6][3][3]`.
            let whole = engine.parameters().last_mut().unwrap().1.value.clone();
            for filter in engine.parameters().last_mut().unwrap().1.value.chunks_exact_mut(6 * 9) {
                filter[channel * 9..][..9].fill(0.0);
            }
            for (image, mean) in products.iter().enumerate() {
                let change = loss(&mut engine, &input, &of_image(image)) - before[image];
                assert!((change + mean * plane as f64).abs() < 1e-10, "{channel}, {image}: {change}, {mean}");
                assert!(change.abs() > 1e-6, "the channel matters");
            }
            engine.parameters().last_mut().unwrap().1.value = whole;
        }
    }
}
