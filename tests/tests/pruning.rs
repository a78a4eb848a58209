//! Pruning of networks and images on which nothing can be measured, of files that do not belong together, and
//! the closed pruner's config file.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use secateur_tests::{TINY_CFG, done, secateur, tiny_project};

/// Bytes of the header of a .weights file.
const HEADER: usize = 20;
/// Words of the tiny network's first layer: bias, scale, mean, variance of 8 filters, then their weights.
const FILTERS: usize = 8;
/// Filters of its last convolution, which has biases and weights alone, and the channels that this reads.
const HEAD: (usize, usize) = (14, 12);

const LISTS: [&str; 6] = ["--names", "names", "--train", "list.txt", "--list", "list.txt"];

/// `prune`, to `w.prune` and `w.mask`.
fn prune(folder: &Path, weights: &str, options: &[&str]) -> assert_cmd::assert::Assert {
    let words = [&["prune", "net.cfg", weights, "-o", "w.prune"], &LISTS[..], options].concat();
    secateur().current_dir(folder).args(words).assert()
}

fn ana(folder: &Path, options: &[&str]) -> assert_cmd::assert::Assert {
    let words = ["ana", "net.cfg", "net.weights", "--names", "names", "--list", "list.txt", "-o", "a.json"];
    secateur().current_dir(folder).args([&words[..], options].concat()).assert()
}

/// Writes the project's weights with changed words to `name`.
fn change(folder: &Path, name: &str, words: impl IntoIterator<Item = usize>, value: f32) {
    let mut bytes = std::fs::read(folder.join("net.weights")).unwrap();
    for word in words {
        bytes[HEADER + 4 * word..][..4].copy_from_slice(&value.to_le_bytes());
    }
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// First word of the head's biases.
fn head_bias(folder: &Path) -> usize {
    let bytes = std::fs::read(folder.join("net.weights")).unwrap().len();
    (bytes - HEADER) / 4 - HEAD.0 * (1 + HEAD.1)
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes[HEADER..].chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn a_budget_needs_something_to_lose() {
    let project = tiny_project();
    let path = project.path();
    // Objectness far below every threshold: nothing is detected.
    let first = head_bias(path);
    change(path, "quiet.weights", [first + 4, first + 11], -30.0);
    for metric in ["dp", "agree", "map"] {
        let options = ["--metric", metric, "--budget", "0.01", "--allocation", "uniform"];
        prune(path, "quiet.weights", &options).code(1).stderr(contains("no loss of"));
        assert!(!path.join("w.prune").exists(), "{metric}");
    }
    for options in [&["--budget", "0.01"][..], &["--threshold", "0.01"], &["--rate", "0.3"]] {
        prune(path, "quiet.weights", options).code(1).stderr(contains("score .1 or above on 6 images"));
    }
    // Without labels there is nothing that mAP and the loss could lose.
    for image in 0..6 {
        std::fs::write(path.join(format!("pictures/{image}.txt")), "").unwrap();
    }
    for metric in ["map", "loss"] {
        ana(path, &["--metric", metric]).code(1).stderr(contains("no object is labelled"));
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let project = tiny_project();
    let path = project.path();
    for (word, value) in [(0, f32::NAN), (FILTERS, f32::INFINITY), (4 * FILTERS + 7, f32::NAN)] {
        change(path, "broken.weights", [word], value);
        prune(path, "broken.weights", &["--budget", "0.01"])
            .code(1)
            .stderr(contains("layer 0").and(contains("not a finite number")));
    }
}

/// As a sparsity training leaves them: all batch-norm scales of a layer are 0.
#[test]
fn a_dead_layer_is_pruned_and_stays_finite() {
    let project = tiny_project();
    let path = project.path();
    change(path, "dead.weights", FILTERS..2 * FILTERS, 0.0);
    let options = ["--metric", "dp", "--budget", "0.01"];
    prune(path, "dead.weights", &options).success().stdout(contains("NaN").not());
    let first = floats(&path.join("w.prune"));
    assert!(first.iter().all(|weight| weight.is_finite()));
    // A layer of 8 constants: most of them are of no use.
    let zero = first[4 * FILTERS..][..27 * FILTERS].chunks(27).filter(|f| f.iter().all(|&w| w == 0.0));
    assert!(zero.count() >= FILTERS / 2);
    // Its own files read back.
    prune(path, "dead.weights", &options).success();
    assert_eq!(floats(&path.join("w.prune")), first);
}

#[test]
fn metrics_without_labels_read_none() {
    let project = tiny_project();
    let path = project.path();
    let expected = |metric| {
        ana(path, &["--metric", metric]).success();
        std::fs::read(path.join("a.json")).unwrap()
    };
    let with_labels = ["dp", "agree"].map(expected);
    // Labels of another class list, then none.
    for image in 0..6 {
        std::fs::write(path.join(format!("pictures/{image}.txt")), "79 .5 .5 .1 .1\n").unwrap();
    }
    assert_eq!(["dp", "agree"].map(expected), with_labels);
    ana(path, &["--metric", "map"]).code(1).stderr(contains("class out of range"));
    for image in 0..6 {
        std::fs::remove_file(path.join(format!("pictures/{image}.txt"))).unwrap();
    }
    assert_eq!(["dp", "agree"].map(expected), with_labels);
    prune(path, "net.weights", &["--metric", "agree", "--rate", "0.2"]).success();
    ana(path, &["--metric", "map"]).code(1).stderr(contains("label file"));
}

#[test]
fn a_rate_out_of_reach_is_an_error() {
    let project = tiny_project();
    let path = project.path();
    for allocation in ["greedy", "threshold", "uniform"] {
        let options = ["--rate", "0.5", "--kernel-batch", "64", "--allocation", allocation];
        prune(path, "net.weights", &options)
            .code(1)
            .stderr(contains("cannot be reached").and(contains("at most 0.0% of the MACs")));
        assert!(!path.join("w.prune").exists(), "{allocation}");
    }
    prune(path, "net.weights", &["--rate", "0.3"]).success();
}

#[test]
fn masks_belong_to_the_weights_of_their_run() {
    let project = tiny_project();
    let path = project.path();
    let keep = |suffix: &str| {
        for kind in ["prune", "mask"] {
            std::fs::rename(path.join(format!("w.{kind}")), path.join(format!("{suffix}.{kind}"))).unwrap();
        }
    };
    for granularity in ["channel", "vector:8"] {
        let uniform = |rate| {
            let options = ["--granularity", granularity, "--allocation", "uniform", "--rate", rate];
            prune(path, "net.weights", &options).success();
        };
        uniform("0.2");
        keep("old");
        uniform("0.4");
        keep("new");
        let transform = |weights: &str, masks: &str, more: &[&str]| {
            let words = ["transform", "net.cfg", weights, "--masks", masks];
            let output = ["--out-cfg", "cut.cfg", "--out-weights", "cut.weights"];
            secateur().current_dir(path).args(words).args(output).args(more).assert()
        };
        // A run that is killed between its two files leaves new masks with old weights.
        transform("old.prune", "new.mask", &[]).code(1).stderr(contains("other weights"));
        transform("new.prune", "old.mask", &[]).code(1).stderr(contains("other weights"));
        assert!(!path.join("cut.weights").exists());
        transform("new.prune", "new.mask", &[]).success();
        transform("old.prune", "new.mask", &["--retrained"]).success();
        std::fs::remove_file(path.join("cut.weights")).unwrap();
    }
    let other = TINY_CFG.replace("filters=12", "filters=10");
    std::fs::write(path.join("other.cfg"), other).unwrap();
    let words = ["transform", "other.cfg", "net.weights", "--masks", "new.mask", "--retrained"];
    secateur().current_dir(path).args(words).assert().code(1);
}

/// Other images under the same names are other images.
#[test]
fn sensitivities_follow_the_content_of_images_and_labels() {
    let project = tiny_project();
    let path = project.path();
    let measured = |metric| {
        ana(path, &["--metric", metric, "--curves"]).success();
        std::fs::read(path.join("a.json")).unwrap()
    };
    let before = measured("dp");
    assert_eq!(measured("dp"), before);
    std::fs::copy(path.join("pictures/5.png"), path.join("pictures/0.png")).unwrap();
    let after = measured("dp");
    assert_ne!(after, before);
    std::fs::remove_file(path.join("a.json")).unwrap();
    assert_eq!(measured("dp"), after, "nothing of the old images is left");

    let before = measured("loss");
    std::fs::write(path.join("pictures/0.txt"), "1 0.25 0.5 0.5 0.5\n").unwrap();
    let after = measured("loss");
    assert_ne!(after, before);
    std::fs::remove_file(path.join("a.json")).unwrap();
    assert_eq!(measured("loss"), after);
}

/// Losses in int8 are those of the network that is deployed, and never mix with those in float.
#[test]
fn sensitivities_are_measured_in_the_deployed_integers() {
    let project = tiny_project();
    let path = project.path();
    let said = |options: &[&str]| {
        let assert = ana(path, options).success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let quantize = ["quantize", "net.cfg", "net.weights", "--list", "list.txt", "--names", "names"];
    done(path, &[&quantize[..], &["-o", "net.int8"]].concat());
    done(path, &["compile", "net.int8", "-o", "net.sct"]);
    let log = said(&["--metric", "map", "--threshold", "0.3", "--numeric", "int8"]);
    let json = done(path, &["map", "net.sct", "--list", "list.txt", "--names", "names", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let map = json["map"].as_f64().unwrap();
    assert!(map > 0.0 && log.contains(&format!("in int8: mAP: {map:.4} ")), "{map}: {log}");

    let points = |name: &str| -> serde_json::Value {
        let file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap();
        assert_eq!(file["setting"]["numeric"].as_str(), (name != "float.json").then_some("int8"), "{name}");
        file["points"].clone()
    };
    let curves = ["--metric", "dp", "--curves", "--threads"];
    said(&[&curves[..], &["1", "--numeric", "int8"]].concat());
    let int8 = std::fs::read(path.join("a.json")).unwrap();
    said(&[&curves[..], &["2", "--numeric", "int8"]].concat());
    assert_eq!(std::fs::read(path.join("a.json")).unwrap(), int8, "nothing is measured twice");
    std::fs::copy(path.join("a.json"), path.join("int8.json")).unwrap();
    std::fs::remove_file(path.join("a.json")).unwrap();
    said(&[&curves[..], &["2", "--numeric", "int8"]].concat());
    assert_eq!(std::fs::read(path.join("a.json")).unwrap(), int8, "two threads");
    said(&[&curves[..], &["2"]].concat());
    std::fs::rename(path.join("a.json"), path.join("float.json")).unwrap();
    let (int8, float) = (points("int8.json"), points("float.json"));
    let (int8, float) = (int8.as_array().unwrap(), float.as_array().unwrap());
    assert_eq!(int8.len(), float.len());
    for (int8, float) in int8.iter().zip(float) {
        let loss = |point: &serde_json::Value| point[2]["loss"].as_f64().unwrap();
        assert!(loss(int8) != loss(float) && (loss(int8) - loss(float)).abs() < 0.1, "{int8} {float}");
    }
    // `prune` measures what is missing as the file was measured.
    let mut half: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path.join("int8.json")).unwrap()).unwrap();
    half["points"].as_array_mut().unwrap().retain(|point| point[1].as_u64().unwrap() % 2 == 0);
    std::fs::write(path.join("half.json"), half.to_string()).unwrap();
    let words =
        ["prune", "net.cfg", "net.weights", "-o", "w.prune", "--ana", "half.json", "--threshold", "0.2"];
    done(path, &[&words[..], &["--list", "list.txt", "--names", "names"]].concat());
    let measured = points("w.points.json");
    assert!(measured.as_array().unwrap().len() > half["points"].as_array().unwrap().len());
    assert!(measured.as_array().unwrap().iter().all(|point| int8.contains(point)), "{measured}");
}

#[test]
fn inputs_are_never_overwritten() {
    let project = tiny_project();
    let path = project.path();
    let weights = std::fs::read(path.join("net.weights")).unwrap();
    prune(path, "net.weights", &["--rate", "0.2"]).success();
    for line in [
        "ana net.cfg net.weights --list list.txt --names names -o net.weights",
        "ana net.cfg net.weights --list list.txt --names names -o list.txt",
        "prune net.cfg net.weights --list list.txt --train list.txt --names names --rate 0.2 -o net.weights",
        "prune net.cfg net.weights --list list.txt --train list.txt --names names --rate 0.2 -o a --masks a",
        "prune net.cfg net.weights --list list.txt --train list.txt --names names --rate 0.2 -o a --masks names",
        "transform net.cfg w.prune --masks w.mask --out-weights net.cfg --out-cfg new.cfg",
        "transform net.cfg w.prune --masks w.mask --out-weights a --out-cfg w.mask",
        "transform net.cfg w.prune --out-weights a --out-cfg a",
        "permute net.cfg net.weights -o net.weights",
    ] {
        let refused = contains("would overwrite an input").or(contains("two outputs"));
        secateur().current_dir(path).args(line.split(' ')).assert().code(1).stderr(refused);
    }
    assert_eq!(std::fs::read(path.join("net.weights")).unwrap(), weights);
    assert_eq!(std::fs::read(path.join("net.cfg")).unwrap(), TINY_CFG.as_bytes());
}

/// Every command of the closed pruner takes its config file, comments behind values included.
#[test]
fn every_verb_takes_the_config_file() {
    let project = tiny_project();
    let path = project.path();
    std::fs::write(path.join("my.data"), "classes=2\ntrain=list.txt\nvalid=list.txt\nnames=names\n").unwrap();
    let config = "[pruning]\nworkspace=work\ndatacfg=my.data\nmodelcfg=net.cfg\n\
                  threshold=0.02 # two percent\nkernel_batch=2;lanes\n";
    std::fs::write(path.join("pruning.cfg"), config).unwrap();
    assert_eq!(done(path, &["stat", "pruning.cfg"]), done(path, &["stat", "net.cfg"]));
    let map =
        |cfg: &str, data: &[&str]| done(path, &[&["map", cfg, "net.weights", "--per-class"], data].concat());
    assert_eq!(map("pruning.cfg", &[]), map("net.cfg", &["--data", "my.data"]));
    assert_eq!(map("pruning.cfg", &["--split", "train"]), map("net.cfg", &["--data", "my.data"]));
    let lists = ["--list", "list.txt", "--names", "names"];
    assert_eq!(map("pruning.cfg", &lists), map("net.cfg", &lists));
    let log = done(path, &["ana", "pruning.cfg", "net.weights"]);
    assert!(log.contains("threshold:0.02") && log.contains("kernel_batch:2"), "{log}");
    done(path, &["prune", "pruning.cfg", "net.weights"]);
    let masks = ["--masks", "work/weights.mask"];
    done(path, &[&["transform", "pruning.cfg", "work/weights.prune"], &masks[..]].concat());
    assert!(path.join("work/net-transform.cfg").exists());
    let without = config.replace("datacfg=my.data\n", "");
    std::fs::write(path.join("pruning.cfg"), without).unwrap();
    let words = ["map", "pruning.cfg", "net.weights"];
    secateur().current_dir(path).args(words).assert().code(1).stderr(contains("no images given"));
}
