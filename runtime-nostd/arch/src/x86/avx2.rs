//! Vectors of 256 bits, 8 pixels: AVX2 with FMA, and the same with the dot product of AVX-VNNI.

use std::arch::x86_64::*;

use super::requant::MAGIC_BITS;
use super::vector::Vector;

/// Products of words: `vpmaddwd`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2;

/// Products of bytes: `vpdpbusd` as AVX-VNNI encodes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct AvxVnni;

/// The same with the encoding of AVX-512 VL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vnni256;

/// What all have in common, and the given items.
macro_rules! vector {
    ($name:ident, $($item:item)*) => {
        // SAFETY of every block: the caller has the instructions (see the trait), and pointers are valid for what
        // the trait says of each.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Vector for $name {
            const PIXELS: usize = 8;

            type Bytes = __m256i;
            type Ints = __m256i;
            type Floats = __m256;

            $($item)*

            #[inline(always)]
            unsafe fn load(from: *const u8) -> __m256i {
                unsafe { _mm256_loadu_si256(from.cast()) }
            }

            #[inline(always)]
            unsafe fn load_even(from: *const u8) -> __m256i {
                unsafe {
                    // The second vector begins one pixel early, so that the last pixel is not read.
                    let a = _mm256_castsi256_ps(_mm256_loadu_si256(from.cast()));
                    let b = _mm256_castsi256_ps(_mm256_loadu_si256(from.add(28).cast()));
                    let mixed = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_10_00>(a, b));
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(mixed)
                }
            }

            #[inline(always)]
            unsafe fn widen(from: *const u8) -> __m256i {
                unsafe {
                    // Four pixels of twelve bytes in each half.
                    let (a, b) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(12).cast()));
                    let order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
                    _mm256_shuffle_epi8(_mm256_set_m128i(b, a), _mm256_broadcastsi128_si256(order))
                }
            }

            #[inline(always)]
            unsafe fn xor(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_xor_si256(a, b) }
            }

            #[inline(always)]
            unsafe fn store(to: *mut u8, bytes: __m256i) {
                unsafe { _mm256_storeu_si256(to.cast(), bytes) }
            }

            #[inline(always)]
            unsafe fn splat_bytes(value: u8) -> __m256i {
                unsafe { _mm256_set1_epi8(value as i8) }
            }

            #[inline(always)]
            unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_min_epu8(a, b) }
            }

            #[inline(always)]
            unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_max_epu8(a, b) }
            }

            #[inline(always)]
            unsafe fn transpose(bytes: __m256i) -> __m256i {
                unsafe {
                    let order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
                    _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order))
                }
            }

            #[inline(always)]
            unsafe fn join_pairs(bytes: __m256i) -> __m256i {
                unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes) }
            }

            #[inline(always)]
            unsafe fn look_up(bytes: __m256i, table: &[u8; 256]) -> __m256i {
                unsafe { look_up(bytes, table) }
            }

            #[inline(always)]
            unsafe fn splat(value: i32) -> __m256i {
                unsafe { _mm256_set1_epi32(value) }
            }

            #[inline(always)]
            unsafe fn lane(values: &[i32; 4]) -> __m256i {
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(values.as_ptr().cast())) }
            }

            #[inline(always)]
            unsafe fn splat_float(value: f32) -> __m256 {
                unsafe { _mm256_set1_ps(value) }
            }

            #[inline(always)]
            unsafe fn lane_float(values: &[f32; 4]) -> __m256 {
                unsafe { _mm256_broadcast_ps(&_mm_loadu_ps(values.as_ptr())) }
            }

            #[inline(always)]
            unsafe fn to_array(values: __m256i) -> [i32; 16] {
                let mut array = [0; 16];
                unsafe { _mm256_storeu_si256(array.as_mut_ptr().cast(), values) };
                array
            }

            #[inline(always)]
            unsafe fn from_array(values: &[i32; 16]) -> __m256i {
                unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
            }

            #[inline(always)]
            unsafe fn pack([a, b, c, d]: [__m256i; 4]) -> __m256i {
                unsafe { _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)) }
            }

            #[inline(always)]
            unsafe fn requantise(sums: __m256i, m: __m256, b: __m256) -> __m256i {
                unsafe { integer(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), m, b)) }
            }

            #[inline(always)]
            unsafe fn requantise_max(sums: __m256i, m: [__m256; 2], b: [__m256; 2]) -> __m256i {
                unsafe {
                    let sums = _mm256_cvtepi32_ps(sums);
                    integer(_mm256_max_ps(_mm256_fmadd_ps(sums, m[0], b[0]), _mm256_fmadd_ps(sums, m[1], b[1])))
                }
            }

            #[inline(always)]
            unsafe fn requantise_any(sums: __m256i, m: [__m256; 2], b: [__m256; 2]) -> __m256i {
                unsafe {
                    // The sign chooses; `b` is the same for both.
                    let sums = _mm256_cvtepi32_ps(sums);
                    integer(_mm256_fmadd_ps(sums, _mm256_blendv_ps(m[0], m[1], sums), b[0]))
                }
            }

            #[inline(always)]
            unsafe fn pairs(a: __m256i, b: __m256i) -> [__m256i; 4] {
                unsafe {
                    let zero = _mm256_setzero_si256();
                    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
                    [
                        _mm256_unpacklo_epi8(low, zero),
                        _mm256_unpackhi_epi8(low, zero),
                        _mm256_unpacklo_epi8(high, zero),
                        _mm256_unpackhi_epi8(high, zero),
                    ]
                }
            }

            #[inline(always)]
            unsafe fn dot_pairs(values: __m256i, weights: __m256i) -> __m256i {
                unsafe { _mm256_madd_epi16(values, weights) }
            }

            #[inline(always)]
            unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
                unsafe { _mm256_add_epi32(a, b) }
            }

            #[inline(always)]
            unsafe fn shift_left(values: __m256i, bits: u32) -> __m256i {
                unsafe { _mm256_sll_epi32(values, _mm_cvtsi32_si128(bits as i32)) }
            }

            #[inline(always)]
            unsafe fn shift_right(values: __m256i, bits: u32) -> __m256i {
                unsafe { _mm256_sra_epi32(values, _mm_cvtsi32_si128(bits as i32)) }
            }
        }
    };
}

vector! { Avx2,
    const WEIGHT_BYTES: usize = 8;

    /// Words of channels 0 and 2, and of 1 and 3, of each pixel.
    type Operand = [__m256i; 2];
    type Weights = [__m256i; 2];

    #[inline(always)]
    unsafe fn operand(bytes: __m256i) -> [__m256i; 2] {
        unsafe {
            [_mm256_and_si256(bytes, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16::<8>(bytes)]
        }
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [__m256i; 2] {
        unsafe {
            let from = from.cast::<i32>();
            [_mm256_set1_epi32(from.read_unaligned()), _mm256_set1_epi32(from.add(1).read_unaligned())]
        }
    }

    #[inline(always)]
    unsafe fn weights_of_lane(from: *const u8) -> [__m256i; 2] {
        unsafe {
            let (even, odd) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
            [_mm256_broadcastsi128_si256(even), _mm256_broadcastsi128_si256(odd)]
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, values: [__m256i; 2], weights: [__m256i; 2]) -> __m256i {
        unsafe {
            let even = _mm256_madd_epi16(values[0], weights[0]);
            let odd = _mm256_madd_epi16(values[1], weights[1]);
            _mm256_add_epi32(_mm256_add_epi32(sums, even), odd)
        }
    }
}

/// A vector type whose dot product is one instruction.
macro_rules! vnni {
    ($name:ident, $dot:ident) => {
        vector! { $name,
            const WEIGHT_BYTES: usize = 4;

            type Operand = __m256i;
            type Weights = __m256i;

            #[inline(always)]
            unsafe fn operand(bytes: __m256i) -> __m256i {
                bytes
            }

            #[inline(always)]
            unsafe fn weights(from: *const u8) -> __m256i {
                unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            unsafe fn weights_of_lane(from: *const u8) -> __m256i {
                unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast())) }
            }

            #[inline(always)]
            unsafe fn dot(sums: __m256i, values: __m256i, weights: __m256i) -> __m256i {
                unsafe { $dot(sums, values, weights) }
            }
        }
    };
}

vnni!(AvxVnni, _mm256_dpbusd_avx_epi32);
vnni!(Vnni256, _mm256_dpbusd_epi32);

/// The integer that a float of [`Rounding::Nearest`](super::requant::Rounding) holds in its low bits.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn integer(values: __m256) -> __m256i {
    // SAFETY: as the function says.
    unsafe { _mm256_sub_epi32(_mm256_castps_si256(values), _mm256_set1_epi32(MAGIC_BITS)) }
}

/// A table in sixteen parts of sixteen entries, one shuffle each: an index of another part has its first bit set,
/// which gives 0.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn look_up(bytes: __m256i, table: &[u8; 256]) -> __m256i {
    // SAFETY: as the function says; each load reads sixteen entries of the table.
    unsafe {
        let mut result = _mm256_setzero_si256();
        for n in 0..16u8 {
            let entries = _mm_loadu_si128(table.as_ptr().add(16 * usize::from(n)).cast());
            // Within the part 0 to 15, else at least 16; + 0x70 saturating sets the first bit of those alone.
            let index = _mm256_sub_epi8(bytes, _mm256_set1_epi8((n << 4) as i8));
            let index = _mm256_adds_epu8(index, _mm256_set1_epi8(0x70));
            result =
                _mm256_or_si256(result, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), index));
        }
        result
    }
}
