//! Batches from files: the same for any number of threads, and every mistake found before they start.

use std::path::Path;

use super::*;
use secateur_base::BBox;
use secateur_ir::training::Mix;

use crate::augment::no_augmentation;

/// Writes an image whose pixels are `colour(x, y)`.
pub(super) fn write_png(path: &Path, w: u32, h: u32, colour: impl Fn(u32, u32) -> [u8; 3]) {
    image::RgbImage::from_fn(w, h, |x, y| image::Rgb(colour(x, y))).save(path).unwrap();
}

/// A folder of `count` images of different sizes, each with a label of class `index % 3`.
fn folder(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |index: usize| folder.path().join(format!("{index}.png"));
    let images: Vec<PathBuf> = (0..count).map(path).collect();
    for (index, path) in images.iter().enumerate() {
        let shade = (index * 20) as u32;
        write_png(path, 40 + index as u32, 60, |x, y| [x * 5, y * 4, shade].map(|v| v as u8));
        let label = format!("{} 0.5 0.5 0.4 {}\n", index % 3, 0.2 + index as f32 * 0.05);
        std::fs::write(path.with_extension("txt"), label).unwrap();
    }
    (folder, images)
}

fn options() -> Options {
    let input = Shape::new(3, 32, 64);
    Options {
        augmentation: Augmentation {
            mix: Mix::Mosaic,
            flip: true,
            jitter: 0.2,
            crop: [64, 128],
            hue: 0.1,
            saturation: 1.5,
            exposure: 1.5,
            blur: 3,
            gaussian_noise: 5,
            ..no_augmentation(input)
        },
        sizes: Sizes { input, multi_scale: Some(1.4), resize_step: 32, max_batches: 500 },
        max_boxes: 200,
        batch: 6,
        seed: 11,
        cache_bytes: 1 << 20,
    }
}

fn samples(images: &[PathBuf], options: Options) -> Samples {
    let mut findings = Findings::default();
    let labels = Labels::read_boxes(images, 3, &[], &mut findings);
    let (samples, warnings) = Samples::new(images.to_vec(), labels, findings, options).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    samples
}

#[test]
fn batches_depend_on_nothing_but_seed_and_number() {
    let (_folder, images) = folder(10);
    let reference = samples(&images, options());
    let batches: Vec<Batch> = (0..30).map(|number| reference.batch(number, 0..6).unwrap()).collect();
    assert!(batches.iter().any(|batch| batch.input != batches[0].input), "sizes are mixed");
    let mosaics =
        |batch: &Batch| matches!(&batch.labels, BatchLabels::Boxes(all) if all.iter().any(|b| b.len() > 1));
    assert!(batches.iter().any(mosaics), "some examples are mosaics");
    for (threads, cache_bytes) in [(1, 0), (2, 1 << 20), (3, 20_000)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let others = samples(&images, Options { cache_bytes, ..options() });
        // Backwards: a resumed training asks for any batch first.
        for number in (0..30).rev() {
            let batch = pool.install(|| others.batch(number, 0..6).unwrap());
            assert!(batch == batches[number as usize], "{threads} threads, batch {number}");
        }
    }
    let other = samples(&images, Options { seed: 12, ..options() });
    assert_ne!(other.batch(3, 0..6).unwrap(), batches[3]);
}

#[test]
fn subdivisions_are_parts_of_the_batch() {
    let (_folder, images) = folder(7);
    let samples = samples(&images, options());
    let whole = samples.batch(4, 0..6).unwrap();
    let parts: Vec<Batch> = (0..3).map(|part| samples.batch(4, part * 2..part * 2 + 2).unwrap()).collect();
    assert_eq!(parts.iter().flat_map(|part| part.values.clone()).collect::<Vec<_>>(), whole.values);
    assert_eq!(parts.iter().flat_map(|part| part.images.clone()).collect::<Vec<_>>(), whole.images);
}

#[test]
fn each_epoch_is_a_permutation() {
    let (_folder, images) = folder(9);
    let samples = samples(&images, Options { batch: 3, ..options() });
    let epoch = |epoch: u64| -> Vec<usize> {
        (0..3).flat_map(|batch| samples.batch(epoch * 3 + batch, 0..3).unwrap().images).collect()
    };
    let orders: Vec<Vec<usize>> = (0..5).map(epoch).collect();
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..9).collect::<Vec<_>>());
    }
    assert!(orders.windows(2).all(|pair| pair[0] != pair[1]), "each epoch has an order of its own");
}

/// What is learnt is what the files say.
#[test]
fn without_augmentation_examples_are_the_images() {
    let (_folder, images) = folder(4);
    let sizes = Sizes::fixed(Shape::new(3, 60, 40));
    let plain = Options { augmentation: no_augmentation(sizes.input), sizes, ..options() };
    let batch = samples(&images, plain).batch(0, 0..4).unwrap();
    let at = batch.images.iter().position(|&image| image == 0).expect("the first epoch shows every image");
    let values = &batch.values[at * 7200..][..7200];
    for (x, y) in [(0, 0), (7, 3), (39, 58)] {
        let found = [0, 1, 2].map(|channel| (values[channel * 2400 + y * 40 + x] * 255.0).round());
        assert_eq!(found, [x as f32 * 5.0, y as f32 * 4.0, 0.0]);
    }
    let BatchLabels::Boxes(boxes) = &batch.labels else { panic!("a detector's labels") };
    let BBox { x, y, w, h } = boxes[at][0].bbox;
    let errors = [x - 0.5, y - 0.5, w - 0.4, h - 0.2];
    assert!(errors.iter().all(|error| error.abs() < 1e-6), "{:?}", boxes[at]);
}

#[test]
fn every_mistake_is_listed_before_training() {
    let (folder, images) = folder(6);
    let label = |index: usize, text: &str| std::fs::write(images[index].with_extension("txt"), text).unwrap();
    label(0, "0 .5 .5 .2 .2\n3 .5 .5 .2 .2\n0 1.2 .5 .2 .2\n");
    label(1, "0 .5 .5 .2\n0 .5 .5 .2 1.1");
    label(2, "1 .5 .5 1.0005 .2\n");
    std::fs::write(&images[3], b"no image").unwrap();
    std::fs::remove_file(&images[4]).unwrap();
    let mut findings = Findings::default();
    let labels = Labels::read_boxes(&images, 3, &[], &mut findings);
    let error = Samples::new(images.clone(), labels, findings, options()).err().unwrap().to_string();
    assert!(error.contains("6 mistakes"), "{error}");
    let file = |name: &str| folder.path().join(name).display().to_string();
    for expected in [
        format!("{}:2: class out of range", file("0.txt")),
        format!("{}:3: cx of a label is outside the image", file("0.txt")),
        format!("{}:1: a label has five fields", file("1.txt")),
        format!("{}:2: h of a label is outside the image", file("1.txt")),
        file("3.png"),
        file("4.png"),
    ] {
        assert!(error.contains(&expected), "{expected} in {error}");
    }
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let (_folder, images) = folder(5);
    std::fs::remove_file(images[2].with_extension("txt")).unwrap();
    let names = ["cat", "dog", "cow", "owl"].map(str::to_owned);
    let mut findings = Findings::default();
    Labels::read_boxes(&images, 4, &names, &mut findings);
    let warnings = findings.into_warnings().unwrap();
    let [missing, unseen] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(missing.contains("without objects: 1 (") && missing.ends_with("2.png)"), "{missing}");
    // Image 2 alone had class 2.
    assert!(unseen.ends_with(": 2 (cow, owl)"), "{unseen}");

    images.iter().for_each(|image| drop(std::fs::remove_file(image.with_extension("txt"))));
    let mut findings = Findings::default();
    Labels::read_boxes(&images, 4, &names, &mut findings);
    let error = findings.into_warnings().unwrap_err();
    assert!(error.what().contains("no image of the list has a label"), "{error}");
}

#[test]
fn classifiers_learn_the_names_in_paths() {
    let names = ["cat", "dog", "cow"].map(str::to_owned);
    let images = ["a/cat/1.png", "a/dog_2.png", "cat_dog.png"].map(PathBuf::from);
    let mut findings = Findings::default();
    let labels = Labels::of_paths(&images, &names, 0.1, &mut findings);
    let expected = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.9, 0.9, 0.05]];
    assert_eq!(labels, Labels::Targets(expected.map(Vec::from).to_vec()));
    let warnings = findings.into_warnings().unwrap();
    assert!(warnings[0].contains("cat_dog.png") && warnings[1].ends_with("(cow)"), "{warnings:?}");
    let mut findings = Findings::default();
    Labels::of_paths(&["horse.png".into()], &names, 0.0, &mut findings);
    assert!(findings.into_warnings().unwrap_err().to_string().contains("no class name"));
}

/// Targets reach the batch, mixed as the images are.
#[test]
fn batches_of_classifiers_hold_targets() {
    let (_folder, images) = folder(3);
    let names = ["0.png", "1.png", "2.png"].map(str::to_owned);
    let mut findings = Findings::default();
    let labels = Labels::of_paths(&images, &names, 0.0, &mut findings);
    let (samples, _) = Samples::new(images, labels, findings, options()).unwrap();
    let batch = samples.batch(1, 0..6).unwrap();
    let Truths::Targets(targets) = batch.truths() else { panic!("a classifier's labels") };
    let targets: Vec<&[f32]> = targets.chunks_exact(3).collect();
    let single = targets.iter().zip(&batch.images).filter(|(target, image)| target[**image] == 1.0).count();
    assert!(single < 6 && single > 0, "some of six are mosaics, not {}", 6 - single);
    assert!(targets.iter().all(|target| (target.iter().sum::<f32>() - 1.0).abs() < 1e-6));
}
