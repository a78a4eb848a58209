//! Networks whose first layers run in bands: every step's bytes are rows of what the layers compute one by one.

use std::cell::Cell;
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use secateur_codegen::target::Target;
use secateur_codegen::{Compiled, NpuOptions, Patch, compile_with, random};
use secateur_data::read_npy;
use secateur_frontend::darknet;
use secateur_quant::net::{Provenance, QNet, QOp};
use secateur_quant::{QuantiseOptions, exec, quantise};
use secateur_runtime::artefact::Step;
use secateur_runtime::{Engine, Hook, Tensor};
use secateur_testing::{cases, data_dir};

fn target(weights: &str) -> Target {
    let text = format!("name = \"m4\"\nalign = 16\noperators = \"all\"\nweights = \"{weights}\"");
    Target::parse(Path::new("m4.toml"), &text).unwrap()
}

fn compiled(net: &QNet, target: &Target, patch: Patch) -> Compiled {
    compile_with(net, target, NpuOptions::default(), patch, |_, _, _| {}).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Compares what each step writes with the rows of its layer that are next.
struct Rows<'a> {
    net: &'a QNet,
    expected: &'a [Vec<Cell<i8>>],
    /// By layer: rows seen so far.
    next: Vec<usize>,
    what: &'a str,
}

impl Hook for Rows<'_> {
    fn after(&mut self, step: &Step<'_>, output: Tensor<'_>) {
        let layer = step.layer() as usize;
        let moves = kernel_name(step) == "rescale" || kernel_name(step) == "copy";
        let op = &self.net.nodes[layer].op;
        // What moves, and what is copied into a concatenation, is compared where it is read.
        if matches!(op, QOp::Route(_)) || moves && !matches!(op, QOp::Crop { .. }) {
            return;
        }
        let row = output.w() * output.c();
        let start = self.next[layer];
        self.next[layer] += output.h();
        let mut found = vec![0; output.h() * row];
        output.copy_to(&mut found);
        let wanted: Vec<i8> =
            self.expected[layer][start * row..self.next[layer] * row].iter().map(Cell::get).collect();
        assert!(found == wanted, "{}: layer {layer}, {}, rows from {start}", self.what, op.name());
    }
}

/// All rows of all layers are computed once, with the bytes of `net` layer by layer; heads read what they would.
fn assert_rows(what: &str, net: &QNet, compiled: &Compiled, image: &[f32]) {
    let deployed = Deployed::new(&compiled.artefact, Path::new("net.sct")).unwrap();
    let (int8, expected) = (deployed.quantise(image), exec::run(net, image));
    let mut rows = Rows { net, expected: &expected, next: vec![0; net.nodes.len()], what };
    let mut arena = vec![0x55; deployed.model().arena_bytes()];
    Engine::new(deployed.model(), &mut arena).unwrap().run(&int8, &mut rows);
    for (layer, node) in net.nodes.iter().enumerate() {
        let height = node.output.shape.h;
        assert!([0, height].contains(&rows.next[layer]), "{what}: layer {layer} has {}", rows.next[layer]);
        if matches!(node.op, QOp::Conv(_) | QOp::MaxPool(_) | QOp::Shortcut(_)) {
            assert_eq!(rows.next[layer], height, "{what}: layer {layer}");
        }
    }
    // The whole outputs, by the kernels of this machine, heads among them.
    let mut last = None;
    deployed.trace(&int8, |output| {
        let wanted: Vec<i8> = expected[output.layer].iter().map(Cell::get).collect();
        assert!(output.int8() == wanted, "{what}: whole layer {}", output.layer);
        last = Some(output.layer);
    });
    assert_eq!(last, Some(net.nodes.len() - 1), "{what}");
}

#[test]
fn random_networks_in_bands_run_exactly() {
    let (mut banded, mut moved) = (0, 0);
    let targets = ["dense", "armv7em"].map(target);
    let cases = cases(300);
    for seed in 0..cases {
        let net = random::network(seed, 3 + seed as usize % 12);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let image: Vec<f32> = (0..net.input.shape.len()).map(|_| random.random()).collect();
        let patch = [Patch::Auto, Patch::Bands(2), Patch::Bands(3)][seed as usize % 3];
        for target in &targets {
            let compiled = compiled(&net, target, patch);
            let Some(summary) = compiled.manifest.patch else { continue };
            assert_eq!(summary.recomputed, 0);
            assert_rows(&format!("seed {seed}, {patch:?}"), &net, &compiled, &image);
            banded += 1;
            moved += u64::from(summary.moved > 0);
        }
    }
    assert!(banded > cases / 4 && moved > cases / 16, "{banded} in bands, {moved} of them move rows");
}

#[test]
fn bands_are_a_remedy_where_they_would_fit_and_refused_where_none_can_be() {
    let (net, _) = parts();
    let limited = |arena: usize| {
        let text = format!(
            "name = \"m4\"\nalign = 16\noperators = \"all\"\nweights = \"armv7em\"\n[regions]\n\
             program = {{ bytes = 0x100000 }}\npackage = {{ bytes = 0x1000000 }}\n\
             data = {{ bytes = 1 }}\narena = {{ bytes = {arena} }}"
        );
        Target::parse(Path::new("m4.toml"), &text).unwrap()
    };
    let try_patch =
        |target: &Target, patch| compile_with(&net, target, NpuOptions::default(), patch, |_, _, _| {});
    let error = |arena| format!("{:?}", try_patch(&limited(arena), Patch::Off).unwrap_err());
    let fits = limited(200_000);
    let bytes = try_patch(&fits, Patch::Auto).unwrap().manifest.arena.bytes;
    assert!(bytes <= 200_000, "{bytes}");
    let words = error(200_000).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("`--patch`, with {bytes} bytes")), "{words}");
    assert!(!error(100_000).contains("--patch"), "bands do not help so much");
    try_patch(&limited(100_000), Patch::Auto).unwrap_err();
    let accelerator = Target::load("npu-8x16").unwrap();
    let refused = format!("{:?}", try_patch(&accelerator, Patch::Auto).unwrap_err());
    assert!(refused.contains("npu-8x16") && refused.contains("--patch"), "{refused}");
}

/// A network with the image that it is tried on.
fn real(name: &str, side: Option<usize>) -> Option<(QNet, Vec<f32>)> {
    let data = data_dir()?;
    let folder = data.join("models").join(name);
    let text = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let (mut cfg, mut weights) = (None, None);
    for path in text {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("cfg") => cfg = Some(path),
            Some("weights") => weights = Some(path),
            _ => {}
        }
    }
    let (cfg, weights) = (cfg.unwrap(), weights.unwrap());
    let mut text = std::fs::read_to_string(&cfg).unwrap();
    if let Some(side) = side {
        text = text
            .replace("width=320", &format!("width={side}"))
            .replace("height=320", &format!("height={side}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cfg");
    std::fs::write(&path, text).unwrap();
    let network = darknet::load(&path, Some(&weights)).unwrap();
    let input = match side {
        None => read_npy(&data.join("golden").join(name).join("input.npy")).unwrap().1,
        Some(_) => noise(network.graph.input.len()),
    };
    let images = [input];
    let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
    let net = quantise(
        &network.graph,
        network.weights().unwrap(),
        &images,
        &options,
        Vec::new(),
        Provenance::default(),
    );
    let [input] = images;
    Some((net.unwrap().net, input))
}

/// The project's own detector, on noise.
fn parts() -> (QNet, Vec<f32>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../configs/networks/parts");
    let network = darknet::load(&folder.join("parts.cfg"), Some(&folder.join("parts.weights"))).unwrap();
    let images = [noise(network.graph.input.len())];
    let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
    let weights = network.weights().unwrap();
    let net =
        quantise(&network.graph, weights, &images, &options, Vec::new(), Provenance::default()).unwrap().net;
    let [input] = images;
    (net, input)
}

fn noise(len: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    (0..len).map(|_| random.random()).collect()
}

/// Compiles with and without bands, compares every byte and prints a line of the table in docs/boards.md; arena bytes.
fn measure(name: &str, net: &QNet, input: &[f32], weights: &str) -> (Compiled, Option<Compiled>) {
    let target = target(weights);
    let whole = compiled(net, &target, Patch::Off);
    let banded = compiled(net, &target, Patch::Auto);
    let Some(patch) = banded.manifest.patch else {
        println!("{name} {weights}: {} bytes, no bands help", whole.manifest.arena.bytes);
        return (whole, None);
    };
    assert_rows(name, net, &banded, input);
    let [before, after] = [&whole, &banded].map(|compiled| compiled.manifest.arena.bytes);
    println!(
        "| {name}, {weights} | {before} | {after} | {:.0} % | 0 to {} | {} | {} | {} | {} | {} |",
        100.0 * after as f64 / before as f64,
        patch.layers - 1,
        patch.bands,
        patch.recomputed,
        patch.moved,
        whole.artefact.len(),
        banded.artefact.len(),
    );
    (whole, Some(banded))
}

#[test]
fn yoloface_takes_less_than_seven_tenths_of_its_ram() {
    let Some((net, input)) = real("yoloface-50k", None) else { return };
    assert_eq!([net.input.shape.h, net.input.shape.w], [56, 56]);
    for weights in ["dense", "armv7em"] {
        let (whole, banded) = measure("yoloface-50k", &net, &input, weights);
        let peak = whole.memory.iter().map(|at| at.bytes).max().unwrap();
        // Without bands: what is alive at the fullest layer, layers 3, 5, 6, 7 and workspace, each rounded up to 16 bytes.
        assert!((peak..peak + 5 * 16).contains(&whole.manifest.arena.bytes), "{weights}: {peak} at the peak");
        let after = banded.unwrap().manifest.arena.bytes;
        println!("{weights}: {peak} bytes at the peak, {after} with bands");
        assert!(after * 100 <= peak * 70, "{weights}: {after} of {peak}");
    }
}

#[test]
fn networks_in_bands_take_less_ram() {
    let (net, input) = parts();
    for weights in ["dense", "armv7em"] {
        let (whole, banded) = measure("parts", &net, &input, weights);
        assert!(banded.unwrap().manifest.arena.bytes < whole.manifest.arena.bytes);
    }
    for (name, side) in [("ir-small-v4-40x40", None), ("yolo-fastest-1.1", Some(160))] {
        let Some((net, input)) = real(name, side) else { return };
        for weights in ["dense", "armv7em"] {
            measure(name, &net, &input, weights);
        }
    }
}
