//! Integer execution on this machine: yolo-fastest-1.1 as an artefact, by the reference kernels and by
//! those compiled for the processor's vectors, as a whole and kind by kind.
//!
//! The model lies in `models/yolo-fastest-1.1` of the folder that SECATEUR_DATA names. It is
//! calibrated on noise: what an image holds changes no time.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use secateur_codegen::compile;
use secateur_codegen::target::Target;
use secateur_deploy::{kernel_macs, kernel_name};
use secateur_frontend::darknet;
use secateur_kernels::HostKernels;
use secateur_quant::net::Provenance;
use secateur_quant::{QuantiseOptions, quantise};
use secateur_runtime::artefact::{Model, Step};
use secateur_runtime::{Engine, Kernels, Reference};

/// The artefact's bytes; `None`, and why is printed, where the model is not at hand.
fn artefact() -> Option<Vec<u8>> {
    let Some(data) = std::env::var_os("SECATEUR_DATA") else {
        println!("skipped: SECATEUR_DATA does not name the folder of models");
        return None;
    };
    let folder = Path::new(&data).join("models/yolo-fastest-1.1");
    let network = match darknet::load(&folder.join("model.cfg"), Some(&folder.join("model.weights"))) {
        Ok(network) => network,
        Err(error) => {
            println!("skipped: {error}");
            return None;
        }
    };
    let weights = network.weights().expect("they were given");
    let image =
        |n: usize| (0..network.graph.input.len()).map(|i| ((i * 31 + n) % 97) as f32 / 96.0).collect();
    let images: Vec<Vec<f32>> = (0..2).map(image).collect();
    let provenance = Provenance::default();
    let quantised =
        quantise(&network.graph, weights, &images, &QuantiseOptions::default(), Vec::new(), provenance);
    let net = quantised.expect("the model quantises").net;
    let target = Target::load("host").expect("it is built in");
    Some(compile(&net, &target, |_, _, _| {}).expect("the model fits this machine").artefact)
}

fn benchmark<K: Kernels>(c: &mut Criterion, model: &Model<'_>, name: &str, kernels: K) {
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::with_kernels(model, &mut arena, kernels).expect("the arena is large enough");
    let int8 = vec![0; engine.input().map_or(0, |input| input.pixels() * input.c())];
    let steps: Vec<Step<'_>> = model.steps().collect();
    let mut group = c.benchmark_group(format!("yolo-fastest-1.1, {name}"));
    group.throughput(Throughput::Elements(steps.iter().map(kernel_macs).sum()));
    group.bench_function("image", |bencher| bencher.iter(|| engine.run(black_box(&int8), &mut ())));
    let mut kinds: BTreeMap<&str, Vec<&Step<'_>>> = BTreeMap::new();
    for step in &steps {
        kinds.entry(kernel_name(step)).or_default().push(step);
    }
    for (kind, steps) in kinds {
        group.throughput(Throughput::Elements(steps.iter().map(|step| kernel_macs(step).max(1)).sum()));
        group.bench_function(kind, |bencher| {
            bencher.iter(|| steps.iter().filter_map(|step| engine.execute_step(step)).count());
        });
    }
}

fn kernels(c: &mut Criterion) {
    let Some(bytes) = artefact() else { return };
    let model = Model::from_bytes(&bytes).expect("the compiler has checked it");
    benchmark(c, &model, "reference", Reference);
    benchmark(c, &model, "this processor", HostKernels);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = kernels
}
criterion_main!(benches);
