//! Artefacts against their int8 networks: every layer, byte for byte.

use std::cell::Cell;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use secateur_codegen::random;
use secateur_codegen::target::Target;
use secateur_codegen::{Compiled, compile};
use secateur_data::read_npy;
use secateur_eval::Detector;
use secateur_frontend::darknet::{self, Cfg};
use secateur_quant::QNet;
use secateur_quant::net::Provenance;
use secateur_quant::{QDetector, QuantiseOptions, exec, quantise};
use secateur_testing::{RandomOptions, cases, data_dir, random_network, random_weights};

fn packed(net: &QNet) -> Compiled {
    let target = Target::load("host").unwrap();
    compile(net, &target, |_, _, _| {}).unwrap_or_else(|e| panic!("{e:?}"))
}

/// The network with constants in the order of Cortex-M kernels, which mean the same on any machine.
fn packed_for_cortex_m(net: &QNet) -> Compiled {
    let text = "name = \"m4\"\nalign = 16\noperators = \"all\"\nweights = \"armv7em\"";
    let target = Target::parse(Path::new("m4.toml"), text).unwrap();
    compile(net, &target, |_, _, _| {}).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Runs an artefact and its network layer by layer; all bytes must be equal, of every layer.
fn assert_exact(what: &str, net: &QNet, compiled: &Compiled, image: &[f32]) {
    let deployed = Deployed::new(&compiled.artefact, Path::new("net.sct")).unwrap();
    let int8 = deployed.quantise(image);
    let own: Vec<i8> = exec::quantise_input(net, image).iter().map(Cell::get).collect();
    assert!(int8 == own, "{what}: the image");
    let expected = exec::run(net, image);
    let mut seen = 0;
    deployed.trace(&int8, |output| {
        let wanted: Vec<i8> = expected[output.layer].iter().map(Cell::get).collect();
        assert_eq!(output.layer, seen, "{what}");
        assert!(output.int8() == wanted, "{what}: layer {seen} {:?}", net.nodes[seen].op.name());
        seen += 1;
    });
    assert_eq!(seen, net.nodes.len(), "{what}");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    assert_executors(what, deployed.model(), &int8);
}

/// Every executor that this processor can run gives the engine's bytes, after each step.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn assert_executors(what: &str, model: &secateur_runtime::artefact::Model<'_>, int8: &[i8]) {
    use secateur_kernels::HostKernels;
    use secateur_kernels::x86::{Level, Memory, Plan};
    use secateur_runtime::artefact::Step;
    use secateur_runtime::{Engine, Hook, Tensor};

    #[derive(Default)]
    struct Outputs(Vec<Vec<i8>>);

    impl Hook for Outputs {
        fn after(&mut self, _: &Step<'_>, output: Tensor<'_>) {
            let mut values = vec![0; output.pixels() * output.c()];
            output.copy_to(&mut values);
            self.0.push(values);
        }
    }

    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::with_kernels(model, &mut arena, HostKernels).unwrap();
    let (mut expected, mut memory) = (Outputs::default(), Memory::default());
    engine.run(int8, &mut expected);
    for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
        let plan = Plan::with_level(model, level).expect("the compiler's memory plans can be followed");
        let mut found = Outputs::default();
        plan.watch(&mut memory, &mut engine, int8, &mut found);
        assert_eq!(found.0.len(), expected.0.len(), "{what}");
        for (n, step) in model.steps().enumerate() {
            assert!(found.0[n] == expected.0[n], "{what}: {level}, step {n}, {}", kernel_name(&step));
        }
    }
}

#[test]
fn random_int8_networks_run_exactly() {
    for seed in 0..cases(1000) {
        let net = random::network(seed, 2 + seed as usize % 30);
        let compiled = packed(&net);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image: Vec<f32> = (0..net.input.shape.len()).map(|_| random.random()).collect();
        assert_exact(&format!("seed {seed}"), &net, &compiled, &image);
        assert_exact(&format!("seed {seed}, packed"), &net, &packed_for_cortex_m(&net), &image);
    }
}

#[test]
fn quantised_random_networks_run_exactly() {
    let (cases, mut ran, mut packed_steps) = (cases(100), 0, 0);
    for seed in 0..cases {
        let options = RandomOptions {
            rare: seed % 3 == 0,
            classifier: seed % 5 == 0,
            side: 24,
            ..RandomOptions::default()
        };
        let (text, graph, weights) = random_network(seed, &options);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image: Vec<f32> = (0..graph.input.len()).map(|_| random.random()).collect();
        let images = [image];
        let options = QuantiseOptions { split: [0.0, 0.3][seed as usize % 2], ..QuantiseOptions::default() };
        let quantised = quantise(&graph, &weights, &images, &options, Vec::new(), Provenance::default());
        let net = match quantised {
            Ok(quantised) => quantised.net,
            // Normalising activations and the like have no integer meaning.
            Err(e) => {
                println!("seed {seed}: {e}");
                continue;
            }
        };
        assert_exact(&format!("seed {seed}\n{text}"), &net, &packed(&net), &images[0]);
        let compiled = packed_for_cortex_m(&net);
        assert_exact(&format!("seed {seed}, packed\n{text}"), &net, &compiled, &images[0]);
        let model = secateur_runtime::artefact::Model::from_bytes(&compiled.artefact).unwrap();
        packed_steps += model.steps().filter(|step| step.record().encoding != 0).count();
        ran += 1;
    }
    assert!(ran >= cases * 9 / 10, "only {ran} of {cases} networks have integers");
    assert!(packed_steps as u64 > 2 * ran, "only {packed_steps} packed steps in {ran} networks");
}

#[test]
fn mutated_int8_files_are_refused_or_compiled_but_never_crash() {
    let target = Target::load("host").unwrap();
    let (mut refused, mut compiled) = (0, 0);
    for seed in 0..cases(1000) {
        let whole = random::network(seed % 50, 2 + seed as usize % 12).to_bytes();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(12..bytes.len() - 4);
            bytes[at] =
                if random.random() { random.random() } else { bytes[at] ^ 1 << random.random_range(0..8) };
        }
        // A forged checksum, so that the contents have to be looked at.
        let (content, checksum) = bytes.split_last_chunk_mut::<4>().unwrap();
        *checksum = secateur_runtime::artefact::crc32(content).to_le_bytes();
        let outcome = QNet::from_bytes(Path::new("x.int8"), &bytes)
            .and_then(|net| compile(&net, &target, |_, _, _| {}).map(drop));
        match outcome {
            Ok(()) => compiled += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && compiled > 0, "{refused} refused, {compiled} compiled");
}

/// Every generation of heads: what the integers decode is what floats decode from the same quantised values.
#[test]
fn integer_decoding_agrees_with_float_decoding() {
    const THRESH: f32 = 0.02;
    for name in ["yolov1", "yolov2", "yolov4", "classifier"] {
        let path = format!("../../../tests/filetests/import/{name}.txt");
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let (cfg, _) = text.split_once("----\n").unwrap();
        let graph = darknet::build_graph(&Cfg::parse(Path::new(name), cfg.as_bytes()).unwrap()).unwrap();
        let mut boxes = 0;
        for seed in 0..20 {
            let weights = random_weights(seed, &graph);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let image: Vec<f32> = (0..graph.input.len()).map(|_| random.random()).collect();
            let images = [image];
            let options = QuantiseOptions::default();
            let net = quantise(&graph, &weights, &images, &options, Vec::new(), Provenance::default())
                .unwrap_or_else(|e| panic!("{name}: {e:?}"))
                .net;
            let compiled = packed(&net);
            let deployed = Deployed::new(&compiled.artefact, Path::new("net.sct")).unwrap();
            let by_layer = QDetector::new(&net, &graph).unwrap();
            let [image] = &images;
            assert_eq!(deployed.head_inputs(image), by_layer.head_inputs(image), "{name} {seed}");
            if deployed.layout().heads.is_empty() {
                let (shares, steps) = (deployed.heads(image), by_layer.heads(image));
                for (a, b) in shares[0].iter().zip(&steps[0]) {
                    assert!((a - b).abs() <= 1.0 / 256.0, "{name} {seed}: {a} {b}");
                }
                boxes += shares[0].len();
                continue;
            }
            let frame = secateur_data::Frame::stretched(deployed.input());
            let integer = deployed.detect(image, frame, THRESH, 1.0);
            let float = by_layer.detect(image, frame, THRESH, 1.0);
            let pairs = [(&integer, &float), (&float, &integer)];
            for (some, others) in pairs {
                // YOLOv1's raw values may leave 0..1, where the integers stop.
                let inside = |d: &&secateur_eval::Detection| {
                    d.prob > THRESH + 1e-3 && d.objectness < 0.999 && d.prob < 0.999 * d.objectness
                };
                for found in some.iter().filter(inside) {
                    let twin = others.iter().find(|f| f.place == found.place && f.class == found.class);
                    let twin = twin.unwrap_or_else(|| panic!("{name} {seed}: {found:?} has no twin"));
                    assert!((twin.prob - found.prob).abs() < 1e-3, "{name} {seed}: {found:?} {twin:?}");
                    let [a, b] = [&twin.bbox, &found.bbox];
                    for (a, b) in [(a.x, b.x), (a.y, b.y), (a.w, b.w), (a.h, b.h)] {
                        // The integers hold coordinates within 16384 pixels.
                        let close = (a - b).abs() < 1e-3 * a.abs().max(1.0);
                        assert!(close || a.abs() > 100.0, "{name} {seed}: {found:?} {twin:?}");
                    }
                    boxes += 1;
                }
            }
        }
        assert!(boxes > 0, "{name} finds nothing");
    }
}

/// Model folders with an int8 network each, calibrated on the golden input alone.
pub(super) fn real_networks() -> Vec<(String, QNet, Vec<f32>)> {
    let Some(data) = data_dir() else { return Vec::new() };
    let mut folders: Vec<_> =
        std::fs::read_dir(data.join("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    let load = |folder: &std::path::PathBuf| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let network = darknet::load(&folder.join("model.cfg"), Some(&folder.join("model.weights"))).unwrap();
        let (_, input) = read_npy(&data.join("golden").join(&name).join("input.npy")).unwrap();
        let images = [input];
        let provenance = Provenance { model: name.clone(), ..Provenance::default() };
        let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
        let weights = network.weights().unwrap();
        let quantised = quantise(&network.graph, weights, &images, &options, Vec::new(), provenance).unwrap();
        let [input] = images;
        (name, quantised.net, input)
    };
    folders.iter().map(load).collect()
}

#[test]
fn real_networks_run_exactly_in_little_memory() {
    for (name, net, input) in real_networks() {
        let compiled = packed(&net);
        let deployed = Deployed::new(&compiled.artefact, Path::new("net.sct")).unwrap();
        assert_exact(&name, &net, &compiled, &input);
        let arena = &compiled.manifest.arena;
        println!(
            "{name}: {} bytes, arena {} of at least {}, {} copied",
            compiled.artefact.len(),
            arena.bytes,
            arena.lower_bound,
            arena.copied
        );
        assert_eq!(deployed.model().arena_bytes(), arena.bytes);
        assert!(arena.bytes as f64 <= 1.1 * arena.lower_bound as f64, "{name}: {arena:?}");
        assert_eq!(compiled.artefact, packed(&net).artefact, "{name}: same network, same bytes");
        // Integer decoding finds what decoding of the same tables in float finds.
        let frame = secateur_data::Frame::stretched(deployed.input());
        let integer = deployed.detect(&input, frame, 0.25, 0.45);
        let float = secateur_eval::decode(deployed.layout(), &deployed.heads(&input), frame, 0.25, 0.45);
        assert_eq!(integer.len(), float.len(), "{name}");
        for found in &integer {
            let twin = float.iter().find(|f| f.place == found.place && f.class == found.class);
            let twin = twin.unwrap_or_else(|| panic!("{name}: {found:?} in {float:?}"));
            assert!((twin.prob - found.prob).abs() < 1e-4, "{name}: {found:?} {twin:?}");
            let [a, b] = [&twin.bbox, &found.bbox];
            for (a, b) in [(a.x, b.x), (a.y, b.y), (a.w, b.w), (a.h, b.h)] {
                assert!((a - b).abs() < 1e-3 * a.abs().max(1.0), "{name}: {found:?} {twin:?}");
            }
        }
    }
}
