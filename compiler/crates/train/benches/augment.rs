//! Time of one augmented example of 320 × 320 from a decoded image of 640 × 480, by the kind of augmentation.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::Shape;
use secateur_ir::training::Augmentation;
use secateur_train::augment::{Augmenter, Mixture, Pixels, Source, Task, no_augmentation};

const INPUT: Shape = Shape::new(3, 320, 320);

fn examples(c: &mut Criterion) {
    let shape = Shape::new(3, 480, 640);
    let pixels = Pixels { shape, bytes: (0..shape.len()).map(|i| (i * 37 % 251) as u8).collect() };
    let truths = [Truth { class: 0, bbox: BBox { x: 0.5, y: 0.5, w: 0.5, h: 0.5 } }; 20];
    let target = [1.0, 0.0];
    let plain = Augmentation {
        flip: true,
        jitter: 0.2,
        angle: 7.0,
        crop: [INPUT.w, 2 * INPUT.w],
        ..no_augmentation(INPUT)
    };
    let colours = Augmentation { hue: 0.1, saturation: 1.5, exposure: 1.5, ..plain.clone() };
    let blur = Augmentation { blur: 1, ..plain.clone() };
    let noise = Augmentation { gaussian_noise: 10, ..plain.clone() };
    let mut out = vec![0.0; INPUT.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut group = c.benchmark_group("example");
    for (name, keys, mix) in [
        ("crop", &plain, Mixture::Single),
        ("crop and colours", &colours, Mixture::Single),
        ("mosaic", &colours, Mixture::Mosaic),
        ("mixup", &colours, Mixture::MixUp),
        ("crop and blur", &blur, Mixture::Single),
        ("crop and noise", &noise, Mixture::Single),
    ] {
        let detector = Augmenter::new(keys.clone(), Task::Detection, 200).expect("the keys have a meaning");
        let sources: Vec<_> =
            (0..mix.images()).map(|_| Source { pixels: &pixels, labels: &truths[..] }).collect();
        group.bench_function(name, |b| {
            b.iter(|| black_box(detector.detection(mix, &sources, &mut rng, INPUT, &mut out)));
        });
    }
    for (name, keys) in [("classifier", &plain), ("classifier and colours", &colours)] {
        let classifier =
            Augmenter::new(keys.clone(), Task::Classification, 200).expect("the keys have a meaning");
        let sources = [Source { pixels: &pixels, labels: &target[..] }];
        group.bench_function(name, |b| {
            b.iter(|| {
                black_box(classifier.classification(Mixture::Single, &sources, &mut rng, INPUT, &mut out))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = examples
}
criterion_main!(benches);
