//! Groups operations that run together in strips, by dynamic programming over the cuts between groups.
//!
//! The cost of a group is estimated with the cycle model's array and with all its transfers on one bus;
//! the whole program is replayed afterwards, for several rules about what remains on the chip.

use std::ops::Range;

use secateur_runtime::npu::isa::ArrayMode;

use super::cycles::{EXEC_LATENCY, Tail, Tiles, WAIT};
use super::import::NpuGraph;
use super::packed::{Packed, weight_bytes};
use super::schedule::{OpGroup, Role, Stays};
use super::strips::{self, StripCut, StripEvent, overlap};
use crate::arena;
use crate::target::Accelerator;
use secateur_base::{Error, Result};

/// Numbers of strips that are tried, up to one for each word or row of the output.
const STRIPS: [usize; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64, 80, 104, 160];
/// Beyond the fewest strips that fit, so many more are tried.
const MORE: usize = 3;

/// A longer group rarely fits in fewer strips than a shorter one: so many fewer are tried.
const SLACK: usize = 2;

/// Limits of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Words of each bank that a group may use.
    pub bank_words: usize,
    /// Operations of a group.
    pub ops: usize,
}

/// Cuts the operations into groups of least estimated time.
pub(crate) fn plan(
    graph: &NpuGraph,
    packed: &Packed,
    accelerator: &Accelerator,
    stays: &Stays,
    limits: Limits,
) -> Result<Vec<OpGroup>> {
    let count = graph.ops.len();
    // By number of operations done: the least cost, and the last group.
    let mut best: Vec<Option<(u64, Option<OpGroup>)>> = vec![None; count + 1];
    best[0] = Some((0, None));
    let planner = GroupPlanner { graph, packed, accelerator, stays, limits };
    // By first operation: fewest strips that fitted the group without its last operation.
    let mut fewest = vec![[0; 2]; count];
    for end in 1..=count {
        for start in end.saturating_sub(limits.ops)..end {
            let Some((before, _)) = best[start] else { continue };
            if let Some((cost, cut)) = planner.group(start..end, &mut fewest[start]) {
                let total = before + cost;
                if best[end].as_ref().is_none_or(|(least, _)| total < *least) {
                    best[end] = Some((total, Some(OpGroup { ops: start..end, cut })));
                }
            }
        }
    }
    let mut groups = Vec::new();
    let mut end = count;
    while end > 0 {
        let Some(Some((_, Some(group)))) = best.get(end).cloned() else {
            let stuck = best.iter().rposition(Option::is_some).unwrap_or(0).min(count - 1);
            return Err(Error::new("the feature maps do not fit the accelerator's banks")
                .layer(graph.ops[stuck].layer)
                .allowed(format!("{} words of a bank", limits.bank_words))
                .help("use a target with more bank memory, or a smaller image"));
        };
        end = group.ops.start;
        groups.push(group);
    }
    groups.reverse();
    Ok(groups)
}

struct GroupPlanner<'a> {
    graph: &'a NpuGraph,
    packed: &'a Packed,
    accelerator: &'a Accelerator,
    stays: &'a Stays,
    limits: Limits,
}

impl GroupPlanner<'_> {
    /// Least cost of a group, and how to cut it; `None` where it does not fit. `fewest` are the places
    /// in [`STRIPS`], unstaged and staged, about which the search begins; it leaves those of this group.
    fn group(&self, ops: Range<usize>, fewest: &mut [usize; 2]) -> Option<(u64, StripCut)> {
        let lanes = self.accelerator.lanes as usize;
        let around = self.stays.surroundings(self.graph, &ops);
        let largest = self.graph.ops[ops.clone()]
            .iter()
            .map(|op| {
                let map = self.graph.maps[op.output.map];
                if op.row_mode { map.h } else { map.words(lanes) }
            })
            .max()?;
        let mut best: Option<(u64, StripCut)> = None;
        for (staged, fewest) in [false, true].into_iter().zip(fewest) {
            let mut fitting = 0;
            let from = fewest.saturating_sub(SLACK);
            let strips = STRIPS.into_iter().enumerate().skip(from).take_while(|&(_, n)| n <= largest);
            for (place, strips) in strips {
                let cut = StripCut { strips, staged };
                if (staged && (strips == 1 || ops.len() == 1)) || fitting > MORE {
                    continue;
                }
                let plan = strips::plan(self.graph, ops.clone(), cut, &around, lanes);
                if self.bank_words(&ops, &plan) > self.limits.bank_words {
                    continue;
                }
                if fitting == 0 {
                    *fewest = place;
                }
                fitting += 1;
                let cost = self.cost(&ops, &plan.events, strips);
                if best.is_none_or(|(least, _)| cost < least) {
                    best = Some((cost, cut));
                }
            }
        }
        best
    }

    /// Words of a bank in use at the fullest moment of a group.
    fn bank_words(&self, ops: &Range<usize>, plan: &strips::Strips) -> usize {
        let parameters = self.accelerator.parameters();
        let rows = parameters.rows as usize;
        let events = &plan.events;
        let mut spans = Vec::new();
        for map in 0..self.graph.maps.len() {
            let Some(role) = self.stays.role(self.graph, &parameters, map, ops) else { continue };
            let words = match role {
                Role::Whole(words) => words,
                Role::Ring => {
                    let channels = self.graph.channels(map, ops);
                    let first = channels.start / rows * rows;
                    (channels.end - first).div_ceil(rows) * plan.planes.get(&map).copied().unwrap_or(0)
                }
            };
            let touches = |event: &StripEvent| match event {
                StripEvent::Run { op, .. } => self.graph.ops[*op].views().any(|view| view.map == map),
                StripEvent::Load { view, .. } | StripEvent::Store { view, .. } => view.map == map,
            };
            let whole = matches!(role, Role::Whole(_));
            let (first, last) = if whole {
                (0, events.len())
            } else {
                (events.iter().position(touches).unwrap_or(0), events.iter().rposition(touches).unwrap_or(0))
            };
            spans.push(arena::LiveBuffer { bytes: words, first, last });
        }
        arena::lower_bound(&spans, 1)
    }

    /// Estimated cycles of a group.
    fn cost(&self, ops: &Range<usize>, events: &[StripEvent], strips: usize) -> u64 {
        let accelerator = self.accelerator;
        let memory = &accelerator.memory;
        let rate = accelerator.transfer_rate();
        let bus = |bytes: usize| u64::from(memory.latency_cycles) + bytes as u64 * 100 / rate;
        let (rows, lanes) = (accelerator.rows, accelerator.lanes);
        let (mut last, mut busy) = (Tail::default(), 0);
        let mut first_load = None;
        // By operation of the group: the cycle in which its last results are written.
        let mut written = vec![0; ops.len()];
        for event in events {
            match event {
                StripEvent::Load { view, words } => {
                    let time = bus(view.channels * words.len() * lanes as usize);
                    busy += time;
                    first_load.get_or_insert(time);
                }
                StripEvent::Store { view, words, .. } => {
                    busy += bus(view.channels * words.len() * lanes as usize)
                }
                StripEvent::Run { op: index, pixels } => {
                    let op = &self.graph.ops[*index];
                    let reads = |n: usize| {
                        let made = self.graph.ops[ops.start + n].output;
                        overlap(op.input, made) || op.residual.is_some_and(|r| overlap(r.view, made))
                    };
                    let ready = (0..*index - ops.start).filter(|&n| reads(n)).map(|n| written[n]).max();
                    let to = self.graph.maps[op.output.map];
                    let pixels_of = match op.mode {
                        ArrayMode::Average => self.graph.maps[op.input.map].pixels(),
                        _ => pixels.len(),
                    };
                    let tiles = Tiles {
                        tiles: if op.row_mode { to.w } else { pixels_of }.div_ceil(lanes as usize) as u64,
                        lines: if op.row_mode { pixels.len() / to.w } else { 1 } as u64,
                        row_mode: op.row_mode.then_some((to.w as u64, (pixels.start / to.w) as u64)),
                        average: op.mode == ArrayMode::Average,
                        off: if op.by_bank() { op.input.channel as u32 % rows } else { 0 },
                        channels: op.output.channels as u32,
                        window: (op.window.size as u64, op.window.words(lanes as usize, op.row_mode) as u64),
                        sparse: op.sparse,
                        second: op.residual.is_some(),
                    };
                    let groups = (tiles.off + tiles.channels).div_ceil(rows) as usize;
                    let cycles = (0..groups).map(|group| op.tile_cycles(group, lanes as usize) as u32);
                    let taken = ready.map_or(0, |ready| ready + WAIT);
                    last = tiles.estimate(cycles, taken, last, accelerator);
                    // Each further chunk of output channels is a command, which may wait for weights.
                    let more = (self.packed.chunks[*index].len() as u64 - 1) * tiles.window.1;
                    last.tap += more;
                    written[*index - ops.start] = last.tap + last.drain + EXEC_LATENCY;
                }
            }
        }
        // Weights come once if they all fit, else for every strip.
        let words = |op: usize| self.packed.chunks[op].iter().map(|chunk| chunk.words).sum::<usize>();
        let entries: usize = ops.clone().map(|op| self.graph.ops[op].output.channels).sum();
        let total: usize = ops.clone().map(words).sum();
        let fit = total <= accelerator.weight_words as usize && entries <= accelerator.param_entries as usize;
        let times = if fit { 1 } else { strips };
        let constants: u64 = ops
            .clone()
            .map(|op| {
                let sparse = self.graph.ops[op].sparse;
                bus(weight_bytes(&accelerator.parameters(), words(op), sparse)
                    + 16 * self.graph.ops[op].output.channels)
            })
            .sum();
        busy += constants * times as u64;
        if total > accelerator.weight_words as usize {
            // What of a chunk finds no room beside the one in use comes when that is done.
            let exposed = |words: usize| (2 * words).saturating_sub(accelerator.weight_words as usize);
            let bytes: usize = ops
                .clone()
                .flat_map(|op| &self.packed.chunks[op])
                .map(|chunk| weight_bytes(&accelerator.parameters(), exposed(chunk.words), false))
                .sum();
            last.tap += (bytes * times) as u64 * 100 / rate;
        }
        // The group before hides half of what the first command waits for.
        last.tap.max(busy) + first_load.unwrap_or(0) / 2
    }
}
