//! Recipes: what `build` shall make of one network, in TOML, checked before any work starts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use secateur_base::{Error, Result, files};
use secateur_prune::Granularity;
use secateur_quant::RangeRule;
use serde::Deserialize;
use toml::Spanned;

/// A recipe is a page of text.
const LIMIT: u64 = 1 << 20;

/// A checked recipe: every path is resolved and every number is in its range.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// Folder of the results and of the finished steps.
    pub(crate) workspace: PathBuf,
    pub(crate) seed: u64,
    pub(crate) cfg: PathBuf,
    pub(crate) weights: PathBuf,
    pub(crate) names: PathBuf,
    /// Picture list that `ana` and the calibration may look at.
    pub(crate) train: PathBuf,
    /// Held-out picture list: accuracy is measured here, nothing is fitted to it.
    pub(crate) val: PathBuf,
    pub(crate) prune: Option<Prune>,
    pub(crate) quantize: Quantize,
    pub(crate) target: String,
    /// The processor may run what the target's accelerator cannot.
    pub(crate) allow_processor: bool,
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) thresh: f64,
}

#[derive(Debug)]
pub(crate) struct Prune {
    pub(crate) metric: Option<String>,
    pub(crate) criterion: Option<String>,
    pub(crate) granularity: Option<Granularity>,
    /// Relative loss of accuracy that each layer, pruned alone, may cost.
    pub(crate) threshold: Option<f64>,
    /// Share of the MACs to cut.
    pub(crate) rate: Option<f64>,
    /// Joint loss of accuracy on held-out pictures that pruning may cost.
    pub(crate) budget: Option<f64>,
    /// What the budget is measured in.
    pub(crate) budget_metric: Option<String>,
    /// Readers of what is cut make up for it; on where this says nothing.
    pub(crate) repair: Option<bool>,
    pub(crate) kernel_batch: Option<usize>,
    pub(crate) ignore: Vec<usize>,
    /// Thresholds of single layers, in place of the common one.
    pub(crate) layers: BTreeMap<usize, f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quantize {
    /// As [`RangeRule`] reads it.
    pub(crate) ranges: Option<Spanned<String>>,
    /// Percent, as `quantize --split` takes it.
    pub(crate) split: Option<Spanned<f64>>,
    pub(crate) equalize: Option<bool>,
    pub(crate) bias_correction: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipe {
    workspace: Spanned<String>,
    root: Option<Spanned<String>>,
    #[serde(default = "default_seed")]
    seed: u64,
    model: RawModel,
    data: RawData,
    prune: Option<Spanned<RawPrune>>,
    #[serde(default)]
    quantize: Quantize,
    #[serde(default)]
    compile: RawCompile,
    #[serde(default)]
    detect: RawDetect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    cfg: Spanned<String>,
    weights: Spanned<String>,
    names: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawData {
    train: Spanned<String>,
    val: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrune {
    metric: Option<Metric>,
    criterion: Option<String>,
    granularity: Option<Spanned<String>>,
    threshold: Option<Spanned<f64>>,
    rate: Option<Spanned<f64>>,
    budget: Option<Spanned<f64>>,
    budget_metric: Option<Metric>,
    repair: Option<bool>,
    kernel_batch: Option<Spanned<usize>>,
    #[serde(default)]
    ignore: Vec<usize>,
    #[serde(default)]
    layers: BTreeMap<String, Spanned<f64>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Metric {
    Map,
    Agree,
    Dp,
    Loss,
    Top1,
}

impl Metric {
    fn flag(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCompile {
    target: String,
    allow_processor: bool,
}

impl Default for RawCompile {
    fn default() -> Self {
        Self { target: "host".to_owned(), allow_processor: false }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDetect {
    pictures: Vec<Spanned<String>>,
    thresh: Spanned<f64>,
}

impl Default for RawDetect {
    fn default() -> Self {
        Self { pictures: Vec::new(), thresh: Spanned::new(0..0, 0.25) }
    }
}

fn default_seed() -> u64 {
    1
}

impl Recipe {
    /// Reads and checks a recipe; paths in it are relative to the folder that it lies in.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, LIMIT)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let good = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]).into_owned();
            files::at(path, &good, good.len()..good.len(), "a recipe is UTF-8 text")
        })?;
        let raw: RawRecipe = files::parse_toml(path, &text)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut reader = Reader { path, text: &text, root: folder.clone() };
        if let Some(root) = &raw.root {
            reader.root = reader.resolve(root, &folder)?;
        }
        reader.check(raw, &folder)
    }
}

/// Turns raw values into checked ones, with errors at their lines.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    /// What the paths of input files are relative to.
    root: PathBuf,
}

impl Reader<'_> {
    fn check(&self, raw: RawRecipe, folder: &Path) -> Result<Recipe> {
        let prune = raw.prune.map(|prune| self.prune(prune)).transpose()?;
        if let Some(ranges) = &raw.quantize.ranges {
            let rule = ranges.get_ref().parse::<RangeRule>();
            rule.map_err(|e| self.at(ranges.span(), e.what()).found(ranges.get_ref()))?;
        }
        if let Some(split) = &raw.quantize.split
            && !super::quantize::SPLIT.contains(split.get_ref())
        {
            return Err(self
                .at(split.span(), "split is out of its range")
                .found(split.get_ref().to_string())
                .allowed("0 to 300 percent of the operations"));
        }
        Ok(Recipe {
            workspace: self.resolve(&raw.workspace, folder)?,
            seed: raw.seed,
            cfg: self.existing(&raw.model.cfg)?,
            weights: self.existing(&raw.model.weights)?,
            names: self.existing(&raw.model.names)?,
            train: self.existing(&raw.data.train)?,
            val: self.existing(&raw.data.val)?,
            prune,
            quantize: raw.quantize,
            target: raw.compile.target,
            allow_processor: raw.compile.allow_processor,
            pictures: raw.detect.pictures.iter().map(|p| self.existing(p)).collect::<Result<_>>()?,
            thresh: self.share(&raw.detect.thresh)?,
        })
    }

    fn prune(&self, raw: Spanned<RawPrune>) -> Result<Prune> {
        let span = raw.span();
        let raw = raw.into_inner();
        match (&raw.threshold, &raw.rate, &raw.budget) {
            (Some(_), Some(rate), _) => {
                return Err(self
                    .at(rate.span(), "[prune] has both threshold and rate")
                    .allowed("one of them")
                    .help("threshold: accuracy that each layer may cost; rate: share of the MACs to cut"));
            }
            (None, None, None) => {
                return Err(self
                    .at(span, "[prune] says not how much")
                    .allowed("threshold = …, rate = … or budget = …"));
            }
            _ => {}
        }
        let kernel_batch = match raw.kernel_batch {
            Some(n) if *n.get_ref() == 0 => {
                return Err(self
                    .at(n.span(), "kernel_batch must be positive")
                    .found("0")
                    .allowed("1, 2, 4, 8 …"));
            }
            other => other.map(Spanned::into_inner),
        };
        let granularity = raw.granularity.as_ref().map(|text| {
            text.get_ref().parse().map_err(|allowed: String| {
                self.at(text.span(), "unknown granularity").found(text.get_ref()).allowed(allowed)
            })
        });
        let share = |value: &Option<Spanned<f64>>| value.as_ref().map(|value| self.share(value)).transpose();
        let mut layers = BTreeMap::new();
        for (key, threshold) in &raw.layers {
            let layer = key.parse().map_err(|_| {
                self.at(threshold.span(), "layers are named by Darknet's numbers")
                    .found(key)
                    .allowed("layers = { 12 = 0.01 }")
            })?;
            layers.insert(layer, self.share(threshold)?);
        }
        Ok(Prune {
            metric: raw.metric.map(Metric::flag),
            criterion: raw.criterion,
            granularity: granularity.transpose()?,
            threshold: share(&raw.threshold)?,
            rate: share(&raw.rate)?,
            budget: share(&raw.budget)?,
            budget_metric: raw.budget_metric.map(Metric::flag),
            repair: raw.repair,
            kernel_batch,
            ignore: raw.ignore,
            layers,
        })
    }

    fn at(&self, span: Range<usize>, what: impl Into<String>) -> Error {
        files::at(self.path, self.text, span, what)
    }

    /// A number in 0..=1.
    fn share(&self, value: &Spanned<f64>) -> Result<f64> {
        let number = *value.get_ref();
        if (0.0..=1.0).contains(&number) {
            return Ok(number);
        }
        Err(self.at(value.span(), "out of range").found(number.to_string()).allowed("0.0 to 1.0"))
    }

    /// Path of a file that must be there.
    fn existing(&self, value: &Spanned<String>) -> Result<PathBuf> {
        let path = self.resolve(value, &self.root)?;
        if path.is_file() {
            return Ok(path);
        }
        Err(self.at(value.span(), format!("no such file: {}", path.display())).help(
            "paths are relative to `root`, or else to the recipe's folder; known models come with \
             `secateur models get NAME`",
        ))
    }

    /// Expands `${NAME}` and `${NAME:-default}`, then takes the path relative to `folder`.
    fn resolve(&self, value: &Spanned<String>, folder: &Path) -> Result<PathBuf> {
        let expanded = expand(value.get_ref(), |name| std::env::var(name).ok().filter(|v| !v.is_empty()))
            .map_err(|what| self.at(value.span(), what))?;
        // What the environment says is meant relative to the working folder, as in a shell.
        let from_environment = value.get_ref().starts_with("${") && !expanded.1;
        Ok(if from_environment { PathBuf::from(expanded.0) } else { tidy(&folder.join(expanded.0)) })
    }
}

/// Leaves out `name/..` where `name` is no link.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        let named = matches!(tidied.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::ParentDir if named && !tidied.is_symlink() => {
                tidied.pop();
            }
            other => tidied.push(other),
        }
    }
    tidied
}

/// Replaces `${NAME}` and `${NAME:-default}`; the flag says that a default was used.
fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<(String, bool), String> {
    let mut out = String::new();
    let mut defaulted = false;
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or_else(|| format!("`${{` without `}}` in {text:?}"))?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        match (lookup(name), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => {
                defaulted = true;
                out.push_str(default);
            }
            (None, None) => return Err(format!("the environment variable {name} is not set")),
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok((out, defaulted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Recipe> {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.cfg", "a.weights", "names", "train.txt", "val.txt"] {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        Recipe::load(&path)
    }

    const GOOD: &str = r#"workspace = "out"

[model]
cfg = "a.cfg"
weights = "a.weights"
names = "names"

[data]
train = "train.txt"
val = "val.txt"

[prune]
threshold = 0.01
layers = { 12 = 0.5 }
"#;

    #[test]
    fn a_good_recipe_is_read() {
        let recipe = load(GOOD).unwrap();
        assert_eq!(recipe.seed, 1);
        assert_eq!(recipe.target, "host");
        assert!(recipe.cfg.ends_with("a.cfg"));
        let prune = recipe.prune.unwrap();
        assert!(prune.threshold == Some(0.01));
        assert_eq!(prune.layers, BTreeMap::from([(12, 0.5)]));
    }

    #[test]
    fn mistakes_are_shown_at_their_lines() {
        for (from, to, line, what) in [
            ("val.txt", "none.txt", 10, "no such file"),
            ("threshold = 0.01", "threshold = 1.5", 13, "out of range"),
            ("threshold = 0.01", "threshold = nan", 13, "out of range"),
            ("threshold = 0.01", "thresold = 0.01", 13, "unknown field"),
            ("threshold = 0.01", "", 12, "says not how much"),
            ("threshold = 0.01", "threshold = 0.01\nrate = 0.5", 14, "both"),
            ("12 = 0.5", "twelve = 0.5", 14, "Darknet's numbers"),
            ("threshold = 0.01", "threshold = 0.01\nmetric = \"mAP\"", 14, "unknown variant"),
            ("threshold = 0.01", "threshold = 0.01\nkernel_batch = 0", 14, "positive"),
            ("threshold = 0.01", "threshold = 0.01\ngranularity = \"vector:0\"", 14, "unknown granularity"),
            ("[prune]", "[quantize]\nranges = \"narrow\"\n[prune]", 13, "unknown rule"),
            ("[prune]", "[quantize]\nsplit = 301.0\n[prune]", 13, "split is out of its range"),
            ("\"out\"", "\"${NO_SUCH_VARIABLE}/x\"", 1, "NO_SUCH_VARIABLE"),
            ("\"out\"", "\"${HOME\"", 1, "without"),
            ("[prune]", "[prune", 12, ""),
        ] {
            let error = load(&GOOD.replace(from, to)).unwrap_err();
            assert_eq!(error.at_line(), Some(line), "{to}: {error}");
            assert!(error.to_string().contains(what), "{to}: {error}");
        }
    }

    #[test]
    fn ways_back_are_left_out_of_paths() {
        for (path, tidied) in
            [("a/b/../../out/x", "out/x"), ("../a/../b", "../b"), ("/a/../b", "/b"), ("a", "a")]
        {
            assert_eq!(tidy(Path::new(path)), Path::new(tidied));
        }
    }

    #[test]
    fn variables_expand_like_a_shell() {
        let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
        assert_eq!(expand("${A}/b", lookup).unwrap(), ("x/b".to_owned(), false));
        assert_eq!(expand("${B:-../y}/b", lookup).unwrap(), ("../y/b".to_owned(), true));
        assert!(expand("${B}", lookup).is_err());
    }
}
