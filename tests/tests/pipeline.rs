//! The whole pipeline on a real detector: its recipe, as a user runs it.

use std::path::Path;

use secateur_tests::secateur;
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Builds a recipe of `configs/recipes` into `workspace`.
fn build(recipe: &str, data: &Path, workspace: &Path) {
    let recipe = format!("configs/recipes/{recipe}.toml");
    let mut command = secateur();
    command.env("SECATEUR_DATA", data).args(["build", &recipe, "--workspace"]).arg(workspace);
    command.assert().success();
}

/// Names that the artefact finds in a picture.
fn found(artefact: &Path, picture: &Path) -> Vec<String> {
    let output = secateur().arg("detect").args([artefact, picture]).arg("--json").output().unwrap();
    assert!(output.status.success());
    let pictures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = pictures[0]["objects"].as_array().unwrap();
    objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_smallest_detector_is_pruned_quantised_and_still_finds_the_dog() {
    let Some(data) = secateur::testing::data_dir() else { return };
    let workspace = tempfile::tempdir().unwrap();
    let out = workspace.path();
    build("yolo-fastest-1.1", &data, out);

    let float = json(&out.join("map-float.json"));
    assert!((float["map"].as_f64().unwrap() - 0.3288).abs() <= 5e-4, "{}", float["map"]);
    // The budget of the recipe is one point on these pictures; the integers may cost two more.
    let int8 = json(&out.join("map-int8.json"));
    assert!(int8["map"].as_f64().unwrap() >= 0.3288 - 0.03, "{}", int8["map"]);
    let against = &int8["against"];
    assert!(against["score_shift"]["absolute"].as_f64().unwrap() <= 0.03, "{against}");
    assert!(against["agree"].as_f64().unwrap() >= 0.95, "{against}");

    let manifest = json(&out.join("model.sct.json"));
    let arena = |key: &str| manifest["arena"][key].as_u64().unwrap();
    assert!(arena("bytes") * 10 <= arena("lower_bound") * 11);

    let names = found(&out.join("model.sct"), &data.join("images/dog.jpg"));
    for name in ["dog", "bicycle"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    assert!(out.join("detections/dog.jpg").is_file());
    assert!(std::fs::read_to_string(out.join("overview.svg")).unwrap().contains("pruned"));
}
