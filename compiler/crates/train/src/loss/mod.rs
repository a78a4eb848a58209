//! Losses of a network's last layers, as Darknet computes them.

use secateur_data::Truth;
use secateur_ir::Shape;

/// What a loss is told of the images of one pass.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The network's input.
    pub input: Shape,
    /// Labels of each image of the pass, in Darknet's order.
    pub truths: &'a [Vec<Truth>],
    /// Images seen in training before this pass (Darknet's `seen`).
    pub seen: u64,
}

/// The cost of one loss layer in one pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cost {
    /// The figure that Darknet prints, summed over the images of the pass.
    pub total: f64,
    /// Its parts by name (box, objectness, class), for the log.
    pub parts: Vec<(&'static str, f64)>,
}

/// A loss layer. It keeps what Darknet keeps between passes, such as counts of classes.
pub trait Loss: Send {
    /// Computes, from the layer's input `x` (`[image][c][h][w]`), its `output` of the same length and `delta`, minus the
    /// gradient of the loss by `x`. Earlier content of both is overwritten.
    fn forward(&mut self, x: &[f32], pass: &Pass<'_>, output: &mut [f32], delta: &mut [f32]) -> Cost;
}
