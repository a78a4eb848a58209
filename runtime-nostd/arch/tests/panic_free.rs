//! No panic is reachable in the tiled kernels, nor in those of Cortex-M4 and M7: linked Cortex-M images that run them contain
//! none.

#[path = "../../tests/common/image.rs"]
mod image;

#[test]
fn linked_image_contains_no_panic() {
    let (manifest, scratch) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR"));
    image::assert_panic_free(manifest, scratch, &["--no-default-features"], "tiled");
    let options = ["--no-default-features", "--features", "armv7em"];
    image::assert_panic_free(manifest, scratch, &options, "secateur_pw4_folded_linear");
}
