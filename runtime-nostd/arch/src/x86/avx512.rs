//! AVX-512 with VNNI: 16 pixels in a vector, four products added to an accumulator by one instruction.

use std::arch::x86_64::*;

use super::requant::MAGIC_BITS;
use super::vector::Vector;

/// Rounds down, without exceptions.
const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;

#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512;

// SAFETY of every block: the caller has the instructions (see the trait), and pointers are valid for what the
// trait says of each.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Vector for Avx512 {
    const PIXELS: usize = 16;
    const WEIGHT_BYTES: usize = 4;

    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;
    type Operand = __m512i;
    type Weights = __m512i;

    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_even(from: *const u8) -> __m512i {
        unsafe {
            let (a, b) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(60).cast()));
            // The second vector begins one pixel early, so that the last pixel is not read.
            let index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
            _mm512_permutex2var_epi32(a, index, b)
        }
    }

    #[inline(always)]
    unsafe fn widen(from: *const u8) -> __m512i {
        unsafe {
            // Four pixels of twelve bytes in each lane.
            let lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
            let bytes = _mm512_permutexvar_epi32(lanes, _mm512_loadu_si512(from.cast()));
            let order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order))
        }
    }

    #[inline(always)]
    unsafe fn xor(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut u8, bytes: __m512i) {
        unsafe { _mm512_storeu_si512(to.cast(), bytes) }
    }

    #[inline(always)]
    unsafe fn splat_bytes(value: u8) -> __m512i {
        unsafe { _mm512_set1_epi8(value as i8) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_min_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_max_epu8(a, b) }
    }

    #[inline(always)]
    unsafe fn transpose(bytes: __m512i) -> __m512i {
        unsafe {
            let order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order))
        }
    }

    #[inline(always)]
    unsafe fn join_pairs(bytes: __m512i) -> __m512i {
        unsafe { _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes) }
    }

    #[inline(always)]
    unsafe fn look_up(bytes: __m512i, table: &[u8; 256]) -> __m512i {
        unsafe { look_up(bytes, table) }
    }

    #[inline(always)]
    unsafe fn operand(bytes: __m512i) -> __m512i {
        bytes
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> __m512i {
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_of_lane(from: *const u8) -> __m512i {
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, values: __m512i, weights: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sums, values, weights) }
    }

    #[inline(always)]
    unsafe fn splat(value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn lane(values: &[i32; 4]) -> __m512i {
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(values.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn splat_float(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn lane_float(values: &[f32; 4]) -> __m512 {
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(values.as_ptr())) }
    }

    #[inline(always)]
    unsafe fn to_array(values: __m512i) -> [i32; 16] {
        let mut array = [0; 16];
        unsafe { _mm512_storeu_si512(array.as_mut_ptr().cast(), values) };
        array
    }

    #[inline(always)]
    unsafe fn from_array(values: &[i32; 16]) -> __m512i {
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn pack([a, b, c, d]: [__m512i; 4]) -> __m512i {
        unsafe { _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)) }
    }

    #[inline(always)]
    unsafe fn requantise(sums: __m512i, m: __m512, b: __m512) -> __m512i {
        unsafe { floor(line(sums, m, b)) }
    }

    #[inline(always)]
    unsafe fn requantise_max(sums: __m512i, m: [__m512; 2], b: [__m512; 2]) -> __m512i {
        unsafe { floor(_mm512_max_ps(line(sums, m[0], b[0]), line(sums, m[1], b[1]))) }
    }

    #[inline(always)]
    unsafe fn requantise_any(sums: __m512i, m: [__m512; 2], b: [__m512; 2]) -> __m512i {
        unsafe {
            let negative = _mm512_cmplt_epi32_mask(sums, _mm512_set1_epi32(MAGIC_BITS));
            floor(_mm512_mask_mov_ps(line(sums, m[0], b[0]), negative, line(sums, m[1], b[1])))
        }
    }

    #[inline(always)]
    unsafe fn pairs(a: __m512i, b: __m512i) -> [__m512i; 4] {
        unsafe {
            let zero = _mm512_setzero_si512();
            let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            [
                _mm512_unpacklo_epi8(low, zero),
                _mm512_unpackhi_epi8(low, zero),
                _mm512_unpacklo_epi8(high, zero),
                _mm512_unpackhi_epi8(high, zero),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot_pairs(values: __m512i, weights: __m512i) -> __m512i {
        unsafe { _mm512_madd_epi16(values, weights) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left(values: __m512i, bits: u32) -> __m512i {
        unsafe { _mm512_sll_epi32(values, _mm_cvtsi32_si128(bits as i32)) }
    }

    #[inline(always)]
    unsafe fn shift_right(values: __m512i, bits: u32) -> __m512i {
        unsafe { _mm512_sra_epi32(values, _mm_cvtsi32_si128(bits as i32)) }
    }
}

/// `m · x + b`, rounded down, of accumulators whose bits are floats.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn line(sums: __m512i, m: __m512, b: __m512) -> __m512 {
    // SAFETY: as the function says.
    unsafe { _mm512_fmadd_round_ps::<DOWN>(_mm512_castsi512_ps(sums), m, b) }
}

/// Integers, rounded down.
///
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn floor(values: __m512) -> __m512i {
    // SAFETY: as the function says.
    unsafe { _mm512_cvt_roundps_epi32::<DOWN>(values) }
}

/// A table in sixteen parts of sixteen entries: AVX-512 BW has shuffles of that size.
///
/// # Safety
/// The processor has AVX-512BW.
#[inline(always)]
unsafe fn look_up(bytes: __m512i, table: &[u8; 256]) -> __m512i {
    // SAFETY: as the function says; each load reads sixteen entries of the table.
    unsafe {
        let mut result = _mm512_setzero_si512();
        let part = _mm512_and_si512(bytes, _mm512_set1_epi8(0xF0u8 as i8));
        for n in 0..16 {
            let entries = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().add(16 * n).cast()));
            let here = _mm512_cmpeq_epi8_mask(part, _mm512_set1_epi8((16 * n) as u8 as i8));
            let low = _mm512_and_si512(bytes, _mm512_set1_epi8(0x0F));
            result = _mm512_mask_shuffle_epi8(result, here, entries, low);
        }
        result
    }
}
