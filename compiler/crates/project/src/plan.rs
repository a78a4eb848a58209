//! The steps of a recipe, each an ordinary command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use secateur_base::{Result, files};
use secateur_data::{label_path, read_list};
use secateur_eval::Metric;
use secateur_prune::Criterion;

use crate::overview::{FLOAT_REPORT, INT8_REPORT, PRUNED_REPORT};
use crate::recipe::{Prune, Recipe, TargetChoice};
use crate::step::path_word;
use crate::{Arg, Step};

/// The steps of a recipe, in their order.
pub struct Plan<'a> {
    recipe: &'a Recipe,
    /// Images of both lists, and their labels.
    train: Vec<PathBuf>,
    val: Vec<PathBuf>,
    steps: Vec<Step>,
}

impl<'a> Plan<'a> {
    /// Plans the steps of a checked recipe.
    ///
    /// # Errors
    /// A list cannot be read, or a result would overwrite an input.
    pub fn new(recipe: &'a Recipe) -> Result<Self> {
        let (train, val) = (content_of(&recipe.train)?, content_of(&recipe.val)?);
        let mut plan = Self { recipe, train, val, steps: Vec::new() };
        let (mut cfg, mut weights) = (recipe.cfg.clone(), recipe.weights.clone());
        plan.map("map-float", vec![input(&cfg), input(&weights)], FLOAT_REPORT);
        if let Some(prune) = &recipe.prune {
            if prune.needs_sensitivities() {
                plan.ana(prune);
            }
            plan.prune(prune);
            plan.transform();
            cfg = recipe.workspace.join("pruned.cfg");
            weights = recipe.workspace.join("pruned.weights");
            plan.map("map-pruned", vec![input(&cfg), input(&weights)], PRUNED_REPORT);
        }
        plan.quantize(&cfg, &weights);
        plan.compile();
        let against = [plan.result("model.sct"), text("--against"), input(&cfg), input(&weights)];
        plan.map("map-int8", against.to_vec(), INT8_REPORT);
        plan.check_paths()?;
        Ok(plan)
    }

    /// The steps whose results are kept.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The command that draws what the artefact finds, where the recipe names images. It is quick, and its output
    /// is what the user came for: it runs in every build.
    pub fn detect(&self) -> Option<Vec<OsString>> {
        let recipe = self.recipe;
        let mut command: Vec<OsString> = vec!["detect".into()];
        command.push(path_word(&recipe.workspace.join("model.sct")));
        command.extend(recipe.images.iter().map(|image| path_word(image)));
        command.extend(["--thresh".into(), recipe.thresh.to_string().into(), "--out".into()]);
        command.push(path_word(&recipe.workspace.join("detections")));
        (!recipe.images.is_empty()).then_some(command)
    }

    /// Refuses a workspace whose results would overwrite what the recipe names.
    fn check_paths(&self) -> Result<()> {
        let Recipe { workspace, cfg, weights, names, train, val, images, .. } = self.recipe;
        let outputs: Vec<PathBuf> =
            self.steps.iter().flat_map(Step::outputs).map(|name| workspace.join(name)).collect();
        let named = [cfg, weights, names, train, val].into_iter().chain(images);
        let inputs: Vec<&PathBuf> = named.chain(&self.train).chain(&self.val).collect();
        files::refuse_overwrite(&inputs, &outputs)
    }

    fn push(&mut self, name: &'static str, args: Vec<Arg>, also_reads: Vec<PathBuf>) {
        self.steps.push(Step { name, args, also_reads, also_writes: vec![] });
    }

    fn ana(&mut self, prune: &Prune) {
        let recipe = self.recipe;
        let mut args = vec![text("ana"), input(&recipe.cfg), input(&recipe.weights)];
        args.extend([text("--list"), input(&recipe.train), text("--names"), input(&recipe.names)]);
        args.extend(option("--metric", prune.metric.map(Metric::name)));
        args.extend(self.shared(prune));
        args.extend([text("-o"), Arg::Output("ana.json")]);
        self.push("ana", args, self.train.clone());
    }

    fn prune(&mut self, prune: &Prune) {
        let recipe = self.recipe;
        let mut args = vec![text("prune"), input(&recipe.cfg), input(&recipe.weights)];
        if prune.needs_sensitivities() {
            args.extend([text("--ana"), self.result("ana.json")]);
        }
        args.extend([text("--list"), input(&recipe.val), text("--names"), input(&recipe.names)]);
        args.extend([text("--train"), input(&recipe.train)]);
        args.extend(option("--rate", prune.rate));
        args.extend(option("--budget", prune.budget));
        args.extend(option("--metric", prune.budget_metric.map(Metric::name)));
        args.extend(self.shared(prune));
        args.extend([text("--masks"), Arg::Output("weights.mask"), text("-o"), Arg::Output("weights.prune")]);
        self.push("prune", args, [self.train.clone(), self.val.clone()].concat());
    }

    /// Options that `ana` and `prune` share.
    fn shared(&self, prune: &Prune) -> Vec<Arg> {
        let mut args: Vec<Arg> = option("--threshold", prune.threshold).collect();
        for (layer, threshold) in &prune.layers {
            args.extend([text("--layer-threshold"), text(format!("{layer}={threshold}"))]);
        }
        args.extend(option("--criterion", prune.criterion.map(Criterion::name)));
        args.extend(option("--granularity", prune.granularity));
        args.extend(option("--ignore", (!prune.ignore.is_empty()).then(|| joined(&prune.ignore))));
        args.extend(option("--kernel-batch", prune.kernel_batch));
        args.extend((prune.reconstruction == Some(false)).then(|| text("--no-reconstruction")));
        args.extend([text("--seed"), text(self.recipe.seed)]);
        args
    }

    fn transform(&mut self) {
        let args = vec![
            text("transform"),
            input(&self.recipe.cfg),
            self.result("weights.prune"),
            text("--masks"),
            self.result("weights.mask"),
            text("--out-cfg"),
            Arg::Output("pruned.cfg"),
            text("--out-weights"),
            Arg::Output("pruned.weights"),
        ];
        self.push("transform", args, vec![]);
    }

    /// Accuracy of a network on the held-out images.
    fn map(&mut self, name: &'static str, network: Vec<Arg>, report: &'static str) {
        let recipe = self.recipe;
        let mut args = vec![text("map")];
        args.extend(network);
        args.extend([text("--list"), input(&recipe.val), text("--names"), input(&recipe.names)]);
        args.extend([text("--seed"), text(recipe.seed), text("--report"), Arg::Output(report)]);
        self.push(name, args, self.val.clone());
    }

    fn quantize(&mut self, cfg: &Path, weights: &Path) {
        let recipe = self.recipe;
        // The artefact carries the name of the cfg.
        let mut args = vec![text("quantize"), Arg::NamedInput(cfg.to_owned()), input(weights)];
        args.extend([text("--list"), input(&recipe.train), text("--names"), input(&recipe.names)]);
        args.extend(option("--ranges", recipe.quantize.ranges.as_ref()));
        args.extend(option("--split", recipe.quantize.split));
        args.extend((recipe.quantize.equalize == Some(false)).then(|| text("--no-equalize")));
        args.extend((recipe.quantize.bias_correction == Some(false)).then(|| text("--no-bias-correction")));
        args.extend([text("--seed"), text(recipe.seed), text("--report"), Arg::Output("quantisation.txt")]);
        args.extend([text("-o"), Arg::Output("model.int8")]);
        self.push("quantize", args, self.train.clone());
    }

    fn compile(&mut self) {
        let target = match &self.recipe.target {
            TargetChoice::BuiltIn(name) => text(name),
            TargetChoice::File(path) => input(path),
        };
        let mut args = vec![text("compile"), self.result("model.int8"), text("--target"), target];
        if self.recipe.allow_processor {
            args.push(text("--allow-processor"));
        }
        args.extend([text("-o"), Arg::Output("model.sct")]);
        self.steps.push(Step {
            name: "compile",
            args,
            also_reads: vec![],
            also_writes: vec!["model.sct.json"],
        });
    }

    /// A result of an earlier step, as input.
    fn result(&self, name: &str) -> Arg {
        Arg::Input(self.recipe.workspace.join(name))
    }
}

/// The images of a list, and their labels where they have some.
fn content_of(list: &Path) -> Result<Vec<PathBuf>> {
    let images = read_list(list)?;
    let labels: Vec<_> = images.iter().map(|image| label_path(image)).filter(|p| p.is_file()).collect();
    Ok([images, labels].concat())
}

fn text(value: impl ToString) -> Arg {
    Arg::Text(value.to_string())
}

fn input(path: &Path) -> Arg {
    Arg::Input(path.to_owned())
}

/// A flag and its value, where there is one.
fn option(flag: &str, value: Option<impl ToString>) -> impl Iterator<Item = Arg> {
    value.into_iter().flat_map(move |value| [text(flag), text(value)])
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
