//! Any bytes as a .cfg: refused with a message, or read, written back unchanged and a valid graph.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use secateur_frontend::darknet::{Cfg, apply, build_graph};
use secateur_ir::{dump, stat, verify};

fuzz_target!(|bytes: &[u8]| {
    let cfg = match Cfg::parse(Path::new("fuzz.cfg"), bytes) {
        Ok(cfg) => cfg,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(cfg.to_bytes(), bytes);
    match build_graph(&cfg) {
        Ok(graph) => {
            verify(&graph).expect("built graphs are valid");
            assert_eq!(stat(&graph).len(), graph.nodes.len());
            assert!(dump(&graph).starts_with("image: "));
            let again = Cfg::parse(Path::new("again.cfg"), &apply(&cfg, &graph).to_bytes()).expect("was read before");
            assert_eq!(build_graph(&again).expect("was built before").nodes.len(), graph.nodes.len());
        }
        Err(error) => assert!(error.at_line().is_some(), "{error:?}"),
    }
});
