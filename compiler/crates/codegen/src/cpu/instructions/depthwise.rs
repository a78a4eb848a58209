//! Packed depthwise convolution: `runtime-nostd/arch/src/thumb/depthwise.s` and the Rust around it.

use secateur_runtime::packed::{Form, PackedDepthwise, ROW_BYTES};

use super::Map;

/// Rust: a layer's checks, a block of outputs, four channels of it; a word of zero points above or below the image.
const LAYER: u64 = 250;
const BLOCK: u64 = 150;
const GROUP: u64 = 60;
const CLEAR: u64 = 3;
/// Values of a line of the workspace, of which a row has four; the columns that a step may read ahead.
const LINE: usize = ROW_BYTES / 4 / 2;
const AHEAD: usize = 5;

/// Instructions of a layer without its last pass over the codes, with `scratch` bytes of workspace.
pub(super) fn instructions(depthwise: &PackedDepthwise<'_>, input: Map, output: Map, scratch: usize) -> u64 {
    let (side, stride) = (depthwise.layout.kernel, depthwise.window.stride_w.max(1));
    let step = if side == 3 { 2 } else { 4 };
    // The blocks of `thumb/depthwise.rs`.
    let most = (LINE - side - AHEAD) / stride / step * step;
    let width = output.w.div_ceil(output.w.div_ceil(most)).next_multiple_of(step);
    let most = ((scratch / ROW_BYTES).max(side) - side) / stride + 1;
    let height = output.h.div_ceil(output.h.div_ceil(most));
    let mut sum = LAYER;
    for y in (0..output.h).step_by(height) {
        for x in (0..output.w).step_by(width) {
            let size = [height.min(output.h - y), width.min(output.w - x)];
            sum += block(depthwise, input, [y, x], size, step);
        }
    }
    sum
}

fn block(
    depthwise: &PackedDepthwise<'_>,
    input: Map,
    [y, x]: [usize; 2],
    [height, width]: [usize; 2],
    step: usize,
) -> u64 {
    let (side, window) = (depthwise.layout.kernel, &depthwise.window);
    let extent = |outputs: usize| (outputs - 1) * window.stride_w + side;
    // Of rows or columns: zero points before the image, those of the image, zero points after it.
    let split = |at: usize, all: usize, pad: usize, image: usize| {
        let at = at * window.stride_w;
        let before = pad.saturating_sub(at);
        let inner = (all - before).min(image.saturating_sub(at.saturating_sub(pad)));
        [before, inner, all - before - inner]
    };
    let [top, rows, bottom] = split(y, extent(height), window.pad_top, input.h);
    let fill = 9 + rows as u64 * fill_row(split(x, extent(width), window.pad_left, input.w));
    let kernel = 7 + 4 * channel(depthwise.layout.form, window.stride_w, side, height, width, step);
    let clear = CLEAR * ((top + bottom) * ROW_BYTES / 4) as u64;
    BLOCK + clear + depthwise.layout.groups() as u64 * (GROUP + fill + kernel)
}

/// `secateur_dw_fill`, a row: two columns of four channels take 17.
fn fill_row([left, inner, right]: [usize; 3]) -> u64 {
    let paired = inner - (left % 2).min(inner);
    let odd = paired % 2;
    let right = right.saturating_sub(odd).div_ceil(2) as u64;
    let begin = match left {
        0 => 4,
        1 => 17,
        _ => 14,
    };
    let after = if right == 0 { 3 } else { 7 + 6 * right };
    begin + 3 + 17 * (paired / 2) as u64 + 3 + 11 * odd as u64 + after + 6
}

/// A channel's outputs.
fn channel(form: Form, stride: usize, side: usize, height: usize, width: usize, step: usize) -> u64 {
    let (steps, rest) = ((width / step) as u64, (width % step) as u64);
    let parameters = 12 + if form == Form::TwoSlopes { 2 } else { 3 };
    let general = |sums: u64| 12 * sums;
    let row = if side == 3 {
        let products = if stride == 1 { 16 } else { 19 };
        let (requantise, one) = match form {
            Form::Linear => (5, 3),
            Form::TwoSlopes => (10, 6),
            Form::General => (24, general(1)),
        };
        // Two steps a round; with two slopes its end is read again.
        let (again, end) = if form == Form::Linear { (0, 2) } else { (1, 3) };
        let body = steps * (products + requantise + 3) + steps.div_ceil(2) * end;
        let enter = if steps == 0 { 11 } else { 14 + again };
        enter + body + 3 + rest * (10 + one + 1)
    } else {
        let requantise = match form {
            Form::Linear => 9,
            Form::TwoSlopes => 18,
            Form::General => general(4),
        };
        let body = 78 + requantise + 11;
        let end = if steps == 0 { 0 } else { 3 };
        18 + steps * body + end + 3 + if rest == 0 { 0 } else { 9 + body + 3 + 3 + 5 * rest }
    };
    let weights = if side == 3 { 8 } else { 32 };
    weights + parameters + height as u64 * (row + 4) + 4
}
