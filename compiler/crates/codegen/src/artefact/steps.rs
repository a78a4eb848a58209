//! Operators as step records, weights in the order of the kernels.

use std::ops::Range;

use secateur_runtime::artefact::format::{
    Encoding, NONE, ReorgMode, Requant, ShortcutMode, StepKind, StepRecord, Target as Processor, WINDOW_LIMIT,
};
use zerocopy::little_endian::{I16, I32, U16, U32};
use zerocopy::{FromZeros, IntoBytes};

use super::writer::{RecordWriter, number};
use crate::cpu::packing::Packing;
use crate::cpu::program::{LayerAction, Task, value};
use secateur_base::{Error, Result};
use secateur_ir::Reorg;
use secateur_quant::net::{QConv, QEpilogue, QOp, QPool, QRequant, QRoute, QScaled};

/// Appends the steps of a task: none for a view, one a copied input for a concatenation.
pub(super) fn write(writer: &mut RecordWriter<'_>, task: &Task) -> Result<()> {
    let program = writer.program;
    let (layer, rows) = match task {
        Task::Layer { layer, rows } => (*layer, rows.clone()),
        Task::Move { storage, rows, by } => return advance(writer, *storage, rows.clone(), *by),
    };
    let node = &program.net.nodes[layer];
    match &program.actions[layer] {
        LayerAction::View => Ok(()),
        LayerAction::Concat { copied } => {
            let QOp::Route(route) = &node.op else {
                return Err(Error::internal("only routes concatenate"));
            };
            copied.iter().try_for_each(|&position| copy(writer, layer, route, position, &rows))
        }
        LayerAction::Compute | LayerAction::InPlace(_) => {
            let band = program.band(layer, &rows);
            let mut step = blank(layer)?;
            step.first_operand = number("operands", writer.operands.len())?;
            step.operand_count = number("inputs", node.inputs.len())?;
            for &input in &node.inputs {
                let input = value(input);
                let operand = match &band {
                    Some((read, _)) => writer.rows(input, 0, program.shape(input).c, read.clone())?,
                    None => writer.value(input)?,
                };
                writer.operands.push(operand);
            }
            step.output = match &band {
                Some(_) => writer.rows(layer + 1, 0, program.shape(layer + 1).c, rows)?,
                None => writer.value(layer + 1)?,
            };
            operator(writer, layer, &mut step)?;
            if let Some((_, pad_top)) = band {
                step.pad_top = window(pad_top)?;
            }
            writer.steps.push(step);
            Ok(())
        }
    }
}

/// The steps that move what a window keeps to its beginning: as many rows at a time as do not overlap.
fn advance(writer: &mut RecordWriter<'_>, storage: usize, rows: Range<usize>, by: usize) -> Result<()> {
    let program = writer.program;
    let layer = program.layer_of(storage);
    let own = program.allocations[layer + 1];
    // All channels of the storage, whoever writes them.
    let channels = program.storages[storage].shape.c;
    if own.channel != 0 || program.shape(layer + 1).c != channels {
        return Err(Error::internal("a window is no layer's output"));
    }
    let kept = rows.end;
    for from in rows.step_by(by.max(1)) {
        let rows = from..kept.min(from + by);
        let mut step = blank(layer)?;
        step.kind = U16::new(StepKind::Rescale.code());
        step.first_operand = number("operands", writer.operands.len())?;
        step.operand_count = U32::new(1);
        let source = writer.rows(layer + 1, 0, channels, rows.clone())?;
        writer.operands.push(source);
        step.output = writer.rows(layer + 1, 0, channels, rows.start - by..rows.end - by)?;
        writer.steps.push(step);
    }
    writer.base[storage] += by;
    Ok(())
}

/// A step without operator: no constants, every parameter 0.
fn blank(layer: usize) -> Result<StepRecord> {
    let mut step = StepRecord::new_zeroed();
    step.target = Processor::Processor.code();
    step.encoding = Encoding::Dense.code();
    step.layer = number("layer", layer)?;
    for offset in
        [&mut step.weights, &mut step.bias, &mut step.requant, &mut step.table, &mut step.multipliers]
    {
        *offset = U32::new(NONE);
    }
    Ok(step)
}

/// The step that brings input `position` into a concatenation.
fn copy(
    writer: &mut RecordWriter<'_>,
    layer: usize,
    route: &QRoute,
    position: usize,
    rows: &Range<usize>,
) -> Result<()> {
    let program = writer.program;
    let from = value(program.net.nodes[layer].inputs[position]);
    let count = program.slice_channels(layer, position);
    let banded = program.in_stage(layer);
    let source = match route.groups {
        _ if banded => writer.rows(from, route.group_id * count, count, rows.clone())?,
        1 => writer.value(from)?,
        _ => writer.slice(from, route.group_id * count, count)?,
    };
    let first = program.concat_channel(layer, position) - program.allocations[layer + 1].channel;
    let mut step = blank(layer)?;
    step.kind = U16::new(StepKind::Rescale.code());
    step.output = match banded {
        true => writer.rows(layer + 1, first, count, rows.clone())?,
        false => writer.slice(layer + 1, first, count)?,
    };
    step.first_operand = number("operands", writer.operands.len())?;
    step.operand_count = U32::new(1);
    writer.operands.push(source);
    if let Some(requant) = route.rescale[position] {
        store_requant(writer, &mut step, &[requant])?;
        (step.lo, step.hi) = (I16::new(i8::MIN.into()), I16::new(i8::MAX.into()));
    }
    writer.steps.push(step);
    Ok(())
}

fn operator(writer: &mut RecordWriter<'_>, layer: usize, step: &mut StepRecord) -> Result<()> {
    let program = writer.program;
    let node = &program.net.nodes[layer];
    let input = program.net.tensor(node.inputs[0]).shape;
    let kind = match &node.op {
        QOp::Conv(conv) => return convolution(writer, layer, conv, step),
        QOp::Connected(full) => {
            weights(writer, step, &full.weights, &full.bias)?;
            store_requant(writer, step, &full.requant)?;
            store_epilogue(writer, layer, step, &full.epilogue)?;
            StepKind::Connected
        }
        QOp::MaxPool(pool) => {
            window_of_pool(step, pool)?;
            StepKind::MaxPool
        }
        QOp::AvgPool(scaled) => {
            rescaled(writer, layer, step, scaled)?;
            StepKind::AvgPool
        }
        QOp::LocalAvgPool(average) => {
            window_of_pool(step, &average.pool)?;
            store_requant(writer, step, &average.requant)?;
            store_epilogue(writer, layer, step, &average.epilogue)?;
            StepKind::LocalAvgPool
        }
        QOp::Upsample { stride } => {
            (step.stride_h, step.stride_w) = (window(*stride)?, window(*stride)?);
            StepKind::Upsample
        }
        QOp::Shortcut(shortcut) => {
            let multipliers: Vec<I32> = shortcut.multipliers.iter().map(|&m| I32::new(m)).collect();
            step.multipliers = writer.constant(&multipliers)?;
            let mode = if shortcut.per_channel { ShortcutMode::PerChannel } else { ShortcutMode::PerInput };
            step.mode = U16::new(mode.code());
            store_requant(writer, step, &[shortcut.requant])?;
            store_epilogue(writer, layer, step, &shortcut.epilogue)?;
            StepKind::Shortcut
        }
        QOp::Reorg(reorg) => {
            (step.stride_h, step.stride_w) = (window(reorg.stride)?, window(reorg.stride)?);
            step.mode = U16::new(reorg_mode(reorg)?.code());
            StepKind::Reorg
        }
        QOp::Crop { top, left } => {
            (step.pad_top, step.pad_left) = (window(*top)?, window(*left)?);
            StepKind::Rescale
        }
        QOp::ScaleChannels { scaled, .. } | QOp::Sam(scaled) => {
            rescaled(writer, layer, step, scaled)?;
            StepKind::Multiply
        }
        QOp::Softmax(softmax) => {
            if !softmax.spatial && input.plane() != 1 {
                return Err(Error::new("softmax over a whole feature map has no integer kernel")
                    .line(node.line)
                    .found(format!("{}x{} pixels", input.w, input.h))
                    .allowed("one pixel, or spatial=1"));
            }
            let exponentials: Vec<U32> = softmax.exp.iter().map(|&e| U32::new(e)).collect();
            step.weights = writer.constant(&exponentials)?;
            step.weights_bytes = number("table", exponentials.as_bytes().len())?;
            step.groups = number("groups", softmax.groups)?;
            StepKind::Softmax
        }
        QOp::Route(_) => return Err(Error::internal("a route is not computed")),
        QOp::Identity | QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. } => {
            return Err(Error::internal("an identity is not computed"));
        }
    };
    step.kind = U16::new(kind.code());
    Ok(())
}

fn convolution(
    writer: &mut RecordWriter<'_>,
    layer: usize,
    conv: &QConv,
    step: &mut StepRecord,
) -> Result<()> {
    let node = &writer.program.net.nodes[layer];
    let input = writer.program.net.tensor(node.inputs[0]).shape;
    (step.kernel_h, step.kernel_w) = (window(conv.size)?, window(conv.size)?);
    (step.stride_h, step.stride_w) = (window(conv.stride_y)?, window(conv.stride_x)?);
    (step.dilation_h, step.dilation_w) = (window(conv.dilation)?, window(conv.dilation)?);
    (step.pad_top, step.pad_left) = (window(conv.pad)?, window(conv.pad)?);
    if let Some(packing) = writer.program.packings[layer] {
        packed(writer, layer, packing, step)?;
        return store_epilogue(writer, layer, step, &conv.epilogue);
    }
    if conv.is_depthwise(input.c) {
        step.kind = U16::new(StepKind::Depthwise.code());
        let by_cell = conv.depthwise_weights();
        weights(writer, step, &by_cell, &conv.bias)?;
    } else {
        step.kind = U16::new(StepKind::Conv.code());
        step.groups = number("groups", conv.groups)?;
        weights(writer, step, &conv.weights, &conv.bias)?;
    }
    store_requant(writer, step, &conv.requant)?;
    store_epilogue(writer, layer, step, &conv.epilogue)
}

/// Constants in the order of a processor's kernels, and the workspace that these take.
fn packed(
    writer: &mut RecordWriter<'_>,
    layer: usize,
    packing: Packing,
    step: &mut StepRecord,
) -> Result<()> {
    let kind = match packing {
        Packing::Conv(_) => StepKind::Conv,
        Packing::Depthwise(..) => StepKind::Depthwise,
    };
    step.kind = U16::new(kind.code());
    if kind == StepKind::Conv {
        step.groups = U32::new(1);
    }
    let (encoding, mode) = packing.codes();
    (step.encoding, step.mode) = (encoding.code(), U16::new(mode));
    step.weights = writer.constant(&packing.words(writer.program.net, layer)?)?;
    step.weights_bytes = number("weights", packing.constant_bytes())?;
    step.scratch_offset = number("arena offset", writer.scratch_offset(layer))?;
    step.scratch_bytes = number("workspace", writer.program.scratch_bytes(layer))?;
    Ok(())
}

fn weights(writer: &mut RecordWriter<'_>, step: &mut StepRecord, weights: &[i8], bias: &[i32]) -> Result<()> {
    step.weights = writer.constant(weights)?;
    step.weights_bytes = number("weights", weights.len())?;
    let bias: Vec<I32> = bias.iter().map(|&b| I32::new(b)).collect();
    step.bias = writer.constant(&bias)?;
    Ok(())
}

fn store_requant(writer: &mut RecordWriter<'_>, step: &mut StepRecord, requant: &[QRequant]) -> Result<()> {
    let stored: Vec<Requant> = requant.iter().map(QRequant::record).collect();
    step.requant = writer.constant(&stored)?;
    step.requant_count = number("requantisation constants", stored.len())?;
    Ok(())
}

fn rescaled(
    writer: &mut RecordWriter<'_>,
    layer: usize,
    step: &mut StepRecord,
    scaled: &QScaled,
) -> Result<()> {
    store_requant(writer, step, &[scaled.requant])?;
    store_epilogue(writer, layer, step, &scaled.epilogue)
}

fn store_epilogue(
    writer: &mut RecordWriter<'_>,
    layer: usize,
    step: &mut StepRecord,
    epilogue: &QEpilogue,
) -> Result<()> {
    (step.lo, step.hi) = (I16::new(epilogue.lo.into()), I16::new(epilogue.hi.into()));
    let output = writer.program.net.nodes[layer].output.zero_point;
    match &epilogue.table {
        Some(table) => {
            step.table = writer.constant(&table.0[..])?;
            step.table_zero_point = I16::new(epilogue.zero_point.into());
        }
        None if epilogue.zero_point == output => {}
        None => {
            return Err(Error::new("zero point of the operator is not its output's")
                .found(epilogue.zero_point.to_string())
                .allowed(output.to_string()));
        }
    }
    Ok(())
}

fn window_of_pool(step: &mut StepRecord, pool: &QPool) -> Result<()> {
    if pool.depth.is_some() {
        return Err(Error::new("maxpool_depth has no integer kernel").allowed("maxpool_depth=0"));
    }
    (step.kernel_h, step.kernel_w) = (window(pool.size)?, window(pool.size)?);
    (step.stride_h, step.stride_w) = (window(pool.stride_y)?, window(pool.stride_x)?);
    (step.dilation_h, step.dilation_w) = (U16::new(1), U16::new(1));
    (step.pad_top, step.pad_left) = (window(pool.pad / 2)?, window(pool.pad / 2)?);
    Ok(())
}

fn reorg_mode(reorg: &Reorg) -> Result<ReorgMode> {
    match (reorg.old, reorg.reverse) {
        (false, false) => Ok(ReorgMode::SpaceToDepth),
        (false, true) => Ok(ReorgMode::DepthToSpace),
        (true, false) => Ok(ReorgMode::Flat),
        (true, true) => Err(Error::new("[reorg] with reverse=1 has no integer kernel")),
    }
}

/// A window's size, stride, offset or dilation.
fn window(elements: usize) -> Result<U16> {
    match u16::try_from(elements) {
        Ok(small) if elements <= WINDOW_LIMIT => Ok(U16::new(small)),
        _ => Err(Error::new("window is too large for an artefact")
            .found(format!("{elements} elements"))
            .allowed(format!("at most {WINDOW_LIMIT}"))),
    }
}
