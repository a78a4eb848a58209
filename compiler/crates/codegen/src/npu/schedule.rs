//! Allocates feature maps on the chip and in memory for a sequence of groups.
//!
//! A feature map's accesses, in order, fall into *stays*: accesses of one group, and of successive groups
//! between which the feature map remains on the chip. Within a stay it has one buffer in the banks: a ring
//! where the stay is one group, else the whole feature map. From stay to stay it is moved through memory.

use std::collections::BTreeMap;
use std::ops::Range;

use secateur_runtime::npu::isa::Parameters;

use super::import::NpuGraph;
use super::op::{MapSlice, NpuOp};
use super::strips::{self, StripCut, StripEvent, Strips, Surroundings};
use crate::arena;
use crate::cpu::program::ValueId;
use secateur_base::{Error, Result};

/// Rule by which a feature map remains on the chip between groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Residency {
    /// At most so many words of a bank.
    pub words: usize,
    /// From one access to the next at most so many operations.
    pub distance: usize,
}

/// A group of successive operations and how it is cut into strips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpGroup {
    pub ops: Range<usize>,
    pub cut: StripCut,
}

/// A feature map's place in the banks during a stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BankBuffer {
    pub map: usize,
    /// First channel, a multiple of the rows; the channel's bank-channel is 0.
    pub channel: usize,
    /// Groups of channels.
    pub depth: usize,
    /// Words of one group of channels.
    pub plane: usize,
    /// Bank address.
    pub base: usize,
    /// First and last event that touches it.
    pub life: (usize, usize),
}

impl BankBuffer {
    /// Words of a bank.
    pub(crate) fn words(&self) -> usize {
        self.depth * self.plane
    }
}

/// A feature map's place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planes {
    /// Address in region 1 of channel 0.
    pub address: usize,
    /// Bytes from one channel to the next.
    pub pitch: usize,
}

/// A network laid out in time and space.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub groups: Vec<OpGroup>,
    /// Events of all groups in order.
    pub events: Vec<StripEvent>,
    /// By event: for every feature map that it touches, its buffer.
    pub buffers: Vec<BankBuffer>,
    /// By group and feature map: index in `buffers`.
    pub placed: Vec<BTreeMap<usize, usize>>,
    /// By event: its group.
    pub group_of: Vec<usize>,
    /// By feature map: its place in memory, where it has one.
    pub memory: Vec<Option<Planes>>,
    /// Bytes of region 1.
    pub work_bytes: usize,
    /// Largest number of words of a bank in use at once.
    pub bank_words: usize,
}

/// One access of a feature map.
#[derive(Debug, Clone, Copy)]
struct MapAccess {
    /// Operation, `None` for the processor that reads the network's outputs in the end.
    op: Option<usize>,
    view: MapSlice,
    writes: bool,
}

/// The feature maps' accesses and the links that join them to stays.
#[derive(Debug, Clone)]
pub(crate) struct Stays {
    /// By feature map, in order.
    accesses: Vec<Vec<MapAccess>>,
    /// By feature map and access: it remains on the chip until the next access, whatever the groups.
    linked: Vec<Vec<bool>>,
}

/// The part of a feature map in a group, for the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Is loaded, stored, or live within the group only: a ring.
    Ring,
    /// Is on the chip as a whole: so many words of a bank.
    Whole(usize),
}

/// Words of a bank that `channels` of a whole feature map occupy.
fn words_of(graph: &NpuGraph, parameters: &Parameters, map: usize, channels: &Range<usize>) -> usize {
    let rows = parameters.rows as usize;
    let first = channels.start / rows * rows;
    (channels.end - first).div_ceil(rows) * graph.maps[map].words(parameters.lanes as usize)
}

fn join(range: &Range<usize>, view: MapSlice) -> Range<usize> {
    range.start.min(view.channel)..range.end.max(view.channel + view.channels)
}

impl Stays {
    pub(crate) fn new(
        graph: &NpuGraph,
        outputs: &[ValueId],
        parameters: &Parameters,
        residency: Residency,
    ) -> Self {
        let mut accesses: Vec<Vec<MapAccess>> = vec![Vec::new(); graph.maps.len()];
        for (index, op) in graph.ops.iter().enumerate() {
            let mut push = |view: MapSlice, writes: bool| {
                accesses[view.map].push(MapAccess { op: Some(index), view, writes });
            };
            push(op.input, false);
            if let Some(residual) = &op.residual {
                push(residual.view, false);
            }
            push(op.output, true);
        }
        for &value in outputs {
            if let Some(view) = graph.views[value] {
                accesses[view.map].push(MapAccess { op: None, view, writes: false });
            }
        }
        let linked = accesses
            .iter()
            .enumerate()
            .map(|(map, accesses)| {
                let mut links = vec![false; accesses.len()];
                let mut channels: Option<Range<usize>> = None;
                for (n, pair) in accesses.windows(2).enumerate() {
                    let before = channels.take().unwrap_or(pair[0].view.channel..pair[0].view.channel);
                    let joined = join(&join(&before, pair[0].view), pair[1].view);
                    let near = match (pair[0].op, pair[1].op) {
                        (Some(a), Some(b)) => b - a <= residency.distance,
                        _ => false,
                    };
                    if near && words_of(graph, parameters, map, &joined) <= residency.words {
                        links[n] = true;
                        channels = Some(joined);
                    }
                }
                links
            })
            .collect();
        Self { accesses, linked }
    }

    /// The part that `map` plays in a group of `ops`; `None` where it takes no room.
    pub(crate) fn role(
        &self,
        graph: &NpuGraph,
        parameters: &Parameters,
        map: usize,
        ops: &Range<usize>,
    ) -> Option<Role> {
        let accesses = &self.accesses[map];
        let position = |op: Option<usize>| op.unwrap_or(usize::MAX);
        let first = accesses.partition_point(|access| position(access.op) < ops.start);
        let end = accesses.partition_point(|access| position(access.op) < ops.end);
        let links = &self.linked[map];
        let enters = first > 0 && first < accesses.len() && links[first - 1];
        let leaves = end > 0 && end < accesses.len() && links[end - 1];
        let touched = end > first;
        if !touched && !enters {
            return None;
        }
        if !enters && !leaves {
            return Some(Role::Ring);
        }
        // All accesses that are joined to those of the group.
        let (mut from, mut to) = (first, end);
        while from > 0 && links[from - 1] {
            from -= 1;
        }
        while to < accesses.len() && to > 0 && links[to - 1] {
            to += 1;
        }
        let start = accesses[from].view;
        let channels = accesses[from..to]
            .iter()
            .fold(start.channel..start.channel + start.channels, |range, access| join(&range, access.view));
        Some(Role::Whole(words_of(graph, parameters, map, &channels)))
    }

    /// Returns the loads and stores of a group of the operations `ops`, whatever the other groups are;
    /// feature maps that come or go over a link are there.
    pub(crate) fn surroundings(&self, graph: &NpuGraph, ops: &Range<usize>) -> Surroundings {
        let mut around = Surroundings::default();
        for (map, accesses) in self.accesses.iter().enumerate() {
            let position = |op: Option<usize>| op.unwrap_or(usize::MAX);
            let first = accesses.partition_point(|access| position(access.op) < ops.start);
            let end = accesses.partition_point(|access| position(access.op) < ops.end);
            if first == end {
                continue;
            }
            let links = &self.linked[map];
            let (mut from, mut to) = (first, end);
            while from > 0 && links[from - 1] {
                from -= 1;
            }
            while to < accesses.len() && links[to - 1] {
                to += 1;
            }
            if from < first || to > end {
                around.whole.push(map);
            }
            // Channels that the group reads and nobody of the stay has brought yet.
            let mut present = vec![false; graph.maps[map].c];
            let mut mark = |view: MapSlice| present[view.channel..view.channel + view.channels].fill(true);
            accesses[from..first].iter().for_each(|access| mark(access.view));
            accesses[first..end].iter().filter(|access| access.writes).for_each(|access| mark(access.view));
            let mut wanted = vec![false; graph.maps[map].c];
            for access in accesses[first..end].iter().filter(|access| !access.writes) {
                for channel in access.view.channel..access.view.channel + access.view.channels {
                    wanted[channel] |= !present[channel];
                }
            }
            let mut channel = 0;
            while let Some(begin) = (channel..wanted.len()).find(|&c| wanted[c]) {
                let stop = (begin..wanted.len()).find(|&c| !wanted[c]).unwrap_or(wanted.len());
                around.loads.push(MapSlice { map, channel: begin, channels: stop - begin });
                channel = stop;
            }
            for access in accesses[first..end].iter().filter(|access| access.writes) {
                let read_later = accesses[to..]
                    .iter()
                    .any(|later| !later.writes && strips::overlap(later.view, access.view));
                if let (true, Some(op)) = (read_later, access.op) {
                    around.stores.push((op, access.view));
                }
            }
        }
        around
    }
}

/// Lays out `groups`, which together hold all operations. An error where the banks do not suffice.
pub(crate) fn lay_out(
    graph: &NpuGraph,
    outputs: &[ValueId],
    parameters: &Parameters,
    stays: &Stays,
    groups: Vec<OpGroup>,
) -> Result<Schedule> {
    let lanes = parameters.lanes as usize;
    let stays = stays.joined(&groups);
    let mut events = Vec::new();
    let mut group_of = Vec::new();
    let mut buffers: Vec<BankBuffer> = Vec::new();
    let mut placed: Vec<BTreeMap<usize, usize>> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let around = stays.surroundings(graph, &group.ops);
        let Strips { events: own, planes } =
            strips::plan(graph, group.ops.clone(), group.cut, &around, lanes);
        let start = events.len();
        group_of.extend(std::iter::repeat_n(index, own.len()));
        events.extend(own);
        let life = |map: usize| {
            let touches = |event: &StripEvent| match event {
                StripEvent::Run { op, .. } => graph.ops[*op].views().any(|view| view.map == map),
                StripEvent::Load { view, .. } | StripEvent::Store { view, .. } => view.map == map,
            };
            let first = events[start..].iter().position(touches).map_or(start, |at| start + at);
            let last = events[start..].iter().rposition(touches).map_or(start, |at| start + at);
            (first, last)
        };
        let mut here = BTreeMap::new();
        for map in touched(graph, &group.ops) {
            let channels = graph.channels(map, &group.ops);
            let rows = parameters.rows as usize;
            let life = life(map);
            // The stay's earlier groups have a buffer already: it grows.
            let before = placed
                .iter()
                .rev()
                .find_map(|placed: &BTreeMap<usize, usize>| placed.get(&map).copied())
                .filter(|_| around.whole.contains(&map) && stays.continues(map, group.ops.start));
            let at = match before {
                Some(at) => {
                    let buffer = &mut buffers[at];
                    let end = (buffer.channel + buffer.depth * rows).max(channels.end);
                    buffer.channel = buffer.channel.min(channels.start / rows * rows);
                    buffer.depth = (end - buffer.channel).div_ceil(rows);
                    buffer.life.1 = life.1;
                    at
                }
                None => {
                    let channel = channels.start / rows * rows;
                    let plane = planes.get(&map).copied().unwrap_or_else(|| graph.maps[map].words(lanes));
                    let depth = (channels.end - channel).div_ceil(rows);
                    buffers.push(BankBuffer { map, channel, depth, plane, base: 0, life });
                    buffers.len() - 1
                }
            };
            here.insert(map, at);
        }
        placed.push(here);
    }
    let spans: Vec<arena::LiveBuffer> = buffers
        .iter()
        .map(|buffer| arena::LiveBuffer { bytes: buffer.words(), first: buffer.life.0, last: buffer.life.1 })
        .collect();
    let placement = arena::plan(&spans, 1, 1);
    if placement.bytes > parameters.bank_words as usize {
        return Err(Error::new("the feature maps do not fit the accelerator's banks")
            .found(format!("{} words", placement.bytes))
            .allowed(format!("{} words", parameters.bank_words)));
    }
    for (buffer, &offset) in buffers.iter_mut().zip(&placement.offsets) {
        buffer.base = offset;
    }
    let (memory, work_bytes) = memory(graph, outputs, &events, lanes);
    let bank_words = placement.bytes;
    Ok(Schedule { groups, events, buffers, placed, group_of, memory, work_bytes, bank_words })
}

impl Stays {
    /// Stays of a known grouping: accesses of one group are joined.
    fn joined(&self, groups: &[OpGroup]) -> Self {
        let group = |op: Option<usize>| op.map(|op| groups.partition_point(|group| group.ops.end <= op));
        let mut stays = self.clone();
        for (accesses, links) in self.accesses.iter().zip(&mut stays.linked) {
            for (pair, link) in accesses.windows(2).zip(links.iter_mut()) {
                *link |= pair[0].op.is_some() && group(pair[0].op) == group(pair[1].op);
            }
        }
        stays
    }

    /// Returns true if `map` enters the group that begins at operation `start` over a link.
    fn continues(&self, map: usize, start: usize) -> bool {
        let accesses = &self.accesses[map];
        let first = accesses.partition_point(|access| access.op.is_some_and(|op| op < start));
        first > 0 && self.linked[map][first - 1]
    }
}

/// Feature maps that the operations of a group touch, in ascending order.
fn touched(graph: &NpuGraph, ops: &Range<usize>) -> Vec<usize> {
    let mut maps: Vec<usize> =
        graph.ops[ops.clone()].iter().flat_map(NpuOp::views).map(|view| view.map).collect();
    maps.sort_unstable();
    maps.dedup();
    maps
}

/// Places the feature maps that go through memory, input and outputs in region 1.
fn memory(
    graph: &NpuGraph,
    outputs: &[ValueId],
    events: &[StripEvent],
    lanes: usize,
) -> (Vec<Option<Planes>>, usize) {
    const ALIGNMENT: usize = 64;
    let mut lives: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut touch = |map: usize, at: usize| {
        let life = lives.entry(map).or_insert((at, at));
        (life.0, life.1) = (life.0.min(at), life.1.max(at));
    };
    // The processor writes the inputs before the first event and reads the outputs after the last.
    let kept = outputs.iter().filter_map(|&value| graph.views[value]).map(|view| (view.map, events.len()));
    let given = graph.inputs.iter().filter_map(|&value| graph.views[value]).map(|view| (view.map, 0));
    kept.chain(given).for_each(|(map, at)| touch(map, at));
    for (at, event) in events.iter().enumerate() {
        if let StripEvent::Load { view, .. } | StripEvent::Store { view, .. } = event {
            touch(view.map, at);
        }
    }
    let pitch = |map: usize| (graph.maps[map].words(lanes) * lanes).next_multiple_of(16);
    let spans: Vec<arena::LiveBuffer> = lives
        .iter()
        .map(|(&map, &(first, last))| arena::LiveBuffer {
            bytes: pitch(map) * graph.maps[map].c,
            first,
            last,
        })
        .collect();
    let placement = arena::plan(&spans, ALIGNMENT, 1);
    let mut planes = vec![None; graph.maps.len()];
    for (&map, &address) in lives.keys().zip(&placement.offsets) {
        planes[map] = Some(Planes { address, pitch: pitch(map) });
    }
    (planes, placement.bytes)
}
