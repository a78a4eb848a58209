//! Tuned kernels against the reference: random shapes, slices and parameters, extreme values; same bytes.

#[path = "../../tests/common/mod.rs"]
mod common;

use std::cell::Cell;

use common::{Finish, rng};
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_kernels::{HostKernels, Tiled};
use secateur_runtime::artefact::Model;
use secateur_runtime::kernels::{self, Requant, ShortcutMode, Window};
use secateur_runtime::{Engine, Kernels, Reference, Tensor};
use zerocopy::little_endian::I32;

/// A set of kernels.
#[derive(Debug, Clone, Copy)]
enum Set {
    Reference,
    Tiled,
    Host,
}

/// A call of one kernel of `set`.
macro_rules! call {
    ($set:expr, $kernel:ident($($argument:expr),*)) => {
        match $set {
            Set::Reference => Reference.$kernel($($argument),*),
            Set::Tiled => Tiled.$kernel($($argument),*),
            Set::Host => HostKernels.$kernel($($argument),*),
        }
    };
}

/// Extremes with probability one half.
fn code(rng: &mut ChaCha8Rng) -> i8 {
    if rng.random() { [-128, -127, 0, 127][rng.random_range(0..4)] } else { rng.random() }
}

/// Bytes with room for feature maps of these shapes, each a slice of a wider one at any offset, and their
/// locations.
struct Maps {
    bytes: Vec<i8>,
    /// Offset, shape, pitch, zero point.
    places: Vec<(usize, [usize; 3], usize, i8)>,
}

impl Maps {
    fn new(rng: &mut ChaCha8Rng, shapes: &[[usize; 3]]) -> Self {
        let mut maps = Self { bytes: Vec::new(), places: Vec::new() };
        for &shape in shapes {
            let pitch = shape[2] + if rng.random() { rng.random_range(1..9) } else { 0 };
            let offset = maps.bytes.len() + rng.random_range(0..5);
            maps.places.push((offset, shape, pitch, code(rng)));
            let end = offset + shape[0] * shape[1] * pitch;
            maps.bytes.resize_with(end, || code(rng));
        }
        maps
    }

    /// All bytes after `run` on the inputs and the output, which is the last feature map.
    fn after(&self, run: impl Fn(&[Tensor<'_>], Tensor<'_>)) -> Vec<i8> {
        let mut bytes = self.bytes.clone();
        let cells = Cell::from_mut(&mut bytes[..]).as_slice_of_cells();
        let tensors: Vec<_> = self
            .places
            .iter()
            .map(|&(offset, shape, pitch, zero)| Tensor::new(&cells[offset..], shape, pitch, zero).unwrap())
            .collect();
        let (output, inputs) = tensors.split_last().unwrap();
        run(inputs, *output);
        bytes
    }
}

/// Holds every tuned set to the reference; the last of `shapes` is the output's.
fn assert_same(rng: &mut ChaCha8Rng, shapes: &[[usize; 3]], run: impl Fn(Set, &[Tensor<'_>], Tensor<'_>)) {
    let maps = Maps::new(rng, shapes);
    let expected = maps.after(|inputs, output| run(Set::Reference, inputs, output));
    for set in [Set::Tiled, Set::Host] {
        assert_eq!(maps.after(|inputs, output| run(set, inputs, output)), expected, "{set:?}");
    }
}

/// Any window, and any output extents of which each position begins inside the image.
fn window(rng: &mut ChaCha8Rng, h: usize, w: usize) -> (Window, usize, usize) {
    let window = Window {
        kernel_h: rng.random_range(1..=5),
        kernel_w: rng.random_range(1..=5),
        stride_h: rng.random_range(1..=4),
        stride_w: rng.random_range(1..=4),
        dilation_h: rng.random_range(1..=3),
        dilation_w: rng.random_range(1..=3),
        pad_top: rng.random_range(0..=4),
        pad_left: rng.random_range(0..=4),
    };
    let most = |extent: usize, pad: usize, stride: usize| (extent + pad - 1) / stride + 1;
    let out_h = rng.random_range(1..=most(h, window.pad_top, window.stride_h));
    let out_w = rng.random_range(1..=most(w, window.pad_left, window.stride_w));
    (window, out_h, out_w)
}

fn requant(rng: &mut ChaCha8Rng) -> Requant {
    let limit = Requant::MULTIPLIER_LIMIT - 1;
    let slope = |rng: &mut ChaCha8Rng| {
        if rng.random() {
            [-limit, 0, 1, limit][rng.random_range(0..4)]
        } else {
            rng.random_range(-limit..=limit)
        }
    };
    let (pos, neg) = (slope(rng), slope(rng));
    Requant::new(pos, neg, if rng.random() { rng.random_range(16..30) } else { rng.random_range(1..=47) })
}

/// Any epilogue within the contract.
fn finish(rng: &mut ChaCha8Rng, count: usize) -> Finish {
    let (a, b): (i8, i8) = (code(rng), code(rng));
    Finish {
        requant: (0..count).map(|_| requant(rng)).collect(),
        lo: a.min(b),
        hi: a.max(b),
        ..Finish::random(rng, 0)
    }
}

/// Weights of `outputs` channels of `taps` each, `[o][tap]` or `[tap][o]`, and biases that reach up to the
/// bound of the accumulators.
fn weights(rng: &mut ChaCha8Rng, taps: usize, outputs: usize) -> (Vec<i8>, Vec<I32>) {
    let weights = (0..taps * outputs).map(|_| code(rng).max(-127)).collect();
    let room = i32::MAX - 128 * 127 * taps as i32;
    let bias = |rng: &mut ChaCha8Rng| match rng.random_range(0..4) {
        0 => room,
        1 => -room,
        _ => rng.random_range(-100_000..100_000),
    };
    (weights, (0..outputs).map(|_| I32::new(bias(rng))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 400 }))]

    #[test]
    fn conv(seed: u64, h in 1usize..12, w in 1usize..12, groups in 1usize..4, in_c in 1usize..40, out_c in 1usize..45) {
        let rng = &mut rng(seed);
        let (window, out_h, out_w) = window(rng, h, w);
        let taps = window.kernel_h * window.kernel_w * in_c;
        let (weights, bias) = weights(rng, taps, out_c * groups);
        let finish = finish(rng, out_c * groups);
        let parameters =
            kernels::Conv { window, groups, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        assert_same(rng, &[[h, w, in_c * groups], [out_h, out_w, out_c * groups]], |set, inputs, output| {
            call!(set, conv(inputs[0], output, &parameters));
        });
    }

    #[test]
    fn pointwise_conv(seed: u64, h in 1usize..9, w in 1usize..9, in_c in 1usize..600, out_c in 1usize..80) {
        let rng = &mut rng(seed);
        let (weights, bias) = weights(rng, in_c, out_c);
        let finish = finish(rng, out_c);
        let window = Window::square(1, 1, 0);
        let parameters =
            kernels::Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        assert_same(rng, &[[h, w, in_c], [h, w, out_c]], |set, inputs, output| {
            call!(set, conv(inputs[0], output, &parameters));
        });
    }

    #[test]
    fn depthwise(seed: u64, h in 1usize..40, w in 1usize..40, c in 1usize..60) {
        let rng = &mut rng(seed);
        let (window, out_h, out_w) = window(rng, h, w);
        let (weights, bias) = weights(rng, window.kernel_h * window.kernel_w, c);
        let finish = finish(rng, c);
        let parameters =
            kernels::Depthwise { window, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        assert_same(rng, &[[h, w, c], [out_h, out_w, c]], |set, inputs, output| {
            call!(set, depthwise(inputs[0], output, &parameters));
        });
    }

    #[test]
    fn connected(seed: u64, h in 1usize..6, w in 1usize..6, c in 1usize..40, out_c in 1usize..40) {
        let rng = &mut rng(seed);
        let (weights, bias) = weights(rng, h * w * c, out_c);
        let finish = finish(rng, out_c);
        let parameters = kernels::Connected { weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        assert_same(rng, &[[h, w, c], [1, 1, out_c]], |set, inputs, output| {
            call!(set, connected(inputs[0], output, &parameters));
        });
    }

    #[test]
    fn maxpool(seed: u64, h in 1usize..14, w in 1usize..14, c in 1usize..40) {
        let rng = &mut rng(seed);
        let (window, out_h, out_w) = window(rng, h, w);
        assert_same(rng, &[[h, w, c], [out_h, out_w, c]], |set, inputs, output| {
            call!(set, maxpool(inputs[0], output, &window));
        });
    }

    #[test]
    fn shortcut(seed: u64, h in 1usize..9, w in 1usize..9, c in 1usize..150, n in 1usize..5, same: bool) {
        let rng = &mut rng(seed);
        let channels = |rng: &mut ChaCha8Rng| if same { c } else { rng.random_range(1..200) };
        let mut shapes: Vec<[usize; 3]> = (0..n).map(|_| [h, w, channels(rng)]).collect();
        shapes.push([h, w, c]);
        let mode = if rng.random() { ShortcutMode::PerInput } else { ShortcutMode::PerChannel };
        let count = if mode == ShortcutMode::PerInput { n } else { n * c };
        // 255 · Σ|M| stays below 2^31.
        let limit = ((1u32 << 31) / 255 / n as u32 - 1) as i32;
        let multiplier = |rng: &mut ChaCha8Rng| {
            I32::new(if rng.random() { [-limit, limit][rng.random_range(0..2)] } else { rng.random_range(-limit..=limit) })
        };
        let multipliers: Vec<I32> = (0..count).map(|_| multiplier(rng)).collect();
        let finish = finish(rng, 1);
        let parameters = kernels::Shortcut { multipliers: &multipliers, mode, epilogue: finish.epilogue() };
        assert_same(rng, &shapes, |set, inputs, output| {
            call!(set, shortcut(inputs.iter().copied(), output, &parameters));
        });
    }

    #[test]
    fn multiply(seed: u64, h in 1usize..9, w in 1usize..9, c in 1usize..40, spread in 0usize..3) {
        let rng = &mut rng(seed);
        let factor = [[h, w, c], [1, 1, c], [h, w, 1]][spread];
        let finish = finish(rng, 1);
        assert_same(rng, &[factor, [h, w, c], [h, w, c]], |set, inputs, output| {
            call!(set, multiply(inputs[0], inputs[1], output, &finish.epilogue()));
        });
    }
}

#[test]
fn long_filters_are_summed_in_parts() {
    let rng = &mut rng(11);
    for (in_c, kernel, out_c) in [(700, 1, 40), (130, 3, 70), (61, 5, 33), (513, 1, 1), (4608, 1, 5)] {
        let (weights, bias) = weights(rng, in_c * kernel * kernel, out_c);
        let finish = finish(rng, out_c);
        let window = Window::square(kernel, 1, kernel / 2);
        let parameters =
            kernels::Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        assert_same(rng, &[[4, 5, in_c], [4, 5, out_c]], |set, inputs, output| {
            call!(set, conv(inputs[0], output, &parameters));
        });
    }
}

#[test]
fn a_network_of_every_operator_gives_the_same_arena() {
    fn arena<K: Kernels>(model: &Model<'_>, kernels: K) -> Vec<u8> {
        let mut arena = vec![0; model.arena_bytes()];
        let image: Vec<i8> = (0..192).map(|i| (i * 7) as i8).collect();
        Engine::with_kernels(model, &mut arena, kernels).unwrap().run(&image, &mut ());
        arena
    }
    let bytes = common::build::sample().bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let expected = arena(&model, Reference);
    assert_eq!(arena(&model, Tiled), expected);
    assert_eq!(arena(&model, HostKernels), expected);
}
