//! The compiler's cycle model against the RTL, on random layers.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_codegen::target::Target;
use secateur_codegen::{Patch, compile_with};
use secateur_deploy::Deployed;
use secateur_deploy::sim;
use secateur_eval::Detector;
use secateur_ir::{Activation, Graph, Weights};
use secateur_quant::net::Provenance;
use secateur_quant::{self as quant, QuantiseOptions};
use secateur_sim::rtl::{Rtl, Timing};
use secateur_testing::{RandomOptions, random_network};

/// What the compiler promises of a frame, and of a layer.
const NETWORK: f64 = 0.01;
const LAYER: f64 = 0.03;
/// An int8 artefact of a random network; `None` where the accelerator lacks one of its operators.
fn artefact(seed: u64, graph: &Graph, weights: &Weights) -> Option<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let image: Vec<f32> = (0..graph.input.len()).map(|_| rng.random_range(0.0..1.0)).collect();
    let options = QuantiseOptions::default();
    let net =
        quant::quantise(graph, weights, &[image], &options, Vec::new(), Provenance::default()).ok()?.net;
    let target = Target::load("npu-8x16").unwrap();
    let compiled = compile_with(&net, &target, Default::default(), Patch::Off, |_, _, _| {});
    compiled.ok().map(|compiled| compiled.artefact)
}

#[test]
fn the_cycle_model_holds_on_random_layers() {
    let options = RandomOptions {
        layers: 8,
        side: 64,
        channels: 64,
        activations: vec![Activation::Linear, Activation::Leaky, Activation::Relu, Activation::Mish],
        ..RandomOptions::default()
    };
    let (mut layers, mut seed, mut worst) = (0, 0, [0.0f64; 2]);
    while layers < 200 {
        seed += 1;
        let (_, graph, weights) = random_network(seed, &options);
        let Some(bytes) = artefact(seed, &graph, &weights) else { continue };
        let deployed = Deployed::new(&bytes, Path::new("net.sct")).unwrap();
        let program = sim::program(&deployed).unwrap();
        let (memory, placement) = sim::memory(&program);
        let mut rtl = Rtl::new(memory, Timing::default());
        let int8 = vec![0; deployed.input().len()];
        let frame = sim::frame(&mut rtl, &deployed, placement, &int8, |_| {}).unwrap();
        assert_eq!(frame.mismatch, None, "seed {seed}");
        let cycles = f64::from(frame.counters.cycles);
        let error = (cycles / frame.predicted as f64 - 1.0).abs();
        worst[0] = worst[0].max(error);
        assert!(error <= NETWORK, "seed {seed}: {cycles} cycles, {} predicted", frame.predicted);
        for layer in sim::layers(&frame, &deployed).iter().filter(|layer| layer.predicted > 0) {
            let error = layer.measured.abs_diff(layer.predicted) as f64 / layer.predicted as f64;
            worst[1] = worst[1].max(error);
            assert!(error <= LAYER, "seed {seed}: {layer:?}");
            layers += 1;
        }
    }
    let [network, layer] = worst.map(|error| 100.0 * error);
    println!("{layers} layers within {layer:.2} %, networks within {network:.2} %");
}
