//! Bare-metal images in which no panic may be left.

use std::path::Path;
use std::process::Command;

fn contains(image: &[u8], word: &str) -> bool {
    image.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Builds `panic_free` of the crate at `manifest` for a Cortex-M; its symbol table names `kernel` and
/// nothing that panics.
pub(crate) fn assert_panic_free(manifest: &str, scratch: &str, options: &[&str], kernel: &str) {
    let folder = Path::new(scratch).join("panic-free");
    let built = Command::new(env!("CARGO"))
        .current_dir(manifest)
        .args(["build", "--quiet", "--release", "--target", "thumbv7em-none-eabihf"])
        .args(["--features", "panic-free-image", "--bin", "panic_free", "--target-dir"])
        .arg(&folder)
        .args(options)
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
    assert!(contains(&image, kernel), "the symbol table is there, and the kernels are");
    for word in ["panicking", "unwrap_failed", "expect_failed", "slice_index_fail"] {
        assert!(!contains(&image, word), "the image contains {word}");
    }
}
