//! `ana`: what cutting one group down costs, the others left whole.
//!
//! The closed pruner runs the whole network on all pictures for nine ratios of every group. Here
//! - only the layers behind the group's readers run, from outputs of the original (*suffix*),
//! - the ratio is found by bisection (*bisection*),
//! - a measurement ends when its result can no longer stay within the threshold (*rejection*), and
//!   pictures that cannot show a loss are left out.
//!
//! Only the last rests on anything: on the loss growing with the ratio, where it comes to which
//! ratio is chosen. Each measured loss is exact, or a bound that it certainly exceeds.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::store::{Sensitivity, Store};
use super::{Granularity, keep_count};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_eval::{Answer, Bench};
use secateur_float::{Cut, Keep, Plan, Pool, Scratch};
use secateur_ir::Source;

/// The ratios of the closed pruner: .1 to .9.
pub const RATES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Pictures between two looks at whether a measurement can end.
const PICTURES_PER_LOOK: usize = 4;
/// Work after which results are saved: about a minute of one core.
const MACS_PER_SAVE: u64 = 2_000_000_000_000;

/// Multiply-accumulates spent, and what fewer tricks would have spent.
#[derive(Debug, Default)]
pub struct Work {
    /// Executed, runs of the original for suffixes included.
    pub executed: AtomicU64,
    /// The same measurements without early rejection.
    pub without_rejection: AtomicU64,
    /// Measurements made.
    pub probes: AtomicU64,
}

/// A network and the pictures on which its groups are measured.
pub struct Analysis<'a> {
    pub units: &'a dyn Granularity,
    pub bench: &'a Bench,
    /// Lanes: kept counts are multiples of it.
    pub kernel_batch: usize,
    pub ignored: &'a [usize],
    pub work: Work,
}

/// One group cut down to `keep` units, ready to run.
struct Probe {
    group: usize,
    keep: usize,
    plan: Plan,
    cut: Cut,
    /// Stop when the loss exceeds this.
    limit: Option<f64>,
    answers: Vec<Option<Answer>>,
    verdict: Option<Sensitivity>,
}

impl Analysis<'_> {
    /// Groups that may be pruned: none of their layers is ignored.
    pub fn prunable(&self) -> Vec<usize> {
        let free = |group: &usize| {
            let group = &self.units.sets()[*group];
            group.units > 1 && !self.ignored.iter().any(|&layer| group.changes(layer))
        };
        (0..self.units.sets().len()).filter(free).collect()
    }

    /// All units of every set.
    pub fn whole(&self) -> Vec<usize> {
        self.units.sets().iter().map(|set| set.units).collect()
    }

    /// Distinct unit counts at the nine ratios, falling; the whole group is not among them.
    pub fn levels(&self, group: usize) -> Vec<usize> {
        let units = self.units.sets()[group].units;
        let mut levels: Vec<usize> =
            RATES.iter().map(|&rate| keep_count(units, rate, self.kernel_batch)).collect();
        levels.dedup();
        levels.retain(|&keep| keep < units);
        levels
    }

    /// For every group the fewest units whose loss stays within its threshold, found by bisection.
    ///
    /// Measures what `store` does not know and saves it to `save`. A group's entry in `thresholds`
    /// that is not prunable keeps all its units.
    pub fn choose(&self, store: &mut Store, thresholds: &[f64], save: Option<&Path>) -> Result<Vec<usize>> {
        let mut open: Vec<Search> = self
            .prunable()
            .into_iter()
            .map(|group| {
                let levels = self.levels(group);
                Search { group, good: 0, bad: levels.len() + 1, levels }
            })
            .collect();
        let mut keep: Vec<usize> = self.whole();
        while !open.is_empty() {
            let mut wanted = Vec::new();
            open.retain_mut(|search| {
                let threshold = thresholds[search.group];
                match search.next(store, threshold) {
                    Some(level) => wanted.push((search.group, level, Some(threshold))),
                    None => keep[search.group] = search.chosen(self.units.sets()[search.group].units),
                }
                search.good + 1 < search.bad
            });
            self.measure(store, &wanted, save)?;
        }
        Ok(keep)
    }

    /// Multiply-accumulates of the suffix behind one group.
    pub fn suffix_macs(&self, group: usize) -> Result<u64> {
        let Some(&keep) = self.levels(group).first() else { return Ok(0) };
        Ok(self.probe(&Plan::new(self.units.graph(), self.units.weights())?, group, keep, None)?.cut.macs())
    }

    /// Measures all nine ratios of every group, up to losses of `limit`.
    pub fn curves(&self, store: &mut Store, limit: Option<f64>, save: Option<&Path>) -> Result<()> {
        let all: Vec<(usize, usize, Option<f64>)> = self
            .prunable()
            .into_iter()
            .flat_map(|group| self.levels(group).into_iter().map(move |keep| (group, keep, limit)))
            .collect();
        self.measure(store, &all, save)
    }

    /// As the closed pruner: the whole network on all pictures for every ratio of every group. The
    /// chosen count is the fewest that holds the threshold.
    pub fn choose_naively(&self, store: &mut Store, thresholds: &[f64]) -> Result<Vec<usize>> {
        let mut keep: Vec<usize> = self.whole();
        let groups = self.prunable();
        let progress =
            Progress::new(format!("analysing {} groups, naively", groups.len()), groups.len() as u64);
        for group in groups {
            for level in self.levels(group) {
                let mut weights = self.units.weights().clone();
                for (layer, changed) in self.units.changes(group, level) {
                    weights.layers[layer] = changed;
                }
                let plan = Plan::new(self.units.graph(), &weights)?;
                let loss = self.bench.relative_loss(&self.bench.answers(&plan));
                self.work.executed.fetch_add(plan.macs() * self.bench.len() as u64, Ordering::Relaxed);
                store.insert(group, level, Sensitivity { loss, at_least: false });
                if loss <= thresholds[group] {
                    keep[group] = keep[group].min(level);
                }
            }
            progress.advance(1);
        }
        Ok(keep)
    }

    /// Measures those of `wanted` (group, kept units, limit of the loss) that `store` does not know.
    pub fn measure(
        &self,
        store: &mut Store,
        wanted: &[(usize, usize, Option<f64>)],
        save: Option<&Path>,
    ) -> Result<()> {
        let unknown = |&&(group, keep, limit): &&(usize, usize, Option<f64>)| match limit {
            Some(limit) => store.holds(group, keep, limit).is_none(),
            None => store.get(group, keep).is_none_or(|point| point.at_least),
        };
        let todo: Vec<(usize, usize, Option<f64>)> = wanted.iter().filter(unknown).copied().collect();
        let original = Plan::new(self.units.graph(), self.units.weights())?;
        let order = self.bench.telling_order();
        let batch = (MACS_PER_SAVE / (original.macs() * order.len() as u64).max(1)).max(8) as usize;
        let progress =
            Progress::new(format!("measuring {} cuts", todo.len()), (todo.len() * order.len()) as u64);
        for todo in todo.chunks(batch) {
            let probes: Result<Vec<Probe>> = todo
                .par_iter()
                .map(|&(group, keep, limit)| self.probe(&original, group, keep, limit))
                .collect();
            for probe in self.run(&original, probes?, &order, &progress)? {
                let all: Vec<Answer> = probe
                    .answers
                    .into_iter()
                    .enumerate()
                    .map(|(picture, answer)| answer.unwrap_or_else(|| self.bench.original(picture).clone()))
                    .collect();
                let exact = || Sensitivity { loss: self.bench.relative_loss(&all), at_least: false };
                store.insert(probe.group, probe.keep, probe.verdict.unwrap_or_else(exact));
            }
            if let Some(path) = save {
                store.save(path)?;
            }
        }
        Ok(())
    }

    /// Runs probes over pictures, all from the same runs of the original.
    fn run(
        &self,
        original: &Plan,
        mut probes: Vec<Probe>,
        order: &[usize],
        progress: &Progress,
    ) -> Result<Vec<Probe>> {
        let mut read: Vec<usize> = probes
            .iter()
            .flat_map(|probe| probe.cut.inputs())
            .filter_map(|input| match *input {
                Source::Layer(layer) => Some(layer),
                Source::Image => None,
            })
            .collect();
        read.sort_unstable();
        read.dedup();
        let source = Plan::keeping(self.units.graph(), self.units.weights(), &Keep::Layers(read))?;
        let scratches: Pool<(Scratch, Scratch)> = Pool::default();
        let once: u64 = source.macs() + probes.iter().map(|probe| probe.cut.macs()).sum::<u64>();
        self.work.without_rejection.fetch_add(once * self.bench.len() as u64, Ordering::Relaxed);
        self.work.probes.fetch_add(probes.len() as u64, Ordering::Relaxed);

        for pictures in order.chunks(PICTURES_PER_LOOK) {
            let active: Vec<usize> = (0..probes.len()).filter(|&p| probes[p].verdict.is_none()).collect();
            if active.is_empty() {
                break;
            }
            let answers: Vec<Vec<Answer>> = pictures
                .par_iter()
                .map(|&picture| {
                    let make = || (source.scratch(), original.scratch());
                    let answers = scratches.with(make, |(base, scratch)| {
                        source.run(base, self.bench.input(picture));
                        let answer = |&p: &usize| self.answer(&source, base, &probes[p], scratch, picture);
                        active.iter().map(answer).collect()
                    });
                    progress.advance(active.len() as u64);
                    answers
                })
                .collect();
            let spent = source.macs() + active.iter().map(|&p| probes[p].cut.macs()).sum::<u64>();
            self.work.executed.fetch_add(spent * pictures.len() as u64, Ordering::Relaxed);
            for (&picture, answers) in pictures.iter().zip(answers) {
                for (&p, answer) in active.iter().zip(answers) {
                    probes[p].answers[picture] = Some(answer);
                }
            }
            for &p in &active {
                let probe = &mut probes[p];
                let bound = self.bench.relative_loss_at_least(&probe.answers);
                if let (Some(limit), Some(bound)) = (probe.limit, bound)
                    && bound > limit
                {
                    probe.verdict = Some(Sensitivity { loss: bound, at_least: true });
                }
            }
        }
        Ok(probes)
    }

    /// A probe's answer to one picture, from the original's run in `base`.
    fn answer(
        &self,
        source: &Plan,
        base: &Scratch,
        probe: &Probe,
        scratch: &mut Scratch,
        picture: usize,
    ) -> Answer {
        let inputs: Vec<&[f32]> = probe
            .cut
            .inputs()
            .iter()
            .map(|&input| match input {
                Source::Image => self.bench.input(picture),
                Source::Layer(layer) => source.output(base, layer),
            })
            .collect();
        probe.plan.run_cut(scratch, &probe.cut, &inputs);
        let outputs: Vec<Vec<f32>> = self
            .bench
            .outputs()
            .iter()
            .map(|&layer| {
                let plan = if probe.cut.outputs().contains(&layer) { &probe.plan } else { source };
                let scratch = if probe.cut.outputs().contains(&layer) { &*scratch } else { base };
                plan.output(scratch, layer).to_vec()
            })
            .collect();
        self.bench.answer(picture, &outputs)
    }

    fn probe(&self, original: &Plan, group: usize, keep: usize, limit: Option<f64>) -> Result<Probe> {
        let changes = self.units.changes(group, keep);
        let mut plan = original.clone();
        for (layer, weights) in &changes {
            plan.set_layer(*layer, weights)?;
        }
        let changed: Vec<usize> = changes.iter().map(|(layer, _)| *layer).collect();
        let cut = plan.affected(&changed);
        Ok(Probe { group, keep, plan, cut, limit, answers: vec![None; self.bench.len()], verdict: None })
    }
}

/// Bisection over a group's levels: `good` levels are known to hold, level `bad` not to.
struct Search {
    group: usize,
    levels: Vec<usize>,
    good: usize,
    bad: usize,
}

impl Search {
    /// Moves on as far as `store` knows; the count to measure next, or `None` when done.
    fn next(&mut self, store: &Store, threshold: f64) -> Option<usize> {
        while self.good + 1 < self.bad {
            // Above the middle: a level that does not hold is found out early, one that holds is not.
            let middle = (self.good + self.bad + (self.bad - self.good) / 4).div_ceil(2).min(self.bad - 1);
            let keep = self.levels[middle - 1];
            match store.holds(self.group, keep, threshold) {
                Some(true) => self.good = middle,
                Some(false) => self.bad = middle,
                None => return Some(keep),
            }
        }
        None
    }

    fn chosen(&self, units: usize) -> usize {
        if self.good == 0 { units } else { self.levels[self.good - 1] }
    }
}
