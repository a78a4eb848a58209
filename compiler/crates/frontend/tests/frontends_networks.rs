//! Whole networks of other frameworks, layer by layer, against what those frameworks computed.

mod common;

use std::path::Path;

use common::Tensor;
use secateur_frontend::caffe::Options;
use secateur_frontend::onnx;
use secateur_frontend::tensorflow;
use secateur_frontend::tensorflow::checkpoint::Checkpoint;
use secateur_frontend::tensorflow::graph_def::GraphDef;
use secateur_tensor::{Graph, Value};
use serde_json::Value as Json;

#[test]
fn caffe_networks() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let folders = common::folders(&data.join("frontends/caffe"));
    assert!(!folders.is_empty());
    let failures: Vec<String> = folders
        .iter()
        .filter_map(|folder| Some(format!("{}: {}", common::name(folder), caffe_network(folder).err()?)))
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), folders.len(), failures.join("\n"));
}

fn caffe_network(folder: &Path) -> Result<(), String> {
    let imported =
        common::caffe(&folder.join("deploy.prototxt"), &folder.join("model.caffemodel"), &Options::default())
            .map_err(|error| format!("{error:?}"))?;
    let golden = json(&folder.join("golden/golden.json"));
    let inputs = inputs(folder, &golden);
    let values = common::run(&imported.graph, inputs)?;
    let layers = Layers::read(folder);
    let mut written = imported.written.iter();
    for (at, record) in layers.records.iter().enumerate() {
        // Caffe inserts Split layers, which change nothing.
        if record["type"] == "Split" {
            continue;
        }
        let found = written
            .find(|(layer, blob, _)| record["name"] == layer.as_str() && record["tensor"] == blob.as_str());
        let (layer, _, value) =
            found.ok_or_else(|| format!("no layer {} writes {}", record["name"], record["tensor"]))?;
        layers.check(at, &values[value]).map_err(|why| format!("layer {layer}: {why}"))?;
    }
    outputs_of(folder, &golden, &imported.graph, &values)
}

#[test]
fn tensorflow_networks() {
    let Some(data) = secateur_testing::data_dir() else { return };
    // Each graph of a folder with its checkpoint, and what is frozen without one.
    let mut failures = Vec::new();
    let mut count = 0;
    for folder in common::folders(&data.join("frontends/tf1")) {
        let files = std::fs::read_dir(&folder).expect("a folder can be listed");
        let mut files: Vec<_> = files.map(|entry| entry.expect("a folder can be listed").path()).collect();
        files.sort();
        let is_graph = |file: &&std::path::PathBuf| {
            file.extension().is_some_and(|ending| ["pbtxt", "pb"].iter().any(|known| ending == *known))
        };
        for file in files.iter().filter(is_graph) {
            count += 1;
            if let Err(why) = tensorflow_network(&folder, file) {
                failures.push(format!("{}: {why}", file.display()));
            }
        }
    }
    assert!(count >= 3, "{count} graphs");
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

fn tensorflow_network(folder: &Path, file: &Path) -> Result<(), String> {
    let golden = json(&folder.join("golden/golden.json"));
    let message = |error: secateur_base::Error| format!("{error:?}");
    let graph = GraphDef::load(file).map_err(message)?;
    let is_frozen = file.extension().is_some_and(|ending| ending == "pb");
    let checkpoint = Checkpoint::open(&folder.join("checkpoint")).map_err(message)?;
    let shapes = golden["inputs"].as_object().expect("inputs").iter().map(|(name, input)| {
        let dims = input["shape"].as_array().expect("a shape").iter();
        (name.clone(), dims.map(|dim| dim.as_u64().expect("a size") as usize).collect())
    });
    let outputs = golden["outputs"].as_object().expect("outputs").keys().cloned().collect();
    let options = tensorflow::Options { input_shapes: shapes.collect(), outputs };
    let checkpoint = (!is_frozen).then_some(&checkpoint);
    let imported = tensorflow::import(&graph, checkpoint, &options).map_err(message)?;
    let values = common::run(&imported.graph, inputs(folder, &golden))?;
    let layers = Layers::read(folder);
    for (at, record) in layers.records.iter().enumerate() {
        let name = record["tensor"].as_str().unwrap_or_default();
        let name = name.strip_suffix(":0").unwrap_or(name);
        // The older names of a second graph, and what a frozen one lacks, have no record to be held against.
        let Some((_, written)) = imported.written.iter().find(|(node, _)| node == name) else {
            if file.ends_with("graph.pbtxt") {
                return Err(format!("no node {name}"));
            }
            continue;
        };
        let found = &values[&written.value];
        let found = if written.is_nchw { channels_last(found) } else { found.clone() };
        layers.check(at, &found).map_err(|why| format!("node {name}: {why}"))?;
    }
    outputs_of(folder, &golden, &imported.graph, &values)
}

#[test]
fn onnx_networks() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let folders = common::folders(&data.join("frontends/onnx"));
    assert!(!folders.is_empty());
    let failures: Vec<String> = folders
        .iter()
        .filter_map(|folder| Some(format!("{}: {}", common::name(folder), onnx_network(folder).err()?)))
        .collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), folders.len(), failures.join("\n"));
}

fn onnx_network(folder: &Path) -> Result<(), String> {
    let say = |error: secateur_base::Error| format!("{error:?}");
    let golden = json(&folder.join("golden/golden.json"));
    let shapes = golden["inputs"].as_object().expect("inputs").iter().map(|(name, input)| {
        let dims = input["shape"].as_array().expect("a shape").iter();
        (name.clone(), dims.map(|dim| dim.as_u64().expect("a size") as usize).collect())
    });
    let options = onnx::Options { input_shapes: shapes.collect(), ..onnx::Options::default() };
    let imported = onnx::load(&folder.join("model.onnx"), &options).map_err(say)?;
    let graph = &imported.graph;
    let values = common::run(graph, inputs(folder, &golden))?;
    let named = |name: &str| {
        let value = imported.values.get(name).ok_or_else(|| format!("no value {name}"))?;
        values.get(value).cloned().ok_or_else(|| format!("nothing computes {name}"))
    };
    let layers = Layers::read(folder);
    for (at, record) in layers.records.iter().enumerate() {
        let name = record["tensor"].as_str().unwrap_or_default();
        layers.check(at, &named(name)?).map_err(|why| format!("{} {name}: {why}", record["type"]))?;
    }
    for (name, output) in golden["outputs"].as_object().expect("golden.json lists outputs") {
        let found = named(name)?;
        let expected = common::array(&folder.join("golden").join(output["file"].as_str().expect("a file")));
        let found = if output["rows"].is_string() { rows(folder, &found) } else { found };
        common::compare(&found, &expected).map_err(|why| format!("output {name}: {why}"))?;
    }
    Ok(())
}

/// The rows of a table that `rows.npy` lists.
fn rows(folder: &Path, table: &Tensor) -> Tensor {
    let listed = common::array(&folder.join("golden/rows.npy")).data;
    let width = table.shape.last().copied().unwrap_or(1);
    let data = listed.iter().flat_map(|&row| table.data[row as usize * width..][..width].to_vec()).collect();
    Tensor { shape: vec![listed.len(), width], data }
}

/// A map of `n, c, h, w` in TensorFlow's order.
fn channels_last(map: &Tensor) -> Tensor {
    let [n, c, h, w] = map.shape[..] else { panic!("four dimensions") };
    let mut data = Vec::with_capacity(map.data.len());
    for image in 0..n {
        for pixel in 0..h * w {
            data.extend((0..c).map(|channel| map.data[(image * c + channel) * h * w + pixel]));
        }
    }
    Tensor { shape: vec![n, h, w, c], data }
}

fn json(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the network was given; bytes are shifted and scaled.
fn inputs(folder: &Path, golden: &Json) -> std::collections::HashMap<String, Vec<f32>> {
    let given = golden["inputs"].as_object().expect("golden.json lists inputs");
    given
        .iter()
        .map(|(name, input)| {
            let mut tensor =
                common::array(&folder.join("golden").join(input["file"].as_str().expect("a file")));
            if let (Some(mean), Some(scale)) = (input["mean"].as_array(), input["scale"].as_array()) {
                let number = |list: &[Json], at: usize| list[at].as_f64().expect("a number") as f32;
                let plane: usize = tensor.shape[2..].iter().product();
                for (at, value) in tensor.data.iter_mut().enumerate() {
                    let channel = at / plane % mean.len();
                    *value = (*value - number(mean, channel)) * number(scale, channel);
                }
            }
            (name.clone(), tensor.data)
        })
        .collect()
}

/// Compares every output file.
fn outputs_of(
    folder: &Path,
    golden: &Json,
    graph: &Graph,
    values: &std::collections::HashMap<Value, Tensor>,
) -> Result<(), String> {
    let outputs = golden["outputs"].as_object().expect("golden.json lists outputs");
    for (name, output) in outputs {
        let found = graph.outputs.iter().find(|(known, _)| known == name);
        let (_, value) = found.ok_or_else(|| format!("no output {name}"))?;
        let file = output["file"].as_str().expect("a file");
        let expected = common::array(&folder.join("golden").join(file));
        common::compare(&values[value], &expected).map_err(|why| format!("output {name}: {why}"))?;
    }
    Ok(())
}

/// What the framework computed in every layer: all of it, or statistics and sixteen values.
struct Layers {
    records: Vec<Json>,
    values: Vec<u8>,
}

impl Layers {
    fn read(folder: &Path) -> Self {
        let records = json(&folder.join("golden/layers.json")).as_array().cloned().expect("a list");
        assert!(!records.is_empty(), "{}: no layers to compare", folder.display());
        Self { records, values: std::fs::read(folder.join("golden/layers.f32")).unwrap_or_default() }
    }

    fn check(&self, at: usize, found: &Tensor) -> Result<(), String> {
        let record = &self.records[at];
        let shape: Vec<usize> = record["shape"]
            .as_array()
            .expect("a shape")
            .iter()
            .map(|dim| dim.as_u64().unwrap_or(0) as usize)
            .collect();
        if found.shape != shape {
            return Err(format!("shape {:?}, not {shape:?}", found.shape));
        }
        if let (Some(offset), false) = (record["offset_f32"].as_u64(), self.values.is_empty()) {
            let bytes = &self.values[4 * offset as usize..][..4 * found.data.len()];
            let data = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            return common::compare(found, &Tensor { shape, data }).map(drop);
        }
        let count = found.data.len();
        let number = |name: &str| record[name].as_f64().unwrap_or(f64::NAN);
        let (min, max) = (number("min"), number("max"));
        let largest = min.abs().max(max.abs());
        let allowed = (2e-4 * largest).max(1e-5);
        let near =
            |what: &str, found: f64, expected: f64, allowed: f64| match (found - expected).abs() <= allowed {
                true => Ok(()),
                false => Err(format!("{what} {found}, not {expected}")),
            };
        let floats = || found.data.iter().map(|value| f64::from(*value));
        near("min", floats().fold(f64::INFINITY, f64::min), min, allowed)?;
        near("max", floats().fold(f64::NEG_INFINITY, f64::max), max, allowed)?;
        near("mean", floats().sum::<f64>() / count as f64, number("mean"), allowed)?;
        near("sum of magnitudes", floats().map(f64::abs).sum(), number("sum_abs"), allowed * count as f64)?;
        near(
            "l2",
            floats().map(|x| x * x).sum::<f64>().sqrt(),
            number("l2"),
            allowed * (count as f64).sqrt(),
        )?;
        for (list, start) in [("first8", 0), ("mid8", count / 2)] {
            for (at, expected) in record[list].as_array().into_iter().flatten().enumerate() {
                near(
                    list,
                    f64::from(found.data[start + at]),
                    expected.as_f64().unwrap_or(f64::NAN),
                    allowed,
                )?;
            }
        }
        Ok(())
    }
}
