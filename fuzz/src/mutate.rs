//! Mutations of inputs, for a fuzzer without coverage.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// Inputs grow no larger.
pub const MAX_BYTES: usize = 1 << 16;

/// Numbers at which checks begin to differ.
const EDGES: [u32; 14] =
    [0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];

/// A changed copy of `input`: a few of the changes below, one after the other. `other` is another input to
/// take pieces from.
pub fn mutate(rng: &mut impl Rng, input: &[u8], other: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let changes = 1 << rng.random_range(0..4);
    for _ in 0..changes {
        change(rng, &mut bytes, other, words);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(rng: &mut impl Rng, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    if bytes.is_empty() {
        bytes.push(rng.random());
        return;
    }
    let at = place(rng, bytes.len());
    match rng.random_range(0..12) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes[at] = bytes[at].wrapping_add([1, 255, 16, 240][rng.random_range(0..4)]),
        3 | 4 => number(rng, bytes, at),
        // Copies a field or a record over another, which keeps it plausible.
        5 | 6 => {
            let size = [1, 2, 4, 4, 8, 32, 96][rng.random_range(0..7)];
            let from = rng.random_range(0..bytes.len()) / size * size;
            let to = at / size * size;
            let count = size.min(bytes.len() - from).min(bytes.len() - to);
            bytes.copy_within(from..from + count, to);
        }
        7 => {
            let end = (at + length(rng)).min(bytes.len());
            bytes.drain(at..end);
        }
        8 => {
            let end = (at + length(rng)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            insert(bytes, at, &piece);
        }
        9 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let end = (from + length(rng)).min(other.len());
            let piece = &other[from..end];
            if rng.random() {
                insert(bytes, at, piece);
            } else {
                bytes.iter_mut().skip(at).zip(piece).for_each(|(to, &from)| *to = from);
            }
        }
        10 if !words.is_empty() => {
            let word = *words.choose(rng).unwrap_or(&&b""[..]);
            insert(bytes, at, word);
        }
        _ => {
            // A digit of a text, or any byte, becomes another.
            bytes[at] = if bytes[at].is_ascii_digit() { rng.random_range(b'0'..=b'9') } else { rng.random() };
        }
    }
}

/// Mostly near the front, where headers and records lie.
fn place(rng: &mut impl Rng, length: usize) -> usize {
    let end = if rng.random_bool(0.5) { length } else { length.min(1 << rng.random_range(4..14)) };
    rng.random_range(0..end)
}

fn length(rng: &mut impl Rng) -> usize {
    let most = 1 << rng.random_range(0..8);
    rng.random_range(1..=most)
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() + piece.len() <= MAX_BYTES {
        bytes.splice(at..at, piece.iter().copied());
    }
}

/// A little-endian number of two or four bytes becomes an edge, a neighbour or a multiple of itself.
fn number(rng: &mut impl Rng, bytes: &mut [u8], at: usize) {
    let size = if rng.random() { 2 } else { 4 };
    let at = at / 2 * 2;
    let Some(field) = bytes.get_mut(at..at + size) else { return };
    let old = field.iter().rev().fold(0u32, |value, &byte| value << 8 | u32::from(byte));
    let new = match rng.random_range(0..6) {
        0 | 1 => EDGES[rng.random_range(0..EDGES.len())],
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => old.wrapping_mul(2),
        _ => 1 << rng.random_range(0..32),
    };
    field.copy_from_slice(&new.to_le_bytes()[..size]);
}
