//! Sum of two feature maps, and max pooling, four codes at a time.

use core::cell::Cell;
use core::ops::Range;

use secateur_runtime::Tensor;
use secateur_runtime::kernels::{Shortcut, ShortcutMode, Window};
use secateur_runtime::packed::Form;

use super::finish_with;

core::arch::global_asm!(include_str!("elementwise.s"), options(raw));

/// What the sums read; its order is known to `elementwise.s`.
#[repr(C)]
struct Add {
    a: *const i8,
    b: *const i8,
    out: *mut i8,
    a_end: *const i8,
    m_a: i32,
    m_b: i32,
    /// What the zero points add to every sum.
    addend: i32,
    m_pos: i32,
    more: i32,
    zero_point: i32,
}

unsafe extern "C" {
    fn secateur_add_linear(call: *const Add);
    fn secateur_add_slopes(call: *const Add);
    fn secateur_max_columns(
        to: *mut u32,
        src: *const i8,
        row: usize,
        column: usize,
        rows: usize,
        columns: usize,
    );
    fn secateur_max_rows(
        out: *mut i8,
        pitch: usize,
        words: *const u32,
        stride: usize,
        window: usize,
        count: usize,
    );
}

/// See [`secateur_runtime::kernels::shortcut`], for two inputs; `None` where these kernels cannot do it, and nothing
/// was written.
pub(super) fn add(a: Tensor<'_>, b: Tensor<'_>, output: Tensor<'_>, shortcut: &Shortcut<'_>) -> Option<()> {
    let Shortcut { multipliers, mode, epilogue } = shortcut;
    let [m_a, m_b] = <[_; 2]>::try_from(*multipliers).ok()?.map(|m| m.get());
    let form = Form::of(epilogue.requant)?;
    let scale = form.scale(epilogue.requant.first()?)?;
    let alike = |t: Tensor<'_>| (t.h(), t.w(), t.c()) == (output.h(), output.w(), output.c());
    if form == Form::General || *mode != ShortcutMode::PerInput || !alike(a) || !alike(b) {
        return None;
    }
    let flat = a.is_dense() && b.is_dense() && output.is_dense();
    let [a, b, whole] = if flat { [a.flat(), b.flat(), output.flat()] } else { [a, b, output] };
    let addend = (m_a.wrapping_mul(i32::from(a.zero_point())))
        .wrapping_add(m_b.wrapping_mul(i32::from(b.zero_point())))
        .wrapping_neg();
    let quads = whole.c() / 4 * 4;
    for pixel in 0..whole.pixels() {
        let (from_a, from_b, to) = (a.pixel(pixel), b.pixel(pixel), whole.pixel(pixel));
        if quads > 0 {
            let call = Add {
                a: from_a.as_ptr().cast(),
                b: from_b.as_ptr().cast(),
                out: to.as_ptr().cast::<i8>().cast_mut(),
                a_end: from_a.as_ptr().wrapping_add(quads).cast(),
                m_a,
                m_b,
                addend,
                m_pos: scale.m_pos,
                more: scale.m_neg.wrapping_sub(scale.m_pos),
                zero_point: i32::from(epilogue.zero_point),
            };
            let run = if form == Form::Linear { secateur_add_linear } else { secateur_add_slopes };
            // SAFETY: each of the three has `quads` codes, four are read before they are written.
            unsafe { run(&call) };
        }
        for (to, (a, b)) in to.iter().zip(from_a.iter().zip(from_b)).skip(quads) {
            let sum = i32::from(a.get()).wrapping_mul(m_a);
            let sum = sum.wrapping_add(i32::from(b.get()).wrapping_mul(m_b)).wrapping_add(addend);
            let code = secateur_runtime::kernels::saturate(
                epilogue.slopes(0).apply(sum),
                epilogue.zero_point,
                i8::MIN,
                i8::MAX,
            );
            to.set(code);
        }
    }
    finish_with(output, epilogue.lo, epilogue.hi, epilogue.table);
    Some(())
}

/// Columns whose greatest codes are held at once.
const COLUMNS: usize = 64;

/// See [`secateur_runtime::kernels::maxpool`]; `None` where these kernels cannot do it, and nothing was written.
pub(super) fn maxpool(input: Tensor<'_>, output: Tensor<'_>, window: &Window) -> Option<()> {
    let channels = output.c();
    let Window { kernel_w, stride_w, .. } = *window;
    if channels < 4 || input.c() != channels || kernel_w > COLUMNS || stride_w == 0 {
        return None;
    }
    // Positions of windows are numbers; of a checked artefact they are.
    output.w().checked_mul(stride_w)?.checked_add(kernel_w)?;
    output.h().checked_mul(window.stride_h)?.checked_add(window.kernel_h)?;
    let most = (COLUMNS - kernel_w) / stride_w + 1;
    let mut greatest = [0u32; COLUMNS];
    for y in 0..output.h() {
        let rows = covered(y, window.stride_h, window.kernel_h, window.pad_top, input.h());
        let mut first = 0;
        while first < output.w() {
            let outputs = first..output.w().min(first + most);
            for quad in 0..channels.div_ceil(4) {
                // The last four reach back over channels that are done.
                let channel = (quad * 4).min(channels - 4);
                strip(input, output, window, (y, rows.clone()), outputs.clone(), channel, &mut greatest);
            }
            first += most;
        }
    }
    Some(())
}

/// Four channels of outputs side by side in row `y`, which see `rows` of the input.
fn strip(
    input: Tensor<'_>,
    output: Tensor<'_>,
    window: &Window,
    (y, rows): (usize, Range<usize>),
    outputs: Range<usize>,
    channel: usize,
    greatest: &mut [u32; COLUMNS],
) {
    let columns = |x: usize| covered(x, window.stride_w, window.kernel_w, window.pad_left, input.w());
    let begin = columns(outputs.start).start;
    let end = columns(outputs.end.saturating_sub(1)).end.max(begin);
    let (count, pitch) = ((end - begin).min(COLUMNS), input.pitch());
    if rows.is_empty() || count == 0 {
        for x in outputs {
            output.channels(y * output.w() + x, channel, 4).iter().for_each(|to| to.set(i8::MIN));
        }
        return;
    }
    let at = (rows.start * input.w() + begin) * pitch + channel;
    let src = input.bytes().as_ptr().wrapping_add(at).cast();
    // SAFETY: rows and columns are inside the image, whose pixels have four channels from `channel` on; there are
    // at most `COLUMNS` columns.
    unsafe {
        secateur_max_columns(greatest.as_mut_ptr(), src, input.w() * pitch, pitch, length(&rows), count)
    };
    let mut x = outputs.start;
    while x < outputs.end {
        let first = columns(x);
        // Outputs whose windows are as wide and begin a stride apart go together.
        let alike = |n: &usize| {
            let next = columns(*n);
            length(&next) == length(&first) && next.start == first.start + (n - x) * window.stride_w
        };
        let run = (x..outputs.end).take_while(alike).count().max(1);
        let to = output.channels(y * output.w() + x, channel, 4);
        if first.is_empty() || to.len() < 4 {
            to.iter().for_each(|to: &Cell<i8>| to.set(i8::MIN));
            x += 1;
            continue;
        }
        let words = greatest.as_ptr().wrapping_add(first.start - begin);
        let out = to.as_ptr().cast::<i8>().cast_mut();
        // SAFETY: the windows of these outputs are within the columns that were just written; the outputs are pixels
        // of the feature map side by side.
        unsafe { secateur_max_rows(out, output.pitch(), words, window.stride_w, length(&first), run) };
        x += run;
    }
}

/// Positions of a range; its own `len` asserts.
const fn length(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}

/// Input positions that the window at output position `at` covers inside `0..extent`.
fn covered(at: usize, stride: usize, kernel: usize, pad: usize, extent: usize) -> Range<usize> {
    let start = at * stride;
    start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
}
