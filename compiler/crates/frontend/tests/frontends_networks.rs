//! Whole networks of other frameworks, layer by layer, against what those frameworks computed.

mod common;

use std::path::Path;

use secateur_frontend::caffe::Options;
use secateur_frontend::tensor::Tensor;
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
    let values = imported.graph.evaluate(&inputs).map_err(|error| format!("{error:?}"))?;
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
    outputs(folder, &golden, |name| {
        let (_, value) = imported.graph.outputs().iter().find(|(output, _)| output == name)?;
        Some(values[value].clone())
    })
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
fn outputs(folder: &Path, golden: &Json, found: impl Fn(&str) -> Option<Tensor>) -> Result<(), String> {
    let outputs = golden["outputs"].as_object().expect("golden.json lists outputs");
    for (name, output) in outputs {
        let found = found(name).ok_or_else(|| format!("no output {name}"))?;
        let file = output["file"].as_str().expect("a file");
        let expected = common::array(&folder.join("golden").join(file));
        common::compare(&found, &expected).map_err(|why| format!("output {name}: {why}"))?;
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
