//! Requantisation in the float units, where it is proved to give the contract's integers.
//!
//! A slope becomes a line `y = m · x + b` of floats. `m` = M / 2^s is exact: a multiplier has 17 bits. What is
//! left to prove for a channel is that no accumulator exists for which the rounding of `y` matters.

use secateur_runtime::kernels::{Epilogue, Requant, Slopes, saturate};

/// What a stored byte adds to a quantised value: bytes are unsigned.
pub(super) const STORED: i32 = 128;

/// 1.5 · 2^23: floats from 2^23 to 2^24 are integers, and their bits count up with them.
pub(super) const MAGIC: f32 = 12_582_912.0;
/// Bits of [`MAGIC`].
pub(super) const MAGIC_BITS: i32 = 0x4B40_0000;

/// How a set of instructions rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    /// Rounds down. The accumulator starts at [`MAGIC_BITS`], so that its bits are the float [`MAGIC`] + acc;
    /// `y = m · float + b` and its conversion both round down, which is the floor of the exact `y`.
    Down,
    /// Rounds to nearest, ties to even. `y = m · acc + MAGIC + Z + 128` is an integer in the low bits of the float.
    Nearest,
}

/// Which code a block of channels takes; a greater one serves the lesser ones too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    OneSlope,
    MaxSlope,
    AnySlopes,
    Exact,
}

/// The contract's arithmetic of four channels in floats of 64 bits, whatever the accumulators: a product has 48 bits
/// and its numerator `acc · M + 2^(s − 1)` 49, over a power of two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubles {
    /// Slopes M / 2^s, those for accumulators ≥ 0 first.
    m: [[f64; 4]; 2],
    /// Z + 128.
    zero: f64,
}

impl Doubles {
    fn of(requants: [Requant; 4], zero_point: i8) -> Self {
        let slope = |requant: Requant, m: i32| f64::from(m) / (1u64 << (requant.shift() & 63)) as f64;
        Self {
            m: [
                requants.map(|requant| slope(requant, requant.m_pos())),
                requants.map(|requant| slope(requant, requant.m_neg())),
            ],
            zero: f64::from(i32::from(zero_point) + STORED),
        }
    }

    /// The same for all four.
    pub(super) fn channel(mut self, channel: usize) -> Self {
        self.m = self.m.map(|slopes| [slopes[channel]; 4]);
        self
    }

    /// Accumulator of channel `n mod 4` to stored value. Compilers make vectors of it.
    #[inline(always)]
    pub(super) fn apply(&self, n: usize, acc: i32) -> i32 {
        let [pos, neg] = self.m;
        let m = if acc >= 0 { pos[n % 4] } else { neg[n % 4] };
        let value = ((f64::from(acc) * m + 0.5).floor() + self.zero).clamp(0.0, 255.0);
        // SAFETY: no factor is infinite, so it is a number, and within the range of an i32.
        unsafe { value.to_int_unchecked() }
    }
}

/// The contract's arithmetic for one channel in integers.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExactChannel {
    slopes: Slopes,
    zero_point: i8,
}

impl ExactChannel {
    pub(super) fn of(requant: Requant, zero_point: i8) -> Self {
        Self { slopes: Slopes::of(requant), zero_point }
    }

    /// Accumulator to stored value.
    pub(super) fn apply(self, acc: i32) -> i32 {
        i32::from(saturate(self.slopes.apply(acc), self.zero_point, i8::MIN, i8::MAX)) + STORED
    }
}

/// Constants of four channels.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Quad {
    /// What an accumulator starts at.
    pub(super) start: [i32; 4],
    /// Slopes, those for accumulators ≥ 0 first.
    pub(super) m: [[f32; 4]; 2],
    pub(super) b: [[f32; 4]; 2],
    pub(super) exact: Doubles,
    pub(super) kind: Kind,
}

/// One slope as floats: `y = m · x + b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    m: f32,
    b: f32,
}

/// A channel: its accumulators' start and bound, and its requantisation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channel {
    /// Bias, with what the storage as unsigned bytes asks for.
    pub(super) start: i32,
    /// No accumulator is greater in magnitude.
    pub(super) bound: i64,
    pub(super) requant: Requant,
}

impl Quad {
    /// Constants of up to four channels; missing ones are computed without meaning.
    pub(super) fn new(channels: &[Channel], zero_point: i8, rounding: Rounding) -> Self {
        let absent = Channel { start: 0, bound: 0, requant: Requant::new(0, 0, 1) };
        let of = |n: usize| channels.get(n).copied().unwrap_or(absent);
        let lines: [Option<(Kind, [Line; 2])>; 4] =
            std::array::from_fn(|n| lines(of(n).requant, of(n).bound, zero_point, rounding));
        let kind = lines.iter().map(|found| found.map_or(Kind::Exact, |(kind, _)| kind)).max();
        let kind = kind.unwrap_or(Kind::Exact);
        let line =
            |slope: usize, n: usize| lines[n].map_or(Line { m: 0.0, b: 0.0 }, |(_, lines)| lines[slope]);
        let offset = match rounding {
            Rounding::Down if kind != Kind::Exact => MAGIC_BITS,
            _ => 0,
        };
        Self {
            start: std::array::from_fn(|n| of(n).start.wrapping_add(offset)),
            m: std::array::from_fn(|slope| std::array::from_fn(|n| line(slope, n).m)),
            b: std::array::from_fn(|slope| std::array::from_fn(|n| line(slope, n).b)),
            exact: Doubles::of(std::array::from_fn(|n| of(n).requant), zero_point),
            kind,
        }
    }

    /// The same for a block whose other channels need `kind`.
    pub(super) fn widened(mut self, kind: Kind, rounding: Rounding) -> Self {
        if kind == Kind::Exact && self.kind != Kind::Exact && rounding == Rounding::Down {
            self.start = self.start.map(|start| start.wrapping_sub(MAGIC_BITS));
        }
        self.kind = self.kind.max(kind);
        self
    }
}

/// The two lines of a channel whose accumulators are within ±`bound`; `None` where none is proved exact.
pub(super) fn lines(
    requant: Requant,
    bound: i64,
    zero_point: i8,
    rounding: Rounding,
) -> Option<(Kind, [Line; 2])> {
    let shift = requant.shift();
    let (pos, neg) = (requant.m_pos(), requant.m_neg());
    let line = |multiplier, negative| match rounding {
        Rounding::Down => line_down(multiplier, shift, bound, zero_point),
        Rounding::Nearest => line_nearest(requant, negative, bound, zero_point),
    };
    let lines = [line(pos, false)?, line(neg, true)?];
    let kind = if lines[0] == lines[1] {
        Kind::OneSlope
    } else if lines[0].m >= lines[1].m {
        Kind::MaxSlope
    } else {
        Kind::AnySlopes
    };
    Some((kind, lines))
}

/// `y = m · (MAGIC + acc) + b` with `b = Z + 128 + ½ − m · MAGIC`, rounded down: exact where `MAGIC + acc` and `b`
/// are floats and the result can be converted.
fn line_down(multiplier: i32, shift: u8, bound: i64, zero_point: i8) -> Option<Line> {
    let m = f64::from(multiplier) / (1u64 << shift) as f64;
    // 17 + 24 bits times a power of two, plus halves below 2^9: exact in the 53 bits of an f64.
    let b = f64::from(i32::from(zero_point) + STORED) + 0.5 - m * f64::from(MAGIC);
    let fits = bound < 1 << 22 && (bound as f64) * m.abs() < f64::from(1 << 30);
    (fits && f64::from(b as f32) == b).then_some(Line { m: m as f32, b: b as f32 })
}

/// `y = m · acc + MAGIC + Z + 128` to nearest: half up unless the exact value is a tie. Where one may be within
/// reach, `m` or its neighbour, which breaks ties upwards, is tried on every value at which the result changes.
fn line_nearest(requant: Requant, negative: bool, bound: i64, zero_point: i8) -> Option<Line> {
    let (multiplier, shift) = (if negative { requant.m_neg() } else { requant.m_pos() }, requant.shift());
    let m = f64::from(multiplier) / (1u64 << shift) as f64;
    let b = MAGIC + (i32::from(zero_point) + STORED) as f32;
    // The result is in [2^23, 2^24), where a float's last bit is 1.
    if bound >= 1 << 24 || (bound as f64) * m.abs() >= f64::from((1 << 22) - 512) {
        return None;
    }
    let m = m as f32;
    // M = odd · 2^t: acc · M / 2^s is a tie only where acc is a multiple of 2^(s − 1 − t).
    let first_tie = i64::from(shift) - 1 - i64::from(multiplier.trailing_zeros());
    if multiplier == 0 || first_tie < 0 || bound >> first_tie.min(62) == 0 {
        return Some(Line { m, b });
    }
    let up = (multiplier > 0) != negative;
    let moved = f32::from_bits(if up { m.to_bits() + 1 } else { m.to_bits() - 1 });
    let exact = ExactChannel::of(requant, zero_point);
    let range = if negative { [-bound, -1] } else { [0, bound] };
    [m, moved].into_iter().map(|m| Line { m, b }).find(|line| line.agrees(exact, range))
}

impl Line {
    /// What the vectors compute with [`Rounding::Nearest`], clamped as they clamp it.
    fn nearest(self, acc: i32) -> i32 {
        ((acc as f32).mul_add(self.m, self.b).to_bits() as i32).wrapping_sub(MAGIC_BITS).clamp(0, 255)
    }

    /// Whether the line gives the contract's stored value for every accumulator of a range within ±2^24. Both rise, or
    /// fall, over the whole range, so that they agree where they do at both ends of each run of equal values.
    fn agrees(self, exact: ExactChannel, [first, last]: [i64; 2]) -> bool {
        let (mut at, last) = (first as i32, last as i32);
        while at <= last {
            let value = exact.apply(at);
            // The last accumulator of the same value.
            let (mut end, mut past) = (at, last + 1);
            while past - end > 1 {
                let middle = end + (past - end) / 2;
                if exact.apply(middle) == value { end = middle } else { past = middle }
            }
            if self.nearest(at) != value || self.nearest(end) != value {
                return false;
            }
            at = end + 1;
        }
        true
    }
}

/// What follows the pack: a clamp narrower than a byte, a table.
#[derive(Debug, Clone)]
pub(super) enum Post {
    Nothing,
    Clamp {
        lo: u8,
        hi: u8,
    },
    /// By stored value: of the clamped value.
    Table(Box<[u8; 256]>),
}

impl Post {
    pub(super) fn of(epilogue: &Epilogue<'_>) -> Self {
        let stored = |q: i8| (i32::from(q) + STORED) as u8;
        // The contract's order: a value above `hi` is `hi`, even below `lo`.
        match epilogue.table {
            Some(table) => Self::Table(Box::new(std::array::from_fn(|value| {
                let q = (value as i32 - STORED) as i8;
                let clamped = q.max(epilogue.lo).min(epilogue.hi);
                stored(table[usize::from(stored(clamped))])
            }))),
            None if (epilogue.lo, epilogue.hi) == (i8::MIN, i8::MAX) => Self::Nothing,
            None => Self::Clamp { lo: stored(epilogue.lo), hi: stored(epilogue.hi) },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn doubles_are_the_contracts(
            pos in 1 - Requant::MULTIPLIER_LIMIT..Requant::MULTIPLIER_LIMIT,
            neg in 1 - Requant::MULTIPLIER_LIMIT..Requant::MULTIPLIER_LIMIT,
            shift in 1..=Requant::SHIFT_MAX,
            zero_point: i8,
            random: [i32; 4],
            halves in -600i64..600,
        ) {
            let requant = Requant::new(pos, neg, shift);
            let (doubles, exact) = (Doubles::of([requant; 4], zero_point), ExactChannel::of(requant, zero_point));
            // Where the result changes, a tie if there is one.
            let changes = [pos, neg].map(|m| (halves << shift) / (2 * i64::from(m) + i64::from(m == 0)));
            let changes = changes.into_iter().flat_map(|acc| acc - 1..=acc + 1);
            let accumulators = changes.filter_map(|acc| i32::try_from(acc).ok());
            for acc in accumulators.chain(random).chain([i32::MIN, i32::MAX, 0, -1]) {
                prop_assert_eq!(doubles.apply(0, acc), exact.apply(acc), "{}", acc);
            }
        }
    }
}
