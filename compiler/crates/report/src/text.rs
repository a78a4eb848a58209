//! Reports as text for people.

use std::fmt::Write;

use secateur_eval::Interval;

use crate::model::{AccuracyReport, AgainstReport, ClassifierReport, DetectorReport, Estimate};

impl AccuracyReport {
    /// The report as lines of text; `per_class` adds a table of the classes.
    pub fn to_text(&self, per_class: bool) -> String {
        match self {
            Self::Detector(report) => report.to_text(per_class),
            Self::Classifier(report) => report.to_text(),
        }
    }
}

impl DetectorReport {
    fn to_text(&self, per_class: bool) -> String {
        let mut text = if per_class { self.class_table() } else { String::new() };
        let present = self.classes.iter().filter(|class| class.truths > 0).count();
        let Self { true_positives: tp, false_positives: fp, false_negatives: fn_, .. } = *self;
        let ratio = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let method = match self.options.points {
            0 => "area under the curve".to_owned(),
            points => format!("{points} recall points"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} images, {} objects of {present} classes, {} detections\n\
             at score {:.2}: TP {tp}, FP {fp}, FN {fn_}; precision {:.2}, recall {:.2}, mean IoU {:.1}%\n\
             mAP@{iou:.2} ({method}): {} over all {} classes",
            self.images,
            self.truths,
            self.detections,
            self.options.count_thresh,
            ratio(tp, tp + fp),
            ratio(tp, tp + fn_),
            self.mean_iou * 100.0,
            figure(self.map, self.interval, 6),
            self.classes.len(),
            iou = self.options.iou_thresh,
        );
        if present < self.classes.len() {
            let iou = self.options.iou_thresh;
            let _ = writeln!(
                text,
                "mAP@{iou:.2} over the {present} classes with objects: {:.6}",
                self.map_present
            );
        }
        text + &self.against.as_ref().map(AgainstReport::to_text).unwrap_or_default()
    }

    fn class_table(&self) -> String {
        let mut text = format!("{:<20} {:>7} {:>7} {:>6} {:>6}\n", "class", "objects", "AP", "TP", "FP");
        for class in &self.classes {
            let _ = writeln!(
                text,
                "{:<20} {:>7} {:>6.2}% {:>6} {:>6}",
                class.name,
                class.truths,
                class.ap * 100.0,
                class.true_positives,
                class.false_positives
            );
        }
        text
    }
}

impl AgainstReport {
    fn to_text(&self) -> String {
        let shift = &self.score_shift;
        let lines = [
            format!("against the original (mAP {:.6}):", self.map),
            format!("  difference of mAP   {}", figure(self.difference, self.difference_interval, 4)),
            format!("  agree               {}", figure(self.agree, self.agree_interval, 4)),
            format!(
                "  score shift dP      {}, signed {:+.4}, at {} detections",
                figure(shift.absolute, self.score_shift_interval, 4),
                shift.signed,
                shift.places
            ),
            format!("  head SQNR           {} dB", self.heads()),
        ];
        lines.join("\n") + "\n"
    }

    /// SQNR of every head, in dB.
    pub(crate) fn heads(&self) -> String {
        self.head_sqnr_db.iter().map(|db| format!("{db:.1}")).collect::<Vec<_>>().join(", ")
    }
}

impl ClassifierReport {
    fn to_text(&self) -> String {
        let line = |k: u32, top: &Estimate| {
            format!("top-{k} of {} images: {}\n", self.images, figure(top.value, top.interval, 4))
        };
        line(1, &self.top1) + &line(5, &self.top5)
    }
}

/// A figure with its interval.
fn figure(value: f64, interval: Interval, digits: usize) -> String {
    format!("{value:.digits$} [{:.3}, {:.3}]", interval.low, interval.high)
}

#[cfg(test)]
mod tests {
    use crate::model::tests::detector;

    #[test]
    fn the_text_holds_the_figures() {
        let text = detector().to_text(true);
        for line in [
            "3 images, 7 objects of 1 classes, 20 detections",
            "at score 0.25: TP 5, FP 2, FN 2; precision 0.71, recall 0.71, mean IoU 50.0%",
            "mAP@0.50 (area under the curve): 0.320000 [0.300, 0.333] over all 2 classes",
            "mAP@0.50 over the 1 classes with objects: 0.640000",
            "  score shift dP      0.0100 [0.300, 0.333], signed -0.0020, at 9 detections",
            "  head SQNR           21.5, inf dB",
            "dog                        0   0.00%      0      0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
