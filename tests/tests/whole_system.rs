//! `sim --soc`: the firmware on a whole system, processor, memory controller and accelerator, in simulation.

use std::path::Path;
use std::process::Command;

use predicates::str::contains;
use secateur_testing::data_dir;
use secateur_tests::{compiled_project, done, secateur};

/// Runs an artefact in `folder` on the ULX3S's system, built in a cache that the tests share.
fn on_system(folder: &Path, artefact: &str, image: &Path) -> assert_cmd::assert::Assert {
    let mut command = secateur();
    command.current_dir(folder).args(["sim", artefact]).arg(image).args(["--soc", "ulx3s-85f"]);
    command.env("SECATEUR_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("workshop"));
    command.assert()
}

/// Cycles measured and predicted.
fn cycles(text: &str) -> (f64, f64) {
    let line = text.lines().find(|line| line.starts_with("accelerator: ")).unwrap();
    let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[test]
fn artefacts_of_other_targets_are_refused() {
    let project = compiled_project("npu-8x16");
    let image = Path::new("pictures/0.png");
    on_system(project.path(), "net.sct", image).code(1).stderr(contains("--target ulx3s-85f"));
    let mut command = secateur();
    command.current_dir(project.path()).args(["sim", "net.sct"]).arg(image);
    command.args(["--soc", "npu-8x16"]).assert().code(1).stderr(contains("is no system"));
    let host = compiled_project("host");
    on_system(host.path(), "net.sct", image).code(1).stderr(contains("program"));
}

#[test]
#[ignore = "builds a simulation of the whole system: a minute or two; ./check --all"]
fn networks_run_on_a_whole_system() {
    if Command::new("verilator").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "Verilator is not installed");
        eprintln!("skipped: Verilator is not installed");
        return;
    }
    let project = compiled_project("ulx3s-85f");
    let assert = on_system(project.path(), "net.sct", Path::new("pictures/0.png")).success();
    assert.stdout(contains("every byte as on this machine"));
    let Some(data) = data_dir() else { return };
    let (images, list) = (data.join("images"), data.join("coco128/train2017.txt"));
    for name in ["yoloface-50k", "ir-small-v4-40x40"] {
        let model = data.join("models").join(name);
        let (cfg, weights) = (model.join("model.cfg"), model.join("model.weights"));
        let paths = [&cfg, &weights, &list].map(|path| path.to_str().unwrap());
        let [cfg, weights, list] = paths;
        done(project.path(), &["quantize", cfg, weights, "--list", list, "--images", "16", "-o", "m.int8"]);
        done(project.path(), &["compile", "m.int8", "--target", "ulx3s-85f", "-o", "m.sct"]);
        let assert = on_system(project.path(), "m.sct", &images.join("person.jpg")).success();
        let text = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
        println!("{name}: {text}");
        let (measured, predicted) = cycles(&text);
        assert!((predicted / measured - 1.0).abs() < 0.03, "{name}: {text}");
    }
}
