//! Steps of training: passes through the network, and updates after every batch of them.

use secateur_base::Result;
use secateur_ir::training::Training;
use secateur_ir::{Graph, Rounding, Shape, Source, Weights};

use crate::engine::{BatchVariance, Engine, EngineOptions, Kind};
use crate::loss::{self, Cost, Loss, Pass, Truths};
use crate::optimizer::{Memory, Update};
use crate::scalar::Scalar;
use crate::schedule;
use crate::teacher::Teacher;

/// Name of the part of the loss that draws to a teacher.
pub const TEACHER: &str = "teacher";

/// The cost of one loss layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerCost {
    pub layer: usize,
    pub cost: Cost,
}

/// Is handed every loss layer with its output and delta, `[image][c][h][w]`.
pub type LossObserver<'a> = &'a mut (dyn FnMut(usize, &[f32], &[f32]) + Send);

/// A network under training.
pub struct Trainer<T = f32> {
    engine: Engine<T>,
    training: Training,
    losses: Vec<Option<Box<dyn Loss>>>,
    teacher: Option<Teacher>,
    memories: Vec<Memory<T>>,
    /// Images that went through the network since training began.
    seen: u64,
    /// Of everything random.
    seed: u64,
    clip: Option<f64>,
    /// 1 for every number that is trained, 0 for those that stay, in the shapes of the weights.
    kept: Option<Weights>,
    /// By node, what the int8 form rounds.
    rounding: Vec<Rounding>,
    rate_factor: f32,
}

impl<T: Scalar> Trainer<T> {
    /// A network that has seen `seen` images.
    ///
    /// # Errors
    /// A layer that cannot be trained through.
    pub fn new(graph: &Graph, weights: &Weights, training: &Training, seen: u64, seed: u64) -> Result<Self> {
        Ok(Self {
            engine: engine(graph, weights, training, seed, &[])?,
            losses: loss::of_graph(graph, &training.layers),
            training: training.clone(),
            teacher: None,
            memories: Vec::new(),
            seen,
            seed,
            clip: None,
            kept: None,
            rounding: Vec::new(),
            rate_factor: 1.0,
        })
    }

    /// Clips the norm of the mean gradient of a batch.
    #[must_use]
    pub fn with_clip(self, clip: Option<f64>) -> Self {
        Self { clip, ..self }
    }

    /// Leaves weights, biases and scales as they are where `kept`, which has the shapes of the weights, is 0.
    #[must_use]
    pub fn with_kept(self, kept: Option<Weights>) -> Self {
        Self { kept, ..self }
    }

    /// Computes forward in the numbers of the network's int8 form, which rounds this, by node: batch norm is frozen and nothing
    /// is dropped.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_rounding(mut self, rounding: Vec<Rounding>) -> Result<Self> {
        if !rounding.is_empty() {
            let (graph, weights) = (self.engine.graph().clone(), self.engine.weights());
            self.engine = engine(&graph, &weights, &self.training, self.seed, &rounding)?;
            self.rounding = rounding;
        }
        Ok(self)
    }

    /// Draws the heads to those of a teacher.
    #[must_use]
    pub fn with_teacher(self, teacher: Option<Teacher>) -> Self {
        Self { teacher, ..self }
    }

    /// What the optimiser remembers, by parameter.
    pub fn memories(&self) -> &[Memory<T>] {
        &self.memories
    }

    /// Goes on as if the optimiser remembered this, with a factor to all learning rates.
    pub fn restore(&mut self, memories: Vec<Memory<T>>, rate_factor: f32) {
        self.memories = memories;
        self.rate_factor = rate_factor;
    }

    /// Images seen so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    pub fn set_seen(&mut self, seen: u64) {
        self.seen = seen;
    }

    /// Updates so far, as Darknet counts them.
    pub fn batch_number(&self) -> u64 {
        self.seen / self.training.batch as u64
    }

    /// Takes images of another size from now on; `graph` is the network at any size.
    ///
    /// # Errors
    /// As [`Graph::resized`].
    pub fn resize(&mut self, graph: &Graph, input: Shape) -> Result<()> {
        if self.engine.graph().input == input {
            return Ok(());
        }
        let (graph, weights) = (graph.resized(input.h, input.w)?, self.engine.weights());
        if let Some(teacher) = &mut self.teacher {
            teacher.resize(input.h, input.w)?;
        }
        self.losses = loss::of_graph(&graph, &self.training.layers);
        self.engine = engine(&graph, &weights, &self.training, self.seed, &self.rounding)?;
        Ok(())
    }

    /// Replaces all numbers.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn set_weights(&mut self, graph: &Graph, weights: &Weights) -> Result<()> {
        let input = self.engine.graph().input;
        let graph = graph.resized(input.h, input.w)?;
        self.engine = engine(&graph, weights, &self.training, self.seed, &self.rounding)?;
        Ok(())
    }

    /// One pass forward and backward: `input` is `[image][c][h][w]` in 0..1. Returns the cost of every loss layer.
    pub fn pass(
        &mut self,
        input: &[f32],
        truths: Truths<'_>,
        observe: Option<LossObserver<'_>>,
    ) -> Vec<LayerCost> {
        // On a thread of the pool, the layers' tasks begin without a change of threads.
        rayon::scope(|_| self.compute(input, truths, observe))
    }

    fn compute(
        &mut self,
        input: &[f32],
        truths: Truths<'_>,
        mut observe: Option<LossObserver<'_>>,
    ) -> Vec<LayerCost> {
        let pass = Pass { input: self.engine.graph().input, truths, seen: self.seen };
        let mut targets =
            self.teacher.as_ref().map_or_else(Vec::new, |teacher| teacher.heads(input)).into_iter();
        let mut costs = Vec::new();
        let mut gradients = Vec::new();
        let number = self.seen / self.engine.images() as u64;
        let (losses, teacher) = (&self.losses, &self.teacher);
        let read: Vec<Source> =
            self.engine.graph().nodes.iter().flat_map(|node| node.inputs.clone()).collect();
        self.engine.forward(input, number, &mut |layer, x| {
            let Some(loss) = &losses[layer] else { return Some(x.to_vec()) };
            let mut delta = vec![0.0; x.len()];
            let is_read = observe.is_some() || read.contains(&Source::Layer(layer));
            let mut output = is_read.then(|| vec![0.0; x.len()]);
            let mut cost = loss.forward(x, &pass, output.as_deref_mut(), &mut delta);
            if let Some((teacher, target)) = teacher.as_ref().zip(targets.next()) {
                let pulled = loss.imitate(x, &target, teacher.factor, &mut delta);
                cost.parts.push((TEACHER, pulled));
                cost.total += pulled;
            }
            if let Some((observe, output)) = observe.as_mut().zip(output.as_ref()) {
                observe(layer, output, &delta);
            }
            delta.iter_mut().for_each(|value| *value = -*value);
            costs.push(LayerCost { layer, cost });
            gradients.push((layer, delta));
            output
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
        self.hold_masked();
        let number = self.batch_number();
        let rate = self.rate_factor * schedule::rate(&self.training.schedule, number, self.seed);
        let update = Update {
            optimizer: self.training.optimizer,
            decay: self.training.decay,
            rate,
            batch: self.training.batch,
            number,
            layers: &self.training.layers,
            clip: self.clip,
        };
        let Self { engine, memories, .. } = self;
        let norm = rayon::scope(|_| update.apply(engine.parameters(), memories));
        (rate, norm)
    }

    /// Clears the gradients of the numbers that stay. Such a number is 0, so that decay does not move it either, and the
    /// optimiser remembers nothing of it.
    fn hold_masked(&mut self) {
        let Some(kept) = &self.kept else { return };
        for (node, parameter) in self.engine.parameters() {
            let layer = &kept.layers[node];
            let kept = match parameter.kind {
                Kind::Weights => &layer.weights,
                Kind::Bias => &layer.bias,
                Kind::Scale => &layer.batch_norm.as_ref().expect("the layer has a scale").scale,
            };
            let numbers = parameter.gradient.iter_mut().zip(kept);
            numbers.filter(|(_, kept)| **kept == 0.0).for_each(|(gradient, _)| *gradient = T::ZERO);
        }
    }

    /// Forgets the gradients since the last update.
    pub fn drop_gradients(&mut self) {
        self.engine.parameters().into_iter().for_each(|(_, parameter)| parameter.gradient.fill(T::ZERO));
    }

    /// The numbers as they stand.
    pub fn weights(&mut self) -> Weights {
        self.engine.weights()
    }
}

fn engine<T: Scalar>(
    graph: &Graph,
    weights: &Weights,
    training: &Training,
    seed: u64,
    rounding: &[Rounding],
) -> Result<Engine<T>> {
    let dropout = training.layers.iter().map(|layer| f64::from(layer.dropout.unwrap_or(0.0)));
    let options = EngineOptions {
        images: training.pass(),
        variance: BatchVariance::Darknet,
        // What is rounded is the network as it is deployed.
        dropout: if rounding.is_empty() { dropout.collect() } else { Vec::new() },
        seed,
        rounding: rounding.to_vec(),
    };
    Engine::new(graph, weights, &options)
}

#[cfg(test)]
mod tests {
    use secateur_ir::LayerWeights;
    use secateur_ir::training::Optimizer;

    use super::*;
    use crate::tests::Net;

    const NET: &str = "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\npad=1\nactivation=leaky\n\
                       [convolutional]\nfilters=4\nsize=1\nactivation=mish\n[cost]\n";

    fn parameters(layer: &mut LayerWeights) -> Vec<&mut f32> {
        let scales = layer.batch_norm.iter_mut().flat_map(|norm| &mut norm.scale);
        layer.weights.iter_mut().chain(&mut layer.bias).chain(scales).collect()
    }

    #[test]
    fn masked_numbers_stay_zero_whatever_moves_the_others() {
        let net = Net::new(NET, 4);
        let mut training = net.training.clone();
        (training.batch, training.decay) = (2, 0.01);
        let input = [net.image(0), net.image(1)].concat();
        let targets = vec![0.5; 2 * net.graph.nodes[1].shape.len()];
        let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-6 };
        for optimizer in [training.optimizer, adam] {
            training.optimizer = optimizer;
            // A filter of the first layer with its scale and bias, and one weight of the second.
            let (mut weights, mut kept) = (net.weights.clone(), net.weights.clone());
            kept.layers.iter_mut().flat_map(parameters).for_each(|number| *number = 1.0);
            for of in [&mut weights, &mut kept] {
                of.layers[0].weights[2 * 27..3 * 27].fill(0.0);
                of.layers[0].bias[2] = 0.0;
                of.layers[0].batch_norm.as_mut().unwrap().scale[2] = 0.0;
                of.layers[1].weights[5] = 0.0;
            }
            let mut trainer = Trainer::<f32>::new(&net.graph, &weights, &training, 0, 1)
                .unwrap()
                .with_kept(Some(kept.clone()));
            for _ in 0..3 {
                trainer.pass(&input, Truths::Targets(&targets), None);
                let (_, norm) = trainer.update();
                assert!(norm > 0.0);
            }
            let mut trained = trainer.weights();
            let layers = trained.layers.iter_mut().zip(&mut weights.layers).zip(&mut kept.layers);
            for ((trained, before), kept) in layers.take(2) {
                let numbers = parameters(trained).into_iter().zip(parameters(before)).zip(parameters(kept));
                for ((trained, before), kept) in numbers {
                    assert_eq!(*trained == *before, *kept == 0.0, "{before} to {trained} where {kept}");
                }
            }
        }
    }
}
