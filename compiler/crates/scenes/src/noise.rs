//! Value noise: smooth random functions of the plane.

/// A hash of a lattice point, 0..1.
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h =
        seed ^ x.cast_unsigned().wrapping_mul(0x9E37_79B1) ^ y.cast_unsigned().wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Noise of period 1 a lattice cell, −1..1.
pub(crate) fn value(x: f32, y: f32, seed: u32) -> f32 {
    let fade = |t: f32| t * t * (3.0 - 2.0 * t);
    let (i, j) = (floor(x), floor(y));
    let (u, v) = (fade(x - i as f32), fade(y - j as f32));
    let row = |j: i32| {
        let (a, b) = (lattice(i, j, seed), lattice(i + 1, j, seed));
        a + (b - a) * u
    };
    let (above, below) = (row(j), row(j + 1));
    2.0 * (above + (below - above) * v) - 1.0
}

/// Sum of octaves, each of half the size and half the strength of the one before; about −1..1.
pub(crate) fn octaves(x: f32, y: f32, seed: u32, count: u32) -> f32 {
    let (mut sum, mut scale, mut weight) = (0.0, 1.0, 0.6);
    for octave in 0..count {
        sum += weight * value(x * scale, y * scale, seed.wrapping_add(octave));
        scale *= 2.0;
        weight *= 0.5;
    }
    sum
}

/// A cheap sine of period 1, −1..1.
pub(crate) fn wave(t: f32) -> f32 {
    let s = 2.0 * (t - floor(t) as f32) - 1.0;
    -4.0 * s * (1.0 - s.abs())
}

/// The largest whole number up to `x`. Without SSE 4.1 the standard one is a call.
fn floor(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from(x < whole as f32)
}
