//! Networks and names that once broke the accelerator's stages.

use std::cell::Cell;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_codegen::{NpuOptions, random};
use secateur_frontend::darknet::{self, Cfg};
use secateur_ir::Source;
use secateur_quant::net::{DType, Provenance, QNode, QOp, QPool, QRoute, QTensor};
use secateur_quant::{QNet, QuantiseOptions, exec, quantise};
use secateur_runtime::artefact::Model;
use secateur_runtime::npu::stream::Commands;
use secateur_testing::random_weights;

use super::Deployed;
use super::npu_tests::{assert_exact, heads, packed, random_image};

/// One layer on a 3 × 8 × 8 image.
fn single(op: QOp, shape: secateur_ir::Shape) -> QNet {
    let tensor = |shape| QTensor { shape, scale: 1.0 / 255.0, zero_point: -128, dtype: DType::I8 };
    let node = QNode { op, inputs: vec![Source::Image], output: tensor(shape), line: 2 };
    let net = QNet {
        input: tensor(secateur_ir::Shape::new(3, 8, 8)),
        letter_box: false,
        nodes: vec![node],
        names: Vec::new(),
        provenance: Provenance::default(),
    };
    net.verify().unwrap();
    net
}

/// Networks without multiply-accumulates have no best run of layers by that measure.
#[test]
fn networks_without_multiply_accumulates_run_on_the_accelerator() {
    let same = secateur_ir::Shape::new(3, 8, 8);
    let pool = |stride, h| {
        let pool = QPool { size: 2, stride_x: stride, stride_y: stride, pad: 1, depth: None };
        single(QOp::MaxPool(pool), secateur_ir::Shape::new(3, h, h))
    };
    let route = QRoute { groups: 1, group_id: 0, rescale: vec![None] };
    let nets = [pool(1, 8), pool(2, 4), single(QOp::Identity, same), single(QOp::Route(route), same)];
    for (n, net) in nets.iter().enumerate() {
        for processor in [false, true] {
            let options = NpuOptions { processor, ..NpuOptions::default() };
            let compiled = packed(net, "npu-8x16", options).unwrap_or_else(|e| panic!("{n}: {e:?}"));
            assert!(compiled.manifest.accelerator.unwrap().partition.is_none(), "{n}");
            assert_exact(&n.to_string(), net, &compiled.artefact, &random_image(net, 1), 1);
        }
    }
}

/// A program of more commands than the accelerator counts ends where they do; the processor runs the rest.
#[test]
fn programs_that_are_too_long_are_cut() {
    let mut cut = 0;
    for seed in 0..secateur_testing::cases(60) {
        let net = random::network(seed, 20);
        let Ok(whole) = packed(&net, "npu-4x8", NpuOptions::default()) else { continue };
        let commands = whole.manifest.accelerator.unwrap().commands;
        for queue_commands in [commands / 4, commands / 2] {
            let options = NpuOptions { queue_commands, ..NpuOptions::default() };
            let Err(error) = packed(&net, "npu-4x8", options) else { continue };
            assert!(
                error.what().contains("too long") && error.at_layer().is_some(),
                "seed {seed}: {error:?}"
            );
            let shared = NpuOptions { processor: true, ..options };
            let Ok(compiled) = packed(&net, "npu-4x8", shared) else { continue };
            let partition = compiled.manifest.accelerator.clone().unwrap().partition.unwrap();
            let end = partition.layers[1] + 1;
            let (layer, reason) = partition.refused.iter().find(|(layer, _)| *layer == end).unwrap();
            assert!(reason.contains("too long"), "seed {seed}: layer {layer}: {reason}");
            let model = Model::from_bytes(&compiled.artefact).unwrap();
            let mut counts = [0; 3];
            for command in Commands::new(model.program().unwrap().stream()) {
                counts[command.unwrap().queue() as usize] += 1;
            }
            assert!(counts.iter().all(|&count| count <= queue_commands), "seed {seed}: {counts:?}");
            let image = random_image(&net, seed);
            assert_exact(&format!("seed {seed}"), &net, &compiled.artefact, &image, seed);
            let int8: Vec<i8> = exec::quantise_input(&net, &image).iter().map(Cell::get).collect();
            let [alone, shared] = [false, true].map(|npu| heads(&compiled.artefact, &int8, npu));
            assert_eq!(alone, shared, "seed {seed}");
            cut += 1;
        }
    }
    assert!(cut >= 10, "only {cut} programs were cut");
}

/// Whatever an int8 file says, the compiler refuses it or compiles it for the accelerator.
#[test]
fn mutated_int8_files_never_crash_the_accelerator_stages() {
    let (mut refused, mut compiled) = (0, 0);
    for seed in 0..secateur_testing::cases(600) {
        let whole = random::network(seed % 60, 2 + seed as usize % 10).to_bytes();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(12..bytes.len() - 4);
            bytes[at] =
                if random.random() { random.random() } else { bytes[at] ^ 1 << random.random_range(0..8) };
        }
        let (content, checksum) = bytes.split_last_chunk_mut::<4>().unwrap();
        *checksum = secateur_runtime::artefact::crc32(content).to_le_bytes();
        let Ok(net) = QNet::from_bytes(std::path::Path::new("x.int8"), &bytes) else {
            refused += 1;
            continue;
        };
        let options = NpuOptions { processor: seed % 2 == 0, ..NpuOptions::default() };
        match packed(&net, "npu-8x16", options) {
            Ok(_) => compiled += 1,
            Err(error) => {
                assert_eq!(error.kind(), secateur_base::ErrorKind::User, "seed {seed}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && compiled > 0, "{refused} refused, {compiled} compiled");
}

/// Sums as quantisation writes them, on their own and after a convolution: linear, and with the ReLU's two slopes.
#[test]
fn sums_with_relu_run_on_the_accelerator() {
    for activation in ["linear", "relu", "relu6"] {
        let cfg = format!(
            "[net]\nwidth=12\nheight=8\nchannels=3\n\
             [convolutional]\nfilters=10\nactivation=leaky\n\
             [convolutional]\nfilters=10\nactivation=linear\n\
             [shortcut]\nfrom=-2\nactivation={activation}\n\
             [maxpool]\nsize=2\nstride=1\n\
             [shortcut]\nfrom=-2\nactivation={activation}\n"
        );
        let path = std::path::Path::new("net.cfg");
        let graph = darknet::build_graph(&Cfg::parse(path, cfg.as_bytes()).unwrap()).unwrap();
        for seed in 0..4 {
            let weights = random_weights(seed, &graph);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let images = [(0..graph.input.len()).map(|_| random.random()).collect()];
            let options = QuantiseOptions::default();
            let net = quantise(&graph, &weights, &images, &options, Vec::new(), Provenance::default());
            let net = net.unwrap().net;
            let negative = net.nodes.iter().filter_map(|node| match &node.op {
                QOp::Shortcut(sum) => Some(sum.requant.m_neg),
                _ => None,
            });
            assert!(
                negative.eq([i32::from(activation == "linear"); 2]),
                "two shortcuts, linear or with a slope of 0"
            );
            let compiled = packed(&net, "npu-8x16", NpuOptions::default())
                .unwrap_or_else(|e| panic!("{activation}: {e:?}"));
            assert_exact(activation, &net, &compiled.artefact, &images[0], seed);
        }
    }
}

/// Darknet's `[reorg]` is refused by that name, not by the one that the accelerator has.
#[test]
fn reorg_is_told_apart_from_reorg3d() {
    let reorg = |old| {
        let reorg = secateur_ir::Reorg { stride: 2, reverse: false, old };
        let mut net = single(QOp::Identity, secateur_ir::Shape::new(3, 8, 8));
        net.input.shape.c = 4;
        net.nodes[0].op = QOp::Reorg(reorg);
        net.nodes[0].output.shape = secateur_ir::Shape::new(16, 4, 4);
        net.verify().unwrap();
        packed(&net, "npu-8x16", NpuOptions::default())
    };
    assert!(reorg(false).is_ok());
    let error = format!("{:?}", reorg(true).unwrap_err());
    assert!(error.contains("[reorg]") && error.contains("[reorg3d]"), "{error}");
}

/// Names in an artefact are foreign text; nothing that is generated takes them for more than a name.
#[test]
fn foreign_names_stay_names_in_generated_files() {
    const INJECTION: &str =
        "x\ninitial $system(\"touch pwned\");\u{2028}\r`include \"/etc/passwd\" \u{1b}[2J";
    let legal = (0..)
        .map(|seed| random::network(seed, 4))
        .find(|net| packed(net, "npu-8x16", NpuOptions::default()).is_ok());
    let mut net = legal.unwrap();
    net.provenance.model = INJECTION.to_owned();
    net.names = vec![INJECTION.to_owned()];
    let compiled = packed(&net, "npu-8x16", NpuOptions::default()).unwrap();
    let deployed = Deployed::new(&compiled.artefact, std::path::Path::new("x.sct")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let int8: Vec<i8> = exec::quantise_input(&net, &random_image(&net, 1)).iter().map(Cell::get).collect();
    crate::emit::testbench(&deployed, &int8, folder.path()).unwrap();
    let mut named = 0;
    for name in ["npu_tb_pkg.sv", "npu_tb.sv", "files", "run"] {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control()), "{name}");
        for line in text.lines().filter(|line| line.contains("touch pwned")) {
            assert!(line.starts_with("//"), "{name}: {line}");
            named += 1;
        }
    }
    assert_eq!(named, 1, "the network is named in one comment");
    let listing = crate::disassemble(&compiled.artefact).unwrap();
    assert!(listing.lines().next().unwrap().contains("touch pwned"), "the name ends no line");
    assert!(!listing.contains('\u{1b}'));
    let manifest: serde_json::Value = serde_json::from_str(&compiled.manifest.to_json()).unwrap();
    assert_eq!(manifest["network"], INJECTION);
}
