//! The integer contract written a second time, as plainly as possible: i64 arithmetic, one loop a
//! formula, nothing shared with the kernels.
#![allow(dead_code)]

pub(crate) mod build;
pub(crate) mod packed;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::kernels::{Requant, Window};

/// A dense `[h, w, c]` map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub(crate) shape: [usize; 3],
    pub(crate) zero: i8,
    pub(crate) data: Vec<i8>,
}

impl Map {
    pub(crate) fn random(rng: &mut ChaCha8Rng, shape: [usize; 3]) -> Self {
        let data = (0..shape.iter().product()).map(|_| rng.random()).collect();
        Self { shape, zero: rng.random(), data }
    }

    pub(crate) fn at(&self, y: usize, x: usize, c: usize) -> i64 {
        let [_, w, channels] = self.shape;
        i64::from(self.data[(y * w + x) * channels + c])
    }

    /// Outside the image stands the zero point.
    pub(crate) fn padded(&self, y: i64, x: i64, c: usize) -> i64 {
        let [h, w, _] = self.shape;
        let inside = y >= 0 && x >= 0 && y < h as i64 && x < w as i64;
        if inside { self.at(y as usize, x as usize, c) } else { i64::from(self.zero) }
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

pub(crate) fn random_requant(rng: &mut ChaCha8Rng) -> Requant {
    let m = rng.random_range(1 << 16..1 << 17);
    let m_neg = match rng.random_range(0..4) {
        0 => m,
        1 => 0,
        2 => (f64::from(m) * 0.1).round() as i32,
        _ => rng.random_range(-(1 << 17) + 1..1 << 17),
    };
    Requant::new(m, m_neg, rng.random_range(18..40))
}

pub(crate) fn weights(rng: &mut ChaCha8Rng, count: usize) -> Vec<i8> {
    (0..count).map(|_| rng.random_range(-127..=127)).collect()
}

/// Requantisation in 128 bits: rounds `acc · M / 2^s` half up by Euclidean division.
pub(crate) fn requantise(acc: i64, requant: Requant) -> i128 {
    let m = if acc >= 0 { requant.m_pos() } else { requant.m_neg() };
    let unit = 1i128 << requant.shift();
    (i128::from(acc) * i128::from(m) + unit / 2).div_euclid(unit)
}

/// Accumulator to code: round, zero point, clamp, table.
#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) requant: Vec<Requant>,
    pub(crate) zero: i8,
    pub(crate) lo: i8,
    pub(crate) hi: i8,
    pub(crate) table: Option<[i8; 256]>,
}

impl Finish {
    pub(crate) fn random(rng: &mut ChaCha8Rng, count: usize) -> Self {
        let requant = (0..count).map(|_| random_requant(rng)).collect();
        let table = rng.random_bool(0.3).then(|| std::array::from_fn(|_| rng.random()));
        let (lo, hi) = if rng.random_bool(0.7) { (-128, 127) } else { (rng.random_range(-128..0), 90) };
        Self { requant, zero: rng.random(), lo, hi, table }
    }

    pub(crate) fn code(&self, acc: i64, channel: usize) -> i8 {
        let y = requantise(acc, self.requant[channel]) + i128::from(self.zero);
        let q = y.clamp(i128::from(self.lo), i128::from(self.hi));
        self.table.map_or(q as i8, |table| table[(q + 128) as usize])
    }

    pub(crate) fn epilogue(&self) -> secateur_runtime::kernels::Epilogue<'_> {
        secateur_runtime::kernels::Epilogue {
            requant: &self.requant,
            lo: self.lo,
            hi: self.hi,
            table: self.table.as_ref(),
            zero_point: self.zero,
        }
    }
}

/// Input position of a window's tap.
fn tap(at: usize, stride: usize, k: usize, dilation: usize, pad: usize) -> i64 {
    (at * stride + k * dilation) as i64 - pad as i64
}

pub(crate) fn conv(
    input: &Map,
    [out_h, out_w, out_c]: [usize; 3],
    window: &Window,
    groups: usize,
    weights: &[i8],
    bias: &[i32],
    finish: &Finish,
) -> Vec<i8> {
    let in_c = input.shape[2] / groups;
    let mut out = Vec::new();
    for y in 0..out_h {
        for x in 0..out_w {
            for o in 0..out_c {
                let group = o / (out_c / groups);
                let mut acc = i64::from(bias[o]);
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        for i in 0..in_c {
                            let iy = tap(y, window.stride_h, ky, window.dilation_h, window.pad_top);
                            let ix = tap(x, window.stride_w, kx, window.dilation_w, window.pad_left);
                            let w = weights[((o * window.kernel_h + ky) * window.kernel_w + kx) * in_c + i];
                            acc += i64::from(w) * input.padded(iy, ix, group * in_c + i);
                        }
                    }
                }
                out.push(finish.code(acc, o));
            }
        }
    }
    out
}

pub(crate) fn depthwise(
    input: &Map,
    [out_h, out_w, channels]: [usize; 3],
    window: &Window,
    weights: &[i8],
    bias: &[i32],
    finish: &Finish,
) -> Vec<i8> {
    let mut out = Vec::new();
    for y in 0..out_h {
        for x in 0..out_w {
            for c in 0..channels {
                let mut acc = i64::from(bias[c]);
                for ky in 0..window.kernel_h {
                    for kx in 0..window.kernel_w {
                        let iy = tap(y, window.stride_h, ky, window.dilation_h, window.pad_top);
                        let ix = tap(x, window.stride_w, kx, window.dilation_w, window.pad_left);
                        let w = weights[(ky * window.kernel_w + kx) * channels + c];
                        acc += i64::from(w) * input.padded(iy, ix, c);
                    }
                }
                out.push(finish.code(acc, c));
            }
        }
    }
    out
}

/// Codes of the cells of a window that lie inside the image.
pub(crate) fn window_cells(input: &Map, window: &Window, y: usize, x: usize, c: usize) -> Vec<i64> {
    let [h, w, _] = input.shape;
    let mut cells = Vec::new();
    for ky in 0..window.kernel_h {
        for kx in 0..window.kernel_w {
            let iy = tap(y, window.stride_h, ky, 1, window.pad_top);
            let ix = tap(x, window.stride_w, kx, 1, window.pad_left);
            if iy >= 0 && ix >= 0 && iy < h as i64 && ix < w as i64 {
                cells.push(input.at(iy as usize, ix as usize, c));
            }
        }
    }
    cells
}
