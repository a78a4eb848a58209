//! The table that every step ends with: accuracy, weights and operations before and after.

use std::fmt;

use secateur_ir::{Graph, stat};

/// The figures of one network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// The chosen accuracy measure; `None` where no images were given.
    pub accuracy: Option<f64>,
    /// Weights and biases, batch norm folded.
    pub weights: u64,
    /// 2 · MAC + one addition an output.
    pub operations: u64,
}

impl Figures {
    /// Costs of a graph; no accuracy.
    pub fn of_graph(graph: &Graph) -> Self {
        let costs = stat(graph);
        Self {
            accuracy: None,
            weights: costs.iter().map(|cost| cost.params).sum(),
            operations: costs.iter().map(|cost| cost.ops).sum(),
        }
    }
}

/// Prints as the table of the closed pruner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub baseline: Figures,
    pub compressed: Figures,
}

impl Summary {
    /// Costs before and after a cut.
    pub fn of_graphs(baseline: &Graph, compressed: &Graph) -> Self {
        Self { baseline: Figures::of_graph(baseline), compressed: Figures::of_graph(compressed) }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (a, b) = (&self.baseline, &self.compressed);
        let rule = format!("+{}+", "-".repeat(67));
        let relative = |a: u64, b: u64| format!("{}%", significant(100.0 * (b as f64 / a as f64 - 1.0)));
        let mut rows = vec![["Item", "Baseline", "Compressed", "Delta"].map(str::to_owned)];
        if let (Some(a), Some(b)) = (a.accuracy, b.accuracy) {
            rows.push(["Accuracy".to_owned(), significant(a), significant(b), significant(b - a)]);
        }
        for (item, a, b) in [("Weights", a.weights, b.weights), ("Operations", a.operations, b.operations)] {
            rows.push([item.to_owned(), count(a), count(b), relative(a, b)]);
        }
        writeln!(f, "{rule}")?;
        for (number, [item, baseline, compressed, delta]) in rows.iter().enumerate() {
            writeln!(f, "| {item:<14} | {baseline:<14} | {compressed:<14} | {delta:<14} |")?;
            if number == 0 {
                writeln!(f, "{rule}")?;
            }
        }
        write!(f, "{rule}")
    }
}

/// Nine significant digits, as the closed pruner prints them; no trailing zeros.
fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (8 - value.abs().log10().floor() as i32).clamp(0, 17) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A count with its thousands as a letter: `3.7649951 M`.
fn count(value: u64) -> String {
    let (unit, divisor) = match value {
        0..1_000 => ("", 1.0),
        1_000..1_000_000 => (" K", 1e3),
        1_000_000..1_000_000_000 => (" M", 1e6),
        _ => (" G", 1e9),
    };
    format!("{}{unit}", significant(value as f64 / divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_the_closed_pruner_prints() {
        let summary = Summary {
            baseline: Figures { accuracy: Some(0.922749817), weights: 3_764_995, operations: 2_153_918_500 },
            compressed: Figures { accuracy: Some(0.944249749), weights: 482_197, operations: 641_045_837 },
        };
        let expected = "\
+-------------------------------------------------------------------+
| Item           | Baseline       | Compressed     | Delta          |
+-------------------------------------------------------------------+
| Accuracy       | 0.922749817    | 0.944249749    | 0.021499932    |
| Weights        | 3.764995 M     | 482.197 K      | -87.1926258%   |
| Operations     | 2.1539185 G    | 641.045837 M   | -70.2381572%   |
+-------------------------------------------------------------------+";
        assert_eq!(summary.to_string(), expected);
    }
}
