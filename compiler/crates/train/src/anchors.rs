//! Anchors for a data set: k-means over the sizes of labelled boxes.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use secateur_base::{Error, Result};
use secateur_data::Truth;
use secateur_ir::Shape;

use crate::random::{Stream, stream};

/// Most rounds of one run; Darknet's limit.
const MAX_ROUNDS: usize = 1000;
/// Runs from different starts, of which the best is kept.
const RUNS: u64 = 8;

/// Anchors and how well they fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Anchors {
    /// Width and height in pixels of the network's input, by rising area.
    pub sizes: Vec<[f64; 2]>,
    /// Mean over all boxes of the IoU with the best anchor, both centred at one point.
    pub average_iou: f64,
}

/// Widths and heights of all labelled boxes in pixels of the network's input; boxes without an area are left out.
pub fn box_sizes(labels: &[Vec<Truth>], input: Shape) -> Vec<[f64; 2]> {
    let size =
        |truth: &Truth| [f64::from(truth.bbox.w) * input.w as f64, f64::from(truth.bbox.h) * input.h as f64];
    labels.iter().flatten().map(size).filter(|[w, h]| *w > 0.0 && *h > 0.0).collect()
}

/// Finds `count` anchors for boxes of the given sizes, as `darknet detector calc_anchors`: k-means with the distance
/// 1 − IoU, each centre the mean size of its boxes.
///
/// Unlike there, centres start by k-means++ (each one drawn with a probability that grows with the squared distance to
/// those before, Arthur and Vassilvitskii 2007), and the best of several runs is kept. The same sizes and seed yield
/// the same anchors.
///
/// # Errors
/// There are fewer different sizes than anchors.
pub fn anchors(sizes: &[[f64; 2]], count: usize, seed: u64) -> Result<Anchors> {
    let mut different: Vec<[u64; 2]> = sizes.iter().map(|size| size.map(f64::to_bits)).collect();
    different.sort_unstable();
    different.dedup();
    if count == 0 || different.len() < count {
        return Err(Error::new("too few boxes for so many anchors")
            .found(format!("{count} anchors, {} different box sizes", different.len()))
            .allowed("at least one anchor, and no more than there are box sizes")
            .help("check that the list has labels, or take fewer anchors"));
    }
    let runs: Vec<Anchors> = (0..RUNS)
        .into_par_iter()
        .map(|run| cluster(sizes, count, &mut stream(seed, Stream::Anchors, run, 0)))
        .collect();
    let better = |best: Anchors, run: Anchors| if run.average_iou > best.average_iou { run } else { best };
    Ok(runs.into_iter().reduce(better).expect("there are several runs"))
}

/// One run of k-means.
fn cluster(sizes: &[[f64; 2]], count: usize, rng: &mut ChaCha8Rng) -> Anchors {
    let mut centres = draw_centres(sizes, count, rng);
    let mut assigned = vec![usize::MAX; sizes.len()];
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        let mut sums = vec![[0.0; 3]; count];
        for (size, assigned) in sizes.iter().zip(&mut assigned) {
            let (closest, _) = closest(*size, &centres);
            changed |= closest != *assigned;
            *assigned = closest;
            let [w, h, boxes] = &mut sums[closest];
            *w += size[0];
            *h += size[1];
            *boxes += 1.0;
        }
        if !changed {
            break;
        }
        // A centre without boxes stays, as in Darknet.
        for (centre, [w, h, boxes]) in centres.iter_mut().zip(sums).filter(|(_, sum)| sum[2] > 0.0) {
            *centre = [w / boxes, h / boxes];
        }
    }
    centres.sort_by(|a, b| (a[0] * a[1]).total_cmp(&(b[0] * b[1])).then(a[0].total_cmp(&b[0])));
    let total: f64 = sizes.iter().map(|size| closest(*size, &centres).1).sum();
    Anchors { sizes: centres, average_iou: total / sizes.len() as f64 }
}

/// Starting centres by k-means++.
fn draw_centres(sizes: &[[f64; 2]], count: usize, rng: &mut ChaCha8Rng) -> Vec<[f64; 2]> {
    let mut centres = vec![sizes[rng.random_range(0..sizes.len() as u64) as usize]];
    let mut weights = vec![f64::INFINITY; sizes.len()];
    while centres.len() < count {
        let newest = centres[centres.len() - 1];
        let mut total = 0.0;
        for (weight, size) in weights.iter_mut().zip(sizes) {
            *weight = weight.min((1.0 - iou(*size, newest)).powi(2));
            total += *weight;
        }
        let mut left = rng.random::<f64>() * total;
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a rest beyond the last box: then the farthest one.
        let farthest = || (0..sizes.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b]));
        centres.push(sizes[drawn.or_else(farthest).expect("there are boxes")]);
    }
    centres
}

/// The centre with the greatest IoU (of equal ones the first), and that IoU.
fn closest(size: [f64; 2], centres: &[[f64; 2]]) -> (usize, f64) {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, centre) in centres.iter().enumerate() {
        let iou = iou(size, *centre);
        if iou > best.1 {
            best = (index, iou);
        }
    }
    best
}

/// IoU of two boxes with a common centre.
fn iou(a: [f64; 2], b: [f64; 2]) -> f64 {
    let intersection = a[0].min(b[0]) * a[1].min(b[1]);
    intersection / (a[0] * a[1] + b[0] * b[1] - intersection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_base::BBox;

    /// Clusters of boxes within 10 % around planted sizes, in any order.
    fn planted(centres: &[[f64; 2]], each: usize) -> Vec<[f64; 2]> {
        let mut rng = stream(1, Stream::Anchors, 99, 0);
        (0..each * centres.len())
            .map(|index| centres[index * 7 % centres.len()].map(|side| side * rng.random_range(0.9..1.1)))
            .collect()
    }

    #[test]
    fn planted_clusters_are_found() {
        let centres = [[10.0, 14.0], [30.0, 28.0], [20.0, 90.0], [100.0, 60.0], [180.0, 200.0]];
        let sizes = planted(&centres, 60);
        for seed in 0..10 {
            let found = anchors(&sizes, 5, seed).unwrap();
            for (found, centre) in found.sizes.iter().zip(centres) {
                assert!((0..2).all(|side| (found[side] / centre[side] - 1.0).abs() < 0.03), "{found:?}");
            }
            assert!(found.average_iou > 0.88, "{}", found.average_iou);
        }
    }

    #[test]
    fn more_anchors_fit_better_and_the_seed_decides() {
        let mut rng = stream(2, Stream::Anchors, 0, 0);
        let sizes: Vec<[f64; 2]> =
            (0..400).map(|_| [rng.random_range(4.0..200.0), rng.random_range(4.0..200.0)]).collect();
        let fits: Vec<f64> = (1..8).map(|count| anchors(&sizes, count, 3).unwrap().average_iou).collect();
        assert!(fits.windows(2).all(|pair| pair[1] > pair[0]), "{fits:?}");
        assert_eq!(anchors(&sizes, 6, 3).unwrap(), anchors(&sizes, 6, 3).unwrap());
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(|| anchors(&sizes, 6, 3).unwrap()), anchors(&sizes, 6, 3).unwrap());
        // One anchor is the mean size.
        let mean = sizes.iter().map(|size| size[0]).sum::<f64>() / 400.0;
        assert!((anchors(&sizes, 1, 0).unwrap().sizes[0][0] - mean).abs() < 1e-9);
    }

    #[test]
    fn too_few_boxes_are_an_error() {
        let error = anchors(&[[3.0, 4.0]; 10], 2, 0).unwrap_err();
        assert!(error.to_string().contains("1 different box sizes"), "{error}");
        assert!(anchors(&[], 1, 0).is_err() && anchors(&[[3.0, 4.0]], 0, 0).is_err());
        assert_eq!(anchors(&[[3.0, 4.0]], 1, 0).unwrap().average_iou, 1.0);
    }

    #[test]
    fn sizes_are_pixels_of_the_input() {
        let truth = |w: f32, h: f32| Truth { class: 0, bbox: BBox { x: 0.5, y: 0.5, w, h } };
        let labels = [vec![truth(0.5, 0.25), truth(0.0, 0.5)], vec![], vec![truth(1.0, 1.0)]];
        assert_eq!(box_sizes(&labels, Shape::new(3, 100, 200)), [[100.0, 25.0], [200.0, 100.0]]);
    }
}
