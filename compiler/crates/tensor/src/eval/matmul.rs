//! Matrix products.

use rayon::prelude::*;

use crate::tensor::{Data, Spec, Tensor};

use super::elementwise::{indices, tensor};

pub(super) fn matmul(a: &Tensor, b: &Tensor, spec: &Spec) -> Tensor {
    let (ra, rb) = (a.shape().len(), b.shape().len());
    let m = if ra > 1 { a.shape()[ra - 2] } else { 1 };
    let k = a.shape()[ra - 1];
    let n = if rb > 1 { b.shape()[rb - 1] } else { 1 };
    let outer = |shape: &[usize]| shape[..shape.len().saturating_sub(2)].to_vec();
    let (outer_a, outer_b) = (outer(a.shape()), outer(b.shape()));
    let added = usize::from(ra > 1) + usize::from(rb > 1);
    let batch = &spec.shape[..spec.rank() - added];
    let pairs = indices(&outer_a, batch).zip(indices(&outer_b, batch));
    let data = match (a.data(), b.data()) {
        (Data::F32(x), Data::F32(y)) => {
            let mut data = vec![0.0; spec.len()];
            for (chunk, (i, j)) in data.chunks_mut((m * n).max(1)).zip(pairs) {
                product(&x[i * m * k..][..m * k], &y[j * k * n..][..k * n], chunk, [m, k, n]);
            }
            Data::F32(data)
        }
        (Data::Int(x), Data::Int(y)) => {
            let mut data = vec![0i64; spec.len()];
            for (chunk, (i, j)) in data.chunks_mut((m * n).max(1)).zip(pairs) {
                for (position, sum) in chunk.iter_mut().enumerate() {
                    let (row, column) = (position / n, position % n);
                    *sum = (0..k).fold(0i64, |sum, l| {
                        let product = x[(i * m + row) * k + l].wrapping_mul(y[(j * k + l) * n + column]);
                        sum.wrapping_add(product)
                    });
                }
            }
            Data::Int(data)
        }
        _ => unreachable!("inference found one type"),
    };
    tensor(spec.clone(), data)
}

/// `c [m][n] = a [m][k] · b [k][n]`, `c` all zeros before.
///
/// Every sum runs over `k` in order. Blocks of columns keep their rows of `b` in the cache.
pub(super) fn product(a: &[f32], b: &[f32], c: &mut [f32], [m, k, n]: [usize; 3]) {
    const COLUMNS: usize = 256;
    const ROWS: usize = 4;
    debug_assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n);
    c.par_chunks_mut((ROWS * n).max(1)).enumerate().for_each(|(block, c)| {
        let rows = c.len() / n;
        let a = &a[block * ROWS * k..][..rows * k];
        for start in (0..n).step_by(COLUMNS) {
            let end = (start + COLUMNS).min(n);
            for l in 0..k {
                let b = &b[l * n + start..l * n + end];
                for row in 0..rows {
                    let factor = a[row * k + l];
                    let c = &mut c[row * n + start..row * n + end];
                    c.iter_mut().zip(b).for_each(|(c, b)| *c += factor * b);
                }
            }
        }
    });
}
