//! Symmetric positive-definite systems in f64, as large as a layer has channels.

/// Sum of products with 8 partial sums, so that it vectorises; the order is fixed.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Cholesky factor `L` of a symmetric positive-definite matrix, `L · Lᵀ = A`, both row-major `[n][n]`.
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors `matrix`; a pivot that is not positive is replaced by `floor`.
    pub(super) fn new(mut matrix: Vec<f64>, n: usize, floor: f64) -> Self {
        debug_assert_eq!(matrix.len(), n * n);
        for row in 0..n {
            let (above, from_row) = matrix.split_at_mut(row * n);
            let current = &mut from_row[..n];
            for column in 0..row {
                let other = &above[column * n..column * n + column + 1];
                current[column] =
                    (current[column] - dot(&current[..column], &other[..column])) / other[column];
            }
            let pivot = current[row] - dot(&current[..row], &current[..row]);
            current[row] = pivot.max(floor).sqrt();
            current[row + 1..].fill(0.0);
        }
        Self { n, lower: matrix }
    }

    /// Solves `A · x = b` in place.
    pub(super) fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        for row in 0..n {
            let factor = &self.lower[row * n..row * n + row + 1];
            b[row] = (b[row] - dot(&factor[..row], &b[..row])) / factor[row];
        }
        for row in (0..n).rev() {
            b[row] /= self.lower[row * n + row];
            let x = b[row];
            for (value, factor) in b[..row].iter_mut().zip(&self.lower[row * n..]) {
                *value -= factor * x;
            }
        }
    }

    /// `A⁻¹`, row-major.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let mut inverse = vec![0.0; self.n * self.n];
        for (column, x) in inverse.chunks_exact_mut(self.n.max(1)).enumerate() {
            x[column] = 1.0;
            self.solve(x);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_times_matrix_is_the_identity() {
        let n = 19;
        let noise = |i: usize, j: usize| (((i * 31 + j * 17) * 7919) % 101) as f64 / 101.0;
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = (0..n).map(|k| noise(i, k) * noise(j, k)).sum();
            }
            matrix[i * n + i] += 0.5;
        }
        let inverse = Cholesky::new(matrix.clone(), n, 0.0).inverse();
        for i in 0..n {
            for j in 0..n {
                let product = dot(&matrix[i * n..][..n], &inverse[j * n..][..n]);
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-9, "{i},{j}: {product}");
            }
        }
    }
}
