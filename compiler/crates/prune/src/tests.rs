//! Analysis, repair and search on random networks and pictures.

use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::repair::{self, Statistics};
use super::search::{self, Budget, Joint};
use super::sensitivity::Work;
use super::store::Origin;
use super::*;
use secateur_data::Dataset;
use secateur_eval::{Bench, Heads, Metric};
use secateur_float::Plan;
use secateur_ir::{ChannelGroups, Graph, Weights};
use secateur_testing::{RandomOptions, random_network};

const RIDGE: f64 = 1e-2;

/// A detector whose groups can be pruned, and pictures of smooth noise.
struct Case {
    graph: Graph,
    groups: ChannelGroups,
    weights: Weights,
    bench: Bench,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new(seed: u64) -> Self {
        let options = RandomOptions { side: 16, layers: 12, ..RandomOptions::default() };
        // Networks whose heads differ in their classes have no common decoding.
        let (_, graph, weights) = (1000 * seed..)
            .map(|seed| random_network(seed, &options))
            .find(|(_, graph, _)| Heads::of(graph).is_ok() && ChannelGroups::new(graph).groups.len() > 3)
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pictures: Vec<PathBuf> = (0..10)
            .map(|number| {
                let path = folder.path().join(format!("{number}.png"));
                let small = image::RgbImage::from_fn(5, 5, |_, _| image::Rgb([(); 3].map(|()| rng.random())));
                let smooth = image::imageops::resize(&small, 16, 16, image::imageops::FilterType::Triangle);
                smooth.save(&path).unwrap();
                path
            })
            .collect();
        let labels = vec![Vec::new(); pictures.len()];
        let names = (0..4).map(|class| class.to_string()).collect();
        let dataset = Dataset { pictures, labels, names };
        let plan = Plan::new(&graph, &weights).unwrap();
        let bench = Bench::new(Metric::Dp, &plan, &dataset).unwrap();
        Self { groups: ChannelGroups::new(&graph), graph, weights, bench, _folder: folder }
    }

    fn statistics(&self) -> Statistics {
        Statistics::collect(&self.graph, &self.weights, &self.bench.inputs(), RIDGE).unwrap()
    }

    /// Channels in a criterion's order; with `pictures` their readers are repaired.
    fn channels<'a>(
        &'a self,
        criterion: Criterion,
        statistics: Option<&'a Statistics>,
        pictures: &'a [&'a [f32]],
    ) -> Channels<'a> {
        let (graph, groups, weights) = (&self.graph, &self.groups, &self.weights);
        let ranking = Ranking::new(criterion, graph, groups, weights, statistics, 1);
        let repair = statistics.map(|statistics| Repair { statistics, pictures, ridge: RIDGE });
        Channels::new(graph, groups, weights, ranking, repair)
    }

    fn analysis<'a>(&'a self, units: &'a dyn Granularity) -> Analysis<'a> {
        Analysis { units, bench: &self.bench, kernel_batch: 1, ignored: &[], work: Work::default() }
    }
}

fn store() -> Store {
    let setting = Setting {
        model: String::new(),
        pictures: String::new(),
        metric: Metric::Dp,
        granularity: Grain::Channel,
        criterion: Criterion::L1,
        repair: false,
        ridge: RIDGE,
        seed: 1,
    };
    Store::new(setting, Origin::default())
}

#[test]
fn suffixes_measure_what_whole_networks_measure() {
    let mut compared = 0;
    for seed in 0..12 {
        let case = Case::new(seed);
        let statistics = case.statistics();
        let vectors = |repair| Vectors::new(&case.graph, &case.weights, 4, Criterion::L1, repair, 1);
        let repair = Repair { statistics: &statistics, pictures: &[], ridge: RIDGE };
        let units: [Box<dyn Granularity>; 4] = [
            Box::new(case.channels(Criterion::L1, None, &[])),
            Box::new(case.channels(Criterion::L1, Some(&statistics), &[])),
            Box::new(vectors(None)),
            Box::new(vectors(Some(repair))),
        ];
        for units in &units {
            let analysis = case.analysis(units.as_ref());
            let (mut fast, mut naive) = (store(), store());
            analysis.curves(&mut fast, None, None).unwrap();
            let thresholds = vec![0.02; units.sets().len()];
            analysis.choose_naively(&mut naive, &thresholds).unwrap();
            for group in analysis.prunable() {
                for keep in analysis.levels(group) {
                    let [a, b] = [&fast, &naive].map(|store| store.get(group, keep).unwrap().loss);
                    assert!((a - b).abs() < 1e-5, "seed {seed}, group {group}, {keep} kept: {a} {b}");
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
        let channels = case.channels(Criterion::L1, None, &[]);
        let analysis = case.analysis(&channels);
        let thresholds = vec![0.03; case.groups.groups.len()];
        let fast = analysis.choose(&mut store(), &thresholds, None).unwrap();
        let naive = analysis.choose_naively(&mut store(), &thresholds).unwrap();
        all += analysis.prunable().len();
        same += analysis.prunable().iter().filter(|&&group| fast[group] == naive[group]).count();
    }
    assert!(all > 40 && same * 100 >= all * 90, "{same} of {all}");
}

#[test]
fn an_interrupted_analysis_ends_with_the_same_bytes() {
    let case = Case::new(3);
    let channels = case.channels(Criterion::Random, None, &[]);
    let analysis = case.analysis(&channels);
    let thresholds = vec![0.02; case.groups.groups.len()];
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let mut first = store();
    let chosen = analysis.choose(&mut first, &thresholds, Some(&whole)).unwrap();
    first.save(&whole).unwrap();

    // What a killed run left behind: the first half of its measurements.
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
    let channels = case.channels(Criterion::L2, None, &[]);
    let all = case.analysis(&channels).prunable();
    let ignored = [case.groups.groups[all[0]].main()];
    let analysis = Analysis { ignored: &ignored, kernel_batch: 4, ..case.analysis(&channels) };
    assert!(!analysis.prunable().contains(&all[0]));
    for group in analysis.prunable() {
        assert!(analysis.levels(group).iter().all(|keep| keep % 4 == 0));
    }
    let keep = search::uniform(&analysis, 0.5);
    assert_eq!(keep[all[0]], case.groups.groups[all[0]].units.len());
}

#[test]
fn repair_brings_a_pruned_network_nearer_to_the_original() {
    let (mut before, mut after) = (0.0, 0.0);
    for seed in 0..8 {
        let case = Case::new(seed);
        let statistics = case.statistics();
        let inputs = case.bench.inputs();
        let repaired = case.channels(Criterion::Repair, Some(&statistics), &inputs);
        let (graph, groups, weights) = (&case.graph, &case.groups, &case.weights);
        let ranking = repair::rank(graph, groups, weights, &statistics);
        let as_it_is = Channels::new(graph, groups, weights, ranking, None);
        let keep = search::uniform(&case.analysis(&repaired), 0.3);
        for (sum, units) in [(&mut before, &as_it_is), (&mut after, &repaired)] {
            let joint = Joint { units, held_out: &case.bench, seed: 1 };
            *sum += joint.candidate(&keep).unwrap().accuracy.loss;
        }
    }
    assert!(after < 0.7 * before, "{after} {before}");
}

#[test]
fn backing_off_holds_the_budget_and_uses_it() {
    let case = Case::new(2);
    let channels = case.channels(Criterion::L1, None, &[]);
    let analysis = case.analysis(&channels);
    let joint = Joint { units: &channels, held_out: &case.bench, seed: 1 };
    let hardest = joint.candidate(&search::uniform(&analysis, 0.8)).unwrap();
    let budget = Budget { loss: 0.5 * hardest.accuracy.loss, by_bound: false };
    assert!(!budget.holds(&hardest.accuracy));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("looks.json");
    let known = || Looks::resume(store().setting, store().setting, &file).unwrap();
    let mut looked = 0;
    let mut search = |looks: &mut Looks| {
        let proposals = |share| Ok(search::uniform(&analysis, 0.8 * share));
        joint.back_off(budget, 6, looks, proposals, |_, _, _| looked += 1).unwrap()
    };
    let found = search(&mut known());
    assert!(budget.holds(&found.accuracy));
    assert_eq!(joint.candidate(&found.keep).unwrap().accuracy, found.accuracy);

    // A second run believes the first one's measurements and ends with the same candidate.
    let mut again = known();
    let second = search(&mut again);
    assert_eq!((&second.keep, second.accuracy), (&found.keep, found.accuracy));
    again.insert(&found.keep, hardest.accuracy).unwrap();
    assert_ne!(search(&mut known()).keep, found.keep);
    assert!(looked > 3);
    let other = Setting { seed: 7, ..store().setting };
    assert!(Looks::resume(other, store().setting, &file).unwrap().get(&found.keep).is_none());
    let full = channels.macs(&search::uniform(&analysis, 0.0));
    assert!(found.macs < full);
}

#[test]
fn expected_costs_stand_in_for_measurements() {
    let case = Case::new(4);
    let statistics = case.statistics();
    let channels = case.channels(Criterion::Repair, Some(&statistics), &[]);
    let analysis = case.analysis(&channels);
    let mut store = store();
    search::measure_for_greedy(&analysis, &mut store, 0.1, None).unwrap();
    assert_eq!(store.len(), analysis.prunable().len());
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 5 && path.is_sorted_by(|a, b| a.expected <= b.expected));
    // A group's own step is expected to cost what was measured.
    let group = analysis.prunable()[0];
    let level = analysis.levels(group)[0];
    let costs = channels.costs(group).unwrap();
    assert!(costs.is_sorted() && costs.len() == case.groups.groups[group].units.len());
    assert!(store.get(group, level).is_some());
}

#[test]
fn greedy_steps_save_macs_one_by_one() {
    let case = Case::new(5);
    let channels = case.channels(Criterion::L1, None, &[]);
    let analysis = case.analysis(&channels);
    let mut store = store();
    analysis.curves(&mut store, None, None).unwrap();
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 3);
    let macs: Vec<u64> = path.iter().map(|step| channels.macs(&step.keep)).collect();
    assert!(path.is_sorted_by(|a, b| a.expected <= b.expected));
    assert!(macs.is_sorted_by(|a, b| a > b), "{macs:?}");
    let half = search::step_of_rate(&path, &channels, 0.5);
    let miss = |step: usize| (1.0 - macs[step] as f64 / macs[0] as f64 - 0.5).abs();
    assert!((0..path.len()).all(|step| miss(half) <= miss(step)));
}

#[test]
fn pruned_vectors_are_zero_and_counted() {
    for seed in 0..6 {
        let case = Case::new(seed);
        let (graph, statistics) = (&case.graph, case.statistics());
        let inputs = case.bench.inputs();
        let repair = Repair { statistics: &statistics, pictures: &inputs, ridge: RIDGE };
        let vectors = Vectors::new(graph, &case.weights, 4, Criterion::Repair, Some(repair), 1);
        let analysis = case.analysis(&vectors);
        let keep = search::uniform(&analysis, 0.5);
        let pruned = vectors.prune(&keep).unwrap().weights;
        let mut expected = 0;
        for (set, details) in vectors.sets().iter().enumerate() {
            let columns = secateur_ir::Columns::of(graph, details.main);
            let (inputs, outputs) = (graph.input_shape(details.main).c, graph.nodes[details.main].shape.c);
            let is_zero = |unit: usize| {
                let (block, input) = (unit / inputs, unit % inputs);
                let mut members = block * 4..outputs.min(block * 4 + 4);
                let weights = &pruned.layers[details.main].weights;
                members.all(|output| weights[columns.range(output, input)].iter().all(|&w| w == 0.0))
            };
            let zero = (0..details.units).filter(|&unit| is_zero(unit)).count();
            assert_eq!(zero, details.units - keep[set], "seed {seed}, layer {}", details.main);
            let macs = secateur_ir::stat(graph)[details.main].macs;
            expected += macs * (details.units - keep[set]) as u64 / details.units as u64;
        }
        let whole = vectors.macs(&analysis.whole());
        assert_eq!(whole - vectors.macs(&keep), expected);
        let figures = vectors.figures(&keep);
        assert_eq!(Figures::of_graph(graph).operations - figures.operations, 2 * expected);
    }
}

#[test]
fn vectors_that_are_repaired_lose_less() {
    let loss = |criterion: Criterion, repaired: bool| -> f64 {
        let of_case = |seed| {
            let case = Case::new(seed);
            let (statistics, inputs) = (case.statistics(), case.bench.inputs());
            let repair = Repair { statistics: &statistics, pictures: &inputs, ridge: RIDGE };
            let vectors =
                Vectors::new(&case.graph, &case.weights, 4, criterion, repaired.then_some(repair), 1);
            let keep = search::uniform(&case.analysis(&vectors), 0.4);
            Joint { units: &vectors, held_out: &case.bench, seed: 1 }.candidate(&keep).unwrap().accuracy.loss
        };
        (0..6).map(of_case).sum()
    };
    let [random, plain, repaired] =
        [(Criterion::Random, false), (Criterion::L1, false), (Criterion::Repair, true)]
            .map(|(criterion, repaired)| loss(criterion, repaired));
    assert!(repaired < plain && plain < random, "{repaired} {plain} {random}");
}
