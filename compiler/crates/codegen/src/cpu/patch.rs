//! The choice of the layers that run in bands, and of the bands' height.

use super::bands::{self, Stage};
use super::{CpuProgram, SEED, passes, run_passes};
use crate::arena;
use crate::target::Target;
use secateur_quant::QNet;

/// How the first layers are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// Layer by layer.
    Off,
    /// In bands: the fewest steps that fit the target's RAM, or where that has no limit or nothing fits, the least RAM.
    Auto,
    /// In this many bands.
    Bands(usize),
}

/// Plans whose arena is looked for, those with the least live bytes first.
const PLANS: usize = 48;
/// Of these, the plans with the smallest arenas for which the whole search is done.
const SEARCHED: usize = 8;
/// Of plans whose arenas are alike within this many per cent, the one with the fewest tasks is taken: tasks cost flash.
const ALIKE: usize = 2;
/// Heights of a band that are tried.
const HEIGHTS: [usize; 8] = [1, 2, 3, 4, 5, 6, 8, 12];

/// A stage's cost.
struct Plan {
    stage: Stage,
    tasks: usize,
    /// Bytes alive at the fullest tick.
    bound: usize,
}

/// The stage for a network; `None` where no bands need less RAM than none.
pub(super) fn choose(net: &QNet, target: &Target, patch: Patch) -> Option<Stage> {
    if patch == Patch::Off {
        return None;
    }
    let limit = target.regions.as_ref().map(|regions| regions.arena.bytes as usize);
    let without = run_passes(net, target, None, |_, _, _| {}).ok()?.arena?.bytes;
    let mut plans = plans(net, target, patch);
    plans.retain(|plan| plan.bound < without);
    plans.sort_by_key(|plan| (plan.bound, plan.tasks));
    plans.truncate(PLANS);
    let greedy = |plan: &Plan| {
        let program = banded(net, target, plan.stage);
        arena::greedy(&program.buffers(), program.align)
    };
    let mut measured: Vec<(usize, Plan)> = plans.into_iter().map(|plan| (greedy(&plan), plan)).collect();
    // With a limit also those that take few tasks and fit.
    measured.sort_by_key(|(bytes, plan)| match limit {
        Some(limit) if *bytes <= limit => (0, plan.tasks, *bytes),
        _ => (1, *bytes, plan.tasks),
    });
    measured.truncate(SEARCHED);
    for (bytes, plan) in &mut measured {
        let program = banded(net, target, plan.stage);
        *bytes = arena::plan_parts(&program.buffers(), program.align, SEED).bytes;
    }
    measured.retain(|(bytes, _)| *bytes < without);
    let least = measured.iter().map(|(bytes, _)| *bytes).min()?;
    let enough = limit.filter(|&limit| least <= limit).unwrap_or(least + least / 100 * ALIKE);
    let fitting = measured.into_iter().filter(|(bytes, _)| *bytes <= enough);
    fitting.min_by_key(|(bytes, plan)| (plan.tasks, *bytes)).map(|(_, plan)| plan.stage)
}

/// Bytes of the arena with the stage that is chosen for a target; `None` where no bands help, or an accelerator runs.
pub(super) fn least_arena(net: &QNet, target: &Target) -> Option<u64> {
    if target.accelerator.is_some() {
        return None;
    }
    let stage = choose(net, target, Patch::Auto)?;
    let program = run_passes(net, target, Some(stage), |_, _, _| {}).ok()?;
    Some(program.arena?.bytes as u64)
}

/// Every stage that a network can have, with its cost.
fn plans(net: &QNet, target: &Target, patch: Patch) -> Vec<Plan> {
    let mut plans = Vec::new();
    for layers in 2..=bands::possible(net) {
        let lowest = bands::lowest(net, layers);
        let mut counts: Vec<usize> = match patch {
            Patch::Off => Vec::new(),
            Patch::Auto => HEIGHTS.iter().map(|&rows| lowest.div_ceil(rows)).collect(),
            Patch::Bands(count) => vec![count],
        };
        counts.dedup();
        for count in counts.into_iter().filter(|&count| count > 1) {
            let rows = lowest.div_ceil(count);
            if matches!(patch, Patch::Bands(_)) && lowest.div_ceil(rows) != count {
                continue;
            }
            let stage = Stage { layers, rows };
            let program = banded(net, target, stage);
            let bound = arena::lower_bound_of_parts(&program.buffers(), program.align);
            plans.push(Plan { stage, tasks: program.tasks.len(), bound });
        }
    }
    plans
}

/// The program with a stage, before its arena is planned.
fn banded<'a>(net: &'a QNet, target: &Target, stage: Stage) -> CpuProgram<'a> {
    let mut program = CpuProgram::new(net, target.align, target.weights);
    program.stage = Some(stage);
    passes::views(&mut program);
    passes::in_place(&mut program);
    let members = passes::members(&program);
    passes::arrange(&mut program, &members);
    program
}
