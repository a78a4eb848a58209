//! No panic is reachable: a linked Cortex-M image of the whole runtime contains none.

use std::path::Path;
use std::process::Command;

fn contains(image: &[u8], word: &str) -> bool {
    image.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn linked_image_contains_no_panic() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic-free");
    let built = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--release", "--target", "thumbv7em-none-eabihf"])
        .args(["--features", "panic-free-image", "--bin", "panic_free", "--target-dir"])
        .arg(&folder)
        .envs([
            ("CARGO_PROFILE_RELEASE_LTO", "fat"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
            ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
            ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
        ])
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let image = std::fs::read(folder.join("thumbv7em-none-eabihf/release/panic_free")).unwrap();
    // The symbol table is there, and the kernels are.
    assert!(contains(&image, "depthwise"));
    for word in ["panicking", "unwrap_failed", "expect_failed", "slice_index_fail"] {
        assert!(!contains(&image, word), "the image contains {word}");
    }
}
