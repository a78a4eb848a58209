//! Trained numbers and their gradients.

use crate::scalar::Scalar;

/// What a parameter is, as far as optimisers care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights: the only ones that decay.
    Weights,
    Bias,
    /// Batch norm's γ.
    Scale,
}

/// One array of trained numbers.
#[derive(Debug, Clone)]
pub struct Parameter<T> {
    pub kind: Kind,
    pub value: Vec<T>,
    /// Gradient of the loss, summed over the images and passes since the last update.
    pub gradient: Vec<T>,
}

impl<T: Scalar> Parameter<T> {
    pub fn new(kind: Kind, value: Vec<T>) -> Self {
        let gradient = vec![T::ZERO; value.len()];
        Self { kind, value, gradient }
    }
}
