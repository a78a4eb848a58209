//! Removal of units one after another, each time the one that costs least after reconstruction.

use std::ops::Range;

use rayon::prelude::*;

use super::solve::{Cholesky, dot};
use super::{Moments, Statistics, damping, uniform};
use crate::criteria::ascending;
use secateur_ir::{ChannelGroups, Columns, Graph, Source, Weights};

/// The order in which units are removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Elimination {
    /// The units, the first to be removed first.
    pub order: Vec<usize>,
    /// Squared error of the consumers when the first, the second, … of them is gone: it never falls.
    pub costs: Vec<f64>,
}

/// Removes the channels of a group by the error that their consumers are left with.
///
/// Removing input channel `c` of a layer with weights `W` and input moments `H` costs
/// `|W_c|² / (H⁻¹)_cc` once the others have taken over what they can (Hassibi & Stork, Optimal
/// Brain Surgeon, 1993, with a column as the unit). A unit's cost is the sum over its consumers, each
/// relative to the energy of that consumer's output.
pub fn eliminate_channels(
    graph: &Graph,
    groups: &ChannelGroups,
    weights: &Weights,
    statistics: &Statistics,
    group: usize,
) -> Elimination {
    let consumers = &groups.groups[group].consumers;
    let mut consumers: Vec<Consumer> = consumers
        .iter()
        .filter_map(|&layer| Consumer::new(graph, groups, weights, statistics, layer, group))
        .collect();
    let mut left: Vec<usize> = (0..groups.groups[group].units.len()).collect();
    let mut order = Vec::with_capacity(left.len());
    let mut costs = Vec::with_capacity(left.len());
    let mut spent = 0.0;
    while !left.is_empty() {
        let cost = |unit: usize| consumers.iter().map(|consumer| consumer.cost(unit)).sum::<f64>();
        let next: Vec<f64> = left.iter().map(|&unit| cost(unit)).collect();
        let cheapest = ascending(&next)[0];
        spent += next[cheapest].max(0.0);
        costs.push(spent);
        let unit = left.remove(cheapest);
        consumers.iter_mut().for_each(|consumer| consumer.remove(unit));
        order.push(unit);
    }
    Elimination { order, costs }
}

/// Removes the vectors of a dense layer, `rows` outputs each, by the error that the layer is left with.
///
/// Inputs are removed from a block of outputs one after another as channels from a network in
/// [`eliminate_channels`]; among the blocks, the cheapest next one is removed first. Unit `block · inputs +
/// input`.
///
/// # Panics
/// On a layer that reads the image, or is not dense.
pub fn eliminate_vectors(
    graph: &Graph,
    weights: &Weights,
    statistics: &Statistics,
    layer: usize,
    rows: usize,
) -> Elimination {
    let (outputs, inputs) = (graph.nodes[layer].shape.c, graph.input_shape(layer).c);
    let inverse = inverse_moments(graph, statistics, layer).expect("a dense layer that reads another layer");
    let blocks: Vec<Vec<(usize, f64)>> = (0..outputs.div_ceil(rows))
        .into_par_iter()
        .map(|block| {
            let members = block * rows..outputs.min((block + 1) * rows);
            let columns = read_columns(graph, weights, layer, members);
            let mut rest = Remainder { channels: inputs, inverse: inverse.clone(), columns };
            let mut left: Vec<usize> = (0..inputs).collect();
            let mut highest = 0.0f64;
            let next = || {
                let costs: Vec<f64> = left.iter().map(|&input| rest.cost(input)).collect();
                let cheapest = ascending(&costs)[0];
                // The error of all that is gone never falls.
                highest = highest.max(costs[cheapest]);
                let input = left.remove(cheapest);
                rest.remove(input);
                (block * inputs + input, highest)
            };
            std::iter::repeat_with(next).take(inputs).collect()
        })
        .collect();
    let mut all: Vec<(usize, f64)> = blocks.concat();
    // Stable: within a block the order is kept, for its costs rise.
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut spent = 0.0;
    let costs = all.iter().map(|&(_, cost)| {
        spent += cost;
        spent
    });
    let costs = costs.collect();
    Elimination { order: all.into_iter().map(|(unit, _)| unit).collect(), costs }
}

/// Inverse of the damped moments of the channels that a layer reads, `[channels][channels]`.
fn inverse_moments(graph: &Graph, statistics: &Statistics, layer: usize) -> Option<Vec<f64>> {
    let moments = statistics.of(graph, layer)?;
    let mut matrix = second_moments(graph, moments, layer);
    let lambda = damping(&mut matrix, moments.channels, statistics.ridge);
    Some(Cholesky::new(matrix, moments.channels, lambda).inverse())
}

fn second_moments(graph: &Graph, moments: &Moments, layer: usize) -> Vec<f64> {
    let (n, centred) = (moments.channels, uniform(&graph.nodes[layer].op));
    if centred && !moments.vary() {
        return vec![0.0; n * n];
    }
    (0..n * n).map(|at| moments.square(at / n, at % n, centred)).collect()
}

/// The weights of some outputs on each input channel, `[channels][outputs · window]`.
fn read_columns(graph: &Graph, weights: &Weights, layer: usize, outputs: Range<usize>) -> Vec<f64> {
    let layout = &Columns::of(graph, layer);
    let channels = graph.input_shape(layer).c;
    let column = |channel: usize| outputs.clone().flat_map(move |output| layout.range(output, channel));
    let indices = (0..channels).flat_map(column);
    indices.map(|at| f64::from(weights.layers[layer].weights[at])).collect()
}

/// A layer's weights while its input channels are removed one after another.
struct Remainder {
    channels: usize,
    /// `[channels][channels]`: inverse of the damped moments of the channels that are left.
    inverse: Vec<f64>,
    /// `[channels][rows]`: the weights on each input channel, reconstruction included.
    columns: Vec<f64>,
}

impl Remainder {
    fn rows(&self) -> usize {
        self.columns.len() / self.channels
    }

    /// Squared error that the removal of one channel adds, the others having taken over.
    fn cost(&self, channel: usize) -> f64 {
        let column = &self.columns[channel * self.rows()..][..self.rows()];
        dot(column, column) / self.inverse[channel * self.channels + channel]
    }

    /// Takes a channel away and lets the others take over.
    fn remove(&mut self, gone: usize) {
        let (n, rows) = (self.channels, self.rows());
        let pivot = self.inverse[gone * n + gone];
        let factors: Vec<f64> = self.inverse[gone * n..][..n].iter().map(|v| v / pivot).collect();
        let row: Vec<f64> = self.inverse[gone * n..][..n].to_vec();
        let column: Vec<f64> = self.columns[gone * rows..][..rows].to_vec();
        for (channel, &factor) in factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
            for (weight, gone) in self.columns[channel * rows..][..rows].iter_mut().zip(&column) {
                *weight -= factor * gone;
            }
            for (value, gone) in self.inverse[channel * n..][..n].iter_mut().zip(&row) {
                *value -= factor * gone;
            }
        }
        // Exactly zero from here on, so that it takes no part.
        self.inverse[gone * n..][..n].fill(0.0);
        (0..n).for_each(|channel| self.inverse[channel * n + gone] = 0.0);
        self.inverse[gone * n + gone] = 1.0;
    }
}

/// One layer that reads a group.
struct Consumer {
    rest: Remainder,
    /// 1 / energy of the output; 0 where the output never varies and so loses nothing.
    importance: f64,
    /// Channels of each of the group's units.
    of_unit: Vec<Vec<usize>>,
}

impl Consumer {
    fn new(
        graph: &Graph,
        groups: &ChannelGroups,
        weights: &Weights,
        statistics: &Statistics,
        layer: usize,
        group: usize,
    ) -> Option<Self> {
        let moments = statistics.of(graph, layer)?;
        let Source::Layer(from) = graph.nodes[layer].inputs[0] else { return None };
        let channels = moments.channels;
        let matrix = second_moments(graph, moments, layer);
        let columns = read_columns(graph, weights, layer, 0..graph.nodes[layer].shape.c);
        let rows = columns.len() / channels;
        let mut energy = 0.0;
        for i in 0..channels {
            for j in 0..channels {
                let weight = dot(&columns[i * rows..][..rows], &columns[j * rows..][..rows]);
                energy += weight * matrix[i * channels + j];
            }
        }
        let inverse = inverse_moments(graph, statistics, layer)?;
        let units = &groups.groups[group].units;
        let of_unit = units
            .iter()
            .map(|unit| (0..channels).filter(|&channel| groups.unit_of(from, channel) == *unit).collect())
            .collect();
        let rest = Remainder { channels, inverse, columns };
        let importance = if energy > 0.0 { 1.0 / energy.max(1e-30) } else { 0.0 };
        Some(Self { rest, importance, of_unit })
    }

    fn cost(&self, unit: usize) -> f64 {
        self.importance * self.of_unit[unit].iter().map(|&channel| self.rest.cost(channel)).sum::<f64>()
    }

    /// Takes a unit's channels away.
    fn remove(&mut self, unit: usize) {
        self.of_unit[unit].iter().for_each(|&channel| self.rest.remove(channel));
    }
}
