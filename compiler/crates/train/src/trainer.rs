//! Steps of training: passes through the network, and updates after every batch of them.

use secateur_base::Result;
use secateur_ir::training::Training;
use secateur_ir::{Graph, Weights};

use crate::engine::{BatchVariance, Engine, EngineOptions};
use crate::loss::{self, Cost, Loss, Pass, Truths};
use crate::optimizer::{Memory, Update};
use crate::scalar::Scalar;
use crate::schedule;

/// The cost of one loss layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCost {
    pub layer: usize,
    pub cost: Cost,
}

/// A network under training.
pub struct Trainer<T = f32> {
    engine: Engine<T>,
    training: Training,
    losses: Vec<Option<Box<dyn Loss>>>,
    memories: Vec<Memory<T>>,
    /// Images that went through the network since training began.
    seen: u64,
    /// Of everything random.
    seed: u64,
    clip: Option<f64>,
}

impl<T: Scalar> Trainer<T> {
    /// A network that has seen `seen` images.
    ///
    /// # Errors
    /// A layer that cannot be trained through.
    pub fn new(graph: &Graph, weights: &Weights, training: &Training, seen: u64, seed: u64) -> Result<Self> {
        let layers = &training.layers;
        let dropout = layers.iter().map(|layer| f64::from(layer.dropout.unwrap_or(0.0))).collect();
        let options =
            EngineOptions { images: training.pass(), variance: BatchVariance::Darknet, dropout, seed };
        let losses = (0..graph.nodes.len())
            .map(|node| loss::of_layer(&graph.nodes[node].op, &layers[node], graph.input_shape(node)))
            .collect();
        let engine = Engine::new(graph, weights, &options)?;
        Ok(Self { engine, training: training.clone(), losses, memories: Vec::new(), seen, seed, clip: None })
    }

    /// Clips the norm of the mean gradient of a batch.
    #[must_use]
    pub fn with_clip(self, clip: Option<f64>) -> Self {
        Self { clip, ..self }
    }

    /// Images seen so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Updates so far, as Darknet counts them.
    pub fn batch_number(&self) -> u64 {
        self.seen / self.training.batch as u64
    }

    /// One pass forward and backward: `input` is `[image][c][h][w]` in 0..1. Returns the cost of every loss layer, and
    /// hands each one's output and delta to `observe`.
    pub fn pass(
        &mut self,
        input: &[f32],
        truths: Truths<'_>,
        mut observe: impl FnMut(usize, &[f32], &[f32]),
    ) -> Vec<LayerCost> {
        let pass = Pass { input: self.engine.graph().input, truths, seen: self.seen };
        let mut costs = Vec::new();
        let mut gradients = Vec::new();
        let number = self.seen / self.engine.images() as u64;
        let losses = &self.losses;
        self.engine.forward(input, number, &mut |layer, x, output| {
            let Some(loss) = &losses[layer] else {
                output.copy_from_slice(x);
                return;
            };
            let mut delta = vec![0.0; x.len()];
            let cost = loss.forward(x, &pass, Some(&mut *output), &mut delta);
            observe(layer, output, &delta);
            delta.iter_mut().for_each(|value| *value = -*value);
            costs.push(LayerCost { layer, cost });
            gradients.push((layer, delta));
        });
        for (layer, gradient) in &gradients {
            self.engine.seed(*layer, gradient);
        }
        self.engine.backward();
        self.seen += self.engine.images() as u64;
        costs
    }

    /// Updates the weights with the gradients since the last update. Returns the learning rate and the gradients' norm;
    /// nothing changes if that is not finite.
    pub fn update(&mut self) -> (f32, f64) {
        let number = self.batch_number();
        let rate = schedule::rate(&self.training.schedule, number, self.seed);
        let update = Update {
            optimizer: self.training.optimizer,
            decay: self.training.decay,
            rate,
            batch: self.training.batch,
            number,
            layers: &self.training.layers,
            clip: self.clip,
        };
        let norm = update.apply(self.engine.parameters(), &mut self.memories);
        (rate, norm)
    }

    /// The numbers as they stand.
    pub fn weights(&mut self) -> Weights {
        self.engine.weights()
    }
}
