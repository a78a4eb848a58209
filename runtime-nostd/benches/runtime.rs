//! Check of an artefact of 400 kB.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::build::Build;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use secateur_runtime::artefact::Model;
use secateur_runtime::artefact::format::{Requant, StepKind};
use zerocopy::little_endian::U32;

/// 130 pointwise convolutions, as many as yolo-fastest has layers; about 400 kB.
fn artefact() -> Vec<u8> {
    let rng = &mut common::rng(1);
    let mut b = Build::new(20 * 20 * 96);
    let narrow = b.tensor(0, [20, 20, 48], 48, 0);
    let wide = b.tensor(20 * 20 * 48, [20, 20, 48], 48, 0);
    for step in 0..130 {
        let (input, output) = if step % 2 == 0 { (narrow, wide) } else { (wide, narrow) };
        b.step(StepKind::Conv, &[input], output);
        b.weights(&common::weights(rng, 48 * 48), &[100; 48]);
        b.requant(&[Requant::new(1 << 16, 6554, 25); 48]);
    }
    b.header.input = U32::new(narrow);
    b.bytes()
}

fn check(c: &mut Criterion) {
    let bytes = artefact();
    let mut group = c.benchmark_group("check");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("400 kB", |bencher| {
        bencher.iter(|| Model::from_bytes(black_box(&bytes)).unwrap().step_count());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = check
}
criterion_main!(benches);
