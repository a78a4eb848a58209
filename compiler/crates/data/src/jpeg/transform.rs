//! Dequantisation and the inverse cosine transform.
//!
//! Loeffler, Ligtenberg, Moschytz 1989 in integers of 12 fraction bits, columns first; 2 of them are
//! kept between the passes. The rounding is stb_image's.

use std::num::Wrapping;

use super::header::Component;

type Fixed = Wrapping<i32>;

/// `x` with 12 fraction bits, rounded as C rounds `x · 4096 + 0.5` towards zero.
const fn fixed(x: f32) -> Fixed {
    Wrapping((x as f64 * 4096.0 + 0.5) as i32)
}

/// All samples of a component, `[blocks down · 8][blocks across · 8]`.
pub(super) fn samples(component: &Component) -> Vec<u8> {
    let (across, down) = component.blocks;
    let quantiser = component.quantiser.unwrap_or([1; 64]);
    let mut samples = vec![0; across * down * 64];
    for (index, block) in component.coefficients.chunks_exact(64).enumerate() {
        let mut values = [0_i16; 64];
        for ((value, coefficient), step) in values.iter_mut().zip(block).zip(quantiser) {
            *value = coefficient.wrapping_mul(step as i16);
        }
        let first = index / across * 8 * across * 8 + index % across * 8;
        for (y, row) in inverse(&values).chunks_exact(8).enumerate() {
            samples[first + y * across * 8..][..8].copy_from_slice(row);
        }
    }
    samples
}

/// Samples of a block, by rows.
fn inverse(values: &[i16; 64]) -> [u8; 64] {
    let mut columns = [Wrapping(0); 64];
    for x in 0..8 {
        let column: [Fixed; 8] = std::array::from_fn(|y| Wrapping(i32::from(values[y * 8 + x])));
        let rest = column[1..].iter().all(|value| value.0 == 0);
        let out = if rest {
            [column[0] * Wrapping(4); 8]
        } else {
            butterfly(column, Wrapping(512)).map(|value| value >> 10)
        };
        for (y, value) in out.into_iter().enumerate() {
            columns[y * 8 + x] = value;
        }
    }
    let mut samples = [0; 64];
    for (row, out) in columns.chunks_exact(8).zip(samples.chunks_exact_mut(8)) {
        let row: [Fixed; 8] = std::array::from_fn(|x| row[x]);
        // Half a step, and the middle of the range of samples.
        for (sample, value) in out.iter_mut().zip(butterfly(row, Wrapping(65536 + (128 << 17)))) {
            *sample = (value >> 17).0.clamp(0, 255) as u8;
        }
    }
    samples
}

/// One-dimensional transform of 8 values, 12 fraction bits more, plus `bias`.
fn butterfly(s: [Fixed; 8], bias: Fixed) -> [Fixed; 8] {
    let shared = (s[2] + s[6]) * const { fixed(0.541_196_1) };
    let t2 = shared + s[6] * const { fixed(-1.847_759_1) };
    let t3 = shared + s[2] * const { fixed(0.765_366_85) };
    let t0 = (s[0] + s[4]) * Wrapping(4096);
    let t1 = (s[0] - s[4]) * Wrapping(4096);
    let even = [t0 + t3 + bias, t1 + t2 + bias, t1 - t2 + bias, t0 - t3 + bias];

    let (p1, p2, p3, p4) = (s[7] + s[1], s[5] + s[3], s[7] + s[3], s[5] + s[1]);
    let p5 = (p3 + p4) * const { fixed(1.175_875_6) };
    let p1 = p5 + p1 * const { fixed(-0.899_976_2) };
    let p2 = p5 + p2 * const { fixed(-2.562_915_6) };
    let p3 = p3 * const { fixed(-1.961_570_6) };
    let p4 = p4 * const { fixed(-0.390_180_65) };
    let odd = [
        s[1] * const { fixed(1.501_321_1) } + p1 + p4,
        s[3] * const { fixed(3.072_711) } + p2 + p3,
        s[5] * const { fixed(2.053_12) } + p2 + p4,
        s[7] * const { fixed(0.298_631_34) } + p1 + p3,
    ];
    std::array::from_fn(|n| if n < 4 { even[n] + odd[n] } else { even[7 - n] - odd[7 - n] })
}
