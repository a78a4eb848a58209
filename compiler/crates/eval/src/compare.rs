//! A changed network (quantised, pruned) beside its original on labelled images.

use super::agreement::ImageShift;
use super::detector::over_images;
use super::{
    Detection, Detector, Interval, MAP_THRESH, MapOptions, MeanAp, NMS_THRESH, ScoreShift, Sqnr, agreement,
    as_truths, bootstrap_map, bootstrap_mean, bootstrap_paired_map, decode, mean_ap,
};
use secateur_base::{Error, Result};
use secateur_data::Dataset;

/// Result of [`compare`]; every figure with its 95 % interval over images.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    pub original: MeanAp,
    /// Interval of the original's mAP.
    pub original_interval: Interval,
    /// mAP(changed) − mAP(original), paired over images.
    pub difference: (f64, Interval),
    /// mAP with the original's detections as truth, over the classes that it found.
    pub agree: (f64, Interval),
    pub shift: ScoreShift,
    /// Interval of [`ScoreShift::absolute`].
    pub shift_interval: Interval,
    /// dB, one a head: the tensor that the head reads.
    pub head_sqnr: Vec<f64>,
}

/// The results on one image.
struct Run {
    original: Vec<Detection>,
    shift: ImageShift,
    sqnr: Vec<Sqnr>,
}

/// Compares `changed`, whose detections on the dataset are `detections`, with `original`.
///
/// Fails on images that cannot be read and on networks that differ in input or heads.
pub fn compare(
    original: &dyn Detector,
    changed: &dyn Detector,
    detections: &[Vec<Detection>],
    dataset: &Dataset,
    options: MapOptions,
    seed: u64,
) -> Result<Comparison> {
    check_alike(original, changed)?;
    let layout = original.layout();
    let runs = over_images(original, dataset, |sample| {
        let (heads, inputs) = original.heads_and_inputs(&sample.input);
        let (changed_heads, changed_inputs) = changed.heads_and_inputs(&sample.input);
        let found = decode(layout, &heads, sample.frame, MAP_THRESH, NMS_THRESH);
        let shift = ImageShift::of(layout, &found, &changed_heads);
        let sqnr = inputs.iter().zip(&changed_inputs).map(|(original, changed)| {
            let mut sqnr = Sqnr::default();
            sqnr.add(original, changed);
            sqnr
        });
        Run { original: found, shift, sqnr: sqnr.collect() }
    })?;
    let shift = ScoreShift::gather(runs.iter().map(|run| run.shift));
    let head_sqnr = (0..layout.heads.len())
        .map(|head| {
            let mut sqnr = Sqnr::default();
            runs.iter().for_each(|run| sqnr.merge(&run.sqnr[head]));
            sqnr.db()
        })
        .collect();
    let found: Vec<Vec<Detection>> = runs.into_iter().map(|run| run.original).collect();
    let classes = layout.classes;
    let result = mean_ap(&found, &dataset.labels, classes, options);
    let difference = mean_ap(detections, &dataset.labels, classes, options).map - result.map;
    Ok(Comparison {
        difference: (
            difference,
            bootstrap_paired_map(&found, detections, &dataset.labels, classes, options, seed),
        ),
        original_interval: bootstrap_map(&found, &dataset.labels, classes, options, seed),
        agree: agree_with_interval(&found, detections, classes, seed),
        shift_interval: bootstrap_mean(&shift.images, seed),
        original: result,
        shift,
        head_sqnr,
    })
}

/// Agreement over the classes that the original found, and its interval on the same scale.
fn agree_with_interval(
    original: &[Vec<Detection>],
    changed: &[Vec<Detection>],
    classes: usize,
    seed: u64,
) -> (f64, Interval) {
    let agree = agreement(original, changed, classes);
    let present = agree.classes.iter().filter(|class| class.truths > 0).count().max(1);
    let scale = classes as f64 / present as f64;
    let over_all = bootstrap_map(changed, &as_truths(original), classes, MapOptions::default(), seed);
    let Interval { low, high, deviation } = over_all;
    (agree.map_present, Interval { low: low * scale, high: high * scale, deviation: deviation * scale })
}

fn check_alike(original: &dyn Detector, changed: &dyn Detector) -> Result<()> {
    let key = |detector: &dyn Detector| {
        let heads: Vec<_> =
            detector.layout().heads.iter().map(|head| (head.grid(), head.anchors())).collect();
        (detector.input(), detector.fit(), detector.classes(), heads)
    };
    if key(original) == key(changed) {
        return Ok(());
    }
    Err(Error::new("the networks are not versions of one another")
        .found(format!("input, image fit, classes and heads {:?}", key(changed)))
        .allowed(format!("{:?}", key(original)))
        .help("compare a quantised or pruned network with the one that it was made from"))
}
