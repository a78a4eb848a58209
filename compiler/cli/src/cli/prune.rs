//! `prune`: choose the channels to remove, verify the joint loss, back off until the budget holds.

use std::path::PathBuf;

use secateur_base::{Error, Result, files};
use secateur_eval::{Accuracy, Bench, Metric};
use secateur_float::Plan;
use secateur_frontend::darknet;
use secateur_prune::repair::{self, Statistics};
use secateur_prune::search::{self, Budget, Candidate, Joint};
use secateur_prune::sensitivity::Work;
use secateur_prune::store::Origin;
use secateur_prune::{Allocation, Analysis, Criterion, Figures, Looks, Store, Summary};

use super::Global;
use super::pictures::Pictures;
use super::pruning::{self, Common, Subject, share};

/// Candidates that a back-off looks at.
const LOOKS: usize = 7;
/// Copies of every analysed picture that a repair is fitted to.
const COPIES: usize = 2;
/// A greedy allocation does not take a group further than this loss of its own.
const HOPELESS: f64 = 0.2;
/// The first candidate is expected to cost this many budgets: expectations add up groups that were
/// measured alone, and may be in another metric than the budget.
const OVER_BUDGET: f64 = 6.0;

/// What a pruning is compared with: name, order, whether the readers are repaired.
const CONTROLS: [(&str, Criterion, bool); 4] = [
    ("uniform L1", Criterion::L1, false),
    ("uniform L1 with repair", Criterion::L1, true),
    ("random", Criterion::Random, false),
    ("random with repair", Criterion::Random, true),
];

/// Choose the channels to remove, within an accuracy budget.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur prune model.cfg model.weights --data coco.data --budget 0.01 --metric map
  secateur prune model.cfg model.weights --ana ana.json --list val.txt --names coco.names --threshold 0.01
  secateur prune model.cfg model.weights --data coco.data --rate 0.3 --kernel-batch 8
  secateur prune main.cfg model.weights        (the closed pruner's main file)

Groups are analysed on the train list; the joint loss is measured on held-out pictures (the valid
list). With --budget the pruning is eased until the joint loss holds it.")]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Sensitivities from `secateur ana`; what they lack is measured on the same pictures.
    #[arg(long, value_name = "FILE")]
    ana: Option<PathBuf>,
    /// The pictures of --list are held out.
    #[command(flatten)]
    source: Pictures,
    /// Pictures to analyse where neither --ana nor --data names them.
    #[arg(long, value_name = "FILE", requires = "list")]
    train: Option<PathBuf>,
    /// Share of the MACs to cut.
    #[arg(long, value_parser = share, conflicts_with = "threshold")]
    rate: Option<f64>,
    /// Joint loss on the held-out pictures that may be spent, in the metric's terms: 0.01 of mAP is
    /// one point.
    #[arg(long, value_name = "LOSS", value_parser = share)]
    budget: Option<f64>,
    /// Let the upper end of the loss's 95 % interval hold the budget, not the measured loss.
    #[arg(long, requires = "budget")]
    by_bound: bool,
    /// What the budget is measured in [default: the metric of the sensitivities].
    #[arg(long, value_enum)]
    metric: Option<Metric>,
    /// How the ratios of the groups relate [default: threshold with --threshold, else greedy].
    #[arg(long, value_enum)]
    allocation: Option<Allocation>,
    /// Also prune by uniform L1 and at random to the same budget, and compare.
    #[arg(long, requires = "budget")]
    compare: bool,
    /// Where the masks go [default: masks.json beside the weights].
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
    /// Where the masked weights go [default: weights.prune].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let job = Job::new(args, global)?;
    job.run()
}

/// Checked arguments and opened inputs.
struct Job {
    args: Args,
    seed: u64,
    subject: Subject,
    store: Store,
    /// Where measured points are kept for a second run.
    store_path: PathBuf,
    looks: Looks,
    analysed: Bench,
    held_out: Bench,
    output: PathBuf,
    masks: PathBuf,
}

impl Job {
    fn new(args: Args, global: &Global) -> Result<Self> {
        let mut subject = Subject::open(&args.common)?;
        let main = subject.main.clone().unwrap_or_default();
        let output = args.output.clone().or(main.pruned_weights.clone()).unwrap_or_else(|| {
            if subject.main.is_some() { main.workspace.join("weights.prune") } else { "weights.prune".into() }
        });
        let masks = args.masks.clone().unwrap_or_else(|| output.with_file_name("masks.json"));
        let known = match args.ana.clone().or(main.sensitivities.clone().filter(|path| path.exists())) {
            Some(path) => Some(Store::load(&path)?),
            None => None,
        };
        if let Some(known) = &known {
            if args.common.criterion.is_none() {
                subject.criterion = known.setting.criterion;
            }
            if args.common.granularity.is_none() {
                subject.grain = known.setting.granularity;
            }
            if subject.ignored.is_empty() {
                subject.ignored.clone_from(&known.origin.ignored);
            }
            subject.repair &= known.setting.repair;
            subject.ridge = known.setting.ridge;
        }
        let data = args.source.data.clone().or(main.data.clone().filter(|_| args.source.list.is_none()));
        let held_out = Origin {
            data: data.clone(),
            list: args.source.list.clone(),
            names: args.source.names.clone(),
            ..Origin::default()
        };
        let origin = match (&args.train, &known) {
            (Some(train), _) => Origin { list: Some(train.clone()), ..held_out.clone() },
            (None, Some(known)) => known.origin.clone(),
            (None, None) if data.is_some() => held_out.clone(),
            (None, None) => {
                return Err(Error::new("no pictures to analyse")
                    .allowed("--ana FILE, --train LIST, or --data FILE.data with a train list"));
            }
        };
        let origin = Origin { ignored: subject.ignored.clone(), ..origin };

        let weights = subject.network.weights()?;
        let plan = Plan::new(subject.graph(), weights)?;
        let held_out = pruning::dataset(&held_out, "valid")?;
        let train = pruning::dataset(&origin, "train")?;
        if train.pictures.iter().any(|picture| held_out.pictures.contains(picture)) {
            eprintln!("warning: some pictures are both analysed and held out; the joint loss flatters");
        }
        let metric = known.as_ref().map_or(subject.usual_metric(), |known| known.setting.metric);
        let setting = subject.setting(metric, &train, global.seed);
        let store_path = output.with_extension("points.json");
        let budget_metric = args.metric.unwrap_or(metric);
        let held_out_setting = subject.setting(budget_metric, &held_out, global.seed);
        let looks_path = output.with_extension("looks.json");
        let looks = Looks::resume(setting.clone(), held_out_setting, &looks_path)?;
        let mut store = Store::resume(setting.clone(), origin, &store_path)?;
        match known {
            Some(known) if known.setting == setting => store.merge(&known),
            Some(_) => {
                eprintln!("the sensitivities are of another network or of other pictures: measuring anew")
            }
            None => {}
        }
        let analysed = Bench::new(metric, &plan, &train)?;
        let held_out = Bench::new(budget_metric, &plan, &held_out)?;
        Ok(Self {
            args,
            seed: global.seed,
            subject,
            store,
            store_path,
            looks,
            analysed,
            held_out,
            output,
            masks,
        })
    }

    fn run(mut self) -> Result<()> {
        let subject = &self.subject;
        let (graph, weights) = (subject.graph(), subject.network.weights()?);
        let inputs = self.analysed.inputs();
        let statistics = match subject.needs_statistics() {
            true => Some(Statistics::collect(graph, weights, &inputs, subject.ridge)?),
            false => None,
        };
        let copies = match subject.repair {
            true => repair::augment(&inputs, graph.input, COPIES, self.seed),
            false => vec![],
        };
        let calibration: Vec<&[f32]> = copies.iter().map(Vec::as_slice).collect();
        let by = |criterion, repaired| {
            subject.units(criterion, statistics.as_ref(), repaired, &calibration, self.seed)
        };
        let units = by(subject.criterion, subject.repair)?;
        let units = units.as_ref();
        let analysis = &Analysis {
            units,
            bench: &self.analysed,
            kernel_batch: subject.kernel_batch,
            ignored: &subject.ignored,
            work: Work::default(),
        };
        let joint = Joint { units, held_out: &self.held_out, seed: self.seed };
        let baseline = self.held_out.baseline(self.seed);
        println!("{}: {}", self.held_out.metric, figure(&baseline));

        let threshold = subject.common_threshold(&self.args.common);
        let allocation = self.args.allocation.unwrap_or(match threshold {
            Some(_) if self.args.rate.is_none() => Allocation::Threshold,
            _ => Allocation::Greedy,
        });
        let (store, path) = (&mut self.store, self.store_path.as_path());
        let all = units.macs(&analysis.whole());
        let proposals: Box<dyn FnMut(f64) -> Result<Vec<usize>> + '_> = match allocation {
            Allocation::Uniform => {
                let most = self.args.rate.unwrap_or(0.9);
                Box::new(move |share| Ok(search::uniform(analysis, most * share)))
            }
            Allocation::Threshold if self.args.rate.is_none() => {
                let Some(threshold) = threshold else {
                    return Err(Error::new("no threshold given").help("add --threshold, --rate or --budget"));
                };
                let thresholds = subject.thresholds(&self.args.common, units.sets(), threshold)?;
                Box::new(move |share| {
                    let eased: Vec<f64> = thresholds.iter().map(|threshold| threshold * share).collect();
                    match share {
                        0.0 => Ok(search::uniform(analysis, 0.0)),
                        _ => analysis.choose(store, &eased, Some(path)),
                    }
                })
            }
            _ => {
                let steps = match allocation {
                    Allocation::Threshold => {
                        analysis.curves(store, Some(HOPELESS), Some(path))?;
                        search::threshold_path(analysis, store)
                    }
                    _ => {
                        search::measure_for_greedy(analysis, store, HOPELESS, Some(path))?;
                        search::greedy_path(analysis, store)
                    }
                };
                // Proposals rise with the loss that is expected, to that of the rate, or to well
                // over the budget.
                let most = match (self.args.rate, self.args.budget) {
                    (Some(rate), _) => search::step_of_rate(&steps, units, rate),
                    (None, Some(budget)) => within(&steps, OVER_BUDGET * budget),
                    (None, None) => 0,
                };
                let expected = steps[most].expected;
                Box::new(move |share| {
                    let step = if share < 1.0 { within(&steps, expected * share) } else { most };
                    Ok(steps[step].keep.clone())
                })
            }
        };
        let budget = self.args.budget.map(|loss| Budget { loss, by_bound: self.args.by_bound });
        let best = settle(&joint, budget, &mut self.looks, proposals, all)?;
        if budget.is_none() && self.args.rate.is_none() && threshold.is_none() {
            println!("no --threshold, --rate or --budget: nothing to hold");
        }

        for set in analysis.prunable() {
            if best.keep[set] < units.sets()[set].units {
                pruning::print_set(&units.sets()[set], best.keep[set], subject.kernel_batch);
            }
        }
        units.save_masks(&best.keep, &self.masks)?;
        files::write_bytes(
            &self.output,
            &darknet::write_weights(graph, self.subject.network.header, &best.weights),
        )?;
        let mut summary =
            Summary { baseline: Figures::of_graph(graph), compressed: units.figures(&best.keep) };
        summary.baseline = Figures { accuracy: Some(baseline.value), ..summary.baseline };
        summary.compressed = Figures { accuracy: Some(best.accuracy.value), ..summary.compressed };
        println!("{summary}");
        println!("{}: {}", self.held_out.metric, figure(&best.accuracy));
        println!("{}\n{}", self.output.display(), self.masks.display());

        if let (true, Some(budget)) = (self.args.compare, budget) {
            println!("at a joint loss of {}:", budget.loss);
            print_control("this pruning", &best, all);
            for (name, criterion, repaired) in CONTROLS {
                if repaired && !subject.repair {
                    continue;
                }
                let units = by(criterion, repaired)?;
                let control = Joint { units: units.as_ref(), ..joint };
                let proposals = |share| Ok(search::uniform(analysis, 0.5 * share));
                let found =
                    control.back_off(budget, LOOKS, &mut Looks::default(), proposals, |_, _, _| {})?;
                print_control(name, &found, all);
            }
        }
        Ok(())
    }
}

/// The last step of which no more than `loss` is expected.
fn within(steps: &[search::Step], loss: f64) -> usize {
    steps.iter().rposition(|step| step.expected <= loss).unwrap_or(0)
}

/// The hardest candidate that holds the budget; without one, what was asked for.
fn settle(
    joint: &Joint,
    budget: Option<Budget>,
    looks: &mut Looks,
    mut proposals: Box<dyn FnMut(f64) -> Result<Vec<usize>> + '_>,
    all: u64,
) -> Result<Candidate> {
    match budget {
        Some(budget) => joint.back_off(budget, LOOKS, looks, proposals, |keep, accuracy, holds| {
            let verdict = if holds { "holds" } else { "too much" };
            let macs = joint.units.macs(keep);
            println!("MACs -{:.1}%: {}: {verdict}", saved(macs, all), figure(accuracy));
        }),
        None => joint.candidate(&proposals(1.0)?),
    }
}

fn print_control(name: &str, found: &Candidate, all: u64) {
    println!("  {name:<34} MACs -{:.1}%  {}", saved(found.macs, all), figure(&found.accuracy));
}

fn saved(macs: u64, all: u64) -> f64 {
    100.0 * (1.0 - macs as f64 / all.max(1) as f64)
}

/// An accuracy and its loss with their intervals.
fn figure(accuracy: &Accuracy) -> String {
    let Accuracy { value, interval, loss, loss_interval } = accuracy;
    format!(
        "{value:.4} [{:.4}, {:.4}], loss {loss:.4} [{:.4}, {:.4}]",
        interval.low, interval.high, loss_interval.low, loss_interval.high
    )
}
