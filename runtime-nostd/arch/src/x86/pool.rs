//! Kernels that move or compare pixels: maximum pooling, upsampling.

use secateur_runtime::kernels::Window;

use super::isa::Isa;
use super::layout::{Bytes, PIXEL, View};

/// Pixels behind each piece of scratch memory that a vector may reach.
const SLACK: usize = 32;

/// Maximum of a window: rows first, then columns, at every position; then those that the stride keeps.
#[derive(Debug)]
pub(super) struct MaxPool {
    pub(super) input: View,
    pub(super) output: View,
    pub(super) window: Window,
    /// Pixels of the plane with what the window reaches beside it.
    pub(super) h: usize,
    pub(super) w: usize,
    /// Byte of the scratch memory.
    pub(super) scratch: usize,
}

impl MaxPool {
    /// Bytes of scratch memory for a plane of `h` × `w` pixels.
    pub(super) fn scratch_bytes(h: usize, w: usize) -> usize {
        3 * Self::piece(h, w)
    }

    fn piece(h: usize, w: usize) -> usize {
        (h * w + SLACK) * PIXEL
    }

    /// Computes one plane.
    ///
    /// # Safety
    /// The processor has `V`'s instructions; the planner has found all that is read and written inside `memory`,
    /// a window of at most 16 columns; nobody else uses the output's plane or the scratch memory.
    pub(super) unsafe fn run<V: Isa>(&self, memory: Bytes, plane: usize) {
        let Self { window, h, w, .. } = *self;
        let piece = Self::piece(h, w);
        let [padded, rows, columns] = [0, 1, 2].map(|n| self.scratch + n * piece);
        let vectors = |pixels: usize| pixels.div_ceil(V::PIXELS);
        let input = self.input.base + plane * self.input.stride;
        let output = self.output.base + plane * self.output.stride;
        let layout = self.input.layout;
        // SAFETY: as the function says; the pieces do not overlap.
        unsafe {
            // Stored 0 is the least value: what is outside takes no part.
            memory.fill(padded, piece, 0);
            for y in 0..layout.h {
                let to = padded + ((y + window.pad_top) * w + window.pad_left) * PIXEL;
                copy(memory, input + y * self.input.row(), to, layout.w * PIXEL);
            }
            copy(memory, padded, rows, piece);
            for kx in 1..window.kernel_w {
                V::max_into(memory.at(padded + kx * PIXEL), memory.at(rows), vectors(h * w));
            }
            copy(memory, rows, columns, piece);
            let kept = (h - window.kernel_h + 1) * w;
            for ky in 1..window.kernel_h {
                V::max_into(memory.at(rows + ky * w * PIXEL), memory.at(columns), vectors(kept));
            }
            for y in 0..self.output.layout.h {
                let from = columns + y * window.stride_h * w * PIXEL;
                let to = output + y * self.output.row();
                if window.stride_w == 1 {
                    copy(memory, from, to, self.output.layout.w * PIXEL);
                } else {
                    for x in 0..self.output.layout.w {
                        copy(memory, from + x * window.stride_w * PIXEL, to + x * PIXEL, PIXEL);
                    }
                }
            }
        }
    }
}

/// Nearest-neighbour upsampling.
#[derive(Debug)]
pub(super) struct Upsample {
    pub(super) input: View,
    pub(super) output: View,
    pub(super) stride_h: usize,
    pub(super) stride_w: usize,
}

impl Upsample {
    /// Computes one plane.
    ///
    /// # Safety
    /// Both views are inside the memory; nobody else uses the output's plane.
    pub(super) unsafe fn run(&self, memory: Bytes, plane: usize) {
        let input = self.input.base + plane * self.input.stride;
        let output = self.output.base + plane * self.output.stride;
        let width = self.output.layout.w * PIXEL;
        for y in 0..self.input.layout.h {
            let first = output + y * self.stride_h * self.output.row();
            // SAFETY: as the function says; the output has `stride` times the input's rows and columns.
            unsafe {
                let from = memory.at(input + y * self.input.row()).cast::<u32>();
                let to = memory.at(first).cast::<u32>();
                for x in 0..self.input.layout.w {
                    let pixel = from.add(x).read_unaligned();
                    for n in 0..self.stride_w {
                        to.add(x * self.stride_w + n).write_unaligned(pixel);
                    }
                }
                for n in 1..self.stride_h {
                    copy(memory, first, first + n * self.output.row(), width);
                }
            }
        }
    }
}

/// Copies a feature map into another of its shape and another pitch.
///
/// # Safety
/// Both are inside the memory and do not overlap; nobody else uses the second.
pub(super) unsafe fn copy_rows(memory: Bytes, from: &View, to: &View) {
    for plane in 0..from.layout.planes.min(to.layout.planes) {
        for y in 0..from.layout.h {
            let source = from.base + plane * from.stride + y * from.row();
            let target = to.base + plane * to.stride + y * to.row();
            // SAFETY: as the function says.
            unsafe { copy(memory, source, target, from.layout.w * PIXEL) }
        }
    }
}

/// # Safety
/// Both ranges are inside the memory and do not overlap; nobody else uses the second.
unsafe fn copy(memory: Bytes, from: usize, to: usize, bytes: usize) {
    debug_assert!(from + bytes <= memory.length() && to + bytes <= memory.length());
    // SAFETY: as the function says.
    unsafe { std::ptr::copy_nonoverlapping(memory.at(from).cast_const(), memory.at(to), bytes) }
}
