//! Kernels that work value by value: sum, clamp, table, maximum.

use super::layout::{PIXEL, View};
use super::requant::Post;
use super::vector::Vector;

/// Bits of a multiplier's low part: both parts of one below 2^23 are words.
pub(super) const LOW: u32 = 15;

/// The sum of two feature maps in one shift: `acc = Σ (q_i − Z_i) · M_i`, then `(acc + 2^(s − 1)) >> s`.
#[derive(Debug)]
pub(super) struct Add {
    pub(super) inputs: [View; 2],
    pub(super) output: View,
    /// High parts of both multipliers as a pair of words, and low parts.
    pub(super) high: i32,
    pub(super) low: i32,
    /// What stored zero points, the rounding and the output's zero point add to an accumulator.
    pub(super) start: i32,
    pub(super) shift: u32,
    pub(super) post: Post,
}

/// Sums `vectors` vectors.
///
/// # Safety
/// The processor has `V`'s instructions; pointers are valid for `vectors` vectors.
#[inline(always)]
pub(super) unsafe fn add<V: Vector>(job: &Add, inputs: [*const u8; 2], output: *mut u8, vectors: usize) {
    // SAFETY: as the function says.
    unsafe {
        let (high, low, start) = (V::splat(job.high), V::splat(job.low), V::splat(job.start));
        for n in 0..vectors {
            let at = n * V::PIXELS * PIXEL;
            let mut values = V::pairs(V::load(inputs[0].add(at)), V::load(inputs[1].add(at)));
            for value in &mut values {
                let upper = V::shift_left(V::dot_pairs(*value, high), LOW);
                let sum = V::add(V::add(upper, V::dot_pairs(*value, low)), start);
                *value = V::shift_right(sum, job.shift);
            }
            V::store(output.add(at), V::pack(values));
        }
    }
}

/// Clamps or looks up `vectors` vectors.
///
/// # Safety
/// As for [`add`]; `from` may be `to`.
#[inline(always)]
pub(super) unsafe fn post<V: Vector>(post: &Post, from: *const u8, to: *mut u8, vectors: usize) {
    // SAFETY: as the function says.
    unsafe {
        match post {
            Post::Nothing => {}
            Post::Clamp { lo, hi } => {
                let (lo, hi) = (V::splat_bytes(*lo), V::splat_bytes(*hi));
                for n in 0..vectors {
                    let at = n * V::PIXELS * PIXEL;
                    V::store(to.add(at), V::min(V::max(V::load(from.add(at)), lo), hi));
                }
            }
            Post::Table(table) => {
                for n in 0..vectors {
                    let at = n * V::PIXELS * PIXEL;
                    V::store(to.add(at), V::look_up(V::load(from.add(at)), table));
                }
            }
        }
    }
}

/// `to = max(to, from)` for `vectors` vectors.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub(super) unsafe fn max_into<V: Vector>(from: *const u8, to: *mut u8, vectors: usize) {
    for n in 0..vectors {
        let at = n * V::PIXELS * PIXEL;
        // SAFETY: as the function says.
        unsafe { V::store(to.add(at), V::max(V::load(to.add(at)), V::load(from.add(at)))) }
    }
}
