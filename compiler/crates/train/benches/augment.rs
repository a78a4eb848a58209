//! Time of one augmented example of 320 × 320 from a decoded image of 640 × 480, by the kind of augmentation.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use secateur_base::BBox;
use secateur_data::Truth;
use secateur_ir::Shape;
use secateur_train::augment::{Augmentation, Mix, Pixels, Source};

const INPUT: Shape = Shape::new(3, 320, 320);

fn examples(c: &mut Criterion) {
    let shape = Shape::new(3, 480, 640);
    let pixels = Pixels { shape, bytes: (0..shape.len()).map(|i| (i * 37 % 251) as u8).collect() };
    let truths = [Truth { class: 0, bbox: BBox { x: 0.5, y: 0.5, w: 0.5, h: 0.5 } }; 20];
    let target = [1.0, 0.0];
    let colours =
        Augmentation { hue: 0.1, saturation: 1.5, exposure: 1.5, angle: 7.0, ..Augmentation::default() };
    let plain = Augmentation { angle: 7.0, ..Augmentation::default() };
    let blur = Augmentation { blur: 1, ..Augmentation::default() };
    let mut out = vec![0.0; INPUT.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut group = c.benchmark_group("example");
    for (name, keys, mix) in [
        ("crop", &plain, Mix::Single),
        ("crop and colours", &colours, Mix::Single),
        ("mosaic", &colours, Mix::Mosaic),
        ("mixup", &colours, Mix::MixUp),
        ("crop and blur", &blur, Mix::Single),
    ] {
        let sources: Vec<_> =
            (0..mix.images()).map(|_| Source { pixels: &pixels, labels: &truths[..] }).collect();
        group.bench_function(name, |b| {
            b.iter(|| black_box(keys.detection(mix, &sources, &mut rng, INPUT, &mut out)));
        });
    }
    for (name, keys) in [("classifier", &plain), ("classifier and colours", &colours)] {
        let sources = [Source { pixels: &pixels, labels: &target[..] }];
        group.bench_function(name, |b| {
            b.iter(|| black_box(keys.classification(Mix::Single, &sources, &mut rng, INPUT, &mut out)));
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
