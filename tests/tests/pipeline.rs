//! The whole pipeline on a real detector, by its recipe.

use std::path::Path;

use secateur_tests::{root, secateur};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Writes the first `count` images of a list, as absolute paths.
fn shorter_list(list: &Path, count: usize, to: &Path) {
    let folder = list.parent().unwrap();
    let text = std::fs::read_to_string(list).unwrap();
    let lines = text.lines().take(count).map(|line| format!("{}\n", folder.join(line).display()));
    std::fs::write(to, lines.collect::<String>()).unwrap();
}

/// The recipe of `configs/recipes` with fewer images to analyse and to calibrate on.
fn build(recipe: &str, data: &Path, workspace: &Path) {
    let text = std::fs::read_to_string(root().join(format!("configs/recipes/{recipe}.toml"))).unwrap();
    let list = workspace.join("train.txt");
    shorter_list(&data.join("coco128/train2017.txt"), 32, &list);
    let train = format!("train = \"{}\"", list.display());
    let shortened = text.replace("train = \"coco128/train2017.txt\"", &train);
    assert_ne!(shortened, text);
    let path = workspace.join("recipe.toml");
    std::fs::write(&path, shortened).unwrap();
    let mut command = secateur();
    command.env("SECATEUR_DATA", data).arg("build").arg(&path).arg("--workspace").arg(workspace);
    command.assert().success();
}

/// Names that the artefact finds in an image.
fn found(artefact: &Path, image: &Path) -> Vec<String> {
    let output = secateur().arg("detect").args([artefact, image]).arg("--json").output().unwrap();
    assert!(output.status.success());
    let images: Value = serde_json::from_slice(&output.stdout).unwrap();
    let objects = images[0]["objects"].as_array().unwrap();
    objects.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "two minutes of a processor; CI and ./check --all run it"]
fn the_smallest_detector_is_pruned_quantised_and_still_finds_the_dog() {
    let Some(data) = secateur_testing::data_dir() else { return };
    let workspace = tempfile::tempdir().unwrap();
    let out = workspace.path();
    build("yolo-fastest-1.1", &data, out);

    let float = json(&out.join("map-float.json"));
    assert!((float["map"].as_f64().unwrap() - 0.3288).abs() <= 5e-4, "{}", float["map"]);
    // The budget of the recipe is one point on these images; the integers may cost two more.
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
