//! Analysis, reconstruction and search on random networks and images.

mod search_tests;

use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::criteria::{self, BnGamma, ChannelScores, Evidence, L1, L2, Random, Taylor};
use super::reconstruct::{Reconstruction, Statistics};
use super::search::{self, Budget, Goal, JointObjective, Problem, Records, Step, Threshold, Uniform};
use super::sensitivity::Work;
use super::store::{Numeric, Origin};
use super::*;
use secateur_data::Dataset;
use secateur_eval::{Evaluator, Heads, Metric};
use secateur_float::Plan;
use secateur_ir::{Graph, Weights};
use secateur_testing::{RandomOptions, random_network};

const RIDGE: f64 = 1e-2;

/// A detector whose groups can be pruned, and images of smooth noise.
struct Case {
    graph: Graph,
    weights: Weights,
    evaluator: Evaluator,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new(seed: u64) -> Self {
        let options = RandomOptions { side: 16, layers: 12, ..RandomOptions::default() };
        // Networks whose heads differ in their classes have no common decoding.
        let (_, graph, weights) = (1000 * seed..)
            .map(|seed| random_network(seed, &options))
            .find(|(_, graph, weights)| {
                Heads::of(graph).is_ok() && ChannelUnits::new(graph, weights).groups().len() > 3
            })
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let images: Vec<PathBuf> = (0..10)
            .map(|number| {
                let path = folder.path().join(format!("{number}.png"));
                let small = image::RgbImage::from_fn(5, 5, |_, _| image::Rgb([(); 3].map(|()| rng.random())));
                let smooth = image::imageops::resize(&small, 16, 16, image::imageops::FilterType::Triangle);
                smooth.save(&path).unwrap();
                path
            })
            .collect();
        let labels = vec![Vec::new(); images.len()];
        let names = (0..4).map(|class| class.to_string()).collect();
        let dataset = Dataset { images, labels, names };
        let plan = Plan::new(&graph, &weights).unwrap();
        let evaluator = Evaluator::new(Metric::Dp, &plan, &dataset).unwrap();
        Self { graph, weights, evaluator, _folder: folder }
    }

    fn statistics(&self) -> Statistics {
        Statistics::collect(&self.graph, &self.weights, &self.evaluator.inputs(), RIDGE).unwrap()
    }

    /// Random scores of all channels.
    fn gradients(&self, seed: u64) -> ChannelScores {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let layer = |node: &secateur_ir::Node| (0..node.shape.c).map(|_| rng.random()).collect();
        ChannelScores::normalised(self.graph.nodes.iter().map(layer).collect())
    }

    fn channels(&self) -> ChannelUnits<'_> {
        ChannelUnits::new(&self.graph, &self.weights)
    }

    fn vectors(&self, rows: usize) -> VectorUnits<'_> {
        VectorUnits::new(&self.graph, &self.weights, rows)
    }

    fn analysis<'a>(&'a self, units: &'a RankedUnits<'a>) -> Analysis<'a> {
        Analysis {
            units,
            evaluator: &self.evaluator,
            kernel_batch: 1,
            ignored: &[],
            deploy: None,
            work: Work::default(),
        }
    }

    fn objective<'a>(&'a self, units: &'a RankedUnits<'a>) -> JointObjective<'a> {
        JointObjective { units, held_out: &self.evaluator, seed: 1 }
    }

    /// Runs a search for `goal` on units ranked by L1.
    fn search(&self, search: &dyn Search, goal: Goal, kernel_batch: usize) -> secateur_base::Result<Found> {
        let channels = self.channels();
        let units = RankedUnits::new(&channels, &L1, Evidence::default(), None, 1);
        let analysis = Analysis { kernel_batch, ..self.analysis(&units) };
        let problem =
            Problem { analysis: &analysis, objective: self.objective(&units), goal, on_trial: &|_| {} };
        let folder = tempfile::tempdir().unwrap();
        let mut records = Records {
            store: &mut store(),
            store_path: &folder.path().join("points.json"),
            trials: &mut Trials::default(),
        };
        let found = search.run(&problem, &mut records)?;
        let saved = 1.0 - found.macs as f64 / units.macs(&analysis.whole()) as f64;
        Ok(Found { saved, loss: found.accuracy.loss, finest: finest_step(&analysis) })
    }
}

/// The result of a search.
#[derive(Debug)]
struct Found {
    /// Fraction of the MACs.
    saved: f64,
    loss: f64,
    /// The most MACs that one unit makes, as a fraction.
    finest: f64,
}

fn finest_step(analysis: &Analysis) -> f64 {
    let whole = analysis.whole();
    let all = analysis.units.macs(&whole) as f64;
    let of_group = |group: usize| {
        let mut keep = whole.clone();
        keep[group] -= 1;
        1.0 - analysis.units.macs(&keep) as f64 / all
    };
    analysis.prunable().into_iter().map(of_group).fold(0.0, f64::max)
}

/// Units ranked without statistics or reconstruction.
fn plain<'a>(units: &'a dyn PruneUnits, criterion: &dyn Criterion) -> RankedUnits<'a> {
    RankedUnits::new(units, criterion, Evidence::default(), None, 1)
}

/// Units ranked and reconstructed on `images`.
fn reconstructed<'a>(
    units: &'a dyn PruneUnits,
    criterion: &dyn Criterion,
    statistics: &'a Statistics,
    images: &'a [&'a [f32]],
) -> RankedUnits<'a> {
    let reconstruction = Reconstruction { statistics, images, ridge: RIDGE };
    RankedUnits::new(units, criterion, statistics.into(), Some(reconstruction), 1)
}

fn store() -> Store {
    let setting = Setting {
        model: String::new(),
        images: String::new(),
        metric: Metric::Dp,
        granularity: Granularity::Channel,
        criterion: "l1".to_owned(),
        reconstruction: false,
        ridge: RIDGE,
        seed: 1,
        numeric: Numeric::Float,
    };
    Store::new(setting, Origin::default())
}

#[test]
fn suffixes_measure_what_whole_networks_measure() {
    let mut compared = 0;
    for seed in 0..12 {
        let case = Case::new(seed);
        let statistics = case.statistics();
        let (channels, vectors) = (case.channels(), case.vectors(4));
        let units = [
            plain(&channels, &L1),
            reconstructed(&channels, &L1, &statistics, &[]),
            plain(&vectors, &L1),
            reconstructed(&vectors, &L1, &statistics, &[]),
        ];
        for units in &units {
            let analysis = case.analysis(units);
            let (mut fast, mut naive, mut deployed) = (store(), store(), store());
            analysis.curves(&mut fast, None, None).unwrap();
            // Deployed in float the cut network computes what the masked one does.
            let deploy =
                |graph: &Graph, weights: &Weights| Ok(case.evaluator.results(&Plan::new(graph, weights)?));
            let in_deployment = Analysis { deploy: Some(&deploy), ..case.analysis(units) };
            in_deployment.curves(&mut deployed, None, None).unwrap();
            let thresholds = vec![0.02; units.groups().len()];
            analysis.choose_naively(&mut naive, &thresholds).unwrap();
            for group in analysis.prunable() {
                for keep in analysis.levels(group) {
                    let losses = [&fast, &naive, &deployed].map(|store| store.get(group, keep).unwrap().loss);
                    let [a, b, c] = losses;
                    assert!(
                        (a - b).abs() < 1e-5 && (a - c).abs() < 1e-5,
                        "seed {seed}, group {group}, {keep} kept: {losses:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn bisection_chooses_what_the_naive_scan_chooses() {
    let (mut same, mut all) = (0, 0);
    for seed in 0..20 {
        let case = Case::new(seed);
        let channels = case.channels();
        let units = plain(&channels, &L1);
        let analysis = case.analysis(&units);
        let thresholds = vec![0.03; units.groups().len()];
        let fast = analysis.choose(&mut store(), &thresholds, None).unwrap();
        let naive = analysis.choose_naively(&mut store(), &thresholds).unwrap();
        all += analysis.prunable().len();
        same += analysis.prunable().iter().filter(|&&group| fast[group] == naive[group]).count();
    }
    // They differ where a loss falls as the ratio grows: on random weights in fewer than 1 of 10 groups.
    assert!(all > 40 && same * 100 >= all * 90, "{same} of {all}");
}

#[test]
fn an_interrupted_analysis_ends_with_the_same_bytes() {
    let case = Case::new(3);
    let channels = case.channels();
    let units = plain(&channels, &Random);
    let analysis = case.analysis(&units);
    let thresholds = vec![0.02; units.groups().len()];
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let mut first = store();
    let chosen = analysis.choose(&mut first, &thresholds, Some(&whole)).unwrap();
    first.save(&whole).unwrap();

    // A killed run leaves the first half of its measurements.
    let mut half = store();
    let known: Vec<(usize, usize)> = analysis
        .prunable()
        .into_iter()
        .flat_map(|group| analysis.levels(group).into_iter().map(move |keep| (group, keep)))
        .filter(|&(group, keep)| first.get(group, keep).is_some())
        .collect();
    for &(group, keep) in &known[..known.len() / 2] {
        half.insert(group, keep, first.get(group, keep).unwrap());
    }
    half.save(&parts).unwrap();
    let mut resumed = Store::resume(store().setting, Origin::default(), &parts).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let again = pool.install(|| analysis.choose(&mut resumed, &thresholds, Some(&parts)).unwrap());
    resumed.save(&parts).unwrap();
    assert_eq!(again, chosen);
    assert_eq!(std::fs::read(&parts).unwrap(), std::fs::read(&whole).unwrap());
}

#[test]
fn ignored_layers_and_lanes_are_respected() {
    let case = Case::new(1);
    let channels = case.channels();
    let units = plain(&channels, &L2);
    let all = case.analysis(&units).prunable();
    let ignored = [units.groups()[all[0]].primary];
    let analysis = Analysis { ignored: &ignored, kernel_batch: 4, ..case.analysis(&units) };
    assert!(!analysis.prunable().contains(&all[0]));
    for group in analysis.prunable() {
        assert!(analysis.levels(group).iter().all(|keep| keep % 4 == 0));
    }
    let keep = search::uniform(&analysis, 0.5);
    assert_eq!(keep[all[0]], units.groups()[all[0]].units);
}

#[test]
fn reconstruction_brings_a_pruned_network_nearer_to_the_original() {
    let (mut before, mut after) = (0.0, 0.0);
    for seed in 0..8 {
        let case = Case::new(seed);
        let statistics = case.statistics();
        let inputs = case.evaluator.inputs();
        let channels = case.channels();
        let fitted = reconstructed(&channels, &criteria::Reconstruction, &statistics, &inputs);
        let as_it_is = RankedUnits::new(&channels, &criteria::Reconstruction, (&statistics).into(), None, 1);
        let keep = search::uniform(&case.analysis(&fitted), 0.3);
        for (sum, units) in [(&mut before, &as_it_is), (&mut after, &fitted)] {
            *sum += case.objective(units).candidate(&keep).unwrap().accuracy.loss;
        }
    }
    // A third of the loss is the least that makes the work worth while; here it is over half.
    assert!(after < 0.7 * before, "{after} {before}");
}

/// Criteria give every unit a turn, whatever the granularity, and differ from one another.
#[test]
fn criteria_rank_every_unit() {
    let case = Case::new(3);
    let statistics = case.statistics();
    let gradients = case.gradients(1);
    let (channels, vectors) = (case.channels(), case.vectors(4));
    let activations = criteria::Activations::collect(&channels, &case.evaluator.inputs()).unwrap();
    let granularities: [&dyn PruneUnits; 2] = [&channels, &vectors];
    for units in granularities {
        let evidence = Evidence {
            statistics: Some(&statistics),
            gradients: Some(&gradients),
            activations: Some(&activations),
        };
        let rank = |criterion| criteria::rank(criterion, units, evidence, 1);
        let granularity = units.keep_all().granularity();
        for criterion in criteria::CRITERIA.into_iter().filter(|criterion| criterion.ranks(granularity)) {
            let ranking = rank(criterion);
            for (group, ranking) in units.groups().iter().zip(&ranking) {
                let mut all = ranking.order.clone();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..group.units), "{criterion:?}");
                let costs = ranking.costs.as_ref();
                assert_eq!(costs.is_some(), criterion.needs_statistics());
                let scores = ranking.scores.as_ref();
                assert_eq!(scores.is_some(), criterion.compares_groups());
                assert!(scores.is_none_or(|scores| scores.is_sorted() && scores.len() == group.units));
                assert!(costs.is_none_or(|costs| costs.is_sorted() && costs.len() == group.units));
            }
            assert_eq!(ranking, rank(criterion), "{criterion:?} is not repeatable");
        }
        assert_ne!(rank(&L1), rank(&Random));
        assert_ne!(rank(&L1), rank(&criteria::Reconstruction));
    }
    let rank = |criterion| criteria::rank(criterion, &vectors, Evidence::default(), 1);
    assert_eq!(rank(&BnGamma), rank(&L1), "a vector is no whole filter");
}

/// Every channel of a layer with weights belongs to one unit at most, and counts in its score; shortcuts do not.
#[test]
fn tied_channels_add_up() {
    let mut tied = 0;
    for seed in 0..6 {
        let case = Case::new(seed);
        let channels = case.channels();
        let ones = |layer: usize| vec![1.0; case.graph.nodes[layer].shape.c];
        let scores = ChannelScores::normalised((0..case.graph.nodes.len()).map(ones).collect());
        let evidence = Evidence { gradients: Some(&scores), ..Evidence::default() };
        let units = RankedUnits::new(&channels, &Taylor, evidence, None, 1);
        for (group, details) in channels.groups().iter().enumerate() {
            let expected: f64 = (0..case.graph.nodes.len())
                .filter(|&layer| details.changes(layer))
                .map(|layer| {
                    let members = channels.channels(group);
                    let of_layer = |unit: &Vec<(usize, usize)>| unit.iter().filter(|c| c.0 == layer).count();
                    let count = of_layer(&members[0]);
                    assert!(members.iter().all(|unit| of_layer(unit) == count));
                    count as f64 / (case.graph.nodes[layer].shape.c as f64).sqrt()
                })
                .sum();
            let found = units.scores(group).unwrap();
            assert!(found.iter().all(|score| (score - expected).abs() < 1e-12), "{found:?} {expected}");
            tied += usize::from(!details.dependents.is_empty() || !details.related.is_empty());
        }
    }
    assert!(tied > 3, "{tied}");
}

/// A layer that a sparsity training has switched off: all of its outputs are constant.
#[test]
fn dead_layers_cost_nothing_and_stay_finite() {
    let mut pruned = 0;
    for seed in 0..12 {
        let mut case = Case::new(seed);
        let dead = case.channels().groups()[0].primary;
        match &mut case.weights.layers[dead].batch_norm {
            Some(norm) => norm.scale.fill(0.0),
            None => case.weights.layers[dead].weights.fill(0.0),
        }
        let statistics = case.statistics();
        let inputs = case.evaluator.inputs();
        let channels = case.channels();
        let units = reconstructed(&channels, &criteria::Reconstruction, &statistics, &inputs);
        let analysis = case.analysis(&units);
        for ratio in [0.3, 0.9] {
            let weights = units.prune(&search::uniform(&analysis, ratio)).unwrap().weights;
            let values = weights.layers.iter().flat_map(|layer| layer.weights.iter().chain(&layer.bias));
            assert!(values.clone().all(|value| value.is_finite()), "seed {seed}, ratio {ratio}");
        }
        for group in 0..units.groups().len() {
            assert!(units.costs(group).unwrap().iter().all(|cost| cost.is_finite()), "seed {seed}");
        }
        pruned += usize::from(analysis.prunable().contains(&0));
    }
    assert!(pruned > 6, "{pruned}");
}

#[test]
fn losses_that_are_not_finite_are_beyond_every_threshold() {
    let case = Case::new(2);
    let plan = Plan::new(&case.graph, &case.weights).unwrap();
    let mut weights = case.weights.clone();
    for layer in &mut weights.layers {
        layer.weights.fill(f32::NAN);
    }
    let broken = Plan::new(&case.graph, &weights).unwrap();
    let results = case.evaluator.results(&broken);
    assert_eq!(case.evaluator.relative_loss(&results), secateur_eval::BROKEN_LOSS);
    assert!(case.evaluator.accuracy(&results, 1).is_broken());
    assert!(case.evaluator.relative_loss(&case.evaluator.results(&plan)) == 0.0);
}

#[test]
fn expected_costs_stand_in_for_measurements() {
    let case = Case::new(4);
    let statistics = case.statistics();
    let channels = case.channels();
    let units = reconstructed(&channels, &criteria::Reconstruction, &statistics, &[]);
    let analysis = case.analysis(&units);
    let mut store = store();
    search::measure_for_greedy(&analysis, &mut store, 0.1, None).unwrap();
    assert_eq!(store.len(), analysis.prunable().len());
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 5 && path.is_sorted_by(|a, b| a.expected <= b.expected));
    // A group's own step is expected to cost what was measured.
    let group = analysis.prunable()[0];
    let level = analysis.levels(group)[0];
    let costs = units.costs(group).unwrap();
    assert!(costs.is_sorted() && costs.len() == units.groups()[group].units);
    assert!(store.get(group, level).is_some());
}

#[test]
fn pruned_vectors_are_zero_and_counted() {
    for seed in 0..6 {
        let case = Case::new(seed);
        let (graph, statistics) = (&case.graph, case.statistics());
        let inputs = case.evaluator.inputs();
        let vectors = case.vectors(4);
        let units = reconstructed(&vectors, &criteria::Reconstruction, &statistics, &inputs);
        let analysis = case.analysis(&units);
        let keep = search::uniform(&analysis, 0.5);
        let pruned = units.prune(&keep).unwrap().weights;
        let mut again = pruned.clone();
        units.masks(&keep).apply_vectors(graph, &mut again);
        assert_eq!(again, pruned);
        let mut expected = 0;
        for (group, details) in units.groups().iter().enumerate() {
            let layer = details.primary;
            let columns = secateur_ir::Columns::of(graph, layer);
            let (inputs, outputs) = (graph.input_shape(layer).c, graph.nodes[layer].shape.c);
            let is_zero = |unit: usize| {
                let (block, input) = (unit / inputs, unit % inputs);
                let mut members = block * 4..outputs.min(block * 4 + 4);
                let weights = &pruned.layers[layer].weights;
                members.all(|output| weights[columns.range(output, input)].iter().all(|&w| w == 0.0))
            };
            let zero = (0..details.units).filter(|&unit| is_zero(unit)).count();
            assert_eq!(zero, details.units - keep[group], "seed {seed}, layer {layer}");
            let macs = secateur_ir::stat(graph)[layer].macs;
            expected += macs * (details.units - keep[group]) as u64 / details.units as u64;
        }
        let whole = units.macs(&analysis.whole());
        assert_eq!(whole - units.macs(&keep), expected);
        let figures = units.figures(&keep);
        assert_eq!(Figures::of_graph(graph).operations - figures.operations, 2 * expected);
    }
}

#[test]
fn reconstructed_vectors_lose_less() {
    let mut losses = [0.0; 3];
    for seed in 0..6 {
        let case = Case::new(seed);
        let (statistics, inputs) = (case.statistics(), case.evaluator.inputs());
        let vectors = case.vectors(4);
        let units = [
            plain(&vectors, &Random),
            plain(&vectors, &L1),
            reconstructed(&vectors, &criteria::Reconstruction, &statistics, &inputs),
        ];
        for (loss, units) in losses.iter_mut().zip(&units) {
            let keep = search::uniform(&case.analysis(units), 0.4);
            *loss += case.objective(units).candidate(&keep).unwrap().accuracy.loss;
        }
    }
    let [random, by_magnitude, fitted] = losses;
    assert!(fitted < by_magnitude && by_magnitude < random, "{losses:?}");
}
