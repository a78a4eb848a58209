//! The cut of networks with operators that Darknet does not have.

use crate::{Masks, transform};
use secateur_float::oracle;
use secateur_ir::{
    Axis, ChannelGroups, Connected, Conv, Coordinates, Divisor, Graph, Node, Op, Padding, Pool, Resize,
    ResizeKind, Shape, Slice, Source, Transpose, infer, verify, verify_weights,
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
    let dense = Op::Connected(Connected {
        outputs: 3,
        batch_norm: false,
        activation: secateur_ir::Activation::Linear,
    });
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
