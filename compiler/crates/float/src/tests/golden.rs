//! Against Darknet's own tensors (`golden/README.md` in the test data).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{Keep, Plan, oracle};
use super::worst;
use secateur_frontend::darknet::{self, Network};
use secateur_ir::{Graph, Op};
use secateur_testing::data_dir;

/// Difference between two correct implementations.
const TOLERANCE: f32 = 2e-4;

const SETS: [&str; 12] = [
    "ir-small-1chan-v1-40x40",
    "ir-small-v4-40x40",
    "mobilenetv2-yolo-fastest-voc-v1",
    "mobilenetv2-yolov3-nano-coco",
    "violence-origin",
    "violence-v1_a-slim",
    "yolo-fastest-1.1",
    "yolo-fastest-1.1-xl",
    "yolo-fastest-1.1@horses",
    "yolo-fastest-1.1@person",
    "yoloface-500k-v2",
    "yoloface-50k",
];

struct Golden {
    name: &'static str,
    folder: PathBuf,
    network: Network,
    input: Vec<f32>,
}

/// All sets, or none where there is no data.
fn sets() -> impl Iterator<Item = Golden> {
    let data = data_dir();
    SETS.into_iter().filter_map(move |name| {
        let data = data.as_ref()?;
        let model = data.join("models").join(name.split('@').next()?);
        let network = darknet::load(&model.join("model.cfg"), Some(&model.join("model.weights")))
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let folder = data.join("golden").join(name);
        let input = read_npy(&folder.join("input.npy"));
        Some(Golden { name, folder, network, input })
    })
}

fn read_npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec::<f32>().unwrap()
}

fn yolos(graph: &Graph) -> impl Iterator<Item = usize> {
    (0..graph.nodes.len()).filter(|&i| matches!(graph.nodes[i].op, Op::Yolo(_)))
}

/// Checks the tensors before and after every yolo layer.
fn check_heads<'a>(golden: &Golden, output: impl Fn(usize) -> &'a [f32]) {
    for layer in yolos(&golden.network.graph) {
        for (kind, ours) in [("in", output(layer - 1)), ("out", output(layer))] {
            let theirs = read_npy(&golden.folder.join(format!("yolo_{layer}_{kind}.npy")));
            assert_eq!(ours.len(), theirs.len());
            let error = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{} yolo {layer} {kind}: {error:.2e}", golden.name);
            assert!(error <= TOLERANCE, "{} yolo {layer} {kind}: off by {error:e}", golden.name);
        }
    }
}

/// Checks every layer against Darknet's statistics, and whole tensors where they were kept.
fn check_layers(golden: &Golden, outputs: &[Vec<f32>]) {
    let text = std::fs::read(golden.folder.join("layers.json")).unwrap();
    let layers: Value = serde_json::from_slice(&text).unwrap();
    let layers = layers.as_array().or_else(|| layers["layers"].as_array()).expect("a list of layers");
    assert_eq!(layers.len(), outputs.len(), "{}", golden.name);
    let whole = std::fs::read(golden.folder.join("layers.f32")).ok();
    for (i, (layer, ours)) in layers.iter().zip(outputs).enumerate() {
        let number = |key: &str| layer[key].as_f64().unwrap_or_else(|| panic!("layer {i}: {key}: {layer}"));
        let name = format!("{} layer {i}", golden.name);
        let sum_abs: f64 = ours.iter().map(|v| f64::from(v.abs())).sum();
        let squares: f64 = ours.iter().map(|&v| f64::from(v).powi(2)).sum();
        for (key, value) in [("sum_abs", sum_abs), ("l2", squares.sqrt())] {
            let close = (value - number(key)).abs() <= 1e-4 * number(key).abs().max(1.0);
            assert!(close, "{name}: {key} is {value}, Darknet's {}", number(key));
        }
        for (key, value) in [
            ("mean", ours.iter().map(|&v| f64::from(v)).sum::<f64>() / ours.len() as f64),
            ("min", f64::from(ours.iter().copied().fold(f32::INFINITY, f32::min))),
            ("max", f64::from(ours.iter().copied().fold(f32::NEG_INFINITY, f32::max))),
        ] {
            let close = (value - number(key)).abs() <= f64::from(TOLERANCE) * number(key).abs().max(1.0);
            assert!(close, "{name}: {key} is {value}, Darknet's {}", number(key));
        }
        for (key, start) in [("first8", 0), ("mid8", ours.len() / 2)] {
            for (at, theirs) in layer[key].as_array().expect("a list").iter().enumerate() {
                let theirs = theirs.as_f64().expect("a number") as f32;
                let error = (ours[start + at] - theirs).abs();
                assert!(error <= TOLERANCE * theirs.abs().max(1.0), "{name}: {key}[{at}]: off by {error:e}");
            }
        }
        if let Some(whole) = &whole {
            let (offset, count) = (number("offset_f32") as usize, number("count") as usize);
            let theirs: Vec<f32> = whole[offset * 4..(offset + count) * 4]
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            let error = worst(ours, &theirs);
            assert!(error <= TOLERANCE, "{name}: off by {error:e}");
        }
    }
}

#[test]
fn oracle_matches_darknet() {
    for golden in sets() {
        let weights = golden.network.weights().unwrap();
        let outputs = oracle::run(&golden.network.graph, weights, &golden.input);
        check_heads(&golden, |layer| &outputs[layer]);
        check_layers(&golden, &outputs);
    }
}

#[test]
fn plan_matches_darknet() {
    for golden in sets() {
        let graph = &golden.network.graph;
        let weights = golden.network.weights().unwrap();
        let before = Keep::Layers(yolos(graph).map(|layer| layer - 1).collect());
        let plan = Plan::keeping(graph, weights, &before).unwrap();
        let mut scratch = plan.scratch();
        plan.run(&mut scratch, &golden.input);
        check_heads(&golden, |layer| plan.output(&scratch, layer));

        let plan = Plan::keeping(graph, weights, &Keep::All).unwrap();
        let mut scratch = plan.scratch();
        plan.run(&mut scratch, &golden.input);
        let outputs: Vec<Vec<f32>> =
            (0..graph.nodes.len()).map(|layer| plan.output(&scratch, layer).to_vec()).collect();
        check_layers(&golden, &outputs);
    }
}
