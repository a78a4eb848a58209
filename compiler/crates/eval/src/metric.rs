//! The accuracy measures that pruning and quantisation are steered by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Detection, Interval};

/// A measure of accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    Map,
    Agree,
    Dp,
    Loss,
    Top1,
}

impl Metric {
    pub const ALL: [Self; 5] = [Self::Map, Self::Agree, Self::Dp, Self::Loss, Self::Top1];

    /// The name on the command line and in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Agree => "agree",
            Self::Dp => "dp",
            Self::Loss => "loss",
            Self::Top1 => "top1",
        }
    }

    /// One line for the help.
    pub fn help(self) -> &'static str {
        match self {
            Self::Map => "Darknet's mean average precision against the labels",
            Self::Agree => "mAP with the original network's detections at .25 as truth; needs no labels",
            Self::Dp => {
                "Mean |change of objectness × class| at the original's detections of .1 and above; needs no labels and is the least noisy"
            }
            Self::Loss => "Training loss against the labels",
            Self::Top1 => "Fraction of images whose best class is right (classifiers)",
        }
    }

    /// Returns whether a network can be measured: `classifier`, or a detector.
    pub fn suits(self, classifier: bool) -> bool {
        match self {
            Self::Top1 => classifier,
            Self::Loss => true,
            Self::Map | Self::Agree | Self::Dp => !classifier,
        }
    }

    /// Returns whether label files are read: the class of a classifier's image is in its path.
    pub fn reads_labels(self, classifier: bool) -> bool {
        !classifier && matches!(self, Self::Map | Self::Loss)
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|metric| metric.name() == text).ok_or_else(names)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "mAP",
            Self::Agree => "agreement",
            Self::Dp => "1 - dP",
            Self::Loss => "-loss",
            Self::Top1 => "top-1",
        })
    }
}

/// The loss of a network whose outputs are not finite: beyond every threshold and budget, and itself a
/// number, so that files can hold it.
pub const BROKEN_LOSS: f64 = f64::MAX;

/// The contribution of one image to a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageResult {
    Detections(Vec<Detection>),
    /// A term of a mean: `Σ sum / Σ weight` over the images.
    Term {
        sum: f64,
        weight: f64,
    },
    /// The network's output has a value that is not finite.
    NotFinite,
}

/// An accuracy with what it has lost against the original.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// In the metric's own terms, more is better.
    pub value: f64,
    pub interval: Interval,
    /// `original − value`, in the same terms; a budget bounds it.
    pub loss: f64,
    /// 95 % interval of the loss, paired over images.
    pub loss_interval: Interval,
}

impl Accuracy {
    /// The accuracy of a network whose outputs are not finite.
    pub fn broken() -> Self {
        let all = |value| Interval { low: value, high: value, deviation: 0.0 };
        Self {
            value: -BROKEN_LOSS,
            interval: all(-BROKEN_LOSS),
            loss: BROKEN_LOSS,
            loss_interval: all(BROKEN_LOSS),
        }
    }

    pub fn is_broken(&self) -> bool {
        self.loss >= BROKEN_LOSS
    }
}

impl fmt::Display for Accuracy {
    /// The accuracy and its loss, each with its interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, interval, loss, loss_interval } = self;
        if self.is_broken() {
            return write!(f, "outputs that are not finite");
        }
        write!(
            f,
            "{value:.4} [{:.4}, {:.4}], loss {loss:.4} [{:.4}, {:.4}]",
            interval.low, interval.high, loss_interval.low, loss_interval.high
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_as_they_are_written() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{}\"", metric.name()));
        }
        assert!("mAP".parse::<Metric>().unwrap_err().contains("top1"));
    }

    #[test]
    fn a_broken_accuracy_survives_its_file() {
        let text = serde_json::to_string(&Accuracy::broken()).unwrap();
        let read: Accuracy = serde_json::from_str(&text).unwrap();
        assert!(read.is_broken() && read == Accuracy::broken());
    }
}
