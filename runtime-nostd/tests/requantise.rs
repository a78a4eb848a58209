//! Requantisation against 128-bit arithmetic: random cases and every edge.
//!
//! `SECATEUR_REQUANTISE_CASES` sets the number of random cases (default 10^6; the full proof runs 10^7).

mod common;

use common::{requantise, rng};
use rand::RngExt;
use secateur_runtime::kernels::{self, Requant};

fn check(acc: i32, requant: Requant) {
    let found = kernels::requantise(acc, requant);
    let expected = requantise(i64::from(acc), requant);
    assert_eq!(i128::from(found), expected, "acc {acc}, {requant:?}");
}

#[test]
fn random_cases() {
    let cases = std::env::var("SECATEUR_REQUANTISE_CASES").ok().map_or(1_000_000, |n| n.parse().unwrap());
    let rng = &mut rng(20_260_101);
    for _ in 0..cases {
        let limit = Requant::MULTIPLIER_LIMIT;
        let (pos, neg) = (rng.random_range(1 - limit..limit), rng.random_range(1 - limit..limit));
        let acc: i32 = rng.random::<i32>() >> rng.random_range(0..31);
        check(acc, Requant::new(pos, neg, rng.random_range(1..=Requant::SHIFT_MAX)));
    }
}

#[test]
fn extremes_at_every_shift() {
    let limit = Requant::MULTIPLIER_LIMIT - 1;
    for shift in 1..=Requant::SHIFT_MAX {
        for acc in [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX] {
            for m in [-limit, -(1 << 16), -1, 0, 1, 1 << 16, limit] {
                check(acc, Requant::new(m, limit - m.abs(), shift));
                check(acc, Requant::new(limit - m.abs(), m, shift));
            }
        }
    }
}

#[test]
fn ties_round_up_on_both_sides() {
    // acc · M = (2k + 1) · 2^(s − 1): exactly between k and k + 1.
    for shift in 1..=17u8 {
        let half = 1 << (shift - 1);
        for k in -40i32..40 {
            let requant = Requant::new(half, half, shift);
            assert_eq!(kernels::requantise(2 * k + 1, requant), i64::from(k) + 1, "{k} + 1/2, shift {shift}");
        }
    }
}

#[test]
fn saturation_adds_the_zero_point_first() {
    assert_eq!(kernels::saturate(200, -100, -128, 127), 100);
    assert_eq!(kernels::saturate(-200, 100, -128, 127), -100);
    assert_eq!(kernels::saturate(1 << 47, 127, -128, 127), 127);
    assert_eq!(kernels::saturate(-(1 << 47), -128, -128, 127), -128);
    assert_eq!(kernels::saturate(50, -20, -20, 25), 25);
}

#[test]
fn validity_is_the_contract() {
    assert!(Requant::new(131_071, -131_071, 47).is_valid());
    assert!(Requant::new(0, 0, 1).is_valid());
    assert!(!Requant::new(131_072, 0, 20).is_valid());
    assert!(!Requant::new(0, -131_072, 20).is_valid());
    assert!(!Requant::new(1, 1, 0).is_valid());
    assert!(!Requant::new(1, 1, 48).is_valid());
}
