//! Networks: cfg, weights, int8.

use std::path::Path;
use std::sync::LazyLock;

use secateur_base::error::ErrorKind;
use secateur_codegen::compile;
use secateur_codegen::target::Target as Processor;
use secateur_frontend::darknet::{Cfg, apply, build_graph, read_weights, write_weights};
use secateur_ir::{Graph, dump, parse, stat, verify, verify_weights};
use secateur_quant::QNet;
use secateur_runtime::artefact::crc32;

use crate::{Outcome, Target};

/// Any bytes as a .cfg: refused with a message, or read, written back unchanged and a valid graph.
pub(super) const CFG: Target = Target {
    name: "cfg",
    run: cfg,
    words: &[
        b"[net]\nwidth=8\nheight=8\nchannels=3\n",
        b"[convolutional]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=leaky\n",
        b"[maxpool]\nsize=2\nstride=2\n",
        b"[route]\nlayers=-1,-2\n",
        b"[shortcut]\nfrom=-2\n",
        b"[upsample]\nstride=2\n",
        b"[yolo]\nmask=0\nanchors=4,4\nclasses=1\n",
        b"[softmax]\n",
        b"[connected]\noutput=4\n",
        b"[avgpool]\n",
        b"[reorg]\nstride=2\n",
        b"[scale_channels]\nfrom=-3\n",
        b"batch_normalize=1\n",
        b"groups=2\n",
        b"filters=",
        b"size=",
        b"stride=",
        b"=-1\n",
        b"=99999999999\n",
        b"activation=swish\n",
    ],
};

/// Any text as the text form of a graph: refused, or a valid graph that reads back as itself.
pub(super) const GRAPH_TEXT: Target = Target {
    name: "graph",
    run: graph,
    words: &[b"conv ", b"pad=", b"[1, 1]", b"weights", b"%0", b"-> ", b"\n"],
};

/// Any bytes as the .weights of a small network with every kind of layer that has weights.
pub(super) const WEIGHTS: Target = Target { name: "weights", run: weights, words: &[] };

/// An int8 network, its CRC repaired: refused, or compiled for a processor and an accelerator.
pub(super) const INT8: Target = Target { name: "int8", run: int8, words: &[] };

fn cfg(bytes: &[u8]) -> Outcome {
    let cfg = match Cfg::parse(Path::new("fuzz.cfg"), bytes) {
        Ok(cfg) => cfg,
        Err(error) => return Outcome::refused(&error),
    };
    assert_eq!(cfg.to_bytes(), bytes);
    let graph = match build_graph(&cfg) {
        Ok(graph) => graph,
        Err(error) => {
            assert!(error.at_line().is_some(), "{error:?}");
            return Outcome::refused(&error);
        }
    };
    verify(&graph).expect("built graphs are valid");
    assert_eq!(stat(&graph).len(), graph.nodes.len());
    text_form_holds(&graph);
    let again = Cfg::parse(Path::new("again.cfg"), &apply(&cfg, &graph).to_bytes()).expect("was read before");
    assert_eq!(build_graph(&again).expect("was built before").nodes.len(), graph.nodes.len());
    Outcome::of(&graph.nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>())
}

/// A graph's text form reads back as itself.
fn text_form_holds(graph: &Graph) {
    let text = dump(graph);
    let again = parse(Path::new("fuzz.ir"), &text).expect("was written");
    assert_eq!(dump(&again), text);
}

fn graph(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::of(&"no text") };
    match parse(Path::new("fuzz.ir"), text) {
        Ok(graph) => {
            verify(&graph).expect("read graphs are valid");
            text_form_holds(&graph);
            Outcome::of(&graph.nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>())
        }
        Err(error) => Outcome::refused(&error),
    }
}

const WEIGHTED: &str = "[net]\nwidth=4\nheight=4\nchannels=1\n\
    [convolutional]\nfilters=2\nbatch_normalize=1\n\
    [convolutional]\nfilters=2\ngroups=2\n\
    [shortcut]\nfrom=-2\nweights_type=per_channel\n\
    [batchnorm]\n\
    [avgpool]\n\
    [connected]\noutput=2\nbatch_normalize=1\n";

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let cfg = Cfg::parse(Path::new("fuzz.cfg"), WEIGHTED.as_bytes()).expect("a constant");
    build_graph(&cfg).expect("a constant")
});

fn weights(bytes: &[u8]) -> Outcome {
    match read_weights(&GRAPH, Path::new("fuzz.weights"), bytes) {
        Ok((header, weights)) => {
            verify_weights(&GRAPH, &weights).expect("read weights fit");
            assert!(write_weights(&GRAPH, header, &weights) == bytes);
            Outcome::of(&"read")
        }
        Err(error) => Outcome::refused(&error),
    }
}

/// A network of more values is verified but not compiled.
const SIZE_LIMIT: usize = 1 << 14;

static PROCESSORS: LazyLock<[Processor; 2]> =
    LazyLock::new(|| ["host", "npu-8x16"].map(|name| Processor::load(name).expect("it is built in")));

fn int8(bytes: &[u8]) -> Outcome {
    let mut bytes = bytes.to_vec();
    let Some(body) = bytes.len().checked_sub(4) else { return Outcome::of(&"short") };
    let crc = crc32(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    let net = match QNet::from_bytes(Path::new("fuzz.int8"), &bytes) {
        Ok(net) => net,
        Err(error) => return Outcome::refused(&error),
    };
    let size: usize = net.nodes.iter().map(|node| node.output.shape.len()).fold(0, usize::saturating_add);
    if size > SIZE_LIMIT {
        return Outcome::of(&"large");
    }
    let mut outcomes = [0; 2];
    for (outcome, processor) in outcomes.iter_mut().zip(PROCESSORS.iter()) {
        *outcome = match compile(&net, processor, |_, _, _| ()) {
            Ok(_) => net.nodes.len() as u64,
            Err(error) => {
                assert!(error.kind() == ErrorKind::User, "{error}");
                Outcome::refused(&error).0
            }
        };
    }
    Outcome::of(&outcomes)
}
