//! Distillation: a network's heads are drawn to those of a trained one.

use rayon::prelude::*;
use secateur_base::{Error, Result};
use secateur_float::{Keep, Plan};
use secateur_ir::{Graph, Source, Weights};

/// A trained network whose heads' inputs another network follows.
pub struct Teacher {
    graph: Graph,
    weights: Weights,
    /// How strongly the heads are drawn, beside the labels.
    pub(crate) factor: f32,
    plan: Plan,
    /// Layers that feed the heads.
    sources: Vec<usize>,
}

/// Layers that feed the heads of a network.
fn head_sources(graph: &Graph) -> Vec<usize> {
    let heads = graph.nodes.iter().filter(|node| node.op.is_head());
    heads
        .filter_map(|head| match head.inputs[0] {
            Source::Layer(layer) => Some(layer),
            Source::Image => None,
        })
        .collect()
}

impl Teacher {
    /// A teacher for `student`.
    ///
    /// # Errors
    /// Their heads have not the same shapes, or they read images of different sizes.
    pub fn new(graph: &Graph, weights: &Weights, student: &Graph, factor: f32) -> Result<Self> {
        let shapes = |graph: &Graph| -> Vec<_> {
            head_sources(graph).into_iter().map(|layer| graph.nodes[layer].shape).collect()
        };
        let (own, other) = (shapes(graph), shapes(student));
        if own.is_empty() || own != other || graph.input != student.input {
            let list = |graph: &Graph, shapes: &[secateur_ir::Shape]| {
                let shapes: Vec<String> = shapes.iter().map(ToString::to_string).collect();
                format!("images of {}, heads of {}", graph.input, shapes.join(" and "))
            };
            return Err(Error::new("the teacher's heads are not those of the network")
                .found(list(graph, &own))
                .allowed(list(student, &other))
                .help("a teacher is the same detector before it was pruned"));
        }
        let sources = head_sources(graph);
        let plan = Plan::keeping(graph, weights, &Keep::Layers(sources.clone()))?;
        Ok(Self { graph: graph.clone(), weights: weights.clone(), factor, plan, sources })
    }

    /// The teacher for images of another size.
    ///
    /// # Errors
    /// As [`Graph::resized`].
    pub fn resize(&mut self, height: usize, width: usize) -> Result<()> {
        if (self.graph.input.h, self.graph.input.w) != (height, width) {
            self.graph = self.graph.resized(height, width)?;
            self.plan = Plan::keeping(&self.graph, &self.weights, &Keep::Layers(self.sources.clone()))?;
        }
        Ok(())
    }

    /// What the heads get for `images`, `[image][c][h][w]`: for each head `[image][c][h][w]`.
    pub fn heads(&self, images: &[f32]) -> Vec<Vec<f32>> {
        let of_image: Vec<Vec<Vec<f32>>> = images
            .par_chunks_exact(self.graph.input.len())
            .map_init(
                || self.plan.scratch(),
                |scratch, image| {
                    self.plan.run(scratch, image);
                    self.sources.iter().map(|&layer| self.plan.output(scratch, layer).to_vec()).collect()
                },
            )
            .collect();
        (0..self.sources.len())
            .map(|head| of_image.iter().flat_map(|heads| heads[head].clone()).collect())
            .collect()
    }
}
