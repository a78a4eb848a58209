//! No panic is reachable: a linked Cortex-M image of the whole runtime contains none.

#[path = "common/image.rs"]
mod image;

#[test]
fn linked_image_contains_no_panic() {
    let (manifest, scratch) = (env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR"));
    image::assert_panic_free(manifest, scratch, &[], "depthwise");
}
