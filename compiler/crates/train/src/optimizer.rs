//! From summed gradients to new weights.

use rayon::prelude::*;
use secateur_ir::training::{LayerTraining, Optimizer};

use crate::engine::{Kind, Parameter};
use crate::scalar::Scalar;

/// Numbers of a parameter that are one task.
const CHUNK: usize = 1 << 16;

/// One update of all parameters.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    pub optimizer: Optimizer,
    /// Factor of the weights in their gradient.
    pub decay: f32,
    pub rate: f32,
    /// Images whose gradients were summed.
    pub batch: usize,
    /// Number of this update since training began, from 1.
    pub number: u64,
    /// By node.
    pub layers: &'a [LayerTraining],
    /// Largest norm of all gradients together, of the mean over the batch; larger ones are scaled down.
    pub clip: Option<f64>,
}

/// What an optimiser remembers of one parameter.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Memory<T> {
    /// Accumulated step of SGD, first moment of Adam.
    pub first: Vec<T>,
    /// Second moment of Adam.
    pub second: Vec<T>,
}

impl Update<'_> {
    /// Applies the gradients to the parameters and clears them. Returns the norm of the mean gradient, not clipped; if it
    /// is not finite, no parameter changes.
    ///
    /// As in Darknet, decay enters the accumulated step with the whole batch, and the step is divided by it.
    pub fn apply<T: Scalar>(
        &self,
        mut parameters: Vec<(usize, &mut Parameter<T>)>,
        memories: &mut Vec<Memory<T>>,
    ) -> f64 {
        memories.resize_with(parameters.len(), Memory::default);
        let squares: Vec<f64> = parameters.par_iter().map(|(_, p)| squares(&p.gradient)).collect();
        let norm = squares.iter().sum::<f64>().sqrt() / self.batch as f64;
        if norm.is_finite() {
            let scale = self.clip.filter(|&clip| norm > clip).map_or(1.0, |clip| clip / norm);
            parameters.par_iter_mut().zip(memories).for_each(|((node, parameter), memory)| {
                let layer = &self.layers[*node];
                if self.number >= layer.updates_from {
                    let rate = f64::from(self.rate * layer.learning_rate_scale);
                    self.step(parameter, memory, rate, T::from_f64(scale));
                }
            });
        }
        parameters.par_iter_mut().for_each(|(_, parameter)| parameter.gradient.fill(T::ZERO));
        norm
    }

    fn step<T: Scalar>(&self, parameter: &mut Parameter<T>, memory: &mut Memory<T>, rate: f64, scale: T) {
        let decay =
            if parameter.kind == Kind::Weights { f64::from(self.decay) * self.batch as f64 } else { 0.0 };
        let decay = T::from_f64(decay);
        let (values, gradients) =
            (parameter.value.par_chunks_mut(CHUNK), parameter.gradient.par_chunks(CHUNK));
        memory.first.resize(parameter.gradient.len(), T::ZERO);
        let first = memory.first.par_chunks_mut(CHUNK);
        match self.optimizer {
            Optimizer::Sgd { momentum } => {
                let (momentum, rate) = (T::from_f32(momentum), T::from_f64(rate / self.batch as f64));
                values.zip(gradients).zip(first).for_each(|((values, gradients), first)| {
                    T::vectorise(
                        #[inline(always)]
                        || {
                            for ((w, &g), step) in values.iter_mut().zip(gradients).zip(first) {
                                *step = *step - scale * g - decay * *w;
                                *w += rate * *step;
                                *step = momentum * *step;
                            }
                        },
                    );
                });
            }
            Optimizer::Adam { beta1, beta2, epsilon } => {
                memory.second.resize(parameter.gradient.len(), T::ZERO);
                let second = memory.second.par_chunks_mut(CHUNK);
                let corrected = |beta: f32| T::from_f64(1.0 - libm::pow(f64::from(beta), self.number as f64));
                let corrected = (corrected(beta1), corrected(beta2));
                let (b1, b2) = (T::from_f32(beta1), T::from_f32(beta2));
                let (rate, epsilon) = (T::from_f64(rate), T::from_f32(epsilon));
                values.zip(gradients).zip(first.zip(second)).for_each(|((values, gradients), (m, v))| {
                    T::vectorise(
                        #[inline(always)]
                        || {
                            let moments = m.iter_mut().zip(v);
                            for ((w, &g), (m, v)) in values.iter_mut().zip(gradients).zip(moments) {
                                let d = -(scale * g) - decay * *w;
                                *m = b1 * *m + (T::ONE - b1) * d;
                                *v = b2 * *v + (T::ONE - b2) * d * d;
                                *w += rate * (*m / corrected.0) / ((*v / corrected.1).sqrt() + epsilon);
                            }
                        },
                    );
                });
            }
        }
    }
}

/// Sum of squares, over chunks side by side.
fn squares<T: Scalar>(gradient: &[T]) -> f64 {
    let of_chunk = |chunk: &[T]| -> f64 {
        T::vectorise(
            #[inline(always)]
            || {
                let mut sums = [0.0; 16];
                for numbers in chunk.chunks(sums.len()) {
                    sums.iter_mut().zip(numbers).for_each(|(sum, g)| *sum += g.to_f64() * g.to_f64());
                }
                sums.iter().sum()
            },
        )
    };
    // Collected first, so that the order of the sum is fixed.
    gradient.par_chunks(CHUNK).map(of_chunk).collect::<Vec<f64>>().into_iter().sum()
}
