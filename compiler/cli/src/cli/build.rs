//! `build`: a recipe becomes a row of ordinary commands, each reused where nothing changed.

use std::path::{Path, PathBuf};

use clap::Parser;
use secateur_base::{Error, Result};
use secateur_data as data;

use super::overview;
use super::recipe::{Prune, Recipe};
use super::steps::{Step, Word, Workspace, shell_line};
use super::{Cli, Global};

/// Do everything that a recipe says, reusing finished steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur build configs/recipes/yolo-fastest-1.1.toml
  secateur build my.toml --dry-run

Kill it at any time: the same command goes on where it was and ends with the same bytes.
docs/recipe.md describes the format.")]
pub(crate) struct Args {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Print the commands; run none.
    #[arg(long)]
    dry_run: bool,
    /// Folder of the results, in place of the recipe's.
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let mut recipe = Recipe::load(&args.recipe)?;
    if let Some(workspace) = args.workspace {
        recipe.workspace = workspace;
    }
    let plan = Plan::new(&recipe)?;
    if args.dry_run {
        for command in plan.steps.iter().map(|step| step.command(&recipe.workspace)).chain(plan.detect()) {
            println!("secateur {}", shell_line(&command));
        }
        return Ok(());
    }
    let mut workspace = Workspace::open(&recipe.workspace)?;
    for step in &plan.steps {
        workspace.run(step, |command| execute(command, global))?;
    }
    // Quick, and its output is what the user came for: never skipped.
    if let Some(command) = plan.detect() {
        execute(&command, global)?;
    }
    overview::show(&recipe)
}

/// Runs one step's command in this process.
fn execute(command: &[String], global: &Global) -> Result<()> {
    let words = std::iter::once("secateur").chain(command.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words).map_err(|e| Error::new(format!("a step cannot be started: {e}")))?;
    cli.command.run(&Global { seed: cli.global.seed, ..global.clone() })
}

/// The steps of a recipe, in their order.
struct Plan<'a> {
    recipe: &'a Recipe,
    /// Pictures and labels of both lists.
    train: Vec<PathBuf>,
    val: Vec<PathBuf>,
    steps: Vec<Step>,
}

impl<'a> Plan<'a> {
    fn new(recipe: &'a Recipe) -> Result<Self> {
        let (train, val) = (content_of(&recipe.train)?, content_of(&recipe.val)?);
        let mut plan = Self { recipe, train, val, steps: Vec::new() };
        let (mut cfg, mut weights) = (file(&recipe.cfg), file(&recipe.weights));
        plan.map("map-float", vec![cfg.clone(), weights.clone()], overview::FLOAT);
        if let Some(prune) = &recipe.prune {
            plan.ana(prune);
            plan.prune(prune);
            plan.transform();
            cfg = plan.result("pruned.cfg");
            weights = plan.result("pruned.weights");
            plan.map("map-pruned", vec![cfg.clone(), weights.clone()], overview::PRUNED);
        }
        plan.quantize(cfg.clone(), weights.clone());
        plan.compile();
        plan.map("map-int8", vec![plan.result("model.sct"), text("--against"), cfg, weights], overview::INT8);
        Ok(plan)
    }

    fn ana(&mut self, prune: &Prune) {
        let recipe = self.recipe;
        let mut words = vec![text("ana"), file(&recipe.cfg), file(&recipe.weights)];
        words.extend([text("--list"), file(&recipe.train), text("--names"), file(&recipe.names)]);
        words.extend(option("--metric", prune.metric.as_deref()));
        words.extend(self.shared(prune));
        words.extend([text("-o"), Word::Output("ana.json")]);
        self.steps.push(Step { name: "ana", words, also_reads: self.train.clone(), also_writes: vec![] });
    }

    fn prune(&mut self, prune: &Prune) {
        let recipe = self.recipe;
        let mut words = vec![text("prune"), file(&recipe.cfg), file(&recipe.weights)];
        words.extend([text("--ana"), self.result("ana.json")]);
        words.extend([text("--list"), file(&recipe.val), text("--names"), file(&recipe.names)]);
        words.extend([text("--train"), file(&recipe.train)]);
        words.extend(option("--rate", prune.rate));
        words.extend(option("--budget", prune.budget));
        words.extend(option("--metric", prune.budget_metric.as_deref()));
        words.extend(self.shared(prune));
        words.extend([
            text("--masks"),
            Word::Output("weights.mask"),
            text("-o"),
            Word::Output("weights.prune"),
        ]);
        let also_reads = [self.train.clone(), self.val.clone()].concat();
        self.steps.push(Step { name: "prune", words, also_reads, also_writes: vec![] });
    }

    /// Options that `ana` and `prune` share.
    fn shared(&self, prune: &Prune) -> Vec<Word> {
        let mut words: Vec<Word> = option("--threshold", prune.threshold).collect();
        for (layer, threshold) in &prune.layers {
            words.extend([text("--layer-threshold"), text(format!("{layer}={threshold}"))]);
        }
        words.extend(option("--criterion", prune.criterion.as_deref()));
        words.extend(option("--granularity", prune.granularity));
        words.extend(option("--ignore", (!prune.ignore.is_empty()).then(|| joined(&prune.ignore))));
        words.extend(option("--kernel-batch", prune.kernel_batch));
        words.extend((prune.repair == Some(false)).then(|| text("--no-reconstruction")));
        words.extend([text("--seed"), text(self.recipe.seed)]);
        words
    }

    fn transform(&mut self) {
        let words = vec![
            text("transform"),
            file(&self.recipe.cfg),
            self.result("weights.prune"),
            text("--masks"),
            self.result("weights.mask"),
            text("--out-cfg"),
            Word::Output("pruned.cfg"),
            text("--out-weights"),
            Word::Output("pruned.weights"),
        ];
        self.steps.push(Step { name: "transform", words, also_reads: vec![], also_writes: vec![] });
    }

    /// Accuracy of a network on the held-out pictures.
    fn map(&mut self, name: &'static str, network: Vec<Word>, report: &'static str) {
        let recipe = self.recipe;
        let mut words = vec![text("map")];
        words.extend(network);
        words.extend([text("--list"), file(&recipe.val), text("--names"), file(&recipe.names)]);
        words.extend([text("--seed"), text(recipe.seed), text("--report"), Word::Output(report)]);
        self.steps.push(Step { name, words, also_reads: self.val.clone(), also_writes: vec![] });
    }

    fn quantize(&mut self, cfg: Word, weights: Word) {
        let recipe = self.recipe;
        let mut words = vec![text("quantize"), cfg, weights];
        words.extend([text("--list"), file(&recipe.train), text("--names"), file(&recipe.names)]);
        words.extend(option("--ranges", recipe.quantize.ranges.as_ref().map(toml::Spanned::get_ref)));
        words.extend(option("--split", recipe.quantize.split.as_ref().map(toml::Spanned::get_ref)));
        words.extend((recipe.quantize.equalize == Some(false)).then(|| text("--no-equalize")));
        words.extend((recipe.quantize.bias_correction == Some(false)).then(|| text("--no-bias-correction")));
        words.extend([text("--seed"), text(recipe.seed), text("--report"), Word::Output("quantisation.txt")]);
        words.extend([text("-o"), Word::Output("model.int8")]);
        self.steps.push(Step {
            name: "quantize",
            words,
            also_reads: self.train.clone(),
            also_writes: vec![],
        });
    }

    fn compile(&mut self) {
        let mut words =
            vec![text("compile"), self.result("model.int8"), text("--target"), text(&self.recipe.target)];
        if self.recipe.allow_processor {
            words.push(text("--allow-processor"));
        }
        words.extend([text("-o"), Word::Output("model.sct")]);
        let also_writes = vec!["model.sct.json"];
        self.steps.push(Step { name: "compile", words, also_reads: vec![], also_writes });
    }

    /// The command that draws what the artefact finds, where the recipe names pictures.
    fn detect(&self) -> Option<Vec<String>> {
        let recipe = self.recipe;
        let pictures = recipe.pictures.iter().map(|picture| picture.display().to_string());
        let mut command = vec!["detect".to_owned(), recipe.workspace.join("model.sct").display().to_string()];
        command.extend(pictures);
        command.extend(["--thresh".to_owned(), recipe.thresh.to_string(), "--out".to_owned()]);
        command.push(recipe.workspace.join("detections").display().to_string());
        (!recipe.pictures.is_empty()).then_some(command)
    }

    /// A result of an earlier step, as input.
    fn result(&self, name: &str) -> Word {
        Word::Input(self.recipe.workspace.join(name))
    }
}

/// The pictures of a list, and their labels where they have some.
fn content_of(list: &Path) -> Result<Vec<PathBuf>> {
    let pictures = data::read_list(list)?;
    let labels: Vec<_> = pictures.iter().map(|p| data::label_path(p)).filter(|p| p.is_file()).collect();
    Ok([pictures, labels].concat())
}

fn text(value: impl ToString) -> Word {
    Word::Text(value.to_string())
}

fn file(path: &Path) -> Word {
    Word::Input(path.to_owned())
}

/// A flag and its value, where there is one.
fn option(flag: &str, value: Option<impl ToString>) -> impl Iterator<Item = Word> {
    value.into_iter().flat_map(move |value| [text(flag), text(value)])
}

fn joined(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
