//! An operator of the engine.

use super::epilogue::RawGradient;
use super::gradients::Gradients;
use super::parameter::Parameter;
use super::scratch::Scratches;
use super::value::{Row, Value, View};
use crate::scalar::Scalar;

/// The maps that operators read.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a, T>(pub &'a [Value<T>]);

impl<'a, T: Scalar> Maps<'a, T> {
    /// Every channel of a view.
    pub(super) fn rows(&self, view: &View) -> Vec<Row<'a, T>> {
        view.channels.iter().map(|&(value, channel)| self.0[value].row(channel)).collect()
    }
}

/// What an operator is given on its way forward.
pub(super) struct Forward<'a, T> {
    pub inputs: &'a [View],
    pub maps: Maps<'a, T>,
    /// Its own map, whose raw numbers it writes.
    pub out: &'a mut Value<T>,
    /// Number of the pass since training began; random masks depend on it.
    pub pass: u64,
    /// Batch norm asks for the moments of what is computed, in `out`; without them it takes them itself.
    pub wants_moments: bool,
    pub scratches: &'a Scratches<T>,
}

/// What an operator is given on its way back.
pub(super) struct Backward<'a, T> {
    pub inputs: &'a [View],
    pub maps: Maps<'a, T>,
    pub out: &'a Value<T>,
    /// By its raw numbers.
    pub gradient: &'a RawGradient<'a, T>,
    /// The operator's node.
    pub node: usize,
    pub gradients: &'a mut Gradients<T>,
    pub scratches: &'a Scratches<T>,
}

/// One operator over all images of a pass, without normalisation, bias and activation.
pub(super) trait Operator<T: Scalar>: Send {
    /// Computes the raw numbers.
    fn forward(&mut self, forward: Forward<'_, T>);

    /// Hands the gradients of its inputs back, and adds those of its parameters.
    fn backward(&mut self, backward: Backward<'_, T>);

    /// Its parameters, in Darknet's order.
    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        Vec::new()
    }
}
