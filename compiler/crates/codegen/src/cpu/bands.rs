//! The first layers of a network band by band: each computes a few rows, of which the next needs no more, before any computes
//! its following rows. What a band needs of the rows before it is kept, so that nothing is computed twice.
//!
//! A storage that no later layer reads is a *window*: it has room for the rows that are needed at a time, and what is kept of
//! them moves to its beginning when it is full. The image is whole at first, and gives up its rows from above. What later layers
//! read is whole when the last band is done.

use std::ops::Range;

use super::program::{CpuProgram, LayerAction, Task, ValueId};
use secateur_ir::Source;
use secateur_quant::net::{QNet, QOp};

/// Which layers run in bands, and how high a band is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Layers 0 up to this one.
    pub layers: usize,
    /// Rows of a band in the lowest of the feature maps that no layer of the stage reads.
    pub rows: usize,
}

/// Layers from 0 on that can run in bands: a row of theirs depends on few rows of their inputs.
pub(super) fn possible(net: &QNet) -> usize {
    let banded = |op: &QOp| match op {
        QOp::MaxPool(pool) => pool.depth.is_none(),
        QOp::LocalAvgPool(average) => average.pool.depth.is_none(),
        QOp::Conv(_) | QOp::Route(_) | QOp::Shortcut(_) | QOp::Sam(_) | QOp::Identity => true,
        _ => false,
    };
    net.nodes.iter().take_while(|node| banded(&node.op)).count().min(net.nodes.len() - 1)
}

/// Rows of its inputs that a layer reads for `rows` of its output, and rows of padding above them.
///
/// At least one row, all inside the input: what a window has below the input's end is padding. For layers that run in bands.
pub fn rows_read(net: &QNet, layer: usize, rows: Range<usize>) -> (Range<usize>, usize) {
    let (size, stride, pad) = match &net.nodes[layer].op {
        QOp::Conv(conv) => ((conv.size - 1) * conv.dilation + 1, conv.stride_y, conv.pad),
        QOp::MaxPool(pool) => (pool.size, pool.stride_y, pool.pad / 2),
        QOp::LocalAvgPool(average) => (average.pool.size, average.pool.stride_y, average.pool.pad / 2),
        _ => return (rows, 0),
    };
    let height = net.tensor(net.nodes[layer].inputs[0]).shape.h;
    let first = rows.start * stride;
    let start = first.saturating_sub(pad).min(height - 1);
    let end = (rows.end.saturating_sub(1) * stride + size).saturating_sub(pad);
    (start..end.clamp(start + 1, height), pad.saturating_sub(first))
}

/// Rows of the lowest feature map that no layer of a stage of `layers` layers reads.
pub(super) fn lowest(net: &QNet, layers: usize) -> usize {
    let read =
        |layer: usize| net.nodes[..layers].iter().any(|node| node.inputs.contains(&Source::Layer(layer)));
    (0..layers).filter(|&layer| !read(layer)).map(|layer| net.nodes[layer].output.shape.h).min().unwrap_or(1)
}

/// By value, the image first: the rows that are there after each band.
fn ends(program: &CpuProgram<'_>, stage: Stage) -> Vec<Vec<usize>> {
    let net = program.net;
    let height = |value: ValueId| program.shape(value).h;
    let readers: Vec<Vec<usize>> = (0..=stage.layers)
        .map(|value| (0..stage.layers).filter(|&layer| program.inputs(layer).any(|v| v == value)).collect())
        .collect();
    let lowest = lowest(net, stage.layers);
    let bands = lowest.div_ceil(stage.rows);
    let mut ends = vec![vec![0; bands]; stage.layers + 1];
    for value in (0..=stage.layers).rev() {
        let rows = |band: usize| {
            let done = ((band + 1) * stage.rows).min(lowest);
            let wanted = readers[value].iter().map(|&layer| match ends[layer + 1][band] {
                0 => 0,
                end => rows_read(net, layer, 0..end).0.end,
            });
            match wanted.max() {
                _ if done == lowest => height(value),
                Some(end) => end,
                None => (height(value) * done).div_ceil(lowest),
            }
        };
        ends[value] = (0..bands).map(rows).collect();
    }
    ends
}

/// Makes windows of the storages that only layers of the stage read, and lists the tasks; a program without a stage stays as it
/// is.
pub(super) fn roll(program: &mut CpuProgram<'_>) {
    let Some(stage) = program.stage else { return };
    let ends = ends(program, stage);
    let bands = ends[0].len();
    let storage = |program: &CpuProgram<'_>, value: ValueId| program.allocations[value].storage;
    for value in 0..=stage.layers {
        let s = storage(program, value);
        program.storages[s].whole = false;
    }
    for layer in 0..program.actions.len() {
        let later = layer >= stage.layers;
        // What no layer reads is there for whoever looks at the stage's outputs.
        let unread = !(0..program.actions.len()).any(|other| program.inputs(other).any(|v| v == layer + 1));
        let read: Vec<ValueId> = if later { program.inputs(layer).collect() } else { Vec::new() };
        for value in read.into_iter().chain((later || unread).then_some(layer + 1)) {
            let s = storage(program, value);
            program.storages[s].whole = true;
        }
    }
    let image = storage(program, 0);
    // By storage and band: the first row that later bands need, and the end of those that are there.
    let mut kept = vec![vec![usize::MAX; bands]; program.storages.len()];
    let mut reached = vec![vec![0; bands]; program.storages.len()];
    for (value, ends) in ends.iter().enumerate() {
        let s = storage(program, value);
        for (band, &end) in ends.iter().enumerate() {
            kept[s][band] = kept[s][band].min(end);
            reached[s][band] = reached[s][band].max(end);
        }
    }
    for layer in 0..stage.layers {
        for input in program.inputs(layer) {
            let s = storage(program, input);
            for (band, &end) in ends[layer + 1].iter().enumerate() {
                if end < program.shape(layer + 1).h {
                    let first = rows_read(program.net, layer, end..end + 1).0.start;
                    kept[s][band] = kept[s][band].min(first);
                }
            }
        }
    }
    let mut windows = Vec::new();
    for value in 1..=stage.layers {
        let s = storage(program, value);
        if !program.storages[s].whole && s != image && !windows.contains(&s) {
            let before = |band: usize| if band == 0 { 0 } else { kept[s][band - 1] };
            let rows = (0..bands).map(|band| reached[s][band] - before(band)).max().unwrap_or(0);
            program.storages[s].shape.h = rows.max(1);
            windows.push(s);
        }
    }
    program.tasks.clear();
    let mut base = vec![0; program.storages.len()];
    for band in 0..bands {
        let first = program.tasks.len();
        for layer in 0..stage.layers {
            let idle = match &program.actions[layer] {
                LayerAction::View => true,
                LayerAction::Concat { copied } => copied.is_empty(),
                LayerAction::Compute | LayerAction::InPlace(_) => false,
            };
            let from = if band == 0 { 0 } else { ends[layer + 1][band - 1] };
            let rows = from..ends[layer + 1][band];
            if !idle && !rows.is_empty() {
                program.tasks.push(Task::Layer { layer, rows });
            }
        }
        if band + 1 == bands {
            break;
        }
        for &s in &windows {
            if reached[s][band + 1] - base[s] <= program.storages[s].shape.h {
                continue;
            }
            let rows = kept[s][band]..reached[s][band];
            let task = Task::Move { storage: s, rows, by: kept[s][band] - base[s] };
            base[s] = kept[s][band];
            // As soon as no task of this band touches the window.
            let in_window = |value: ValueId| program.allocations[value].storage == s;
            let touches = |task: &Task| match task {
                Task::Layer { layer, .. } => program.inputs(*layer).chain([layer + 1]).any(in_window),
                Task::Move { .. } => false,
            };
            let after = program.tasks[first..].iter().rposition(touches).map_or(0, |at| at + 1);
            program.tasks.insert(first + after, task);
        }
    }
    let rest: Vec<Task> =
        (stage.layers..program.actions.len()).map(|layer| program.whole_layer(layer)).collect();
    program.tasks.extend(rest);
}
