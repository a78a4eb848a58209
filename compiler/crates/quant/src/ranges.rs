//! One scale and zero point for every tensor: classes of tensors that share them, and their ranges.

use std::collections::BTreeMap;

use super::histogram::{Histogram, RangeRule};
use super::numeric::Scale;
use super::prepare::Prepared;
use secateur_base::UnionFind;
use secateur_ir::{Op, Source};

/// An input of a route takes the output's scale if its own noise grows by no more than this factor, or if
/// nothing else reads it. Otherwise it is rescaled, which rounds a second time and so doubles the noise of one
/// rounding: below 2, joining is more precise. The margin is for the input's other consumers, which would be
/// as precise as before.
const UNIFY_NOISE: f64 = 1.5;

/// Scales of all tensors of a network.
#[derive(Debug, Clone)]
pub(crate) struct Scales {
    /// `[node]`
    pub(crate) nodes: Vec<Scale>,
}

impl Scales {
    pub(crate) fn of(&self, source: Source) -> Scale {
        match source {
            Source::Image => Scale::IMAGE,
            Source::Layer(i) => self.nodes[i],
        }
    }

    /// Chooses ranges from the nodes' histograms.
    pub(crate) fn choose(prepared: &Prepared, histograms: &[Histogram], rule: RangeRule) -> Self {
        let mut classes = ScaleClasses::build(prepared, histograms, rule);
        let mut nodes: Vec<Scale> = Vec::with_capacity(prepared.graph.nodes.len());
        let mut ranges: BTreeMap<usize, Scale> = BTreeMap::new();
        for (i, node) in prepared.graph.nodes.iter().enumerate() {
            let of = |source: Source| match source {
                Source::Image => Scale::IMAGE,
                Source::Layer(from) => nodes[from],
            };
            let scale = match &node.op {
                Op::Softmax(_) => Scale::SOFTMAX,
                Op::Upsample(up) if !up.reverse && up.scale != 1.0 => {
                    let input = of(node.inputs[0]);
                    Scale { scale: f64::from((input.scale * f64::from(up.scale)) as f32), ..input }
                }
                // 2·v − 1 over the same quantised values; half a step of the image is lost.
                Op::Crop(crop) if !crop.noadjust => {
                    Scale { scale: f64::from((Scale::IMAGE.scale * 2.0) as f32), zero_point: 0 }
                }
                op if copies(op) && classes.follows(i) => of(node.inputs[0]),
                _ => {
                    let root = classes.sets.find(i);
                    *ranges.entry(root).or_insert_with(|| Scale::of_range(classes.range(root, rule)))
                }
            };
            nodes.push(scale);
        }
        Self { nodes }
    }
}

/// Returns true if the operator forwards its first input's values, so that the scale must be the same.
fn copies(op: &Op) -> bool {
    match op {
        Op::MaxPool(_) | Op::Dropout | Op::Cost | Op::Reorg(_) => true,
        Op::Upsample(up) => !up.reverse && up.scale == 1.0,
        Op::Crop(crop) => crop.noadjust,
        op => op.is_head(),
    }
}

/// Nodes whose scale is fixed by something else than a histogram.
fn is_derived(op: &Op) -> bool {
    match op {
        Op::Softmax(_) => true,
        Op::Upsample(up) => !up.reverse && up.scale != 1.0,
        Op::Crop(crop) => !crop.noadjust,
        _ => false,
    }
}

/// ScaleClasses of nodes that share a scale, each with the pooled histogram of its producers.
struct ScaleClasses {
    sets: UnionFind,
    histogram: Vec<Option<Histogram>>,
    /// The node's scale follows its input's: a copy of the image or of a derived tensor.
    follows: Vec<bool>,
}

impl ScaleClasses {
    fn follows(&self, node: usize) -> bool {
        self.follows[node]
    }

    fn range(&self, root: usize, rule: RangeRule) -> (f64, f64) {
        self.histogram[root].as_ref().map_or((0.0, 0.0), |h| h.range(rule))
    }

    fn link(&mut self, a: usize, b: usize) {
        let Some((root, child)) = self.sets.union(a, b) else { return };
        let parts = [self.histogram[root].take(), self.histogram[child].take()];
        let parts: Vec<&Histogram> = parts.iter().flatten().collect();
        self.histogram[root] = (!parts.is_empty()).then(|| Histogram::pool(&parts));
    }

    fn build(prepared: &Prepared, histograms: &[Histogram], rule: RangeRule) -> Self {
        let graph = &prepared.graph;
        let count = graph.nodes.len();
        let producer = |i: usize| match &graph.nodes[i].op {
            // A concatenation's values are its inputs', which are pooled when they join.
            Op::Route(_) => false,
            op => !copies(op) && !is_derived(op),
        };
        let mut classes = Self {
            sets: UnionFind::new(count),
            histogram: (0..count).map(|i| producer(i).then(|| histograms[i].clone())).collect(),
            follows: vec![false; count],
        };
        let consumers = graph.consumers();
        // The node behind `source`, unless something else decides its scale.
        let free = |classes: &Self, source: &Source| match *source {
            Source::Image => None,
            Source::Layer(from) => {
                (!classes.follows[from] && !is_derived(&graph.nodes[from].op)).then_some(from)
            }
        };
        for (i, node) in graph.nodes.iter().enumerate() {
            if copies(&node.op) {
                match free(&classes, &node.inputs[0]) {
                    Some(from) => classes.link(from, i),
                    None => classes.follows[i] = true,
                }
            } else if matches!(node.op, Op::Route(_)) {
                let inputs: Vec<usize> = node.inputs.iter().filter_map(|s| free(&classes, s)).collect();
                let roots: Vec<usize> = inputs.iter().map(|&from| classes.sets.find(from)).collect();
                let parts: Vec<&Histogram> =
                    roots.iter().filter_map(|&r| classes.histogram[r].as_ref()).collect();
                let pooled = Histogram::pool(&parts);
                let range = pooled.range(rule);
                let joins = |from: usize, root: usize| {
                    let cheap = classes.histogram[root].as_ref().is_none_or(|own| {
                        let (low, high) = own.range(rule);
                        own.noise(range.0, range.1) <= UNIFY_NOISE * own.noise(low, high)
                    });
                    cheap || consumers[from].len() == 1 || inputs.len() == 1
                };
                let joining = inputs.iter().zip(&roots).filter(|&(&from, &root)| joins(from, root));
                let joining: Vec<usize> = joining.map(|(&from, _)| from).collect();
                if joining.len() < inputs.len() || inputs.len() < node.inputs.len() {
                    classes.histogram[i] = Some(histograms[i].clone());
                }
                for from in joining {
                    classes.link(from, i);
                }
            }
        }
        classes
    }
}
