//! First and second moments of the channels that a layer reads, over images and pixels.

use pulp::{Simd, WithSimd};

/// Pixels of one image's feature map that take part, spread evenly; neighbours are nearly the same.
const PIXELS_PER_IMAGE: usize = 400;

/// Relative error of a sum of [`PIXELS_PER_IMAGE`] products in f32, half an ulp each.
const ROUNDING: f64 = PIXELS_PER_IMAGE as f64 * (f32::EPSILON / 2.0) as f64;

/// Sums over `count` pixels of `a`, `b` and `a · bᵀ`: `a` a layer's channels in the original
/// network, `b` the same layer's channels in the changed one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    pub(super) channels: usize,
    pub(super) count: f64,
    pub(super) sum_a: Vec<f64>,
    pub(super) sum_b: Vec<f64>,
    /// `[a][b]`
    pub(super) cross: Vec<f64>,
    /// `[b][b]`
    pub(super) square: Vec<f64>,
}

impl Moments {
    pub(super) fn zero(channels: usize) -> Self {
        Self {
            channels,
            count: 0.0,
            sum_a: vec![0.0; channels],
            sum_b: vec![0.0; channels],
            cross: vec![0.0; channels * channels],
            square: vec![0.0; channels * channels],
        }
    }

    /// Moments of one image's feature maps `[c][plane]`. Where both are the same tensor, `b` is `None`.
    pub(super) fn of_maps(a: &[f32], b: Option<&[f32]>, channels: usize) -> Self {
        let a = Sample::new(a, channels);
        let b = b.map(|b| Sample::new(b, channels));
        let other = b.as_ref().unwrap_or(&a);
        let square = products(other, None);
        let cross = if b.is_some() { products(&a, Some(other)) } else { square.clone() };
        let count = a.pixels() as f64;
        Self { channels, count, sum_a: a.sums(), sum_b: other.sums(), cross, square }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        let add = |into: &mut [f64], from: &[f64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut self.sum_a, &other.sum_a);
        add(&mut self.sum_b, &other.sum_b);
        add(&mut self.cross, &other.cross);
        add(&mut self.square, &other.square);
    }

    /// Returns whether any channel of `b` differs between pixels by more than the rounding of the sums.
    pub(super) fn vary(&self) -> bool {
        let sum = |centred| (0..self.channels).map(|c| self.square(c, c, centred)).sum::<f64>();
        sum(true) > ROUNDING * sum(false)
    }

    /// `Σ a_i b_j` about the means if `centred`.
    pub(super) fn cross(&self, i: usize, j: usize, centred: bool) -> f64 {
        let mean = if centred { self.sum_a[i] * self.sum_b[j] / self.count } else { 0.0 };
        self.cross[i * self.channels + j] - mean
    }

    /// `Σ b_i b_j` about the means if `centred`.
    pub(super) fn square(&self, i: usize, j: usize, centred: bool) -> f64 {
        let mean = if centred { self.sum_b[i] * self.sum_b[j] / self.count } else { 0.0 };
        self.square[i * self.channels + j] - mean
    }
}

/// An even selection of a feature map's pixels.
struct Sample {
    channels: usize,
    /// Floats of a pixel: `channels` and zeros.
    stride: usize,
    /// `[pixel][stride]`
    data: Vec<f32>,
}

impl Sample {
    /// Of a feature map `[c][plane]`.
    fn new(map: &[f32], channels: usize) -> Self {
        let plane = map.len() / channels;
        let stride = channels.next_multiple_of(STRIDE);
        let pixels = plane.min(PIXELS_PER_IMAGE);
        let step = if plane > pixels { golden_step(plane) } else { 1 };
        let mut data = vec![0.0; pixels * stride];
        for (channel, map) in map.chunks_exact(plane).enumerate() {
            let into = data[channel..].iter_mut().step_by(stride);
            into.enumerate().for_each(|(pixel, value)| *value = map[pixel * step % plane]);
        }
        Self { channels, stride, data }
    }

    fn pixels(&self) -> usize {
        self.data.len() / self.stride
    }

    fn sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels];
        for pixel in self.data.chunks_exact(self.stride) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sums
    }
}

/// Multiples of the golden section of a plane spread evenly over it, whatever its width; they meet
/// every pixel once if they share no factor with it.
fn golden_step(plane: usize) -> usize {
    let section = (plane as f64 * 0.618_033_988_749_895) as usize;
    (section..).find(|&step| greatest_common_divisor(step, plane) == 1).unwrap_or(1)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Rows and vectors of columns of the product that are summed at once.
const ROWS: usize = 4;
const VECTORS: usize = 2;
/// Rows of a sampled feature map are padded to this many channels: [`VECTORS`] of the widest vectors.
const STRIDE: usize = 32;

/// `aᵀ · b` of two sampled feature maps. Every element is summed in the order of the pixels, so the result
/// does not depend on the machine's vectors.
struct Products<'a> {
    a: &'a Sample,
    b: &'a Sample,
    /// `a` is `b`: only columns from the row's own block on are computed.
    symmetric: bool,
    /// `[a.stride][b.stride]`
    out: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (stride, block) = (self.b.stride, VECTORS * S::F32_LANES);
        for row in (0..self.a.channels).step_by(ROWS) {
            let first = if self.symmetric { row / block * block } else { 0 };
            for column in (first..self.b.channels).step_by(block) {
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                let pixels = self.a.data.chunks_exact(stride).zip(self.b.data.chunks_exact(stride));
                for (a, b) in pixels {
                    let a = &a[row..row + ROWS];
                    let b = &S::as_simd_f32s(&b[column..column + block]).0[..VECTORS];
                    for (sums, &a) in sums.iter_mut().zip(a) {
                        let a = simd.splat_f32s(a);
                        for (sum, &b) in sums.iter_mut().zip(b) {
                            *sum = simd.mul_add_f32s(a, b, *sum);
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    let out = &mut self.out[(row + r) * stride + column..][..block];
                    S::as_mut_simd_f32s(out).0.copy_from_slice(sums);
                }
            }
        }
    }
}

/// `Σ a_i b_j`, `[channels][channels]`; `b` is `a` where `None`.
fn products(a: &Sample, b: Option<&Sample>) -> Vec<f64> {
    let (channels, stride) = (a.channels, a.stride);
    let mut out = vec![0.0f32; stride * stride];
    let symmetric = b.is_none();
    pulp::Arch::new().dispatch(Products { a, b: b.unwrap_or(a), symmetric, out: &mut out });
    let at = |i: usize, j: usize| f64::from(out[i * stride + j]);
    (0..channels * channels)
        .map(|k| (k / channels, k % channels))
        .map(|(i, j)| if symmetric && j < i { at(j, i) } else { at(i, j) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_small_map() {
        // Two channels, three pixels.
        let a = [1.0, 2.0, 3.0, 0.0, 1.0, 0.0];
        let b = [2.0, 2.0, 2.0, 1.0, 0.0, 1.0];
        let m = Moments::of_maps(&a, Some(&b), 2);
        assert_eq!((m.count, &m.sum_a[..], &m.sum_b[..]), (3.0, &[6.0, 1.0][..], &[6.0, 2.0][..]));
        assert_eq!(m.cross, [12.0, 4.0, 2.0, 0.0]);
        assert_eq!(m.square, [12.0, 4.0, 4.0, 2.0]);
        assert_eq!(m.cross(0, 1, true), 0.0);
        let same = Moments::of_maps(&a, None, 2);
        assert_eq!(same.cross, same.square);
        assert_eq!(same.cross, [14.0, 2.0, 2.0, 1.0]);
    }

    #[test]
    fn constant_channels_do_not_vary() {
        let constant: Vec<f32> = [0.1, -3.3, 1e-3].iter().flat_map(|&value| vec![value; 900]).collect();
        assert!(!Moments::of_maps(&constant, None, 3).vary());
        assert!(!Moments::of_maps(&vec![0.0; 300], None, 3).vary());
        let mut varied = constant;
        varied[..900].iter_mut().enumerate().for_each(|(i, value)| *value += (i % 7) as f32 / 10.0);
        assert!(Moments::of_maps(&varied, None, 3).vary());
    }

    #[test]
    fn large_maps_are_sampled_evenly() {
        let plane = 40 * 40;
        let map: Vec<f32> = (0..plane).map(|pixel| (pixel % 40) as f32).collect();
        let sampled = Sample::new(&map, 1);
        assert_eq!(sampled.pixels(), PIXELS_PER_IMAGE);
        let values = sampled.data.chunks_exact(sampled.stride).map(|pixel| pixel[0]);
        let mean = sampled.sums()[0] / PIXELS_PER_IMAGE as f64;
        assert!((mean - 19.5).abs() < 0.5, "{mean}");
        let columns: std::collections::BTreeSet<u32> = values.map(|v| v as u32).collect();
        assert_eq!(columns.len(), 40);
    }

    /// Against plain sums in f64, over all blocks of rows, columns and mirrored ones.
    #[test]
    fn products_are_those_of_plain_sums() {
        for channels in [1, 3, 4, 31, 32, 33, 70] {
            let map = |seed: usize| -> Vec<f32> {
                (0..channels * 50).map(|i| ((i * 7919 + seed) % 101) as f32 / 50.0 - 1.0).collect()
            };
            let (a, b) = (map(1), map(5));
            let m = Moments::of_maps(&a, Some(&b), channels);
            let plain = |x: &[f32], y: &[f32], i: usize, j: usize| -> f64 {
                (0..50).map(|p| f64::from(x[i * 50 + p]) * f64::from(y[j * 50 + p])).sum()
            };
            for i in 0..channels {
                for j in 0..channels {
                    assert!((m.cross[i * channels + j] - plain(&a, &b, i, j)).abs() < 1e-4);
                    assert!((m.square[i * channels + j] - plain(&b, &b, i, j)).abs() < 1e-4);
                }
            }
        }
    }
}
