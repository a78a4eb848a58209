//! Confidence of an accuracy on these images: resampling of images.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::map::{Ranking, average_precision, rank};
use super::{Detection, MapOptions};
use secateur_data::Truth;

/// Resamplings; the ends of a 95 % interval then move by a few per cent of its width.
const REPLICATES: usize = 1000;

/// A 95 % percentile interval over resampled images, less the resampling's own bias (Efron and
/// Tibshirani 1993, chapters 10 and 13).
///
/// mAP has such a bias: a resampling that holds the only image of a class mostly holds it more
/// often than it holds other images' false positives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// Standard deviation over the resamplings.
    pub deviation: f64,
}

/// Interval of a mean average precision over all `classes`, given by the same arguments as
/// [`super::mean_ap`].
///
/// In a resampling that misses all truths of a class, that class stands at the mean of the others
/// that have truth, so that the interval is not drawn towards 0.
pub fn bootstrap_map(
    detections: &[Vec<Detection>],
    truths: &[Vec<Truth>],
    classes: usize,
    options: MapOptions,
    seed: u64,
) -> Interval {
    let ranking = rank(detections, truths, classes, options.iou_thresh);
    resample(truths.len(), seed, |times| resampled_map(&ranking, times, options.points))
}

/// Interval of the difference `mAP(changed) − mAP(original)` on the same images.
pub fn bootstrap_paired_map(
    original: &[Vec<Detection>],
    changed: &[Vec<Detection>],
    truths: &[Vec<Truth>],
    classes: usize,
    options: MapOptions,
    seed: u64,
) -> Interval {
    let original = rank(original, truths, classes, options.iou_thresh);
    let changed = rank(changed, truths, classes, options.iou_thresh);
    resample(truths.len(), seed, |times| {
        resampled_map(&changed, times, options.points) - resampled_map(&original, times, options.points)
    })
}

/// Interval of a mean of per-image sums: `Σ sum / Σ count`. For a paired difference of means pass
/// the differences.
pub fn bootstrap_mean(sums: &[(f64, f64)], seed: u64) -> Interval {
    resample(sums.len(), seed, |times| {
        let (sum, count) = sums.iter().zip(times).fold((0.0, 0.0), |(sum, count), (&(s, c), &times)| {
            (sum + s * times as f64, count + c * times as f64)
        });
        if count > 0.0 { sum / count } else { 0.0 }
    })
}

/// Draws how often each image counts and evaluates every draw; the same for equal seeds.
fn resample(images: usize, seed: u64, value: impl Fn(&[usize]) -> f64 + Sync) -> Interval {
    let mut values: Vec<f64> = (0..REPLICATES)
        .into_par_iter()
        .map(|replicate| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(replicate as u64);
            let mut times = vec![0; images];
            for _ in 0..images {
                times[random.random_range(0..images)] += 1;
            }
            value(&times)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (values.len() - 1) as f64;
    let bias = mean - value(&vec![1; images]);
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize] - bias;
    Interval { low: at(0.025), high: at(0.975), deviation: variance.sqrt() }
}

/// mAP where image `i` counts `times[i]` times, on the scale of a mean over all classes.
fn resampled_map(ranking: &Ranking, times: &[usize], points: usize) -> f64 {
    let (mut sum, mut drawn, mut present) = (0.0, 0_usize, 0_usize);
    for (ranked, truths) in ranking.ranked.iter().zip(&ranking.truths) {
        present += usize::from(!truths.is_empty());
        let truths: usize = truths.iter().map(|&(image, count)| count * times[image]).sum();
        if truths > 0 {
            sum += average_precision(ranked.iter().map(|r| (r.right, times[r.image])), truths, points);
            drawn += 1;
        }
    }
    if drawn == 0 { 0.0 } else { sum / drawn as f64 * present as f64 / ranking.ranked.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_has_the_textbook_interval() {
        let values: Vec<(f64, f64)> = (0..400).map(|i| (f64::from(i % 2), 1.0)).collect();
        let interval = bootstrap_mean(&values, 7);
        // Standard error of a fair coin thrown 400 times: 0.5 / 20.
        assert!((interval.deviation - 0.025).abs() < 0.003, "{interval:?}");
        assert!((interval.low - 0.451).abs() < 0.01 && (interval.high - 0.549).abs() < 0.01, "{interval:?}");
        assert_eq!(interval, bootstrap_mean(&values, 7), "equal seeds, equal intervals");
        assert_ne!(interval, bootstrap_mean(&values, 8));
    }
}
