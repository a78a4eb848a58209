//! What a newcomer runs first: the recipe of `./demo`, here on few images.

use std::path::Path;

use secateur_tests::{done, secateur};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs");

/// The recipe with its images and results in `folder`, and a shorter training, which needs a lower rate.
fn recipe(folder: &Path) -> String {
    let text = std::fs::read_to_string(format!("{CONFIGS}/recipes/parts.toml")).unwrap();
    let parts = text
        .replace("../../out", &folder.display().to_string())
        .replace("../networks", &format!("{CONFIGS}/networks"));
    let of_key = |key: &str| {
        let at = parts.find(key).unwrap_or_else(|| panic!("the recipe has no {key}"));
        parts[at..].lines().next().unwrap()
    };
    parts.replace(of_key("epochs = "), "epochs = 6").replace(of_key("rate = "), "rate = 0.002")
}

/// The number that follows `label` in the table's row, in the given column.
fn figure(table: &str, label: &str, column: usize) -> f64 {
    let row =
        table.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("{label}\n{table}"));
    let cells: Vec<&str> =
        row[label.len()..].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let number: String =
        cells[column].chars().take_while(|c| !" [".contains(*c)).filter(|c| *c != ',').collect();
    number.parse().unwrap_or_else(|_| panic!("{label} {column}: {row}"))
}

#[test]
fn drawn_scenes_and_the_demos_recipe_make_a_detector() {
    let project = tempfile::tempdir().unwrap();
    let folder = project.path();
    for scenes in [
        "scenes parts-scenes --seed 2 --train 192 --val 32 --test 48",
        "scenes parts-show --seed 3 --test 8 --size 384",
    ] {
        done(folder, &scenes.split(' ').collect::<Vec<_>>());
    }
    std::fs::write(folder.join("recipe.toml"), recipe(folder)).unwrap();
    let table = done(folder, &["build", "recipe.toml"]);
    let map = |column| figure(&table, "mAP [95 % interval]", column);
    assert!(map(0) > 0.9, "as trained\n{table}");
    assert!(map(2) > map(1) && map(2) > 0.7, "healed\n{table}");
    assert!((map(3) - map(2)).abs() < 0.03, "int8\n{table}");
    let ratio = |label| figure(&table, label, 0) / figure(&table, label, 3);
    assert!(ratio("multiply-accumulates") > 2.9, "{table}");
    let cycles = figure(&table, "accelerator's cycles", 0) / figure(&table, "accelerator's cycles", 1);
    assert!(cycles > 1.5, "{table}");
    assert!(
        folder.join("parts/detections/test-00000.png").exists() && folder.join("parts/overview.svg").exists()
    );

    let frame = ["sim", "parts/model.sct", "parts-scenes/images/test-00000.png", "--emulate"];
    secateur().current_dir(folder).args(frame).assert().success();
}
