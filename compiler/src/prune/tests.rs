//! Analysis, repair and search on random networks and pictures.

use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::repair::{self, Statistics};
use super::search::{self, Budget, Joint};
use super::sensitivity::Work;
use super::store::Origin;
use super::*;
use crate::data::Dataset;
use crate::eval::Heads;
use crate::float::Plan;
use crate::graph::{ChannelGroups, Graph, Weights};
use crate::testing::{RandomOptions, random_network};

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

    fn analysis<'a>(&'a self, ranking: &'a Ranking, repair: Option<&'a Statistics>) -> Analysis<'a> {
        Analysis {
            graph: &self.graph,
            groups: &self.groups,
            weights: &self.weights,
            bench: &self.bench,
            ranking,
            repair,
            kernel_batch: 1,
            ignored: &[],
            work: Work::default(),
        }
    }

    fn ranking(&self, criterion: Criterion) -> Ranking {
        Ranking::by_weights(criterion, &self.graph, &self.groups, &self.weights, 1)
    }
}

fn store() -> Store {
    let setting = Setting {
        model: String::new(),
        pictures: String::new(),
        metric: Metric::Dp,
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
        let (ranking, statistics) = (case.ranking(Criterion::L1), case.statistics());
        for repair in [None, Some(&statistics)] {
            let analysis = case.analysis(&ranking, repair);
            let (mut fast, mut naive) = (store(), store());
            analysis.curves(&mut fast, None, None).unwrap();
            let thresholds = vec![0.02; case.groups.groups.len()];
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
        let ranking = case.ranking(Criterion::L1);
        let analysis = case.analysis(&ranking, None);
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
    let ranking = case.ranking(Criterion::Random);
    let analysis = case.analysis(&ranking, None);
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
    let ranking = case.ranking(Criterion::L2);
    let all = case.analysis(&ranking, None).prunable();
    let ignored = [case.groups.groups[all[0]].main()];
    let analysis = Analysis { ignored: &ignored, kernel_batch: 4, ..case.analysis(&ranking, None) };
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
        let ranking = repair::rank(&case.graph, &case.groups, &case.weights, &statistics);
        let analysis = case.analysis(&ranking, Some(&statistics));
        let keep = search::uniform(&analysis, 0.3);
        let inputs = case.bench.inputs();
        for (sum, repair) in [(&mut before, None), (&mut after, Some((inputs.as_slice(), RIDGE)))] {
            let joint = Joint {
                graph: &case.graph,
                groups: &case.groups,
                weights: &case.weights,
                ranking: &ranking,
                repair,
                held_out: &case.bench,
                seed: 1,
            };
            *sum += joint.candidate(&keep).unwrap().accuracy.loss;
        }
    }
    assert!(after < 0.7 * before, "{after} {before}");
}

#[test]
fn backing_off_holds_the_budget_and_uses_it() {
    let case = Case::new(2);
    let ranking = case.ranking(Criterion::L1);
    let analysis = case.analysis(&ranking, None);
    let joint = Joint {
        graph: &case.graph,
        groups: &case.groups,
        weights: &case.weights,
        ranking: &ranking,
        repair: None,
        held_out: &case.bench,
        seed: 1,
    };
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
    let full = search::macs(&case.graph, &case.groups, &search::uniform(&analysis, 0.0));
    assert!(found.macs < full);
}

#[test]
fn expected_costs_stand_in_for_measurements() {
    let case = Case::new(4);
    let statistics = case.statistics();
    let ranking = repair::rank(&case.graph, &case.groups, &case.weights, &statistics);
    let analysis = case.analysis(&ranking, Some(&statistics));
    let mut store = store();
    search::measure_for_greedy(&analysis, &mut store, 0.1, None).unwrap();
    assert_eq!(store.len(), analysis.prunable().len());
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 5 && path.is_sorted_by(|a, b| a.expected <= b.expected));
    // A group's own step is expected to cost what was measured.
    let group = analysis.prunable()[0];
    let level = analysis.levels(group)[0];
    let costs = &ranking.costs.as_ref().unwrap()[group];
    assert!(costs.is_sorted() && costs.len() == case.groups.groups[group].units.len());
    assert!(store.get(group, level).is_some());
}

#[test]
fn greedy_steps_save_macs_one_by_one() {
    let case = Case::new(5);
    let ranking = case.ranking(Criterion::L1);
    let analysis = case.analysis(&ranking, None);
    let mut store = store();
    analysis.curves(&mut store, None, None).unwrap();
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 3);
    let macs: Vec<u64> =
        path.iter().map(|step| search::macs(&case.graph, &case.groups, &step.keep)).collect();
    assert!(path.is_sorted_by(|a, b| a.expected <= b.expected));
    assert!(macs.is_sorted_by(|a, b| a > b), "{macs:?}");
    let half = search::step_of_rate(&path, &case.graph, &case.groups, 0.5);
    let miss = |step: usize| (1.0 - macs[step] as f64 / macs[0] as f64 - 0.5).abs();
    assert!((0..path.len()).all(|step| miss(half) <= miss(step)));
}
