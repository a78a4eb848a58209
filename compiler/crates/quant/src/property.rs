//! Masked network = cut network in integers, byte by byte, over random graphs.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::calibrate::Targets;
use super::equalise::{self, ChannelFactors};
use super::exec;
use super::net::QNet;
use super::prepare::Prepared;
use super::quantise::{Calibration, QuantiseOptions, assemble, equalised};
use secateur_ir::{ChannelGroups, Graph, Weights};
use secateur_prune::random::{kept_channels, random_masks};
use secateur_prune::transform::{Folded, fold_constants};
use secateur_prune::{Cut, transform};
use secateur_testing::{RandomOptions, cases, random_network};

/// Networks of the test.
const NETWORKS: u64 = 1_000;

/// Values of every node's channels, for the channels that the cut network has.
fn retain(values: &[Vec<f64>], prepared: &Prepared, kept: &[Vec<bool>]) -> Vec<Vec<f64>> {
    let layer_of = |node: usize| {
        prepared.nodes_of.iter().position(|nodes| nodes.contains(&node)).expect("every node is a layer's")
    };
    let channels = values.iter().enumerate().map(|(node, values)| {
        let kept = values.iter().zip(&kept[layer_of(node)]).filter(|(_, kept)| **kept);
        kept.map(|(&value, _)| value).collect()
    });
    channels.collect()
}

/// Both networks in integers, of one calibration.
fn quantise_both(
    graph: &Graph,
    masked: &Weights,
    cut: &Cut,
    kept: &[Vec<bool>],
    images: &[Vec<f32>],
    options: &QuantiseOptions,
) -> (QNet, QNet) {
    let mut prepared = Prepared::new(graph, masked).unwrap();
    let (factors, extremes) = equalised(&mut prepared, images, options).unwrap();
    let calibration = Calibration::measure(&prepared, &extremes, images, options).unwrap();
    let large = assemble(graph, &prepared, &calibration, images, options).unwrap();
    let mut small = Prepared::new(&cut.graph, &cut.weights).unwrap();
    equalise::apply(&mut small, &ChannelFactors { nodes: retain(&factors.nodes, &prepared, kept) });
    let Calibration { scales, targets } = calibration;
    let targets = Targets {
        slopes: retain(&targets.slopes, &prepared, kept),
        means: retain(&targets.means, &prepared, kept),
        // Heads lose no channel.
        attention: targets.attention,
    };
    let calibration = Calibration { scales, targets };
    (large, assemble(&cut.graph, &small, &calibration, images, options).unwrap())
}

/// Returns the number of removed channels.
fn check(seed: u64) -> usize {
    let options = RandomOptions {
        layers: 12,
        side: 16,
        rare: seed.is_multiple_of(3),
        classifier: seed.is_multiple_of(7),
        ..RandomOptions::default()
    };
    let (text, graph, weights) = random_network(seed, &options);
    let groups = ChannelGroups::new(&graph);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let masks = random_masks(&mut rng, &groups);
    let mut masked = weights;
    if seed.is_multiple_of(2) {
        masks.apply(&graph, &groups, &mut masked);
    }
    let cut = transform(&graph, &groups, &masked, &masks);
    let kept = kept_channels(&graph, &groups, &masks, &cut);
    let Folded { weights: masked, .. } = fold_constants(&graph, &groups, &masked, &masks);
    let mut image = || (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
    let images: [Vec<f32>; 3] = [image(), image(), image()];
    let options = QuantiseOptions {
        equalise: seed % 4 != 3,
        correction: seed as usize % 3,
        ..QuantiseOptions::default()
    };
    let (large, small) = quantise_both(&graph, &masked, &cut, &kept, &images[..2], &options);
    for image in &images {
        let (large, small) = (exec::run(&large, image), exec::run(&small, image));
        for (layer, (masked, cut)) in large.iter().zip(&small).enumerate() {
            let flags = kept[layer].iter().cycle();
            let masked = masked.iter().zip(flags).filter(|(_, kept)| **kept).map(|(code, _)| code.get());
            assert!(
                masked.eq(cut.iter().map(|code| code.get())),
                "seed {seed}: layer {layer} {} differs\n{text}",
                graph.nodes[layer].op.name()
            );
        }
    }
    kept.iter().flatten().filter(|kept| !**kept).count()
}

#[test]
fn masked_networks_equal_cut_networks_in_every_byte() {
    let networks = cases(NETWORKS);
    let removed: usize = (0..networks).into_par_iter().map(check).sum();
    assert!(removed as u64 > 10 * networks, "{removed} channels removed: the test tests nothing");
}
