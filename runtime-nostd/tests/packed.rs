//! Packed constants: they mean what the dense ones say, and no bytes of an artefact make their kernels fail.

mod common;

use std::cell::Cell;

use common::build::{Build, reseal};
use common::packed::{biases, networks, requants};
use common::{Finish, rng, weights};
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_runtime::artefact::format::Encoding;
use secateur_runtime::artefact::{Error, Fault, Model};
use secateur_runtime::kernels::{self, Conv, Depthwise, Epilogue, Requant, Window};
use secateur_runtime::packed::{
    Bounds, ConvLayout, DepthwiseLayout, Form, PackedConv, PackedDepthwise, packed_conv, packed_depthwise,
};
use secateur_runtime::{Engine, Tensor};
use zerocopy::little_endian::{U16, U32};

fn finish(rng: &mut ChaCha8Rng, count: usize) -> Finish {
    Finish { requant: requants(rng, count), ..Finish::random(rng, 0) }
}

fn bounds(epilogue: Epilogue<'_>) -> Bounds<'_> {
    let Epilogue { lo, hi, table, zero_point, .. } = epilogue;
    Bounds { lo, hi, table, zero_point }
}

/// Output of `run` on a random image, by dense and by packed constants.
fn assert_same(
    rng: &mut ChaCha8Rng,
    from: [usize; 3],
    to: [usize; 3],
    run: impl Fn(bool, Tensor<'_>, Tensor<'_>),
) {
    let mut image: Vec<i8> = (0..from.iter().product()).map(|_| rng.random()).collect();
    let zero = rng.random();
    let [dense, packed] = [false, true].map(|packed| {
        let mut out = vec![0i8; to.iter().product()];
        let input = Tensor::dense(Cell::from_mut(&mut image[..]).as_slice_of_cells(), from, zero).unwrap();
        let output = Tensor::dense(Cell::from_mut(&mut out[..]).as_slice_of_cells(), to, 0).unwrap();
        run(packed, input, output);
        out
    });
    assert_eq!(dense, packed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 300 }))]

    #[test]
    fn packed_conv_means_the_dense_one(seed: u64, h in 1usize..6, w in 1usize..6, in_c in 1usize..30, out_c in 2usize..9, k in 1usize..4) {
        let rng = &mut rng(seed);
        let window = Window::square(k, 1, k / 2);
        let weights = weights(rng, k * k * in_c * out_c);
        let (bias, finish) = (biases(rng, k * k * in_c, out_c), finish(rng, out_c));
        let dense = Conv { window, groups: 1, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        let layout = ConvLayout::of(&dense, in_c, out_c).unwrap();
        let mut words = vec![U32::new(0x5a5a_5a5a); layout.words().unwrap()];
        layout.pack(&dense, &mut words).unwrap();
        let packed = PackedConv { window, layout, words: &words, bounds: bounds(dense.epilogue) };
        prop_assert!(packed.is_valid());
        for o in 0..out_c {
            for tap in 0..k * k * in_c {
                prop_assert_eq!(packed.weight(o, tap), i32::from(weights[o * k * k * in_c + tap]));
            }
        }
        assert_same(rng, [h, w, in_c], [h, w, out_c], |as_packed, input, output| {
            if as_packed { packed_conv(input, output, &packed) } else { kernels::conv(input, output, &dense) }
        });
    }

    #[test]
    fn packed_depthwise_means_the_dense_one(seed: u64, h in 1usize..7, w in 1usize..7, c in 4usize..20, kind in 0usize..3) {
        let rng = &mut rng(seed);
        let (k, stride) = [(3, 1), (3, 2), (5, 1)][kind];
        let window = Window::square(k, stride, k / 2);
        let weights = weights(rng, k * k * c);
        let (bias, finish) = (biases(rng, k * k, c), finish(rng, c));
        let dense = Depthwise { window, weights: &weights, bias: &bias, epilogue: finish.epilogue() };
        let layout = DepthwiseLayout::of(&dense, c).unwrap();
        let mut words = vec![U32::new(0x5a5a_5a5a); layout.words().unwrap()];
        layout.pack(&dense, &mut words).unwrap();
        let packed = PackedDepthwise { window, layout, words: &words, bounds: bounds(dense.epilogue) };
        prop_assert!(packed.is_valid());
        let to = [h.div_ceil(stride), w.div_ceil(stride), c];
        assert_same(rng, [h, w, c], to, |as_packed, input, output| {
            if as_packed { packed_depthwise(input, output, &packed) } else { kernels::depthwise(input, output, &dense) }
        });
    }

    #[test]
    fn scales_round_as_the_requantisation_they_stand_for(seed: u64) {
        let rng = &mut rng(seed);
        for requant in requants(rng, 40) {
            let form = Form::of(&[requant]).unwrap();
            let scale = form.scale(&requant).unwrap();
            prop_assert_eq!(scale.tail == 0, form != Form::General);
            let extremes = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX];
            let ties = (0..20).map(|_| 1i32.wrapping_shl(rng.random_range(0..32)).wrapping_mul(rng.random()));
            for acc in ties.collect::<Vec<i32>>().into_iter().chain(extremes) {
                prop_assert_eq!(scale.apply(acc), kernels::requantise(acc, requant));
            }
        }
    }
}

#[test]
fn forms_have_bounds() {
    let form = |requant: &[Requant]| Form::of(requant);
    let m = Requant::MULTIPLIER_LIMIT - 1;
    assert_eq!(form(&[Requant::new(m, m, 18)]), Some(Form::Linear));
    assert_eq!(form(&[Requant::new(m, 0, 32)]), Some(Form::TwoSlopes));
    assert_eq!(form(&[Requant::new(m, m, 33)]), Some(Form::General));
    assert_eq!(form(&[Requant::new(m, m, 33), Requant::new(m, m, 19)]), Some(Form::General));
    assert_eq!(form(&[Requant::new(m, m, 17)]), None);
    assert_eq!(form(&[Requant::new(m, m, 18), Requant::new(m, m, 40)]), None);
    assert_eq!(form(&[Requant::new(1, 1, 2)]), Some(Form::Linear), "a sum's own slope");
}

fn output(bytes: &[u8]) -> Vec<i8> {
    let model = Model::from_bytes(bytes).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let image: Vec<i8> = (0..180).map(|i| (i * 29) as i8).collect();
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    engine.run(&image, &mut ());
    engine.tensor(2).unwrap().bytes().iter().map(Cell::get).collect()
}

#[test]
fn a_packed_artefact_gives_the_bytes_of_the_dense_one() {
    for seed in 0..20 {
        let (packed, dense) = networks(seed);
        assert_eq!(output(&packed.bytes()), output(&dense.bytes()), "seed {seed}");
    }
}

#[test]
fn what_is_wrong_with_packed_steps_is_named() {
    let fault = |index: usize, change: &dyn Fn(&mut Build)| {
        let mut network = networks(1).0;
        change(&mut network);
        match Model::from_bytes(&network.bytes()).unwrap_err() {
            Error::Step { index: found, fault, .. } if found == index => fault,
            other => panic!("{other}"),
        }
    };
    assert_eq!(fault(0, &|n| n.steps[0].encoding = Encoding::WindowRows.code()), Fault::Encoding);
    assert_eq!(fault(1, &|n| n.steps[1].encoding = Encoding::OutputPairs.code()), Fault::Encoding);
    assert_eq!(fault(0, &|n| n.steps[0].groups = U32::new(5)), Fault::Encoding);
    assert_eq!(fault(0, &|n| n.steps[0].mode = U16::new(8)), Fault::Encoding);
    assert_eq!(fault(1, &|n| n.steps[1].mode = U16::new(3)), Fault::Encoding);
    assert_eq!(fault(0, &|n| n.steps[0].weights_bytes = U32::new(8)), Fault::Constant);
    assert_eq!(fault(1, &|n| n.steps[1].kernel_w = U16::new(5)), Fault::Shape);
    assert_eq!(fault(0, &|n| n.steps[0].scratch_offset = U32::new(190)), Fault::Scratch);
    // The first step's first weight becomes 0x7fff, the middle column of the second's another than its duplicate.
    assert_eq!(fault(0, &|n| n.constants[8..10].copy_from_slice(&[0xff, 0x7f])), Fault::Packed);
    // Five inputs: beside the last one's weight is nothing.
    let third_pair = networks(1).0.steps[0].weights.get() as usize + 4 * (2 + 2 * 2);
    assert_eq!(fault(0, &|n| n.constants[third_pair + 2] = 1), Fault::Packed);
    let at = networks(1).0.steps[1].weights.get() as usize;
    assert_eq!(fault(1, &|n| n.constants[at + 2] ^= 1), Fault::Packed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 2000 }))]

    #[test]
    fn no_bytes_make_packed_steps_fail(seed: u64, changes in 1usize..6) {
        let rng = &mut rng(seed);
        let mut bytes = networks(seed % 8).0.bytes();
        for _ in 0..changes {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = if rng.random() { bytes[at] ^ (1 << rng.random_range(0..8)) } else { rng.random() };
        }
        reseal(&mut bytes);
        if let Ok(model) = Model::from_bytes(&bytes) {
            let work: u64 = model.steps().map(|step| {
                let window = step.record().window();
                let outputs = step.output().map_or(0, |t| t.elements() as u64);
                outputs * (window.kernel_h * window.kernel_w) as u64
            }).sum();
            if model.arena_bytes() < 1 << 20 && work < 1 << 22 {
                let mut arena = vec![0; model.arena_bytes()];
                Engine::new(&model, &mut arena).unwrap().run(&[0; 180], &mut ());
            }
        }
    }
}
