//! The front end on the real models.

use std::path::{Path, PathBuf};

use secateur::frontend::darknet::{self, Cfg};
use secateur::graph::{Graph, Shape};
use secateur::testing::data_dir;

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
            darknet::write_weights(&network.graph, weights) == std::fs::read(&weights_path).expect("weights"),
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

fn graph_of(path: &Path) -> Graph {
    darknet::build_graph(&Cfg::load(path).expect("parses")).expect("builds")
}
