//! `ana`: how sensitive each channel group is.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use secateur_base::Result;
use secateur_eval::{Bench, Metric};
use secateur_float::Plan;
use secateur_prune::repair::Statistics;
use secateur_prune::sensitivity::{RATES, Work};
use secateur_prune::store::Origin;
use secateur_prune::{Analysis, Store};

use super::Global;
use super::pictures::Pictures;
use super::pruning::{self, Common, Subject};

/// Threshold where neither flag nor main file gives one.
const DEFAULT_THRESHOLD: f64 = 0.01;

/// Measure how sensitive each channel group is to pruning.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur ana model.cfg model.weights --data coco.data --threshold 0.01 -o ana.json
  secateur ana model.cfg model.weights --list train.txt --names coco.names --metric map
  secateur ana main.cfg model.weights        (the closed pruner's main file)

Kill it at any time: the same command goes on where it was and ends with the same bytes.")]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    source: Pictures,
    /// Only the first N pictures.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pictures: Option<u32>,
    /// What accuracy means [default: dp for detectors, top1 for classifiers].
    #[arg(long, value_enum)]
    metric: Option<Metric>,
    /// Measure all nine ratios of every group instead of searching for the threshold.
    #[arg(long)]
    curves: bool,
    /// Also do it as the closed pruner does (nine runs over all pictures a group), and compare.
    #[arg(long)]
    naive: bool,
    /// Where the sensitivities are kept [default: ana.json].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let started = Instant::now();
    let subject = Subject::open(&args.common)?;
    let main = subject.main.clone().unwrap_or_default();
    let origin = Origin {
        data: args.source.data.or(main.data.filter(|_| args.source.list.is_none())),
        list: args.source.list,
        names: args.source.names,
        pictures: args.pictures.map(|n| n as usize),
        ignored: subject.ignored.clone(),
    };
    let metric = args.metric.unwrap_or(subject.usual_metric());
    let threshold = subject.common_threshold(&args.common).unwrap_or(DEFAULT_THRESHOLD);
    let output = args.output.or(main.sensitivities.clone()).unwrap_or_else(|| match subject.main.is_some() {
        true => main.workspace.join("ana.out"),
        false => PathBuf::from("ana.json"),
    });

    let dataset = pruning::dataset(&origin, "train")?;
    let graph = subject.graph();
    let weights = subject.network.weights()?;
    let plan = Plan::new(graph, weights)?;
    let bench = Bench::new(metric, &plan, &dataset)?;
    let statistics = match subject.needs_statistics() {
        true => Some(Statistics::collect(graph, weights, &bench.inputs(), subject.ridge)?),
        false => None,
    };
    let units = subject.units(subject.criterion, statistics.as_ref(), subject.repair, &[], global.seed)?;
    let thresholds = subject.thresholds(&args.common, units.sets(), threshold)?;
    let analysis = Analysis {
        units: units.as_ref(),
        bench: &bench,
        kernel_batch: subject.kernel_batch,
        ignored: &subject.ignored,
        work: Work::default(),
    };
    let setting = subject.setting(metric, &dataset, global.seed);
    let mut store = Store::resume(setting.clone(), origin.clone(), &output)?;
    if args.curves {
        analysis.curves(&mut store, None, Some(&output))?;
    }
    let keep = analysis.choose(&mut store, &thresholds, Some(&output))?;
    store.save(&output)?;
    let elapsed = started.elapsed();

    let groups = analysis.prunable();
    for &group in &groups {
        let set = &units.sets()[group];
        let layers: Vec<String> = std::iter::once(set.main)
            .chain(set.slaves.iter().copied())
            .map(|layer| layer.to_string())
            .collect();
        println!("pruning slot: {},", layers.join(","));
        pruning::print_set(set, keep[group], subject.kernel_batch);
        let loss = store.get(group, keep[group]).map_or(0.0, |point| point.loss);
        println!("units:{}, loss:{loss:.6}, threshold:{}", set.units, thresholds[group]);
    }
    let preparation = {
        let pictures = bench.len() as u64;
        let moments = statistics.as_ref().map_or(0, |s| plan.macs() * pictures + s.macs());
        plan.macs() * pictures + moments
    };
    report(&analysis, plan.macs(), preparation, &groups)?;
    println!(
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
        println!(
            "naive: {:.1} s, the same ratio in {same} of {} groups",
            started.elapsed().as_secs_f64(),
            groups.len()
        );
        for &group in groups.iter().filter(|&&group| chosen[group] != keep[group]) {
            println!(
                "  layer {}: {} units kept, naive {}",
                units.sets()[group].main,
                keep[group],
                chosen[group]
            );
        }
    }
    Ok(())
}

/// What each trick brings, in full evaluations of all pictures.
fn report(analysis: &Analysis, full: u64, preparation: u64, groups: &[usize]) -> Result<()> {
    let pictures = analysis.bench.len() as u64;
    let evaluation = (full * pictures).max(1) as f64;
    let naive = (groups.len() * RATES.len() + 1) as u64 * full * pictures;
    let mut suffix = preparation + full * pictures;
    for &group in groups {
        suffix += analysis.suffix_macs(group)? * RATES.len() as u64 * pictures;
    }
    let bisection = preparation + analysis.work.without_rejection.load(Ordering::Relaxed);
    let executed = preparation + analysis.work.executed.load(Ordering::Relaxed);
    println!("{:<34} {:>12} {:>12} {:>8}", "", "GMAC", "evaluations", "times");
    let mut before = naive;
    for (name, macs) in [
        ("groups x 9 + 1 evaluations", naive),
        ("only the layers behind the cut", suffix),
        ("and bisection", bisection),
        ("and early rejection", executed),
    ] {
        let times = before as f64 / macs.max(1) as f64;
        println!("{name:<34} {:>12.1} {:>12.1} {times:>8.2}", macs as f64 / 1e9, macs as f64 / evaluation);
        before = macs;
    }
    println!("in all {:.1} times fewer", naive as f64 / executed.max(1) as f64);
    Ok(())
}
