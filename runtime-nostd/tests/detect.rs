//! Decoding and suppression against floating point.

mod common;

use common::build::Build;
use common::rng;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use secateur_runtime::Engine;
use secateur_runtime::artefact::format::*;
use secateur_runtime::artefact::{Model, Suppression};
use secateur_runtime::detect::{self, Detection, ONE};
use zerocopy::FromZeros;
use zerocopy::little_endian::{I32, U16, U32};

const SCALE: f64 = 0.06;
const ZERO: i8 = 9;

fn real(q: i8) -> f64 {
    SCALE * (f64::from(q) - f64::from(ZERO))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn q16(x: f64) -> u32 {
    (x * 65536.0).round() as u32
}

/// A head with no step before it: its tensor is the image.
struct Case {
    build: Build,
    codes: Vec<i8>,
    shape: [usize; 3],
}

fn codes_table<T>(value: impl Fn(i8) -> T) -> Vec<T> {
    (-128..=127).map(value).collect()
}

fn case(rng: &mut ChaCha8Rng, kind: HeadKind, shape: [usize; 3], classes: u32, flags: u32) -> Case {
    let mut b = Build::new(1 << 20);
    let tensor = b.tensor(16, shape.map(|n| n as u32), shape[2] as u32, ZERO);
    let score = |x: f64| U16::new((sigmoid(x) * 32768.0).round() as u16);
    let xy =
        b.constant(&codes_table(|q| I32::new(((1.1 * sigmoid(real(q)) - 0.05) * 65536.0).round() as i32)));
    let wh = b.constant(&codes_table(|q| U32::new(q16(real(q).exp()))));
    let objectness = b.constant(&codes_table(|q| score(real(q))));
    let softmax: Vec<U16> =
        (0..256).map(|d| U16::new((32768.0 * (-SCALE * f64::from(d)).exp()).round() as u16)).collect();
    let softmax = b.constant(&softmax);
    let soft = flags & head_flags::SOFTMAX != 0 || kind == HeadKind::Classes;
    b.anchors = vec![
        AnchorRecord { w: U32::new(q16(10.5)), h: U32::new(q16(13.25)) },
        AnchorRecord { w: U32::new(q16(61.0)), h: U32::new(q16(45.0)) },
        AnchorRecord { w: U32::new(q16(33.0)), h: U32::new(q16(23.0)) },
    ];
    b.heads.push(HeadRecord {
        kind: U32::new(kind.code()),
        tensor: U32::new(tensor),
        classes: U32::new(classes),
        first_anchor: U32::new(u32::from(kind != HeadKind::Detection)),
        anchor_count: U32::new(2),
        channels_per_anchor: U32::new(if kind == HeadKind::Detection { 3 } else { classes + 5 }),
        flags: U32::new(flags),
        xy: U32::new(xy),
        wh: U32::new(wh),
        objectness: U32::new(objectness),
        class: U32::new(if soft { softmax } else { objectness }),
        ..HeadRecord::new_zeroed()
    });
    b.header.input = U32::new(tensor);
    let codes = (0..shape.iter().product()).map(|_| rng.random()).collect();
    Case { build: b, codes, shape }
}

impl Case {
    /// Decodes with room for `room` detections; they, and how many had no room.
    fn decode(&self, threshold: u32, room: usize) -> (Vec<Detection>, usize) {
        let bytes = self.build.bytes();
        let model = Model::from_bytes(&bytes).unwrap();
        let mut arena = vec![0; model.arena_bytes()];
        let mut engine = Engine::new(&model, &mut arena).unwrap();
        engine.run(&self.codes, &mut ());
        let mut found = vec![Detection::default(); room];
        let count = detect::decode(&engine, threshold, &mut found);
        found.truncate(count.kept);
        (found, count.dropped)
    }

    fn at(&self, y: usize, x: usize, c: usize) -> f64 {
        real(self.codes[(y * self.shape[1] + x) * self.shape[2] + c])
    }
}

/// A detection in floating point: x, y, w, h in pixels of the input, score, class, box number.
#[derive(Debug, Clone, Copy)]
struct Float {
    bounds: [f64; 4],
    score: f64,
    class: u16,
    index: u32,
}

/// Darknet's decoding in f64.
fn decode_float(case: &Case, classes: usize, softmax: bool, threshold: f64) -> Vec<Float> {
    let [h, w, _] = case.shape;
    let anchors = [(61.0, 45.0), (33.0, 23.0)];
    let mut found = Vec::new();
    for y in 0..h {
        for x in 0..w {
            for (n, (anchor_w, anchor_h)) in anchors.into_iter().enumerate() {
                let value = |entry: usize| case.at(y, x, n * (classes + 5) + entry);
                let centre = |cell: usize, t: f64, grid: usize, input: usize| {
                    (cell as f64 + 1.1 * sigmoid(t) - 0.05) * input as f64 / grid as f64
                };
                let bounds = [
                    centre(x, value(0), w, w),
                    centre(y, value(1), h, h),
                    anchor_w * value(2).exp(),
                    anchor_h * value(3).exp(),
                ];
                let objectness = sigmoid(value(4));
                let sum: f64 = (0..classes).map(|class| value(5 + class).exp()).sum();
                for class in 0..classes {
                    let t = value(5 + class);
                    let score = objectness * if softmax { t.exp() / sum } else { sigmoid(t) };
                    if objectness > threshold && score > threshold {
                        let index = ((y * w + x) * 2 + n) as u32;
                        found.push(Float { bounds, score, class: class as u16, index });
                    }
                }
            }
        }
    }
    found
}

fn fixed(value: i32) -> f64 {
    f64::from(value) / 65536.0
}

fn score(detection: &Detection) -> f64 {
    f64::from(detection.score) / f64::from(ONE)
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

#[test]
fn yolo_and_region_heads_equal_floating_point() {
    let rng = &mut rng(1);
    for (kind, flags) in [(HeadKind::Yolo, 0), (HeadKind::Region, head_flags::SOFTMAX)] {
        for (h, w, classes) in [(7, 5, 4), (1, 1, 1), (13, 13, 20)] {
            let case = case(rng, kind, [h, w, 2 * (classes + 5)], classes as u32, flags);
            // A threshold that no pair of codes hits within the rounding of the tables.
            let threshold = 0.200_3;
            let (found, dropped) = case.decode((threshold * f64::from(ONE)) as u32, 100_000);
            assert_eq!(dropped, 0);
            let expected = decode_float(&case, classes, flags != 0, threshold);
            let clear = |score: f64| !near(score, threshold, 2e-4);
            let matching = |f: &Float| found.iter().find(|d| d.index == f.index && d.class == f.class);
            assert!(h < 7 || expected.len() > 5);
            for float in &expected {
                let Some(d) = matching(float) else {
                    assert!(!clear(float.score), "{float:?} is missing");
                    continue;
                };
                let [x, y, w, h] = float.bounds.map(|extent| extent.min(16384.0));
                assert!(near(score(d), float.score, 1e-4), "{d:?} {float:?}");
                assert!(near(fixed(d.x), x, 1e-4) && near(fixed(d.y), y, 1e-4), "{d:?} {float:?}");
                assert!(
                    near(fixed(d.w), w, w * 2e-3 + 1e-3) && near(fixed(d.h), h, h * 2e-3 + 1e-3),
                    "{d:?} {float:?}"
                );
            }
            let surplus = found.iter().filter(|d| {
                clear(score(d)) && !expected.iter().any(|f| d.index == f.index && d.class == f.class)
            });
            assert_eq!(surplus.count(), 0);
        }
    }
}

#[test]
fn detection_head_reads_its_planes() {
    let rng = &mut rng(2);
    let (side, boxes, classes) = (3, 2, 4);
    let channels = side * side * (classes + boxes * 5);
    let mut case = case(rng, HeadKind::Detection, [1, 1, channels], classes as u32, 0);
    // The image would be one pixel: give the head a network input of 30 × 20 instead.
    let input = case.build.tensor(0x8000, [20, 30, 3], 3, 0);
    case.build.header.input = U32::new(input);
    let feed = case.build.tensor(0, [1, 1, channels as u32], channels as u32, ZERO);
    assert_eq!(feed, 2);
    let bytes = case.build.bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let engine = Engine::new(&model, &mut arena).unwrap();
    engine.tensor(0).unwrap().copy_from(&case.codes);
    let mut found = vec![Detection::default(); 1000];
    let threshold = 0.15;
    let kept = detect::decode(&engine, (threshold * f64::from(ONE)) as u32, &mut found).kept;
    let value = |at: usize| real(case.codes[at]);
    let mut expected = 0;
    for cell in 0..side * side {
        for n in 0..boxes {
            let confidence = sigmoid(value(side * side * classes + cell * boxes + n));
            let at = side * side * (classes + boxes) + (cell * boxes + n) * 4;
            for class in 0..classes {
                let p = confidence * sigmoid(value(cell * classes + class));
                if confidence <= threshold || p <= threshold {
                    continue;
                }
                expected += 1;
                let index = (cell * boxes + n) as u32;
                let d = found[..kept].iter().find(|d| d.index == index && d.class as usize == class).unwrap();
                let x = ((cell % side) as f64 + 1.1 * sigmoid(value(at)) - 0.05) * 30.0 / side as f64;
                let y = ((cell / side) as f64 + 1.1 * sigmoid(value(at + 1)) - 0.05) * 20.0 / side as f64;
                assert!(near(fixed(d.x), x, 1e-3) && near(fixed(d.y), y, 1e-3) && near(score(d), p, 1e-4));
                assert!(near(fixed(d.w), 30.0 * value(at + 2).exp(), 0.1));
                assert!(near(fixed(d.h), 20.0 * value(at + 3).exp(), 0.1));
            }
        }
    }
    assert_eq!(kept, expected);
    assert!(expected > 10);
}

#[test]
fn full_buffer_keeps_the_best() {
    let rng = &mut rng(3);
    let case = case(rng, HeadKind::Yolo, [6, 6, 2 * 8], 3, 0);
    let (mut all, dropped) = case.decode(ONE / 100, 10_000);
    assert_eq!(dropped, 0);
    all.sort_by_key(|d| (std::cmp::Reverse(d.score), d.index, d.class));
    for room in [0, 1, 2, 7, all.len() - 1, all.len()] {
        let (mut some, dropped) = case.decode(ONE / 100, room);
        some.sort_by_key(|d| (std::cmp::Reverse(d.score), d.index, d.class));
        assert_eq!(some, all[..room]);
        assert_eq!(dropped, all.len() - room);
    }
}

#[test]
fn classifier_gives_probabilities() {
    let case = case(&mut rng(4), HeadKind::Classes, [1, 1, 40], 40, 0);
    let bytes = case.build.bytes();
    let model = Model::from_bytes(&bytes).unwrap();
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(&model, &mut arena).unwrap();
    engine.run(&case.codes, &mut ());
    let mut found = [0; 40];
    assert_eq!(detect::classify(&engine, &mut found), Some(40));
    let sum: f64 = (0..40).map(|c| case.at(0, 0, c).exp()).sum();
    for (c, &p) in found.iter().enumerate() {
        assert!(near(f64::from(p) / 32768.0, case.at(0, 0, c).exp() / sum, 1e-3), "class {c}: {p}");
    }
    assert_eq!(detect::classify(&engine, &mut [0; 3]), Some(3));
}

fn random_detections(rng: &mut ChaCha8Rng, count: usize, spread: f64) -> Vec<Detection> {
    let fixed = |x: f64| (x * 65536.0) as i32;
    (0..count)
        .map(|index| Detection {
            x: fixed(100.0 + spread * rng.random::<f64>()),
            y: fixed(100.0 + spread * rng.random::<f64>()),
            w: fixed(5.0 + 60.0 * rng.random::<f64>()),
            h: fixed(5.0 + 60.0 * rng.random::<f64>()),
            score: rng.random_range(1..ONE),
            index: index as u32,
            class: rng.random_range(0..3),
            objectness: 0,
        })
        .collect()
}

/// IoU, and d² / c² in units of the frame.
fn overlap(a: &Detection, b: &Detection, frame: [u32; 2]) -> (f64, f64) {
    let ends =
        |centre: i32, size: i32| (fixed(centre) - fixed(size) / 2.0, fixed(centre) + fixed(size) / 2.0);
    let axis =
        |a: (f64, f64), b: (f64, f64)| ((a.1.min(b.1) - a.0.max(b.0)).max(0.0), a.1.max(b.1) - a.0.min(b.0));
    let (iw, cw) = axis(ends(a.x, a.w), ends(b.x, b.w));
    let (ih, ch) = axis(ends(a.y, a.h), ends(b.y, b.h));
    let union = fixed(a.w) * fixed(a.h) + fixed(b.w) * fixed(b.h) - iw * ih;
    let [fw, fh] = frame.map(f64::from);
    let square = |x: f64, y: f64| (x / fw).powi(2) + (y / fh).powi(2);
    let d = square(fixed(a.x) - fixed(b.x), fixed(a.y) - fixed(b.y));
    (iw * ih / union, d / square(cw, ch))
}

#[test]
fn suppression_equals_floating_point() {
    let rng = &mut rng(5);
    let mut removed = 0;
    for round in 0..300 {
        let beta = [0.6, 1.0, 0.4][round % 3];
        let knots: [U32; CURVE_KNOTS] = std::array::from_fn(|k| {
            U32::new(((k as f64 / 256.0).powf(1.0 / beta) * f64::from(ONE)).round() as u32)
        });
        let distance = round % 2 == 1;
        let threshold = 0.45;
        let suppression =
            Suppression { curve: distance.then_some(&knots), threshold: (threshold * f64::from(ONE)) as u32 };
        let frame = [320, [320, 192][round / 2 % 2]];
        let detections = random_detections(rng, 60, 90.0);
        let measure = |a: &Detection, b: &Detection| {
            let (iou, share) = overlap(a, b, frame);
            if distance { iou - share.powf(beta) } else { iou }
        };
        // Skip draws where a pair stands on the threshold within the rounding of the curve.
        let mut pairs =
            detections.iter().enumerate().flat_map(|(i, a)| detections[i + 1..].iter().map(move |b| (a, b)));
        if pairs.any(|(a, b)| a.class == b.class && near(measure(a, b), threshold, 2e-5)) {
            continue;
        }
        let mut expected = detections.clone();
        expected.sort_by_key(|d| (std::cmp::Reverse(d.score), d.index));
        let mut at = 0;
        while at < expected.len() {
            let best = expected[at];
            let mut place = 0;
            expected.retain(|d| {
                place += 1;
                place - 1 <= at || d.class != best.class || measure(&best, d) <= threshold
            });
            at += 1;
        }
        let mut found = detections;
        let kept = detect::suppress(&mut found, &suppression, suppression.threshold, frame);
        assert_eq!(found[..kept], expected, "round {round}");
        removed += found.len() - kept;
    }
    assert!(removed > 1000, "only {removed} suppressed");
}

#[test]
fn extreme_boxes_do_not_overflow() {
    let limit = detect::COORDINATE_LIMIT as i32;
    let sizes = [0, 1, limit];
    let places = [-limit, -1, 0, 1, limit];
    let mut all = Vec::new();
    for w in sizes {
        for h in sizes {
            for x in places {
                for y in places {
                    all.push(Detection {
                        x,
                        y,
                        w,
                        h,
                        score: 7,
                        index: all.len() as u32,
                        ..Detection::default()
                    });
                }
            }
        }
    }
    let knots = [U32::new(ONE); CURVE_KNOTS];
    for curve in [None, Some(&knots)] {
        for frame in [[1, 1], [320, 320], [u32::MAX, u32::MAX], [1, u32::MAX], [0, 0]] {
            let mut detections = all.clone();
            let kept = detect::suppress(&mut detections, &Suppression { curve, threshold: 0 }, 0, frame);
            assert!(kept > 0 && kept < all.len());
        }
    }
    let mut twins = vec![Detection { w: limit, h: limit, score: 1, ..Detection::default() }; 3];
    assert_eq!(
        detect::suppress(&mut twins, &Suppression { curve: None, threshold: ONE - 1 }, ONE - 1, [1, 1]),
        1
    );
    assert_eq!(detect::suppress(&mut [], &Suppression { curve: None, threshold: 0 }, 0, [1, 1]), 0);
}
