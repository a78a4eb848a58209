//! Layers whose constants were put into a kernel's order when compiling, for processors with the DSP extension
//! of Armv7E-M (Cortex-M4, M7, M33, M55): 16-bit products in pairs, weights beside the accumulator's parameters.
//!
//! The reference kernels here define what packed constants mean, for any bytes. An accumulator is
//! requantised by the high word of one product:
//!
//! ```text
//! y = (acc · M' + 2^31) >> 32,  M' = M << (32 − s)           s ≤ 32 and M' fits 32 bits
//! y = (((acc · M') >> 32) + 2^(k − 1)) >> k,  M' = M << j     s + j = 32 + k, k ≥ 1
//! ```
//!
//! Both equal `(acc · M + 2^(s − 1)) >> s`: the first multiplies numerator and denominator by 2^(32 − s); in the
//! second the addend is a multiple of 2^32, so that the low word never carries into the result.

mod conv;
mod depthwise;

use zerocopy::little_endian::U32;

use crate::kernels::{Requant, Table, look_up, requantise, saturate};
pub use conv::{ConvLayout, PackedConv, packed_conv};
pub use depthwise::{DepthwiseLayout, PackedDepthwise, ROW_BYTES, packed_depthwise};

/// What a workspace may lose to its alignment.
const ALIGNING: usize = 4;
/// Largest shift after the high word.
const TAIL_MAX: u32 = 15;

/// How the channels of a packed layer are requantised; all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One slope, shift 32: `M'`.
    Linear,
    /// Two slopes, shift 32: `M'` for accumulators ≥ 0 and what it takes more below 0, modulo 2^32.
    TwoSlopes,
    /// Two slopes and a shift `k` after the high word.
    General,
}

impl Form {
    pub const fn code(self) -> u16 {
        self as u16
    }

    pub const fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Linear),
            1 => Some(Self::TwoSlopes),
            2 => Some(Self::General),
            _ => None,
        }
    }

    /// Words of a channel's parameters, the bias left out.
    pub const fn words(self) -> usize {
        self as usize + 1
    }

    /// The cheapest form that expresses every channel; `None` where none does.
    pub fn of(requant: &[Requant]) -> Option<Self> {
        let linear = requant.iter().all(|r| r.m_pos() == r.m_neg());
        if requant.iter().all(|r| Scale::short(r).is_some()) {
            return Some(if linear { Self::Linear } else { Self::TwoSlopes });
        }
        requant.iter().all(|r| Scale::general(r).is_some()).then_some(Self::General)
    }

    /// A channel's parameters in this form; `None` where it cannot express them.
    pub fn scale(self, requant: &Requant) -> Option<Scale> {
        match self {
            Self::Linear | Self::TwoSlopes => Scale::short(requant),
            Self::General => Scale::general(requant),
        }
    }
}

/// Parameters of a channel: slopes of the high word, and the shift after it (0: the high word is rounded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scale {
    pub m_pos: i32,
    pub m_neg: i32,
    pub tail: u32,
}

impl Scale {
    /// One rounded high word.
    fn short(requant: &Requant) -> Option<Self> {
        let up = 32u32.checked_sub(u32::from(requant.shift()))?;
        Some(Self { m_pos: raised(requant.m_pos(), up)?, m_neg: raised(requant.m_neg(), up)?, tail: 0 })
    }

    /// A high word and a shift: as little of it as the slopes allow.
    fn general(requant: &Requant) -> Option<Self> {
        let shift = u32::from(requant.shift());
        let tail = shift.saturating_sub(32).max(1);
        let up = (32 + tail).checked_sub(shift)?;
        Some(Self { m_pos: raised(requant.m_pos(), up)?, m_neg: raised(requant.m_neg(), up)?, tail })
    }

    /// The words that [`Scale::read`] reads.
    fn write(self, form: Form, words: &mut [U32]) {
        let fields = [self.m_pos as u32, self.m_neg.wrapping_sub(self.m_pos) as u32, self.tail];
        for (word, field) in words.iter_mut().zip(fields).take(form.words()) {
            *word = U32::new(field);
        }
    }

    fn read(form: Form, words: &[U32]) -> Self {
        let field = |n: usize| words.get(n).map_or(0, |word| word.get());
        let m_pos = field(0) as i32;
        let more = if form == Form::Linear { 0 } else { field(1) as i32 };
        let tail = if form == Form::General { field(2) } else { 0 };
        Self { m_pos, m_neg: m_pos.wrapping_add(more), tail }
    }

    fn is_valid(self, form: Form) -> bool {
        form != Form::General || (1..=TAIL_MAX).contains(&self.tail)
    }

    /// Accumulator to the value before saturation: `(acc · M' + 2^(s − 1)) >> s` with `s = 32 + tail`.
    #[inline(always)]
    pub fn apply(self, acc: i32) -> i64 {
        let shift = 32 + self.tail.min(TAIL_MAX);
        requantise(acc, Requant::new(self.m_pos, self.m_neg, shift as u8))
    }
}

/// `m << up`, where it fits.
fn raised(m: i32, up: u32) -> Option<i32> {
    i32::try_from(i64::from(m).checked_shl(up.min(32))?).ok()
}

/// What happens to a packed layer's accumulators beside their scales; see [`crate::kernels::Epilogue`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    pub lo: i8,
    pub hi: i8,
    pub table: Option<&'a Table>,
    pub zero_point: i8,
}

impl Bounds<'_> {
    #[inline(always)]
    fn finish(&self, acc: i32, scale: Scale) -> i8 {
        let q = saturate(scale.apply(acc), self.zero_point, self.lo, self.hi);
        self.table.map_or(q, |table| look_up(table, q))
    }
}

/// Word `n`, 0 where there is none (never in a checked artefact).
#[inline(always)]
fn word(words: &[U32], n: usize) -> u32 {
    words.get(n).map_or(0, |word| word.get())
}

/// Bytes of a signed 16-bit half of a word.
#[inline(always)]
fn half(word: u32, n: usize) -> i32 {
    i32::from((word >> (16 * n)) as u16 as i16)
}

/// `|bias| + 128 · Σ|w| < 2^31`, every weight within ±127.
fn accumulates(bias: i32, weights: impl Iterator<Item = i32>) -> bool {
    let mut sum = u64::from(bias.unsigned_abs());
    for w in weights {
        if w.unsigned_abs() > 127 {
            return false;
        }
        sum += 128 * u64::from(w.unsigned_abs());
    }
    sum < 1 << 31
}
