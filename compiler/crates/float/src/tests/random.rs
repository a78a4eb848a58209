//! Fast against plain, on random networks.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::{Keep, Plan, fold, oracle};
use super::worst;
use secateur_ir::Graph;
use secateur_testing::{RandomOptions, cases, random_network};

/// Relative to the larger of 1 and the value.
const TOLERANCE: f32 = 1e-4;

pub(super) fn image(seed: u64, graph: &Graph) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..graph.input.len()).map(|_| rng.random()).collect()
}

pub(super) fn options(seed: u64) -> RandomOptions {
    RandomOptions {
        rare: seed % 2 == 1,
        classifier: seed % 5 == 4,
        channels: if seed.is_multiple_of(3) { 40 } else { 12 },
        ..RandomOptions::default()
    }
}

/// Every kernel and every fusion: what is kept decides which are used.
#[test]
fn plan_equals_oracle() {
    for seed in 0..cases(300) {
        let (text, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let expected = oracle::run(&graph, &weights, &input);
        for keep in [Keep::All, Keep::Heads] {
            let plan = Plan::keeping(&graph, &weights, &keep).unwrap();
            let mut scratch = plan.scratch();
            plan.run(&mut scratch, &input);
            let layers = if keep == Keep::All { (0..graph.nodes.len()).collect() } else { plan.heads() };
            for layer in layers {
                let error = worst(plan.output(&scratch, layer), &expected[layer]);
                assert!(error <= TOLERANCE, "seed {seed}, layer {layer}, {keep:?}: off by {error:e}\n{text}");
            }
        }
    }
}

#[test]
fn folding_changes_nothing() {
    for seed in 0..50 {
        let (text, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let folded = fold(&graph, &weights);
        let (before, after) = (oracle::run(&graph, &weights, &input), oracle::run(&graph, &folded, &input));
        for layer in 0..graph.nodes.len() {
            let error = worst(&after[layer], &before[layer]);
            assert!(error <= TOLERANCE, "seed {seed}, layer {layer}: off by {error:e}\n{text}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for seed in 0..60 {
        let (_, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let plan = Plan::keeping(&graph, &weights, &Keep::All).unwrap();
        let (mut one, mut four) = (plan.scratch(), plan.scratch());
        plan.run(&mut one, &input);
        plan.run_threaded(&mut four, &input, 4);
        for layer in 0..graph.nodes.len() {
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(plan.output(&one, layer)),
                bits(plan.output(&four, layer)),
                "seed {seed}, layer {layer}"
            );
        }
    }
}

/// Quantised networks have the same bytes everywhere because of this.
#[test]
fn instruction_sets_change_no_bit() {
    for seed in 0..cases(60) {
        let (text, graph, weights) = random_network(seed, &options(seed));
        let input = image(seed, &graph);
        let best = Plan::keeping(&graph, &weights, &Keep::All).unwrap();
        let scalar = best.clone().with_arch(pulp::Arch::Scalar);
        let (mut fast, mut plain) = (best.scratch(), scalar.scratch());
        best.run(&mut fast, &input);
        scalar.run(&mut plain, &input);
        for layer in 0..graph.nodes.len() {
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(best.output(&fast, layer)),
                bits(scalar.output(&plain, layer)),
                "seed {seed}, layer {layer}\n{text}"
            );
        }
    }
}
