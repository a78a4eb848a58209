use std::collections::BTreeSet;
use std::path::Path;

use secateur_data::{Dataset, load_image};
use sha2::{Digest, Sha256};

use super::*;

const SMALL: Options = Options { size: 96 };

/// Edges of a label in samples.
fn edges(truth: &Truth, side: usize) -> [f32; 4] {
    truth.bbox.edges().map(|edge| edge * side as f32)
}

#[test]
fn a_scene_has_its_bytes_on_every_machine() {
    let rendered = Rendered::new(1, 7, &SMALL);
    assert!(!rendered.truths().is_empty());
    let mut hash = Sha256::new();
    hash.update(&rendered.bytes);
    for truth in rendered.truths() {
        hash.update([truth.class as u8]);
        truth.bbox.edges().iter().for_each(|edge| hash.update(edge.to_le_bytes()));
    }
    // Another hash is another data set: GENERATION must change with it.
    assert_eq!(
        hex::encode(hash.finalize()),
        "6ee1407640067d9f7e158ef3b0547189d67c384880573542f454571477b063de"
    );
}

#[test]
fn seeds_splits_and_numbers_differ() {
    let scene = |seed, index| Scene::generate(seed, index, &SMALL);
    let first = scene(1, 0);
    assert_eq!(first, scene(1, 0));
    let others = [scene(2, 0), scene(1, 1), scene(1, Split::Val.scene(0)), scene(1, Split::Test.scene(0))];
    assert!(others.iter().all(|other| other.image != first.image && other.truths != first.truths));
    let starts: BTreeSet<u64> = Split::ALL.iter().map(|split| split.scene(0)).collect();
    assert_eq!(starts.len(), 3);
    assert!(Split::Train.scene(u32::MAX) < Split::Val.scene(0));
}

#[test]
fn boxes_are_tight_around_what_is_seen() {
    for index in 0..40 {
        let rendered = Rendered::new(3, index, &SMALL);
        let side = rendered.side;
        let mut truths = rendered.truths().into_iter();
        for (number, (class, area)) in (1..).zip(&rendered.parts) {
            let seen: Vec<(usize, usize)> = (0..side * side)
                .filter(|&i| rendered.shown[i] == number)
                .map(|i| (i % side, i / side))
                .collect();
            if class.is_none() || (seen.len() as f32) < LEAST_SEEN * *area as f32 {
                continue;
            }
            let truth = truths.next().expect("a part that is seen has a label");
            assert_eq!(Some(truth.class), *class);
            let [left, top, right, bottom] = edges(&truth, side).map(|edge| edge.round() as usize);
            let span = |axis: fn(&(usize, usize)) -> usize| {
                (seen.iter().map(axis).min().unwrap(), seen.iter().map(axis).max().unwrap() + 1)
            };
            assert_eq!((left, right), span(|p| p.0), "scene {index}, part {number}");
            assert_eq!((top, bottom), span(|p| p.1), "scene {index}, part {number}");
            assert!(right <= side && bottom <= side);
        }
        assert!(truths.next().is_none(), "scene {index} has a label too many");
    }
}

/// Half of a part outside the image keeps its label, most of it outside or hidden loses it.
#[test]
fn hidden_and_cut_parts_lose_their_labels() {
    let rendered = |seen: usize, class| {
        let mut shown = vec![0; 400];
        shown[..seen].fill(1);
        Rendered { bytes: Vec::new(), side: 20, shown, parts: vec![(class, 100)] }
    };
    assert_eq!(rendered(50, Some(2)).truths()[0].class, 2);
    assert_eq!(rendered(40, Some(2)).truths().len(), 1);
    assert!(rendered(39, Some(2)).truths().is_empty());
    assert!(rendered(0, Some(2)).truths().is_empty());
    assert!(rendered(100, None).truths().is_empty(), "a look-alike has no label");
}

/// An area counts what lies outside the image and under other parts, once.
#[test]
fn areas_are_those_of_whole_outlines() {
    let mut dice = Dice::new(5, 0);
    let mut parts = layout::draw(&mut dice, 4 * 96);
    let mut part = parts.pop().unwrap();
    part.centre = [0.0, 0.0];
    let whole = Field::new(std::slice::from_ref(&part), 192);
    let covered = whole.parts.iter().filter(|&&number| number == 1).count();
    assert_eq!(whole.areas, [covered as u32], "inside the image all of it is seen");
    let mut cut = part.clone();
    cut.centre = [-0.5, 0.5];
    let twice = Field::new(&[part, cut], 192);
    assert_eq!(twice.areas[0], whole.areas[0]);
    // Samples fall elsewhere on the outline than in the centre.
    assert!(twice.areas[1].abs_diff(whole.areas[0]) < whole.areas[0] / 50);
}

#[test]
fn every_class_occurs_and_boxes_have_fair_sizes() {
    let scenes: Vec<Scene> = (0..60).map(|index| Scene::generate(9, index, &SMALL)).collect();
    let truths: Vec<&Truth> = scenes.iter().flat_map(|scene| &scene.truths).collect();
    for (class, name) in CLASSES.iter().enumerate() {
        let count = truths.iter().filter(|truth| truth.class == class).count();
        assert!(count * 10 > truths.len(), "{count} of {} are a {name}", truths.len());
    }
    for truth in truths {
        let [left, top, right, bottom] = truth.bbox.edges();
        assert!(left >= 0.0 && top >= 0.0 && right <= 1.0 && bottom <= 1.0, "{truth:?}");
        let longer = truth.bbox.w.max(truth.bbox.h);
        // A cut part is smaller than the smallest whole one; the view makes a tall part a little larger.
        assert!((0.04..=0.6).contains(&longer), "{truth:?}");
    }
    assert!(scenes.iter().map(|scene| scene.truths.len()).max() <= Some(10));
    let values = || scenes.iter().flat_map(|scene| &scene.image.data);
    assert!(values().all(|value| (0.0..=1.0).contains(value)));
    let mean = values().sum::<f32>() / values().count() as f32;
    assert!((0.25..0.6).contains(&mean), "mean brightness {mean}");
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

const SPLITS: Splits =
    Splits { seed: 4, options: Options { size: 64 }, format: Format::Png, train: 3, val: 2, test: 1 };

#[test]
fn a_folder_reads_back_as_darknets_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("scenes");
    let data = SPLITS.write(&out).unwrap();
    let mut expected = SPLITS.files(&out);
    expected.sort();
    let mut found: Vec<_> = contents(&out).into_iter().map(|(name, _)| out.join(name)).collect();
    found.sort();
    assert_eq!(found, expected);
    for (key, split) in [("train", Split::Train), ("valid", Split::Val), ("test", Split::Test)] {
        let set = Dataset::from_data_file(&data, key).unwrap();
        assert_eq!(set.names, CLASSES);
        assert_eq!(set.len(), SPLITS.count(split) as usize);
        for (index, (image, labels)) in set.images.iter().zip(&set.labels).enumerate() {
            let scene = SPLITS.scene(split, index as u32);
            assert_eq!(load_image(image).unwrap(), scene.image);
            assert_eq!(labels.len(), scene.truths.len());
            for (label, truth) in labels.iter().zip(&scene.truths) {
                assert_eq!(label.class, truth.class);
                // Label files have six decimals.
                let far = |a: f32, b: f32| (a - b).abs() > 1e-6;
                assert!(!far(label.bbox.x, truth.bbox.x) && !far(label.bbox.w, truth.bbox.w));
                assert!(!far(label.bbox.y, truth.bbox.y) && !far(label.bbox.h, truth.bbox.h));
            }
        }
    }
}

#[test]
fn a_killed_run_is_resumed_and_other_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    // All that a run leaves that is killed while it writes its first file.
    std::fs::write(out.join(".secateur-x"), "").unwrap();
    SPLITS.write(out).unwrap();
    std::fs::remove_file(out.join(".secateur-x")).unwrap();
    let whole = contents(out);
    for lost in ["scenes.data", "val.txt", "images/train-00001.png", "labels/train-00002.txt"] {
        std::fs::remove_file(out.join(lost)).unwrap();
    }
    let kept = out.join("images/train-00000.png");
    let before = std::fs::metadata(&kept).unwrap().modified().unwrap();
    SPLITS.write(out).unwrap();
    assert!(contents(out) == whole, "another folder after a kill");
    assert_eq!(
        std::fs::metadata(&kept).unwrap().modified().unwrap(),
        before,
        "a whole image was drawn again"
    );

    for other in [
        Splits { seed: 5, ..SPLITS },
        Splits { train: 4, ..SPLITS },
        Splits { format: Format::Jpg, ..SPLITS },
    ] {
        assert!(other.write(out).unwrap_err().what().contains("other scenes"), "{other:?}");
    }
    std::fs::remove_file(out.join(dataset::RECORD)).unwrap();
    assert!(SPLITS.write(out).unwrap_err().what().contains("not empty"));
    let no_folder = out.join("scenes.names");
    assert!(SPLITS.write(&no_folder).unwrap_err().what().contains("scenes.names"));
}
