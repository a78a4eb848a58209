//! Turns raw recipes into checked ones; every error points at its line.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, files};
use secateur_codegen::target::Target;
use secateur_data::{label_path, read_list, read_names};
use secateur_eval::{Heads, Metric};
use secateur_frontend::darknet::{self, Network};
use secateur_ir::Graph;
use secateur_prune::search::{self, Search, rate_of_factor};
use secateur_prune::{Criterion, Granularity, criteria};
use secateur_quant::{RangeRule, SPLIT_PERCENT};
use toml::Spanned;

use super::{Finetune, Prune, Quantize, Recipe, TargetChoice, paths, raw};

/// Keep counts that `prune --kernel-batch` takes.
const KERNEL_BATCH: RangeInclusive<usize> = 1..=1024;
/// Rounds of pruning and training.
const ROUNDS: RangeInclusive<u32> = 1..=20;

pub(super) struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
    /// Folder of the recipe.
    folder: PathBuf,
    /// Folder that the paths of input files are relative to.
    root: PathBuf,
}

impl<'a> Checker<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str, folder: PathBuf) -> Self {
        Self { path, text, root: folder.clone(), folder }
    }

    pub(super) fn recipe(mut self, raw: raw::Recipe) -> Result<Recipe> {
        if let Some(root) = &raw.root {
            self.root = self.resolve(root, &self.folder)?;
        }
        let (choice, target) = self.target(&raw.compile.target)?;
        let mut recipe = Recipe {
            workspace: self.resolve(&raw.workspace, &self.folder)?,
            seed: raw.seed,
            cfg: self.existing(&raw.model.cfg)?,
            weights: self.existing(&raw.model.weights)?,
            names: self.existing(&raw.model.names)?,
            train: self.existing(&raw.data.train)?,
            val: self.existing(&raw.data.val)?,
            test: raw.data.test.as_ref().map(|test| self.existing(test)).transpose()?,
            prune: raw.prune.as_ref().map(|prune| self.prune(prune)).transpose()?,
            finetune: raw.finetune.as_ref().map(|finetune| self.finetune(finetune)).transpose()?,
            quantize: self.quantize(&raw.quantize)?,
            accelerated: target.accelerator.is_some(),
            target: choice,
            allow_processor: raw.compile.allow_processor,
            images: raw.detect.images.iter().map(|p| self.existing(p)).collect::<Result<_>>()?,
            thresh: self.fraction(&raw.detect.thresh)?,
        };
        let network = self.files(&raw, &recipe)?;
        if let Some((finetune, raw)) = recipe.finetune.as_mut().zip(raw.finetune.as_ref()) {
            finetune.recalibrate = network.weights()?.layers.iter().any(|layer| layer.batch_norm.is_some());
            let asked = raw.get_ref().teacher.as_ref().filter(|teacher| *teacher.get_ref());
            let reason = match (recipe.prune.is_some(), network.graph.has_heads()) {
                (false, _) => Some("a network that is not pruned has no teacher"),
                (true, false) => Some("a teacher is followed at a detector's heads, and there are none"),
                (true, true) => None,
            };
            if let Some((asked, reason)) = asked.zip(reason) {
                return Err(self.at(asked.span(), reason).allowed("teacher = false"));
            }
            finetune.teacher &= reason.is_none();
        }
        self.rounds_fit(&raw, &recipe)?;
        Ok(recipe)
    }

    fn prune(&self, spanned: &Spanned<raw::Prune>) -> Result<Prune> {
        let raw = spanned.get_ref();
        let rate = self.rate(raw)?;
        match (&raw.threshold, &rate, &raw.budget) {
            (Some(_), Some((_, span)), _) => {
                return Err(self
                    .at(span.clone(), "[prune] has both threshold and rate")
                    .allowed("one of them")
                    .help(
                        "threshold: accuracy that each layer may cost; rate and target.macs: how far the MACs shrink",
                    ));
            }
            (None, None, None) => {
                return Err(self
                    .at(spanned.span(), "[prune] needs threshold, rate, target.macs or budget")
                    .allowed("threshold = …, rate = …, target.macs = \"3x\" or budget = …"));
            }
            _ => {}
        }
        if let Some(n) = raw.kernel_batch.as_ref().filter(|n| !KERNEL_BATCH.contains(n.get_ref())) {
            return Err(self
                .at(n.span(), "kernel_batch is out of range")
                .found(n.get_ref().to_string())
                .allowed(range(&KERNEL_BATCH)));
        }
        let granularity = raw.granularity.as_ref().map(|text| {
            text.get_ref().parse().map_err(|allowed: String| {
                self.at(text.span(), "unknown granularity").found(text.get_ref()).allowed(allowed)
            })
        });
        let mut layers = BTreeMap::new();
        for (key, threshold) in &raw.layers {
            let layer = key.parse().map_err(|_| {
                self.at(threshold.span(), "layers are named by Darknet's numbers")
                    .found(key)
                    .allowed("layers = { 12 = 0.01 }")
            })?;
            layers.insert(layer, self.fraction(threshold)?);
        }
        let fraction =
            |value: &Option<Spanned<f64>>| value.as_ref().map(|value| self.fraction(value)).transpose();
        Ok(Prune {
            metric: self.metric("metric", raw.metric.as_ref())?,
            criterion: raw.criterion.as_ref().map(|name| self.criterion(name)).transpose()?,
            allocation: raw.allocation.as_ref().map(|name| self.allocation(name)).transpose()?,
            granularity: granularity.transpose()?,
            threshold: fraction(&raw.threshold)?,
            rate: rate.map(|(rate, _)| rate),
            rounds: raw.rounds.as_ref().map_or(Ok(1), |n| self.count("rounds", n, ROUNDS))?,
            budget: fraction(&raw.budget)?,
            budget_metric: self.metric("budget_metric", raw.budget_metric.as_ref())?,
            reconstruction: raw.reconstruction,
            kernel_batch: raw.kernel_batch.as_ref().map(|n| *n.get_ref()),
            ignore: raw.ignore.iter().map(|layer| *layer.get_ref()).collect(),
            layers,
        })
    }

    /// The fraction of the MACs to remove, with its place: from `rate` or `target.macs`.
    fn rate(&self, raw: &raw::Prune) -> Result<Option<(f64, Range<usize>)>> {
        match (&raw.rate, &raw.target) {
            (Some(_), Some(target)) => Err(self
                .at(target.macs.span(), "[prune] has both rate and target.macs")
                .allowed("one of them")
                .help("target.macs = \"4x\" is rate = 0.75")),
            (Some(rate), None) => Ok(Some((self.fraction(rate)?, rate.span()))),
            (None, Some(target)) => {
                let text = &target.macs;
                let rate = rate_of_factor(text.get_ref()).map_err(|allowed| {
                    self.at(text.span(), "not a factor").found(text.get_ref()).allowed(allowed)
                })?;
                Ok(Some((rate, text.span())))
            }
            (None, None) => Ok(None),
        }
    }

    fn finetune(&self, spanned: &Spanned<raw::Finetune>) -> Result<Finetune> {
        let raw = spanned.get_ref();
        let count = |key, value: &Option<Spanned<u32>>, range: RangeInclusive<u32>| {
            value.as_ref().map(|value| self.count(key, value, range)).transpose()
        };
        if let Some(rate) =
            raw.rate.as_ref().filter(|rate| !(*rate.get_ref() > 0.0 && *rate.get_ref() <= 1.0))
        {
            return Err(self
                .at(rate.span(), "rate is out of range")
                .found(rate.get_ref().to_string())
                .allowed("a learning rate above 0, up to 1"));
        }
        Ok(Finetune {
            epochs: count("epochs", &raw.epochs, 1..=u32::MAX)?,
            batch: count("batch", &raw.batch, 1..=4096)?,
            rate: raw.rate.as_ref().map(|rate| *rate.get_ref()),
            patience: count("patience", &raw.patience, 1..=u32::MAX)?,
            teacher: raw.teacher.as_ref().is_none_or(|teacher| *teacher.get_ref()),
            recalibrate: false,
        })
    }

    fn count(&self, key: &str, value: &Spanned<u32>, allowed: RangeInclusive<u32>) -> Result<u32> {
        if allowed.contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        Err(self
            .at(value.span(), format!("{key} is out of range"))
            .found(value.get_ref().to_string())
            .allowed(range(&allowed)))
    }

    fn quantize(&self, raw: &raw::Quantize) -> Result<Quantize> {
        if let Some(ranges) = &raw.ranges {
            let rule = ranges.get_ref().parse::<RangeRule>();
            rule.map_err(|e| self.point(e, ranges.span()))?;
        }
        if let Some(split) = raw.split.as_ref().filter(|split| !SPLIT_PERCENT.contains(split.get_ref())) {
            return Err(self
                .at(split.span(), "split is out of range")
                .found(split.get_ref().to_string())
                .allowed("0 to 300 percent of the operations"));
        }
        Ok(Quantize {
            ranges: raw.ranges.as_ref().map(|ranges| ranges.get_ref().clone()),
            split: raw.split.as_ref().map(|split| *split.get_ref()),
            equalize: raw.equalize,
            bias_correction: raw.bias_correction,
        })
    }

    fn target(&self, raw: &Spanned<String>) -> Result<(TargetChoice, Target)> {
        let is_file = raw.get_ref().ends_with(".toml");
        if is_file {
            let path = self.existing(raw)?;
            let target = load_target(&path)?;
            return Ok((TargetChoice::File(path), target));
        }
        let target = Target::load(raw.get_ref()).map_err(|e| self.point(e, raw.span()))?;
        Ok((TargetChoice::BuiltIn(raw.get_ref().clone()), target))
    }

    /// Checks what the recipe says against the network, the names and the lists that it names; returns the network.
    fn files(&self, raw: &raw::Recipe, recipe: &Recipe) -> Result<Network> {
        let network = darknet::load(&recipe.cfg, Some(&recipe.weights))?;
        let graph = &network.graph;
        let heads = Heads::of(graph)?;
        let classes = match (heads.heads.is_empty(), graph.nodes.last()) {
            (false, _) => heads.classes,
            (true, last) => last.map_or(0, |node| node.shape.len()),
        };
        let names = read_names(&recipe.names)?;
        if names.len() != classes {
            return Err(self
                .at(raw.model.names.span(), "names and network do not belong together")
                .found(format!("{} names", names.len()))
                .allowed(format!("{classes}, one for each class of the network")));
        }
        for list in [&recipe.train, &recipe.val].into_iter().chain(&recipe.test) {
            read_list(list)?;
        }
        self.criterion_fits(&raw.prune, recipe, heads.heads.is_empty())?;
        if let Some(prune) = &raw.prune {
            self.prune_fits(prune.get_ref(), graph, heads.heads.is_empty())?;
        }
        if let Some(finetune) = raw.finetune.as_ref().filter(|_| !heads.heads.is_empty()) {
            self.require_labels(recipe, finetune.span(), "[finetune]".to_owned())?;
        }
        Ok(network)
    }

    /// Checks that rounds of pruning have a training after each, and a goal that can be shared out.
    fn rounds_fit(&self, raw: &raw::Recipe, recipe: &Recipe) -> Result<()> {
        let Some((raw, prune)) = raw.prune.as_ref().zip(recipe.prune.as_ref()) else { return Ok(()) };
        let vectors = matches!(prune.granularity, Some(Granularity::Vector { .. }));
        let uniform = prune.allocation.is_some_and(|search| search.name() == search::Uniform.name());
        if let Some(target) = raw.get_ref().target.as_ref().filter(|_| uniform) {
            return Err(self
                .at(target.macs.span(), "the allocation `uniform` knows no target of MACs")
                .help("its rate is the fraction of each group's units: give rate"));
        }
        let Some(rounds) = raw.get_ref().rounds.as_ref().filter(|_| prune.rounds > 1) else { return Ok(()) };
        if vectors {
            return Err(self
                .at(rounds.span(), "vectors are pruned in one round")
                .help("leave rounds out, or prune channels"));
        }
        if recipe.finetune.is_none() {
            return Err(self
                .at(rounds.span(), "rounds of pruning need a training after each")
                .help("add a [finetune] section"));
        }
        if prune.rate.is_none() || prune.budget.is_some() {
            return Err(self
                .at(rounds.span(), "rounds share out a rate, and there is none")
                .allowed("target.macs or rate, without budget"));
        }
        Ok(())
    }

    /// Checks that the criterion ranks units of the granularity, and that it has the labels that it needs.
    fn criterion_fits(
        &self,
        raw: &Option<Spanned<raw::Prune>>,
        recipe: &Recipe,
        classifier: bool,
    ) -> Result<()> {
        let Some((raw, Some(name))) = raw.as_ref().map(|raw| (raw.get_ref(), &raw.get_ref().criterion))
        else {
            return Ok(());
        };
        let criterion = self.criterion(name)?;
        let granularity = recipe.prune.as_ref().and_then(|prune| prune.granularity).unwrap_or_default();
        if !criterion.ranks(granularity) {
            let span = raw.granularity.as_ref().map_or(name.span(), Spanned::span);
            return Err(self
                .at(span, format!("the criterion `{}` ranks no units of this granularity", name.get_ref()))
                .found(granularity.to_string())
                .allowed("granularity = \"channel\", or another criterion"));
        }
        if criterion.needs_gradients() && !classifier {
            self.require_labels(recipe, name.span(), format!("the criterion `{}`", name.get_ref()))?;
        }
        Ok(())
    }

    /// Checks that images to train on have labels.
    fn require_labels(&self, recipe: &Recipe, span: Range<usize>, who: String) -> Result<()> {
        if read_list(&recipe.train)?.iter().any(|image| label_path(image).is_file()) {
            return Ok(());
        }
        Err(self
            .at(span, format!("{who} needs labels"))
            .found(format!("none beside the images of {}", recipe.train.display()))
            .help("label the images of `train`, or do without"))
    }

    /// Checks layer numbers and metrics against the network.
    fn prune_fits(&self, raw: &raw::Prune, graph: &Graph, classifier: bool) -> Result<()> {
        let count = graph.nodes.len();
        let ignored = raw.ignore.iter().map(|layer| (*layer.get_ref(), layer.span()));
        let own = raw.layers.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value.span())));
        for (layer, span) in ignored.chain(own) {
            if layer >= count {
                return Err(self
                    .at(span, "the network has no such layer")
                    .found(layer.to_string())
                    .allowed(format!("0 to {}", count.saturating_sub(1))));
            }
        }
        for (key, metric) in [("metric", &raw.metric), ("budget_metric", &raw.budget_metric)] {
            if let (Some(text), Some(metric)) = (metric, self.metric(key, metric.as_ref())?)
                && !metric.suits(classifier)
            {
                let all = Metric::ALL.into_iter().filter(|metric| metric.suits(classifier));
                let kind = if classifier { "classifier" } else { "detector" };
                return Err(self
                    .at(text.span(), format!("{metric} is not defined for a {kind}"))
                    .found(text.get_ref())
                    .allowed(all.map(Metric::name).collect::<Vec<_>>().join(", ")));
            }
        }
        Ok(())
    }

    fn metric(&self, key: &str, name: Option<&Spanned<String>>) -> Result<Option<Metric>> {
        let Some(name) = name else { return Ok(None) };
        name.get_ref().parse().map(Some).map_err(|allowed: String| {
            self.at(name.span(), format!("unknown {key}")).found(name.get_ref()).allowed(allowed)
        })
    }

    fn criterion(&self, name: &Spanned<String>) -> Result<&'static dyn Criterion> {
        criteria::by_name(name.get_ref()).ok_or_else(|| {
            let names: Vec<_> = criteria::CRITERIA.iter().map(|criterion| criterion.name()).collect();
            self.at(name.span(), "unknown criterion").found(name.get_ref()).allowed(names.join(", "))
        })
    }

    fn allocation(&self, name: &Spanned<String>) -> Result<&'static dyn Search> {
        search::by_name(name.get_ref()).ok_or_else(|| {
            let names: Vec<_> = search::SEARCHES.iter().map(|search| search.name()).collect();
            self.at(name.span(), "unknown allocation").found(name.get_ref()).allowed(names.join(", "))
        })
    }

    /// A number in 0..=1.
    fn fraction(&self, value: &Spanned<f64>) -> Result<f64> {
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

    fn resolve(&self, value: &Spanned<String>, folder: &Path) -> Result<PathBuf> {
        paths::resolve(value.get_ref(), folder, paths::variable).map_err(|what| self.at(value.span(), what))
    }

    fn at(&self, span: Range<usize>, what: impl Into<String>) -> Error {
        files::at(self.path, self.text, span, what)
    }

    /// An error of another check, pointed at the recipe.
    fn point(&self, error: Error, span: Range<usize>) -> Error {
        files::point(error, self.path, self.text, span)
    }
}

fn range(range: &RangeInclusive<impl std::fmt::Display>) -> String {
    format!("{} to {}", range.start(), range.end())
}

fn load_target(path: &Path) -> Result<Target> {
    let bytes = files::read_limited(path, MAX_TEXT_BYTES)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Error::new("a target file is UTF-8 text").file(path).found(e.to_string()))?;
    Target::parse(path, text)
}
