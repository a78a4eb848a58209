//! Float execution: yolo-fastest-1.1 by the oracle and by the plan, by number of threads; every class
//! of kernels on a layer of its own.
//!
//! The model lies in `models/yolo-fastest-1.1` of the folder that SECATEUR_DATA names.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use secateur_float::{Plan, oracle};
use secateur_frontend::darknet::{self, Cfg, build_graph};
use secateur_ir::{BatchNorm, Graph, LayerWeights, Weights, parameter_counts};

/// Cfg and weights of yolo-fastest-1.1; prints why where they are not at hand.
fn model() -> Option<(PathBuf, PathBuf)> {
    let Some(data) = std::env::var_os("SECATEUR_DATA") else {
        println!("skipped: SECATEUR_DATA does not name the folder of models");
        return None;
    };
    let folder = Path::new(&data).join("models/yolo-fastest-1.1");
    let (cfg, weights) = (folder.join("model.cfg"), folder.join("model.weights"));
    if !(cfg.is_file() && weights.is_file()) {
        println!("skipped: no model.cfg and model.weights in {}", folder.display());
        return None;
    }
    Some((cfg, weights))
}

/// Numbers of both signs; timing does not depend on which.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.5).collect()
}

fn image(c: &mut Criterion) {
    let Some((cfg, weights)) = model() else { return };
    let network = darknet::load(&cfg, Some(&weights)).expect("the model is valid");
    let (graph, weights) = (&network.graph, network.weights().expect("they were given"));
    let plan = Plan::new(graph, weights).expect("the weights fit");
    let input = numbers(graph.input.len());
    let mut group = c.benchmark_group("image of yolo-fastest-1.1");
    group.throughput(Throughput::Elements(plan.macs()));
    group.bench_function("oracle", |bencher| {
        bencher.iter(|| oracle::run(graph, weights, black_box(&input)).len());
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in (0..).map(|doublings| 1 << doublings).take_while(|&threads| threads <= cores) {
        let mut scratch = plan.scratch();
        group.bench_function(format!("plan, {threads} threads"), |bencher| {
            bencher.iter(|| plan.run_threaded(&mut scratch, black_box(&input), threads));
        });
    }
}

fn layer_weights(graph: &Graph, layer: usize) -> LayerWeights {
    let counts = parameter_counts(&graph.nodes[layer].op, &graph.input_shapes(layer));
    LayerWeights {
        weights: numbers(counts.weights),
        bias: numbers(counts.bias),
        batch_norm: counts.batch_norm.then(|| BatchNorm {
            scale: numbers(counts.bias),
            mean: numbers(counts.bias),
            variance: vec![1.0; counts.bias],
        }),
    }
}

fn kernels(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel");
    for (name, [h, w, channels], section) in [
        ("pointwise", [20, 20, 96], "[convolutional]\nfilters=96\nactivation=leaky"),
        ("dense 3x3", [20, 20, 64], "[convolutional]\nfilters=64\nsize=3\npad=1\nactivation=leaky"),
        (
            "first layer",
            [320, 320, 3],
            "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky",
        ),
        (
            "depthwise 3x3",
            [40, 40, 96],
            "[convolutional]\nfilters=96\ngroups=96\nsize=3\npad=1\nactivation=leaky",
        ),
        (
            "depthwise 5x5",
            [20, 20, 96],
            "[convolutional]\nfilters=96\ngroups=96\nsize=5\npad=1\nactivation=leaky",
        ),
        ("swish", [20, 20, 96], "[convolutional]\nfilters=96\nactivation=swish"),
        ("maxpool 5x5", [20, 20, 96], "[maxpool]\nsize=5\nstride=1"),
        ("upsample", [20, 20, 96], "[upsample]\nstride=2"),
        ("connected", [1, 1, 1024], "[connected]\noutput=1000\nactivation=linear"),
    ] {
        let text = format!("[net]\nwidth={w}\nheight={h}\nchannels={channels}\n{section}\n");
        let cfg = Cfg::parse(Path::new("bench.cfg"), text.as_bytes()).expect("a constant");
        let graph = build_graph(&cfg).expect("a constant");
        let layers = (0..graph.nodes.len()).map(|layer| layer_weights(&graph, layer)).collect();
        let weights = Weights { layers };
        let plan = Plan::new(&graph, &weights).expect("drawn to fit");
        let input = numbers(graph.input.len());
        let mut scratch = plan.scratch();
        group.throughput(Throughput::Elements(plan.macs().max(graph.input.len() as u64)));
        group.bench_function(name, |bencher| bencher.iter(|| plan.run(&mut scratch, black_box(&input))));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = image, kernels
}
criterion_main!(benches);
