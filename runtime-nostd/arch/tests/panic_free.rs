//! No panic is reachable in the tiled kernels: a linked Cortex-M image that runs them contains none.

#[path = "../../tests/common/image.rs"]
mod image;

#[test]
fn linked_image_contains_no_panic() {
    let (manifest, scratch) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR"));
    image::assert_panic_free(manifest, scratch, &["--no-default-features"], "tiled");
}
