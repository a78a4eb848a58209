//! The cut of networks with operators that Darknet does not have.

use crate::mask::zero_filter;
use crate::{Masks, transform};
use secateur_float::oracle;
use secateur_ir::{
    Activation, Axis, ChannelGroups, Connected, Conv, Coordinates, Divisor, Graph, Node, Op, Padding, Pool,
    Resize, ResizeKind, Shape, Shortcut, ShortcutWeights, Slice, Source, Transpose, WeightsNormalization,
    infer, verify, verify_weights,
};
use secateur_testing::random_weights;

/// Each layer reads the one before it.
fn chain(input: Shape, ops: Vec<Op>) -> Graph {
    let mut graph = Graph { input, nodes: Vec::new(), letter_box: false };
    for op in ops {
        let source = graph.nodes.len().checked_sub(1).map_or(Source::Image, Source::Layer);
        let shape = infer(&op, &[graph.shape_of(source)]).unwrap();
        graph.nodes.push(Node::new(op, vec![source], shape));
    }
    verify(&graph).unwrap();
    graph
}

/// A residual network whose sums join feature maps of two sizes, as pjreddie's resnets have them.
#[test]
fn sums_of_two_sizes_are_cut() {
    let sum = Op::Shortcut(Shortcut {
        activation: Activation::Leaky,
        weights: ShortcutWeights::None,
        normalization: WeightsNormalization::None,
    });
    let first =
        Op::Conv(Conv { padding: Padding::all(1), activation: Activation::Leaky, ..Conv::square(6, 3) });
    let half = Op::Conv(Conv { stride: [2; 2], activation: Activation::Leaky, ..Conv::square(8, 1) });
    for (inputs, seed) in [([1, 0], 1), ([0, 1], 2)] {
        let mut graph = chain(Shape::new(3, 8, 8), vec![first.clone(), half.clone()]);
        let shape = graph.nodes[inputs[0]].shape;
        graph.nodes.push(Node::new(sum.clone(), inputs.map(Source::Layer).to_vec(), shape));
        graph.nodes.push(Node::new(
            Op::Conv(Conv::square(4, 1)),
            vec![Source::Layer(2)],
            Shape { c: 4, ..shape },
        ));
        verify(&graph).unwrap();
        let groups = ChannelGroups::new(&graph);
        let weights = random_weights(seed, &graph);
        for zero_biases in [false, true] {
            let mut masks = Masks::of_channels(&groups);
            for (number, group) in groups.groups.iter().enumerate() {
                masks.set(number, (0..group.units.len()).map(|unit| unit % 2 == 0).collect());
            }
            let mut masked = weights.clone();
            if zero_biases {
                masks.apply(&graph, &groups, &mut masked);
            } else {
                let kept = masks.channel_flags(&groups, &graph);
                for (layer, node) in graph.nodes.iter().enumerate() {
                    for channel in (0..node.shape.c).filter(|&channel| !kept[layer][channel]) {
                        zero_filter(&node.op, &mut masked.layers[layer], channel, node.shape.c);
                    }
                }
            }
            let cut = transform(&graph, &groups, &masked, &masks);
            verify(&cut.graph).unwrap();
            // A constant that only every second pixel gets cannot be folded: such units stay.
            let folds = zero_biases || inputs == [1, 0];
            assert_eq!(cut.graph.nodes[0].shape.c, if folds { 3 } else { 6 }, "{inputs:?} {zero_biases}");
            let x: Vec<f32> = (0..graph.input.len()).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
            let before = oracle::run(&graph, &masked, &x).pop().unwrap();
            let after = oracle::run(&cut.graph, &cut.weights, &x).pop().unwrap();
            for (a, b) in after.iter().zip(&before) {
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{inputs:?}: {a}, not {b}");
            }
        }
    }
}

#[test]
fn masked_equals_cut() {
    let (kind, coordinates) = (ResizeKind::Bilinear, Coordinates::HalfPixel);
    let body = [
        Op::Conv(Conv { kernel: [3, 1], padding: Padding { top: 1, ..Padding::NONE }, ..Conv::square(6, 1) }),
        Op::Scale,
        Op::PRelu,
        Op::Resize(Resize { height: 5, width: 9, kind, coordinates }),
        Op::Slice(Slice { axis: Axis::Columns, start: 1, end: 9, step: 2 }),
        Op::Transpose(Transpose { order: [Axis::Channels, Axis::Columns, Axis::Rows] }),
        Op::LocalAvgPool(Pool { ceil: true, divisor: Divisor::Padded, ..Pool::square(2, 2) }),
    ];
    let dense = Op::Connected(Connected { outputs: 3, batch_norm: false, activation: Activation::Linear });
    let tails = [
        vec![Op::Conv(Conv::square(3, 1))],
        vec![Op::Reshape(Shape::new(6 * 6, 1, 1)), Op::PRelu, dense.clone()],
        vec![Op::GlobalMaxPool, dense],
    ];
    for (seed, tail) in tails.into_iter().enumerate() {
        let graph = chain(Shape::new(3, 6, 7), body.iter().cloned().chain(tail).collect());
        let groups = ChannelGroups::new(&graph);
        let [group] = &groups.groups[..] else { panic!("{groups:?}") };
        assert_eq!(group.units.len(), 6);
        let mut weights = random_weights(seed as u64, &graph);
        let mut masks = Masks::of_channels(&groups);
        masks.set(0, (0..6).map(|unit| unit % 3 != seed % 3).collect());
        masks.apply(&graph, &groups, &mut weights);
        let cut = transform(&graph, &groups, &weights, &masks);
        verify(&cut.graph).unwrap();
        verify_weights(&cut.graph, &cut.weights).unwrap();
        assert_eq!((cut.graph.nodes[0].shape.c, cut.restored.len()), (4, 0));
        let x: Vec<f32> = (0..graph.input.len()).map(|i| (i * 37 % 101) as f32 / 101.0).collect();
        let before = oracle::run(&graph, &weights, &x).pop().unwrap();
        let after = oracle::run(&cut.graph, &cut.weights, &x).pop().unwrap();
        for (a, b) in after.iter().zip(&before) {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{after:?}, not {before:?}");
        }
    }
}
