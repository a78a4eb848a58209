//! First and second moments of the channels that a layer reads, over pictures and pixels.

/// Pixels of one picture's map that take part, spread evenly; neighbours tell nearly the same.
const PIXELS_PER_PICTURE: usize = 400;

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

    /// Moments of one picture's maps `[c][plane]`. Where both are the same tensor, `b` is `None`.
    pub(super) fn of_maps(a: &[f32], b: Option<&[f32]>, channels: usize) -> Self {
        let plane = a.len() / channels;
        let (a, pixels) = sample(a, plane);
        let b = b.map(|b| sample(b, plane).0);
        let other = b.as_deref().unwrap_or(&a);
        let square = products(other, other, channels, pixels);
        let cross = if b.is_some() { products(&a, other, channels, pixels) } else { square.clone() };
        let sums = |map: &[f32]| -> Vec<f64> {
            map.chunks_exact(pixels).map(|plane| plane.iter().map(|&v| f64::from(v)).sum()).collect()
        };
        Self { channels, count: pixels as f64, sum_a: sums(&a), sum_b: sums(other), cross, square }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        let add = |into: &mut [f64], from: &[f64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(&mut self.sum_a, &other.sum_a);
        add(&mut self.sum_b, &other.sum_b);
        add(&mut self.cross, &other.cross);
        add(&mut self.square, &other.square);
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

/// An even selection of a map's pixels, `[c][pixels]`, and their number.
fn sample(map: &[f32], plane: usize) -> (Vec<f32>, usize) {
    if plane <= PIXELS_PER_PICTURE {
        return (map.to_vec(), plane);
    }
    // Multiples of the golden section of the plane spread evenly over it, whatever its width; they
    // meet every pixel once if they share no factor with it.
    let section = (plane as f64 * 0.618_033_988_749_895) as usize;
    let golden = (section..).find(|&step| greatest_common_divisor(step, plane) == 1).unwrap_or(1);
    let at: Vec<usize> = (0..PIXELS_PER_PICTURE).map(|pixel| pixel * golden % plane).collect();
    let pixels = map.chunks_exact(plane).flat_map(|channel| at.iter().map(|&pixel| channel[pixel]));
    (pixels.collect(), PIXELS_PER_PICTURE)
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// `a · bᵀ` of two `[channels][pixels]` matrices, `[channels][channels]`.
fn products(a: &[f32], b: &[f32], channels: usize, pixels: usize) -> Vec<f64> {
    let mut out = vec![0.0f64; channels * channels];
    pulp::Arch::new().dispatch(|| products_into(a, b, pixels, &mut out));
    out
}

/// Columns that are summed at once.
const COLUMNS: usize = 4;
/// Partial sums of each.
const LANES: usize = 16;

#[inline(always)]
fn products_into(a: &[f32], b: &[f32], pixels: usize, out: &mut [f64]) {
    let channels = b.len() / pixels;
    for (a, out) in a.chunks_exact(pixels).zip(out.chunks_exact_mut(channels)) {
        for (b, out) in b.chunks(COLUMNS * pixels).zip(out.chunks_mut(COLUMNS)) {
            if out.len() == COLUMNS {
                let rows: [&[f32]; COLUMNS] = std::array::from_fn(|column| &b[column * pixels..][..pixels]);
                out.copy_from_slice(&dots(a, rows));
            } else {
                for (row, out) in b.chunks_exact(pixels).zip(out) {
                    *out = dots(a, [row])[0];
                }
            }
        }
    }
}

#[inline(always)]
fn dots<const N: usize>(a: &[f32], rows: [&[f32]; N]) -> [f64; N] {
    let mut sums = [[0.0f32; LANES]; N];
    let whole = a.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let a = &a[at..at + LANES];
        for (sum, row) in sums.iter_mut().zip(rows) {
            for ((sum, a), b) in sum.iter_mut().zip(a).zip(&row[at..at + LANES]) {
                *sum += a * b;
            }
        }
    }
    std::array::from_fn(|row| {
        let rest: f32 = a[whole..].iter().zip(&rows[row][whole..]).map(|(a, b)| a * b).sum();
        f64::from(sums[row].iter().sum::<f32>() + rest)
    })
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
    fn large_maps_are_sampled_evenly() {
        let plane = 40 * 40;
        let map: Vec<f32> = (0..plane).map(|pixel| (pixel % 40) as f32).collect();
        let (sampled, pixels) = sample(&map, plane);
        assert_eq!((sampled.len(), pixels), (400, 400));
        let mean = sampled.iter().sum::<f32>() / 400.0;
        assert!((mean - 19.5).abs() < 0.5, "{mean}");
        let columns: std::collections::BTreeSet<u32> = sampled.iter().map(|&v| v as u32).collect();
        assert_eq!(columns.len(), 40);
    }
}
