//! Networks with packed constants, and the parameters they take.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_runtime::artefact::format::{Encoding, StepKind, packed_mode};
use secateur_runtime::kernels::{Conv, Depthwise, Epilogue, Requant, Window};
use secateur_runtime::packed::{ConvLayout, DepthwiseLayout};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, U16, U32};

use super::build::Build;
use super::{rng, weights};

/// Shifts that one rounded high word expresses, and others.
pub(crate) fn requants(rng: &mut ChaCha8Rng, count: usize) -> Vec<Requant> {
    let (low, high) = [(18, 32), (19, 47), (33, 47)][rng.random_range(0..3)];
    let linear = rng.random_bool(0.3);
    let limit = Requant::MULTIPLIER_LIMIT - 1;
    let slope = |rng: &mut ChaCha8Rng| match rng.random_range(0..4) {
        0 => [-limit, 0, 1, limit][rng.random_range(0..4)],
        _ => rng.random_range(-limit..=limit),
    };
    let one = |_| {
        let m = slope(rng);
        Requant::new(m, if linear { m } else { slope(rng) }, rng.random_range(low..=high))
    };
    (0..count).map(one).collect()
}

/// Biases up to the bound of the accumulators.
pub(crate) fn biases(rng: &mut ChaCha8Rng, taps: usize, count: usize) -> Vec<I32> {
    let room = i32::MAX - 128 * 127 * taps as i32;
    let one = |_| match rng.random_range(0..4) {
        0 => I32::new([room, -room][rng.random_range(0..2)]),
        _ => I32::new(rng.random_range(-9000..9000)),
    };
    (0..count).map(one).collect()
}

/// A network of two packed steps, and the same with dense ones. Input `[6, 6, 5]`.
pub(crate) fn networks(seed: u64) -> (Build, Build) {
    let rng = &mut rng(seed);
    let mut packed = Build::new(8192);
    let mut dense = Build::new(8192);
    let (window, spatial) = (Window::square(1, 1, 0), Window::square(3, 1, 1));
    let (w1, w2) = (weights(rng, 5 * 7), weights(rng, 9 * 7));
    let (b1, b2) = (biases(rng, 5, 7), biases(rng, 9, 7));
    let (r1, r2) = (requants(rng, 7), requants(rng, 7));
    for (network, is_packed) in [(&mut packed, true), (&mut dense, false)] {
        let image = network.tensor(0, [6, 6, 5], 5, -128);
        let middle = network.tensor(192, [6, 6, 7], 7, 3);
        let last = network.tensor(512, [6, 6, 7], 7, -9);
        let epilogue = |requant| Epilogue { requant, lo: -128, hi: 127, table: None, zero_point: 0 };
        network.step(StepKind::Conv, &[image], middle);
        if is_packed {
            let conv = Conv { window, groups: 1, weights: &w1, bias: &b1, epilogue: epilogue(&r1) };
            let layout = ConvLayout::of(&conv, 5, 7).unwrap();
            let mut words = vec![U32::new(0); layout.words().unwrap()];
            layout.pack(&conv, &mut words).unwrap();
            let mode = layout.form.code() | if layout.folded { packed_mode::FOLDED } else { 0 };
            store(network, Encoding::OutputPairs, mode, &words);
        } else {
            network.weights(&w1, &b1.iter().map(|b| b.get()).collect::<Vec<_>>());
            network.requant(&r1);
        }
        let step = network.step(StepKind::Depthwise, &[middle], last);
        (step.kernel_h, step.kernel_w, step.pad_top, step.pad_left) =
            (U16::new(3), U16::new(3), U16::new(1), U16::new(1));
        if is_packed {
            let depthwise = Depthwise { window: spatial, weights: &w2, bias: &b2, epilogue: epilogue(&r2) };
            let layout = DepthwiseLayout::of(&depthwise, 7).unwrap();
            let mut words = vec![U32::new(0); layout.words().unwrap()];
            layout.pack(&depthwise, &mut words).unwrap();
            store(network, Encoding::WindowRows, layout.form.code(), &words);
        } else {
            network.weights(&w2, &b2.iter().map(|b| b.get()).collect::<Vec<_>>());
            network.requant(&r2);
        }
    }
    (packed, dense)
}

/// Packed constants of the last step, and workspace.
fn store(network: &mut Build, encoding: Encoding, mode: u16, words: &[U32]) {
    let at = network.constant(words);
    let step = network.steps.last_mut().unwrap();
    (step.encoding, step.mode) = (encoding.code(), U16::new(mode));
    (step.weights, step.weights_bytes) = (U32::new(at), U32::new(words.as_bytes().len() as u32));
    (step.scratch_offset, step.scratch_bytes) = (U32::new(1024), U32::new(4096));
}
