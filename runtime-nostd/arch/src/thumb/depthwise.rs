//! Depthwise convolution, four channels at a time: a strip of rows is widened to 16 bits, a line a channel, and
//! each channel's outputs are computed side by side from its lines.

use secateur_runtime::kernels::Window;
use secateur_runtime::packed::{DepthwiseLayout, Form, PackedDepthwise, ROW_BYTES};
use secateur_runtime::{Operators, Tensor};

use super::{Scratch, finish, words};

core::arch::global_asm!(include_str!("depthwise.s"), options(raw));

/// Values of a line, and words of a row: four lines.
const LINE: usize = 62;
const ROW_WORDS: usize = ROW_BYTES / 4;
const _: () = assert!(ROW_BYTES == LINE * 4 * 2);
/// Columns that a step may read beyond what its last output needs.
const AHEAD: usize = 5;

/// What `secateur_dw_fill` reads; its order is known to `depthwise.s`.
#[repr(C)]
struct Fill {
    dst: *mut u32,
    src: *const i8,
    pitch: usize,
    src_row: usize,
    rows: usize,
    /// Columns of zero points before the first value: 0, 1 or 2.
    left: usize,
    /// Values after those that share a word with the left border: pairs, and whether one is left.
    pairs: usize,
    odd: usize,
    /// The zero point in both halves.
    zeros: u32,
    /// Words of zero points after the last value.
    right: usize,
}

/// What the kernels of `depthwise.s` read; its order is known there.
#[repr(C)]
struct Call {
    zero_point: i32,
    words: *const u32,
    plane: *const u32,
    out: *mut i8,
    pitch: usize,
    out_row: usize,
    rows: usize,
    /// Bytes that the values of the whole steps of a row take, and the outputs left.
    span: usize,
    rest: usize,
    channels: usize,
}

type Kernel = unsafe extern "C" fn(*const Call);

unsafe extern "C" {
    fn secateur_dw_fill(fill: *const Fill);
    fn secateur_d3s1_linear(call: *const Call);
    fn secateur_d3s1_slopes(call: *const Call);
    fn secateur_d3s1_general(call: *const Call);
    fn secateur_d3s2_linear(call: *const Call);
    fn secateur_d3s2_slopes(call: *const Call);
    fn secateur_d3s2_general(call: *const Call);
    fn secateur_d5s1_linear(call: *const Call);
    fn secateur_d5s1_slopes(call: *const Call);
    fn secateur_d5s1_general(call: *const Call);
}

/// The function for a window, and the outputs of one of its steps; `None` where there is none, or it is not linked.
fn kernel<const OPERATORS: u32>(kernel: usize, stride: usize, form: Form) -> Option<(Kernel, usize)> {
    let linked = |set| Operators::from_bits(OPERATORS).contains(set);
    let d3s1 = linked(Operators::PACKED_DEPTHWISE_3_BY_1);
    let d3s2 = linked(Operators::PACKED_DEPTHWISE_3_BY_2);
    let d5s1 = linked(Operators::PACKED_DEPTHWISE_5_BY_1);
    let linear = linked(Operators::PACKED_DEPTHWISE_LINEAR);
    let slopes = linked(Operators::PACKED_DEPTHWISE_TWO_SLOPES);
    let general = linked(Operators::PACKED_DEPTHWISE_GENERAL);
    Some(match (kernel, stride, form) {
        (3, 1, Form::Linear) if d3s1 && linear => (secateur_d3s1_linear, 2),
        (3, 1, Form::TwoSlopes) if d3s1 && slopes => (secateur_d3s1_slopes, 2),
        (3, 1, Form::General) if d3s1 && general => (secateur_d3s1_general, 2),
        (3, 2, Form::Linear) if d3s2 && linear => (secateur_d3s2_linear, 2),
        (3, 2, Form::TwoSlopes) if d3s2 && slopes => (secateur_d3s2_slopes, 2),
        (3, 2, Form::General) if d3s2 && general => (secateur_d3s2_general, 2),
        (5, 1, Form::Linear) if d5s1 && linear => (secateur_d5s1_linear, 4),
        (5, 1, Form::TwoSlopes) if d5s1 && slopes => (secateur_d5s1_slopes, 4),
        (5, 1, Form::General) if d5s1 && general => (secateur_d5s1_general, 4),
        _ => return None,
    })
}

/// See [`secateur_runtime::packed::packed_depthwise`]; `None` where these kernels cannot do it, and nothing was
/// written.
pub(super) fn depthwise<const OPERATORS: u32>(
    input: Tensor<'_>,
    output: Tensor<'_>,
    depthwise: &PackedDepthwise<'_>,
    scratch: Scratch<'_>,
) -> Option<()> {
    let DepthwiseLayout { kernel: side, channels, form, .. } = depthwise.layout;
    let window = &depthwise.window;
    let Window { kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, .. } = *window;
    let (run, step) = kernel::<OPERATORS>(side, stride_h, form)?;
    let square = kernel_h == side && kernel_w == side && stride_h == stride_w;
    let whole = [window.dilation_h, window.dilation_w] == [1, 1];
    // Windows begin at most two columns before the image, and none lies wholly beside it.
    let near = pad_left <= 2 && pad_top <= 2 && pad_left < side && pad_top < side;
    let reach = |extent: usize, out: usize, pad: usize| (out - 1) * stride_h < extent + pad;
    let inside = reach(input.h(), output.h(), pad_top) && reach(input.w(), output.w(), pad_left);
    let same = input.c() == channels && output.c() == channels && channels >= 4;
    let constants = words(depthwise.words)?;
    let (plane, room) = scratch.words();
    let rows = room / ROW_WORDS;
    if !(square && whole && near && inside && same)
        || Some(depthwise.words.len()) != depthwise.layout.words()
        || rows < side
    {
        return None;
    }
    let zero = i32::from(input.zero_point()) as u16;
    let zeros = u32::from(zero) << 16 | u32::from(zero);
    let layer = Layer { input, output, depthwise, constants, run, step, plane, zeros };
    // Strips as wide as lines allow, all about alike and of whole steps.
    let most = (LINE - side - AHEAD) / stride_w / step * step;
    let strips = output.w().div_ceil(most.max(1)).max(1);
    let width = output.w().div_ceil(strips).next_multiple_of(step);
    let most = (rows - side) / stride_h + 1;
    let bands = output.h().div_ceil(most).max(1);
    let height = output.h().div_ceil(bands);
    let mut y = 0;
    while y < output.h() {
        let mut x = 0;
        while x < output.w() {
            let size = [height.min(output.h() - y), width.min(output.w() - x)];
            layer.block([y, x], size);
            x += width;
        }
        y += height;
    }
    finish(output, &depthwise.bounds);
    Some(())
}

/// A layer whose shapes agree.
struct Layer<'a> {
    input: Tensor<'a>,
    output: Tensor<'a>,
    depthwise: &'a PackedDepthwise<'a>,
    constants: *const u32,
    run: Kernel,
    /// Outputs of a step.
    step: usize,
    plane: *mut u32,
    zeros: u32,
}

impl Layer<'_> {
    /// All channels of the outputs from `(y, x)` on.
    fn block(&self, [y, x]: [usize; 2], [height, width]: [usize; 2]) {
        let (input, output) = (&self.input, &self.output);
        let DepthwiseLayout { kernel: side, .. } = self.depthwise.layout;
        let Window { stride_w: stride, pad_top, pad_left, .. } = self.depthwise.window;
        let rows = (height - 1) * stride + side;
        let columns = (width - 1) * stride + side;
        // The part of the image under the windows, and zero points around it.
        let (top, left) = (pad_top.saturating_sub(y * stride), pad_left.saturating_sub(x * stride));
        let (first_row, first_column) =
            ((y * stride).saturating_sub(pad_top), (x * stride).saturating_sub(pad_left));
        let inner_rows = (rows - top).min(input.h().saturating_sub(first_row));
        let inner_columns = (columns - left).min(input.w().saturating_sub(first_column));
        if inner_rows == 0 || inner_columns == 0 {
            return;
        }
        self.clear(0, top);
        self.clear(top + inner_rows, rows - top - inner_rows);
        let paired = inner_columns - left % 2;
        let fill = |channel: usize| Fill {
            dst: self.plane.wrapping_add(top * ROW_WORDS),
            src: input
                .bytes()
                .as_ptr()
                .wrapping_add((first_row * input.w() + first_column) * input.pitch() + channel)
                .cast(),
            pitch: input.pitch(),
            src_row: input.w() * input.pitch(),
            rows: inner_rows,
            left,
            pairs: paired / 2,
            odd: paired % 2,
            zeros: self.zeros,
            // A value that is left has a zero point beside it.
            right: (columns - left - inner_columns).saturating_sub(paired % 2).div_ceil(2),
        };
        for group in 0..self.depthwise.layout.groups() {
            let channel = self.depthwise.layout.first(group);
            let first = (y * output.w() + x) * output.pitch() + channel;
            let call = Call {
                zero_point: i32::from(self.depthwise.bounds.zero_point),
                words: self.constants.wrapping_add(group * 4 * self.depthwise.layout.channel_words()),
                plane: self.plane,
                out: output.bytes().as_ptr().wrapping_add(first).cast::<i8>().cast_mut(),
                pitch: output.pitch(),
                out_row: output.w() * output.pitch(),
                rows: height,
                span: width / self.step * self.step * stride * 2,
                rest: width % self.step,
                channels: 4,
            };
            // SAFETY: the rows and columns are inside the image, whose pixels have four channels from `channel` on; the
            // lines have room for them, a border at either side and what a step reads ahead (`depthwise` chose the width
            // by `AHEAD`), the scratch for all rows; outputs and words of four channels are there.
            unsafe {
                secateur_dw_fill(&fill(channel));
                (self.run)(&call);
            }
        }
    }

    /// Fills rows of the scratch with zero points.
    fn clear(&self, first: usize, count: usize) {
        for n in first * ROW_WORDS..(first + count) * ROW_WORDS {
            // SAFETY: `depthwise` chose the rows of a block by the room of the scratch.
            unsafe { self.plane.add(n).write(self.zeros) };
        }
    }
}
