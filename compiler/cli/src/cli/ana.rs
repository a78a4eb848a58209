//! `ana`: the sensitivity of each prune group.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use secateur_base::{Result, files, outln};
use secateur_eval::{Evaluator, Metric};
use secateur_float::Plan;
use secateur_prune::criteria::Evidence;
use secateur_prune::sensitivity::{RATES, Work};
use secateur_prune::store::Origin;
use secateur_prune::{Analysis, Store};

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
    /// Also do it as the closed pruner does (nine runs over all images for each group), and compare.
    #[arg(long)]
    naive: bool,
    /// File of the sensitivities [default: ana.json].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let started = Instant::now();
    let subject = Subject::open(&args.common)?;
    let config = subject.config.clone().unwrap_or_default();
    let output = args.output.clone().or(config.sensitivities.clone()).unwrap_or_else(|| {
        match subject.config.is_some() {
            true => config.workspace.join("ana.out"),
            false => PathBuf::from("ana.json"),
        }
    });
    files::refuse_overwrite(&args.common.inputs(&subject.config, &args.source)?, &[&output])?;
    let origin = Origin {
        data: args.source.data.or(config.data.filter(|_| args.source.list.is_none())),
        list: args.source.list,
        names: args.source.names,
        images: args.images.map(|n| n as usize),
        ignored: subject.ignored.clone(),
    };
    let metric = args.metric.unwrap_or(subject.usual_metric());
    let threshold = subject.common_threshold(&args.common).unwrap_or(DEFAULT_THRESHOLD);

    let dataset = subject.dataset(&origin, "train", metric)?;
    files::refuse_overwrite(&dataset.files().collect::<Vec<_>>(), &[&output])?;
    let plan = Plan::new(subject.graph(), subject.network.weights()?)?;
    let evaluator = Evaluator::new(metric, &plan, &dataset)?;
    let gradients = subject.gradients(&origin, "train", &evaluator)?;
    let statistics = subject.statistics(&evaluator)?;
    let units = subject.units()?;
    let units = subject.ranked(
        units.as_ref(),
        subject.criterion,
        Evidence { statistics: statistics.as_ref(), gradients: gradients.as_ref() },
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
        work: Work::default(),
    };
    let setting = subject.setting(&evaluator, gradients.as_ref(), global.seed);
    let mut store = Store::resume(setting.clone(), origin.clone(), &output)?;
    if args.curves {
        analysis.curves(&mut store, None, Some(&output))?;
    }
    let keep = analysis.choose(&mut store, &thresholds, Some(&output))?;
    store.save(&output)?;
    let elapsed = started.elapsed();

    let groups = analysis.prunable();
    for &group in &groups {
        let details = &units.groups()[group];
        let layers: Vec<String> = std::iter::once(details.primary)
            .chain(details.dependents.iter().copied())
            .map(|layer| layer.to_string())
            .collect();
        outln!("pruning slot: {},", layers.join(","));
        pruning::print_group(details, keep[group], subject.kernel_batch);
        let loss = store.get(group, keep[group]).map_or(0.0, |point| point.loss);
        outln!("units:{}, loss:{loss:.6}, threshold:{}", details.units, thresholds[group]);
    }
    let preparation = {
        let images = evaluator.len() as u64;
        let moments = statistics.as_ref().map_or(0, |s| plan.macs() * images + s.macs());
        plan.macs() * images + moments
    };
    report(&analysis, plan.macs(), preparation, &groups)?;
    outln!(
        "{} groups in {:.1} s, sensitivities in {}",
        groups.len(),
        elapsed.as_secs_f64(),
        output.display()
    );

    if args.naive {
        let started = Instant::now();
        let naive = Analysis { work: Work::default(), ..analysis };
        let chosen = naive.choose_naively(&mut Store::new(setting, origin), &thresholds)?;
        let same = groups.iter().filter(|&&group| chosen[group] == keep[group]).count();
        outln!(
            "naive: {:.1} s, the same ratio in {same} of {} groups",
            started.elapsed().as_secs_f64(),
            groups.len()
        );
        for &group in groups.iter().filter(|&&group| chosen[group] != keep[group]) {
            outln!(
                "  layer {}: {} units kept, naive {}",
                units.groups()[group].primary,
                keep[group],
                chosen[group]
            );
        }
    }
    Ok(())
}

/// Prints the saving of each method, in full evaluations of all images.
fn report(analysis: &Analysis, full: u64, preparation: u64, groups: &[usize]) -> Result<()> {
    let images = analysis.evaluator.len() as u64;
    let evaluation = (full * images).max(1) as f64;
    let naive = (groups.len() * RATES.len() + 1) as u64 * full * images;
    let mut suffix = preparation + full * images;
    for &group in groups {
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
