//! The files of other frameworks.

use std::collections::BTreeSet;
use std::path::Path;

use secateur_base::Result;
use secateur_frontend::caffe;
use secateur_frontend::caffe::net::{Net, State};
use secateur_frontend::caffe::weights::Weights;
use secateur_frontend::onnx;
use secateur_frontend::tensorflow;
use secateur_frontend::tensorflow::checkpoint::{Checkpoint, repair_checksums};
use secateur_frontend::tensorflow::graph_def::GraphDef;
use secateur_frontend::text_format::Document;
use secateur_frontend::wire::{Action, Message, rewrite};
use secateur_tensor::{Graph, Op, Tensor, cost, evaluate};

use super::outcome;
use crate::{Outcome, Target};

/// An ONNX model: refused, or a network that runs where it is small.
pub(super) const ONNX: Target = Target {
    name: "onnx",
    run: onnx,
    words: &[
        b"\x0a\x05",
        b"\xff\xff\xff\xff\x0f",
        b"Conv",
        b"Reshape",
        b"ConstantOfShape",
        b"Tile",
        b"Pad",
        b"Resize",
        b"Gather",
        b"kernel_shape",
        b"axis",
    ],
};
/// A prototxt: refused with a line, or written back byte for byte; read as a net or refused.
pub(super) const PROTOTXT: Target = Target {
    name: "prototxt",
    run: prototxt,
    words: &[
        b"layer {",
        b"layers {",
        b"}",
        b"name: \"a\" ",
        b"type: \"Pooling\" ",
        b"[1, 2]",
        b"#",
        b"<",
        b"\\377",
        b"pad: 1 ",
    ],
};
/// A caffemodel: refused, or blobs that take no more than the file; copied byte for byte.
pub(super) const CAFFEMODEL: Target = Target {
    name: "caffemodel",
    run: caffemodel,
    words: &[b"\xa2\x06", b"\xff\xff\xff\xff\x0f", b"\x2a\x04", b"\x0b"],
};
/// The index of a checkpoint, its checksums repaired: refused, or variables within the file.
pub(super) const CHECKPOINT: Target =
    Target { name: "checkpoint", run: checkpoint, words: &[b"\xff\xff\xff\xff\x0f", b"\x00\x01", b"\x80"] };
/// A graph as text or bytes: refused, or its nodes.
pub(super) const GRAPH_DEF: Target = Target {
    name: "graph_def",
    run: graph_def,
    words: &[
        b"node {",
        b"attr {",
        b"tensor {",
        b"dim { size: 99999999 }",
        b"input: \"x:1\"",
        b"\x0a\x05",
        b"\xff\xff\xff\xff\x0f",
    ],
};

fn onnx(bytes: &[u8]) -> Outcome {
    let imported = onnx::import(Path::new("fuzz.onnx"), bytes, &onnx::Options::default());
    outcome(imported, |imported| run(&imported.graph))
}

/// Larger networks are not run.
const MAX_WORK: u64 = 1 << 22;

/// Runs a network on zeros, if it is small; its operators.
fn run(graph: &Graph) -> Outcome {
    let elements: u64 = graph.values.iter().map(|known| known.spec.len() as u64).sum();
    let macs = graph.nodes.iter().map(|node| cost::macs(graph, node));
    if macs.fold(elements, u64::saturating_add) <= MAX_WORK {
        let inputs = graph.inputs.iter().map(|&input| Tensor::zeros(graph.spec(input).clone()));
        let detects = graph.nodes.iter().any(|node| matches!(node.op, Op::DetectionOutput(_)));
        // An index that is data may lie outside; nothing else may fail.
        let _ = evaluate(graph, &inputs.collect::<Vec<_>>(), &mut |value, tensor| {
            // How many objects are detected only the data say.
            assert!(
                detects || tensor.spec() == graph.spec(value),
                "{} became {}",
                graph.spec(value),
                tensor.spec()
            );
        });
    }
    let operators: BTreeSet<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    Outcome::of(&operators)
}

fn prototxt(bytes: &[u8]) -> Outcome {
    outcome(Document::parse(Path::new("fuzz.prototxt"), bytes.to_vec()), |document| {
        assert!(document.to_bytes() == bytes, "the text changed");
        outcome(Net::read(&document, &State::default()), |net| {
            for layer in &net.layers {
                if let Err(error) =
                    layer.params("convolution_param").and_then(|params| params.size("pad", 0, 0))
                {
                    assert!(error.at_line().is_some(), "{error}");
                }
            }
            let imported = caffe::import(&net, None, &caffe::Options::default());
            outcome(imported, |imported| run(&imported.graph))
        })
    })
}

fn caffemodel(bytes: &[u8]) -> Outcome {
    let fields = Message(bytes).fields().collect::<Result<Vec<_>>>();
    if let Ok(fields) = fields {
        assert_eq!(fields.iter().map(|field| field.raw.len()).sum::<usize>(), bytes.len());
        assert_eq!(rewrite(bytes, |_| Ok(Action::Keep)).expect("it was read"), None);
    }
    outcome(Weights::parse(Path::new("fuzz.caffemodel"), bytes), |weights| {
        let names = weights.names();
        let blobs = names.iter().filter_map(|name| weights.layer(name)).flatten();
        let values: usize = blobs.map(|blob| blob.data.len()).sum();
        assert!(4 * values <= bytes.len(), "more values than the file has");
        Outcome::of(&names.len().min(8))
    })
}

fn checkpoint(bytes: &[u8]) -> Outcome {
    let index = repair_checksums(bytes);
    outcome(Checkpoint::parse(Path::new("fuzz.ckpt"), &index), |checkpoint| {
        let names: usize = checkpoint.variables().keys().map(String::len).sum();
        assert!(names <= 64 * bytes.len(), "names without bound");
        Outcome::of(&checkpoint.variables().len().min(8))
    })
}

fn graph_def(bytes: &[u8]) -> Outcome {
    outcome(GraphDef::parse(Path::new("fuzz.pb"), bytes.to_vec()), |graph| {
        assert!(graph.nodes.len() <= bytes.len());
        let imported = tensorflow::import(&graph, None, &tensorflow::Options::default());
        outcome(imported, |imported| run(&imported.graph))
    })
}
