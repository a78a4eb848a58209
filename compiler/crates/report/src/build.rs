//! The report of a build: a network as trained, pruned and quantised, as a table and a chart.

use std::fmt::Write;

use secateur_base::Result;

use crate::chart::{AccuracyBar, Overview, draw_overview};
use crate::model::AccuracyReport;

/// The stages of a build and what they came to.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildReport {
    pub title: String,
    /// At least one, the first as trained, the last as deployed.
    pub stages: Vec<Stage>,
    /// Multiply-accumulates of every layer, `(as trained, deployed)`.
    pub layer_macs: Vec<(u64, u64)>,
    /// Bytes of the activation arena, and the bytes that no arena can do without.
    pub arena: (usize, usize),
}

/// A network at one stage of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// "as trained", "pruned", "int8".
    pub label: &'static str,
    pub accuracy: AccuracyReport,
    pub macs: u64,
    /// Bytes of the file that holds the weights.
    pub bytes: u64,
    /// Cycles that the target's accelerator takes for an image, where it has one and runs this network's int8 form.
    pub cycles: Option<u64>,
}

impl BuildReport {
    /// A table, a column for each stage.
    pub fn to_text(&self) -> String {
        let row = |name: &str, cell: &dyn Fn(&Stage) -> String| {
            let cells: String = self.stages.iter().map(|stage| format!(" {:>22}", cell(stage))).collect();
            format!("{name:<22}{cells}\n")
        };
        let measure = self.stages.first().map_or("", |stage| stage.accuracy.headline().0);
        let mut text = row("", &|stage| stage.label.to_owned());
        text += &row(&format!("{measure} [95 % interval]"), &|stage| {
            let (_, figure) = stage.accuracy.headline();
            format!("{:.4} [{:.3}, {:.3}]", figure.value, figure.interval.low, figure.interval.high)
        });
        text += &row("multiply-accumulates", &|stage| format!("{:.1} M", stage.macs as f64 / 1e6));
        text += &row("file", &|stage| format!("{:.0} kB", stage.bytes as f64 / 1e3));
        if self.stages.iter().any(|stage| stage.cycles.is_some()) {
            text += &row("accelerator's cycles", &|stage| stage.cycles.map_or(String::new(), thousands));
        }
        // Writing to a string cannot fail.
        if let Some(against) = self.stages.last().and_then(|stage| stage.accuracy.against()) {
            let _ = writeln!(
                text,
                "int8 against its float network: agreement {:.3}, score shift {:.4} (signed {:+.4}), heads {} dB",
                against.agree,
                against.score_shift.absolute,
                against.score_shift.signed,
                against.heads()
            );
        }
        let (bytes, lower_bound) = self.arena;
        let _ = writeln!(text, "arena {bytes} bytes, lower bound {lower_bound}");
        text
    }

    /// A chart of the layers' operations and of the stages' accuracy.
    ///
    /// # Errors
    /// The chart cannot be drawn.
    pub fn to_svg(&self) -> Result<String> {
        let bars = self.stages.iter().map(|stage| {
            let (_, figure) = stage.accuracy.headline();
            let (low, high) = (figure.interval.low, figure.interval.high);
            AccuracyBar { label: stage.label.to_owned(), value: figure.value, low, high }
        });
        let measure = match self.stages.first().map(|stage| &stage.accuracy) {
            Some(AccuracyReport::Classifier(_)) => "top-1",
            _ => "mAP@0.5",
        };
        draw_overview(&Overview {
            title: self.title.clone(),
            macs: self.layer_macs.clone(),
            measure: measure.to_owned(),
            accuracy: bars.collect(),
        })
    }
}

/// A number with its digits in groups of three.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::detector;

    #[test]
    fn table_and_chart_hold_the_figures() {
        let stage = |label, macs| Stage {
            label,
            accuracy: AccuracyReport::Detector(Box::new(detector())),
            macs,
            bytes: 12_345,
            cycles: Some(macs / 100),
        };
        let report = BuildReport {
            title: "<a> & \x1b\"b\"".to_owned(),
            stages: vec![stage("as trained", 17_000_000), stage("int8", 9_000_000)],
            layer_macs: vec![(17_000_000, 9_000_000)],
            arena: (2000, 1900),
        };
        let text = report.to_text();
        for part in [
            "0.3200 [0.300, 0.333]",
            "17.0 M",
            "12 kB",
            "170,000",
            "agreement 0.900",
            "arena 2000 bytes, lower bound 1900",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let svg = report.to_svg().unwrap();
        assert!(svg.contains("&lt;a&gt; &amp; \\u{1b}") && !svg.contains("<a>"), "{svg}");
    }
}
