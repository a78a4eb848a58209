//! Recipes: what `build` makes of one network, in TOML, checked as a whole before any work starts.

mod check;
mod paths;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Result, files};
use secateur_eval::Metric;
use secateur_prune::search::Search;
use secateur_prune::{Criterion, Granularity};

/// A checked recipe: every path is resolved, every file is there, every value is one that its step takes.
#[derive(Debug)]
pub struct Recipe {
    /// Folder of the results and of the finished steps.
    pub workspace: PathBuf,
    pub seed: u64,
    pub cfg: PathBuf,
    pub weights: PathBuf,
    pub names: PathBuf,
    /// Image list of the sensitivity analysis and the calibration.
    pub train: PathBuf,
    /// Held-out image list: nothing is fitted to it, but pruning and training are chosen by it.
    pub val: PathBuf,
    /// Image list that accuracy is reported on, and nothing else is done with; `None`: on `val`.
    pub test: Option<PathBuf>,
    pub prune: Option<Prune>,
    pub finetune: Option<Finetune>,
    pub quantize: Quantize,
    pub target: TargetChoice,
    /// The target has an accelerator.
    pub accelerated: bool,
    /// The processor may run what the target's accelerator cannot.
    pub allow_processor: bool,
    /// Images that the finished artefact's detections are drawn on.
    pub images: Vec<PathBuf>,
    /// Minimum score of a drawn detection.
    pub thresh: f64,
}

/// The `[prune]` section; `None` leaves the step's own default.
#[derive(Debug)]
pub struct Prune {
    /// Metric of the sensitivities.
    pub metric: Option<Metric>,
    pub criterion: Option<&'static dyn Criterion>,
    /// How the ratios of the groups are chosen.
    pub allocation: Option<&'static dyn Search>,
    pub granularity: Option<Granularity>,
    /// Relative loss of accuracy that each layer, pruned alone, may cost.
    pub threshold: Option<f64>,
    /// Fraction of the MACs to remove, in all rounds together.
    pub rate: Option<f64>,
    /// Times that the network is pruned and trained further.
    pub rounds: u32,
    /// Joint loss of accuracy on held-out images that pruning may cost.
    pub budget: Option<f64>,
    /// Metric of the budget.
    pub budget_metric: Option<Metric>,
    /// Re-fit consumer weights to compensate for removed channels.
    pub reconstruction: Option<bool>,
    pub kernel_batch: Option<usize>,
    /// Layers that stay whole.
    pub ignore: Vec<usize>,
    /// Thresholds of single layers, in place of the common one.
    pub layers: BTreeMap<usize, f64>,
}

impl Prune {
    /// Returns whether the search reads sensitivities.
    pub fn needs_sensitivities(&self) -> bool {
        self.allocation.is_none_or(Search::measures_groups)
    }
}

/// The `[finetune]` section; `None` leaves the step's own default.
#[derive(Debug)]
pub struct Finetune {
    /// Passes over `train` after the last round; half as many after every earlier one.
    pub epochs: Option<u32>,
    pub batch: Option<u32>,
    pub rate: Option<f64>,
    pub patience: Option<u32>,
    /// The network as trained is the teacher.
    pub teacher: bool,
    /// The network has batch norm, whose statistics are computed anew before it is trained.
    pub recalibrate: bool,
}

/// The `[quantize]` section; `None` leaves the step's own default.
#[derive(Debug, Default)]
pub struct Quantize {
    /// As [`secateur_quant::RangeRule`] reads it.
    pub ranges: Option<String>,
    /// Percent of additional MACs that channel splitting may cost.
    pub split: Option<f64>,
    pub equalize: Option<bool>,
    pub bias_correction: Option<bool>,
}

/// The target of `[compile]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetChoice {
    /// One that comes with the tool.
    BuiltIn(String),
    /// A target file.
    File(PathBuf),
}

impl Recipe {
    /// Reads and checks a recipe and the files that it names; paths in it are relative to its folder.
    ///
    /// # Errors
    /// Points at the line of the recipe that is wrong, or at that of a file that the recipe names.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MAX_TEXT_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let good = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]).into_owned();
            files::at(path, &good, good.len()..good.len(), "a recipe is UTF-8 text")
        })?;
        let raw: raw::Recipe = files::parse_toml(path, &text)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        check::Checker::new(path, &text, folder).recipe(raw)
    }
}
