//! A full disk: every verb that writes says so, fails with 1 and leaves nothing half-written.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

use secateur_tests::{secateur, secateur_path, tiny_project};

/// Runs a shell line with `secateur` on the path, in `folder`.
fn shell(folder: &Path, line: &str) -> Output {
    let tool = secateur_path().parent().expect("a program lies in a folder");
    let path = format!("{}:{}", tool.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", line]).current_dir(folder).env("PATH", path).env("NO_COLOR", "1").output().unwrap()
}

/// A project with everything that the later verbs read.
fn finished_project() -> tempfile::TempDir {
    let project = tiny_project();
    for line in [
        "ana net.cfg net.weights --list list.txt --names names -o ana.json",
        "prune net.cfg net.weights --ana ana.json --list list.txt --names names --rate 0.2 --masks weights.mask -o weights.prune",
        "quantize net.cfg net.weights --list list.txt -o net.int8",
        "compile net.int8 -o net.sct",
    ] {
        secateur().current_dir(project.path()).args(line.split(' ')).assert().success();
    }
    std::fs::create_dir(project.path().join("full")).unwrap();
    project
}

/// One line a verb that writes.
const WRITERS: [&str; 8] = [
    "ana net.cfg net.weights --list list.txt --names names -o full/ana.json",
    "prune net.cfg net.weights --ana ana.json --list list.txt --names names --rate 0.2 --masks full/m -o full/w",
    "transform net.cfg weights.prune --masks weights.mask --out-cfg full/a.cfg --out-weights full/a.weights",
    "quantize net.cfg net.weights --list list.txt -o full/net.int8",
    "compile net.int8 -o full/net.sct",
    "dump net.cfg net.weights pictures/0.png -o full",
    "detect net.cfg net.weights pictures/0.png --thresh 0.01 --out full",
    "map net.cfg net.weights --list list.txt --names names --report full/map.json",
];

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
    let project = finished_project();
    let mount = "mount -t tmpfs -o size=4k none full && head -c 4096 /dev/zero > full/filler";
    if !shell(project.path(), &format!("unshare -rm bash -c '{mount}'")).status.success() {
        // Without user namespaces the test below still covers the writing itself.
        secateur_testing::skipped("no mount namespace here");
        return;
    }
    for line in WRITERS {
        let inside = format!("{mount}; secateur {line}; code=$?; echo LEFT:; ls -A full; exit $code");
        let output = shell(project.path(), &format!("unshare -rm bash -c '{inside}'"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        assert!(error.contains("No space left"), "{line}: {error}");
        let listing = String::from_utf8_lossy(&output.stdout);
        assert!(listing.ends_with("LEFT:\nfiller\n"), "{line}: {listing}");
    }
}

/// A training that meets a full disk keeps its last checkpoint, and ends as if nothing had been.
#[test]
fn a_training_outlives_a_full_disk() {
    let project = tiny_project();
    std::fs::create_dir(project.path().join("full")).unwrap();
    let mount = "mount -t tmpfs -o size=2m none full";
    if !shell(project.path(), &format!("unshare -rm bash -c '{mount}'")).status.success() {
        secateur_testing::skipped("no mount namespace here");
        return;
    }
    let train = "secateur train net.cfg net.weights --train list.txt --list list.txt --names names \
                 --batches 300 --batch 4 --evaluate-every 100 --backup";
    let whole = shell(project.path(), &format!("{train} whole"));
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let fill = "head -c 4m /dev/zero > full/filler";
    let steps = format!(
        "{mount}; timeout -s INT 0.5 {train} full; {fill}; {train} full; echo CODE $?; rm full/filler; \
         {train} full && cmp full/net_final.weights whole/net_final.weights && echo SAME"
    );
    let output = shell(project.path(), &format!("unshare -rm bash -c '{steps}'"));
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("CODE 1") && error.contains("No space left"), "{said}{error}");
    assert!(said.ends_with("SAME\n"), "{said}{error}");
}

#[test]
fn a_device_that_is_full_is_an_error_and_stays_a_device() {
    let project = finished_project();
    for line in [
        "quantize net.cfg net.weights --list list.txt -o /dev/full",
        "compile net.int8 -o /dev/full",
        "map net.cfg net.weights --list list.txt --names names --report /dev/full",
        "info net.cfg > /dev/full",
    ] {
        let output = shell(project.path(), &format!("secateur {line}"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        assert!(error.contains("No space left"), "{line}: {error}");
    }
    assert!(!std::fs::metadata("/dev/full").unwrap().is_file());
}
