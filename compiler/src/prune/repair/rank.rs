//! The order in which units can go at the least cost after repair.

use rayon::prelude::*;

use super::super::Ranking;
use super::super::transform::Columns;
use super::solve::{Cholesky, dot};
use super::{Statistics, damping, uniform};
use crate::graph::{ChannelGroups, Graph, Source, Weights};

/// Ranks every group's units by what their readers lose beyond repair, one removal after another.
///
/// Removing input channel `c` of a layer with weights `W` and input moments `H` costs
/// `|W_c|² / (H⁻¹)_cc` once the others have taken over what they can (Hassibi & Stork, Optimal
/// Brain Surgeon, 1993, with a column as the unit). A unit's cost is the sum over its readers, each
/// relative to the energy of that reader's output.
///
/// The ranking also tells the costs: cumulative, after the first, the second, … unit of the order.
pub fn rank(graph: &Graph, groups: &ChannelGroups, weights: &Weights, statistics: &Statistics) -> Ranking {
    let (order, costs) = (0..groups.groups.len())
        .into_par_iter()
        .map(|group| rank_group(graph, groups, weights, statistics, group))
        .unzip();
    Ranking { order, costs: Some(costs) }
}

/// One layer that reads a group.
struct Reader {
    channels: usize,
    /// `[channels][channels]`: inverse of the damped moments of the channels that are left.
    inverse: Vec<f64>,
    /// `[channels][rows]`: the weights on each input channel, repairs included.
    columns: Vec<f64>,
    rows: usize,
    /// 1 / energy of the output.
    importance: f64,
    /// Channels of each of the group's units.
    of_unit: Vec<Vec<usize>>,
}

impl Reader {
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
        let centred = uniform(&graph.nodes[layer].op);
        let mut matrix = vec![0.0; channels * channels];
        for i in 0..channels {
            for j in 0..channels {
                matrix[i * channels + j] = moments.square(i, j, centred);
            }
        }
        let layout = Columns::of(graph, layer);
        let rows = graph.nodes[layer].shape.c * layout.window;
        let mut columns = vec![0.0; channels * rows];
        for channel in 0..channels {
            for row in 0..rows {
                let at = layout.range(row / layout.window, channel).start + row % layout.window;
                columns[channel * rows + row] = f64::from(weights.layers[layer].weights[at]);
            }
        }
        let mut energy = 0.0;
        for i in 0..channels {
            for j in 0..channels {
                let weight = dot(&columns[i * rows..][..rows], &columns[j * rows..][..rows]);
                energy += weight * matrix[i * channels + j];
            }
        }
        let lambda = damping(&mut matrix, channels, statistics.ridge);
        let inverse = Cholesky::new(matrix, channels, lambda).inverse();
        let units = &groups.groups[group].units;
        let of_unit = units
            .iter()
            .map(|unit| (0..channels).filter(|&channel| groups.unit_of(from, channel) == *unit).collect())
            .collect();
        Some(Self { channels, inverse, columns, rows, importance: 1.0 / energy.max(1e-30), of_unit })
    }

    fn cost(&self, unit: usize) -> f64 {
        let of_channel = |&channel: &usize| {
            let column = &self.columns[channel * self.rows..][..self.rows];
            dot(column, column) / self.inverse[channel * self.channels + channel]
        };
        self.importance * self.of_unit[unit].iter().map(of_channel).sum::<f64>()
    }

    /// Takes a unit's channels away and lets the others take over.
    fn remove(&mut self, unit: usize) {
        let n = self.channels;
        for &gone in &self.of_unit[unit] {
            let pivot = self.inverse[gone * n + gone];
            let factors: Vec<f64> = self.inverse[gone * n..][..n].iter().map(|v| v / pivot).collect();
            let row: Vec<f64> = self.inverse[gone * n..][..n].to_vec();
            let column: Vec<f64> = self.columns[gone * self.rows..][..self.rows].to_vec();
            for (channel, &factor) in factors.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
                for (weight, gone) in self.columns[channel * self.rows..][..self.rows].iter_mut().zip(&column)
                {
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
}

fn rank_group(
    graph: &Graph,
    groups: &ChannelGroups,
    weights: &Weights,
    statistics: &Statistics,
    group: usize,
) -> (Vec<usize>, Vec<f64>) {
    let consumers = &groups.groups[group].consumers;
    let mut readers: Vec<Reader> = consumers
        .iter()
        .filter_map(|&layer| Reader::new(graph, groups, weights, statistics, layer, group))
        .collect();
    let mut left: Vec<usize> = (0..groups.groups[group].units.len()).collect();
    let mut order = Vec::with_capacity(left.len());
    let mut costs = Vec::with_capacity(left.len());
    let mut spent = 0.0;
    while !left.is_empty() {
        let cost = |unit: usize| readers.iter().map(|reader| reader.cost(unit)).sum::<f64>();
        let next: Vec<f64> = left.iter().map(|&unit| cost(unit)).collect();
        let cheapest = super::super::criteria::ascending(&next)[0];
        spent += next[cheapest].max(0.0);
        costs.push(spent);
        let unit = left.remove(cheapest);
        readers.iter_mut().for_each(|reader| reader.remove(unit));
        order.push(unit);
    }
    (order, costs)
}
