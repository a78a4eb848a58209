//! The one check of an artefact. Everything that an accessor, a kernel or the decoder relies on
//! is verified here.

use zerocopy::little_endian::{I32, U32};

use super::error::{Error, Fault};
use super::format::{
    CLASS_LIMIT, DType, EXTENT_LIMIT, HEAD_VALUE_LIMIT, HeadKind, HeadRecord, INPUT_LIMIT, MEMORY_LIMIT,
    REUSE_LIMIT, ReorgMode, Requant, StepKind, TensorRecord, WINDOW_LIMIT,
};
use super::step::{Operation, Step};
use super::view::{Head, Model, Suppression, to_usize};
use crate::kernels::{Epilogue, Window};
use crate::npu::Program;
use crate::npu::program::MapRecord;
use crate::npu::stream::Commands;
use crate::packed::Bounds;
use crate::tensor::Tensor;

/// Checks a model whose file has `bytes` bytes.
pub(super) fn model(model: &Model<'_>, bytes: usize) -> Result<(), Error> {
    if model.arena_bytes() > MEMORY_LIMIT {
        return Err(Error::Arena { bytes: model.arena_bytes() });
    }
    for (index, record) in model.tensors.iter().enumerate() {
        tensor(record, model.arena_bytes()).ok_or(Error::Tensor { index })?;
    }
    let input = model.tensor(model.input()).ok_or(Error::Input)?;
    if input.pitch != input.c {
        return Err(Error::Input);
    }
    let mut constants = REUSE_LIMIT.saturating_mul(bytes as u64);
    for step in model.steps() {
        let (index, layer) = (step.index(), step.layer());
        check_step(model, &step, &mut constants).map_err(|fault| Error::Step { index, layer, fault })?;
    }
    let mut values = HEAD_VALUE_LIMIT;
    for (index, record) in model.heads.iter().enumerate() {
        let own = head(model, record).ok_or(Error::Head { index })?;
        values = values.checked_sub(own).ok_or(Error::Head { index })?;
    }
    Suppression::of(model, model.suppression).ok_or(Error::Suppression)?;
    let provenance = [&model.provenance.network, &model.provenance.tool, &model.provenance.target];
    let mut free = model.text.len();
    for (index, text) in provenance.into_iter().chain(model.names.iter()).enumerate() {
        free = free.checked_sub(to_usize(text.bytes)).ok_or(Error::Text { index })?;
        model.text(text).ok_or(Error::Text { index })?;
    }
    if let Some(program) = &model.program {
        crate::npu::check(program).map_err(|command| Error::Program { command })?;
        for (index, map) in program.maps().iter().enumerate() {
            program_map(model, map).ok_or(Error::ProgramMap { index })?;
        }
        trace(model, program)?;
    }
    Ok(())
}

/// Where there is a trace it has a record for every command, and its tensors exist.
fn trace(model: &Model<'_>, program: &Program<'_>) -> Result<(), Error> {
    let Some(trace) = model.trace else { return Ok(()) };
    let commands = Commands::new(program.stream()).count();
    if commands != trace.len() {
        return Err(Error::Program { command: commands.min(trace.len()) });
    }
    let stray = trace.iter().position(|record| record.tensor().is_some_and(|t| t >= model.tensor_count()));
    stray.map_or(Ok(()), |command| Err(Error::Program { command }))
}

/// Checks that a [`MapRecord`] has the shape of the tensor that it stands for.
fn program_map(model: &Model<'_>, map: &MapRecord) -> Option<()> {
    let [h, w, c] = model.tensor(to_usize(map.tensor))?.shape();
    let same = [h, w, c] == [map.h, map.w, map.channels].map(to_usize);
    (same && map.address.get().is_multiple_of(16) && map.pitch.get().is_multiple_of(16)).then_some(())
}

fn tensor(record: &TensorRecord, arena: usize) -> Option<()> {
    let [h, w, c] = record.shape();
    let pitch = to_usize(record.pitch);
    let small = [h, w, c, pitch].iter().all(|&extent| extent <= EXTENT_LIMIT);
    let end = Tensor::span(h, w, c, pitch)?.checked_add(to_usize(record.offset))?;
    let zero = i8::try_from(record.zero_point.get()).is_ok();
    (small && end <= arena && zero && record.dtype()? == DType::I8).then_some(())
}

/// `constants` are the bytes of constants that may still be read.
fn check_step(model: &Model<'_>, step: &Step<'_>, constants: &mut u64) -> Result<(), Fault> {
    let output = step.output().ok_or(Fault::Operand)?;
    let kind = step.kind().ok_or(Fault::Kind)?;
    let count = step.input_count();
    let expected = match kind {
        StepKind::Shortcut => count.clamp(1, 64),
        StepKind::Multiply => 2,
        _ => 1,
    };
    if count != expected {
        return Err(Fault::Operand);
    }
    for n in 0..count {
        let input = step.input(n).ok_or(Fault::Operand)?;
        if overlaps(input, output) && !(elementwise(step, n) && same_view(input, output)) {
            return Err(Fault::Overlap);
        }
    }
    let input = step.input(0).ok_or(Fault::Operand)?;
    scratch(model, step).ok_or(Fault::Scratch)?;
    let operation = step.operation()?;
    if !shapes_fit(&operation, step, input, output) {
        return Err(Fault::Shape);
    }
    *constants = constants.checked_sub(operation.constant_bytes()).ok_or(Fault::Reuse)?;
    check_constants(&operation, input, output)
}

/// The workspace is inside the arena, and none of the step's tensors reach into it.
fn scratch(model: &Model<'_>, step: &Step<'_>) -> Option<()> {
    let record = step.record();
    let start = to_usize(record.scratch_offset);
    let end = start.checked_add(to_usize(record.scratch_bytes))?;
    let apart = |tensor: &TensorRecord| {
        let (from, to) = extent(tensor);
        start == end || to <= start || end <= from
    };
    let inputs = (0..step.input_count()).filter_map(|n| step.input(n));
    (end <= model.arena_bytes() && inputs.chain(step.output()).all(apart)).then_some(())
}

/// Whether input `n` may be overwritten in place.
fn elementwise(step: &Step<'_>, n: usize) -> bool {
    let window = step.record().window();
    match step.kind() {
        Some(StepKind::Shortcut | StepKind::Activate) => true,
        Some(StepKind::Rescale) => window.pad_top == 0 && window.pad_left == 0,
        // The factor of a product is read at other places unless it has the output's shape.
        Some(StepKind::Multiply) => {
            n == 1 || step.input(0).map(|f| f.shape()) == step.output().map(|o| o.shape())
        }
        _ => false,
    }
}

fn same_view(a: &TensorRecord, b: &TensorRecord) -> bool {
    a.offset == b.offset && a.pitch == b.pitch && a.h == b.h && a.w == b.w
}

/// First byte of a feature map in the arena, and the one after its last.
fn extent(tensor: &TensorRecord) -> (usize, usize) {
    let [h, w, c] = tensor.shape();
    let start = to_usize(tensor.offset);
    let span = Tensor::span(h, w, c, to_usize(tensor.pitch)).unwrap_or(usize::MAX);
    (start, start.saturating_add(span))
}

/// Whether two feature maps share a byte. Slices of one wider feature map (equal pitch) may interleave.
fn overlaps(a: &TensorRecord, b: &TensorRecord) -> bool {
    let ((a_start, a_end), (b_start, b_end)) = (extent(a), extent(b));
    if a_end <= b_start || b_end <= a_start {
        return false;
    }
    if a.pitch != b.pitch || a.pitch.get() == 0 {
        return true;
    }
    // In 64 bits: sums of two 32-bit numbers.
    let pitch = u64::from(a.pitch.get());
    let phase = (u64::from(b.offset.get()) + pitch - u64::from(a.offset.get()) % pitch) % pitch;
    let apart = phase >= u64::from(a.c.get()) && phase + u64::from(b.c.get()) <= pitch;
    !apart
}

fn shapes_fit(
    operation: &Operation<'_>,
    step: &Step<'_>,
    input: &TensorRecord,
    output: &TensorRecord,
) -> bool {
    let [in_h, in_w, in_c] = input.shape();
    let [out_h, out_w, out_c] = output.shape();
    let same_pixels = in_h == out_h && in_w == out_w;
    match *operation {
        Operation::Conv(ref conv) => {
            let filter = conv.window.kernel_h * conv.window.kernel_w;
            let groups = conv.groups;
            let divides = in_c.is_multiple_of(groups) && out_c.is_multiple_of(groups);
            let weights = || in_c.checked_div(groups)?.checked_mul(filter)?.checked_mul(out_c);
            slides(&conv.window, input, output) && divides && weights() == Some(conv.weights.len())
        }
        Operation::Depthwise(ref depthwise) => {
            let filter = depthwise.window.kernel_h * depthwise.window.kernel_w;
            slides(&depthwise.window, input, output)
                && in_c == out_c
                && filter.checked_mul(out_c) == Some(depthwise.weights.len())
        }
        // The words' number was compared with the layout when the step was decoded.
        Operation::PackedConv(ref conv) => slides(&conv.window, input, output),
        Operation::PackedDepthwise(ref depthwise) => {
            let Window { kernel_h, kernel_w, dilation_h, dilation_w, .. } = depthwise.window;
            let square = kernel_h == kernel_w && dilation_h == 1 && dilation_w == 1;
            slides(&depthwise.window, input, output) && in_c == out_c && square
        }
        Operation::Connected(ref connected) => {
            let weights = input.elements().checked_mul(out_c);
            out_h * out_w == 1 && weights == Some(connected.weights.len())
        }
        Operation::MaxPool(ref window) | Operation::LocalAvgPool(ref window, _) => {
            let inside = window.pad_top < window.kernel_h && window.pad_left < window.kernel_w;
            let plain = window.dilation_h == 1 && window.dilation_w == 1;
            slides(window, input, output) && in_c == out_c && inside && plain
        }
        Operation::AvgPool(_) => out_h * out_w == 1 && in_c == out_c,
        Operation::Shortcut(_) => {
            (0..step.input_count()).filter_map(|n| step.input(n)).all(|t| t.h == output.h && t.w == output.w)
        }
        Operation::Rescale { top, left, .. } => in_c == out_c && top + out_h <= in_h && left + out_w <= in_w,
        Operation::Activate(_) => same_pixels && in_c == out_c,
        Operation::Upsample { stride_h, stride_w } => {
            let rows = in_h.checked_mul(stride_h) == Some(out_h) && stride_h > 0;
            rows && in_w.checked_mul(stride_w) == Some(out_w) && stride_w > 0 && in_c == out_c
        }
        Operation::Reorg { stride, mode } => {
            let deep = |c: usize| c.checked_mul(stride * stride);
            let times = |extent: usize| extent.checked_mul(stride);
            let packs = deep(in_c) == Some(out_c) && times(out_h) == Some(in_h) && times(out_w) == Some(in_w);
            stride > 0
                && stride <= WINDOW_LIMIT
                && match mode {
                    ReorgMode::SpaceToDepth => packs,
                    ReorgMode::DepthToSpace => {
                        deep(out_c) == Some(in_c) && times(in_h) == Some(out_h) && times(in_w) == Some(out_w)
                    }
                    ReorgMode::Flat => packs && in_c.is_multiple_of(stride * stride),
                }
        }
        Operation::Multiply(_) => step.input(1).is_some_and(|value| {
            let whole = same_pixels && in_c == out_c;
            let per_channel = in_h * in_w == 1 && in_c == out_c;
            let per_pixel = same_pixels && in_c == 1;
            value.shape() == output.shape() && (whole || per_channel || per_pixel)
        }),
        Operation::Softmax { groups, .. } => same_pixels && in_c == out_c && in_c.is_multiple_of(groups),
    }
}

/// Every position of the window begins before the end of the image.
fn slides(window: &Window, input: &TensorRecord, output: &TensorRecord) -> bool {
    let axis = |kernel: usize, stride: usize, dilation: usize, pad: usize, input: usize, output: usize| {
        let small = [kernel, stride, dilation].iter().all(|&n| (1..=WINDOW_LIMIT).contains(&n));
        small
            && pad <= WINDOW_LIMIT
            && (output - 1).checked_mul(stride).is_some_and(|last| last < input + pad)
    };
    let [in_h, in_w, _] = input.shape();
    let [out_h, out_w, _] = output.shape();
    axis(window.kernel_h, window.stride_h, window.dilation_h, window.pad_top, in_h, out_h)
        && axis(window.kernel_w, window.stride_w, window.dilation_w, window.pad_left, in_w, out_w)
}

/// Weights and requantisation within the contract, accumulators within 32 bits.
fn check_constants(
    operation: &Operation<'_>,
    input: &TensorRecord,
    output: &TensorRecord,
) -> Result<(), Fault> {
    // Never 0 in a checked tensor; the maximum spares a division check.
    let out_c = to_usize(output.c).max(1);
    match operation {
        Operation::Conv(conv) => {
            let taps = conv.weights.len() / out_c;
            accumulators(conv.bias, taps, |channel| row_sum(conv.weights, taps, channel))?;
            weights(conv.weights)?;
            requant(&conv.epilogue)
        }
        Operation::Connected(connected) => {
            let taps = connected.weights.len() / out_c;
            accumulators(connected.bias, taps, |channel| row_sum(connected.weights, taps, channel))?;
            weights(connected.weights)?;
            requant(&connected.epilogue)
        }
        Operation::Depthwise(depthwise) => {
            let taps = depthwise.weights.len() / out_c;
            let column = |channel: usize| depthwise.weights.iter().skip(channel).step_by(out_c);
            accumulators(depthwise.bias, taps, |channel| column(channel).map(magnitude).sum())?;
            weights(depthwise.weights)?;
            requant(&depthwise.epilogue)
        }
        Operation::PackedConv(conv) => packed(conv.is_valid(), &conv.bounds),
        Operation::PackedDepthwise(depthwise) => packed(depthwise.is_valid(), &depthwise.bounds),
        Operation::AvgPool(epilogue) => {
            deviations(input.shape().iter().take(2).product())?;
            requant(epilogue)
        }
        Operation::LocalAvgPool(window, epilogue) => {
            deviations(window.kernel_h * window.kernel_w)?;
            requant(epilogue)
        }
        Operation::Shortcut(shortcut) => {
            let total = |multipliers: &mut dyn Iterator<Item = &I32>| {
                multipliers.map(|m| u64::from(m.get().unsigned_abs())).sum::<u64>()
            };
            let each = shortcut.multipliers.len() / out_c;
            let largest = match shortcut.mode {
                super::format::ShortcutMode::PerInput => total(&mut shortcut.multipliers.iter()),
                super::format::ShortcutMode::PerChannel => (0..out_c)
                    .map(|c| total(&mut shortcut.multipliers.iter().skip(c).step_by(out_c).take(each)))
                    .max()
                    .unwrap_or(0),
            };
            if largest.saturating_mul(255) >= ACCUMULATOR_LIMIT {
                return Err(Fault::Accumulator);
            }
            requant(&shortcut.epilogue)
        }
        Operation::Multiply(epilogue) | Operation::Rescale { epilogue: Some(epilogue), .. } => {
            requant(epilogue)
        }
        Operation::Softmax { exponentials, .. } => softmax(exponentials),
        Operation::Rescale { epilogue: None, .. }
        | Operation::MaxPool(_)
        | Operation::Activate(_)
        | Operation::Upsample { .. }
        | Operation::Reorg { .. } => Ok(()),
    }
}

/// Packed constants were found `valid`, and the bounds are in order.
fn packed(valid: bool, bounds: &Bounds<'_>) -> Result<(), Fault> {
    if !valid {
        return Err(Fault::Packed);
    }
    if bounds.lo <= bounds.hi { Ok(()) } else { Err(Fault::Requant) }
}

const ACCUMULATOR_LIMIT: u64 = 1 << 31;

fn magnitude(weight: &i8) -> u64 {
    u64::from(weight.unsigned_abs())
}

fn row_sum(weights: &[i8], taps: usize, channel: usize) -> u64 {
    weights.iter().skip(channel * taps).take(taps).map(magnitude).sum()
}

/// `|b'| + 128 · Σ|w| < 2^31` for every channel; the sum is taken only where 128 for each weight
/// does not settle it.
fn accumulators(bias: &[I32], taps: usize, sum: impl Fn(usize) -> u64) -> Result<(), Fault> {
    let crude = (taps as u64).saturating_mul(128);
    for (channel, bias) in bias.iter().enumerate() {
        let bound = |sum: u64| u64::from(bias.get().unsigned_abs()).saturating_add(sum.saturating_mul(128));
        if bound(crude) >= ACCUMULATOR_LIMIT && bound(sum(channel)) >= ACCUMULATOR_LIMIT {
            return Err(Fault::Accumulator);
        }
    }
    Ok(())
}

/// A sum of `count` deviations from a zero point.
fn deviations(count: usize) -> Result<(), Fault> {
    let bound = (count as u64).saturating_mul(255);
    if bound < ACCUMULATOR_LIMIT { Ok(()) } else { Err(Fault::Accumulator) }
}

/// No weight is −128: kernels may then add two products in 16 bits.
fn weights(weights: &[i8]) -> Result<(), Fault> {
    // Not `contains`, which stops early and so is not vectorised.
    let bad = weights.iter().fold(false, |bad, &weight| bad | (weight == i8::MIN));
    if bad { Err(Fault::Weight) } else { Ok(()) }
}

fn requant(epilogue: &Epilogue<'_>) -> Result<(), Fault> {
    let valid = epilogue.lo <= epilogue.hi && epilogue.requant.iter().all(Requant::is_valid);
    if valid { Ok(()) } else { Err(Fault::Requant) }
}

/// Entry 0 is 1.0, none above: shares then stay within 0..=1.
fn softmax(exponentials: &[U32; 256]) -> Result<(), Fault> {
    let first = exponentials.first().map(|e| e.get());
    let valid = first == Some(1 << 16) && exponentials.iter().all(|e| e.get() <= 1 << 16);
    if valid { Ok(()) } else { Err(Fault::Constant) }
}

/// The head's tensor holds what its kind says, and its tables and anchors exist; how many values it reads.
fn head(model: &Model<'_>, record: &HeadRecord) -> Option<usize> {
    let head = Head::of(*model, record)?;
    let tensor = model.tensor(head.tensor)?;
    let [h, w, c] = tensor.shape();
    let channels = head.classes.checked_add(5)?;
    let bounded = head.kind == HeadKind::Classes
        || model.input_shape().iter().take(2).all(|&extent| extent <= INPUT_LIMIT);
    let fits = match head.kind {
        HeadKind::Yolo | HeadKind::Region => {
            let anchors = head.anchors.len();
            anchors > 0
                && head.channels_per_anchor >= channels
                && anchors.checked_mul(head.channels_per_anchor)? <= c
        }
        HeadKind::Detection => {
            let boxes = head.anchors.len();
            let side = head.channels_per_anchor;
            let cell = boxes.checked_mul(5)?.checked_add(head.classes)?;
            h * w == 1 && side > 0 && side.checked_mul(side)?.checked_mul(cell)? == c
        }
        HeadKind::Classes => h * w == 1 && head.classes == c,
    };
    (fits && bounded && head.classes <= CLASS_LIMIT).then(|| tensor.elements())
}
