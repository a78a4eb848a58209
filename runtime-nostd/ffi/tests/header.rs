//! The header in `include` is what cbindgen makes of the functions.

use std::path::Path;

/// Set, the header is written instead of compared.
const WRITE: &str = "SECATEUR_WRITE_HEADER";

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn the_header_is_that_of_the_functions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let builder = cbindgen::Builder::new().with_config(config).with_src(folder.join("src/ffi.rs"));
    let bindings = builder.generate().expect("the functions have bindings");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let path = folder.join("include/secateur.h");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read(&path).unwrap_or_default();
    assert!(found == made, "include/secateur.h is old: run this test with {WRITE}=1");
}
