//! A group of operations run strip by strip: which pixels of which feature map when, and how long the rings
//! between them have to be.
//!
//! All strips of a group go through its operations in order. With two stages the second half of the
//! operations works on the strip before, one command of each half in turn, so that no command has to
//! wait for the last bytes of the one before it.

use std::collections::BTreeMap;
use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, ResidualSpread};

use super::import::NpuGraph;
use super::op::{MapSlice, NpuOp};

/// A step of a group, in order of execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StripEvent {
    /// Output pixels of an operation: whole bank words, or whole rows in row mode.
    Run { op: usize, pixels: Range<usize> },
    /// Bank words from memory.
    Load { view: MapSlice, words: Range<usize> },
    /// Bank words to memory, written by operation `op`.
    Store { op: usize, view: MapSlice, words: Range<usize> },
}

/// Transfers between a group and the rest of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Channels that come from memory, as views; each is loaded as far as it is needed.
    pub loads: Vec<MapSlice>,
    /// Channels that go to memory, by the operation that writes them.
    pub stores: Vec<(usize, MapSlice)>,
    /// Feature maps that are on the chip as a whole.
    pub whole: Vec<usize>,
}

/// A group's events and the length of its feature maps on the chip.
#[derive(Debug, Clone)]
pub(crate) struct Strips {
    pub events: Vec<StripEvent>,
    /// By feature map: words of a channel that are alive at once.
    pub planes: BTreeMap<usize, usize>,
}

/// The cut of a group into strips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StripCut {
    pub strips: usize,
    /// The second half of the operations works one strip behind.
    pub staged: bool,
}

/// Input pixels, exclusive, that an operation needs to have made `end` output pixels.
pub(crate) fn needs(graph: &NpuGraph, op: &NpuOp, end: usize) -> usize {
    let (from, to) = (graph.maps[op.input.map], graph.maps[op.output.map]);
    if end == 0 {
        return 0;
    }
    if op.mode == ArrayMode::Average {
        return from.pixels();
    }
    let window = &op.window;
    let (y, x) = ((end - 1) / to.w, (end - 1) % to.w);
    if window.upsample {
        return (y / 2 + 1) * from.w;
    }
    let reach = window.reach() as i64;
    let row = (y * window.stride) as i64 + reach - i64::from(window.pad_y);
    if row < 0 {
        return 0;
    }
    if row >= from.h as i64 {
        return from.pixels();
    }
    if op.row_mode {
        return (row as usize + 1) * from.w;
    }
    let column = x as i64 + reach - i64::from(window.pad_x);
    // Pixels of the row before end one row higher.
    row as usize * from.w + (column + 1).clamp(0, from.w as i64) as usize
}

/// First input pixel that an operation reads for the output pixels from `start` on.
pub(crate) fn first_read(graph: &NpuGraph, op: &NpuOp, start: usize) -> usize {
    let (from, to) = (graph.maps[op.input.map], graph.maps[op.output.map]);
    let window = &op.window;
    if op.mode == ArrayMode::Average {
        return 0;
    }
    let (y, x) = (start / to.w, start % to.w);
    if window.upsample {
        return y / 2 * from.w;
    }
    let row = (y * window.stride) as i64 - i64::from(window.pad_y);
    if row < 0 {
        return 0;
    }
    let column = if op.row_mode { 0 } else { (x as i64 - i64::from(window.pad_x)).max(0) };
    (row as usize * from.w + (column as usize).min(from.w - 1)).min(from.pixels() - 1)
}

/// Output pixels that a run has to end at, to have made at least `end`.
fn round_up(graph: &NpuGraph, op: &NpuOp, end: usize, lanes: usize) -> usize {
    let to = graph.maps[op.output.map];
    let unit = if op.row_mode { to.w } else { lanes };
    end.next_multiple_of(unit).min(to.pixels())
}

/// Returns true if two slices have a channel in common.
pub(crate) fn overlap(a: MapSlice, b: MapSlice) -> bool {
    a.map == b.map && a.channel < b.channel + b.channels && b.channel < a.channel + a.channels
}

/// Input and element-wise operand of an operation with the pixels, exclusive, that `end` output pixels need.
fn inputs(graph: &NpuGraph, op: &NpuOp, end: usize) -> impl Iterator<Item = (MapSlice, usize)> {
    let second = op.residual.map(|residual| {
        let pixels = match residual.spread {
            ResidualSpread::Map | ResidualSpread::Pixel => end,
            ResidualSpread::Channel => end.min(1),
        };
        let view = match residual.spread {
            ResidualSpread::Pixel => MapSlice { channels: 1, ..residual.view },
            _ => residual.view,
        };
        (view, pixels)
    });
    [(op.input, needs(graph, op, end))].into_iter().chain(second)
}

/// Plans the operations `ops` in strips.
pub(crate) fn plan(
    graph: &NpuGraph,
    ops: Range<usize>,
    cut: StripCut,
    around: &Surroundings,
    lanes: usize,
) -> Strips {
    let steps = step_targets(graph, ops.clone(), cut.strips, lanes);
    let mut slots = slots(ops.clone(), &steps, cut);
    slots.retain(|slot| !slot.is_empty());
    let mut events = Vec::new();
    let mut loaded = vec![0; around.loads.len()];
    let mut stored = vec![0; around.stores.len()];
    let mut slot_ends = Vec::with_capacity(slots.len());
    let loads_of = |slot: &[(usize, Range<usize>)], loaded: &mut Vec<usize>, events: &mut Vec<StripEvent>| {
        for (op, pixels) in slot {
            for (view, need) in inputs(graph, &graph.ops[*op], pixels.end) {
                for (load, done) in around.loads.iter().zip(loaded.iter_mut()) {
                    let end = need.div_ceil(lanes);
                    if overlap(*load, view) && end > *done {
                        events.push(StripEvent::Load { view: *load, words: *done..end });
                        *done = end;
                    }
                }
            }
        }
    };
    for (index, slot) in slots.iter().enumerate() {
        if index == 0 {
            loads_of(slot, &mut loaded, &mut events);
        }
        for (n, (op, pixels)) in slot.iter().enumerate() {
            events.push(StripEvent::Run { op: *op, pixels: pixels.clone() });
            for (&(writer, view), done) in around.stores.iter().zip(&mut stored) {
                if writer != *op {
                    continue;
                }
                let map = graph.maps[view.map];
                let end = if pixels.end == map.pixels() { map.words(lanes) } else { pixels.end / lanes };
                if end > *done {
                    events.push(StripEvent::Store { op: *op, view, words: *done..end });
                    *done = end;
                }
            }
            // The next slot's feature maps come while this one runs.
            if let (0, Some(next)) = (n, slots.get(index + 1)) {
                loads_of(next, &mut loaded, &mut events);
            }
        }
        slot_ends.push(events.len());
    }
    // Later groups find the whole feature map.
    for (load, done) in around.loads.iter().zip(loaded) {
        let end = graph.maps[load.map].words(lanes);
        if around.whole.contains(&load.map) && done < end {
            events.push(StripEvent::Load { view: *load, words: done..end });
        }
    }
    if let Some(last) = slot_ends.last_mut() {
        *last = events.len();
    }
    let planes = planes(graph, &events, &slot_ends, around, lanes);
    Strips { events, planes }
}

/// By step and operation of the group: output pixels, exclusive, that are there after the step.
fn step_targets(graph: &NpuGraph, ops: Range<usize>, strips: usize, lanes: usize) -> Vec<Vec<usize>> {
    let group = &graph.ops[ops];
    let is_read = |n: usize| {
        let view = group[n].output;
        group[n + 1..]
            .iter()
            .any(|later| overlap(later.input, view) || later.residual.is_some_and(|r| overlap(r.view, view)))
    };
    let sinks: Vec<bool> = (0..group.len()).map(|n| !is_read(n)).collect();
    let mut done = vec![0; group.len()];
    let mut steps = Vec::with_capacity(strips);
    for step in 0..strips {
        let last = step + 1 == strips;
        let mut target: Vec<usize> = vec![0; group.len()];
        for n in (0..group.len()).rev() {
            let op = &group[n];
            let map = graph.maps[op.output.map];
            if last {
                target[n] = map.pixels();
            } else if sinks[n] {
                let unit = if op.row_mode { map.w } else { lanes };
                target[n] = (map.pixels().div_ceil(unit) * (step + 1) / strips) * unit;
            }
            target[n] = round_up(graph, op, target[n], lanes).max(done[n]);
            for (view, need) in inputs(graph, op, target[n]) {
                for writer in 0..n {
                    if overlap(group[writer].output, view) {
                        target[writer] = target[writer].max(need);
                    }
                }
            }
        }
        done.clone_from(&target);
        steps.push(target);
    }
    steps
}

/// Runs of each slot of time, in order.
fn slots(ops: Range<usize>, steps: &[Vec<usize>], cut: StripCut) -> Vec<Vec<(usize, Range<usize>)>> {
    let count = ops.len();
    let run = |n: usize, step: usize| {
        let start = if step == 0 { 0 } else { steps[step - 1][n] };
        let end = steps[step][n];
        (end > start).then_some((ops.start + n, start..end))
    };
    if !cut.staged {
        return (0..steps.len()).map(|step| (0..count).filter_map(|n| run(n, step)).collect()).collect();
    }
    let half = count.div_ceil(2);
    (0..=steps.len())
        .map(|slot| {
            let first = |n: usize| if slot < steps.len() { run(n, slot) } else { None };
            let second = |n: usize| slot.checked_sub(1).and_then(|step| run(n, step));
            (0..half)
                .flat_map(|n| [first(n), (half + n < count).then(|| second(half + n)).flatten()])
                .flatten()
                .collect()
        })
        .collect()
}

/// Words of each feature map that are alive at once.
fn planes(
    graph: &NpuGraph,
    events: &[StripEvent],
    slot_ends: &[usize],
    around: &Surroundings,
    lanes: usize,
) -> BTreeMap<usize, usize> {
    // By feature map: (event, first word that is read), and (event, words that are written).
    let mut reads: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    let mut writes: BTreeMap<usize, Vec<(usize, Range<usize>)>> = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            StripEvent::Run { op, pixels } => {
                let op = &graph.ops[*op];
                let first = first_read(graph, op, pixels.start);
                reads.entry(op.input.map).or_default().push((at, first / lanes));
                if let Some(residual) = &op.residual {
                    let first = match residual.spread {
                        ResidualSpread::Channel => 0,
                        _ => pixels.start,
                    };
                    reads.entry(residual.view.map).or_default().push((at, first / lanes));
                }
                writes
                    .entry(op.output.map)
                    .or_default()
                    .push((at, pixels.start / lanes..pixels.end.div_ceil(lanes)));
            }
            StripEvent::Load { view, words } => writes.entry(view.map).or_default().push((at, words.clone())),
            StripEvent::Store { view, words, .. } => {
                // Kept over the next slot, while which the transfer may take place.
                let slot = slot_ends.partition_point(|&end| end <= at);
                let until = slot_ends[(slot + 1).min(slot_ends.len() - 1)].saturating_sub(1).max(at);
                reads.entry(view.map).or_default().push((until, words.start));
            }
        }
    }
    writes
        .into_iter()
        .map(|(map, writes)| {
            let full = graph.maps[map].words(lanes);
            if around.whole.contains(&map) {
                return (map, full);
            }
            let mut reads = reads.get(&map).cloned().unwrap_or_default();
            reads.sort_unstable();
            // By read: the first word that it or a later one reads.
            for n in (1..reads.len()).rev() {
                reads[n - 1].1 = reads[n - 1].1.min(reads[n].1);
            }
            let alive = |(at, words): &(usize, Range<usize>)| {
                let next = reads.partition_point(|read| read.0 < *at);
                words.end - reads.get(next).map_or(words.start, |read| read.1.min(words.start))
            };
            let plane = writes.iter().map(alive).max().unwrap_or(1);
            (map, plane.clamp(1, full))
        })
        .collect()
}
