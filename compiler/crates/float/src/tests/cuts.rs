//! Parts of a network run on stored tensors.

use super::super::{Keep, Plan};
use super::random::{image, options};
use secateur_ir::{Op, Source};
use secateur_testing::random_network;

#[test]
fn suffix_from_every_layer_gives_the_same_heads() {
    for seed in 0..40 {
        let (_, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let plan = Plan::new(&graph, &weights).unwrap();
        let mut whole = plan.scratch();
        plan.run(&mut whole, &input);
        for from in 0..graph.nodes.len() {
            // The prefix stops right before the cut: what is live there stands in its place.
            let mut prefix = plan.scratch();
            plan.load(&mut prefix, Source::Image, &input);
            plan.run_range(&mut prefix, 0, from);
            let live: Vec<(Source, Vec<f32>)> = plan
                .live_at(from)
                .into_iter()
                .map(|source| (source, plan.peek(&prefix, source).to_vec()))
                .collect();

            let mut suffix = plan.scratch();
            for (source, values) in &live {
                plan.load(&mut suffix, *source, values);
            }
            plan.run_range(&mut suffix, from, graph.nodes.len());
            let cut = plan.range(from, graph.nodes.len());
            let inputs: Vec<&[f32]> = live.iter().map(|(_, values)| values.as_slice()).collect();
            let mut given = plan.scratch();
            plan.run_cut(&mut given, &cut, &inputs);
            for &head in cut.outputs() {
                assert_eq!(plan.output(&suffix, head), plan.output(&whole, head), "seed {seed}, from {from}");
                assert_eq!(plan.output(&given, head), plan.output(&whole, head), "seed {seed}, from {from}");
            }
            assert_eq!(given.macs(), cut.macs());
            assert_eq!(suffix.macs(), cut.macs());
        }
        assert_eq!(whole.macs(), plan.macs());
    }
}

#[test]
fn affected_layers_suffice_after_a_change() {
    let mut spared = 0;
    for seed in 0..60 {
        let (_, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let plan = Plan::new(&graph, &weights).unwrap();
        let everything = Plan::keeping(&graph, &weights, &Keep::All).unwrap();
        let mut stored = everything.scratch();
        everything.run(&mut stored, &input);
        let convolutions = (0..graph.nodes.len()).filter(|&i| matches!(graph.nodes[i].op, Op::Conv(_)));
        for layer in convolutions {
            let mut changed = weights.clone();
            let numbers = &mut changed.layers[layer];
            numbers.weights.iter_mut().for_each(|w| *w *= -0.5);
            numbers.bias.iter_mut().for_each(|b| *b += 0.25);
            let mut edited = plan.clone();
            edited.set_layer(layer, &changed.layers[layer]).unwrap();
            let cut = edited.affected(&[layer]);
            let inputs: Vec<&[f32]> = cut
                .inputs()
                .iter()
                .map(|source| match *source {
                    Source::Image => input.as_slice(),
                    Source::Layer(from) => everything.output(&stored, from),
                })
                .collect();
            let mut part = edited.scratch();
            edited.run_cut(&mut part, &cut, &inputs);

            let fresh = Plan::new(&graph, &changed).unwrap();
            let mut whole = fresh.scratch();
            fresh.run(&mut whole, &input);
            for head in fresh.heads() {
                let expected = fresh.output(&whole, head);
                if cut.outputs().contains(&head) {
                    assert_eq!(edited.output(&part, head), expected, "seed {seed}, layer {layer}");
                } else {
                    assert_eq!(everything.output(&stored, head), expected, "seed {seed}, layer {layer}");
                }
            }
            spared += fresh.macs() - cut.macs();
        }
    }
    assert!(spared > 0, "cuts spare work");
}

#[test]
fn weights_of_another_shape_are_refused() {
    let (_, graph, weights) = random_network(1, &options(1));
    let layer = (0..graph.nodes.len()).find(|&i| matches!(graph.nodes[i].op, Op::Conv(_))).unwrap();
    let mut short = weights.clone();
    short.layers[layer].weights.pop();
    let error = Plan::new(&graph, &short).unwrap_err();
    assert_eq!(error.at_layer(), Some(layer));
    let mut plan = Plan::new(&graph, &weights).unwrap();
    assert!(plan.set_layer(layer, &short.layers[layer]).is_err());
    let mut fewer = weights;
    fewer.layers.pop();
    assert!(Plan::new(&graph, &fewer).is_err());
}
