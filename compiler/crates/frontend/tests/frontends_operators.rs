//! One-layer networks of other frameworks against what those frameworks computed.

mod common;

use std::path::Path;

use secateur_frontend::caffe::Options;
use secateur_frontend::onnx;
use secateur_frontend::tensorflow;
use secateur_frontend::tensorflow::graph_def::GraphDef;

/// Cases that are not translated, with the reason; at most one in twenty.
const REFUSED: &[(&str, &str)] = &[];

#[test]
fn caffe_operators() {
    let Some(data) = secateur_testing::data_dir() else { return };
    check(&data.join("frontends/caffe-ops"), caffe_case);
}

#[test]
fn tensorflow_operators() {
    let Some(data) = secateur_testing::data_dir() else { return };
    check(&data.join("frontends/tf1-ops"), tensorflow_case);
}

fn check(root: &Path, case: fn(&Path) -> Result<(), String>) {
    let folders = common::folders(root);
    let mut failures = Vec::new();
    let mut refused = 0;
    for folder in &folders {
        let name = common::name(folder);
        let is_refused = REFUSED.iter().any(|(known, _)| *known == name);
        refused += usize::from(is_refused);
        match (case(folder), is_refused) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => failures.push(format!("{name}: no longer refused")),
            (Err(why), false) => failures.push(format!("{name}: {why}")),
        }
    }
    assert!(!folders.is_empty(), "no cases in {}", root.display());
    assert!(refused * 20 <= folders.len(), "more than one in twenty is refused");
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), folders.len(), failures.join("\n"));
}

fn caffe_case(folder: &Path) -> Result<(), String> {
    // BVLC's Caffe computed the case, and takes the words for what they say.
    let options = Options { batch_statistics: true, ..Options::default() };
    let imported = common::caffe(&folder.join("net.prototxt"), &folder.join("net.caffemodel"), &options)
        .map_err(|error| format!("{error:?}"))?;
    let inputs =
        common::arrays(folder, "in_").into_iter().map(|(name, tensor)| (name, tensor.data)).collect();
    let values = common::run(&imported.graph, inputs)?;
    let expected = common::arrays(folder, "out_");
    if expected.is_empty() {
        return Err("nothing to compare".to_owned());
    }
    for (name, expected) in expected {
        let output = imported.graph.outputs.iter().find(|(output, _)| *output == name);
        let (_, value) = output.ok_or_else(|| format!("no output {name}"))?;
        common::compare(&values[value], &expected).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn tensorflow_case(folder: &Path) -> Result<(), String> {
    let graph = GraphDef::load(&folder.join("graph.pbtxt")).map_err(|error| format!("{error:?}"))?;
    let imported = tensorflow::import(&graph, None, &tensorflow::Options::default())
        .map_err(|error| format!("{error:?}"))?;
    let inputs =
        common::arrays(folder, "in_").into_iter().map(|(name, tensor)| (name, tensor.data)).collect();
    let values = common::run(&imported.graph, inputs)?;
    let output = imported.graph.outputs.iter().find(|(output, _)| output == "out");
    let (_, value) = output.ok_or("no output `out`")?;
    common::compare(&values[value], &common::array(&folder.join("out.npy"))).map(drop)
}

#[test]
fn onnx_operators() {
    let Some(data) = secateur_testing::data_dir() else { return };
    check(&data.join("frontends/onnx-ops"), onnx_case);
}

/// Runs the case with its inputs given when it runs, or all of them when it is read: some are parameters.
fn onnx_case(folder: &Path) -> Result<(), String> {
    let model = folder.join("model.onnx");
    let say = |error: secateur_base::Error| format!("{error:?}");
    let inputs: Vec<_> = (0..)
        .map(|at| folder.join(format!("in_{at}.npy")))
        .take_while(|file| file.is_file())
        .map(|file| common::typed_array(&file))
        .collect();
    // The generator writes the newest version; no operator here has another meaning in it.
    let options = onnx::Options { later_opsets: true, ..onnx::Options::default() };
    let imported = onnx::load(&model, &options).or_else(|refused| {
        let known = onnx::input_names(&model)?;
        if known.len() != inputs.len() {
            return Err(refused);
        }
        let fixed = known.into_iter().zip(inputs.iter().cloned()).collect();
        onnx::load(&model, &onnx::Options { fixed, ..options.clone() })
    });
    let imported = imported.map_err(say)?;
    let open = imported.inputs.iter().zip(&inputs).filter(|(name, _)| {
        imported.graph.inputs.iter().any(|&value| imported.graph.name(value) == name.as_str())
    });
    let open: Vec<_> = open.map(|(_, tensor)| tensor.clone()).collect();
    let outputs = secateur_tensor::evaluate(&imported.graph, &open, &mut |_, _| ()).map_err(say)?;
    for (at, found) in outputs.iter().enumerate() {
        let file = folder.join(format!("out_{at}.npy"));
        if !file.is_file() {
            return Err(format!("nothing to compare output {at} with"));
        }
        common::compare_tensors(found, &common::typed_array(&file))
            .map_err(|why| format!("output {at}: {why}"))?;
    }
    Ok(())
}
