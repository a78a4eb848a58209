//! Small files that claim much: each is refused, whatever the width of an address.

mod common;

use std::time::{Duration, Instant};

use common::build::{Build, sample};
use secateur_runtime::artefact::format::*;
use secateur_runtime::artefact::{Error, Fault, Model, Suppression};
use secateur_runtime::detect::{self, Detection, ONE};
use secateur_runtime::npu::isa::{Channel, Control, Opcode, Parameters, Transfer, UNIT};
use secateur_runtime::npu::program::{MAGIC as PROGRAM_MAGIC, ProgramHeader};
use secateur_runtime::npu::registers::VERSION_VALUE;
use zerocopy::little_endian::{I32, U32};
use zerocopy::{FromZeros, IntoBytes};

/// Far above a linear check on a busy machine, far below a quadratic one.
const LINEAR: Duration = Duration::from_secs(20);

fn refused(b: &Build) -> Error {
    Model::from_bytes(&b.bytes()).expect_err("a file to be refused")
}

/// A copy of the last step and what it needs, `count` times.
fn repeat_last_step(b: &mut Build, count: usize) {
    let last = *b.steps.last().unwrap();
    b.steps.extend(std::iter::repeat_n(last, count));
}

#[test]
fn many_sections_take_no_longer_than_their_bytes() {
    let mut b = sample();
    b.extra = (0..250_000).map(|n| (OPTIONAL | (1000 + n), 0, 1, Vec::new())).collect();
    let bytes = b.bytes();
    let start = Instant::now();
    Model::from_bytes(&bytes).unwrap();
    assert!(start.elapsed() < LINEAR, "{:?}", start.elapsed());
}

#[test]
fn steps_share_their_constants_within_reason() {
    let wide = |repeats: usize| {
        let mut b = sample();
        let input = b.tensor(0, [1, 1, 1000], 1000, 0);
        let output = b.tensor(1000, [1, 1, 1000], 1000, 0);
        b.step(StepKind::Connected, &[input], output);
        b.weights(&vec![1; 1_000_000], &[0; 1000]);
        b.requant(&[Requant::new(1 << 16, 1 << 16, 30); 1000]);
        repeat_last_step(&mut b, repeats);
        b
    };
    Model::from_bytes(&wide(200).bytes()).unwrap();
    let Error::Step { fault, .. } = refused(&wide(5000)) else { panic!("a step is at fault") };
    assert_eq!(fault, Fault::Reuse);
}

#[test]
fn every_kind_of_constant_counts_as_shared() {
    // Multipliers, requantisation and biases rather than weights.
    let mut b = Build::new(1 << 20);
    let input = b.tensor(0, [1, 1, 8192], 8192, 0);
    let output = b.tensor(8192, [1, 1, 8192], 8192, 0);
    let multipliers = b.constant(&vec![I32::new(1); 8192]);
    let step = b.step(StepKind::Shortcut, &[input], output);
    step.multipliers = U32::new(multipliers);
    step.mode.set(ShortcutMode::PerChannel.code());
    b.requant(&[Requant::new(1, 1, 1)]);
    b.header.input = U32::new(input);
    Model::from_bytes(&b.bytes()).unwrap();
    repeat_last_step(&mut b, 30_000);
    assert!(matches!(refused(&b), Error::Step { fault: Fault::Reuse, .. }));
}

#[test]
fn names_do_not_share_their_text() {
    let mut b = sample();
    let long = "x".repeat(1_000_000);
    b.names = vec![b.text(&long); 20_000];
    assert!(matches!(refused(&b), Error::Text { .. }));
}

#[test]
fn a_classifier_has_no_anchors() {
    let classifier = |anchors: u32| {
        let mut b = sample();
        let logits = b.steps[b.steps.len() - 2].output;
        b.heads.push(HeadRecord {
            kind: U32::new(HeadKind::Classes.code()),
            tensor: logits,
            classes: U32::new(6),
            anchor_count: U32::new(anchors),
            class: b.heads[0].class,
            ..HeadRecord::new_zeroed()
        });
        b
    };
    for anchors in [0, 1, u32::MAX] {
        let bytes = classifier(anchors).bytes();
        let head = Model::from_bytes(&bytes).unwrap().heads().last().unwrap();
        assert_eq!((head.kind, head.anchors.len()), (HeadKind::Classes, 0));
    }
}

#[test]
fn heads_are_bounded_together_and_alone() {
    // One head of 16 MB is accepted, and nine are not.
    let detector = |heads: usize, classes: u32| {
        let mut b = sample();
        b.header.arena_bytes = U32::new(1 << 28);
        let channels = 2 * (classes + 5);
        let side = (1 << 24) / channels;
        let tensor = b.tensor(4096, [1, side, channels], channels, 0);
        let head = HeadRecord {
            tensor: U32::new(tensor),
            classes: U32::new(classes),
            channels_per_anchor: U32::new(classes + 5),
            ..b.heads[0]
        };
        b.heads = vec![head; heads];
        b
    };
    Model::from_bytes(&detector(8, 2).bytes()).unwrap();
    assert_eq!(refused(&detector(9, 2)), Error::Head { index: 8 });
    let most = CLASS_LIMIT as u32;
    Model::from_bytes(&detector(1, most).bytes()).unwrap();
    assert_eq!(refused(&detector(1, most + 1)), Error::Head { index: 0 });
}

#[test]
fn anchors_far_behind_the_last_are_none() {
    let mut b = sample();
    let tensor = b.tensor(0, [1, 1, 2 * 7], 14, 0);
    b.heads[0] = HeadRecord {
        kind: U32::new(HeadKind::Detection.code()),
        tensor: U32::new(tensor),
        first_anchor: U32::new(u32::MAX),
        channels_per_anchor: U32::new(1),
        anchor_count: U32::new(2),
        classes: U32::new(4),
        ..b.heads[0]
    };
    let bytes = b.bytes();
    let head = Model::from_bytes(&bytes).unwrap().heads().next().unwrap();
    assert_eq!((head.anchors.get(0), head.anchors.get(1)), (None, None));
}

#[test]
fn a_detectors_input_has_coordinates() {
    let input = |extent: usize| {
        let mut b = sample();
        b.header.arena_bytes = U32::new(1 << 20);
        b.header.input = U32::new(b.tensor(0, [1, extent as u32, 3], 3, 0));
        b
    };
    Model::from_bytes(&input(INPUT_LIMIT).bytes()).unwrap();
    assert_eq!(refused(&input(INPUT_LIMIT + 1)), Error::Head { index: 0 });
}

#[test]
fn arenas_are_bounded() {
    let mut b = sample();
    b.header.arena_bytes = U32::new(MEMORY_LIMIT as u32);
    Model::from_bytes(&b.bytes()).unwrap();
    b.header.arena_bytes = U32::new(MEMORY_LIMIT as u32 + 1);
    assert_eq!(refused(&b), Error::Arena { bytes: MEMORY_LIMIT + 1 });
}

#[test]
fn pitches_do_not_wrap() {
    // One pixel has any pitch; the sum of two phases of such a pitch leaves 32 bits.
    for pitch in [EXTENT_LIMIT as u32 + 1, 1 << 31, u32::MAX - 3, u32::MAX] {
        let mut b = sample();
        let last = b.steps.len() - 1;
        let (input, output) = (b.tensor(0, [1, 1, 6], pitch, 0), b.tensor(3, [1, 1, 6], pitch, -128));
        b.operands[b.steps[last].first_operand.get() as usize] = U32::new(input);
        b.steps[last].output = U32::new(output);
        assert!(matches!(refused(&b), Error::Tensor { .. }), "pitch {pitch}");
    }
}

#[test]
fn slices_of_the_widest_map_are_told_apart() {
    let pitch = EXTENT_LIMIT as u32;
    let slices = |offset: u32| {
        let mut b = sample();
        b.header.arena_bytes = U32::new(1 << 28);
        let (input, output) = (b.tensor(4096, [1, 4, 6], pitch, 0), b.tensor(offset, [1, 4, 6], pitch, -128));
        let last = b.steps.len() - 1;
        b.operands[b.steps[last].first_operand.get() as usize] = U32::new(input);
        b.steps[last].output = U32::new(output);
        b
    };
    for apart in [4096 + 6, 4096 + pitch - 6, 4096 + 3 * pitch - 6] {
        Model::from_bytes(&slices(apart).bytes()).unwrap();
    }
    for shared in [4096 + 5, 4096 + pitch - 5, 4096 + 3 * pitch + 5] {
        assert!(matches!(refused(&slices(shared)), Error::Step { fault: Fault::Overlap, .. }), "{shared}");
    }
}

#[test]
fn the_suppression_curve_ends_at_one() {
    let curve = |last: u32| {
        let mut b = sample();
        let mut knots = [U32::new(ONE); CURVE_KNOTS];
        knots[CURVE_KNOTS - 1] = U32::new(last);
        b.suppression.curve = U32::new(b.constant(&knots));
        b.suppression.kind = U32::new(SuppressionKind::Distance.code());
        b
    };
    Model::from_bytes(&curve(ONE).bytes()).unwrap();
    assert_eq!(refused(&curve(ONE + 1)), Error::Suppression);
}

#[test]
fn suppression_takes_any_numbers() {
    let extremes = [i32::MIN, i32::MIN + 1, -1, 0, 1, 1 << 30, i32::MAX];
    let steep = [U32::new(u32::MAX); CURVE_KNOTS];
    let boxes: Vec<Detection> = (0..extremes.len().pow(4))
        .step_by(17)
        .map(|n| {
            let at = |digit: u32| extremes[n / extremes.len().pow(digit) % extremes.len()];
            Detection { x: at(0), y: at(1), w: at(2), h: at(3), score: n as u32, ..Detection::default() }
        })
        .collect();
    for frame in [[0, 0], [1, u32::MAX], [1 << 16, 1 << 16], [u32::MAX, u32::MAX]] {
        for threshold in [0, ONE, u32::MAX] {
            for curve in [None, Some(&steep)] {
                let suppression = Suppression { curve, threshold };
                let kept = detect::suppress(&mut boxes.clone(), &suppression, threshold, frame);
                assert!((1..=boxes.len()).contains(&kept));
            }
        }
    }
}

/// A program that only ends, after `change`, with `transfers` before the end.
fn program(transfers: &[Transfer], change: impl FnOnce(&mut ProgramHeader)) -> Build {
    let p = Parameters::NPU_8X16;
    let mut header = ProgramHeader::new_zeroed();
    header.magic = PROGRAM_MAGIC;
    header.version.set(VERSION_VALUE);
    header.rows.set(p.rows);
    header.lanes.set(p.lanes);
    header.bank_words.set(p.bank_words);
    header.weight_words.set(p.weight_words);
    header.param_entries.set(p.param_entries);
    header.axi_bytes.set(p.axi_bytes);
    header.drain_rows.set(p.drain_rows);
    header.work_bytes.set(4096);
    let channel = Channel { m_pos: I32::new(1), shift: 1, ..Channel::new_zeroed() };
    let channels = vec![channel; 1024];
    let stream = size_of::<ProgramHeader>() + channels.as_bytes().len();
    header.stream_offset.set(stream as u32);
    header.stream_bytes.set(((transfers.len() + 1) * UNIT) as u32);
    change(&mut header);
    let end = Control {
        opcode: Opcode::End.code(),
        wait_load: (transfers.len() as u16).into(),
        ..Control::new_zeroed()
    };
    let bytes = [header.as_bytes(), channels.as_bytes(), transfers.as_bytes(), end.as_bytes()].concat();
    let mut b = sample();
    b.extra.push((Section::Program.code(), bytes.len() as u32, 1, bytes));
    b
}

#[test]
fn accelerators_that_cannot_be_are_refused() {
    Model::from_bytes(&program(&[], |_| ()).bytes()).unwrap();
    let changes: [fn(&mut ProgramHeader); 12] = [
        |p| p.rows.set(0),
        |p| p.rows.set(32),
        |p| p.lanes.set(0),
        |p| p.lanes.set(32),
        |p| p.bank_words.set(u32::MAX),
        |p| p.bank_words.set(0),
        |p| p.weight_words.set(u32::MAX),
        |p| p.param_entries.set(u32::MAX),
        |p| p.axi_bytes.set(3),
        |p| p.drain_rows.set(0),
        |p| p.drain_rows.set(u32::MAX),
        |p| p.work_bytes.set(u32::MAX),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let error = refused(&program(&[], change));
        assert_eq!(error, Error::Section { kind: Section::Program.code() }, "change {index}");
    }
}

#[test]
fn transfers_share_channel_parameters_within_reason() {
    let load = Transfer {
        opcode: Opcode::LoadParams.code(),
        address: (size_of::<ProgramHeader>() as u32).into(),
        words: 1024.into(),
        ..Transfer::new_zeroed()
    };
    Model::from_bytes(&program(&vec![load; 200], |_| ()).bytes()).unwrap();
    assert!(matches!(refused(&program(&vec![load; 60_000], |_| ())), Error::Program { .. }));
}
