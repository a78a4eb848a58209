//! Shared by tests: the folder of test data, and random networks for property tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};

mod network;
mod weights;

pub use network::{RandomOptions, random_network};
pub use weights::random_weights;

/// The folder of real models and images: `SECATEUR_DATA`, else `../shared/data` beside the workspace or
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
        skipped(&message);
    }
    found.and_then(|folder| folder.canonicalize().ok())
}

/// Prints that the running test is skipped, and why.
pub fn skipped(why: &str) {
    let test = std::thread::current();
    // Not `eprintln!`, which a test's runner keeps to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", test.name().unwrap_or("a test"));
}

/// How many random cases a property test runs: `SECATEUR_CASES` times the usual number.
///
/// # Panics
/// Where `SECATEUR_CASES` is no whole number from 1.
pub fn cases(usual: u64) -> u64 {
    let times = std::env::var("SECATEUR_CASES").map_or(Some(1), |n| n.parse().ok().filter(|&n| n > 0));
    usual * times.expect("SECATEUR_CASES is a whole number from 1: how many times the usual number")
}
