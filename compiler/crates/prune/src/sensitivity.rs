//! `ana`: the loss of accuracy when one group is pruned and the others are left whole.
//!
//! The closed pruner runs the whole network on all images for nine ratios of every group. Here
//! - only the layers downstream of the group's consumers run, from outputs of the original (*suffix*),
//! - the ratio is found by bisection (*bisection*),
//! - a measurement ends when its result can no longer stay within the threshold (*rejection*), and
//!   images that cannot show a loss are left out.
//!
//! Only bisection and rejection assume something: that the loss grows with the ratio. It matters for the
//! ratio that is chosen alone. Each measured loss is exact, or a bound that it certainly exceeds.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::deployment::Deploy;
use super::store::{Sensitivity, Store};
use super::{RankedUnits, keep_count};
use secateur_base::Result;
use secateur_base::progress::Progress;
use secateur_eval::{Evaluator, ImageResult};
use secateur_float::{Cut, Keep, Plan, Pool, Scratch};
use secateur_ir::Source;

/// The ratios of the closed pruner: .1 to .9.
pub const RATES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Images between two checks of whether a measurement can end.
const IMAGES_PER_CHECK: usize = 4;
/// Work after which results are saved: about a minute of one core.
const MACS_PER_SAVE: u64 = 2_000_000_000_000;

/// Multiply-accumulates spent, and those that fewer methods would have spent.
#[derive(Debug, Default)]
pub struct Work {
    /// Executed, runs of the original for suffixes included.
    pub executed: AtomicU64,
    /// The same measurements without early rejection.
    pub without_rejection: AtomicU64,
    /// Measurements made.
    pub probes: AtomicU64,
}

/// A network and the images on which its groups are measured.
pub struct Analysis<'a> {
    pub units: &'a RankedUnits<'a>,
    pub evaluator: &'a Evaluator,
    /// Lanes: kept counts are multiples of it.
    pub kernel_batch: usize,
    pub ignored: &'a [usize],
    /// Measures candidates in the arithmetic of their deployment; `None`: in float. The evaluator's original is then the
    /// deployed one too.
    pub deploy: Option<Deploy<'a>>,
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
    results: Vec<Option<ImageResult>>,
    verdict: Option<Sensitivity>,
}

impl Analysis<'_> {
    /// Groups that may be pruned: none of their layers is ignored.
    pub fn prunable(&self) -> Vec<usize> {
        let free = |group: &usize| {
            let group = &self.units.groups()[*group];
            group.units > 1 && !self.ignored.iter().any(|&layer| group.changes(layer))
        };
        (0..self.units.groups().len()).filter(free).collect()
    }

    /// All units of every group.
    pub fn whole(&self) -> Vec<usize> {
        self.units.groups().iter().map(|group| group.units).collect()
    }

    /// Distinct unit counts at the nine ratios, falling; the whole group is not among them.
    pub fn levels(&self, group: usize) -> Vec<usize> {
        let units = self.units.groups()[group].units;
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
        let mut open: Vec<Bisection> = self
            .prunable()
            .into_iter()
            .map(|group| {
                let levels = self.levels(group);
                Bisection { group, good: 0, bad: levels.len() + 1, levels }
            })
            .collect();
        let mut keep: Vec<usize> = self.whole();
        while !open.is_empty() {
            let mut wanted = Vec::new();
            open.retain_mut(|bisection| {
                let threshold = thresholds[bisection.group];
                match bisection.next(store, threshold) {
                    Some(level) => wanted.push((bisection.group, level, Some(threshold))),
                    None => {
                        keep[bisection.group] = bisection.chosen(self.units.groups()[bisection.group].units)
                    }
                }
                bisection.good + 1 < bisection.bad
            });
            self.measure(store, &wanted, save)?;
        }
        Ok(keep)
    }

    /// Multiply-accumulates of the layers downstream of one group.
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

    /// As the closed pruner: the whole network on all images for every ratio of every group. The
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
                let loss = self.evaluator.relative_loss(&self.evaluator.results(&plan));
                self.work.executed.fetch_add(plan.macs() * self.evaluator.len() as u64, Ordering::Relaxed);
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
        if todo.is_empty() {
            return Ok(());
        }
        if let Some(deploy) = self.deploy {
            let todo = todo.iter().map(|&(group, keep, _)| (group, keep));
            return self.measure_deployed(store, todo, deploy, save);
        }
        self.evaluator.require_evidence()?;
        let original = Plan::new(self.units.graph(), self.units.weights())?;
        let order = self.evaluator.most_discriminative_first();
        let batch = (MACS_PER_SAVE / (original.macs() * order.len() as u64).max(1)).max(8) as usize;
        let progress =
            Progress::new(format!("measuring {} cuts", todo.len()), (todo.len() * order.len()) as u64);
        for todo in todo.chunks(batch) {
            let probes: Result<Vec<Probe>> = todo
                .par_iter()
                .map(|&(group, keep, limit)| self.probe(&original, group, keep, limit))
                .collect();
            for probe in self.run(&original, probes?, &order, &progress)? {
                let all: Vec<ImageResult> = probe
                    .results
                    .into_iter()
                    .enumerate()
                    .map(|(image, result)| result.unwrap_or_else(|| self.evaluator.original(image).clone()))
                    .collect();
                let exact = || Sensitivity { loss: self.evaluator.relative_loss(&all), at_least: false };
                store.insert(probe.group, probe.keep, probe.verdict.unwrap_or_else(exact));
            }
            if let Some(path) = save {
                store.save(path)?;
            }
        }
        Ok(())
    }

    /// Runs probes over images, all from the same runs of the original.
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
        self.work.without_rejection.fetch_add(once * self.evaluator.len() as u64, Ordering::Relaxed);
        self.work.probes.fetch_add(probes.len() as u64, Ordering::Relaxed);

        for images in order.chunks(IMAGES_PER_CHECK) {
            let active: Vec<usize> = (0..probes.len()).filter(|&p| probes[p].verdict.is_none()).collect();
            if active.is_empty() {
                break;
            }
            let results: Vec<Vec<ImageResult>> = images
                .par_iter()
                .map(|&image| {
                    let make = || (source.scratch(), original.scratch());
                    let results = scratches.with(make, |(base, scratch)| {
                        source.run(base, self.evaluator.input(image));
                        let result = |&p: &usize| self.result(&source, base, &probes[p], scratch, image);
                        active.iter().map(result).collect()
                    });
                    progress.advance(active.len() as u64);
                    results
                })
                .collect();
            let spent = source.macs() + active.iter().map(|&p| probes[p].cut.macs()).sum::<u64>();
            self.work.executed.fetch_add(spent * images.len() as u64, Ordering::Relaxed);
            for (&image, results) in images.iter().zip(results) {
                for (&p, result) in active.iter().zip(results) {
                    probes[p].results[image] = Some(result);
                }
            }
            for &p in &active {
                let probe = &mut probes[p];
                let bound = self.evaluator.relative_loss_at_least(&probe.results);
                if let (Some(limit), Some(bound)) = (probe.limit, bound)
                    && bound > limit
                {
                    probe.verdict = Some(Sensitivity { loss: bound, at_least: true });
                }
            }
        }
        Ok(probes)
    }

    /// A probe's result on one image, from the original's run in `base`.
    fn result(
        &self,
        source: &Plan,
        base: &Scratch,
        probe: &Probe,
        scratch: &mut Scratch,
        image: usize,
    ) -> ImageResult {
        let inputs: Vec<&[f32]> = probe
            .cut
            .inputs()
            .iter()
            .map(|&input| match input {
                Source::Image => self.evaluator.input(image),
                Source::Layer(layer) => source.output(base, layer),
            })
            .collect();
        probe.plan.run_cut(scratch, &probe.cut, &inputs);
        let outputs: Vec<Vec<f32>> = self
            .evaluator
            .outputs()
            .iter()
            .map(|&layer| {
                let plan = if probe.cut.outputs().contains(&layer) { &probe.plan } else { source };
                let scratch = if probe.cut.outputs().contains(&layer) { &*scratch } else { base };
                plan.output(scratch, layer).to_vec()
            })
            .collect();
        self.evaluator.image_result(image, &outputs)
    }

    fn probe(&self, original: &Plan, group: usize, keep: usize, limit: Option<f64>) -> Result<Probe> {
        let changes = self.units.changes(group, keep);
        let mut plan = original.clone();
        for (layer, weights) in &changes {
            plan.set_layer(*layer, weights)?;
        }
        let changed: Vec<usize> = changes.iter().map(|(layer, _)| *layer).collect();
        let cut = plan.affected(&changed);
        Ok(Probe { group, keep, plan, cut, limit, results: vec![None; self.evaluator.len()], verdict: None })
    }
}

/// Bisection over a group's levels: `good` levels are known to hold, level `bad` not to.
struct Bisection {
    group: usize,
    levels: Vec<usize>,
    good: usize,
    bad: usize,
}

impl Bisection {
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
