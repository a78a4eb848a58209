//! A cfg and the graph that it becomes: `filetests/NAME.cfg` → `snapshots/system__filetests__NAME.snap`.

use std::path::Path;

use secateur_frontend::darknet::{Cfg, apply, build_graph};
use secateur_ir::{dump, verify};

#[test]
fn every_cfg_becomes_the_expected_graph() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("filetests");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("filetests") {
        let path = entry.expect("entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("name");
        let cfg = Cfg::load(&path).unwrap_or_else(|error| panic!("{error:?}"));
        let graph = build_graph(&cfg).unwrap_or_else(|error| panic!("{error:?}"));
        verify(&graph).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(apply(&cfg, &graph).to_bytes(), std::fs::read(&path).expect("cfg"), "{name}");
        insta::assert_snapshot!(name, dump(&graph));
        count += 1;
    }
    assert_eq!(count, 8);
}
