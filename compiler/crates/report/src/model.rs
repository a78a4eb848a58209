//! The reports that commands write as JSON and read back, by the same types.

use secateur_base::limits::MAX_RESULT_BYTES;
use secateur_base::terminal::printable;
use secateur_base::{Error, Result, files};
use secateur_data::class_name;
use secateur_eval::{Comparison, Interval, MapOptions, MeanAp, ScoreShift, TopK};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Accuracy of one network on labelled images: the report of `map`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AccuracyReport {
    Detector(Box<DetectorReport>),
    Classifier(ClassifierReport),
}

/// Mean average precision of a detector, with what it depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorReport {
    /// Path of the network, for people: bytes that are not UTF-8 are replaced.
    pub network: String,
    pub images: usize,
    pub options: MapOptions,
    /// Mean over all classes; a class without objects counts 0.
    pub map: f64,
    /// 95 % interval of `map` over images.
    pub interval: Interval,
    /// Mean over the classes with objects.
    pub map_present: f64,
    pub detections: usize,
    /// Labelled objects.
    pub truths: usize,
    /// At [`MapOptions::count_thresh`], as Darknet counts them.
    pub true_positives: usize,
    pub false_positives: usize,
    pub false_negatives: usize,
    /// Mean IoU at [`MapOptions::count_thresh`]; a false positive counts 0.
    pub mean_iou: f32,
    pub classes: Vec<ClassReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstReport>,
}

/// One class of a [`DetectorReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    pub name: String,
    /// Average precision.
    pub ap: f64,
    pub truths: usize,
    pub detections: usize,
    pub true_positives: usize,
    pub false_positives: usize,
}

/// A changed network beside the one that it was made from; intervals hold 95 % over images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgainstReport {
    /// mAP of the original.
    pub map: f64,
    /// mAP of the changed network less that of the original.
    pub difference: f64,
    pub difference_interval: Interval,
    /// mAP with the original's detections as truth.
    pub agree: f64,
    pub agree_interval: Interval,
    pub score_shift: ScoreShift,
    /// Interval of [`ScoreShift::absolute`].
    pub score_shift_interval: Interval,
    /// SQNR of the tensor that each head reads; infinite where nothing differs, `null` in JSON.
    #[serde(with = "decibels")]
    pub head_sqnr_db: Vec<f64>,
}

/// Top-1 and top-5 accuracy of a classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassifierReport {
    /// Path of the network, for people: bytes that are not UTF-8 are replaced.
    pub network: String,
    pub images: usize,
    pub top1: Estimate,
    pub top5: Estimate,
}

/// A measured value and its 95 % interval over images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub interval: Interval,
}

impl AccuracyReport {
    /// The figure that the network is judged by: its name, value and interval.
    pub fn headline(&self) -> (&'static str, Estimate) {
        match self {
            Self::Detector(report) => ("mAP", Estimate { value: report.map, interval: report.interval }),
            Self::Classifier(report) => ("top-1", report.top1),
        }
    }

    /// The comparison with the network that this one was made from, if it was asked for.
    pub fn against(&self) -> Option<&AgainstReport> {
        match self {
            Self::Detector(report) => report.against.as_ref(),
            Self::Classifier(_) => None,
        }
    }
}

impl DetectorReport {
    /// Describes `result`, measured on `images` images, with the names of the classes.
    pub fn new(
        network: &Path,
        images: usize,
        names: &[String],
        result: &MeanAp,
        interval: Interval,
        comparison: Option<&Comparison>,
    ) -> Self {
        let class = |(class, result): (usize, &secateur_eval::ClassResult)| ClassReport {
            name: class_name(names, class),
            ap: result.ap,
            truths: result.truths,
            detections: result.detections,
            true_positives: result.true_positives,
            false_positives: result.false_positives,
        };
        Self {
            network: network.display().to_string(),
            images,
            options: result.options,
            map: result.map,
            interval,
            map_present: result.map_present,
            detections: result.detections,
            truths: result.truths,
            true_positives: result.true_positives,
            false_positives: result.false_positives,
            false_negatives: result.false_negatives,
            mean_iou: result.mean_iou,
            classes: result.classes.iter().enumerate().map(class).collect(),
            against: comparison.map(AgainstReport::from),
        }
    }
}

impl From<&Comparison> for AgainstReport {
    fn from(comparison: &Comparison) -> Self {
        Self {
            map: comparison.original.map,
            difference: comparison.difference.0,
            difference_interval: comparison.difference.1,
            agree: comparison.agree.0,
            agree_interval: comparison.agree.1,
            score_shift: comparison.shift.clone(),
            score_shift_interval: comparison.shift_interval,
            head_sqnr_db: comparison.head_sqnr.clone(),
        }
    }
}

impl ClassifierReport {
    pub fn new(network: &Path, images: usize, [top1, top5]: [TopK; 2]) -> Self {
        let estimate = |top: TopK| Estimate { value: top.accuracy, interval: top.interval };
        Self { network: network.display().to_string(), images, top1: estimate(top1), top5: estimate(top5) }
    }
}

/// Indented JSON with a line feed at the end. Control characters of strings, with those that reorder text, are
/// written as `\uXXXX`: a terminal shows the result as it is, and it stays JSON.
///
/// # Errors
/// A value that JSON cannot hold: a bug.
pub fn to_json(value: &impl Serialize) -> Result<String> {
    let plain = serde_json::to_string_pretty(value)
        .map_err(|e| Error::internal(format!("a report does not serialise: {e}")))?;
    let mut text = String::with_capacity(plain.len() + 1);
    for character in plain.chars() {
        // serde_json escapes all below U+0020 within strings; between them stand line feeds alone.
        if printable(character.encode_utf8(&mut [0; 4])).chars().eq([character]) {
            text.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text += &format!("\\u{unit:04x}"));
        }
    }
    text.push('\n');
    Ok(text)
}

/// Reads a report that this version wrote.
///
/// # Errors
/// The file cannot be read, is larger than any report, or holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&files::read_limited(path, MAX_RESULT_BYTES)?).map_err(|e| {
        Error::new(format!("not a report of this version: {e}")).file(path).line(e.line()).column(e.column())
    })
}

/// Decibels in JSON, which has no infinity: `null` stands for it.
mod decibels {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        let values: Vec<Option<f64>> = values.iter().map(|&db| db.is_finite().then_some(db)).collect();
        values.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|db| db.unwrap_or(f64::INFINITY)).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn detector() -> DetectorReport {
        let interval = Interval { low: 0.1 + 0.2, high: 1.0 / 3.0, deviation: 5e-324 };
        DetectorReport {
            network: "net.sct".to_owned(),
            images: 3,
            options: MapOptions::default(),
            map: 0.32,
            interval,
            map_present: 0.64,
            detections: 20,
            truths: 7,
            true_positives: 5,
            false_positives: 2,
            false_negatives: 2,
            mean_iou: 0.5,
            classes: vec![
                ClassReport {
                    name: "cat\x1b[31m\u{9b}\u{202e}".to_owned(),
                    ap: 0.64,
                    truths: 7,
                    detections: 20,
                    true_positives: 5,
                    false_positives: 2,
                },
                ClassReport {
                    name: "dog".to_owned(),
                    ap: 0.0,
                    truths: 0,
                    detections: 0,
                    true_positives: 0,
                    false_positives: 0,
                },
            ],
            against: Some(AgainstReport {
                map: 0.33,
                difference: -0.01,
                difference_interval: interval,
                agree: 0.9,
                agree_interval: interval,
                score_shift: ScoreShift { absolute: 0.01, signed: -0.002, places: 9, images: vec![] },
                score_shift_interval: interval,
                head_sqnr_db: vec![21.5, f64::INFINITY],
            }),
        }
    }

    #[test]
    fn reports_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let interval = Interval { low: 0.25, high: 0.75, deviation: 0.1 };
        let top = TopK { k: 1, accuracy: 0.5, interval };
        for report in [
            AccuracyReport::Detector(Box::new(detector())),
            AccuracyReport::Detector(Box::new(DetectorReport { against: None, ..detector() })),
            AccuracyReport::Classifier(ClassifierReport::new(Path::new("net.cfg"), 3, [top, top])),
        ] {
            let text = to_json(&report).unwrap();
            std::fs::write(&path, &text).unwrap();
            let read: AccuracyReport = read_json(&path).unwrap();
            assert_eq!(read, report);
            assert_eq!(to_json(&read).unwrap(), text);
        }
        std::fs::write(&path, "{\n\"kind\": \"detector\"\n}").unwrap();
        let error = read_json::<AccuracyReport>(&path).unwrap_err();
        assert!(error.to_string().contains("report.json"), "{error}");
    }

    #[test]
    fn names_in_json_do_not_reach_the_terminal_raw() {
        let text = to_json(&detector()).unwrap();
        assert!(text.contains(r"cat\u001b[31m\u009b\u202e"), "{text}");
        assert_eq!(printable(&text), text);
    }
}
