//! A network in training: forward and backward over all images of a pass.
//!
//! There is no tape: the operators stand in the graph's order, and backward is that order reversed. Maps keep what
//! forward computed until backward has used it; buffers of gradients are free again once their operator has run.

mod build;
mod convolution;
mod depthwise;
mod elementwise;
mod epilogue;
mod gradients;
mod moves;
mod observation;
mod operator;
mod parameter;
mod pointwise;
mod pool;
mod rounding;
mod scratch;
mod statistics;
mod sum;
#[cfg(test)]
mod tests;
mod transposed;
mod value;
mod window;

pub use build::EngineOptions;
pub use epilogue::BatchVariance;
pub use observation::{BackwardObserver, Observation};
pub use parameter::{Kind, Parameter};

use rayon::prelude::*;
use secateur_ir::{BatchNorm, Graph, LayerWeights, Source, Weights};

use crate::scalar::Scalar;
use epilogue::Epilogue;
use gradients::Gradients;
use operator::{Backward, Forward, Maps, Operator};
use rounding::Rounder;
use scratch::Scratches;
use value::{Read, Value, View};

/// A layer that computes something.
struct Layer<T> {
    operator: Box<dyn Operator<T>>,
    epilogue: Epilogue<T>,
    /// Rounds weights and output as the int8 form does.
    rounder: Option<Rounder<T>>,
    inputs: Vec<View>,
    /// Some parameter lies here or before.
    trains: bool,
    /// What follows is computed by a loss.
    is_loss: bool,
}

/// A network with the memory of one pass of `images` images.
pub struct Engine<T> {
    graph: Graph,
    images: usize,
    variance: BatchVariance,
    /// By node; `None` where the output is only a view.
    layers: Vec<Option<Layer<T>>>,
    /// The images first, then by node.
    values: Vec<Value<T>>,
    /// Outputs, by node.
    views: Vec<View>,
    gradients: Gradients<T>,
    scratches: Scratches<T>,
}

/// Is handed a loss layer's node and its input `[image][c][h][w]`. Returns its output of the same shape, or nothing where
/// nobody reads it.
pub type LossForward<'a> = &'a mut dyn FnMut(usize, &[f32]) -> Option<Vec<f32>>;

impl<T: Scalar> Engine<T> {
    /// The network's structure.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Images of a pass.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Runs all layers on `input`, `[image][c][h][w]`; `pass` counts passes, for random masks.
    pub fn forward(&mut self, input: &[f32], pass: u64, loss: LossForward<'_>) {
        assert_eq!(input.len(), self.graph.input.len() * self.images, "the pass has {} images", self.images);
        store(&mut self.values[0], input);
        self.gradients.clear();
        self.restore_weights();
        for i in 0..self.layers.len() {
            let Some(mut layer) = self.layers[i].take() else { continue };
            let mut out = std::mem::take(&mut self.values[i + 1]);
            if layer.is_loss {
                if let Some(y) = loss(i, &self.load(&layer.inputs[0])) {
                    store(&mut out, &y);
                }
            } else {
                let maps = Maps(&self.values);
                if let Some(rounder) = &mut layer.rounder {
                    rounder.begin(&mut out, layer.operator.parameters());
                }
                let wants_moments = layer.epilogue.wants_moments(out.row_len(), self.variance);
                let (inputs, scratches) = (&layer.inputs, &self.scratches);
                layer.operator.forward(Forward {
                    inputs,
                    maps,
                    out: &mut out,
                    pass,
                    wants_moments,
                    scratches,
                });
                layer.epilogue.forward(&mut out, self.variance);
                if let Some(rounder) = &mut layer.rounder {
                    rounder.end(&mut out);
                }
            }
            self.values[i + 1] = out;
            self.layers[i] = Some(layer);
        }
    }

    /// Adds a gradient of the loss by the input of `node`, `[image][c][h][w]`. Before [`Engine::backward`].
    pub fn seed(&mut self, node: usize, gradient: &[f32]) {
        let view = self.view(self.graph.nodes[node].inputs[0]).clone();
        let (plane, images) = (view.shape.plane(), self.images);
        self.gradients.sinks(&view).into_par_iter().enumerate().for_each_init(
            Vec::new,
            |buffer, (c, sink)| {
                let Some(mut sink) = sink else { return };
                for image in 0..images {
                    let values = &gradient[(image * view.shape.c + c) * plane..][..plane];
                    buffer.clear();
                    buffer.extend(values.iter().map(|&g| T::from_f32(g)));
                    sink.put(image * plane, buffer);
                }
            },
        );
    }

    /// Sets the share of a pass' statistics in the running ones, of every batch norm.
    pub fn set_momentum(&mut self, momentum: f64) {
        let epilogues = self.layers.iter_mut().flatten().map(|layer| &mut layer.epilogue);
        epilogues.filter_map(|epilogue| epilogue.norm.as_mut()).for_each(|norm| norm.momentum = momentum);
    }

    /// Runs all layers backwards from the seeded gradients; adds to the gradients of all parameters.
    pub fn backward(&mut self) {
        self.backward_observed(&mut |_, _| {});
    }

    /// As [`Engine::backward`], and hands the output of every node that a gradient reaches to `observe`. A node whose
    /// output is only a view of others is not among them.
    pub fn backward_observed(&mut self, observe: BackwardObserver<'_, T>) {
        for i in (0..self.layers.len()).rev() {
            let Some(mut layer) = self.layers[i].take() else { continue };
            if layer.trains
                && let Some(mut taken) = self.gradients.take(i + 1)
            {
                let mut out = &self.values[i + 1];
                let len = out.raw.len();
                observe(i, Observation { output: out, gradient: &taken.numbers[..len] });
                if let Some((rounder, exact)) =
                    layer.rounder.as_ref().and_then(|rounder| Some((rounder, rounder.exact()?)))
                {
                    // Readers took their sums of the rounded map.
                    taken.sums.fill(None);
                    rounder.clamp_gradient(&mut taken.numbers[..len]);
                    out = exact;
                }
                let gradient = layer.epilogue.backward(out, &mut taken);
                layer.operator.backward(Backward {
                    inputs: &layer.inputs,
                    maps: Maps(&self.values),
                    out,
                    gradient: &gradient,
                    node: i,
                    gradients: &mut self.gradients,
                    scratches: &self.scratches,
                });
                self.gradients.give_back(taken.numbers);
            }
            self.layers[i] = Some(layer);
        }
        self.restore_weights();
    }

    /// Ends a pass in rounded weights.
    fn restore_weights(&mut self) {
        for layer in self.layers.iter_mut().flatten() {
            if let Some(rounder) = &mut layer.rounder {
                rounder.restore(layer.operator.parameters());
            }
        }
    }

    /// Every parameter with its node, in the graph's order: bias, batch norm's scale, weights.
    pub fn parameters(&mut self) -> Vec<(usize, &mut Parameter<T>)> {
        self.restore_weights();
        let layers = self.layers.iter_mut().enumerate().filter_map(|(i, layer)| Some((i, layer.as_mut()?)));
        layers
            .flat_map(|(i, layer)| {
                layer.epilogue.parameters().chain(layer.operator.parameters()).map(move |p| (i, p))
            })
            .collect()
    }

    /// Output of a node, `[image][c][h][w]`.
    pub fn output(&self, node: usize) -> Vec<f32> {
        self.load(&self.views[node])
    }

    /// The numbers as they stand, for inference.
    pub fn weights(&mut self) -> Weights {
        self.restore_weights();
        let numbers = |values: &[T]| values.iter().map(|value| value.to_f32()).collect::<Vec<f32>>();
        let layers = self.layers.iter_mut().map(|layer| {
            let Some(layer) = layer else { return LayerWeights::default() };
            let batch_norm = layer.epilogue.norm.as_ref().map(|norm| BatchNorm {
                scale: numbers(&norm.scale.value),
                mean: numbers(&norm.running_mean),
                variance: numbers(&norm.running_variance),
            });
            let bias = layer.epilogue.bias.as_ref().map_or_else(Vec::new, |bias| numbers(&bias.value));
            let weights = layer.operator.parameters().first().map_or_else(Vec::new, |p| numbers(&p.value));
            LayerWeights { bias, batch_norm, weights }
        });
        Weights { layers: layers.collect() }
    }

    fn view(&self, source: Source) -> &View {
        match source {
            Source::Image => unreachable!("a loss follows a layer"),
            Source::Layer(node) => &self.views[node],
        }
    }

    /// A view's numbers as `[image][c][h][w]`.
    fn load(&self, view: &View) -> Vec<f32> {
        let plane = view.shape.plane();
        let mut out = vec![0.0; view.shape.len() * self.images];
        let rows = Maps(&self.values).rows(view);
        out.par_chunks_exact_mut(view.shape.len()).enumerate().for_each_init(
            || vec![T::ZERO; plane],
            |buffer, (image, out)| {
                for (row, target) in rows.iter().zip(out.chunks_exact_mut(plane)) {
                    row.read(image * plane, buffer);
                    target.iter_mut().zip(&*buffer).for_each(|(y, x)| *y = x.to_f32());
                }
            },
        );
        out
    }
}

/// Sets a map from `[image][c][h][w]`.
fn store<T: Scalar>(value: &mut Value<T>, numbers: &[f32]) {
    let (channels, plane) = (value.shape.c, value.shape.plane());
    value.rows_mut().into_par_iter().enumerate().for_each(|(c, row)| {
        for (image, target) in row.chunks_exact_mut(plane).enumerate() {
            let source = &numbers[(image * channels + c) * plane..][..plane];
            target.iter_mut().zip(source).for_each(|(y, &x)| *y = T::from_f32(x));
        }
    });
}
