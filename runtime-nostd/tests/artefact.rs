//! What `Model::from_bytes` accepts, and that it refuses everything else without a panic.

mod common;

use common::build::{Build, reseal, sample};
use common::rng;
use proptest::prelude::*;
use rand::RngExt;
use secateur_runtime::artefact::format::*;
use secateur_runtime::artefact::{Error, Fault, Model};
use secateur_runtime::detect::{self, Detection};
use secateur_runtime::{Engine, EngineError, Hook, Tensor};
use zerocopy::little_endian::{I16, I32, U16, U32};

/// Runs an accepted artefact to the end, decoding included.
fn run(model: &Model<'_>) -> Vec<i8> {
    let mut arena = vec![0; model.arena_bytes()];
    let [h, w, c] = model.input_shape();
    let image: Vec<i8> = (0..h * w * c).map(|i| (i * 7) as i8).collect();
    let mut engine = Engine::new(model, &mut arena).unwrap();
    engine.run(&image, &mut ());
    let mut found = [Detection::default(); 64];
    let kept = detect::decode(&engine, 1 << 20, &mut found).kept;
    detect::suppress(&mut found[..kept], &model.suppression(), model.suppression().threshold, [8, 8]);
    detect::classify(&engine, &mut [0; 8]);
    arena.iter().map(|&byte| byte as i8).collect()
}

fn fault_of(b: &Build) -> Error {
    Model::from_bytes(&b.bytes()).unwrap_err()
}

/// The fault after a change to the sample's step `index`.
fn step_fault(index: usize, change: impl FnOnce(&mut Build)) -> Fault {
    let mut b = sample();
    change(&mut b);
    match fault_of(&b) {
        Error::Step { index: found, fault, .. } if found == index => fault,
        other => panic!("{other}"),
    }
}

fn index_of(kind: StepKind) -> usize {
    sample().steps.iter().position(|step| step.kind.get() == kind.code()).unwrap()
}

#[test]
fn sample_is_accepted_and_runs_every_kind_of_step() {
    let bytes = sample().bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let mut kinds: Vec<u16> = model.steps().map(|step| step.kind().unwrap().code()).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, (0..=StepKind::Softmax.code()).collect::<Vec<_>>());
    assert_eq!(model.class_name(1), "größer");
    assert_eq!(model.class_name(2), "");
    assert_eq!((model.network(), model.tool(), model.target()), ("sample", "0.1.0", "host"));
    assert!(!model.letter_box());
    let first = run(&model);
    assert_eq!(first, run(&model), "two runs differ");
}

#[test]
fn hook_sees_each_step_with_what_it_wrote() {
    #[derive(Default)]
    struct Trace(Vec<(usize, u32, [usize; 3])>, usize);
    impl Hook for Trace {
        fn before(&mut self, step: &secateur_runtime::artefact::Step<'_>) {
            assert_eq!(step.index(), self.1);
            self.1 += 1;
        }
        fn after(&mut self, step: &secateur_runtime::artefact::Step<'_>, output: Tensor<'_>) {
            self.0.push((step.index(), step.layer(), [output.h(), output.w(), output.c()]));
        }
    }
    let bytes = sample().bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let mut trace = Trace::default();
    Engine::new(&model, &mut arena).unwrap().run(&[0; 192], &mut trace);
    assert_eq!(trace.0.len(), model.step_count());
    assert_eq!(trace.0[2], (2, 2, [4, 4, 12]));
}

#[test]
fn small_arena_is_refused() {
    let bytes = sample().bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let error = Engine::new(&model, &mut [0; 4095]).unwrap_err();
    assert_eq!(error, EngineError::ArenaTooSmall { needed: 4096, found: 4095 });
}

#[test]
fn checked_bytes_are_read_without_a_second_check() {
    let bytes = sample().bytes();
    let (checked, read) = (Model::from_bytes(&bytes).unwrap(), Model::from_checked_bytes(&bytes).unwrap());
    assert!(checked.is_checked() && !read.is_checked());
    assert!(read.program().is_none() && read.trace().is_none());
    let outputs = |model: &Model<'_>| {
        let mut arena = vec![0; model.arena_bytes()];
        Engine::new(model, &mut arena).unwrap().run(&[5; 192], &mut ());
        arena
    };
    assert_eq!(outputs(&checked), outputs(&read));
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    assert!(matches!(Model::from_checked_bytes(&damaged), Err(Error::Crc { .. })));
}

#[test]
fn any_address_will_do() {
    let bytes = sample().bytes();
    let expected = run(&Model::from_bytes(&bytes).unwrap());
    for shift in 1..8 {
        let shifted = [vec![0; shift], bytes.clone()].concat();
        assert_eq!(run(&Model::from_bytes(&shifted[shift..]).unwrap()), expected);
    }
}

#[test]
fn each_flipped_byte_is_noticed() {
    let mut bytes = sample().bytes();
    for at in 0..bytes.len() {
        for flip in [1 << (at % 8), 0xff] {
            bytes[at] ^= flip;
            assert!(Model::from_bytes(&bytes).is_err(), "byte {at} ^ {flip:#x}");
            bytes[at] ^= flip;
        }
    }
}

#[test]
fn each_cut_is_noticed() {
    let bytes = sample().bytes();
    for length in 0..bytes.len() {
        assert!(Model::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Model::from_bytes(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn sealed_forgeries_are_refused_or_run() {
    let original = sample().bytes();
    let rng = &mut rng(3);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..30_000 {
        let mut bytes = original.clone();
        for _ in 0..rng.random_range(1..4) {
            // Mostly in the header, the directory and the records; sometimes in the constants.
            let end = if rng.random_bool(0.9) { 3200 } else { bytes.len() - 4 };
            let at = rng.random_range(0..end);
            bytes[at] = match rng.random_range(0..4) {
                0 => rng.random(),
                1 => bytes[at] ^ (1 << rng.random_range(0..8)),
                2 => bytes[at].wrapping_add(1),
                _ => [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            };
        }
        reseal(&mut bytes);
        match Model::from_bytes(&bytes) {
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
            Ok(model) => {
                if model.arena_bytes() < 1 << 20 {
                    run(&model);
                }
                accepted += 1;
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

#[test]
fn header_errors_have_names() {
    let good = sample().bytes();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        reseal(&mut bytes);
        Model::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 0), Error::Magic);
    assert_eq!(with(8, 2), Error::Version { major: 2, minor: 0 });
    assert!(matches!(with(12, !good[12]), Error::Length { .. }));
    assert_eq!(Model::from_bytes(&[]).unwrap_err(), Error::TooShort { bytes: 0 });
    let mut bytes = good.clone();
    bytes[200] ^= 1;
    assert!(matches!(Model::from_bytes(&bytes).unwrap_err(), Error::Crc { .. }));
}

#[test]
fn newer_minor_versions_and_longer_records_are_read() {
    let expected = run(&Model::from_bytes(&sample().bytes()).unwrap());
    let mut b = sample();
    b.header.version_minor = U16::new(9);
    b.tensor_growth = 24;
    b.extra.push((OPTIONAL | 77, 3, 5, vec![1; 15]));
    assert_eq!(run(&Model::from_bytes(&b.bytes()).unwrap()), expected);
    b.extra.push((78, 1, 4, vec![0; 4]));
    assert_eq!(fault_of(&b), Error::UnknownSection { kind: 78 });
}

#[test]
fn sections_are_needed_once() {
    let mut b = sample();
    b.extra.push((Section::Names.code(), 0, 8, Vec::new()));
    assert_eq!(fault_of(&b), Error::Section { kind: Section::Names.code() });
    let mut bytes = sample().bytes();
    // Turn the directory's first entry (tensors) into an optional unknown one.
    bytes[size_of::<Header>()..][..4].copy_from_slice(&(OPTIONAL | 5).to_le_bytes());
    reseal(&mut bytes);
    let error = Model::from_bytes(&bytes).unwrap_err();
    assert_eq!(error, Error::Section { kind: Section::Tensors.code() });
}

#[test]
fn tensors_stay_inside_the_arena() {
    let changes: [fn(&mut TensorRecord); 7] = [
        |t| t.offset = U32::new(4096),
        |t| t.offset = U32::new(u32::MAX),
        |t| t.h = U32::new(0),
        |t| t.w = U32::new(1 << 25),
        |t| t.pitch = U32::new(2),
        |t| t.dtype = U16::new(DType::I16.code()),
        |t| t.zero_point = I16::new(128),
    ];
    for change in changes {
        let mut b = sample();
        change(&mut b.tensors[4]);
        assert_eq!(fault_of(&b), Error::Tensor { index: 4 });
    }
    let mut b = sample();
    b.header.input = U32::new(99);
    assert_eq!(fault_of(&b), Error::Input);
    b.header.input = U32::new(1);
    assert_eq!(fault_of(&b), Error::Input, "a slice cannot receive the image");
}

#[test]
fn reserved_roads_are_refused_by_name() {
    assert_eq!(step_fault(0, |b| b.steps[0].target = Target::Accelerator.code()), Fault::Target);
    assert_eq!(step_fault(0, |b| b.steps[0].encoding = Encoding::VectorBitmap.code()), Fault::Encoding);
    assert_eq!(step_fault(0, |b| b.steps[0].kind = U16::new(99)), Fault::Kind);
    let reorg = index_of(StepKind::Reorg);
    assert_eq!(step_fault(reorg, |b| b.steps[reorg].mode = U16::new(7)), Fault::Kind);
}

#[test]
fn operands_are_tensors() {
    assert_eq!(step_fault(0, |b| b.operands[0] = U32::new(99)), Fault::Operand);
    assert_eq!(step_fault(0, |b| b.steps[0].output = U32::new(99)), Fault::Operand);
    assert_eq!(step_fault(0, |b| b.steps[0].operand_count = U32::new(2)), Fault::Operand);
    assert_eq!(step_fault(0, |b| b.steps[0].first_operand = U32::new(u32::MAX)), Fault::Operand);
}

#[test]
fn shapes_fit() {
    assert_eq!(step_fault(0, |b| b.steps[0].groups = U32::new(2)), Fault::Shape);
    assert_eq!(step_fault(0, |b| b.steps[0].groups = U32::new(0)), Fault::Shape);
    assert_eq!(step_fault(0, |b| b.steps[0].kernel_h = U16::new(5)), Fault::Shape);
    assert_eq!(step_fault(0, |b| b.steps[0].stride_h = U16::new(2)), Fault::Shape);
    assert_eq!(step_fault(0, |b| b.steps[0].dilation_w = U16::new(0)), Fault::Shape);
    let pool = index_of(StepKind::MaxPool);
    assert_eq!(step_fault(pool, |b| b.steps[pool].pad_top = U16::new(3)), Fault::Shape);
    let up = index_of(StepKind::Upsample);
    assert_eq!(step_fault(up, |b| b.steps[up].stride_w = U16::new(3)), Fault::Shape);
    let crop = index_of(StepKind::Rescale);
    assert_eq!(step_fault(crop, |b| b.steps[crop].pad_left = U16::new(3)), Fault::Shape);
    let softmax = index_of(StepKind::Softmax);
    assert_eq!(step_fault(softmax, |b| b.steps[softmax].groups = U32::new(4)), Fault::Shape);
}

#[test]
fn constants_lie_in_their_section() {
    assert_eq!(step_fault(0, |b| b.steps[0].weights = U32::new(NONE)), Fault::Constant);
    assert_eq!(step_fault(0, |b| b.steps[0].bias = U32::new(b.constants.len() as u32 - 31)), Fault::Constant);
    assert_eq!(step_fault(0, |b| b.steps[0].requant_count = U32::new(7)), Fault::Constant);
    assert_eq!(
        step_fault(1, |b| b.steps[1].table = U32::new(b.constants.len() as u32 - 255)),
        Fault::Constant
    );
    let sum = index_of(StepKind::Shortcut);
    assert_eq!(step_fault(sum, |b| b.steps[sum].multipliers = U32::new(NONE)), Fault::Constant);
    let softmax = index_of(StepKind::Softmax);
    assert_eq!(step_fault(softmax, |b| b.steps[softmax].weights = b.steps[1].table), Fault::Constant);
}

#[test]
fn requantisation_keeps_the_contract() {
    for bad in [
        Requant::new(1 << 17, 0, 20),
        Requant::new(0, -(1 << 17), 20),
        Requant::new(1, 1, 0),
        Requant::new(1, 1, 48),
    ] {
        let fault = step_fault(0, |b| {
            let at = b.constant(&[[Requant::new(1, 1, 1); 7].as_slice(), &[bad]].concat());
            b.steps[0].requant = U32::new(at);
        });
        assert_eq!(fault, Fault::Requant);
    }
    assert_eq!(step_fault(0, |b| b.steps[0].hi = I16::new(-129)), Fault::Requant);
    assert_eq!(
        step_fault(0, |b| (b.steps[0].lo, b.steps[0].hi) = (I16::new(5), I16::new(4))),
        Fault::Requant
    );
    assert_eq!(step_fault(1, |b| b.steps[1].table_zero_point = I16::new(200)), Fault::Requant);
}

#[test]
fn weights_are_symmetric() {
    for kind in [StepKind::Conv, StepKind::Depthwise, StepKind::Connected] {
        let index = index_of(kind);
        let fault = step_fault(index, |b| {
            let at = (b.steps[index].weights.get() + b.steps[index].weights_bytes.get()) as usize - 1;
            b.constants[at] = 0x80;
        });
        assert_eq!(fault, Fault::Weight);
    }
}

#[test]
fn accumulators_fit_32_bits() {
    let bias = |value: i32| {
        move |b: &mut Build| {
            let at = b.constant(&[I32::new(value); 8]);
            b.steps[0].bias = U32::new(at);
        }
    };
    // Σ|w| of the stem's filters is at most 27 · 127.
    assert_eq!(step_fault(0, bias(i32::MAX)), Fault::Accumulator);
    assert_eq!(step_fault(0, bias(i32::MIN)), Fault::Accumulator);
    let mut b = sample();
    bias(i32::MAX - 27 * 127 * 128)(&mut b);
    assert!(Model::from_bytes(&b.bytes()).is_ok());
    let sum = index_of(StepKind::Shortcut);
    let fault = step_fault(sum, |b| {
        let at = b.constant(&[I32::new(8_000_000), I32::new(-500_000)]);
        b.steps[sum].multipliers = U32::new(at);
    });
    assert_eq!(fault, Fault::Accumulator);
}

#[test]
fn outputs_do_not_overlap_inputs() {
    // The slices of one buffer overlap as soon as one grows by a channel.
    assert_eq!(step_fault(1, |b| b.tensors[2].offset = U32::new(199)), Fault::Overlap);
    let pool = index_of(StepKind::MaxPool);
    assert_eq!(step_fault(pool, |b| b.steps[pool].output = b.operands[pool]), Fault::Overlap);
    let crop = index_of(StepKind::Rescale);
    assert_eq!(step_fault(crop, |b| b.tensors[11].offset = U32::new(1030)), Fault::Overlap);
    assert_eq!(step_fault(0, |b| b.steps[0].scratch_bytes = U32::new(4097)), Fault::Scratch);
}

#[test]
fn heads_fit_their_tensors() {
    let changes: [fn(&mut HeadRecord); 7] = [
        |h| h.kind = U32::new(9),
        |h| h.tensor = U32::new(99),
        |h| h.classes = U32::new(3),
        |h| h.anchor_count = U32::new(3),
        |h| h.anchor_count = U32::new(0),
        |h| h.channels_per_anchor = U32::new(8),
        |h| h.wh = U32::new(NONE),
    ];
    for change in changes {
        let mut b = sample();
        change(&mut b.heads[0]);
        assert_eq!(fault_of(&b), Error::Head { index: 0 });
    }
    let mut b = sample();
    b.suppression.kind = U32::new(SuppressionKind::Distance.code());
    assert_eq!(fault_of(&b), Error::Suppression);
    let mut b = sample();
    b.names[0].bytes = U32::new(1 << 20);
    assert_eq!(fault_of(&b), Error::Text { index: 3 });
    let mut b = sample();
    b.names[1].bytes = U32::new(3);
    assert_eq!(fault_of(&b), Error::Text { index: 4 }, "cuts a character in two");
}

proptest! {
    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), head: bool) {
        let mut file = bytes;
        if head && file.len() > size_of::<Header>() + CRC_BYTES {
            file[..8].copy_from_slice(&MAGIC);
            file[8..12].copy_from_slice(&[1, 0, 0, 0]);
            let length = file.len() as u32;
            file[12..16].copy_from_slice(&length.to_le_bytes());
            file[16..20].copy_from_slice(&3u32.to_le_bytes());
            reseal(&mut file);
        }
        prop_assert!(Model::from_bytes(&file).is_err());
    }
}
