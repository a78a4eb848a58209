//! Masked network = cut network, over thousands of random graphs.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::random::{kept_channels, random_masks};
use super::{Cut, Masks, mask, transform};
use secateur_float::oracle;
use secateur_frontend::darknet::{self, Cfg, WeightsHeader};
use secateur_ir::{ChannelGroups, Graph, Weights};
use secateur_testing::{RandomOptions, cases, random_network};

/// Networks a test; together they are 10,000.
const NETWORKS: u64 = 5_000;

fn image(rng: &mut ChaCha8Rng, graph: &Graph) -> Vec<f32> {
    (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect()
}

fn options(seed: u64) -> RandomOptions {
    RandomOptions {
        rare: seed.is_multiple_of(3),
        classifier: seed.is_multiple_of(7),
        side: 20,
        ..RandomOptions::default()
    }
}

/// Largest difference over all layers between what the masked network computes in its kept
/// channels and what the cut one computes, relative to the layer's own largest value on `images`.
fn difference(graph: &Graph, masked: &Weights, cut: &Cut, kept: &[Vec<bool>], images: &[Vec<f32>]) -> f64 {
    let mut worst = vec![0.0f64; graph.nodes.len()];
    let mut largest = vec![0.0f64; graph.nodes.len()];
    for image in images {
        let masked = oracle::run(graph, masked, image);
        let small = oracle::run(&cut.graph, &cut.weights, image);
        for (layer, node) in graph.nodes.iter().enumerate() {
            let planes = masked[layer].chunks_exact(node.shape.plane());
            let kept = planes.zip(&kept[layer]).filter(|(_, kept)| **kept).flat_map(|(plane, _)| plane);
            assert_eq!(kept.clone().count(), small[layer].len(), "layer {layer}");
            // Equal values may be infinite.
            for (&a, &b) in kept.zip(&small[layer]).filter(|(a, b)| a != b) {
                worst[layer] = worst[layer].max((f64::from(a) - f64::from(b)).abs());
                assert!(!a.is_nan() && !b.is_nan(), "layer {layer}");
            }
            largest[layer] = small[layer].iter().fold(largest[layer], |l, v| l.max(f64::from(v.abs())));
        }
    }
    worst.iter().zip(&largest).filter(|(d, _)| **d > 0.0).fold(0.0, |w, (d, l)| w.max(d / l))
}

fn check(seed: u64, zero_bias: bool) -> (usize, usize) {
    let (text, graph, weights) = random_network(seed, &options(seed));
    let groups = ChannelGroups::new(&graph);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let masks = random_masks(&mut rng, &groups);
    let mut masked = weights.clone();
    if zero_bias {
        masks.apply(&graph, &groups, &mut masked);
    } else {
        let kept = masks.channel_flags(&groups, &graph);
        for (layer, node) in graph.nodes.iter().enumerate() {
            for channel in (0..node.shape.c).filter(|&channel| !kept[layer][channel]) {
                mask::zero_filter(&node.op, &mut masked.layers[layer], channel, node.shape.c);
            }
        }
    }
    let cut = transform(&graph, &groups, &masked, &masks);
    let kept = kept_channels(&graph, &groups, &masks, &cut);
    let images: Vec<Vec<f32>> = (0..2).map(|_| image(&mut rng, &graph)).collect();
    let worst = difference(&graph, &masked, &cut, &kept, &images);
    assert!(worst <= 1e-5, "seed {seed}: {worst:e}\n{text}");

    secateur_ir::verify(&cut.graph).unwrap();
    secateur_ir::verify_weights(&cut.graph, &cut.weights).unwrap();
    // What Darknet would read back is the graph that was computed.
    let cfg = Cfg::parse(Path::new("random.cfg"), text.as_bytes()).unwrap();
    let written = darknet::apply(&cfg, &cut.graph);
    let read = darknet::build_graph(&Cfg::parse(Path::new("cut.cfg"), &written.to_bytes()).unwrap()).unwrap();
    let read = read.without_origins();
    assert_eq!(read, cut.graph.clone().without_origins(), "seed {seed}");
    let bytes = darknet::write_weights(&cut.graph, WeightsHeader::default(), &cut.weights);
    let (_, back) = darknet::read_weights(&read, Path::new("cut.weights"), &bytes).unwrap();
    assert_eq!(back, cut.weights, "seed {seed}");

    let removed = kept.iter().flatten().filter(|kept| !**kept).count();
    (removed, cut.restored.len())
}

#[test]
fn masked_networks_equal_cut_networks() {
    let networks = cases(NETWORKS);
    let results: Vec<(usize, usize)> = (0..networks).into_par_iter().map(|seed| check(seed, true)).collect();
    let removed: usize = results.iter().map(|(removed, _)| removed).sum();
    assert!(removed as u64 > 20 * networks, "{removed} channels removed: the test tests nothing");
}

#[test]
fn dead_biases_are_folded_into_their_consumers() {
    let networks = cases(NETWORKS);
    let seeds = networks..2 * networks;
    let results: Vec<(usize, usize)> = seeds.into_par_iter().map(|seed| check(seed, false)).collect();
    let (removed, restored) = results.iter().fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    assert!(removed as u64 > 10 * networks, "{removed} channels removed: the test tests nothing");
    assert!(restored > 0, "a padded consumer of a constant occurs");
}

#[test]
fn masks_are_found_again_in_the_weights() {
    for seed in 0..200 {
        let (_, graph, mut weights) = random_network(seed, &options(seed));
        let groups = ChannelGroups::new(&graph);
        let masks = random_masks(&mut ChaCha8Rng::seed_from_u64(seed), &groups);
        masks.apply(&graph, &groups, &mut weights);
        assert_eq!(Masks::detect(&graph, &groups, &weights), masks, "seed {seed}");
    }
}
