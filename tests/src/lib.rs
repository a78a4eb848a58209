//! What the whole-system tests share: the built command, and small files to run it on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// Path of the `secateur` command, built on the first call in the profile of the running test.
pub fn secateur_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().expect("a test has a path");
        // target/PROFILE/deps/TEST
        let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
        let mut cargo = Command::new(env!("CARGO"));
        // The same features as in the tests' own build, so that nothing is compiled twice.
        cargo.args([
            "build",
            "--quiet",
            "--package",
            "secateur",
            "--bin",
            "secateur",
            "--features",
            "testing",
        ]);
        cargo.arg("--target-dir").arg(folder.parent().expect("target"));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(root()).status().expect("cargo starts");
        assert!(built.success(), "the command does not build");
        folder.join("secateur")
    })
}

/// The `secateur` command, ready for arguments; it runs in the workspace's root.
pub fn secateur() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(secateur_path());
    command.current_dir(root()).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}
