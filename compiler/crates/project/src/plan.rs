//! The steps of a recipe, each an ordinary command.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use secateur_base::{Result, files};
use secateur_data::{label_path, read_list};
use secateur_eval::Metric;
use secateur_prune::search::Search;
use secateur_prune::{Criterion, Granularity};

use crate::overview::{FLOAT_REPORT, HEALED_REPORT, INT8_REPORT, PRUNED_REPORT};
use crate::recipe::{Finetune, Prune, Recipe, TargetChoice};
use crate::step::path_word;
use crate::workspace::TRAINING;
use crate::{Arg, Step};

/// The steps of a recipe, in their order.
pub struct Plan<'a> {
    recipe: &'a Recipe,
    /// Images of the lists, and their labels.
    train: Vec<PathBuf>,
    val: Vec<PathBuf>,
    test: Vec<PathBuf>,
    steps: Vec<Step>,
}

/// A network on its way through a build.
struct Network {
    cfg: PathBuf,
    weights: PathBuf,
}

impl Network {
    fn args(&self) -> [Arg; 2] {
        [input(&self.cfg), input(&self.weights)]
    }
}

/// A round of pruning and what follows it.
#[derive(Clone, Copy)]
struct Round {
    number: u32,
    of: u32,
}

impl Round {
    fn is_last(self) -> bool {
        self.number == self.of
    }

    /// Name of a step; earlier rounds are numbered.
    fn step(self, name: &str) -> String {
        if self.is_last() { name.to_owned() } else { format!("{name}-{}", self.number) }
    }

    /// Name of a file in the workspace; those of earlier rounds are numbered.
    fn file(self, name: &str) -> String {
        if self.is_last() { name.to_owned() } else { format!("round{}-{name}", self.number) }
    }

    /// The share of this round of the MACs to remove: each round leaves the same fraction of what it finds.
    fn rate(self, whole: f64) -> f64 {
        if self.of == 1 { whole } else { 1.0 - (1.0 - whole).powf(1.0 / f64::from(self.of)) }
    }
}

impl<'a> Plan<'a> {
    /// Plans the steps of a checked recipe.
    ///
    /// # Errors
    /// A list cannot be read, or a result would overwrite an input.
    pub fn new(recipe: &'a Recipe) -> Result<Self> {
        let (train, val) = (content_of(&recipe.train)?, content_of(&recipe.val)?);
        let test = recipe.test.as_deref().map_or_else(|| Ok(val.clone()), content_of)?;
        let mut plan = Self { recipe, train, val, test, steps: Vec::new() };
        let mut network = Network { cfg: recipe.cfg.clone(), weights: recipe.weights.clone() };
        plan.map("map-float", network.args().to_vec(), FLOAT_REPORT);
        if recipe.prune.is_some() && recipe.accelerated {
            let first = plan.steps.len();
            plan.quantize("-trained", &network, "trained.int8");
            plan.compile("-trained", "trained.int8", "trained.sct");
            // What the target cannot hold may well be why it is pruned.
            plan.steps[first..].iter_mut().for_each(|step| step.is_optional = true);
        }
        if let Some(prune) = &recipe.prune {
            for number in 1..=prune.rounds {
                network = plan.round(prune, network, Round { number, of: prune.rounds });
            }
        } else if let Some(finetune) = &recipe.finetune {
            network = plan.finetune(finetune, network, Round { number: 1, of: 1 });
        }
        plan.quantize("", &network, "model.int8");
        plan.compile("", "model.int8", "model.sct");
        let [cfg, weights] = network.args();
        plan.map("map-int8", vec![plan.result("model.sct"), text("--against"), cfg, weights], INT8_REPORT);
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
        let Recipe { workspace, cfg, weights, names, train, val, test, images, .. } = self.recipe;
        let outputs: Vec<PathBuf> =
            self.steps.iter().flat_map(Step::outputs).map(|name| workspace.join(name)).collect();
        let named = [cfg, weights, names, train, val].into_iter().chain(test).chain(images);
        let inputs: Vec<&PathBuf> = named.chain(&self.train).chain(&self.val).chain(&self.test).collect();
        files::refuse_overwrite(&inputs, &outputs)
    }

    fn push(&mut self, name: impl Into<String>, args: Vec<Arg>, also_reads: Vec<PathBuf>) {
        self.steps.push(Step {
            name: name.into(),
            args,
            also_reads,
            also_writes: vec![],
            is_optional: false,
        });
    }

    /// Prunes a network, and trains what is left where the recipe says so.
    fn round(&mut self, prune: &Prune, network: Network, round: Round) -> Network {
        if prune.needs_sensitivities() {
            self.ana(prune, &network, round);
        }
        self.prune(prune, &network, round);
        let finetune = self.recipe.finetune.as_ref();
        let recalibrate = finetune.is_some_and(|finetune| finetune.recalibrate);
        let weights = round.file(if recalibrate { "transformed.weights" } else { "pruned.weights" });
        let mut network = self.transform(&network, weights, round);
        if recalibrate {
            network = self.recalibrate(network, round);
        }
        if round.is_last() {
            self.map("map-pruned", network.args().to_vec(), PRUNED_REPORT);
        }
        match finetune {
            Some(finetune) => self.finetune(finetune, network, round),
            None => network,
        }
    }

    fn ana(&mut self, prune: &Prune, network: &Network, round: Round) {
        let recipe = self.recipe;
        let mut args = vec![text("ana")];
        args.extend(network.args());
        args.extend([text("--list"), input(&recipe.train), text("--names"), input(&recipe.names)]);
        args.extend(option("--metric", prune.metric.map(Metric::name)));
        args.extend(self.shared(prune));
        args.extend([text("-o"), Arg::Output(round.file("ana.json"))]);
        self.push(round.step("ana"), args, self.train.clone());
    }

    fn prune(&mut self, prune: &Prune, network: &Network, round: Round) {
        let recipe = self.recipe;
        let mut args = vec![text("prune")];
        args.extend(network.args());
        if prune.needs_sensitivities() {
            args.extend([text("--ana"), self.result(&round.file("ana.json"))]);
        }
        args.extend([text("--list"), input(&recipe.val), text("--names"), input(&recipe.names)]);
        args.extend([text("--train"), input(&recipe.train)]);
        args.extend(option("--allocation", prune.allocation.map(Search::name)));
        args.extend(option("--rate", prune.rate.map(|rate| round.rate(rate))));
        args.extend(option("--budget", prune.budget));
        // Without sensitivities nothing else tells the metric.
        let metric = prune.budget_metric.or(prune.metric.filter(|_| !prune.needs_sensitivities()));
        args.extend(option("--metric", metric.map(Metric::name)));
        args.extend(self.shared(prune));
        args.extend([text("--masks"), Arg::Output(round.file("weights.mask"))]);
        args.extend([text("-o"), Arg::Output(round.file("weights.prune"))]);
        self.push(round.step("prune"), args, [self.train.clone(), self.val.clone()].concat());
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

    fn transform(&mut self, network: &Network, weights: String, round: Round) -> Network {
        let cfg = round.file("pruned.cfg");
        let args = vec![
            text("transform"),
            input(&network.cfg),
            self.result(&round.file("weights.prune")),
            text("--masks"),
            self.result(&round.file("weights.mask")),
            text("--out-cfg"),
            Arg::Output(cfg.clone()),
            text("--out-weights"),
            Arg::Output(weights.clone()),
        ];
        self.push(round.step("transform"), args, vec![]);
        Network { cfg: self.path(&cfg), weights: self.path(&weights) }
    }

    /// The statistics of batch norm, computed anew.
    fn recalibrate(&mut self, network: Network, round: Round) -> Network {
        let weights = round.file("pruned.weights");
        let mut args = vec![text("recalibrate")];
        args.extend(network.args());
        args.extend([text("--list"), input(&self.recipe.train), text("-o"), Arg::Output(weights.clone())]);
        self.push(round.step("recalibrate"), args, self.train.clone());
        Network { weights: self.path(&weights), ..network }
    }

    /// Trains a network further. Its checkpoint is in the workspace, so that a killed build goes on inside the training.
    fn finetune(&mut self, finetune: &Finetune, network: Network, round: Round) -> Network {
        let recipe = self.recipe;
        let weights = round.file("healed.weights");
        let epochs = finetune.epochs.map(|all| if round.is_last() { all } else { all.div_ceil(2) });
        // Files in the folder of trainings have the name of the cfg.
        let mut args = vec![text("finetune"), Arg::NamedInput(network.cfg.clone()), input(&network.weights)];
        args.extend([text("--train"), input(&recipe.train), text("--list"), input(&recipe.val)]);
        args.extend([text("--names"), input(&recipe.names)]);
        args.extend(option("--epochs", epochs));
        args.extend(option("--batch", finetune.batch));
        args.extend(option("--rate", finetune.rate));
        args.extend(option("--patience", finetune.patience));
        if let Some(Granularity::Vector { .. }) = recipe.prune.as_ref().and_then(|prune| prune.granularity) {
            // Vectors stay in the network, as zeros.
            args.extend([text("--masks"), self.result(&round.file("weights.mask"))]);
        }
        if finetune.teacher {
            args.extend([text("--teacher"), input(&recipe.cfg), input(&recipe.weights)]);
        }
        args.extend([text("--seed"), text(recipe.seed), text("--backup"), Arg::Folder(TRAINING)]);
        args.extend([text("--renew"), text("-o"), Arg::Output(weights.clone())]);
        self.push(round.step("finetune"), args, [self.train.clone(), self.val.clone()].concat());
        let healed = Network { weights: self.path(&weights), ..network };
        if round.is_last() {
            self.map("map-healed", healed.args().to_vec(), HEALED_REPORT);
        }
        healed
    }

    /// Accuracy of a network on the images that accuracy is reported on.
    fn map(&mut self, name: &str, network: Vec<Arg>, report: &str) {
        let recipe = self.recipe;
        let list = recipe.test.as_ref().unwrap_or(&recipe.val);
        let mut args = vec![text("map")];
        args.extend(network);
        args.extend([text("--list"), input(list), text("--names"), input(&recipe.names)]);
        args.extend([text("--seed"), text(recipe.seed), text("--report"), Arg::Output(report.to_owned())]);
        self.push(name, args, self.test.clone());
    }

    /// Quantises a network; `which` distinguishes the step.
    fn quantize(&mut self, which: &str, network: &Network, output: &str) {
        let recipe = self.recipe;
        // The artefact carries the name of the cfg.
        let mut args = vec![text("quantize"), Arg::NamedInput(network.cfg.clone()), input(&network.weights)];
        args.extend([text("--list"), input(&recipe.train), text("--names"), input(&recipe.names)]);
        args.extend(option("--ranges", recipe.quantize.ranges.as_ref()));
        args.extend(option("--split", recipe.quantize.split));
        args.extend((recipe.quantize.equalize == Some(false)).then(|| text("--no-equalize")));
        args.extend((recipe.quantize.bias_correction == Some(false)).then(|| text("--no-bias-correction")));
        let report = format!("quantisation{which}.txt");
        args.extend([text("--seed"), text(recipe.seed), text("--report"), Arg::Output(report)]);
        args.extend([text("-o"), Arg::Output(output.to_owned())]);
        self.push(format!("quantize{which}"), args, self.train.clone());
    }

    /// Compiles an int8 network; `which` distinguishes the step.
    fn compile(&mut self, which: &str, net: &str, output: &str) {
        let target = match &self.recipe.target {
            TargetChoice::BuiltIn(name) => text(name),
            TargetChoice::File(path) => input(path),
        };
        let mut args = vec![text("compile"), self.result(net), text("--target"), target];
        if self.recipe.allow_processor {
            args.push(text("--allow-processor"));
        }
        args.extend([text("-o"), Arg::Output(output.to_owned())]);
        self.steps.push(Step {
            name: format!("compile{which}"),
            args,
            also_reads: vec![],
            also_writes: vec![format!("{output}.json")],
            is_optional: false,
        });
    }

    /// A file of the workspace.
    fn path(&self, name: &str) -> PathBuf {
        self.recipe.workspace.join(name)
    }

    /// A result of an earlier step, as input.
    fn result(&self, name: &str) -> Arg {
        Arg::Input(self.path(name))
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
