//! Histograms of activations and the ranges chosen from them.

use secateur_base::{Error, Result};

/// Bins of a histogram over a tensor's whole range.
pub(crate) const BINS: usize = 8192;

/// Levels of an 8-bit integer less one.
const STEPS: f64 = 255.0;

/// Rule by which a tensor's range is chosen from its histogram.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum RangeRule {
    /// Least sum of rounding noise and clipped energy.
    Mse,
    /// Everything that was seen.
    MinMax,
    /// All but this percentage of the values, half of it off either end.
    Percentile(f64),
}

impl std::fmt::Display for RangeRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RangeRule::Mse => write!(f, "mse"),
            RangeRule::MinMax => write!(f, "minmax"),
            RangeRule::Percentile(p) => write!(f, "percentile:{p}"),
        }
    }
}

impl std::str::FromStr for RangeRule {
    type Err = Error;

    /// `mse`, `minmax` or `min-max`, `percentile` (99.99) or `percentile:99.9`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::new("unknown rule for ranges")
                .found(text.to_owned())
                .allowed("mse, minmax, percentile, percentile:P with P above 50 and at most 100")
        };
        match text {
            "mse" => Ok(RangeRule::Mse),
            "minmax" | "min-max" => Ok(RangeRule::MinMax),
            "percentile" => Ok(RangeRule::Percentile(99.99)),
            _ => {
                let percent = text.strip_prefix("percentile:").ok_or_else(unknown)?;
                let percent: f64 = percent.parse().map_err(|_| unknown())?;
                if percent > 50.0 && percent <= 100.0 {
                    Ok(RangeRule::Percentile(percent))
                } else {
                    Err(unknown())
                }
            }
        }
    }
}

/// Counts of a tensor's values over `[low, high]`, exact zeros apart (they cost no rounding noise).
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    low: f64,
    high: f64,
    counts: Vec<u64>,
    zeros: u64,
}

impl Histogram {
    /// An empty histogram over `[low, high]`, widened to hold zero.
    pub(crate) fn new(low: f32, high: f32) -> Self {
        Self { low: f64::from(low.min(0.0)), high: f64::from(high.max(0.0)), counts: vec![0; BINS], zeros: 0 }
    }

    /// Counts `sign · values`; values outside the range are counted in the outermost bins.
    pub(crate) fn add(&mut self, values: &[f32], sign: f32) {
        let per_unit = if self.high > self.low { (BINS as f64 / (self.high - self.low)) as f32 } else { 0.0 };
        let low = self.low as f32;
        for &v in values {
            if v == 0.0 {
                self.zeros += 1;
            } else {
                // A float cast saturates, and NaN goes to the first bin.
                let bin = ((sign * v - low) * per_unit) as usize;
                self.counts[bin.min(BINS - 1)] += 1;
            }
        }
    }

    /// Adds the counts of a histogram over the same range.
    pub(crate) fn merge(&mut self, other: &Self) {
        debug_assert_eq!((self.low, self.high), (other.low, other.high));
        self.zeros += other.zeros;
        for (a, b) in self.counts.iter_mut().zip(&other.counts) {
            *a += b;
        }
    }

    /// One histogram over the union of the ranges; every bin's count goes to where its centre falls.
    pub(crate) fn pool(histograms: &[&Self]) -> Self {
        let low = histograms.iter().fold(0.0, |m: f64, h| m.min(h.low));
        let high = histograms.iter().fold(0.0, |m: f64, h| m.max(h.high));
        let mut pooled = Self { low, high, counts: vec![0; BINS], zeros: 0 };
        let per_unit = if high > low { BINS as f64 / (high - low) } else { 0.0 };
        for h in histograms {
            pooled.zeros += h.zeros;
            for (i, &count) in h.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let bin = ((h.centre(i) - low) * per_unit) as usize;
                pooled.counts[bin.min(BINS - 1)] += count;
            }
        }
        pooled
    }

    fn centre(&self, bin: usize) -> f64 {
        self.low + (self.high - self.low) * (bin as f64 + 0.5) / BINS as f64
    }

    /// The range that `rule` chooses; it always holds zero.
    pub(crate) fn range(&self, rule: RangeRule) -> (f64, f64) {
        match rule {
            RangeRule::MinMax => (self.low, self.high),
            RangeRule::Percentile(percent) => self.percentile(percent),
            RangeRule::Mse => self.least_squares(),
        }
    }

    /// Mean squared error of quantising to 8 bits over `[low, high]`: rounding and clipping.
    pub(crate) fn noise(&self, low: f64, high: f64) -> f64 {
        let moments = BinMoments::new(self);
        moments.cost(low, high) / (moments.total() + self.zeros as f64).max(1.0)
    }

    fn percentile(&self, percent: f64) -> (f64, f64) {
        let total: u64 = self.counts.iter().sum::<u64>() + self.zeros;
        let outside = ((1.0 - percent / 100.0) * 0.5 * total as f64) as u64;
        let edge = |mut bins: Box<dyn Iterator<Item = usize>>| {
            let mut passed = 0;
            bins.find(|&i| {
                passed += self.counts[i];
                passed > outside
            })
        };
        let low = edge(Box::new(0..BINS)).map_or(0.0, |i| self.centre(i));
        let high = edge(Box::new((0..BINS).rev())).map_or(0.0, |i| self.centre(i));
        (low.min(0.0), high.max(0.0))
    }

    /// Alternates between the two ends, each searched over all bins, until neither moves.
    fn least_squares(&self) -> (f64, f64) {
        let moments = BinMoments::new(self);
        let (mut low, mut high) = (self.low, self.high);
        let width = (self.high - self.low) / BINS as f64;
        loop {
            let before = (low, high);
            let ends = (0..BINS).map(|i| self.low + width * (i + 1) as f64).filter(|&end| end >= 0.0);
            high = least(ends, high, |end| moments.cost(low, end));
            let ends = (0..BINS).map(|i| self.low + width * i as f64).filter(|&end| end <= 0.0);
            low = least(ends, low, |end| moments.cost(end, high));
            if (low, high) == before {
                return (low.min(0.0), high.max(0.0));
            }
        }
    }
}

/// The candidate of strictly lowest cost, or `current` where none beats it.
fn least(candidates: impl Iterator<Item = f64>, current: f64, cost: impl Fn(f64) -> f64) -> f64 {
    let mut best = (cost(current), current);
    for candidate in candidates {
        let cost = cost(candidate);
        if cost < best.0 {
            best = (cost, candidate);
        }
    }
    best.1
}

/// Running sums of 1, x and x² over the bins, so that clipped energy takes constant time.
struct BinMoments {
    low: f64,
    per_unit: f64,
    /// `[BINS + 1][3]`, sums over the bins before.
    sums: Vec<[f64; 3]>,
}

impl BinMoments {
    fn new(histogram: &Histogram) -> Self {
        let mut sums = Vec::with_capacity(BINS + 1);
        let mut sum = [0.0; 3];
        sums.push(sum);
        for (i, &count) in histogram.counts.iter().enumerate() {
            let (n, x) = (count as f64, histogram.centre(i));
            sum = [sum[0] + n, sum[1] + n * x, sum[2] + n * x * x];
            sums.push(sum);
        }
        let span = histogram.high - histogram.low;
        let per_unit = if span > 0.0 { BINS as f64 / span } else { 0.0 };
        Self { low: histogram.low, per_unit, sums }
    }

    fn total(&self) -> f64 {
        self.sums[BINS][0]
    }

    fn cost(&self, low: f64, high: f64) -> f64 {
        let edge = |x: f64| (((x - self.low) * self.per_unit).round().max(0.0) as usize).min(BINS);
        let (below, above) = (self.sums[edge(low)], self.sums[edge(high)]);
        let all = self.sums[BINS];
        let clipped = |n: f64, x: f64, xx: f64, end: f64| (xx - 2.0 * end * x + end * end * n).max(0.0);
        let clipped = clipped(below[0], below[1], below[2], low)
            + clipped(all[0] - above[0], all[1] - above[1], all[2] - above[2], high);
        let step = (high - low) / STEPS;
        (above[0] - below[0]).max(0.0) * step * step / 12.0 + clipped
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn normal(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    fn histogram(values: &[f32]) -> Histogram {
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let mut h = Histogram::new(low, high);
        h.add(values, 1.0);
        h
    }

    /// Mean squared error of really quantising the values.
    fn measured(values: &[f32], (low, high): (f64, f64)) -> f64 {
        let step = (high - low) / STEPS;
        let errors = values.iter().map(|&v| {
            let v = f64::from(v);
            let q = ((v - low) / step).round().clamp(0.0, STEPS);
            (q * step + low - v).powi(2)
        });
        errors.sum::<f64>() / values.len() as f64
    }

    #[test]
    fn mse_range_beats_the_other_rules_on_a_tail() {
        let mut values = normal(500_000, 1);
        values[0] = 15.0;
        let h = histogram(&values);
        let mse = h.range(RangeRule::Mse);
        let mean_error = measured(&values, mse);
        assert!(mean_error < 0.8 * measured(&values, h.range(RangeRule::MinMax)));
        assert!(mean_error < 0.8 * measured(&values, h.range(RangeRule::Percentile(99.0))));
        // No neighbour within a tenth is better by more than the histogram's resolution.
        for (a, b) in [(0.9, 1.0), (1.1, 1.0), (1.0, 0.9), (1.0, 1.1)] {
            assert!(mean_error <= measured(&values, (mse.0 * a, mse.1 * b)) * 1.01);
        }
    }

    #[test]
    fn estimated_noise_is_the_measured_one() {
        let values = normal(100_000, 2);
        let h = histogram(&values);
        for range in [h.range(RangeRule::Mse), h.range(RangeRule::MinMax), (-1.0, 2.0)] {
            let (estimate, truth) = (h.noise(range.0, range.1), measured(&values, range));
            assert!((estimate / truth - 1.0).abs() < 0.05, "{range:?}: {estimate} against {truth}");
        }
    }

    #[test]
    fn percentile_leaves_out_what_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f32> = (0..100_000).map(|_| rng.random_range(-1.0..3.0)).collect();
        let (low, high) = histogram(&values).range(RangeRule::Percentile(90.0));
        assert!((low + 0.8).abs() < 0.02 && (high - 2.8).abs() < 0.02, "{low} {high}");
    }

    #[test]
    fn pooled_histogram_equals_the_one_of_all_values() {
        let (a, b): (Vec<f32>, Vec<f32>) =
            (normal(50_000, 4), normal(50_000, 5).iter().map(|v| v * 3.0).collect());
        let pooled = Histogram::pool(&[&histogram(&a), &histogram(&b)]);
        let all = histogram(&[a, b].concat());
        let (p, q) = (pooled.range(RangeRule::Mse), all.range(RangeRule::Mse));
        assert!((p.0 - q.0).abs() < 0.1 && (p.1 - q.1).abs() < 0.1, "{p:?} {q:?}");
    }

    #[test]
    fn constant_zero_and_one_sided_tensors_have_a_range() {
        assert_eq!(histogram(&[0.0; 10]).range(RangeRule::Mse), (0.0, 0.0));
        let (low, high) = histogram(&[2.0, 3.0, 4.0]).range(RangeRule::Mse);
        assert!(low == 0.0 && (high - 4.0).abs() < 0.01);
        let (low, high) = histogram(&[-2.0, -0.5]).range(RangeRule::Mse);
        assert!((low + 2.0).abs() < 0.01 && high == 0.0);
    }

    #[test]
    fn rules_are_read_and_printed() {
        for text in ["mse", "minmax", "percentile:99.9"] {
            assert_eq!(text.parse::<RangeRule>().unwrap().to_string(), text);
        }
        assert_eq!("percentile".parse::<RangeRule>().unwrap(), RangeRule::Percentile(99.99));
        assert_eq!("min-max".parse::<RangeRule>().unwrap(), RangeRule::MinMax);
        for text in ["", "best", "percentile:50", "percentile:101", "percentile:x", "percentile:NaN"] {
            assert!(text.parse::<RangeRule>().is_err(), "{text}");
        }
    }
}
