//! The files of other frameworks.

use std::path::Path;

use secateur_base::Result;
use secateur_base::error::ErrorKind;
use secateur_frontend::caffe;
use secateur_frontend::caffe::net::{Net, State};
use secateur_frontend::caffe::weights::Weights;
use secateur_frontend::tensorflow;
use secateur_frontend::tensorflow::checkpoint::{Checkpoint, repair_checksums};
use secateur_frontend::tensorflow::graph_def::GraphDef;
use secateur_frontend::text_format::Document;
use secateur_frontend::wire::{Action, Message, rewrite};

use crate::{Outcome, Target};

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

fn outcome<T>(result: Result<T>, property: impl FnOnce(T) -> Outcome) -> Outcome {
    match result {
        Ok(value) => property(value),
        Err(error) => {
            assert!(error.kind() != ErrorKind::Internal, "{error}");
            Outcome::refused(&error)
        }
    }
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
            outcome(imported, |imported| Outcome::of(&imported.written.len().min(8)))
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
        outcome(imported, |imported| Outcome::of(&imported.written.len().min(8)))
    })
}
