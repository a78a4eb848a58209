//! Passes over a [`CpuProgram`]: views, in-place kernels, concatenation by addressing, the arena.

use super::bands;
use super::program::Task;
use super::program::{Allocation, CpuProgram, LayerAction, Storage, value};
use crate::arena;
use secateur_ir::Shape;
use secateur_quant::net::QOp;

/// Layers that compute nothing become views: identities, heads, routes of one input, group slices.
pub(super) fn views(program: &mut CpuProgram<'_>) {
    for layer in 0..program.actions.len() {
        let node = &program.net.nodes[layer];
        let channel = match &node.op {
            QOp::Identity | QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. } => 0,
            QOp::Route(route) if route.rescale.as_slice() == [None] => {
                route.group_id * program.slice_channels(layer, 0)
            }
            _ => continue,
        };
        let from = program.allocations[value(node.inputs[0])];
        program.allocations[layer + 1] = Allocation { channel: from.channel + channel, ..from };
        program.actions[layer] = LayerAction::View;
    }
}

/// Element-wise kernels overwrite an operand that nobody reads afterwards.
pub(super) fn in_place(program: &mut CpuProgram<'_>) {
    let last = program.last_reads();
    // In a stage an operand's rows outlive those of the result.
    let first = program.stage.map_or(0, |stage| stage.layers);
    for layer in first..program.actions.len() {
        let node = &program.net.nodes[layer];
        let candidates = match node.op {
            QOp::Shortcut(_) | QOp::Sam(_) => 0..node.inputs.len(),
            // The first input is the factor, the second the feature map.
            QOp::ScaleChannels { .. } => 1..2,
            _ => continue,
        };
        let own = layer + 1;
        for position in candidates {
            let operand = value(node.inputs[position]);
            if program.shape(operand) != program.shape(own) {
                continue;
            }
            let read_later =
                (0..own).any(|v| v != operand && program.share_bytes(v, operand) && last[v] >= own);
            let read_twice = program.inputs(layer).filter(|&v| v == operand).count() > 1;
            if last[operand] == own && !read_later && !read_twice {
                // With its views.
                program.merge(program.allocations[own].storage, program.allocations[operand]);
                program.actions[layer] = LayerAction::InPlace(position);
                break;
            }
        }
    }
}

/// One input of a route: `(layer, position)`.
pub(super) type Member = (usize, usize);

/// Inputs of routes that might be allocated inside the concatenation.
pub(super) fn members(program: &CpuProgram<'_>) -> Vec<Member> {
    let mut found = Vec::new();
    for (layer, action) in program.actions.iter().enumerate() {
        if let (LayerAction::Concat { .. }, QOp::Route(route)) = (action, &program.net.nodes[layer].op)
            && route.groups == 1
        {
            let free = (0..route.rescale.len()).filter(|&position| route.rescale[position].is_none());
            found.extend(free.map(|position| (layer, position)));
        }
    }
    // Within a route the largest first: where two exclude each other, the smaller is copied.
    found.sort_by_key(|&(layer, position)| {
        (layer, std::cmp::Reverse(program.slice_channels(layer, position)), position)
    });
    found
}

/// Allocates the inputs of routes that `wanted` names inside the concatenation, where legal.
/// Returns those for which it is.
pub(super) fn concat(program: &mut CpuProgram<'_>, wanted: &[Member]) -> Vec<Member> {
    wanted.iter().copied().filter(|&member| join(program, member)).collect()
}

fn join(program: &mut CpuProgram<'_>, (layer, position): Member) -> bool {
    let operand = value(program.net.nodes[layer].inputs[position]);
    let from = program.allocations[operand];
    let into = program.allocations[layer + 1];
    let alone = from.channel == 0 && program.shape(operand).c == program.storages[from.storage].shape.c;
    // The image is dense, and a storage is in one concatenation only.
    if !alone || from.storage == into.storage || from.storage == program.allocations[0].storage {
        return false;
    }
    let channel = program.concat_channel(layer, position);
    let before = (program.allocations.clone(), program.actions[layer].clone());
    program.merge(from.storage, Allocation { channel, ..into });
    if let LayerAction::Concat { copied } = &mut program.actions[layer] {
        copied.retain(|&p| p != position);
    }
    // The concatenation may be overwritten in place while this input is still read.
    let legal = program.is_intact(into.storage);
    if !legal {
        (program.allocations, program.actions[layer]) = before;
    }
    legal
}

/// Gives packed layers their workspace: as much as memory that other layers need anyway allows.
pub(super) fn workspace(program: &mut CpuProgram<'_>) {
    let live = program.live_bytes();
    let most = live.iter().copied().max().unwrap_or(0);
    for (layer, packing) in program.packings.clone().into_iter().enumerate() {
        let Some(packing) = packing else { continue };
        let tasks = program.tasks.iter().enumerate().filter_map(|(index, task)| match task {
            Task::Layer { layer: own, rows } if *own == layer => Some((rows.len(), live[index + 1])),
            _ => None,
        });
        let (rows, beside) = tasks.fold((0, 0), |(r, b), (rows, beside)| (rows.max(r), beside.max(b)));
        let bytes = packing.scratch_bytes(rows, most - beside);
        program.scratch[layer] = Some(program.storages.len());
        program.storages.push(Storage::whole(Shape::new(bytes, 1, 1)));
    }
}

/// Joins concatenations and, with a stage, lists what it does in bands; returns those that were joined.
pub(super) fn arrange(program: &mut CpuProgram<'_>, wanted: &[Member]) -> Vec<Member> {
    let joined = concat(program, wanted);
    if program.stage.is_some() {
        bands::roll(program);
        workspace(program);
    }
    joined
}

/// Addresses as many concatenations as possible, then gives up those that make the arena larger:
/// a concatenation occupies all its bytes from the first tick of its first input on.
pub(super) fn place(program: &mut CpuProgram<'_>, seed: u64) {
    let bare = program.clone();
    let greedy = |program: &CpuProgram<'_>| arena::greedy(&program.buffers(), program.align);
    let mut chosen = arrange(program, &members(&bare));
    // Where nothing is copied, no byte is needed twice.
    program.least_bytes = program.lower_bound();
    let mut best = greedy(program);
    let mut given_up = 0;
    while let Some(fewer) = fewer_members(&chosen, given_up)
        && best > program.least_bytes.next_multiple_of(program.align)
    {
        given_up += 1;
        let mut candidate = bare.clone();
        let joined = arrange(&mut candidate, &fewer);
        candidate.least_bytes = match program.stage {
            // A window's rows are not counted channel by channel: with fewer concatenations they may be fewer.
            Some(_) => program.least_bytes.min(candidate.lower_bound()),
            None => program.least_bytes,
        };
        let bytes = greedy(&candidate);
        if bytes < best {
            best = bytes;
            (*program, chosen) = (candidate, joined);
            given_up = 0;
        }
    }
    program.arena = Some(arena::plan_parts(&program.buffers(), program.align, seed));
}

/// `all` without its member `choice`, or beyond them without one whole route; `None` past the last.
fn fewer_members(all: &[Member], choice: usize) -> Option<Vec<Member>> {
    let mut routes: Vec<usize> = all.iter().map(|&(layer, _)| layer).collect();
    routes.dedup();
    match choice.checked_sub(all.len()) {
        None => Some([&all[..choice], &all[choice + 1..]].concat()),
        Some(route) => {
            let &without = routes.get(route)?;
            Some(all.iter().copied().filter(|&(layer, _)| layer != without).collect())
        }
    }
}
