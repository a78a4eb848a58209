//! What a network's int8 form rounds, in the numbers of the float network: training through quantisation needs it.

/// The largest quantised weight; −128 stays unused so that weights are symmetric.
pub const WEIGHT_LIMIT: f64 = 127.0;

/// `round(x)` with ties upwards, as everything in the integer contract.
#[inline(always)]
pub fn round_half_up(x: f64) -> f64 {
    (x + 0.5).floor()
}

/// The numbers that a channel can hold in int8: the multiples of `step` from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Positive.
    pub step: f32,
    pub low: f32,
    pub high: f32,
}

/// What is rounded of a layer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rounding {
    /// `[input channel]` factors: weights times their input's factor are rounded, each output channel by the step with
    /// which its largest is 127; empty: weights stay as they are.
    pub columns: Vec<f32>,
    /// Weights of one input channel in a filter: taps, or pixels of a connected layer's input.
    pub block: usize,
    /// `[channel]` what bias correction adds to the biases; empty: nothing.
    pub correction: Vec<f32>,
    /// `[channel]` where a table is the activation, what it reads; else empty.
    pub before: Vec<Grid>,
    /// `[channel]` the output; empty: the layer hands on numbers that are rounded already, or is no part of int8.
    pub output: Vec<Grid>,
}
