//! One whole step of training, batch 8: forward, loss, backward, update.
//!
//! `cargo bench -p secateur-train -- yolo-fastest` times the networks of the test data; beside another framework, use the
//! ratio of two runs that alternate.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use secateur_base::BBox;
use secateur_data::Truth;
use secateur_frontend::darknet::{self, Cfg};
use secateur_ir::{Graph, Weights};
use secateur_testing::{data_dir, random_weights};
use secateur_train::Trainer;
use secateur_train::loss::Truths;

const BATCH: usize = 8;

/// Kernels of 3×3 alone, 16 to 512 filters, as YOLOv3-tiny has them.
fn plain_cfg(size: usize) -> String {
    let mut text = format!("[net]\nbatch={BATCH}\nsubdivisions=1\nchannels=3\nheight={size}\nwidth={size}\n");
    for filters in [16, 32, 64, 128, 256, 512] {
        text += &format!(
            "[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\npad=1\nactivation=leaky\n"
        );
        if filters < 512 {
            text += "[maxpool]\nsize=2\nstride=2\n";
        }
    }
    text + "[convolutional]\nfilters=24\nsize=1\nactivation=linear\n\
            [yolo]\nmask=0,1,2\nanchors=10,14,23,27,37,58\nclasses=3\nnum=3\nignore_thresh=.7\n"
}

/// A cfg with its sides and batch changed.
fn resized(text: &str, size: usize) -> String {
    let lines = text.lines().map(|line| match line.split('=').next().map(str::trim) {
        Some("width") => format!("width={size}"),
        Some("height") => format!("height={size}"),
        Some("batch") => format!("batch={BATCH}"),
        Some("subdivisions") => "subdivisions=1".to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn step(criterion: &mut Criterion, name: &str, text: &str) {
    let cfg = Cfg::parse(Path::new("bench.cfg"), text.as_bytes()).expect("the cfg is sound");
    let graph: Graph = darknet::build_graph(&cfg).expect("the cfg is sound");
    let training = darknet::training(&cfg, &graph).expect("the cfg is sound");
    let weights: Weights = random_weights(1, &graph);
    let mut trainer = Trainer::<f32>::new(&graph, &weights, &training, 0, 1).expect("it can be trained");
    let input: Vec<f32> = (0..graph.input.len() * BATCH).map(|i| (i * 7919 % 251) as f32 / 251.0).collect();
    let truth =
        |i: usize| Truth { class: i % 3, bbox: BBox { x: 0.3, y: 0.2 + 0.1 * i as f32, w: 0.2, h: 0.1 } };
    let boxes: Vec<Vec<Truth>> = (0..BATCH).map(|_| (0..6).map(truth).collect()).collect();
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| {
            black_box(trainer.pass(&input, Truths::Boxes(&boxes), |_, _, _| {}));
            trainer.update()
        });
    });
}

fn steps(criterion: &mut Criterion) {
    if let Some(data) = data_dir() {
        let cfg = data.join("models/yolo-fastest-1.1/yolo-fastest-1.1.cfg");
        let text = std::fs::read_to_string(cfg).expect("the test data are whole");
        for size in [320, 160] {
            step(criterion, &format!("yolo-fastest-1.1 at {size}"), &resized(&text, size));
        }
    }
    step(criterion, "plain 3×3 at 224", &plain_cfg(224));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = steps
}
criterion_main!(benches);
