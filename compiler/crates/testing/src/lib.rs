//! What tests share: where the test data lies, and random networks for property tests.

use std::path::{Path, PathBuf};

mod network;

pub use network::{RandomOptions, random_network, random_weights};

/// The folder of real models and pictures: `SECATEUR_DATA`, else `../shared/data` beside the workspace or
/// one folder further up. Where there is none the test prints that it was skipped and returns, except in
/// CI (`CI` set), where it fails.
///
/// # Panics
/// Where `CI` is set and there is no such folder.
pub fn data_dir() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let candidates = match std::env::var_os("SECATEUR_DATA") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => vec![root.join("../shared/data"), root.join("../../shared/data")],
    };
    let found = candidates.iter().find(|folder| folder.join("models").is_dir());
    if found.is_none() {
        let message = format!("no test data in {candidates:?}; set SECATEUR_DATA");
        assert!(std::env::var_os("CI").is_none(), "{message}");
        println!("skipped: {message}");
    }
    found.and_then(|folder| folder.canonicalize().ok())
}

/// How many random cases a property test runs: `SECATEUR_CASES`, else `usual`.
pub fn cases(usual: u64) -> u64 {
    std::env::var("SECATEUR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}
