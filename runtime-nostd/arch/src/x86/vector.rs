//! What the kernels ask of a set of vector instructions.

use super::requant::{Doubles, Quad};

/// Vectors of one instruction set. A vector of bytes holds [`Vector::PIXELS`] neighbouring pixels of four
/// channels each; a vector of integers holds as many accumulators.
///
/// "In a lane" means: within each 128 bits of a vector, which are four pixels of four channels.
///
/// # Safety
/// Every function may be called only where the processor has the instructions, and is meant to be inlined into a
/// function that enables them. Pointers may have any alignment and must be valid for what is said of each.
pub(super) trait Vector: Copy {
    /// Pixels of a vector.
    const PIXELS: usize;
    /// Bytes that the weights of four channels for one output take.
    const WEIGHT_BYTES: usize;

    type Bytes: Copy;
    type Ints: Copy;
    type Floats: Copy;
    /// Activations as [`Vector::dot`] takes them.
    type Operand: Copy;
    /// Weights as [`Vector::dot`] takes them.
    type Weights: Copy;

    /// Reads [`Vector::PIXELS`] pixels.
    unsafe fn load(from: *const u8) -> Self::Bytes;
    /// Reads every second of twice as many pixels; the last of them is not read.
    unsafe fn load_even(from: *const u8) -> Self::Bytes;
    /// Reads [`Vector::PIXELS`] pixels of three channels, gives each a fourth of 0; reads sixteen bytes more.
    unsafe fn widen(from: *const u8) -> Self::Bytes;
    unsafe fn xor(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Writes [`Vector::PIXELS`] pixels.
    unsafe fn store(to: *mut u8, bytes: Self::Bytes);
    unsafe fn splat_bytes(value: u8) -> Self::Bytes;
    unsafe fn min(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    unsafe fn max(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Four pixels of four channels become four channels of four pixels, in each lane.
    unsafe fn transpose(bytes: Self::Bytes) -> Self::Bytes;
    /// Pairs of pixels `(0, 1, 2n, 2n + 1), (2, 3, 2n + 2, 2n + 3) …` in their order, for 4n pixels.
    unsafe fn join_pairs(bytes: Self::Bytes) -> Self::Bytes;
    /// Replaces each byte by its entry.
    unsafe fn look_up(bytes: Self::Bytes, table: &[u8; 256]) -> Self::Bytes;

    unsafe fn operand(bytes: Self::Bytes) -> Self::Operand;
    /// Weights of four channels, the same for every accumulator: reads [`Vector::WEIGHT_BYTES`].
    unsafe fn weights(from: *const u8) -> Self::Weights;
    /// Weights of four accumulators in a lane, the same for every lane: reads four times
    /// [`Vector::WEIGHT_BYTES`].
    unsafe fn weights_of_lane(from: *const u8) -> Self::Weights;
    /// Adds four products to each accumulator; exact modulo 2^32.
    unsafe fn dot(sums: Self::Ints, values: Self::Operand, weights: Self::Weights) -> Self::Ints;

    unsafe fn splat(value: i32) -> Self::Ints;
    unsafe fn lane(values: &[i32; 4]) -> Self::Ints;
    unsafe fn splat_float(value: f32) -> Self::Floats;
    unsafe fn lane_float(values: &[f32; 4]) -> Self::Floats;
    /// The accumulators in order, in the first [`Vector::PIXELS`] entries.
    unsafe fn to_array(values: Self::Ints) -> [i32; 16];
    unsafe fn from_array(values: &[i32; 16]) -> Self::Ints;
    /// In each lane the bytes of four accumulators of `a`, then of `b`, `c` and `d`, each clamped to 0 … 255.
    unsafe fn pack(sums: [Self::Ints; 4]) -> Self::Bytes;

    /// `⌊(acc · M) / 2^s + ½⌋ + Z + 128` by one [`Line`](super::requant::Line) for all signs.
    unsafe fn requantise(sums: Self::Ints, m: Self::Floats, b: Self::Floats) -> Self::Ints;
    /// The greater of two lines: where the slope for positive accumulators is at least the other.
    unsafe fn requantise_max(sums: Self::Ints, m: [Self::Floats; 2], b: [Self::Floats; 2]) -> Self::Ints;
    /// The line that the accumulator's sign chooses: the first where it is not negative.
    unsafe fn requantise_any(sums: Self::Ints, m: [Self::Floats; 2], b: [Self::Floats; 2]) -> Self::Ints;

    /// Words of a pair of bytes for each accumulator: `a` low and `b` high, in four vectors whose
    /// [`Vector::pack`] has the order of `a` and `b`.
    unsafe fn pairs(a: Self::Bytes, b: Self::Bytes) -> [Self::Ints; 4];
    /// `Σ value · weight` over the pair of words in each accumulator.
    unsafe fn dot_pairs(values: Self::Ints, weights: Self::Ints) -> Self::Ints;
    unsafe fn add(a: Self::Ints, b: Self::Ints) -> Self::Ints;
    unsafe fn shift_left(values: Self::Ints, bits: u32) -> Self::Ints;
    /// Arithmetic shift.
    unsafe fn shift_right(values: Self::Ints, bits: u32) -> Self::Ints;
}

/// How the accumulators of a block of channels become bytes.
///
/// # Safety
/// As for [`Vector`].
pub(super) trait Requantise<V: Vector>: Copy {
    /// Constants of one channel for all accumulators of a vector.
    unsafe fn channel(quad: &Quad, channel: usize) -> Self;
    /// Constants of four channels, accumulator `i` belongs to channel `i mod 4`.
    unsafe fn lane(quad: &Quad) -> Self;
    /// Accumulators to stored values; what exceeds a byte is clamped by [`Vector::pack`].
    unsafe fn apply(self, sums: V::Ints) -> V::Ints;
}

/// One slope for both signs.
#[derive(Clone, Copy)]
pub(super) struct OneSlope<V: Vector>(V::Floats, V::Floats);

/// The slope for positive accumulators is at least the other.
#[derive(Clone, Copy)]
pub(super) struct MaxSlope<V: Vector>([V::Floats; 2], [V::Floats; 2]);

/// Any two slopes.
#[derive(Clone, Copy)]
pub(super) struct AnySlopes<V: Vector>([V::Floats; 2], [V::Floats; 2]);

/// Floats of 64 bits: for channels that no proof covers.
#[derive(Clone, Copy)]
pub(super) struct Exact(Doubles);

impl<V: Vector> Requantise<V> for OneSlope<V> {
    #[inline(always)]
    unsafe fn channel(quad: &Quad, channel: usize) -> Self {
        // SAFETY: as the trait says.
        unsafe { Self(V::splat_float(quad.m[0][channel]), V::splat_float(quad.b[0][channel])) }
    }

    #[inline(always)]
    unsafe fn lane(quad: &Quad) -> Self {
        // SAFETY: as the trait says.
        unsafe { Self(V::lane_float(&quad.m[0]), V::lane_float(&quad.b[0])) }
    }

    #[inline(always)]
    unsafe fn apply(self, sums: V::Ints) -> V::Ints {
        // SAFETY: as the trait says.
        unsafe { V::requantise(sums, self.0, self.1) }
    }
}

macro_rules! two_slopes {
    ($kind:ident, $apply:ident) => {
        impl<V: Vector> Requantise<V> for $kind<V> {
            #[inline(always)]
            unsafe fn channel(quad: &Quad, channel: usize) -> Self {
                // SAFETY: as the trait says.
                unsafe {
                    Self(
                        [V::splat_float(quad.m[0][channel]), V::splat_float(quad.m[1][channel])],
                        [V::splat_float(quad.b[0][channel]), V::splat_float(quad.b[1][channel])],
                    )
                }
            }

            #[inline(always)]
            unsafe fn lane(quad: &Quad) -> Self {
                // SAFETY: as the trait says.
                unsafe {
                    Self(
                        [V::lane_float(&quad.m[0]), V::lane_float(&quad.m[1])],
                        [V::lane_float(&quad.b[0]), V::lane_float(&quad.b[1])],
                    )
                }
            }

            #[inline(always)]
            unsafe fn apply(self, sums: V::Ints) -> V::Ints {
                // SAFETY: as the trait says.
                unsafe { V::$apply(sums, self.0, self.1) }
            }
        }
    };
}

two_slopes!(MaxSlope, requantise_max);
two_slopes!(AnySlopes, requantise_any);

impl<V: Vector> Requantise<V> for Exact {
    #[inline(always)]
    unsafe fn channel(quad: &Quad, channel: usize) -> Self {
        Self(quad.exact.channel(channel))
    }

    #[inline(always)]
    unsafe fn lane(quad: &Quad) -> Self {
        Self(quad.exact)
    }

    #[inline(always)]
    unsafe fn apply(self, sums: V::Ints) -> V::Ints {
        // SAFETY: as the trait says.
        unsafe {
            let mut values = V::to_array(sums);
            for (i, value) in values.iter_mut().enumerate().take(V::PIXELS) {
                *value = self.0.apply(i, *value);
            }
            V::from_array(&values)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_runtime::kernels::Requant;

    use super::*;
    use crate::x86::avx2::{Avx2, AvxVnni, Vnni256};
    use crate::x86::avx512::Avx512;
    use crate::x86::isa::Isa;
    use crate::x86::level::Level;
    use crate::x86::requant::{Channel, ExactChannel, Kind};

    /// What the instructions make of accumulators, clamped as [`Vector::pack`] does.
    fn computed<V: Isa>(quad: &Quad, accumulators: &[i32]) -> Vec<i32> {
        // What the accumulators start at beside the bias of 0.
        let start = quad.start[0];
        let mut results = Vec::new();
        for chunk in accumulators.chunks(V::PIXELS) {
            let mut sums = [start; 16];
            sums.iter_mut().zip(chunk).for_each(|(sum, acc)| *sum = sum.wrapping_add(*acc));
            // SAFETY: the caller has found the level available.
            let values = unsafe {
                let sums = V::from_array(&sums);
                V::to_array(match quad.kind {
                    Kind::OneSlope => OneSlope::<V>::channel(quad, 0).apply(sums),
                    Kind::MaxSlope => MaxSlope::<V>::channel(quad, 0).apply(sums),
                    Kind::AnySlopes => AnySlopes::<V>::channel(quad, 0).apply(sums),
                    Kind::Exact => Requantise::<V>::apply(<Exact as Requantise<V>>::channel(quad, 0), sums),
                })
            };
            results.extend(values.iter().take(chunk.len()).map(|value| (*value).clamp(0, 255)));
        }
        results
    }

    /// Accumulators at which the contract's value changes, their neighbours, the ends of the range, ties.
    fn interesting(requant: Requant, bound: i32) -> Vec<i32> {
        let mut found = vec![0, 1, -1, bound, -bound, bound - 1, 1 - bound];
        for multiplier in [requant.m_pos(), requant.m_neg()] {
            if multiplier == 0 {
                continue;
            }
            let step = (1i64 << requant.shift()) as f64 / f64::from(multiplier);
            for halves in -1024..1024 {
                let middle = (f64::from(halves) / 2.0 * step) as i64;
                found
                    .extend((-2..=2).map(|n| (middle + n).clamp(-i64::from(bound), i64::from(bound)) as i32));
            }
        }
        found
    }

    fn multiplier() -> impl Strategy<Value = i32> {
        // Trailing zeros make ties.
        (-(1i32 << 17) + 1..1 << 17, 0u32..17).prop_map(|(m, zeros)| m >> zeros << zeros)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn rounding_is_the_contracts(
            pos in multiplier(),
            neg in multiplier(),
            style in 0..4,
            shift in 1u8..=47,
            zero_point: i8,
            bits in 1u32..24,
        ) {
            let neg = [pos, pos / 10, neg, 0][style as usize];
            let requant = Requant::new(pos, neg, shift);
            let bound = (1i32 << bits) - 1;
            let channel = Channel { start: 0, bound: bound.into(), requant };
            let accumulators = interesting(requant, bound);
            let exact = ExactChannel::of(requant, zero_point);
            let test = |level: Level, quad: Quad, computed: fn(&Quad, &[i32]) -> Vec<i32>| {
                if level.is_available() {
                    let wanted: Vec<i32> = accumulators.iter().map(|&acc| exact.apply(acc)).collect();
                    let found = computed(&quad, &accumulators);
                    let differs = found.iter().zip(&wanted).position(|(a, b)| a != b);
                    prop_assert_eq!(differs.map(|n| (accumulators[n], found[n], wanted[n])), None, "{:?}", quad);
                }
                Ok(())
            };
            let quad = |rounding| Quad::new(&[channel; 4], zero_point, rounding);
            // What compilers write has a proof.
            let usual = (18..=36).contains(&shift) && bits <= 20;
            prop_assert!(!usual || quad(Avx512::ROUNDING).kind != Kind::Exact);
            prop_assert!(!usual || pos & neg & 1 == 0 || quad(Avx2::ROUNDING).kind != Kind::Exact);
            test(Level::Avx512Vnni, quad(Avx512::ROUNDING), computed::<Avx512>)?;
            test(Level::Avx2, quad(Avx2::ROUNDING), computed::<Avx2>)?;
            if is_x86_feature_detected!("avxvnni") {
                test(Level::AvxVnni, quad(AvxVnni::ROUNDING), computed::<AvxVnni>)?;
            }
            if Level::has_vnni_256() {
                test(Level::AvxVnni, quad(Vnni256::ROUNDING), computed::<Vnni256>)?;
            }
        }
    }
}
