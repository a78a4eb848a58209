//! Searches reach their goals.

use super::*;

/// Every search reaches every goal that it knows.
#[test]
fn searches_reach_their_goals() {
    let case = Case::new(6);
    let budget = Some(Budget { loss: 0.02, by_bound: false });
    let groups = case.channels().groups().len();
    for search in search::SEARCHES {
        let rate = case.search(search, Goal { rate: Some(0.3), ..Goal::default() }, 1).unwrap();
        // A ratio of the units saves more than its fraction of the MACs: inputs and outputs go.
        let within = if search.name() == "uniform" { 0.3 } else { rate.finest.max(0.05) };
        assert!((rate.saved - 0.3).abs() < within, "{search:?}: {rate:?}");
        let thresholds = Some(vec![0.05; groups]);
        let held = case.search(search, Goal { budget, thresholds, rate: None }, 1).unwrap();
        assert!(held.loss <= 0.02, "{search:?}: {held:?}");
    }
    let error = case.search(&Threshold, Goal::default(), 1).unwrap_err();
    assert!(error.what().contains("no threshold"), "{error}");
}

#[test]
fn rates_out_of_reach_are_errors() {
    let case = Case::new(6);
    for search in search::SEARCHES {
        let error = case.search(search, Goal { rate: Some(0.5), ..Goal::default() }, 64).unwrap_err();
        assert!(error.to_string().contains("at most 0.0%"), "{search:?}: {error}");
    }
    let error = case.search(&Uniform, Goal { rate: Some(1.0), ..Goal::default() }, 1).unwrap_err();
    assert!(error.what().contains("cannot be reached"), "{error}");
}

/// Removed are the units of the least scores, whatever their group, while no group is narrow.
#[test]
fn the_global_search_removes_the_least_scores() {
    let case = Case::new(6);
    let (channels, scores) = (case.channels(), case.gradients(2));
    let evidence = Evidence { gradients: Some(&scores), ..Evidence::default() };
    let units = RankedUnits::new(&channels, &Taylor, evidence, None, 1);
    let analysis = case.analysis(&units);
    let path = search::global_path(&analysis).unwrap();
    let removable: usize = analysis.prunable().iter().map(|&group| units.groups()[group].units - 1).sum();
    assert_eq!(path.len(), removable + 1);
    assert!(path.windows(2).all(|steps| units.macs(&steps[1].keep) <= units.macs(&steps[0].keep)));
    let all = |group: usize| units.groups()[group].units as f64;
    let wide = |step: &&Step| analysis.prunable().iter().all(|&g| step.keep[g] as f64 >= 0.3 * all(g));
    let narrow = path.iter().take_while(wide).count();
    for group in analysis.prunable() {
        assert!(((path[narrow - 1].keep[group] - 1) as f64) < 0.3 * all(group), "group {group} is wide yet");
    }
    let half = &path[narrow / 2].keep;
    let groups = || analysis.prunable().into_iter().map(|group| (group, units.scores(group).unwrap()));
    let gone = |(group, scores): (usize, &[f64])| scores[..scores.len() - half[group]].last().copied();
    let highest = groups().filter_map(gone).fold(0.0, f64::max);
    for (group, scores) in groups().filter(|(group, _)| half[*group] > 1) {
        assert!(scores[scores.len() - half[group]] >= highest, "group {group}");
    }
    let lanes = Analysis { kernel_batch: 4, ..case.analysis(&units) };
    for Step { keep, .. } in search::global_path(&lanes).unwrap() {
        for (group, &keep) in keep.iter().enumerate() {
            assert!(keep % 4 == 0 || keep == units.groups()[group].units, "{keep} of group {group}");
        }
    }
}

#[test]
fn the_global_search_needs_a_goal_and_scores_that_compare() {
    let case = Case::new(6);
    let error = case.search(&search::Global, Goal::default(), 1).unwrap_err();
    assert!(error.what().contains("how much to prune"), "{error}");
    let channels = case.channels();
    let units = plain(&channels, &Random);
    let error = search::global_path(&case.analysis(&units)).unwrap_err();
    assert!(error.what().contains("do not compare"), "{error}");
}

#[test]
fn greedy_steps_save_macs_one_by_one() {
    let case = Case::new(5);
    let channels = case.channels();
    let units = plain(&channels, &L1);
    let analysis = case.analysis(&units);
    let mut store = store();
    analysis.curves(&mut store, None, None).unwrap();
    let path = search::greedy_path(&analysis, &store);
    assert!(path.len() > 3);
    let macs: Vec<u64> = path.iter().map(|step| units.macs(&step.keep)).collect();
    assert!(path.is_sorted_by(|a, b| a.expected <= b.expected));
    assert!(macs.is_sorted_by(|a, b| a > b), "{macs:?}");
    let half = search::step_of_rate(&path, &units, 0.5);
    let miss = |step: usize| (1.0 - macs[step] as f64 / macs[0] as f64 - 0.5).abs();
    assert!((0..path.len()).all(|step| miss(half) <= miss(step)));
}

#[test]
fn backing_off_holds_the_budget_and_uses_it() {
    let case = Case::new(2);
    let channels = case.channels();
    let units = plain(&channels, &L1);
    let analysis = case.analysis(&units);
    let objective = case.objective(&units);
    let hardest = objective.candidate(&search::uniform(&analysis, 0.8)).unwrap();
    let budget = Budget { loss: 0.5 * hardest.accuracy.loss, by_bound: false };
    assert!(!budget.holds(&hardest.accuracy));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trials.json");
    let known = || Trials::resume(store().setting, store().setting, &file).unwrap();
    let tried = std::cell::Cell::new(0);
    let search = |trials: &mut Trials| {
        let schedule = |fraction| Ok(search::uniform(&analysis, 0.8 * fraction));
        objective.back_off(budget, 6, trials, schedule, |_| tried.set(tried.get() + 1)).unwrap()
    };
    let found = search(&mut known());
    assert!(budget.holds(&found.accuracy));
    assert_eq!(objective.candidate(&found.keep).unwrap().accuracy, found.accuracy);

    // A second run believes the first one's measurements and ends with the same candidate.
    let mut again = known();
    let second = search(&mut again);
    assert_eq!((&second.keep, second.accuracy), (&found.keep, found.accuracy));
    again.insert(&found.keep, hardest.accuracy).unwrap();
    assert_ne!(search(&mut known()).keep, found.keep);
    assert!(tried.get() > 3);
    let other = Setting { seed: 7, ..store().setting };
    assert!(Trials::resume(other, store().setting, &file).unwrap().get(&found.keep).is_none());
    let full = units.macs(&search::uniform(&analysis, 0.0));
    assert!(found.macs < full);
}
