//! Packed convolution: `runtime-nostd/arch/src/thumb/conv.s` and the Rust around it.

use secateur_runtime::kernels::Window;
use secateur_runtime::packed::{ConvLayout, Form, PackedConv};

use super::Map;

/// Rust: a layer's checks; its two calls for a tile size, made and compared.
const LAYER: u64 = 630;
/// Rust of a tile of windows: where it lies, and that it fits.
const TILE: u64 = 57;
/// Rust of a row of a tile's windows: read in place, or copied before; of the copy a byte.
const ROW_IN_PLACE: u64 = 12;
const ROW_COPIED: u64 = 120;
const BYTE_COPIED: u64 = 5;

/// Instructions of a layer without its last pass over the codes.
pub(super) fn instructions(conv: &PackedConv<'_>, input: Map, output: Map) -> u64 {
    let window = &conv.window;
    let unit = [window.kernel_h, window.kernel_w, window.stride_h, window.stride_w] == [1; 4];
    let unpadded = [window.pad_top, window.pad_left] == [0; 2];
    let pixels = output.h * output.w;
    LAYER
        + if unit && unpadded && (input.h, input.w) == (output.h, output.w) {
            pointwise(&conv.layout, input.c, pixels)
        } else {
            windows(&conv.layout, window, input, output)
        }
}

/// `pw4_*` for every four pixels, `pw1_*` for the rest; an odd last output is a call of its own.
fn pointwise(layout: &ConvLayout, channels: usize, pixels: usize) -> u64 {
    let calls = |tiles: usize, enter: u64, widen: u64, pair: u64| {
        let call = |pairs: usize| {
            let tile = widen + pairs as u64 * pair;
            if tiles == 0 || pairs == 0 { 0 } else { enter + tiles as u64 * tile }
        };
        call(layout.out_c / 2) + call(layout.out_c % 2)
    };
    // Of a tile: pointers (9 and 7), widening, outputs (6), its count (4).
    calls(pixels / 4, ENTER4, 9 + widen4(channels) + 6 + 4, pair4(layout))
        + calls(pixels % 4, 16, 7 + widen1(channels) + 6 + 4, pair1(layout))
}

/// `pw_enter`, where rounds enter and leave, `pw_leave`.
const ENTER4: u64 = 8 + 13 + 8 + 2;

/// `pw_widen`: 16 for four inputs of four pixels, and what is left.
fn widen4(channels: usize) -> u64 {
    2 + 16 * (channels / 4) as u64 + [3, 9, 19, 24][channels % 4]
}

fn widen1(channels: usize) -> u64 {
    6 * (channels / 4) as u64 + [3, 6, 10, 12][channels % 4]
}

/// Two outputs of four pixels: the first pair of inputs with the biases, the other pairs, the ends of rounds of eight, and
/// codes.
fn pair4(layout: &ConvLayout) -> u64 {
    let (first, body, unfold) = if layout.folded { (15, 12, 8) } else { (13, 11, 0) };
    let bodies = layout.pairs() as u64 - 1;
    // A round's end jumps to the codes, or looks whether there is more.
    let rounds = if bodies > 8 { 4 * bodies.div_ceil(8) } else { bodies.min(1) };
    let requantise = match layout.form {
        Form::Linear => 10,
        Form::TwoSlopes => 28,
        Form::General => 49,
    };
    first + 1 + bodies * body + rounds + unfold + requantise + 18 + 3
}

/// Two outputs of one pixel: four pairs of inputs a round, then one by one.
fn pair1(layout: &ConvLayout) -> u64 {
    let (begin, round, single, unfold) = if layout.folded { (6, 16, 7, 2) } else { (5, 13, 6, 0) };
    let pairs = layout.pairs() as u64;
    let requantise = match layout.form {
        Form::Linear => 4,
        Form::TwoSlopes => 8,
        Form::General => 19,
    };
    begin + pairs / 4 * round + 3 + pairs % 4 * single + unfold + requantise + 5 + 3
}

/// Tiles of four windows: rows of them are widened, then all outputs computed.
fn windows(layout: &ConvLayout, window: &Window, input: Map, output: Map) -> u64 {
    let calls = 1 + layout.out_c as u64 % 2;
    // The tile is full: its pointers, nothing to widen (14), outputs (6), its count (4).
    let outputs = calls * (ENTER4 + 14 + 6 + 4) + layout.out_c.div_ceil(2) as u64 * pair4(layout);
    let columns = 3 * window.stride_w + window.kernel_w;
    let rows = (window.kernel_h - 1) * window.dilation_h + 1;
    // `secateur_widen4` around its rows.
    let widen = 13 + widen4(layout.run);
    let pixels = output.h * output.w;
    let tile = |first: usize| {
        let first = first.min(pixels.saturating_sub(4));
        let (y, x) = (first / output.w, first % output.w);
        let (row, column) = (y * window.stride_h, x * window.stride_w);
        let inside =
            |at: usize, pad: usize, length: usize, extent: usize| at >= pad && at - pad + length <= extent;
        let piece = input.dense && window.dilation_w == 1 && x + 4 <= output.w;
        let whole =
            inside(row, window.pad_top, rows, input.h) && inside(column, window.pad_left, columns, input.w);
        let each = if piece && whole {
            ROW_IN_PLACE
        } else {
            let copied = if piece { columns * input.c } else { 4 * layout.run };
            ROW_COPIED + BYTE_COPIED * copied as u64
        };
        TILE + layout.runs as u64 * (each + widen) + outputs
    };
    (0..pixels).step_by(4).map(tile).sum()
}
