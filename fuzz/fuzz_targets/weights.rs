//! Any bytes as the .weights of a small network with every kind of layer that has weights.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use secateur_frontend::darknet::{Cfg, build_graph, read_weights, write_weights};
use secateur_ir::{Graph, verify_weights};

const CFG: &str = "[net]\nwidth=4\nheight=4\nchannels=1\n\
    [convolutional]\nfilters=2\nbatch_normalize=1\n\
    [convolutional]\nfilters=2\ngroups=2\n\
    [shortcut]\nfrom=-2\nweights_type=per_channel\n\
    [batchnorm]\n\
    [avgpool]\n\
    [connected]\noutput=2\nbatch_normalize=1\n";

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let cfg = Cfg::parse(Path::new("fuzz.cfg"), CFG.as_bytes()).expect("a constant");
    build_graph(&cfg).expect("a constant")
});

fuzz_target!(|bytes: &[u8]| {
    match read_weights(&GRAPH, Path::new("fuzz.weights"), bytes) {
        Ok((header, weights)) => {
            verify_weights(&GRAPH, &weights).expect("read weights fit");
            assert!(write_weights(&GRAPH, header, &weights) == bytes);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
