//! One scale and zero point for every tensor: classes of tensors that share them, and their ranges.

use std::collections::BTreeMap;

use super::histogram::{Histogram, RangeRule};
use super::prepare::Prepared;
use super::requant::round_half_up;
use secateur_ir::{Op, Source};

/// A route's input joins the output's scale when its own noise grows by no more than this, or when
/// nobody else reads it.
const UNIFY_NOISE: f64 = 1.5;

/// The picture's scale: `q = pixel − 128`.
pub(crate) const IMAGE: Scale = Scale { scale: (1.0f32 / 255.0) as f64, zero_point: -128 };

/// What softmax yields: `q = round(256 · p) − 128`.
const SOFTMAX: Scale = Scale { scale: 1.0 / 256.0, zero_point: -128 };

/// Scale of a tensor that is zero everywhere.
const ZERO_TENSOR: Scale = Scale { scale: (1.0f32 / 255.0) as f64, zero_point: 0 };

/// Smallest scale, so that nothing underflows on the way.
const LEAST_SCALE: f64 = 1e-12;

/// `real = scale · (q − zero_point)`; the scale is exactly an `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) scale: f64,
    pub(crate) zero_point: i8,
}

impl Scale {
    /// The 8-bit scale over `[low, high]`, which holds zero.
    pub(crate) fn of_range((low, high): (f64, f64)) -> Self {
        if high - low <= 0.0 {
            return ZERO_TENSOR;
        }
        let scale = f64::from(((high - low) / 255.0).max(LEAST_SCALE) as f32);
        Self { scale, zero_point: round_half_up(-128.0 - low / scale).clamp(-128.0, 127.0) as i8 }
    }

    /// The integer nearest to `real`, saturated.
    pub(crate) fn quantise(self, real: f64) -> i8 {
        // A float cast saturates at the type's bounds.
        (round_half_up(real / self.scale) + f64::from(self.zero_point)) as i8
    }

    pub(crate) fn real(self, q: i8) -> f64 {
        self.scale * (f64::from(q) - f64::from(self.zero_point))
    }
}

/// Scales of all tensors of a network.
#[derive(Debug, Clone)]
pub(crate) struct Scales {
    /// `[node]`
    pub(crate) nodes: Vec<Scale>,
}

impl Scales {
    pub(crate) fn of(&self, source: Source) -> Scale {
        match source {
            Source::Image => IMAGE,
            Source::Layer(i) => self.nodes[i],
        }
    }

    /// Chooses ranges from the nodes' histograms.
    pub(crate) fn choose(prepared: &Prepared, histograms: &[Histogram], rule: RangeRule) -> Self {
        let classes = Classes::build(prepared, histograms, rule);
        let mut nodes: Vec<Scale> = Vec::with_capacity(prepared.graph.nodes.len());
        let mut ranges: BTreeMap<usize, Scale> = BTreeMap::new();
        for (i, node) in prepared.graph.nodes.iter().enumerate() {
            let of = |source: Source| match source {
                Source::Image => IMAGE,
                Source::Layer(from) => nodes[from],
            };
            let scale = match &node.op {
                Op::Softmax(_) => SOFTMAX,
                Op::Upsample(up) if !up.reverse && up.scale != 1.0 => {
                    let input = of(node.inputs[0]);
                    Scale { scale: f64::from((input.scale * f64::from(up.scale)) as f32), ..input }
                }
                // 2·v − 1 over the same codes; half a step of the picture is lost.
                Op::Crop(crop) if !crop.noadjust => {
                    Scale { scale: f64::from((IMAGE.scale * 2.0) as f32), zero_point: 0 }
                }
                op if copies(op) && classes.follows(i) => of(node.inputs[0]),
                _ => {
                    let root = classes.find(i);
                    *ranges.entry(root).or_insert_with(|| Scale::of_range(classes.range(root, rule)))
                }
            };
            nodes.push(scale);
        }
        Self { nodes }
    }
}

/// Whether the operator's output has its first input's codes, so that the scale must be the same.
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

/// Classes of nodes that share a scale, each with the pooled histogram of its producers.
struct Classes {
    parent: Vec<usize>,
    histogram: Vec<Option<Histogram>>,
    /// The node's scale follows its input's: a copy of the picture or of a derived tensor.
    follows: Vec<bool>,
}

impl Classes {
    fn find(&self, mut i: usize) -> usize {
        while self.parent[i] != i {
            i = self.parent[i];
        }
        i
    }

    fn follows(&self, node: usize) -> bool {
        self.follows[node]
    }

    fn range(&self, root: usize, rule: RangeRule) -> (f64, f64) {
        self.histogram[root].as_ref().map_or((0.0, 0.0), |h| h.range(rule))
    }

    fn link(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return;
        }
        let (root, child) = (a.min(b), a.max(b));
        self.parent[child] = root;
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
            parent: (0..count).collect(),
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
                let roots: Vec<usize> = inputs.iter().map(|&from| classes.find(from)).collect();
                let parts: Vec<&Histogram> =
                    roots.iter().filter_map(|&r| classes.histogram[r].as_ref()).collect();
                let pooled = Histogram::pool(&parts);
                let range = pooled.range(rule);
                let joins = |classes: &Self, from: usize| {
                    let own = classes.histogram[classes.find(from)].as_ref();
                    let cheap = own.is_none_or(|own| {
                        let (low, high) = own.range(rule);
                        own.noise(range.0, range.1) <= UNIFY_NOISE * own.noise(low, high)
                    });
                    cheap || consumers[from].len() == 1 || inputs.len() == 1
                };
                let joining: Vec<usize> =
                    inputs.iter().copied().filter(|&from| joins(&classes, from)).collect();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn zero_is_exact_and_values_in_range_are_within_half_a_step(
            low in -100.0f64..=0.0, high in 0.001f64..100.0, at in 0.0f64..=1.0,
        ) {
            let scale = Scale::of_range((low, high));
            prop_assert_eq!(scale.real(scale.quantise(0.0)), 0.0);
            let real = low + at * (high - low);
            // The zero point's own rounding moves the range by up to half a step.
            prop_assert!((scale.real(scale.quantise(real)) - real).abs() <= scale.scale * 1.01);
        }
    }

    #[test]
    fn an_empty_range_still_has_a_positive_scale() {
        assert_eq!(Scale::of_range((0.0, 0.0)), ZERO_TENSOR);
        assert!(Scale::of_range((0.0, 1e-30)).scale > 0.0);
    }
}
