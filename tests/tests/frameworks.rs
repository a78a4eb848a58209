//! Networks of other frameworks, as the command shows and refuses them.

use std::path::Path;

use secateur_tests::done;

use crate::bad_input::refused;

const NET: &str = "name: \"n\"
input: \"data\" input_shape { dim: [1, 3, 8, 8] }
layer { name: \"relu\" type: \"ReLU\" bottom: \"data\" top: \"data\" }
layer { name: \"pool\" type: \"Pooling\" bottom: \"data\" top: \"pool\" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: \"loss\" type: \"SoftmaxWithLoss\" bottom: \"pool\" bottom: \"label\" top: \"loss\" }
";

const GRAPH: &str = "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } }
  attr { key: 'shape' value { shape { dim { size: -1 } dim { size: -1 } dim { size: 6 } dim { size: 2 } } } } }
node { name: 'y' op: 'MaxPool' input: 'x' attr { key: 'ksize' value { list { i: [1, 2, 2, 1] } } }
  attr { key: 'strides' value { list { i: [1, 2, 2, 1] } } } attr { key: 'padding' value { s: 'SAME' } } }
";

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("net.prototxt", NET.as_bytes());
    write("graph.pbtxt", GRAPH.as_bytes());
    // The corpus of the fuzzer has a model that the project's own code wrote.
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/onnx/conv-reshape");
    write("net.onnx", &std::fs::read(model).unwrap());
    folder
}

#[test]
fn info_shows_networks_by_their_content() {
    let project = project();
    let table = done(project.path(), &["info", "net.onnx"]);
    assert!(table.contains("Conv") && table.contains("3×3/1") && table.contains("1×1×4×4"), "{table}");
    assert!(table.contains("3 nodes, input x 1×2×4×4: 288 multiply-accumulates, 18 parameters"), "{table}");
    let table = done(project.path(), &["info", "net.prototxt"]);
    assert!(table.contains("Pooling") && table.contains("1×3×4×4"), "{table}");
    assert!(!table.contains("SoftmaxWithLoss"), "{table}");
    let table = done(project.path(), &["info", "graph.pbtxt", "--input-shape", "x=1,5,6,2"]);
    assert!(table.contains("output y 1×3×3×2"), "{table}");
}

#[test]
fn networks_that_lack_something_are_refused_by_name() {
    let project = project();
    let change = |name: &str, text: &str, from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(project.path().join(name), text.replacen(from, to, 1)).unwrap();
    };
    refused(project.path(), &["info", "graph.pbtxt"], &["graph.pbtxt", "input x", "--input-shape"]);
    refused(project.path(), &["info", "net.onnx", "--input-shape", "y=1,2"], &["no such input", "y"]);
    refused(project.path(), &["info", "net.onnx", "net.prototxt"], &["holds its own weights"]);
    change("bad.prototxt", NET, "\"ReLU\"", "\"Reloop\"");
    refused(project.path(), &["info", "bad.prototxt"], &["bad.prototxt:3", "relu", "Reloop"]);
    change(
        "bad.prototxt",
        NET,
        "\"ReLU\"",
        "\"Convolution\" convolution_param { num_output: 2 kernel_size: 1 }",
    );
    refused(project.path(), &["info", "bad.prototxt"], &["bad.prototxt:3", "caffemodel"]);
    change("bad.pbtxt", GRAPH, "'MaxPool'", "'Maxpool'");
    refused(
        project.path(),
        &["info", "bad.pbtxt", "--input-shape", "x=1,5,6,2"],
        &["bad.pbtxt:3", "Maxpool"],
    );
    let mut model = std::fs::read(project.path().join("net.onnx")).unwrap();
    let place = model.windows(7).position(|bytes| bytes == b"Softmax").unwrap();
    model[place..place + 7].copy_from_slice(b"Sofamax");
    std::fs::write(project.path().join("bad.onnx"), &model).unwrap();
    refused(project.path(), &["info", "bad.onnx"], &["bad.onnx", "Sofamax"]);
    model.truncate(place);
    std::fs::write(project.path().join("bad.onnx"), &model).unwrap();
    refused(project.path(), &["info", "bad.onnx"], &["bad.onnx"]);
}
