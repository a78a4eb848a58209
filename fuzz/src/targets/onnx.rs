//! ONNX models.

use std::path::Path;

use secateur_base::error::ErrorKind;
use secateur_frontend::onnx::{self, Options};
use secateur_tensor::{Tensor, evaluate};

use crate::{Outcome, Target};

/// A model: refused, or a graph that runs on zeros where it is small.
pub(super) const ONNX: Target = Target {
    name: "onnx",
    run,
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

/// Larger networks are not run.
const MAX_WORK: u64 = 1 << 22;

fn run(bytes: &[u8]) -> Outcome {
    let imported = match onnx::import(Path::new("model.onnx"), bytes, &Options::default()) {
        Ok(imported) => imported,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
            return Outcome::refused(&error);
        }
    };
    let graph = imported.graph;
    let elements: u64 = graph.values.iter().map(|known| known.spec.len() as u64).sum();
    let macs = graph.nodes.iter().map(|node| secateur_tensor::cost::macs(&graph, node));
    if macs.fold(elements, u64::saturating_add) <= MAX_WORK {
        let inputs: Vec<Tensor> =
            graph.inputs.iter().map(|&input| Tensor::zeros(graph.spec(input).clone())).collect();
        // An index that is data may lie outside; nothing else may fail.
        let _ = evaluate(&graph, &inputs, &mut |value, tensor| assert_eq!(tensor.spec(), graph.spec(value)));
    }
    let operators: std::collections::BTreeSet<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    Outcome::of(&operators)
}
