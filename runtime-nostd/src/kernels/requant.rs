//! Requantisation: the only place where accumulators are rounded.

use super::{Epilogue, Requant};

/// Requantises an accumulator: `(acc · M + 2^(s − 1)) >> s` with `M` = `m_pos` or `m_neg` by the
/// accumulator's sign. Rounds half up, once; exact for every `i32` and every valid [`Requant`].
///
/// Source: Jacob et al. 2018, section 2.2, with a single rounding.
#[inline(always)]
pub fn requantise(acc: i32, requant: Requant) -> i64 {
    Slopes::of(requant).apply(acc)
}

/// `y + zero_point` within `lo..=hi`.
#[inline(always)]
pub fn saturate(y: i64, zero_point: i8, lo: i8, hi: i8) -> i8 {
    (y + i64::from(zero_point)).max(i64::from(lo)).min(i64::from(hi)) as i8
}

/// A [`Requant`] as a kernel's inner loop wants it.
#[derive(Debug, Clone, Copy)]
pub struct Slopes {
    pos: i32,
    neg: i32,
    half: i64,
    shift: u32,
}

impl Slopes {
    #[inline(always)]
    pub const fn of(requant: Requant) -> Self {
        let shift = requant.shift() as u32 & 63;
        Self { pos: requant.m_pos(), neg: requant.m_neg(), half: (1 << shift) >> 1, shift }
    }

    /// Source: docs/numerics.md, "Requantise": `(acc · M + 2^(s − 1)) >> s`.
    #[inline(always)]
    pub fn apply(self, acc: i32) -> i64 {
        let slope = if acc >= 0 { self.pos } else { self.neg };
        (i64::from(acc) * i64::from(slope) + self.half) >> self.shift
    }
}

impl Epilogue<'_> {
    /// Parameters of channel `channel`.
    #[inline(always)]
    pub fn slopes(&self, channel: usize) -> Slopes {
        Slopes::of(self.requant.get(channel).copied().unwrap_or(Requant::new(0, 0, 1)))
    }

    /// Accumulator to output code.
    #[inline(always)]
    pub fn finish(&self, acc: i32, slopes: Slopes) -> i8 {
        self.look_up(self.clamp(acc, slopes))
    }

    /// Accumulator to the code before the table.
    #[inline(always)]
    pub fn clamp(&self, acc: i32, slopes: Slopes) -> i8 {
        saturate(slopes.apply(acc), self.zero_point, self.lo, self.hi)
    }

    /// Code before the table to output code.
    #[inline(always)]
    pub fn look_up(&self, q: i8) -> i8 {
        self.table.map_or(q, |table| look_up(table, q))
    }
}

/// Entry `q + 128`.
#[inline(always)]
pub fn look_up<T: Copy>(table: &[T; 256], q: i8) -> T {
    // A u8 index into 256 entries: the bound check vanishes.
    #[allow(clippy::indexing_slicing)]
    table[usize::from((q as u8) ^ 0x80)]
}
