//! Recipes as TOML spells them. Values keep their spans, so that errors point at their lines.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    pub(super) workspace: Spanned<String>,
    pub(super) root: Option<Spanned<String>>,
    #[serde(default = "default_seed")]
    pub(super) seed: u64,
    pub(super) model: Model,
    pub(super) data: Data,
    pub(super) prune: Option<Spanned<Prune>>,
    pub(super) finetune: Option<Spanned<Finetune>>,
    #[serde(default)]
    pub(super) quantize: Quantize,
    #[serde(default)]
    pub(super) compile: Compile,
    #[serde(default)]
    pub(super) detect: Detect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) cfg: Spanned<String>,
    pub(super) weights: Spanned<String>,
    pub(super) names: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) train: Spanned<String>,
    pub(super) val: Spanned<String>,
    pub(super) test: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prune {
    pub(super) metric: Option<Spanned<String>>,
    pub(super) criterion: Option<Spanned<String>>,
    pub(super) allocation: Option<Spanned<String>>,
    pub(super) granularity: Option<Spanned<String>>,
    pub(super) threshold: Option<Spanned<f64>>,
    pub(super) rate: Option<Spanned<f64>>,
    pub(super) target: Option<PruneTarget>,
    pub(super) rounds: Option<Spanned<u32>>,
    pub(super) budget: Option<Spanned<f64>>,
    pub(super) budget_metric: Option<Spanned<String>>,
    pub(super) reconstruction: Option<bool>,
    pub(super) kernel_batch: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) ignore: Vec<Spanned<usize>>,
    #[serde(default)]
    pub(super) layers: BTreeMap<String, Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneTarget {
    pub(super) macs: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finetune {
    pub(super) epochs: Option<Spanned<u32>>,
    pub(super) batch: Option<Spanned<u32>>,
    pub(super) rate: Option<Spanned<f64>>,
    pub(super) patience: Option<Spanned<u32>>,
    pub(super) teacher: Option<Spanned<bool>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quantize {
    pub(super) ranges: Option<Spanned<String>>,
    pub(super) split: Option<Spanned<f64>>,
    pub(super) equalize: Option<bool>,
    pub(super) bias_correction: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Compile {
    pub(super) target: Spanned<String>,
    pub(super) allow_processor: bool,
}

impl Default for Compile {
    fn default() -> Self {
        Self { target: Spanned::new(0..0, "host".to_owned()), allow_processor: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Detect {
    #[serde(alias = "pictures")]
    pub(super) images: Vec<Spanned<String>>,
    pub(super) thresh: Spanned<f64>,
}

impl Default for Detect {
    fn default() -> Self {
        Self { images: Vec::new(), thresh: Spanned::new(0..0, 0.25) }
    }
}

fn default_seed() -> u64 {
    1
}
