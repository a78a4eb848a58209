//! Operators on numbers worked out by hand from Darknet's definitions.

use super::super::{Keep, Plan, oracle};
use secateur_ir::{
    Activation, Axis, Conv, Graph, LayerWeights, Node, Op, Region, Reorg, Shape, Shortcut, ShortcutWeights,
    Softmax, Source, Upsample, Weights, WeightsNormalization,
};

/// Runs `op` on one image, plainly and fast, and returns the output that both agree on.
pub(super) fn run(op: Op, weights: LayerWeights, input: Shape, shape: Shape, x: &[f32]) -> Vec<f32> {
    let node = Node::new(op, vec![Source::Image], shape);
    run_graph(vec![node], vec![weights], input, x)
}

fn run_graph(nodes: Vec<Node>, layers: Vec<LayerWeights>, input: Shape, x: &[f32]) -> Vec<f32> {
    let graph = Graph { input, nodes, letter_box: false };
    let weights = Weights { layers };
    let plain = oracle::run(&graph, &weights, x).pop().unwrap();
    let plan = Plan::keeping(&graph, &weights, &Keep::All).unwrap();
    let mut scratch = plan.scratch();
    plan.run(&mut scratch, x);
    let fast = plan.output(&scratch, graph.nodes.len() - 1);
    for (a, b) in fast.iter().zip(&plain) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{fast:?} instead of {plain:?}");
    }
    plain
}

pub(super) fn range(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn reorg_moves_neighbours_into_channels() {
    let op = Op::Reorg(Reorg { stride: 2, reverse: false, old: false });
    let out = run(op, LayerWeights::default(), Shape::new(1, 2, 4), Shape::new(4, 1, 2), &range(8));
    assert_eq!(out, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
}

/// `reorg_old` walks the input's shape, so that a row of the output mixes distant places.
#[test]
fn reorg_old_keeps_darknets_order() {
    let op = Op::Reorg(Reorg { stride: 2, reverse: false, old: true });
    let out = run(op, LayerWeights::default(), Shape::new(4, 2, 2), Shape::new(16, 1, 1), &range(16));
    assert_eq!(out, [0.0, 2.0, 8.0, 10.0, 1.0, 3.0, 9.0, 11.0, 4.0, 6.0, 12.0, 14.0, 5.0, 7.0, 13.0, 15.0]);
}

#[test]
fn upsample_repeats_and_its_reverse_sums() {
    let up = Op::Upsample(Upsample { stride: 2, reverse: false, scale: 0.5 });
    let out = run(up, LayerWeights::default(), Shape::new(1, 1, 2), Shape::new(1, 2, 4), &[2.0, 4.0]);
    assert_eq!(out, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    let down = Op::Upsample(Upsample { stride: 2, reverse: true, scale: 1.0 });
    let out = run(down, LayerWeights::default(), Shape::new(1, 2, 4), Shape::new(1, 1, 2), &range(8));
    assert_eq!(out, [10.0, 18.0]);
}

#[test]
fn deconvolution_spreads_its_input() {
    let conv = Conv { stride: [2; 2], ..Conv::square(1, 2) };
    let weights =
        LayerWeights { bias: vec![1.0], weights: vec![1.0, 2.0, 3.0, 4.0], ..LayerWeights::default() };
    let out = run(Op::Deconv(conv), weights, Shape::new(1, 1, 2), Shape::new(1, 2, 4), &[1.0, 10.0]);
    assert_eq!(out, [2.0, 3.0, 11.0, 21.0, 4.0, 5.0, 31.0, 41.0]);
}

/// The sum has the first input's shape; of the others the common flat lead is added.
#[test]
fn shortcut_adds_the_common_lead() {
    let node = |op, inputs, c| Node::new(op, inputs, Shape::new(c, 1, 2));
    let weights =
        |w: &[f32]| LayerWeights { bias: vec![0.0; w.len()], weights: w.to_vec(), ..LayerWeights::default() };
    let sum = Op::Shortcut(Shortcut {
        activation: Activation::Linear,
        weights: ShortcutWeights::None,
        normalization: WeightsNormalization::None,
    });
    for (first, second, expected) in
        [(vec![1.0, 2.0, 3.0], vec![10.0], 3), (vec![1.0], vec![10.0, 20.0, 30.0], 1)]
    {
        let nodes = vec![
            node(Op::Conv(Conv::square(second.len(), 1)), vec![Source::Image], second.len()),
            node(Op::Conv(Conv::square(first.len(), 1)), vec![Source::Image], first.len()),
            node(sum.clone(), vec![Source::Layer(1), Source::Layer(0)], first.len()),
        ];
        let layers = vec![weights(&second), weights(&first), LayerWeights::default()];
        let out = run_graph(nodes, layers, Shape::new(1, 1, 2), &[1.0, 2.0]);
        let all = [11.0, 22.0, 2.0, 4.0, 3.0, 6.0];
        assert_eq!(out, all[..2 * expected]);
    }
}

#[test]
fn weighted_shortcut_normalises_its_factors() {
    let sum = |normalization| {
        Op::Shortcut(Shortcut {
            activation: Activation::Linear,
            weights: ShortcutWeights::PerFeature,
            normalization,
        })
    };
    for (normalization, expected) in
        [(WeightsNormalization::None, 4.0), (WeightsNormalization::Relu, 4.0 / (4.0 + 1e-4))]
    {
        let nodes = vec![
            Node::new(Op::Dropout, vec![Source::Image], Shape::new(1, 1, 1)),
            Node::new(sum(normalization), vec![Source::Layer(0), Source::Image], Shape::new(1, 1, 1)),
        ];
        let layers = vec![
            LayerWeights::default(),
            LayerWeights { weights: vec![3.0, 1.0], ..LayerWeights::default() },
        ];
        let out = run_graph(nodes, layers, Shape::new(1, 1, 1), &[1.0]);
        assert!((out[0] - expected).abs() < 1e-6, "{normalization:?}: {out:?}");
    }
}

#[test]
fn softmax_by_groups_and_by_pixels() {
    let layer = |groups, axis| Op::Softmax(Softmax { groups, temperature: 1.0, axis });
    let shape = Shape::new(2, 1, 2);
    let x = [0.0, 3.0f32.ln(), 0.0, 0.0];
    let out = run(layer(2, None), LayerWeights::default(), shape, shape, &x);
    assert!(out.iter().zip([0.25, 0.75, 0.5, 0.5]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
    let out = run(layer(1, Some(Axis::Channels)), LayerWeights::default(), shape, shape, &x);
    assert!(out.iter().zip([0.5, 0.75, 0.5, 0.25]).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
}

/// One anchor, one class, two cells: Darknet's CPU order is `[cell][entry]`.
#[test]
fn region_is_transposed_and_activated() {
    let region =
        Region { classes: 2, coords: 4, anchors: vec![(1.0, 1.0)], softmax: true, background: false };
    let shape = Shape::new(7, 1, 2);
    let mut x = range(14);
    x[8..].fill(0.0);
    let out = run(Op::Region(region), LayerWeights::default(), shape, shape, &x);
    let expected = [0.0, 2.0, 4.0, 6.0, 0.5, 0.5, 0.5, 1.0, 3.0, 5.0, 7.0, 0.5, 0.5, 0.5];
    assert!(out.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{out:?}");
}

/// pjreddie's `shortcut_cpu`: of a larger input every second pixel, to a larger sum at every second pixel.
#[test]
fn sums_of_maps_of_two_sizes() {
    let sum = Op::Shortcut(Shortcut {
        activation: Activation::Linear,
        weights: ShortcutWeights::None,
        normalization: WeightsNormalization::None,
    });
    let pool = Op::MaxPool(secateur_ir::Pool::square(2, 2));
    let nodes = |inputs: [Source; 2], shape| {
        let small = Node::new(pool.clone(), vec![Source::Image], Shape::new(1, 2, 2));
        vec![small, Node::new(sum.clone(), inputs.to_vec(), shape)]
    };
    let layers = || vec![LayerWeights::default(); 2];
    let input = Shape::new(1, 4, 4);
    let x = range(16);
    let down = nodes([Source::Layer(0), Source::Image], Shape::new(1, 2, 2));
    assert_eq!(run_graph(down, layers(), input, &x), [5.0 + 0.0, 7.0 + 2.0, 13.0 + 8.0, 15.0 + 10.0]);
    let up = nodes([Source::Image, Source::Layer(0)], input);
    let mut expected = x.clone();
    for (at, value) in [(0, 5.0), (2, 7.0), (8, 13.0), (10, 15.0)] {
        expected[at] += value;
    }
    assert_eq!(run_graph(up, layers(), input, &x), expected);
}
