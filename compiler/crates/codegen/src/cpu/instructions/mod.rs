//! How many instructions a step takes on the kernels for the DSP extension of Armv7E-M (`runtime-nostd/arch/src/thumb`).
//!
//! The loops are assembly: their instructions are counted in its text, and every number here that is not a constant with a
//! name is such a count. The Rust around them, and what runs on portable kernels, depends on the Rust compiler: those constants
//! were measured on yoloface-500k-v2 and mobilenetv2-yolov3-nano-coco at 128 × 128, packed and dense, with
//! `runtime-nostd/arch/counts/run --artefact`. All are instructions, no cycles.

mod conv;
mod depthwise;

use secateur_runtime::artefact::format::TensorRecord;
use secateur_runtime::artefact::{Model, Operation, Step};
use secateur_runtime::kernels::{Shortcut, ShortcutMode, Table, Window};
use secateur_runtime::packed::Form;

/// Rust of any step: the engine decodes its record.
const STEP: u64 = 300;
/// Portable kernels and passes over the codes: a pixel, and of each of its values four that are copied, one that is looked up or
/// bounded, one that is requantised.
const PIXEL: u64 = 65;
const COPY_FOUR: u64 = 9;
const LOOK_UP: u64 = 12;
const REQUANTISE: u64 = 50;
/// Portable convolution: a multiply-accumulate, a value that is gathered, an output. Four pixels go together.
const MAC: u64 = 5;
const GATHER: u64 = 12;
const OUTPUT: u64 = 85;
/// Portable depthwise convolution: a multiply-accumulate.
const MAC_DEPTHWISE: u64 = 18;
/// Portable pools and sums: a value that is read.
const TAP: u64 = 15;
/// A value of a softmax: two look-ups and a division of 64 bits. Not measured.
const SOFTMAX: u64 = 200;

/// A feature map.
#[derive(Debug, Clone, Copy)]
struct Map {
    h: usize,
    w: usize,
    c: usize,
    /// Pixel after pixel without a gap.
    dense: bool,
}

impl Map {
    fn of(record: &TensorRecord) -> Self {
        let [h, w, c] = record.shape();
        Self { h, w, c, dense: record.pitch.get() as usize == c }
    }

    fn pixels(self) -> u64 {
        (self.h * self.w) as u64
    }

    fn values(self) -> u64 {
        self.pixels() * self.c as u64
    }
}

/// Instructions of the steps of each of `layers` layers.
pub fn by_layer(model: &Model<'_>, layers: usize) -> Vec<u64> {
    let mut sums = vec![0; layers];
    for step in model.steps() {
        if let Some(sum) = sums.get_mut(step.layer() as usize) {
            *sum += instructions(&step);
        }
    }
    sums
}

/// Instructions that `step` of a checked artefact is expected to take.
pub fn instructions(step: &Step<'_>) -> u64 {
    let (Some(input), Some(output), Ok(operation)) =
        (step.input(0).map(Map::of), step.output().map(Map::of), step.operation())
    else {
        return 0;
    };
    let all_dense =
        output.dense && (0..step.input_count()).all(|n| step.input(n).is_some_and(|r| Map::of(r).dense));
    let each = |value: u64| output.pixels() * PIXEL + output.values() * value;
    let copies = output.pixels() * PIXEL + output.values() * COPY_FOUR / 4;
    STEP + match operation {
        Operation::PackedConv(conv) => {
            let bounds = &conv.bounds;
            conv::instructions(&conv, input, output) + last_pass(output, bounds.lo, bounds.hi, bounds.table)
        }
        Operation::PackedDepthwise(depthwise) => {
            let (bounds, scratch) = (&depthwise.bounds, step.record().scratch_bytes.get() as usize);
            depthwise::instructions(&depthwise, input, output, scratch)
                + last_pass(output, bounds.lo, bounds.hi, bounds.table)
        }
        Operation::MaxPool(window) => max_pool(&window, input, output),
        Operation::Shortcut(parameters) => shortcut(&parameters, step.input_count(), output, all_dense),
        Operation::Conv(conv) => {
            let (weights, outputs) = (conv.weights.len() as u64, output.c as u64);
            let gathered = conv.groups as u64 * (weights / outputs);
            output.pixels().next_multiple_of(4) * (weights * MAC + gathered * GATHER + outputs * OUTPUT)
        }
        Operation::Depthwise(depthwise) => {
            output.pixels() * depthwise.weights.len() as u64 * MAC_DEPTHWISE + each(REQUANTISE)
        }
        Operation::Connected(connected) => connected.weights.len() as u64 * MAC + each(REQUANTISE),
        Operation::AvgPool(_) => input.values() * TAP + each(REQUANTISE),
        Operation::LocalAvgPool(window, _) => {
            output.values() * (window.kernel_h * window.kernel_w) as u64 * TAP + each(REQUANTISE)
        }
        Operation::Rescale { epilogue: None, .. } | Operation::Upsample { .. } | Operation::Reorg { .. } => {
            copies
        }
        Operation::Rescale { epilogue: Some(_), .. } | Operation::Multiply(_) => each(REQUANTISE),
        Operation::Activate(_) => each(LOOK_UP),
        Operation::Softmax { .. } => each(SOFTMAX),
    }
}

/// A pass over the codes, where there is more to do than to saturate.
fn last_pass(output: Map, lo: i8, hi: i8, table: Option<&Table>) -> u64 {
    if (lo, hi) == (i8::MIN, i8::MAX) && table.is_none() {
        return 0;
    }
    output.pixels() * PIXEL + output.values() * LOOK_UP
}

/// Rust of a sum, and of a pixel of it.
const SUM: u64 = 530;
const SUM_PIXEL: u64 = 100;

/// `secateur_add_*`: a word of four codes takes 32, with two slopes 40.
fn shortcut(parameters: &Shortcut<'_>, inputs: usize, output: Map, dense: bool) -> u64 {
    let epilogue = &parameters.epilogue;
    let quad = match Form::of(epilogue.requant) {
        Some(Form::Linear) => 32,
        Some(Form::TwoSlopes) => 40,
        _ => 0,
    };
    if quad == 0 || inputs != 2 || parameters.mode != ShortcutMode::PerInput {
        return output.values() * (inputs as u64 * TAP + REQUANTISE);
    }
    let (calls, values) = if dense { (1, output.values()) } else { (output.pixels(), output.c as u64) };
    let call = SUM_PIXEL + 3 + values / 4 * quad + values % 4 * REQUANTISE;
    SUM + calls * call + last_pass(output, epilogue.lo, epilogue.hi, epilogue.table)
}

/// Columns whose greatest codes are held at once.
const COLUMNS: usize = 64;
/// Rust of four channels of them, of a run of windows that are alike, and of an output.
const STRIP: u64 = 14;
const RUN: u64 = 72;
const POOLED: u64 = 25;

/// `secateur_max_columns`, then `secateur_max_rows`.
fn max_pool(window: &Window, input: Map, output: Map) -> u64 {
    if output.c < 4 || window.kernel_w > COLUMNS {
        return output.values() * (window.kernel_h * window.kernel_w) as u64 * TAP;
    }
    let covered = |at: usize, stride: usize, kernel: usize, pad: usize, extent: usize| {
        let start = at * stride;
        start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
    };
    let columns = |x: usize| covered(x, window.stride_w, window.kernel_w, window.pad_left, input.w);
    let most = (COLUMNS - window.kernel_w) / window.stride_w.max(1) + 1;
    let mut sum = 0;
    for y in 0..output.h {
        let rows = covered(y, window.stride_h, window.kernel_h, window.pad_top, input.h).len() as u64;
        let further = rows.saturating_sub(1);
        // Rows in twos.
        let column = 10 + further % 2 * 4 + further / 2 * 9;
        for first in (0..output.w).step_by(most) {
            let outputs = first..output.w.min(first + most);
            let (begin, end) = (columns(first).start, columns(outputs.end - 1).end);
            let mut strip = STRIP + 6 + end.saturating_sub(begin) as u64 * column;
            let mut next = None;
            for x in outputs {
                let window_x = columns(x);
                if next != Some(window_x.clone()) {
                    strip += RUN + 5;
                }
                strip += POOLED + 9 + 5 * (window_x.len().max(1) as u64 - 1);
                next = Some(window_x.start + window.stride_w..window_x.end + window.stride_w);
            }
            sum += strip * output.c.div_ceil(4) as u64;
        }
    }
    sum
}
