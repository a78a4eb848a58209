//! The executor for x86-64 against the engine on the reference kernels: random networks, every set of instructions
//! that the machine has, every byte of the arena after every step.
#![cfg(all(target_arch = "x86_64", not(miri)))]

#[path = "../../tests/common/mod.rs"]
mod common;

use common::build::Build;
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_kernels::HostKernels;
use secateur_kernels::x86::{Level, Memory, Plan};
use secateur_runtime::artefact::format::{Requant, ShortcutMode, StepKind};
use secateur_runtime::artefact::{Model, Step};
use secateur_runtime::{Engine, Hook, Tensor};
use zerocopy::little_endian::{I16, I32, U16, U32};

/// A tensor of the network in the making.
#[derive(Debug, Clone, Copy)]
struct Map {
    index: u32,
    offset: u32,
    pitch: u32,
    shape: [u32; 3],
}

/// A random network: tensors are placed one after the other.
struct Network {
    b: Build,
    rng: ChaCha8Rng,
    end: u32,
    last: Map,
}

/// Extremes with probability one half.
fn code(rng: &mut ChaCha8Rng) -> i8 {
    if rng.random() { [-128, -127, 0, 127][rng.random_range(0..4)] } else { rng.random() }
}

impl Network {
    fn new(seed: u64, h: u32, w: u32, c: u32) -> Self {
        let mut b = Build::new(0);
        let index = b.tensor(0, [h, w, c], c, -128);
        b.header.input = U32::new(index);
        let last = Map { index, offset: 0, pitch: c, shape: [h, w, c] };
        Self { b, rng: common::rng(seed), end: h * w * c, last }
    }

    fn bytes(mut self) -> Vec<u8> {
        self.b.header.arena_bytes = U32::new(self.end);
        self.b.bytes()
    }

    fn alloc(&mut self, shape: [u32; 3]) -> Map {
        let offset = self.end;
        self.end += shape.iter().product::<u32>();
        let zero = code(&mut self.rng);
        let index = self.b.tensor(offset, shape, shape[2], zero);
        Map { index, offset, pitch: shape[2], shape }
    }

    /// Channels `first .. first + c` of a feature map.
    fn slice(&mut self, of: Map, first: u32, c: u32) -> Map {
        let shape = [of.shape[0], of.shape[1], c];
        let zero = self.b.tensors[of.index as usize].zero_point.get() as i8;
        let offset = of.offset + first;
        let index = self.b.tensor(offset, shape, of.pitch, zero);
        Map { index, offset, pitch: of.pitch, shape }
    }

    /// Requantisations that spread sums of `taps` products over a byte; any within the contract, sometimes.
    fn requant(&mut self, taps: u32, count: u32) {
        let rng = &mut self.rng;
        let spread = (f64::from(taps).sqrt() * 5000.0 / 60.0).log2().round() as u8;
        let style = rng.random_range(0..8);
        let one = |rng: &mut ChaCha8Rng| {
            let m = match style {
                // Many trailing zeros: ties.
                1 => rng.random_range(8..16) << 13,
                _ => rng.random_range(1 << 16..1 << 17),
            };
            let limit = Requant::MULTIPLIER_LIMIT - 1;
            match style {
                0 => Requant::new(
                    rng.random_range(-limit..=limit),
                    rng.random_range(-limit..=limit),
                    rng.random_range(1..=47),
                ),
                1 | 2 => Requant::new(m, m, 16 + spread),
                3 if rng.random() => Requant::new(m / 10, m, 16 + spread),
                4 => Requant::new(m, 0, 14 + spread + rng.random_range(0..4)),
                _ => Requant::new(m, m / 10, 16 + spread),
            }
        };
        let requant: Vec<Requant> = (0..count).map(|_| one(rng)).collect();
        self.b.requant(&requant);
        let (a, b, style) = (code(rng), code(rng), rng.random_range(0..6));
        let table: Vec<i8> = (0..256).map(|_| code(rng)).collect();
        if style == 0 {
            let table = self.b.constant(&table);
            let step = self.b.steps.last_mut().unwrap();
            step.table = U32::new(table);
            step.table_zero_point = I16::new(code(&mut self.rng).into());
        }
        if style < 2 {
            let step = self.b.steps.last_mut().unwrap();
            (step.lo, step.hi) = (I16::new(a.min(b).into()), I16::new(a.max(b).into()));
        }
    }

    fn weights(&mut self, taps: u32, outputs: u32) {
        let rng = &mut self.rng;
        let weights: Vec<i8> = (0..taps * outputs).map(|_| code(rng).max(-127)).collect();
        let room = (1 << 21) - 128 * 127 * taps.min(100) as i32;
        let bias: Vec<i32> = (0..outputs)
            .map(|_| match rng.random_range(0..20) {
                0 => room,
                1 => i32::MAX - 128 * 127 * taps as i32,
                _ => rng.random_range(-20_000..20_000),
            })
            .collect();
        self.b.weights(&weights, &bias);
    }

    fn conv_to(&mut self, from: Map, to: Map, [kernel, stride, pad, dilation, groups]: [u32; 5]) {
        let step = self.b.step(StepKind::Conv, &[from.index], to.index);
        set_window(step, kernel, stride, pad);
        step.groups = U32::new(groups);
        (step.dilation_h, step.dilation_w) = (U16::new(dilation as u16), U16::new(dilation as u16));
        let taps = kernel * kernel * from.shape[2] / groups;
        self.weights(taps, to.shape[2]);
        self.requant(taps, to.shape[2]);
    }

    /// Appends a random step or a few.
    fn grow(&mut self) {
        let from = self.last;
        let [h, w, c] = from.shape;
        let r = &mut self.rng;
        let kind = r.random_range(0..16);
        let kernel = [1, 2, 3, 3, 5, 7][r.random_range(0..6)];
        let stride = [1, 1, 1, 2, 2, 3][r.random_range(0..6)];
        let pad = r.random_range(0..=kernel / 2);
        let out_c = if r.random() { r.random_range(1..9) * 4 } else { r.random_range(1..40) };
        let out = |extent: u32| (extent + 2 * pad).saturating_sub(kernel) / stride + 1;
        let fits = |extent: u32| (out(extent) - 1) * stride < extent + pad;
        let to = [out(h).min(h + 2), out(w).min(w + 2)];
        let slides = fits(h) && fits(w);
        self.last = match kind {
            0..4 => {
                let to = self.alloc([h, w, out_c]);
                self.conv_to(from, to, [1, 1, 0, 1, 1]);
                to
            }
            4..6 if slides => {
                let to = self.alloc([to[0], to[1], out_c]);
                let dilation = self.rng.random_range(1..3);
                self.conv_to(from, to, [kernel, stride, pad, dilation, 1]);
                to
            }
            6..9 if slides => {
                let to = self.alloc([to[0], to[1], c]);
                set_window(self.b.step(StepKind::Depthwise, &[from.index], to.index), kernel, stride, pad);
                self.weights(kernel * kernel, c);
                self.requant(kernel * kernel, c);
                to
            }
            9 | 10 => self.shortcut(from),
            11 => self.concatenation(from),
            12 if slides && pad < kernel => {
                let to = self.alloc([to[0], to[1], c]);
                set_window(self.b.step(StepKind::MaxPool, &[from.index], to.index), kernel, stride, pad);
                to
            }
            13 if h * w < 200 => {
                let s = self.rng.random_range(1..4);
                let to = self.alloc([h * s, w * s, c]);
                let step = self.b.step(StepKind::Upsample, &[from.index], to.index);
                (step.stride_h, step.stride_w) = (U16::new(s as u16), U16::new(s as u16));
                to
            }
            14 => {
                let to = self.alloc([h, w, c]);
                let table: Vec<i8> = (0..256).map(|_| code(&mut self.rng)).collect();
                let table = self.b.constant(&table);
                self.b.step(StepKind::Activate, &[from.index], to.index).table = U32::new(table);
                to
            }
            15 => {
                let to = self.alloc([h, w, c]);
                self.b.step(StepKind::Rescale, &[from.index], to.index);
                if self.rng.random() {
                    self.requant(1, 1);
                }
                to
            }
            _ if c.is_multiple_of(2) => {
                let to = self.alloc([h, w, 2 * c]);
                self.conv_to(from, to, [1, 1, 0, 1, 2]);
                to
            }
            _ => from,
        };
    }

    /// A convolution, and its sum with what it reads; in place sometimes.
    fn shortcut(&mut self, from: Map) -> Map {
        let side = self.alloc(from.shape);
        self.conv_to(from, side, [1, 1, 0, 1, 1]);
        let to = if self.rng.random() { side } else { self.alloc(from.shape) };
        let shift = self.rng.random_range(16..20);
        let rng = &mut self.rng;
        let multipliers = [0, 1].map(|_| I32::new(rng.random_range(-100_000..200_000)));
        let multipliers = self.b.constant(&multipliers);
        let step = self.b.step(StepKind::Shortcut, &[from.index, side.index], to.index);
        step.multipliers = U32::new(multipliers);
        step.mode = U16::new(ShortcutMode::PerInput.code());
        let slope = if self.rng.random_range(0..4) > 0 { 1 } else { 3 };
        self.b.requant(&[Requant::new(1, slope, shift)]);
        to
    }

    /// Two convolutions into slices of one feature map, of which all or a part is read next.
    fn concatenation(&mut self, from: Map) -> Map {
        let [h, w, _] = from.shape;
        let (a, b) = (self.rng.random_range(1..20), self.rng.random_range(1..20));
        let a = if self.rng.random_range(0..4) > 0 { a * 4 } else { a };
        let whole = self.alloc([h, w, a + b]);
        let (first, second) = (self.slice(whole, 0, a), self.slice(whole, a, b));
        self.conv_to(from, first, [1, 1, 0, 1, 1]);
        self.conv_to(from, second, [3, 1, 1, 1, 1]);
        if self.rng.random() {
            return whole;
        }
        let start = self.rng.random_range(0..a);
        let start = if self.rng.random() { start / 4 * 4 } else { start };
        let count = self.rng.random_range(1..=a + b - start);
        self.slice(whole, start, count)
    }
}

fn set_window(step: &mut secateur_runtime::artefact::format::StepRecord, kernel: u32, stride: u32, pad: u32) {
    let [kernel, stride, pad] = [kernel, stride, pad].map(|n| U16::new(n as u16));
    (step.kernel_h, step.kernel_w) = (kernel, kernel);
    (step.stride_h, step.stride_w) = (stride, stride);
    (step.pad_top, step.pad_left) = (pad, pad);
}

/// Every step's output.
#[derive(Debug, Default, PartialEq)]
struct Outputs(Vec<Vec<i8>>);

impl Hook for Outputs {
    fn after(&mut self, _: &Step<'_>, output: Tensor<'_>) {
        let mut values = vec![0; output.pixels() * output.c()];
        output.copy_to(&mut values);
        self.0.push(values);
    }
}

/// Levels that this processor has; those that it lacks are named in the test's output.
fn levels() -> Vec<Level> {
    let (levels, missing): (Vec<Level>, Vec<Level>) =
        Level::ALL.into_iter().partition(|level| level.is_available());
    missing.iter().for_each(|level| println!("skipped: the processor has no {level}"));
    assert!(!levels.is_empty() || std::env::var_os("CI").is_none(), "no level was compared");
    levels
}

/// Holds every level to the reference on two images: each step's output, the arena, and what a run leaves to its
/// callers.
fn assert_same(bytes: &[u8], seed: u64) {
    let model = Model::from_bytes(bytes).unwrap();
    let rng = &mut common::rng(seed);
    for level in levels() {
        let unchecked = Model::from_checked_bytes(bytes).unwrap();
        assert!(Plan::with_level(&unchecked, level).is_none(), "its pointers rely on the check");
        let plan = Plan::with_level(&model, level).expect("compilers write plans that can be followed");
        // Memory of an earlier run holds anything.
        let mut memory = Memory::default();
        for _ in 0..2 {
            let image: Vec<i8> = (0..model.input_shape().iter().product()).map(|_| code(rng)).collect();
            let mut arenas = [(); 3].map(|()| vec![0; model.arena_bytes()]);
            let [expected, watched, run] = &mut arenas;
            let (mut steps, mut shown) = (Outputs::default(), Outputs::default());
            Engine::new(&model, expected).unwrap().run(&image, &mut steps);
            let mut engine = Engine::with_kernels(&model, watched, HostKernels).unwrap();
            plan.watch(&mut memory, &mut engine, &image, &mut shown);
            for (n, (found, wanted)) in shown.0.iter().zip(&steps.0).enumerate() {
                let step = model.step(n).unwrap();
                assert!(found == wanted, "{level}: step {n}, {:?}", step.operation().unwrap());
            }
            assert_eq!(shown.0.len(), steps.0.len());
            assert!(watched == expected, "{level}: the arena");
            let mut engine = Engine::with_kernels(&model, run, HostKernels).unwrap();
            plan.run(&mut memory, &mut engine, &image);
            let last = model.steps().last().unwrap().output_index();
            for tensor in model.heads().map(|head| head.tensor).chain([last]) {
                let read = |arena: &mut Vec<u8>| {
                    let engine = Engine::new(&model, arena).unwrap();
                    let tensor = engine.tensor(tensor).unwrap();
                    let mut values = vec![0; tensor.pixels() * tensor.c()];
                    tensor.copy_to(&mut values);
                    values
                };
                let wanted = read(&mut arenas[0]);
                assert_eq!(read(&mut arenas[2]), wanted, "{level}: a run's output");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_networks(seed: u64, h in 1u32..40, w in 1u32..40, c in 1u32..5, steps in 1usize..10) {
        let mut network = Network::new(seed, h, w, c);
        while network.b.steps.len() < steps {
            network.grow();
        }
        assert_same(&network.bytes(), seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn random_networks_on_large_images(seed: u64, h in 60u32..130, w in 30u32..130, steps in 3usize..8) {
        let mut network = Network::new(seed, h, w, 3);
        while network.b.steps.len() < steps {
            network.grow();
        }
        assert_same(&network.bytes(), seed);
    }
}

#[test]
fn a_network_of_every_operator() {
    assert_same(&common::build::sample().bytes(), 1);
}

#[test]
fn usual_steps_have_kernels() {
    let mut network = Network::new(7, 24, 20, 3);
    let stem = network.alloc([12, 10, 16]);
    network.conv_to(network.last, stem, [3, 2, 1, 1, 1]);
    let wide = network.alloc([12, 10, 40]);
    network.conv_to(stem, wide, [1, 1, 0, 1, 1]);
    let mut last = wide;
    for (kernel, stride) in [(3, 1), (5, 1), (3, 2)] {
        let [h, w, c] = last.shape;
        let to = network.alloc([h / stride, w / stride, c]);
        set_window(network.b.step(StepKind::Depthwise, &[last.index], to.index), kernel, stride, kernel / 2);
        network.weights(kernel * kernel, c);
        network.requant(kernel * kernel, c);
        last = to;
    }
    let to = network.alloc(last.shape);
    set_window(network.b.step(StepKind::MaxPool, &[last.index], to.index), 5, 1, 2);
    let [h, w, c] = to.shape;
    let up = network.alloc([2 * h, 2 * w, c]);
    let step = network.b.step(StepKind::Upsample, &[to.index], up.index);
    (step.stride_h, step.stride_w) = (U16::new(2), U16::new(2));
    let bytes = network.bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    for level in levels() {
        let plan = Plan::with_level(&model, level).unwrap();
        assert_eq!(plan.portable_steps().count(), 0, "{level}");
    }
    assert_same(&bytes, 7);
}
