//! `build`: the whole pipeline from a recipe, with finished steps reused.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use secateur_tests::{secateur, secateur_path, tiny_project};

const RECIPE: &str = r#"workspace = "out"

[model]
cfg = "net.cfg"
weights = "net.weights"
names = "names"

[data]
train = "list.txt"
val = "list.txt"

[prune]
metric = "dp"
rate = 0.2

[detect]
images = ["pictures/0.png", "pictures/1.png"]
thresh = 0.1
"#;

const STEPS: [&str; 8] =
    ["map-float", "ana", "prune", "transform", "map-pruned", "quantize", "compile", "map-int8"];

fn project(recipe: &str) -> tempfile::TempDir {
    let folder = tiny_project();
    std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
    folder
}

/// Builds, and tells which steps ran and which were reused.
fn build(folder: &Path, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let output =
        secateur().current_dir(folder).args(["build", "recipe.toml"]).args(arguments).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let named = |says: &str| -> Vec<String> {
        let lines = log.lines().filter_map(|line| line.strip_suffix(says));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let ran = STEPS
        .iter()
        .filter(|step| log.lines().any(|l| l.starts_with(&format!("{step} ")) && l.contains("done in")));
    (ran.map(|step| (*step).to_owned()).collect(), named(" reused"))
}

/// Everything under `folder` but the stamps, by relative path.
fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.components().any(|c| c.as_os_str() == ".steps") {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_recipe_makes_an_artefact_and_unchanged_steps_are_reused() {
    let project = project(RECIPE);
    let path = project.path();
    assert_eq!(build(path, &[]), (STEPS.map(String::from).to_vec(), vec![]));
    let first = results(&path.join("out"));
    for file in ["model.sct", "pruned.cfg", "pruned.weights", "detections/0.png", "detections/1.png"] {
        assert!(first.iter().any(|(name, bytes)| name == file && !bytes.is_empty()), "{file} is missing");
    }
    assert_eq!(build(path, &[]), (vec![], STEPS.map(String::from).to_vec()));
    assert_eq!(results(&path.join("out")), first);

    // A later option runs again what depends on it, and nothing before.
    let recipe = RECIPE.to_owned() + "\n[quantize]\nranges = \"min-max\"\n";
    std::fs::write(path.join("recipe.toml"), recipe).unwrap();
    let (ran, reused) = build(path, &[]);
    assert_eq!(ran, ["quantize", "compile", "map-int8"]);
    assert_eq!(reused, ["map-float", "ana", "prune", "transform", "map-pruned"]);
    assert_ne!(results(&path.join("out")), first);

    // A changed image runs everything again.
    std::fs::copy(path.join("pictures/0.png"), path.join("pictures/4.png")).unwrap();
    assert_eq!(build(path, &[]).0, STEPS);
}

/// Other images under the same names: nothing that was measured on the old ones may survive, in any cache.
#[test]
fn images_that_are_replaced_are_measured_anew() {
    let (stale, fresh) = (project(RECIPE), project(RECIPE));
    build(stale.path(), &[]);
    for folder in [stale.path(), fresh.path()] {
        for i in 0..6 {
            let path = folder.join(format!("pictures/{i}.png"));
            let mut image = image::open(&path).unwrap().into_rgb8();
            image.pixels_mut().for_each(|pixel| pixel.0.reverse());
            image.save(&path).unwrap();
        }
    }
    assert_eq!(build(stale.path(), &[]).0, STEPS);
    build(fresh.path(), &[]);
    assert_eq!(results(&stale.path().join("out")), results(&fresh.path().join("out")));
}

#[test]
fn a_recipe_makes_a_sparse_network_for_the_accelerator() {
    let vectors = "rate = 0.3\ngranularity = \"vector:8\"\ncriterion = \"l1\"";
    let target = "\n[compile]\ntarget = \"npu-8x16\"\nallow_processor = true\n";
    let project = project(&(RECIPE.replace("rate = 0.2", vectors) + target));
    let path = project.path();
    assert_eq!(build(path, &[]).0, STEPS);
    let manifest = std::fs::read_to_string(path.join("out/model.sct.json")).unwrap();
    assert!(manifest.contains("cycles"), "{manifest}");

    // Masks as files: whatever training did to them, the vectors that go are zero again.
    let masked = std::fs::read(path.join("out/weights.prune")).unwrap();
    assert_eq!(std::fs::read(path.join("out/pruned.weights")).unwrap(), masked);
    let zeros = |bytes: &[u8]| bytes[20..].chunks(4).filter(|word| word.iter().all(|&b| b == 0)).count();
    let whole = std::fs::read(path.join("net.weights")).unwrap();
    assert!(zeros(&masked) > zeros(&whole) + 50, "{} zeros", zeros(&masked));
    let transform = |masks: &str, more: &[&str]| {
        let words = ["transform", "net.cfg", "net.weights", "--masks", masks];
        let output = ["--out-cfg", "again.cfg", "--out-weights", "again.weights"];
        secateur().current_dir(path).args(words).args(output).args(more).assert()
    };
    transform("out/weights.mask", &["--retrained"]).success().stdout(contains("vectors kept"));
    let again = std::fs::read(path.join("again.weights")).unwrap();
    assert_eq!(zeros(&again), zeros(&masked));
    assert_eq!(std::fs::read(path.join("again.cfg")).unwrap(), std::fs::read(path.join("net.cfg")).unwrap());

    // Masks belong to the weights that they were written with.
    transform("out/weights.mask", &[]).code(1).stderr(contains("other weights").and(contains("--retrained")));
    let bytes = std::fs::read(path.join("out/weights.mask")).unwrap();
    std::fs::write(path.join("cut.mask"), &bytes[..bytes.len() / 2]).unwrap();
    transform("cut.mask", &["--retrained"]).code(1).stderr(contains("damaged"));
    transform("names", &["--retrained"]).code(1).stderr(contains("not a mask file"));
}

/// Two rounds of pruning and training for the accelerator, beside the network as trained.
#[test]
fn a_recipe_prunes_and_heals_in_rounds() {
    let rounds = "criterion = \"taylor\"\ntarget.macs = \"1.5x\"\nrounds = 2";
    let more =
        "\n[finetune]\nepochs = 3\nbatch = 3\n[compile]\ntarget = \"npu-8x16\"\nallow_processor = true\n";
    let recipe = RECIPE.replace("metric = \"dp\"\nrate = 0.2", rounds) + more;
    let recipe = recipe.replace("val = \"list.txt\"", "val = \"list.txt\"\ntest = \"list.txt\"");
    let project = project(&recipe);
    let path = project.path();
    let output = secateur().current_dir(path).args(["build", "recipe.toml"]).output().unwrap();
    let (table, log) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{log}");
    let ran: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("done in"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let steps = [
        "map-float",
        "quantize-trained",
        "compile-trained",
        "ana-1",
        "prune-1",
        "transform-1",
        "recalibrate-1",
        "finetune-1",
        "ana",
        "prune",
        "transform",
        "recalibrate",
        "map-pruned",
        "finetune",
        "map-healed",
        "quantize",
        "compile",
        "map-int8",
    ];
    assert_eq!(ran, steps);
    for part in ["as trained", "pruned", "healed", "int8", "accelerator's cycles"] {
        assert!(table.contains(part), "{part}\n{table}");
    }
    // The second round begins with what the first one trained, and trains half as long.
    let second = log.lines().find(|line| line.starts_with("prune ")).unwrap();
    assert!(second.contains("round1-healed.weights"), "{second}");
    let epochs = |step: &str| log.lines().find(|line| line.starts_with(step)).unwrap().to_owned();
    assert!(
        epochs("finetune-1").contains("--epochs 2") && epochs("finetune ").contains("--epochs 3"),
        "{log}"
    );
    assert!(epochs("finetune ").contains("--teacher net.cfg net.weights"), "{log}");
    let sizes = |name: &str| std::fs::metadata(path.join("out").join(name)).unwrap().len();
    assert!(sizes("pruned.weights") < sizes("round1-pruned.weights"));
    assert!(
        path.join("out/training/pruned.svg").exists() && path.join("out/training/round1-pruned.svg").exists()
    );

    // Another length begins the training anew, although its checkpoint is of the old one.
    std::fs::write(path.join("recipe.toml"), recipe.replace("epochs = 3", "epochs = 4")).unwrap();
    let (ran, _) = build(path, &[]);
    assert_eq!(ran, ["quantize", "compile", "map-int8"], "the names of `build` alone");
    let csv = std::fs::read_to_string(path.join("out/training/pruned.csv")).unwrap();
    assert!(csv.lines().last().is_some_and(|line| line.starts_with("8,")), "{csv}");
}

/// What cannot be trained as the recipe asks is refused before the pruning.
#[test]
fn recipes_that_heal_are_checked_whole() {
    let vectors = "rate = 0.3\ngranularity = \"vector:8\"\ncriterion = \"l1\"";
    let whole = RECIPE.replace("[prune]\nmetric = \"dp\"\nrate = 0.2\n", "");
    for (recipe, message) in [
        (RECIPE.replace("rate = 0.2", &format!("{vectors}\nrounds = 2")) + "[finetune]\n", "in one round"),
        (whole + "[finetune]\nteacher = true\n", "has no teacher"),
    ] {
        let project = project(&recipe);
        let mut command = secateur();
        command.current_dir(project.path()).args(["build", "recipe.toml", "--dry-run"]);
        command.assert().code(1).stderr(contains("recipe.toml:").and(contains(message)));
    }
    // Vectors that are gone stay gone.
    let project = project(&(RECIPE.replace("rate = 0.2", vectors) + "[finetune]\nepochs = 2\n"));
    build(project.path(), &[]);
    let zeros = |name: &str| {
        let bytes = std::fs::read(project.path().join("out").join(name)).unwrap();
        bytes[20..].chunks(4).filter(|word| word.iter().all(|&b| b == 0)).count()
    };
    let (masked, healed) = (zeros("weights.prune"), zeros("healed.weights"));
    assert!(masked > 50 && healed >= masked, "{healed} of {masked} zeros");
    assert_ne!(
        std::fs::read(project.path().join("out/healed.weights")).unwrap(),
        std::fs::read(project.path().join("out/pruned.weights")).unwrap()
    );
}

#[test]
fn results_do_not_depend_on_threads_or_place() {
    let (one, two) = (project(RECIPE), project(RECIPE));
    build(one.path(), &["--threads", "1"]);
    build(two.path(), &["--threads", "2"]);
    assert_eq!(results(&one.path().join("out")), results(&two.path().join("out")));
}

#[test]
fn without_pruning_the_network_stays_whole() {
    let start = RECIPE.find("[prune]").unwrap();
    let end = RECIPE.find("[detect]").unwrap();
    let project = project(&(RECIPE[..start].to_owned() + &RECIPE[end..]));
    assert_eq!(build(project.path(), &[]).0, ["map-float", "quantize", "compile", "map-int8"]);
    assert!(!project.path().join("out/pruned.cfg").exists());
}

#[test]
fn dry_run_prints_the_commands_and_runs_none() {
    let project = project(RECIPE);
    let mut command = secateur();
    command.current_dir(project.path()).args(["build", "recipe.toml", "--dry-run"]);
    let mut all = contains("secateur ana").boxed();
    for step in &STEPS[1..] {
        let verb = step.split('-').next().unwrap_or(step);
        all = all.and(contains(format!("secateur {verb} "))).boxed();
    }
    command.assert().success().stdout(all);
    assert!(!project.path().join("out/model.sct").exists());
}

#[test]
fn a_wrong_recipe_is_refused_at_its_line_before_any_work() {
    for (from, to, line) in [
        ("rate = 0.2", "rate = 2", 14),
        ("metric", "metrik", 13),
        ("names\"", "nomes\"", 6),
        ("\"dp\"", "\"d\"", 13),
        ("\"dp\"", "\"top1\"", 13),
        ("rate = 0.2", "rate = 0.2\ncriterion = \"l3\"", 15),
        ("rate = 0.2", "rate = 0.2\nignore = [99]", 15),
        ("thresh = 0.1", "thresh = 0.1\n[compile]\ntarget = \"npu-9x9\"", 20),
    ] {
        let project = project(&RECIPE.replacen(from, to, 1));
        for arguments in [&["build", "recipe.toml"][..], &["build", "recipe.toml", "--dry-run"]] {
            let mut command = secateur();
            command.current_dir(project.path()).args(arguments);
            command.assert().code(1).stderr(contains(format!("recipe.toml:{line}")));
            assert!(!project.path().join("out").exists());
        }
    }
}

/// Kills a build at many moments, each time going on; the results are those of an undisturbed one.
#[cfg(unix)]
#[test]
fn a_build_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let (whole, killed) = (project(RECIPE), project(RECIPE));
    build(whole.path(), &[]);
    for milliseconds in (0..).map(|i| 20 + 15 * i).take(12) {
        let mut child = std::process::Command::new(secateur_path())
            .args(["build", "recipe.toml"])
            .current_dir(killed.path())
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    build(killed.path(), &[]);
    // Nothing half-written is left, in the stamps' folder either.
    assert_eq!(results(&killed.path().join("out")), results(&whole.path().join("out")));
    let stamps = |folder: &Path| {
        let entries = std::fs::read_dir(folder.join("out/.steps")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(stamps(killed.path()), stamps(whole.path()));
}
