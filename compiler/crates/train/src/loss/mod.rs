//! Losses of a network's last layers, as Darknet computes them.
//!
//! A layer hands back a `delta`, by which its input is to be moved: minus the gradient of a loss, or what Darknet
//! computes instead. The cost that is printed is another figure where Darknet's is.

use secateur_data::Truth;
use secateur_ir::training::{LayerLoss, LayerTraining};
use secateur_ir::{Graph, Op, Shape};

mod cost;
mod detection;
mod entries;
mod iou;
mod math;
mod region;
mod softmax;
#[cfg(test)]
mod tests;
mod yolo;

/// One pass: the images that go through the network at once, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The network's input.
    pub input: Shape,
    pub truths: Truths<'a>,
    /// Images seen in training before this pass (Darknet's `seen` counts those of the pass, too).
    pub seen: u64,
}

/// Labels of the images of one pass.
#[derive(Debug, Clone, Copy)]
pub enum Truths<'a> {
    /// Labelled boxes of each image, in Darknet's order.
    Boxes(&'a [Vec<Truth>]),
    /// Targets of the last layer's values, `[image][value]`: of a classifier 1 for the image's class and 0 for all
    /// others, or between them where images or labels are mixed.
    Targets(&'a [f32]),
}

impl<'a> Truths<'a> {
    /// Returns the boxes of each image.
    fn boxes(self) -> &'a [Vec<Truth>] {
        match self {
            Truths::Boxes(boxes) => boxes,
            Truths::Targets(_) => panic!("a detector's loss needs boxes"),
        }
    }

    /// Returns the targets of `values` values.
    fn targets(self, values: usize) -> &'a [f32] {
        match self {
            Truths::Targets(targets) => {
                assert_eq!(targets.len(), values, "one target for every value of the layer");
                targets
            }
            Truths::Boxes(_) => panic!("a classifier's loss needs targets"),
        }
    }
}

/// The cost of one loss layer in one pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// The figure that Darknet prints, summed over the images of the pass.
    pub total: f64,
    /// Its terms by name (box, objectness, class), for the log; empty if it has none. Their sum differs from it by
    /// Darknet's rounding.
    pub parts: Vec<(&'static str, f64)>,
}

/// A loss layer.
pub trait Loss: Send + Sync {
    /// Computes, from the layer's input `x` (`[image][c][h][w]`), `delta`, by which `x` is to be moved, and, if asked
    /// for, the layer's `output`; both have the length of `x`, and earlier content is overwritten.
    ///
    /// The output has the order of the network's at inference; of a [`Op::Cost`] it is the cost of every value.
    ///
    /// # Panics
    /// If `pass` has truths of the other kind, or lengths do not fit.
    fn forward(&self, x: &[f32], pass: &Pass<'_>, output: Option<&mut [f32]>, delta: &mut [f32]) -> Cost;

    /// Adds to `delta` what draws the layer's input `x` to `target`, the same input in a teacher, `factor` times as
    /// strongly as the labels draw it. Returns half the sum of the squares of what was added.
    fn imitate(&self, x: &[f32], target: &[f32], factor: f32, delta: &mut [f32]) -> f64 {
        let mut cost = 0.0;
        for ((delta, &x), &target) in delta.iter_mut().zip(x).zip(target) {
            let pull = factor * (target - x);
            *delta += pull;
            cost += 0.5 * f64::from(pull) * f64::from(pull);
        }
        cost
    }
}

/// Returns the loss of every layer of a network that has one, by node.
pub fn of_graph(graph: &Graph, layers: &[LayerTraining]) -> Vec<Option<Box<dyn Loss>>> {
    let nodes = graph.nodes.iter().zip(layers).enumerate();
    nodes.map(|(i, (node, training))| of_layer(&node.op, training, graph.input_shape(i))).collect()
}

/// Returns the loss of a layer with `input`, if it has one.
///
/// # Panics
/// If `training` describes the loss of another operator.
pub fn of_layer(op: &Op, training: &LayerTraining, input: Shape) -> Option<Box<dyn Loss>> {
    Some(match (op, training.loss.clone()?) {
        (Op::Yolo(head), LayerLoss::Yolo(loss)) => Box::new(yolo::YoloLayer::new(head.clone(), loss, input)),
        (Op::Region(head), LayerLoss::Region(loss)) => {
            Box::new(region::RegionLayer::new(head.clone(), loss, input))
        }
        (Op::Detection(head), LayerLoss::Detection(loss)) => {
            Box::new(detection::DetectionLayer::new(head.clone(), loss))
        }
        (Op::Softmax(softmax), LayerLoss::Softmax) => {
            Box::new(softmax::SoftmaxLayer::new(softmax.clone(), input))
        }
        (Op::Cost, LayerLoss::Cost(loss)) => Box::new(cost::CostLayer::new(loss)),
        (op, loss) => panic!("{} has no {loss:?}", op.name()),
    })
}
