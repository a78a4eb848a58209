//! Cross-layer equalisation (CLE): per-channel ranges become even, and the float function stays.
//!
//! A *class* is a set of (tensor, channel) that operators without weights force to share a factor.
//! Every class gets a positive factor `s`: producers' rows and biases are divided by it, consumers'
//! columns multiplied. Exact wherever the activation between is homogeneous; elsewhere `s` is 1.
//!
//! A leaky channel with a mostly negative range is *negated*: its integers represent `−x`, so that its tensor
//! needs no range on the side that no other channel uses. `s` is then negative, weights are scaled by its
//! size, and the integer layers take signs from [`Prepared::negated`]; exact too, since every channel has
//! slopes of its own.
//! After Nagel et al. 2019 ("Data-free quantization"), with the statistic of `docs/quantize.md`.

use super::calibrate::Extremes;
use super::numeric::TwoSlope;
use super::prepare::Prepared;
use secateur_base::UnionFind;
use secateur_ir::{Op, Source};

/// ChannelFactors stay within this of their tensor's geometric mean.
const CLIP: f64 = 64.0;

/// Classes of the channels of all tensors: the image's first, then every node's.
struct ChannelClasses {
    sets: UnionFind,
    fixed: Vec<bool>,
    /// Index of every node's channel 0.
    first: Vec<usize>,
}

impl ChannelClasses {
    fn new(prepared: &Prepared) -> Self {
        let mut total = prepared.graph.input.c;
        let first = prepared.graph.nodes.iter().map(|node| {
            let first = total;
            total += node.shape.c;
            first
        });
        let first = first.collect();
        Self { sets: UnionFind::new(total), fixed: vec![false; total], first }
    }

    fn slot(&self, source: Source, channel: usize) -> usize {
        match source {
            Source::Image => channel,
            Source::Layer(i) => self.first[i] + channel,
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        if let Some((root, absorbed)) = self.sets.union(a, b) {
            self.fixed[root] |= self.fixed[absorbed];
        }
    }

    fn fix(&mut self, slot: usize) {
        let root = self.sets.find(slot);
        self.fixed[root] = true;
    }

    fn fix_all(&mut self, prepared: &Prepared, source: Source) {
        for c in 0..prepared.graph.shape_of(source).c {
            self.fix(self.slot(source, c));
        }
    }

    /// Links what the operators of the network link.
    fn build(prepared: &Prepared) -> Self {
        let mut classes = Self::new(prepared);
        let graph = &prepared.graph;
        classes.fix_all(prepared, Source::Image);
        for (i, node) in graph.nodes.iter().enumerate() {
            let output = Source::Layer(i);
            match &node.op {
                Op::Conv(conv) if TwoSlope::of(conv.activation).is_some_and(TwoSlope::is_homogeneous) => {}
                Op::Connected(full)
                    if TwoSlope::of(full.activation).is_some_and(TwoSlope::is_homogeneous) => {}
                Op::Conv(_) if prepared.is_table(i) => {
                    classes.fix_all(prepared, node.inputs[0]);
                    classes.fix_all(prepared, output);
                }
                Op::Conv(_) | Op::Connected(_) => classes.fix_all(prepared, output),
                Op::MaxPool(pool) if pool.depth.is_none() => {
                    classes.link_all(prepared, node.inputs[0], output)
                }
                Op::AvgPool | Op::LocalAvgPool(_) | Op::Upsample(_) | Op::Dropout | Op::Cost => {
                    classes.link_all(prepared, node.inputs[0], output);
                }
                Op::Route(route) => {
                    let mut at = 0;
                    for &input in &node.inputs {
                        let part = graph.shape_of(input).c / route.groups;
                        for c in 0..part {
                            let from = classes.slot(input, route.group_id * part + c);
                            classes.link(from, classes.slot(output, at + c));
                        }
                        at += part;
                    }
                }
                Op::Shortcut(shortcut) => {
                    for &input in &node.inputs {
                        for c in 0..graph.shape_of(input).c.min(node.shape.c) {
                            classes.link(classes.slot(input, c), classes.slot(output, c));
                        }
                    }
                    if !TwoSlope::of(shortcut.activation).is_some_and(TwoSlope::is_homogeneous) {
                        classes.fix_all(prepared, output);
                    }
                }
                Op::Reorg(reorg) if !reorg.old => {
                    // Darknet's order: packed channel = (dy · stride + dx) · channels + c.
                    let (spread, packed) =
                        if reorg.reverse { (output, node.inputs[0]) } else { (node.inputs[0], output) };
                    let channels = graph.shape_of(spread).c;
                    for c in 0..graph.shape_of(packed).c {
                        classes.link(classes.slot(spread, c % channels), classes.slot(packed, c));
                    }
                }
                Op::ScaleChannels(_) | Op::Sam(_) => {
                    classes.fix_all(prepared, node.inputs[0]);
                    classes.link_all(prepared, node.inputs[1], output);
                }
                _ => {
                    for &input in &node.inputs {
                        classes.fix_all(prepared, input);
                    }
                    classes.fix_all(prepared, output);
                }
            }
        }
        let consumers = graph.consumers();
        for (i, readers) in consumers.iter().enumerate() {
            if readers.is_empty() {
                classes.fix_all(prepared, Source::Layer(i));
            }
        }
        classes
    }

    fn link_all(&mut self, prepared: &Prepared, from: Source, to: Source) {
        for c in 0..prepared.graph.shape_of(to).c {
            self.link(self.slot(from, c), self.slot(to, c));
        }
    }
}

/// ChannelFactors of every tensor's channels.
#[derive(Debug, Clone)]
pub(crate) struct ChannelFactors {
    /// `[node][channel]`, negative for a negated channel.
    pub(crate) nodes: Vec<Vec<f64>>,
}

impl ChannelFactors {
    /// ChannelFactors that change nothing.
    pub(crate) fn ones(prepared: &Prepared) -> Self {
        Self { nodes: prepared.graph.nodes.iter().map(|node| vec![1.0; node.shape.c]).collect() }
    }
}

/// Chooses the factors from what the channels reach on the calibration images.
pub(crate) fn choose(prepared: &Prepared, extremes: &Extremes) -> ChannelFactors {
    let mut classes = ChannelClasses::build(prepared);
    let roots = classes.sets.roots();
    let slots = roots.len();
    let mut reach = vec![0f64; slots];
    for (i, channels) in extremes.largest().iter().enumerate() {
        for (c, &x) in channels.iter().enumerate() {
            let root = roots[classes.first[i] + c];
            reach[root] = reach[root].max(f64::from(x));
        }
    }
    let share = dense_shares(prepared, &classes, &roots);
    let group = groups(prepared, &classes, &roots);
    let free = |slot: usize| {
        let alive = reach[slot] > 0.0 && reach[slot].is_finite();
        roots[slot] == slot && !classes.fixed[slot] && alive
    };
    let mut factor: Vec<Option<f64>> = (0..slots)
        .map(|slot| {
            let share = share[slot].filter(|_| free(slot))?;
            Some((reach[slot] / share.max(f64::MIN_POSITIVE)).sqrt())
        })
        .collect();
    // Weights do not mind by how much a channel is divided that depthwise layers alone read: it shall
    // reach as far as those that it shares tensors with.
    let mut level = vec![0f64; slots];
    for slot in 0..slots {
        if let Some(factor) = factor[slot] {
            level[group[slot]] = level[group[slot]].max(reach[slot] / factor);
        }
    }
    for slot in (0..slots).filter(|&slot| free(slot) && share[slot].is_none()) {
        let level = level[group[slot]];
        factor[slot] = Some(reach[slot] / if level > 0.0 { level } else { 1.0 });
    }
    normalise(&group, &mut factor);
    let mut nodes: Vec<Vec<f64>> = prepared
        .graph
        .nodes
        .iter()
        .zip(&classes.first)
        .map(|(node, first)| (0..node.shape.c).map(|c| factor[roots[first + c]].unwrap_or(1.0)).collect())
        .collect();
    for (i, factors) in nodes.iter_mut().enumerate().filter(|(i, _)| can_negate(prepared, *i)) {
        for (c, factor) in factors.iter_mut().enumerate() {
            if -extremes.low[i][c] > extremes.high[i][c] {
                *factor = -*factor;
            }
        }
    }
    ChannelFactors { nodes }
}

/// Returns true if channels of `node` can be negated: its activation has two slopes, of which the steeper
/// makes the wider side, and all its consumers have weights.
fn can_negate(prepared: &Prepared, node: usize) -> bool {
    let weighted = |i: usize| match &prepared.graph.nodes[i].op {
        Op::Conv(conv) if !prepared.is_table(i) => Some(conv.activation),
        Op::Connected(full) => Some(full.activation),
        _ => None,
    };
    let slopes = weighted(node).and_then(TwoSlope::of);
    let readers = prepared
        .graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, reader)| reader.inputs.contains(&Source::Layer(node)));
    let mut readers = readers.map(|(i, _)| weighted(i).is_some()).peekable();
    slopes.is_some_and(|s| s.is_homogeneous() && s.positive != s.negative)
        && readers.peek().is_some()
        && readers.all(|weighted| weighted)
}

/// For classes with a dense consumer, their column's greatest share of a row's greatest weight.
fn dense_shares(prepared: &Prepared, classes: &ChannelClasses, roots: &[usize]) -> Vec<Option<f64>> {
    let mut shares: Vec<Option<f64>> = vec![None; roots.len()];
    for (i, node) in prepared.graph.nodes.iter().enumerate() {
        let rows = match &node.op {
            Op::Conv(conv) if !node.op.is_depthwise(prepared.graph.input_shape(i).c) => {
                WeightLayout::of_conv(prepared, i, conv.groups)
            }
            Op::Connected(_) => WeightLayout::of_connected(prepared, i),
            _ => continue,
        };
        for (o, row) in prepared.weights.layers[i].weights.chunks_exact(rows.columns * rows.block).enumerate()
        {
            let peak = |w: &[f32]| w.iter().fold(0f32, |m, w| m.max(w.abs()));
            let row_peak = peak(row);
            if row_peak <= 0.0 {
                continue;
            }
            for (k, block) in row.chunks_exact(rows.block).enumerate() {
                let root = roots[classes.slot(node.inputs[0], rows.first_input(o) + k)];
                let share = f64::from(peak(block) / row_peak);
                shares[root] = Some(shares[root].unwrap_or(0.0).max(share));
            }
        }
    }
    shares
}

/// Layout of a layer's weights: rows of `columns` input channels of `block` weights.
struct WeightLayout {
    columns: usize,
    block: usize,
    rows_per_group: usize,
}

impl WeightLayout {
    fn of_conv(prepared: &Prepared, node: usize, groups: usize) -> Self {
        let Op::Conv(conv) = &prepared.graph.nodes[node].op else {
            unreachable!("called for convolutions only")
        };
        let columns = prepared.graph.input_shape(node).c / groups;
        Self { columns, block: conv.taps(), rows_per_group: conv.filters / groups }
    }

    fn of_connected(prepared: &Prepared, node: usize) -> Self {
        let input = prepared.graph.input_shape(node);
        Self {
            columns: input.c,
            block: input.plane(),
            rows_per_group: prepared.graph.nodes[node].shape.len(),
        }
    }

    /// The input channel of row `row`'s first column.
    fn first_input(&self, row: usize) -> usize {
        row / self.rows_per_group * self.columns
    }
}

/// For every class, by its root, a number that it shares with all classes of the tensors that it is in.
fn groups(prepared: &Prepared, classes: &ChannelClasses, roots: &[usize]) -> Vec<usize> {
    let mut groups = UnionFind::new(roots.len());
    let mut links = |channels: usize, first: usize| {
        for c in 1..channels {
            groups.union(roots[first], roots[first + c]);
        }
    };
    links(prepared.graph.input.c, 0);
    for (i, node) in prepared.graph.nodes.iter().enumerate() {
        links(node.shape.c, classes.first[i]);
    }
    groups.roots()
}

/// Divides the factors of a group by their geometric mean, and clips them.
fn normalise(group: &[usize], factor: &mut [Option<f64>]) {
    let mut logs = vec![(0.0f64, 0usize); group.len()];
    for (i, f) in factor.iter().enumerate() {
        if let Some(f) = f {
            logs[group[i]].0 += libm::log(*f);
            logs[group[i]].1 += 1;
        }
    }
    for (i, f) in factor.iter_mut().enumerate() {
        if let Some(f) = f {
            let (sum, count) = logs[group[i]];
            *f = (*f / libm::exp(sum / count as f64)).clamp(1.0 / CLIP, CLIP);
        }
    }
}

/// Rescales the weights by the size of `factors`; the network computes the same, channel by channel
/// divided. Channels of negative factors become negated.
pub(crate) fn apply(prepared: &mut Prepared, factors: &ChannelFactors) {
    let graph = &prepared.graph;
    for i in 0..graph.nodes.len() {
        if prepared.is_table(i) {
            continue;
        }
        let rows = match &graph.nodes[i].op {
            Op::Conv(conv) => WeightLayout::of_conv(prepared, i, conv.groups),
            Op::Connected(_) => WeightLayout::of_connected(prepared, i),
            _ => continue,
        };
        let input = graph.nodes[i].inputs[0];
        let input_factor = |c: usize| match input {
            Source::Image => 1.0,
            Source::Layer(from) => factors.nodes[from][c].abs(),
        };
        let numbers = &mut prepared.weights.layers[i];
        for (o, row) in numbers.weights.chunks_exact_mut(rows.columns * rows.block).enumerate() {
            let divisor = factors.nodes[i][o].abs();
            for (k, block) in row.chunks_exact_mut(rows.block).enumerate() {
                let factor = input_factor(rows.first_input(o) + k) / divisor;
                block.iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            }
        }
        for (bias, divisor) in numbers.bias.iter_mut().zip(&factors.nodes[i]) {
            *bias = (f64::from(*bias) / divisor.abs()) as f32;
        }
    }
    let negated = factors.nodes.iter().map(|factors| factors.iter().map(|&f| f < 0.0).collect());
    prepared.negated = negated.collect();
}
