//! The tuned kernels: convolutions on layers of yolo-fastest-1.1 at 320 × 320, every other operator on a feature map
//! of its size.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::Cell;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::RngExt;
use secateur_kernels::{HostKernels, Tiled};
use secateur_runtime::artefact::format::Requant;
use secateur_runtime::kernels::{Connected, Conv, Depthwise, Epilogue, Shortcut, ShortcutMode, Window};
use secateur_runtime::{Kernels, Tensor};
use zerocopy::little_endian::I32;

fn layers<K: Kernels>(c: &mut Criterion, name: &str, kernels: K) {
    let rng = &mut common::rng(2);
    // Input extent, input channels, output channels (0: depthwise), kernel, stride.
    let layers = [
        (320, 3, 8, 3, 2),
        (160, 8, 8, 1, 1),
        (160, 8, 0, 3, 1),
        (80, 32, 8, 1, 1),
        (80, 32, 0, 3, 1),
        (40, 16, 96, 1, 1),
        (40, 96, 0, 3, 1),
        (20, 136, 24, 1, 1),
        (20, 120, 120, 1, 1),
        (20, 120, 0, 5, 1),
        (13, 512, 1024, 3, 1),
    ];
    let mut group = c.benchmark_group(format!("layer, {name}"));
    for (extent, in_c, out_c, kernel, stride) in layers {
        let depthwise = out_c == 0;
        let out_c = if depthwise { in_c } else { out_c };
        let taps = kernel * kernel * if depthwise { 1 } else { in_c };
        let out = extent / stride;
        let mut input: Vec<i8> = (0..extent * extent * in_c).map(|_| rng.random()).collect();
        let mut output = vec![0; out * out * out_c];
        let weights = common::weights(rng, taps * out_c);
        let bias = vec![I32::new(100); out_c];
        let requant = vec![Requant::new(80_000, 8_000, 28); out_c];
        let cells = |codes| Cell::from_mut(codes).as_slice_of_cells();
        let from = Tensor::dense(cells(&mut input[..]), [extent, extent, in_c], 3).unwrap();
        let to = Tensor::dense(cells(&mut output[..]), [out, out, out_c], -3).unwrap();
        let epilogue = Epilogue { requant: &requant, lo: -128, hi: 127, table: None, zero_point: -3 };
        let (window, weights, bias) = (Window::square(kernel, stride, kernel / 2), &weights[..], &bias[..]);
        let kind = if depthwise { "depthwise" } else { "conv" };
        group.throughput(Throughput::Elements((out * out * out_c * taps) as u64));
        group.bench_function(format!("{kind} {extent}x{extent}x{in_c}->{out_c} k{kernel}"), |bencher| {
            bencher.iter(|| {
                if depthwise {
                    kernels.depthwise(from, to, &Depthwise { window, weights, bias, epilogue });
                } else {
                    kernels.conv(from, to, &Conv { window, groups: 1, weights, bias, epilogue });
                }
            });
        });
    }
}

/// The kernels beside convolution, on a feature map of 20 × 20 × 96.
fn operators<K: Kernels>(c: &mut Criterion, name: &str, kernels: K) {
    let rng = &mut common::rng(3);
    let mut codes = || -> Vec<i8> { (0..20 * 20 * 96).map(|_| rng.random()).collect() };
    let (mut a, mut b, mut wide) = (codes(), codes(), vec![0; 40 * 40 * 96]);
    fn cells(codes: &mut [i8]) -> &[Cell<i8>] {
        Cell::from_mut(codes).as_slice_of_cells()
    }
    let (a, b, wide) = (cells(&mut a), cells(&mut b), cells(&mut wide));
    let shape = [20, 20, 96];
    let map = |codes| Tensor::dense(codes, shape, 3).unwrap();
    let (from, other, to) = (map(a), map(b), map(wide));
    let large = Tensor::dense(wide, [40, 40, 96], 3).unwrap();
    let one = Tensor::dense(wide, [1, 1, 96], 3).unwrap();
    let requant = [Requant::new(80_000, 8_000, 28); 96];
    let epilogue = Epilogue { requant: &requant, lo: -128, hi: 127, table: None, zero_point: 3 };
    let multipliers = [I32::new(70_000), I32::new(90_000)];
    let shortcut = Shortcut { multipliers: &multipliers, mode: ShortcutMode::PerInput, epilogue };
    let weights = common::weights(rng, 96 * 1000);
    let bias = [I32::new(100); 1000];
    let scaled = [Requant::new(80_000, 80_000, 28); 1000];
    let connected =
        Connected { weights: &weights, bias: &bias, epilogue: Epilogue { requant: &scaled, ..epilogue } };
    let vector = Tensor::dense(&a[..96], [1, 1, 96], 3).unwrap();
    let classes = Tensor::dense(&wide[..1000], [1, 1, 1000], 3).unwrap();
    let table: [i8; 256] = core::array::from_fn(|code| (code as i16 / 2) as i8);
    let mut group = c.benchmark_group(format!("operator, {name}"));
    group.throughput(Throughput::Elements(20 * 20 * 96));
    let mut bench = |name: &str, work: &dyn Fn()| {
        group.bench_function(name, |bencher| bencher.iter(work));
    };
    bench("maxpool 5x5", &|| kernels.maxpool(from, to, &Window::square(5, 1, 2)));
    bench("avgpool", &|| kernels.avgpool(from, one, &epilogue));
    bench("shortcut", &|| kernels.shortcut([from, other].into_iter(), to, &shortcut));
    bench("multiply", &|| kernels.multiply(other, from, to, &epilogue));
    bench("rescale", &|| kernels.rescale(from, to, 0, 0, Some(&epilogue)));
    bench("copy", &|| kernels.rescale(from, to, 0, 0, None));
    bench("activate", &|| kernels.activate(from, to, &table));
    bench("upsample", &|| kernels.upsample(from, large, 2, 2));
    bench("connected 96 to 1000", &|| kernels.connected(vector, classes, &connected));
}

fn tiled(c: &mut Criterion) {
    layers(c, "tiled", Tiled);
    operators(c, "tiled", Tiled);
}

fn host(c: &mut Criterion) {
    layers(c, "this processor", HostKernels);
    operators(c, "this processor", HostKernels);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = tiled, host
}
criterion_main!(benches);
