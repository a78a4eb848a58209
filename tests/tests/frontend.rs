//! The front end on the real models.

use std::path::{Path, PathBuf};

use secateur_frontend::darknet::{self, Cfg, WeightsHeader};
use secateur_ir::{
    Graph, LayerCost, LayerWeights, Op, Shape, Source, dump, layer_cost, verify, verify_weights,
};
use secateur_testing::{RandomOptions, data_dir, random_network};

fn models() -> Vec<PathBuf> {
    let Some(data) = data_dir() else { return Vec::new() };
    let folders = std::fs::read_dir(data.join("models")).expect("models");
    let mut models: Vec<PathBuf> = folders
        .map(|folder| folder.expect("entry").path())
        .filter(|path| path.join("model.cfg").is_file())
        .collect();
    models.sort();
    assert_eq!(models.len(), 10);
    models
}

#[test]
fn real_models_round_trip_byte_for_byte() {
    for model in models() {
        let (cfg_path, weights_path) = (model.join("model.cfg"), model.join("model.weights"));
        let network = darknet::load(&cfg_path, Some(&weights_path)).expect("loads");
        let weights = network.weights.as_ref().expect("given");
        assert_eq!(network.cfg.to_bytes(), std::fs::read(&cfg_path).expect("cfg"), "{}", model.display());
        assert!(
            darknet::write_weights(&network.graph, network.header, weights)
                == std::fs::read(&weights_path).expect("weights"),
            "{}",
            model.display()
        );
        // Writing an unchanged graph back touches nothing either.
        assert_eq!(darknet::apply(&network.cfg, &network.graph).to_bytes(), network.cfg.to_bytes());
    }
}

#[test]
fn shapes_are_those_of_darknet_in_all_golden_sets() {
    let Some(data) = data_dir() else { return };
    let mut sets = 0;
    for set in std::fs::read_dir(data.join("golden")).expect("golden") {
        let set = set.expect("entry").path();
        let Ok(text) = std::fs::read_to_string(set.join("layers.json")) else { continue };
        let golden: serde_json::Value = serde_json::from_str(&text).expect("json");
        let name = set.file_name().and_then(|name| name.to_str()).expect("name");
        let model = name.split('@').next().expect("name");
        let graph = graph_of(&data.join("models").join(model).join("model.cfg"));
        let layers = golden["layers"].as_array().expect("layers");
        assert_eq!(layers.len(), graph.nodes.len(), "{name}");
        for (node, layer) in graph.nodes.iter().zip(layers) {
            let side = |i: usize| layer["shape"][i].as_u64().expect("side") as usize;
            assert_eq!(node.shape, Shape::new(side(0), side(1), side(2)), "{name}: {layer}");
        }
        sets += 1;
    }
    assert_eq!(sets, 12);
}

/// Reads a cfg's text back, without the lines, which move when options are added.
fn reread(text: &[u8]) -> Graph {
    Cfg::parse(Path::new("again.cfg"), text)
        .and_then(|cfg| darknet::build_graph(&cfg))
        .unwrap_or_else(|error| panic!("{error:?}\n{}", String::from_utf8_lossy(text)))
        .without_origins()
}

#[test]
fn random_networks_survive_writing_and_reading() {
    for seed in 0..3000 {
        let options =
            RandomOptions { rare: seed % 2 == 0, classifier: seed % 5 == 0, ..RandomOptions::default() };
        let (text, graph, weights) = random_network(seed, &options);
        verify(&graph).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        verify_weights(&graph, &weights).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let bytes = darknet::write_weights(&graph, WeightsHeader::default(), &weights);
        let (_, again) =
            darknet::read_weights(&graph, Path::new("again.weights"), &bytes).expect("its own bytes");
        assert!(again == weights, "seed {seed}");
        let cfg = Cfg::parse(Path::new("random.cfg"), text.as_bytes()).expect("was read before");
        assert_eq!(darknet::apply(&cfg, &graph).to_bytes(), text.as_bytes(), "seed {seed}");
    }
}

#[test]
fn a_changed_graph_is_what_its_cfg_says() {
    let mut changed = 0;
    for seed in 0..1000 {
        let options =
            RandomOptions { rare: seed % 2 == 0, classifier: seed % 5 == 0, ..RandomOptions::default() };
        let (text, mut graph, mut weights) = random_network(seed, &options);
        let cfg = Cfg::parse(Path::new("random.cfg"), text.as_bytes()).expect("was read before");
        let consumers = graph.consumers();
        for (layer, consumers) in consumers.iter().enumerate() {
            // A convolution that only plain ones read can change its width without touching more.
            let is_plain =
                |layer: usize| matches!(&graph.nodes[layer].op, Op::Conv(conv) if conv.groups == 1);
            let is_free = is_plain(layer) && !consumers.is_empty() && consumers.iter().all(|&n| is_plain(n));
            let node = &mut graph.nodes[layer];
            match &mut node.op {
                Op::Conv(conv) => {
                    conv.batch_norm = seed % 3 == 0;
                    if is_free {
                        conv.filters += 1 + layer;
                        node.shape.c = conv.filters;
                        changed += 1;
                    }
                }
                Op::Connected(connected) => connected.batch_norm = seed % 3 == 0,
                _ => {}
            }
        }
        let graph = graph.without_origins();
        verify(&graph).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert_eq!(dump(&reread(&darknet::apply(&cfg, &graph).to_bytes())), dump(&graph), "seed {seed}");
        assert!(reread(&darknet::apply(&cfg, &graph).to_bytes()) == graph, "seed {seed}");
        weights.layers.pop();
        verify_weights(&graph, &weights).expect_err("a layer is missing");
    }
    assert!(changed > 500, "{changed}");
}

#[test]
fn the_verifier_sees_every_broken_invariant() {
    let (_, good, weights) = random_network(7, &RandomOptions::default());
    let broken = |change: &dyn Fn(&mut Graph)| {
        let mut graph = good.clone();
        change(&mut graph);
        verify(&graph).expect_err("broken")
    };
    let last = good.nodes.len() - 1;
    broken(&|graph| graph.nodes.clear());
    broken(&|graph| graph.input.h = 0);
    assert_eq!(broken(&|graph| graph.nodes[last].inputs = vec![Source::Layer(last)]).at_layer(), Some(last));
    assert_eq!(broken(&|graph| graph.nodes[1].inputs = vec![Source::Layer(last)]).at_layer(), Some(1));
    assert_eq!(broken(&|graph| graph.nodes[last].inputs.clear()).at_layer(), Some(last));
    assert_eq!(broken(&|graph| graph.nodes[0].shape.c += 1).at_layer(), Some(0));
    let parameter = broken(&|graph| {
        if let Op::Conv(conv) = &mut graph.nodes[0].op {
            conv.kernel = [0; 2];
        }
    });
    assert_eq!(parameter.at_layer(), Some(0));
    let mask = broken(&|graph| {
        if let Op::Yolo(yolo) = &mut graph.nodes[last].op {
            yolo.mask[0] = 99;
        }
    });
    assert_eq!(mask.at_layer(), Some(last));
    let changes: [fn(&mut LayerWeights); 2] = [|layer| layer.bias.push(0.0), |layer| layer.weights.clear()];
    for change in changes {
        let mut weights = weights.clone();
        change(&mut weights.layers[0]);
        assert_eq!(verify_weights(&good, &weights).expect_err("broken").at_layer(), Some(0));
    }
}

/// `layer 104, ops:1595576320` is what the closed pruner prints for YOLOv3-VOC at 416 × 416.
#[test]
fn costs_are_those_of_the_closed_pruner() {
    let text = "[net]\nwidth=52\nheight=52\nchannels=128\n[convolutional]\nbatch_normalize=1\nfilters=256\n\
        size=3\npad=1\nactivation=leaky\n[avgpool]\n[connected]\noutput=10\n[batchnorm]\n";
    let graph = reread(text.as_bytes());
    let conv = layer_cost(&graph, 0);
    assert_eq!(conv, LayerCost { macs: 797_442_048, ops: 1_595_576_320, params: 256 * 128 * 9 + 256 });
    assert_eq!(layer_cost(&graph, 1), LayerCost::default());
    assert_eq!(layer_cost(&graph, 2), LayerCost { macs: 2560, ops: 5130, params: 2570 });
    assert_eq!(layer_cost(&graph, 3), LayerCost { macs: 0, ops: 0, params: 20 });
}

fn graph_of(path: &Path) -> Graph {
    darknet::build_graph(&Cfg::load(path).expect("parses")).expect("builds")
}
