//! `build`: runs the steps of a recipe, each an ordinary command, and reuses those whose inputs did not change.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Parser;
use secateur_base::terminal::print;
use secateur_base::{Error, Result, errln, files, outln};
use secateur_data::{Dataset, read_list};
use secateur_frontend::darknet;
use secateur_ir::training::Training;
use secateur_project::{Plan, Recipe, Workspace, overview, shell_line};
use secateur_train::Trainer;

use super::{Cli, Global};

/// Build an artefact as a recipe describes it, reusing finished steps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur build configs/recipes/yolo-fastest-1.1.toml
  secateur build my.toml --dry-run

Kill it at any time: the same command resumes and ends with the same bytes.
docs/recipe.md describes the format.")]
pub(crate) struct Args {
    /// The recipe (TOML).
    recipe: PathBuf,
    /// Check the recipe and print the commands; run none.
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
    if recipe.finetune.is_some() {
        require_trainable(&recipe)?;
        warn_of_selection(&recipe)?;
    }
    let plan = Plan::new(&recipe)?;
    let commands = plan.steps().iter().map(|step| step.command(&recipe.workspace)).chain(plan.detect());
    for command in commands {
        // A command that cannot be parsed shall fail here and not after an hour of other steps.
        parse(&command)?;
        if args.dry_run {
            outln!("secateur {}", shell_line(&command));
        }
    }
    if args.dry_run {
        return Ok(());
    }
    let mut workspace = Workspace::open(&recipe.workspace)?;
    for step in plan.steps() {
        match workspace.run(step, |command| execute(command, global)) {
            Err(error) if step.is_optional => {
                errln!("{:<16} left out: {error}", step.name);
                workspace.discard(step)?;
            }
            done => drop(done?),
        }
    }
    if let Some(command) = plan.detect() {
        execute(&command, global)?;
    }
    let report = overview(&recipe)?;
    print(format_args!("{}", report.to_text()));
    let chart = recipe.workspace.join("overview.svg");
    files::write_bytes(&chart, report.to_svg()?.as_bytes())?;
    outln!("results in {}, chart {}", recipe.workspace.display(), chart.display());
    Ok(())
}

/// Warns where accuracy is reported on images that the network was trained on or chosen by.
fn warn_of_selection(recipe: &Recipe) -> Result<()> {
    let Some(test) = &recipe.test else {
        errln!(
            "warning: accuracy is reported on the images that weights are chosen by; name others under `test`"
        );
        return Ok(());
    };
    let used: HashSet<PathBuf> =
        [read_list(&recipe.train)?, read_list(&recipe.val)?].concat().into_iter().collect();
    if read_list(test)?.iter().any(|image| used.contains(image)) {
        errln!("warning: images of `test` are in `train` or `val` too; the reported accuracy is optimistic");
    }
    Ok(())
}

/// Fails on a network that cannot be trained, and on labels that cannot be read: better here than after the pruning.
fn require_trainable(recipe: &Recipe) -> Result<()> {
    let cfg = &recipe.cfg;
    let network = darknet::load(cfg, Some(&recipe.weights))?;
    if network.graph.has_heads() {
        for list in [&recipe.train, &recipe.val] {
            Dataset::from_list(list, &recipe.names)?;
        }
    }
    let training = Training { batch: 1, subdivisions: 1, ..darknet::training(&network.cfg, &network.graph)? };
    Trainer::<f32>::new(&network.graph, network.weights()?, &training, 0, 0)
        .map(drop)
        .map_err(|error| error.file(cfg))
}

fn parse(command: &[OsString]) -> Result<Cli> {
    let words = std::iter::once(OsStr::new("secateur")).chain(command.iter().map(OsString::as_os_str));
    Cli::try_parse_from(words).map_err(|e| {
        Error::new(format!("a step has a wrong command line: {}", shell_line(command))).found(e.to_string())
    })
}

/// Runs one step's command in this process.
fn execute(command: &[OsString], global: &Global) -> Result<()> {
    let cli = parse(command)?;
    cli.command.run(&Global { seed: cli.global.seed, ..global.clone() })
}
