//! Mean average precision as `darknet detector map` computes it (`validate_detector_map`).

use serde::{Deserialize, Serialize};

use super::Detection;
use secateur_data::Truth;

/// The average of precision and the conditions of a true positive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MapOptions {
    /// A detection is right where its IoU with a truth of its class exceeds this.
    pub iou_thresh: f32,
    /// 0: area under the precision-recall curve; n ≥ 2: mean of n recall points (11, 101).
    pub points: usize,
    /// Threshold of the counts of true and false positives; no part of the mAP.
    pub count_thresh: f32,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { iou_thresh: 0.5, points: 0, count_thresh: 0.25 }
    }
}

/// Result of [`mean_ap`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeanAp {
    pub options: MapOptions,
    /// Mean over **all** classes; a class without truth counts 0.
    pub map: f64,
    /// Mean over the classes that have truth.
    pub map_present: f64,
    pub classes: Vec<ClassResult>,
    /// Detections and truths of all images.
    pub detections: usize,
    pub truths: usize,
    /// At `count_thresh`, as Darknet counts them.
    pub true_positives: usize,
    pub false_positives: usize,
    pub false_negatives: usize,
    /// Mean IoU at `count_thresh`; a false positive counts 0.
    pub mean_iou: f32,
}

/// One class of a [`MeanAp`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassResult {
    pub ap: f64,
    pub truths: usize,
    pub detections: usize,
    /// At `count_thresh`.
    pub true_positives: usize,
    pub false_positives: usize,
}

/// A detection reduced to what ranking needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ranked {
    pub(super) prob: f32,
    pub(super) image: usize,
    /// The first of the detections of its truth, by falling probability.
    pub(super) right: bool,
}

/// Detections of every class by falling probability, and truths per class and image.
pub(super) struct Ranking {
    /// `[class]`, each sorted.
    pub(super) ranked: Vec<Vec<Ranked>>,
    /// `[class]` → `(image, truths)` of the images that have any.
    pub(super) truths: Vec<Vec<(usize, usize)>>,
}

/// Measures detections against truths; both hold one list for each image.
pub fn mean_ap(
    detections: &[Vec<Detection>],
    truths: &[Vec<Truth>],
    classes: usize,
    options: MapOptions,
) -> MeanAp {
    assert_eq!(detections.len(), truths.len(), "one list of detections for each image");
    let ranking = rank(detections, truths, classes, options.iou_thresh);
    let mut results: Vec<ClassResult> = ranking
        .ranked
        .iter()
        .zip(&ranking.truths)
        .map(|(ranked, truths)| {
            let truths = truths.iter().map(|&(_, count)| count).sum();
            let ap = average_precision(ranked.iter().map(|r| (r.right, 1)), truths, options.points);
            ClassResult { ap, truths, detections: ranked.len(), true_positives: 0, false_positives: 0 }
        })
        .collect();
    let mean_iou = count(detections, truths, options, &mut results);
    let total = |of: fn(&ClassResult) -> usize| results.iter().map(of).sum::<usize>();
    let (truths, true_positives) = (total(|c| c.truths), total(|c| c.true_positives));
    let sum: f64 = results.iter().map(|class| class.ap).sum();
    let present = results.iter().filter(|class| class.truths > 0).count();
    MeanAp {
        options,
        map: sum / classes.max(1) as f64,
        map_present: sum / present.max(1) as f64,
        detections: total(|c| c.detections),
        truths,
        true_positives,
        false_positives: total(|c| c.false_positives),
        false_negatives: truths - true_positives,
        mean_iou,
        classes: results,
    }
}

/// The truth of the same class that a detection overlaps most, and the IoU.
fn best_truth(detection: &Detection, truths: &[Truth], iou_thresh: f32) -> Option<(usize, f32)> {
    let mut best = None;
    let mut best_iou = 0.0;
    for (index, truth) in truths.iter().enumerate() {
        if truth.class != detection.class {
            continue;
        }
        let iou = detection.bbox.iou(&truth.bbox);
        if iou > iou_thresh && iou > best_iou {
            best_iou = iou;
            best = Some((index, iou));
        }
    }
    best
}

/// Sorts the detections of every class and settles which are right.
pub(super) fn rank(
    detections: &[Vec<Detection>],
    truths: &[Vec<Truth>],
    classes: usize,
    iou_thresh: f32,
) -> Ranking {
    let mut ranking = Ranking { ranked: vec![Vec::new(); classes], truths: vec![Vec::new(); classes] };
    for (image, (detections, truths)) in detections.iter().zip(truths).enumerate() {
        for truth in truths {
            let counts = &mut ranking.truths[truth.class];
            match counts.last_mut() {
                Some((last, count)) if *last == image => *count += 1,
                _ => counts.push((image, 1)),
            }
        }
        // Stable sorts keep Darknet's order among equal probabilities.
        let mut order: Vec<usize> = (0..detections.len()).collect();
        order.sort_by(|&a, &b| detections[b].prob.total_cmp(&detections[a].prob));
        let mut taken = vec![false; truths.len()];
        let mut right = vec![false; detections.len()];
        for index in order {
            if let Some((truth, _)) = best_truth(&detections[index], truths, iou_thresh) {
                right[index] = !std::mem::replace(&mut taken[truth], true);
            }
        }
        for (detection, right) in detections.iter().zip(right) {
            ranking.ranked[detection.class].push(Ranked { prob: detection.prob, image, right });
        }
    }
    for ranked in &mut ranking.ranked {
        ranked.sort_by(|a, b| b.prob.total_cmp(&a.prob));
    }
    ranking
}

/// Average precision of one class. `ranked` yields, by falling probability, whether a detection is
/// right and how often it counts; `truths` is the number of objects.
pub(super) fn average_precision(
    ranked: impl Iterator<Item = (bool, usize)>,
    truths: usize,
    points: usize,
) -> f64 {
    let (mut right, mut all) = (0_usize, 0_usize);
    let curve: Vec<(f64, f64)> = ranked
        .filter(|&(_, times)| times > 0)
        .map(|(is_right, times)| {
            all += times;
            right += if is_right { times } else { 0 };
            let recall = if truths > 0 { right as f64 / truths as f64 } else { 0.0 };
            (recall, right as f64 / all as f64)
        })
        .collect();
    if points == 0 { area(&curve) } else { mean_of_points(&curve, points) }
}

/// Area under the curve whose precision never rises with recall.
fn area(curve: &[(f64, f64)]) -> f64 {
    let Some(&(mut recall, mut precision)) = curve.last() else { return 0.0 };
    let mut area = 0.0;
    for &(r, p) in curve.iter().rev().skip(1) {
        let step = recall - r;
        recall = r;
        precision = precision.max(p);
        area += step * precision;
    }
    area + recall * precision
}

/// Mean of the best precision at recalls 0, 1/(n−1), …, 1.
fn mean_of_points(curve: &[(f64, f64)], points: usize) -> f64 {
    let best_from: Vec<f64> = {
        let mut best = 0.0_f64;
        let mut best_from: Vec<f64> = curve
            .iter()
            .rev()
            .map(|&(_, p)| {
                best = best.max(p);
                best
            })
            .collect();
        best_from.reverse();
        best_from
    };
    let sum: f64 = (0..points)
        .map(|point| {
            let recall = point as f64 / (points.max(2) - 1) as f64;
            let first = curve.partition_point(|&(r, _)| r < recall);
            best_from.get(first).copied().unwrap_or(0.0)
        })
        .sum();
    sum / points as f64
}

/// Fills the counts at `count_thresh` and returns the mean IoU there.
///
/// Darknet takes a detection for a double if any earlier one of the image, over the threshold
/// or not, chose the same truth.
fn count(
    detections: &[Vec<Detection>],
    truths: &[Vec<Truth>],
    options: MapOptions,
    results: &mut [ClassResult],
) -> f32 {
    let (mut iou_sum, mut counted) = (0.0_f32, 0_usize);
    for (detections, truths) in detections.iter().zip(truths) {
        let mut taken = vec![false; truths.len()];
        for detection in detections {
            let best = best_truth(detection, truths, options.iou_thresh);
            let first = best.is_some_and(|(truth, _)| !std::mem::replace(&mut taken[truth], true));
            if detection.prob <= options.count_thresh {
                continue;
            }
            counted += 1;
            match best {
                Some((_, iou)) if first => {
                    iou_sum += iou;
                    results[detection.class].true_positives += 1;
                }
                _ => results[detection.class].false_positives += 1,
            }
        }
    }
    if counted == 0 { 0.0 } else { iou_sum / counted as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_of_a_known_curve() {
        // Right, wrong, right of 2 truths: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
        let ranked = [(true, 1), (false, 1), (true, 1)];
        let ap = average_precision(ranked.into_iter(), 2, 0);
        assert!((ap - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        let eleven = average_precision(ranked.into_iter(), 2, 11);
        assert!((eleven - (6.0 + 5.0 * 2.0 / 3.0) / 11.0).abs() < 1e-12);
        assert_eq!(average_precision(ranked.into_iter(), 0, 0), 0.0);
        assert_eq!(average_precision(std::iter::empty(), 3, 0), 0.0);
        assert_eq!(average_precision(std::iter::empty(), 3, 101), 0.0);
    }

    #[test]
    fn a_weight_counts_as_copies() {
        let copies = [(true, 1), (true, 1), (false, 1), (false, 1), (true, 1)];
        let weighted = [(true, 2), (false, 2), (false, 0), (true, 1)];
        let plain = average_precision(copies.into_iter(), 5, 11);
        assert_eq!(average_precision(weighted.into_iter(), 5, 11), plain);
    }
}
