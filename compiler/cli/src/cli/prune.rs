//! `prune`: choose the units to remove, verify the joint loss, back off until the budget holds.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use secateur_base::{Error, Result, errln, files, outln};
use secateur_eval::{Evaluator, Metric};
use secateur_float::Plan;
use secateur_frontend::darknet;
use secateur_prune::criteria::{ChannelScores, Evidence};
use secateur_prune::reconstruct;
use secateur_prune::search::{
    self, Budget, CONTROLS, Candidate, Goal, JointObjective, Problem, Records, SEARCHES, Search, Trial,
};
use secateur_prune::sensitivity::Work;
use secateur_prune::store::Origin;
use secateur_prune::{Analysis, Deploy, Figures, MaskFile, RankedUnits, Store, Summary, Trials, criteria};

use super::Global;
use super::images::ImageSource;
use super::int8::Int8;
use super::pruning::{self, Common, Subject, fraction};

/// Choose the units to remove, within an accuracy budget.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  secateur prune model.cfg model.weights --data coco.data --budget 0.01 --metric map
  secateur prune model.cfg model.weights --ana ana.json --list val.txt --names coco.names --threshold 0.01
  secateur prune model.cfg model.weights --data coco.data --rate 0.3 --kernel-batch 8
  secateur prune model.cfg model.weights --data coco.data --criterion taylor --macs 3x
  secateur prune pruning.cfg model.weights     (the closed pruner's config file)

Groups are analysed on the train list; the joint loss is measured on held-out images (the valid
list). With --budget the pruning is eased until the joint loss holds it.")]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Sensitivities from `secateur ana`; missing ones are measured on the same images.
    #[arg(long, value_name = "FILE")]
    ana: Option<PathBuf>,
    /// The images of --list are held out.
    #[command(flatten)]
    source: ImageSource,
    /// Images to analyse where neither --ana nor --data names them.
    #[arg(long, value_name = "FILE", requires = "list")]
    train: Option<PathBuf>,
    /// Fraction of the MACs to remove.
    #[arg(long, value_parser = fraction, conflicts_with = "threshold")]
    rate: Option<f64>,
    /// Factor by which the MACs shrink, as in 3x: --rate in other words.
    #[arg(long, value_name = "FACTOR", value_parser = search::rate_of_factor, conflicts_with_all = ["threshold", "rate"])]
    macs: Option<f64>,
    /// Joint loss on the held-out images that may be spent, in the metric's terms: 0.01 of mAP is
    /// one point.
    #[arg(long, value_name = "LOSS", value_parser = fraction)]
    budget: Option<f64>,
    /// Let the upper end of the loss's 95 % interval hold the budget, not the measured loss.
    #[arg(long, requires = "budget")]
    by_bound: bool,
    /// The metric of the budget [default: the metric of the sensitivities].
    #[arg(long, value_parser = pruning::metric_parser())]
    metric: Option<Metric>,
    /// How the ratios of the groups are chosen [default: threshold with --threshold, else greedy].
    #[arg(long, value_parser = search_parser())]
    allocation: Option<&'static dyn Search>,
    /// Also prune by uniform L1 and at random to the same budget, and compare.
    #[arg(long, requires = "budget")]
    compare: bool,
    /// File of the masks [default: the name of the weights with .mask].
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
    /// File of the masked weights [default: weights.prune].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: Args, global: &Global) -> Result<()> {
    let job = Job::new(args, global)?;
    job.run()
}

/// The registered searches, by name.
fn search_parser() -> impl TypedValueParser<Value = &'static dyn Search> {
    let values = SEARCHES.map(|search| PossibleValue::new(search.name()).help(search.help()));
    PossibleValuesParser::new(values)
        .map(|name| search::by_name(&name).expect("a possible value is a search's name"))
}

/// Checked arguments and opened inputs.
struct Job {
    args: Args,
    seed: u64,
    subject: Subject,
    store: Store,
    /// File of the measured points, for a second run.
    store_path: PathBuf,
    trials: Trials,
    analysed: Evaluator,
    /// Measures groups in int8, as the known sensitivities were.
    int8: Option<Int8>,
    /// Scores by the gradients of the loss, where the criterion needs them.
    gradients: Option<ChannelScores>,
    held_out: Evaluator,
    output: PathBuf,
    masks: PathBuf,
}

impl Job {
    fn new(args: Args, global: &Global) -> Result<Self> {
        let mut subject = Subject::open(&args.common)?;
        let config = subject.config.clone().unwrap_or_default();
        let output = args.output.clone().unwrap_or_else(|| match &subject.config {
            Some(config) => config.pruned_weights(),
            None => "weights.prune".into(),
        });
        let masks = args.masks.clone().unwrap_or_else(|| output.with_extension("mask"));
        let (store_path, trials_path) =
            (output.with_extension("points.json"), output.with_extension("trials.json"));
        let mut inputs = args.common.inputs(&subject.config, &args.source)?;
        inputs.extend([&args.ana, &args.train].into_iter().flatten().cloned());
        let outputs = [&output, &masks, &store_path, &trials_path];
        files::refuse_overwrite(&inputs, &outputs)?;
        let known = match args.ana.clone().or(config.sensitivities.clone().filter(|path| path.exists())) {
            Some(path) => Some(Store::load(&path)?),
            None => None,
        };
        if let Some(known) = &known {
            follow_sensitivities(&mut subject, &args.common, known)?;
        }
        let data = args.source.data.clone().or(config.data.clone().filter(|_| args.source.list.is_none()));
        let held_out = Origin {
            data,
            list: args.source.list.clone(),
            names: args.source.names.clone(),
            ..Origin::default()
        };
        let origin = analysed_images(&args, known.as_ref(), &held_out)?;
        let origin = Origin { ignored: subject.ignored.clone(), ..origin };

        let metric = known.as_ref().map_or(subject.usual_metric(), |known| known.setting.metric);
        let budget_metric = args.metric.unwrap_or(metric);
        let plan = Plan::new(subject.graph(), subject.network.weights()?)?;
        let held_out = subject.dataset(&held_out, "valid", budget_metric)?;
        let train = subject.dataset(&origin, "train", metric)?;
        files::refuse_overwrite(&held_out.files().chain(train.files()).collect::<Vec<_>>(), &outputs)?;
        if train.images.iter().any(|image| held_out.images.contains(image)) {
            errln!("warning: some images are both analysed and held out; the measured loss is optimistic");
        }
        let analysed = Evaluator::new(metric, &plan, &train)?;
        let held_out = Evaluator::new(budget_metric, &plan, &held_out)?;
        let gradients = subject.gradients(&origin, "train", &analysed)?;
        let setting = subject.setting(&analysed, gradients.as_ref(), global.seed);
        let held_out_setting = subject.setting(&held_out, gradients.as_ref(), global.seed);
        let trials = Trials::resume(setting.clone(), held_out_setting, &trials_path)?;
        let mut store = Store::resume(setting.clone(), origin, &store_path)?;
        match known {
            Some(known) if known.setting == setting => store.merge(&known),
            Some(_) => {
                errln!("the sensitivities are of another network or of other images: measuring anew")
            }
            None => {}
        }
        let (analysed, int8) = subject.in_numeric(analysed, global.seed)?;
        let seed = global.seed;
        Ok(Self {
            args,
            seed,
            subject,
            store,
            store_path,
            trials,
            analysed,
            int8,
            gradients,
            held_out,
            output,
            masks,
        })
    }

    fn run(mut self) -> Result<()> {
        let subject = &self.subject;
        let graph = subject.graph();
        let unranked = subject.units()?;
        let activations = subject.activations(unranked.as_ref(), &self.analysed)?;
        let statistics = subject.statistics(&self.analysed)?;
        let copies = match subject.reconstruction {
            true => {
                reconstruct::augment(&self.analysed.inputs(), graph.input, reconstruct::COPIES, self.seed)
            }
            false => vec![],
        };
        let calibration: Vec<&[f32]> = copies.iter().map(Vec::as_slice).collect();
        let by = |criterion, reconstructed| {
            let evidence = Evidence {
                statistics: statistics.as_ref(),
                gradients: self.gradients.as_ref(),
                activations: activations.as_ref(),
            };
            subject.ranked(unranked.as_ref(), criterion, evidence, reconstructed, &calibration, self.seed)
        };
        let units = by(subject.criterion, subject.reconstruction);
        let in_int8 = self.int8.as_ref().map(|int8| int8.measure(&self.analysed));
        let analysis = Analysis {
            units: &units,
            evaluator: &self.analysed,
            kernel_batch: subject.kernel_batch,
            ignored: &subject.ignored,
            deploy: in_int8.as_ref().map(|measure| measure as Deploy),
            work: Work::default(),
        };
        let objective = JointObjective { units: &units, held_out: &self.held_out, seed: self.seed };
        let baseline = self.held_out.baseline(self.seed);
        outln!("{}: {baseline}", self.held_out.metric);

        let all = units.macs(&analysis.whole());
        let goal = self.args.goal(subject, &units)?;
        let by_default: &dyn Search = match (&goal.thresholds, goal.rate) {
            (Some(_), None) => &search::Threshold,
            _ => &search::Greedy,
        };
        let budget = goal.budget;
        let unbounded = budget.is_none() && goal.rate.is_none() && goal.thresholds.is_none();
        let on_trial = |trial: &Trial| {
            let verdict = if trial.holds { "holds" } else { "too much" };
            outln!("MACs -{:.1}%: {}: {verdict}", saved(units.macs(trial.keep), all), trial.accuracy);
        };
        let problem = Problem { analysis: &analysis, objective, goal, on_trial: &on_trial };
        let mut records =
            Records { store: &mut self.store, store_path: &self.store_path, trials: &mut self.trials };
        let best = self.args.allocation.unwrap_or(by_default).run(&problem, &mut records)?;
        if unbounded {
            outln!("no --threshold, --rate, --macs or --budget: nothing to hold");
        }

        self.write(&analysis, &best, baseline.value)?;
        if let (true, Some(budget)) = (self.args.compare, budget) {
            outln!("at a joint loss of {}:", budget.loss);
            print_control("this pruning", &best, all);
            for control in CONTROLS.iter().filter(|c| subject.reconstruction || !c.reconstruction) {
                let units: RankedUnits = by(control.criterion, control.reconstruction);
                let objective = JointObjective { units: &units, ..objective };
                print_control(control.name, &control.run(&objective, &analysis, budget)?, all);
            }
        }
        Ok(())
    }

    /// Writes masks and masked weights, and prints what they save and cost beside the `original` accuracy.
    fn write(&self, analysis: &Analysis, best: &Candidate, original: f64) -> Result<()> {
        let (graph, units) = (self.subject.graph(), analysis.units);
        for group in analysis.prunable() {
            if best.keep[group] < units.groups()[group].units {
                pruning::print_group(&units.groups()[group], best.keep[group], self.subject.kernel_batch);
            }
        }
        MaskFile::new(units.masks(&best.keep), graph, &best.weights).save(&self.masks)?;
        files::write_bytes(
            &self.output,
            &darknet::write_weights(graph, self.subject.network.header, &best.weights),
        )?;
        let figures = |figures: Figures, accuracy| Figures { accuracy: Some(accuracy), ..figures };
        let summary = Summary {
            baseline: figures(Figures::of_graph(graph), original),
            compressed: figures(units.figures(&best.keep), best.accuracy.value),
        };
        outln!("{summary}");
        outln!("{}: {}", self.held_out.metric, best.accuracy);
        outln!("{}\n{}", self.output.display(), self.masks.display());
        self.subject.write_pruned_cfg()
    }
}

impl Args {
    fn goal(&self, subject: &Subject, units: &RankedUnits) -> Result<Goal> {
        if self.macs.is_some()
            && self.allocation.is_some_and(|search| search.name() == search::Uniform.name())
        {
            return Err(Error::new("--allocation uniform knows no factor of MACs")
                .help("its --rate is the fraction of each group's units"));
        }
        let common = subject.common_threshold(&self.common);
        let thresholds = common.map(|common| subject.thresholds(&self.common, units.groups(), common));
        Ok(Goal {
            thresholds: thresholds.transpose()?,
            rate: self.rate.or(self.macs),
            budget: self.budget.map(|loss| Budget { loss, by_bound: self.by_bound }),
        })
    }
}

/// The images to analyse: those of --train or of known sensitivities, else the train list of the .data file.
fn analysed_images(args: &Args, known: Option<&Store>, held_out: &Origin) -> Result<Origin> {
    match (&args.train, known) {
        (Some(train), _) => Ok(Origin { list: Some(train.clone()), ..held_out.clone() }),
        (None, Some(known)) => Ok(known.origin.clone()),
        (None, None) if held_out.data.is_some() => Ok(held_out.clone()),
        (None, None) => Err(Error::new("no images to analyse")
            .allowed("--ana FILE, --train LIST, or --data FILE.data with a train list")),
    }
}

/// Takes over the choices that known sensitivities were measured with, where the command line is silent.
fn follow_sensitivities(subject: &mut Subject, args: &Common, known: &Store) -> Result<()> {
    if args.criterion.is_none() {
        let name = &known.setting.criterion;
        subject.criterion = criteria::by_name(name).ok_or_else(|| {
            Error::new("the sensitivities are by an unknown criterion")
                .found(name)
                .help("make them anew with `secateur ana`")
        })?;
    }
    if args.granularity.is_none() {
        subject.granularity = known.setting.granularity;
    }
    if subject.ignored.is_empty() {
        subject.ignored.clone_from(&known.origin.ignored);
    }
    subject.reconstruction &= known.setting.reconstruction;
    subject.ridge = known.setting.ridge;
    subject.numeric = known.setting.numeric;
    Ok(())
}

fn print_control(name: &str, found: &Candidate, all: u64) {
    outln!("  {name:<34} MACs -{:.1}%  {}", saved(found.macs, all), found.accuracy);
}

fn saved(macs: u64, all: u64) -> f64 {
    100.0 * (1.0 - macs as f64 / all.max(1) as f64)
}
