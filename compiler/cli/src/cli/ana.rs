//! `ana`: the sensitivity of each prune group.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use secateur_base::{Result, files, outln};
use secateur_eval::{Evaluator, Metric};
use secateur_float::Plan;
use secateur_prune::criteria::Evidence;
use secateur_prune::sensitivity::{RATES, Work};
use secateur_prune::store::Origin;
use secateur_prune::{Analysis, Deploy, Numeric, Store};

use super::Global;
use super::images::ImageSource;
use super::pruning::{self, Common, Subject};

/// Threshold where neither flag nor config file gives one: one point of accuracy.
const DEFAULT_THRESHOLD: f64 = 0.01;

/// Measure how sensitive each prune group is to pruning.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur ana model.cfg model.weights --data coco.data --threshold 0.01 -o ana.json
  secateur ana model.cfg model.weights --list train.txt --names coco.names --metric map
  secateur ana model.cfg model.weights --data coco.data --numeric int8 --metric map
  secateur ana pruning.cfg model.weights     (the closed pruner's config file)

Kill it at any time: the same command resumes and ends with the same bytes.")]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    source: ImageSource,
    /// Only the first N images.
    #[arg(long, alias = "pictures", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// The measure of accuracy [default: dp for detectors, top1 for classifiers].
    #[arg(long, value_parser = pruning::metric_parser())]
    metric: Option<Metric>,
    /// Measure all nine ratios of every group instead of searching for the threshold.
    #[arg(long)]
    curves: bool,
    /// Arithmetic in which a group's loss is measured: `float`, or `int8`, the loss of the int8 network, which is
    /// calibrated anew for every measurement [default: float].
    #[arg(long, value_name = "NUMERIC", value_parser = numeric_parser())]
    numeric: Option<Numeric>,
    /// Also do it as the closed pruner does (nine runs over all images for each group), and compare.
    #[arg(long, conflicts_with = "numeric")]
    naive: bool,
    /// File of the sensitivities [default: ana.json].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn numeric_parser() -> impl TypedValueParser<Value = Numeric> {
    PossibleValuesParser::new(["float", "int8"])
        .map(|name| if name == "int8" { Numeric::Int8 } else { Numeric::Float })
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let started = Instant::now();
    let mut subject = Subject::open(&args.common)?;
    subject.numeric = args.numeric.unwrap_or_default();
    let output = args.output(&subject);
    files::refuse_overwrite(&args.common.inputs(&subject.config, &args.source)?, &[&output])?;
    let origin = args.origin(&subject);
    let metric = args.metric.unwrap_or(subject.usual_metric());
    let threshold = subject.common_threshold(&args.common).unwrap_or(DEFAULT_THRESHOLD);

    let dataset = subject.dataset(&origin, "train", metric)?;
    files::refuse_overwrite(&dataset.files().collect::<Vec<_>>(), &[&output])?;
    let plan = Plan::new(subject.graph(), subject.network.weights()?)?;
    let evaluator = Evaluator::new(metric, &plan, &dataset)?;
    let gradients = subject.gradients(&origin, "train", &evaluator)?;
    let units = subject.units()?;
    let activations = subject.activations(units.as_ref(), &evaluator)?;
    let statistics = subject.statistics(&evaluator)?;
    let (evaluator, int8) = subject.in_numeric(evaluator, global.seed)?;
    let in_int8 = int8.as_ref().map(|int8| int8.measure(&evaluator));
    let units = subject.ranked(
        units.as_ref(),
        subject.criterion,
        Evidence {
            statistics: statistics.as_ref(),
            gradients: gradients.as_ref(),
            activations: activations.as_ref(),
        },
        subject.reconstruction,
        &[],
        global.seed,
    );
    let thresholds = subject.thresholds(&args.common, units.groups(), threshold)?;
    let analysis = Analysis {
        units: &units,
        evaluator: &evaluator,
        kernel_batch: subject.kernel_batch,
        ignored: &subject.ignored,
        deploy: in_int8.as_ref().map(|measure| measure as Deploy),
        work: Work::default(),
    };
    let setting = subject.setting(&evaluator, gradients.as_ref(), global.seed);
    let mut store = Store::resume(setting, origin, &output)?;
    if args.curves {
        analysis.curves(&mut store, None, Some(&output))?;
    }
    let keep = analysis.choose(&mut store, &thresholds, Some(&output))?;
    store.save(&output)?;
    let elapsed = started.elapsed();

    print_groups(&analysis, &store, &keep, &thresholds);
    if subject.numeric == Numeric::Float {
        let images = evaluator.len() as u64;
        let moments = statistics.as_ref().map_or(0, |s| plan.macs() * images + s.macs());
        report(&analysis, plan.macs(), plan.macs() * images + moments)?;
    }
    outln!(
        "{} groups in {:.1} s, sensitivities in {}",
        analysis.prunable().len(),
        elapsed.as_secs_f64(),
        output.display()
    );
    subject.write_pruned_cfg()?;
    if args.naive {
        compare_naively(analysis, Store::new(store.setting, store.origin), &keep, &thresholds)?;
    }
    Ok(())
}

impl Args {
    /// The file of the sensitivities: as asked for, or as the config file has it.
    fn output(&self, subject: &Subject) -> PathBuf {
        let config = subject.config.as_ref();
        let usual = || match config {
            Some(config) => config.workspace.join("ana.out"),
            None => PathBuf::from("ana.json"),
        };
        self.output.clone().or(config.and_then(|c| c.sensitivities.clone())).unwrap_or_else(usual)
    }

    fn origin(&self, subject: &Subject) -> Origin {
        let data = subject.config.as_ref().and_then(|config| config.data.clone());
        Origin {
            data: self.source.data.clone().or(data.filter(|_| self.source.list.is_none())),
            list: self.source.list.clone(),
            names: self.source.names.clone(),
            images: self.images.map(|n| n as usize),
            ignored: subject.ignored.clone(),
        }
    }
}

/// Prints each prunable group with the ratio that was chosen for it, and that ratio's loss.
fn print_groups(analysis: &Analysis, store: &Store, keep: &[usize], thresholds: &[f64]) {
    for group in analysis.prunable() {
        let details = &analysis.units.groups()[group];
        let layers: Vec<String> = std::iter::once(details.primary)
            .chain(details.dependents.iter().copied())
            .map(|layer| layer.to_string())
            .collect();
        outln!("pruning slot: {},", layers.join(","));
        pruning::print_group(details, keep[group], analysis.kernel_batch);
        let loss = store.get(group, keep[group]).map_or(0.0, |point| point.loss);
        outln!("units:{}, loss:{loss:.6}, threshold:{}", details.units, thresholds[group]);
    }
}

/// Chooses again as the closed pruner does, into the empty `store`, and prints where that differs from `keep`.
fn compare_naively(analysis: Analysis, mut store: Store, keep: &[usize], thresholds: &[f64]) -> Result<()> {
    let started = Instant::now();
    let naive = Analysis { work: Work::default(), ..analysis };
    let chosen = naive.choose_naively(&mut store, thresholds)?;
    let groups = naive.prunable();
    let differing: Vec<usize> =
        groups.iter().copied().filter(|&group| chosen[group] != keep[group]).collect();
    outln!(
        "naive: {:.1} s, the same ratio in {} of {} groups",
        started.elapsed().as_secs_f64(),
        groups.len() - differing.len(),
        groups.len()
    );
    for group in differing {
        let primary = naive.units.groups()[group].primary;
        outln!("  layer {primary}: {} units kept, naive {}", keep[group], chosen[group]);
    }
    Ok(())
}

/// Prints the saving of each method, in full evaluations of all images.
///
/// `full` are the MACs of one run of the network, `preparation` those of the original's runs and statistics.
fn report(analysis: &Analysis, full: u64, preparation: u64) -> Result<()> {
    let groups = analysis.prunable();
    let images = analysis.evaluator.len() as u64;
    let evaluation = (full * images).max(1) as f64;
    let naive = (groups.len() * RATES.len() + 1) as u64 * full * images;
    let mut suffix = preparation + full * images;
    for &group in &groups {
        suffix += analysis.suffix_macs(group)? * RATES.len() as u64 * images;
    }
    let bisection = preparation + analysis.work.without_rejection.load(Ordering::Relaxed);
    let executed = preparation + analysis.work.executed.load(Ordering::Relaxed);
    outln!("{:<34} {:>12} {:>12} {:>8}", "", "GMAC", "evaluations", "times");
    let mut before = naive;
    for (name, macs) in [
        ("groups x 9 + 1 evaluations", naive),
        ("only layers downstream of the cut", suffix),
        ("and bisection", bisection),
        ("and early rejection", executed),
    ] {
        let times = before as f64 / macs.max(1) as f64;
        outln!("{name:<34} {:>12.1} {:>12.1} {times:>8.2}", macs as f64 / 1e9, macs as f64 / evaluation);
        before = macs;
    }
    outln!("in all {:.1} times fewer", naive as f64 / executed.max(1) as f64);
    Ok(())
}
