//! A whole step of training: forward, loss, backward, update.
//!
//! `cargo bench -p secateur-train --bench step -- NETWORK.cfg SIZE BATCH` makes a step for every line that it reads and
//! prints its milliseconds; at the end of its input it prints its peak memory in MB. `pytorch/compare.py` drives it.

use std::hint::black_box;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use secateur_base::BBox;
use secateur_data::Truth;
use secateur_frontend::darknet::{self, Cfg};
use secateur_ir::training::Training;
use secateur_testing::random_weights;
use secateur_train::Trainer;
use secateur_train::loss::Truths;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [cfg, size, batch] = &arguments[..] else {
        println!("give a cfg, the side of its images and the batch; see pytorch/compare.py");
        return;
    };
    let (size, batch) = (size.parse().expect("a side in pixels"), batch.parse().expect("a number of images"));
    let text = std::fs::read(cfg).expect("the cfg can be read");
    let cfg = Cfg::parse(Path::new(cfg), &text).expect("the cfg is sound");
    let graph =
        darknet::build_graph(&cfg).and_then(|graph| graph.resized(size, size)).expect("the cfg is sound");
    let training = darknet::training(&cfg, &graph).expect("the cfg is sound");
    let training = Training { batch, subdivisions: 1, ..training };
    let weights = random_weights(1, &graph);
    let mut trainer = Trainer::<f32>::new(&graph, &weights, &training, 0, 1).expect("it can be trained");
    let input: Vec<f32> = (0..graph.input.len() * batch).map(|i| (i * 7919 % 251) as f32 / 251.0).collect();
    let truth =
        |i: usize| Truth { class: i % 3, bbox: BBox { x: 0.3, y: 0.2 + 0.1 * i as f32, w: 0.2, h: 0.1 } };
    let boxes: Vec<Vec<Truth>> = (0..batch).map(|_| (0..6).map(truth).collect()).collect();
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        black_box(trainer.pass(&input, Truths::Boxes(&boxes), None));
        let (_, norm) = trainer.update();
        assert!(norm.is_finite(), "the step changed nothing");
        println!("{}", start.elapsed().as_secs_f64() * 1e3);
    }
    println!("{}", peak_memory());
}

/// The largest resident set of this process so far, in MB.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells a process its memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak is there");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("in kB") / 1e3
}
