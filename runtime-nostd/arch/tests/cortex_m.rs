//! The kernels for the DSP extension of Cortex-M4, M7, M33 and M55, run under QEMU: random cases against the reference kernels, and instruction counts of
//! whole networks beside CMSIS-NN's. Skipped with the reason where an emulator or a target is missing, but never in CI.
#![cfg(not(miri))]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGETS: [&str; 2] = ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"];

fn counts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counts")
}

/// Returns true if all that the programs take is there.
fn is_ready() -> bool {
    let succeeds = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let root =
        sysroot.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).unwrap_or_default();
    let has = |target: &str| Path::new(&root).join("lib/rustlib").join(target).is_dir();
    let missing = [
        (succeeds(Command::new("qemu-system-arm").arg("--version")), "qemu-system-arm"),
        (succeeds(Command::new("python3").arg("--version")), "python3"),
        (succeeds(Command::new("gcc").arg("--version")), "gcc"),
        (has(TARGETS[0]), TARGETS[0]),
        (has(TARGETS[1]), TARGETS[1]),
    ];
    let missing: Vec<&str> = missing.iter().filter(|(there, _)| !there).map(|(_, name)| *name).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "missing: {}", missing.join(", "));
    if !missing.is_empty() {
        println!("skipped: {} missing", missing.join(", "));
    }
    missing.is_empty()
}

/// Builds and runs what `counts/run` does with `options`; its output.
fn run(options: &[&str]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cortex-m");
    let done = Command::new(counts().join("run"))
        .args(options)
        .arg("--target-dir")
        .arg(target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

#[test]
fn kernels_give_the_bytes_of_the_reference() {
    if !is_ready() {
        return;
    }
    let cases: u64 = std::env::var("SECATEUR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    // The program fails where a byte differs, or too few cases reached the kernels.
    for core in ["m4", "m33"] {
        println!("{}", run(&["--core", core, "--random", &(6000 * cases).to_string()]));
    }
}

#[test]
fn an_artefact_runs_step_by_step_as_on_the_reference() {
    if !is_ready() {
        return;
    }
    for seed in 0..3 {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packed-{seed}.sct"));
        std::fs::write(&file, common::packed::networks(seed).0.bytes()).unwrap();
        let text = run(&["--artefact", file.to_str().unwrap()]);
        assert!(text.contains("2 steps alike"), "{text}");
    }
}

#[test]
fn networks_take_fewer_instructions_than_with_cmsis_nn() {
    if !is_ready() {
        return;
    }
    println!("{}", run(&["--core", "m4"]));
}
