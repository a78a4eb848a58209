//! Memory in proportion to the feature maps, whatever windows a cfg asks for.

use super::super::{Keep, Plan, oracle};
use super::random::image;
use super::worst;
use secateur_ir::{Conv, Graph, Node, Op, Padding, Pool, Shape, Source, Upsample, infer};
use secateur_testing::random_weights;

fn alone(op: Op, input: Shape) -> Graph {
    let shape = infer(&op, &[input]).unwrap();
    Graph { input, nodes: vec![Node::new(op, vec![Source::Image], shape)], letter_box: false }
}

/// Windows, strides and dilations of up to 65536 on an 8×8 feature map: tens and hundreds of gigabytes once.
#[test]
fn windows_far_larger_than_the_map_take_little_memory() {
    let huge = 65536;
    let conv = |stride, dilation, padding, groups| {
        let padding = Padding::all(padding);
        Op::Conv(Conv { stride: [stride; 2], dilation: [dilation; 2], padding, groups, ..Conv::square(3, 3) })
    };
    let pool = |size, stride| Pool { padding: Padding::centred(size - 1), ..Pool::square(size, stride) };
    for op in [
        conv(huge, 1, 1, 1),
        conv(huge, 1, 1, 3),
        conv(1, huge, huge, 1),
        conv(1, huge, huge, 3),
        conv(huge, 1, huge, 1),
        Op::Conv(Conv { groups: 3, padding: Padding::all(500), ..Conv::square(3, 1001) }),
        Op::MaxPool(pool(2, huge)),
        Op::MaxPool(pool(30_000, 1)),
        Op::MaxPool(pool(huge, huge)),
        Op::LocalAvgPool(pool(huge, 1)),
        Op::LocalAvgPool(pool(2, huge)),
    ] {
        let graph = alone(op, Shape::new(3, 8, 8));
        let weights = random_weights(1, &graph);
        let plan = Plan::keeping(&graph, &weights, &Keep::All).unwrap();
        assert!(plan.scratch_bytes() < 100 << 20, "{:?}: {} bytes", graph.nodes[0].op, plan.scratch_bytes());
        let x = image(1, &graph);
        let mut scratch = plan.scratch();
        plan.run(&mut scratch, &x);
        let expected = oracle::run(&graph, &weights, &x).pop().unwrap();
        assert!(worst(plan.output(&scratch, 0), &expected) <= 1e-4, "{:?}", graph.nodes[0].op);
    }
}

#[test]
fn what_needs_too_much_is_refused_before_it_is_allocated() {
    let mut graph =
        alone(Op::Upsample(Upsample { stride: 1000, reverse: false, scale: 1.0 }), Shape::new(4, 8, 8));
    let shape = graph.nodes[0].shape;
    for layer in 0..10 {
        graph.nodes.push(Node::new(Op::PRelu, vec![Source::Layer(layer)], shape));
    }
    let weights = random_weights(1, &graph);
    let error = Plan::keeping(&graph, &weights, &Keep::All).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("10.5 GiB") && text.contains("at most 8.0 GiB"), "{text}");
    // Buffers are shared where nobody wants to read them afterwards.
    assert!(Plan::new(&graph, &weights).unwrap().scratch_bytes() < 4 << 30);
}
