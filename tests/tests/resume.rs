//! `ana`, killed at any moment and started again, ends with the bytes of an undisturbed run.
#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use secateur_tests::{secateur_path, tiny_project};

fn ana(folder: &Path, network: [&Path; 2], list: &Path, names: &Path) -> Child {
    let mut command = Command::new(secateur_path());
    command.arg("ana").args(network).arg("--list").arg(list).arg("--names").arg(names);
    command.args(["--images", "6", "-o", "ana.json"]).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn sensitivities_of_a_real_detector_survive_kills() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let model = data.join("models/yolo-fastest-1.1");
    let (cfg, weights) = (model.join("model.cfg"), model.join("model.weights"));
    let (list, names) = (data.join("coco128/train2017.txt"), model.join("names"));
    let start = |folder: &Path| ana(folder, [&cfg, &weights], &list, &names);

    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(start(whole.path()).wait().unwrap().success());
    let expected = std::fs::read(whole.path().join("ana.json")).unwrap();

    let file = killed.path().join("ana.json");
    let mut seen = 0;
    for _ in 0..4 {
        let mut child = start(killed.path());
        let began = Instant::now();
        // Kill it each time it has saved something new.
        let size = || std::fs::metadata(&file).map_or(0, |m| m.len());
        while size() <= seen && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(300), "nothing is ever saved");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen = size();
    }
    assert!(seen > 0 && seen < expected.len() as u64, "{seen} of {} bytes when killed", expected.len());
    assert!(start(killed.path()).wait().unwrap().success());
    assert!(std::fs::read(&file).unwrap() == expected);
}

#[test]
fn sensitivities_of_another_network_are_not_taken_over() {
    let project = tiny_project();
    let path = project.path();
    let start = || {
        let names = [Path::new("net.cfg"), Path::new("net.weights")];
        ana(path, names, Path::new("list.txt"), Path::new("names")).wait().unwrap().success()
    };
    assert!(start());
    let first = std::fs::read(path.join("ana.json")).unwrap();
    let mut weights = std::fs::read(path.join("net.weights")).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 0x80;
    std::fs::write(path.join("net.weights"), weights).unwrap();
    assert!(start(), "other weights are measured anew");
    assert_ne!(std::fs::read(path.join("ana.json")).unwrap(), first);
}
