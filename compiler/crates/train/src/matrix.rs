//! The two inner loops of training: a matrix product, and the correlation that gives the gradient of weights.
//!
//! The right-hand side is never copied into a matrix: its row `j` is the numbers from `offsets[j]` on, so that a
//! convolution reads shifted planes (as the float evaluator's dense kernel does). In `f32` both loops keep 24 vectors of
//! sums in registers; `plain` is the same in two or three lines, for `f64`.

#![allow(clippy::needless_range_loop, reason = "tiles of registers are indexed in step with each other")]

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::scalar::Scalar;

/// Rows of a panel of the left-hand side.
pub(crate) const PANEL: usize = 8;
/// Columns that the product computes at a time. A right-hand side must be readable this far beyond its last column.
pub(crate) const BLOCK: usize = 48;
/// Columns of a correlation come in multiples of this: the longest vector.
pub(crate) const LANES: usize = 16;

/// Partial sums of a weight gradient, each over its share of the strips.
pub(crate) const PARTS: usize = 16;
/// Most numbers in all partial sums of a layer together.
const MAX_PARTIAL: usize = 1 << 21;

/// How many partial sums a gradient of `len` numbers over `strips` strips has: a function of the shape alone, so that
/// they add up to the same on any number of threads.
pub(crate) fn parts(strips: usize, len: usize) -> usize {
    PARTS.min(strips).min((MAX_PARTIAL / len).max(1))
}

/// Columns of panels that are packed in one task at least.
const MIN_PACKED: usize = 1 << 11;

/// A left-hand side, `[panel][depth][PANEL]`; missing rows are zero.
#[derive(Debug, Clone, Default)]
pub struct Packed<T> {
    panels: Vec<T>,
    rows: usize,
    depth: usize,
}

impl<T: Scalar> Packed<T> {
    /// Packs the matrix of `rows × depth` numbers `at(row, column)`.
    pub fn new(rows: usize, depth: usize, at: impl Fn(usize, usize) -> T + Sync) -> Self {
        let mut panels = vec![T::ZERO; rows.div_ceil(PANEL) * depth * PANEL];
        let pack = |(panel, numbers): (usize, &mut [T])| {
            let first = panel * PANEL;
            for (column, numbers) in numbers.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                for row in first..rows.min(first + PANEL) {
                    numbers[row - first] = at(row, column);
                }
            }
        };
        // Small ones are packed sooner than shared out.
        let of_panels = panels.par_chunks_mut((depth * PANEL).max(1)).enumerate();
        of_panels.with_min_len(MIN_PACKED.div_ceil(depth.max(1))).for_each(pack);
        Self { panels, rows, depth }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// A row of results, to be written or added to.
#[derive(Debug)]
pub struct Target<'a, T> {
    pub row: &'a mut [T],
    pub add: bool,
}

impl<T: Scalar> Target<'_, T> {
    /// Writes or adds the numbers at `at`.
    #[inline(always)]
    pub fn put(&mut self, at: usize, values: &[T]) {
        let row = &mut self.row[at..][..values.len()];
        if self.add {
            row.iter_mut().zip(values).for_each(|(sum, &value)| *sum += value);
        } else {
            row.copy_from_slice(values);
        }
    }
}

/// Rows that are written.
pub(crate) fn written<'a, T>(rows: impl IntoIterator<Item = &'a mut [T]>) -> Vec<Option<Target<'a, T>>> {
    rows.into_iter().map(|row| Some(Target { row, add: false })).collect()
}

/// `out[r][c] = Σ_j left[r][j] · right[offsets[j] + c]` for the columns `c` of `out`.
pub struct Product<'a, 'o, T> {
    pub left: &'a Packed<T>,
    pub right: &'a [T],
    /// As many as the left-hand side is deep.
    pub offsets: &'a [usize],
    /// Columns of the result.
    pub columns: usize,
    /// As many rows as the left-hand side has; `None`: nobody needs this one.
    pub out: &'a mut [Option<Target<'o, T>>],
}

impl<T: Scalar> Product<'_, '_, T> {
    pub(crate) fn plain(self) {
        self.check();
        let mut sums = vec![T::ZERO; self.columns];
        for (r, target) in self.out.iter_mut().enumerate() {
            let Some(target) = target else { continue };
            sums.fill(T::ZERO);
            let panel = &self.left.panels[r / PANEL * self.left.depth * PANEL..];
            for (j, &offset) in self.offsets.iter().enumerate() {
                let weight = panel[j * PANEL + r % PANEL];
                for (sum, &value) in sums.iter_mut().zip(&self.right[offset..]) {
                    *sum += weight * value;
                }
            }
            target.put(0, &sums);
        }
    }

    fn check(&self) {
        assert_eq!(
            self.offsets.len(),
            self.left.depth,
            "a row of the right-hand side for each column of the left"
        );
        assert_eq!(self.out.len(), self.left.rows, "a row of the result for each of the left-hand side");
    }
}

impl WithSimd for Product<'_, '_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        self.check();
        for at in (0..self.columns).step_by(BLOCK) {
            for first in (0..self.left.rows).step_by(PANEL) {
                let rows = PANEL.min(self.left.rows - first);
                // 32 registers hold 8 rows of three vectors, 16 hold 4; fewer rows or columns cost less.
                match (S::F32_LANES == LANES, rows, (self.columns - at).div_ceil(LANES)) {
                    (true, 1, 3..) => self.tile::<S, 1, 3>(simd, first, at),
                    (true, 2..=4, 3..) => self.tile::<S, 4, 3>(simd, first, at),
                    (true, _, 3..) => self.tile::<S, 8, 3>(simd, first, at),
                    (true, _, 2) => self.tile::<S, 8, 2>(simd, first, at),
                    (true, _, _) => self.tile::<S, 8, 1>(simd, first, at),
                    (false, ..) => self.narrow_tiles(simd, first, at),
                }
            }
        }
    }
}

impl Product<'_, '_, f32> {
    /// A whole tile of `PANEL` rows and `BLOCK` columns, on a processor with shorter vectors.
    #[inline(always)]
    fn narrow_tiles<S: Simd>(&mut self, simd: S, first: usize, at: usize) {
        let end = self.columns.min(at + BLOCK);
        for at in (at..end).step_by(3 * S::F32_LANES) {
            for row in (first..self.left.rows.min(first + PANEL)).step_by(4) {
                if row + 1 == self.left.rows {
                    self.tile::<S, 1, 3>(simd, row, at);
                } else {
                    self.tile::<S, 4, 3>(simd, row, at);
                }
            }
        }
    }

    /// `R` rows from `row` on by `V` vectors from column `at` on, as far as there are such rows and columns.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize, at: usize) {
        let depth = self.left.depth;
        let panel = &self.left.panels[row / PANEL * depth * PANEL..][..depth * PANEL];
        let right = &self.right[at..];
        let mut acc = [[simd.splat_f32s(0.0); V]; R];
        for (weights, &offset) in panel.as_chunks::<PANEL>().0.iter().zip(self.offsets) {
            let values = S::as_simd_f32s(&right[offset..][..V * S::F32_LANES]).0;
            let values: [S::f32s; V] = std::array::from_fn(|v| values[v]);
            for r in 0..R {
                let weight = simd.splat_f32s(weights[row % PANEL + r]);
                for v in 0..V {
                    acc[r][v] = simd.mul_add_f32s(weight, values[v], acc[r][v]);
                }
            }
        }
        for (target, acc) in self.out[row..].iter_mut().zip(acc) {
            let Some(target) = target else { continue };
            if let Some(part) = target.row.get_mut(at..at + V * S::F32_LANES) {
                let part = S::as_mut_simd_f32s(part).0;
                for v in 0..V {
                    part[v] = if target.add { simd.add_f32s(part[v], acc[v]) } else { acc[v] };
                }
            } else {
                let mut sums = [0.0; BLOCK];
                S::as_mut_simd_f32s(&mut sums[..V * S::F32_LANES]).0.copy_from_slice(&acc);
                let width = target.row.len() - at;
                target.put(at, &sums[..width]);
            }
        }
    }
}

/// `sums[m][j] += Σ_c left[m · pitch + c] · right[offsets[j] + c]` over `columns` columns.
pub struct Correlation<'a, T> {
    pub left: &'a [T],
    pub pitch: usize,
    pub right: &'a [T],
    pub offsets: &'a [usize],
    /// A multiple of [`LANES`]: what the left-hand side has too much is zero, and the right-hand side finite there.
    pub columns: usize,
    /// `[rows][offsets]`
    pub sums: &'a mut [T],
}

impl<T: Scalar> Correlation<'_, T> {
    pub(crate) fn plain(self) {
        for (m, sums) in self.sums.chunks_exact_mut(self.offsets.len()).enumerate() {
            let left = &self.left[m * self.pitch..][..self.columns];
            for (sum, &offset) in sums.iter_mut().zip(self.offsets) {
                *sum += left.iter().zip(&self.right[offset..]).map(|(&a, &b)| a * b).sum();
            }
        }
    }
}

impl WithSimd for Correlation<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        assert!(self.columns.is_multiple_of(LANES));
        if S::F32_LANES == LANES {
            self.tiles::<S, 4, 6>(simd);
        } else {
            self.tiles::<S, 2, 4>(simd);
        }
    }
}

impl Correlation<'_, f32> {
    /// Tiles of `M` rows by `N` offsets, and smaller ones at the ends.
    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(&mut self, simd: S) {
        let (rows, width) = (self.sums.len() / self.offsets.len(), self.offsets.len());
        let mut m = 0;
        while m < rows {
            let whole_rows = rows - m >= M;
            let mut j = 0;
            while j < width {
                let whole = width - j >= N;
                match (whole_rows, whole) {
                    (true, true) => self.dots::<S, M, N>(simd, m, j),
                    (true, false) => self.dots::<S, M, 1>(simd, m, j),
                    (false, true) => self.dots::<S, 1, N>(simd, m, j),
                    (false, false) => self.dots::<S, 1, 1>(simd, m, j),
                }
                j += if whole { N } else { 1 };
            }
            m += if whole_rows { M } else { 1 };
        }
    }

    #[inline(always)]
    fn dots<S: Simd, const M: usize, const N: usize>(&mut self, simd: S, m: usize, j: usize) {
        let columns = self.columns;
        let mut acc = [[simd.splat_f32s(0.0); N]; M];
        let mut left: [&[S::f32s]; M] = [&[]; M];
        for (r, left) in left.iter_mut().enumerate() {
            *left = S::as_simd_f32s(&self.left[(m + r) * self.pitch..][..columns]).0;
        }
        let mut right: [&[S::f32s]; N] = [&[]; N];
        for (i, right) in right.iter_mut().enumerate() {
            *right = S::as_simd_f32s(&self.right[self.offsets[j + i]..][..columns]).0;
        }
        let vectors = columns / S::F32_LANES;
        // Lengths that the compiler knows spare it the checks below.
        left.iter_mut().for_each(|row| *row = &row[..vectors]);
        right.iter_mut().for_each(|row| *row = &row[..vectors]);
        for v in 0..vectors {
            let a: [S::f32s; M] = std::array::from_fn(|r| left[r][v]);
            for i in 0..N {
                let b = right[i][v];
                for r in 0..M {
                    acc[r][i] = simd.mul_add_f32s(a[r], b, acc[r][i]);
                }
            }
        }
        for r in 0..M {
            for i in 0..N {
                self.sums[(m + r) * self.offsets.len() + j + i] += simd.reduce_sum_f32s(acc[r][i]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Both loops in f32 against `plain` in f64, at sizes with and without remainders.
    #[test]
    fn vectors_compute_what_the_plain_loops_do() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (rows, depth, columns) in [(1, 1, 1), (8, 27, 48), (13, 7, 100), (20, 31, 160), (9, 6, 17)] {
            let numbers = |rng: &mut ChaCha8Rng, len: usize| -> Vec<f32> {
                (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
            };
            let weights = numbers(&mut rng, rows * depth);
            let right = numbers(&mut rng, depth * 5 + 256);
            let offsets: Vec<usize> = (0..depth).map(|j| j * 5).collect();
            let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&v| f64::from(v)).collect() };

            let mut out = vec![0.0_f32; rows * columns];
            let left = Packed::new(rows, depth, |r, j| weights[r * depth + j]);
            let mut slices = written(out.chunks_exact_mut(columns));
            f32::product(Product {
                left: &left,
                right: &right,
                offsets: &offsets,
                columns,
                out: &mut slices,
            });
            let mut expected = vec![0.0_f64; rows * columns];
            let left = Packed::new(rows, depth, |r, j| f64::from(weights[r * depth + j]));
            let mut slices = written(expected.chunks_exact_mut(columns));
            f64::product(Product {
                left: &left,
                right: &wide(&right),
                offsets: &offsets,
                columns,
                out: &mut slices,
            });
            close(&out, &expected);

            let columns = columns.next_multiple_of(LANES);
            let gradient = numbers(&mut rng, rows * columns);
            let mut sums = numbers(&mut rng, rows * depth);
            let mut expected = wide(&sums);
            let (pitch, offsets) = (columns, &offsets[..]);
            f32::correlate(Correlation {
                left: &gradient,
                pitch,
                right: &right,
                offsets,
                columns,
                sums: &mut sums,
            });
            let (left, right) = (wide(&gradient), wide(&right));
            let sums_f64 = &mut expected;
            f64::correlate(Correlation {
                left: &left,
                pitch,
                right: &right,
                offsets,
                columns,
                sums: sums_f64,
            });
            close(&sums, &expected);
        }
    }

    fn close(found: &[f32], expected: &[f64]) {
        for (&found, &expected) in found.iter().zip(expected) {
            assert!((f64::from(found) - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }
}
