//! Properties of whole quantised networks: random ones, and the real ones where they are at hand.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::calibrate::Extremes;
use super::net::{Provenance, QNet};
use super::prepare::Prepared;
use super::quantise::{QuantiseOptions, quantise};
use super::quantised::Quantised;
use super::{RangeRule, equalise, exec, report};
use secateur_data::read_npy;
use secateur_float::oracle;
use secateur_frontend::darknet;
use secateur_ir::{Graph, Op, Weights};
use secateur_testing::{RandomOptions, data_dir, random_network};

/// Largest difference that exact rewriting of a float network may make, relative to the layer.
const REWRITE_TOLERANCE: f32 = 1e-4;

fn random(seed: u64) -> (Graph, Weights, Vec<Vec<f32>>) {
    let options = RandomOptions {
        layers: 10,
        side: 24,
        channels: 8,
        rare: seed % 2 == 1,
        classifier: seed % 5 == 4,
        ..RandomOptions::default()
    };
    let (_, graph, weights) = random_network(seed, &options);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut image = || (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
    let images = vec![image(), image(), image()];
    (graph, weights, images)
}

fn run(graph: &Graph, weights: &Weights, images: &[Vec<f32>], options: &QuantiseOptions) -> Quantised {
    quantise(graph, weights, images, options, vec![], Provenance::default()).unwrap()
}

fn assert_close(reference: &[f32], values: impl Iterator<Item = f32>, what: &str) {
    let scale = reference.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    for (i, (&a, b)) in reference.iter().zip(values).enumerate() {
        assert!((a - b).abs() <= REWRITE_TOLERANCE * scale, "{what}, value {i}: {b} instead of {a}");
    }
}

#[test]
fn preparation_and_equalisation_leave_the_function_as_it_is() {
    let mut moved = 0;
    for seed in 0..60 {
        let (graph, weights, images) = random(seed);
        let expected = oracle::run(&graph, &weights, &images[0]);
        let mut prepared = Prepared::new(&graph, &weights).unwrap();
        let outputs = oracle::run(&prepared.graph, &prepared.weights, &images[0]);
        for (layer, expected) in expected.iter().enumerate() {
            let got = outputs[prepared.output_of(layer)].iter().copied();
            assert_close(expected, got, &format!("seed {seed} layer {layer} prepared"));
        }
        let extremes = Extremes::measure(&prepared, &images).unwrap();
        let factors = equalise::choose(&prepared, &extremes);
        moved += factors.nodes.iter().flatten().filter(|f| (*f - 1.0).abs() > 0.1).count();
        equalise::apply(&mut prepared, &factors);
        let outputs = oracle::run(&prepared.graph, &prepared.weights, &images[0]);
        for (layer, expected) in expected.iter().enumerate() {
            let node = prepared.output_of(layer);
            let plane = prepared.graph.nodes[node].shape.plane();
            // A region's output is pixel by pixel; heads have factor 1.
            let scaled = outputs[node].iter().enumerate().map(|(i, v)| match prepared.graph.nodes[node].op {
                Op::Region(_) => *v,
                _ => v * factors.nodes[node][i / plane].abs() as f32,
            });
            assert_close(expected, scaled, &format!("seed {seed} layer {layer} equalised"));
        }
    }
    assert!(moved > 300, "equalisation changes these networks: {moved} channels");
}

#[test]
fn random_networks_quantise_and_follow_the_float_network() {
    let mut ratios = Vec::new();
    for seed in 0..60 {
        let (graph, weights, images) = random(seed);
        let quantised = run(&graph, &weights, &images, &QuantiseOptions::default());
        let layers = report::layers(&quantised, &images).unwrap();
        ratios.extend(layers.iter().map(|layer| layer.sqnr).filter(|sqnr| sqnr.is_finite()));
    }
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[(share * ratios.len() as f64) as usize];
    assert!(at(0.05) > 12.0 && at(0.5) > 25.0, "SQNR 5 %: {:.1}, median: {:.1} dB", at(0.05), at(0.5));
}

#[test]
fn every_rule_gives_a_valid_network_and_the_same_bytes_again() {
    for (seed, ranges) in [(1, RangeRule::Mse), (2, RangeRule::MinMax), (3, RangeRule::Percentile(99.9))] {
        let (graph, weights, images) = random(seed);
        let options =
            QuantiseOptions { ranges, equalise: seed != 2, correction: seed as usize % 2, split: 0.0 };
        let bytes = run(&graph, &weights, &images, &options).net.to_bytes();
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(bytes, one_thread.install(|| run(&graph, &weights, &images, &options)).net.to_bytes());
        let net = QNet::from_bytes(Path::new("net.int8"), &bytes).unwrap();
        assert_eq!(net.to_bytes(), bytes);
    }
}

#[test]
fn bias_correction_brings_channel_means_back() {
    let deviation = |correction| {
        let mut total = 0.0;
        for seed in 0..20 {
            let (graph, weights, images) = random(seed);
            let options = QuantiseOptions { correction, ..QuantiseOptions::default() };
            let quantised = run(&graph, &weights, &images, &options);
            let net = &quantised.net;
            let prepared = &quantised.prepared;
            for image in &images {
                let float = oracle::run(&prepared.graph, &prepared.weights, image);
                let int = exec::run(net, image);
                for (layer, map) in int.iter().enumerate() {
                    let Op::Conv(_) = graph.nodes[layer].op else { continue };
                    let float = &float[prepared.output_of(layer)];
                    let mut real = super::detector::real_values(&net.nodes[layer].output, map);
                    prepared.negate(prepared.output_of(layer), &mut real);
                    let mean = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len() as f64;
                    let power = float.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / float.len() as f64;
                    total += (mean(float) - mean(&real)).powi(2) / power.max(1e-9);
                }
            }
        }
        total
    };
    let (without, with) = (deviation(0), deviation(1));
    assert!(with < 0.7 * without, "{with} against {without}");
}

#[test]
fn a_changed_or_cut_file_never_passes_for_a_network() {
    let (graph, weights, images) = random(7);
    let bytes = run(&graph, &weights, &images, &QuantiseOptions::default()).net.to_bytes();
    let path = Path::new("net.int8");
    for length in (0..bytes.len()).step_by(7) {
        assert!(QNet::from_bytes(path, &bytes[..length]).is_err(), "cut at {length}");
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..2000 {
        let mut changed = bytes.clone();
        let at = rng.random_range(0..bytes.len());
        changed[at] ^= 1 << rng.random_range(0..8);
        assert!(QNet::from_bytes(path, &changed).is_err(), "byte {at} changed");
    }
}

#[test]
fn mistakes_in_the_input_are_named() {
    let (graph, mut weights, images) = random(0);
    let options = QuantiseOptions::default();
    let error = |weights: &Weights, images: &[Vec<f32>]| {
        quantise(&graph, weights, images, &options, vec![], Provenance::default()).unwrap_err()
    };
    assert!(error(&weights, &[]).what().contains("calibration images"));
    assert!(error(&weights, &[vec![0.0; 5]]).what().contains("shape"));
    let layer = weights.layers.iter().position(|layer| !layer.weights.is_empty()).unwrap();
    weights.layers[layer].weights[0] = f32::NAN;
    assert_eq!(error(&weights, &images).at_layer(), Some(layer));
}

#[test]
fn all_real_models_quantise() {
    let Some(data) = data_dir() else { return };
    let mut seen = 0;
    for folder in std::fs::read_dir(data.join("models")).unwrap() {
        let folder = folder.unwrap();
        let (cfg, weights) = (folder.path().join("model.cfg"), folder.path().join("model.weights"));
        let golden = data.join("golden").join(folder.file_name()).join("input.npy");
        let network = darknet::load(&cfg, Some(&weights)).unwrap();
        let (_, image) = read_npy(&golden).unwrap();
        let weights = network.weights().unwrap();
        let quantised =
            run(&network.graph, weights, std::slice::from_ref(&image), &QuantiseOptions::default());
        let layers = report::layers(&quantised, &[image]).unwrap();
        for head in quantised.net.heads() {
            let sqnr = layers[head].sqnr;
            assert!(sqnr > 18.0, "{:?}: head {head} has {sqnr:.1} dB", folder.file_name());
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} models");
}
