//! A window that moves over planes: which input pixel each of its taps meets, and strips of work.
//!
//! Input position `Y = y + padding` along an axis is met by tap `k` of output `o` where `Y = o · stride + k · dilation`.
//! With `Y = q · stride + r` all taps of one remainder r (a *phase*) are at constant distances in a plane that holds only
//! the positions of that phase, whatever the stride. Rows of a phase plane and of the output lie one behind the other on a
//! common *grid*, which is as wide as a row with its margin, so that a whole strip of rows is one run of numbers.

use std::ops::Range;

use secateur_ir::{Conv, Shape};

use super::value::{Row, Sink};
use crate::matrix::{BLOCK, LANES};
use crate::scalar::Scalar;

/// One axis of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Zeros before the first input position.
    pub before: usize,
    pub input: usize,
    pub output: usize,
}

impl Axis {
    /// Phase of a tap, and its distance there.
    fn tap(&self, k: usize) -> (usize, usize) {
        (k * self.dilation % self.stride, k * self.dilation / self.stride)
    }

    /// Largest distance of a tap.
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation / self.stride
    }

    /// The input position at `q` of a phase, if it is on the map.
    fn position(&self, q: usize, phase: usize) -> Option<usize> {
        (q * self.stride + phase).checked_sub(self.before).filter(|&at| at < self.input)
    }
}

/// A window over planes.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub rows: Axis,
    pub columns: Axis,
    /// Phases that some tap meets: (of the rows, of the columns).
    phases: Vec<(usize, usize)>,
}

/// What a thread loads and computes of a strip.
#[derive(Default)]
pub(super) struct Scratch<T> {
    /// Phase planes of input channels, or of gradients.
    pub(super) planes: Vec<T>,
    /// Output positions.
    pub(super) grid: Vec<T>,
    pub(super) sums: Vec<T>,
    /// One line of input pixels.
    pub(super) line: Vec<T>,
}

/// Positions of one image that are computed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strip {
    pub image: usize,
    pub rows: Range<usize>,
}

impl Window {
    pub(super) fn new(conv: &Conv, input: Shape, output: Shape) -> Self {
        let axis = |i: usize, before: usize, input: usize, output: usize| Axis {
            kernel: conv.kernel[i],
            stride: conv.stride[i],
            dilation: conv.dilation[i],
            before,
            input,
            output,
        };
        let rows = axis(0, conv.padding.top, input.h, output.h);
        let columns = axis(1, conv.padding.left, input.w, output.w);
        let mut phases: Vec<(usize, usize)> = (0..rows.kernel)
            .flat_map(|y| (0..columns.kernel).map(move |x| (rows.tap(y).0, columns.tap(x).0)))
            .collect();
        phases.sort_unstable();
        phases.dedup();
        Self { rows, columns, phases }
    }

    pub(super) fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    /// Width of the output's grid.
    pub(super) fn grid_width(&self) -> usize {
        self.columns.output + self.columns.reach()
    }

    /// Numbers of the output's grid for a strip of `rows` rows, made whole [`BLOCK`]s.
    pub(super) fn grid_len(&self, rows: usize) -> usize {
        (rows * self.grid_width()).next_multiple_of(BLOCK)
    }

    /// Rows of a phase plane for a strip of `rows` output rows.
    fn plane_rows(&self, rows: usize) -> usize {
        rows + self.rows.reach()
    }

    /// Numbers of all phase planes of one channel for a strip of `rows` rows.
    pub(super) fn planes_len(&self, rows: usize) -> usize {
        self.phases.len() * self.plane_rows(rows) * self.grid_width()
    }

    /// Numbers behind the last channel's planes that are read with them.
    pub(super) fn tail(&self) -> usize {
        BLOCK + LANES + self.grid_width()
    }

    /// For every tap, the distance from a grid position to the input pixel in the planes of a strip of `rows` rows.
    pub(super) fn offsets(&self, rows: usize) -> Vec<usize> {
        let (width, plane) = (self.grid_width(), self.plane_rows(rows) * self.grid_width());
        let mut offsets = Vec::with_capacity(self.taps());
        for y in 0..self.rows.kernel {
            for x in 0..self.columns.kernel {
                let ((row_phase, down), (column_phase, right)) = (self.rows.tap(y), self.columns.tap(x));
                let phase =
                    self.phases.iter().position(|&p| p == (row_phase, column_phase)).expect("a tap's phase");
                offsets.push(phase * plane + down * width + right);
            }
        }
        offsets
    }

    pub(super) fn phase_count(&self) -> usize {
        self.phases.len()
    }

    /// For every tap, the place of its phase's plane.
    pub(super) fn phase_taps(&self, rows: usize) -> Vec<usize> {
        let plane = self.plane_rows(rows) * self.grid_width();
        self.offsets(rows).into_iter().map(|offset| offset / plane * plane).collect()
    }

    /// Strips of whole rows, of all images in order; each has about `columns` grid positions.
    pub(super) fn strips(&self, images: usize, columns: usize) -> Vec<Strip> {
        strips(images, 0..self.rows.output, columns.div_ceil(self.grid_width()))
    }

    /// Fills the phase planes of one channel for a strip: the pixels as they are read, zero around the map.
    #[inline(always)]
    pub(super) fn load<T: Scalar>(
        &self,
        row: Row<'_, T>,
        strip: &Strip,
        planes: &mut [T],
        line: &mut Vec<T>,
    ) {
        let (width, height) = (self.grid_width(), self.plane_rows(strip.rows.len()));
        let plane = self.rows.input * self.columns.input;
        line.resize(self.columns.input, T::ZERO);
        // Phases of the same rows follow each other: a line is read once for all of them.
        let mut first = 0;
        while first < self.phases.len() {
            let row_phase = self.phases[first].0;
            let count = self.phases[first..].iter().take_while(|phase| phase.0 == row_phase).count();
            for q in 0..height {
                let place = |phase: usize| (phase * height + q) * width;
                let Some(y) = self.rows.position(strip.rows.start + q, row_phase) else {
                    (first..first + count).for_each(|phase| planes[place(phase)..][..width].fill(T::ZERO));
                    continue;
                };
                row.read(strip.image * plane + y * self.columns.input, line);
                for phase in first..first + count {
                    self.spread(line, self.phases[phase].1, &mut planes[place(phase)..][..width]);
                }
            }
            first += count;
        }
    }

    /// One line's pixels of a phase.
    #[inline(always)]
    fn spread<T: Scalar>(&self, line: &[T], phase: usize, out: &mut [T]) {
        let Axis { stride, before, .. } = self.columns;
        // The first position on the map, and the number of those that are.
        let start = before.saturating_sub(phase).div_ceil(stride).min(out.len());
        let at = (start * stride + phase).saturating_sub(before);
        let count = line.len().saturating_sub(at).div_ceil(stride).min(out.len() - start);
        out[..start].fill(T::ZERO);
        out[start + count..].fill(T::ZERO);
        let target = &mut out[start..start + count];
        if stride == 1 {
            target.copy_from_slice(&line[at..at + count]);
        } else {
            target.iter_mut().zip(line[at..].iter().step_by(stride)).for_each(|(y, &x)| *y = x);
        }
    }

    /// Hands back gradients that lie in the phase planes of a whole image, as [`Window::load`] fills them.
    #[inline(always)]
    pub(super) fn unload<T: Scalar>(
        &self,
        planes: &[T],
        sink: &mut Sink<'_, T>,
        image: usize,
        line: &mut Vec<T>,
    ) {
        let (width, height) = (self.grid_width(), self.plane_rows(self.rows.output));
        let plane = self.rows.input * self.columns.input;
        for y in 0..self.rows.input {
            line.clear();
            line.resize(self.columns.input, T::ZERO);
            let (q, row_phase) =
                ((y + self.rows.before) / self.rows.stride, (y + self.rows.before) % self.rows.stride);
            for (i, &(of_row, of_column)) in self.phases.iter().enumerate() {
                if of_row == row_phase && q < height {
                    self.gather(&planes[(i * height + q) * width..][..width], of_column, line);
                }
            }
            sink.put(image * plane + y * self.columns.input, line);
        }
    }

    /// The opposite of [`Window::spread`].
    #[inline(always)]
    fn gather<T: Scalar>(&self, from: &[T], phase: usize, line: &mut [T]) {
        let Axis { stride, before, .. } = self.columns;
        let start = before.saturating_sub(phase).div_ceil(stride).min(from.len());
        let at = (start * stride + phase).saturating_sub(before);
        let Some(line) = line.get_mut(at..) else { return };
        line.iter_mut().step_by(stride).zip(&from[start..]).for_each(|(x, &y)| *x = y);
    }

    /// Copies one channel's output pixels of a strip to its grid, zero between the rows and behind them.
    #[inline(always)]
    pub(super) fn load_grid<T: Scalar>(&self, pixels: &[T], grid: &mut [T]) {
        let (w, width) = (self.columns.output, self.grid_width());
        if w == width {
            let (head, tail) = grid.split_at_mut(pixels.len());
            head.copy_from_slice(pixels);
            return tail.fill(T::ZERO);
        }
        let mut end = 0;
        for (row, pixels) in grid.chunks_exact_mut(width).zip(pixels.chunks_exact(w)) {
            row[..w].copy_from_slice(pixels);
            row[w..].fill(T::ZERO);
            end += width;
        }
        grid[end..].fill(T::ZERO);
    }

    /// Copies a strip's pixels from its grid.
    #[inline(always)]
    pub(super) fn unload_grid<T: Scalar>(&self, grid: &[T], pixels: &mut [T]) {
        let (w, width) = (self.columns.output, self.grid_width());
        for (pixels, row) in pixels.chunks_exact_mut(w).zip(grid.chunks_exact(width)) {
            pixels.copy_from_slice(&row[..w]);
        }
    }

    /// The numbers of a channel that a strip of output rows is.
    pub(super) fn output_range(&self, strip: &Strip) -> Range<usize> {
        let (w, plane) = (self.columns.output, self.rows.output * self.columns.output);
        strip.image * plane + strip.rows.start * w..strip.image * plane + strip.rows.end * w
    }

    /// How the gradient by the input is computed, phase by phase.
    pub(super) fn transposed(&self) -> Transposed {
        Transposed { rows: self.rows, columns: self.columns }
    }
}

/// Strips of at most `height` rows.
fn strips(images: usize, rows: Range<usize>, height: usize) -> Vec<Strip> {
    let count = rows.len().div_ceil(height.max(1));
    let bound = |i: usize| rows.start + rows.len() * i / count;
    (0..images)
        .flat_map(|image| (0..count).map(move |i| Strip { image, rows: bound(i)..bound(i + 1) }))
        .collect()
}

/// The gradient by the input: for each phase of input positions a convolution, in steps of 1, of the gradient by the
/// output with the taps that meet that phase. Strips are of rows `q`, each with all its phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transposed {
    rows: Axis,
    columns: Axis,
}

impl Transposed {
    /// Positions `q` along an axis that some input position has.
    fn positions(axis: Axis) -> Range<usize> {
        axis.before / axis.stride..(axis.before + axis.input - 1) / axis.stride + 1
    }

    /// Width of the grid of gradients by the output, with the margin before them that taps reach back to.
    pub(super) fn grid_width(&self) -> usize {
        Self::positions(self.columns).len() + self.columns.reach()
    }

    /// Grid positions of a strip of `rows` rows.
    pub(super) fn grid_len(&self, rows: usize) -> usize {
        (rows * self.grid_width()).next_multiple_of(BLOCK)
    }

    /// Numbers of one channel's gradients for a strip of `rows` rows.
    pub(super) fn plane_len(&self, rows: usize) -> usize {
        (rows + self.rows.reach()) * self.grid_width()
    }

    pub(super) fn strips(&self, images: usize, columns: usize) -> Vec<Strip> {
        strips(images, Self::positions(self.rows), columns.div_ceil(self.grid_width()))
    }

    /// All phases, those without taps too: (of the rows, of the columns).
    pub(super) fn phases(&self) -> Vec<(usize, usize)> {
        (0..self.rows.stride).flat_map(|y| (0..self.columns.stride).map(move |x| (y, x))).collect()
    }

    /// Taps of a phase, and how far behind a grid position in the plane of a strip each one's gradient is.
    pub(super) fn taps(&self, phase: (usize, usize)) -> Vec<(usize, usize)> {
        let mut taps = Vec::new();
        for y in 0..self.rows.kernel {
            for x in 0..self.columns.kernel {
                let ((row_phase, down), (column_phase, right)) = (self.rows.tap(y), self.columns.tap(x));
                if (row_phase, column_phase) == phase {
                    let offset =
                        (self.rows.reach() - down) * self.grid_width() + self.columns.reach() - right;
                    taps.push((y * self.columns.kernel + x, offset));
                }
            }
        }
        taps
    }

    /// Fills one channel's plane with the gradients that a strip needs, zero outside the output.
    #[inline(always)]
    pub(super) fn load<T: Scalar>(&self, gradient: &[T], strip: &Strip, plane: &mut [T]) {
        let (h, w, width) = (self.rows.output, self.columns.output, self.grid_width());
        let left = Self::positions(self.columns).start as isize - self.columns.reach() as isize;
        let start = (-left).clamp(0, width as isize) as usize;
        let from = left.max(0) as usize;
        let count = w.saturating_sub(from).min(width - start);
        for (i, row) in plane.chunks_exact_mut(width).enumerate() {
            let o = (strip.rows.start + i).checked_sub(self.rows.reach()).filter(|&o| o < h);
            let Some(o) = o else {
                row.fill(T::ZERO);
                continue;
            };
            row[..start].fill(T::ZERO);
            row[start + count..].fill(T::ZERO);
            row[start..start + count].copy_from_slice(&gradient[(strip.image * h + o) * w + from..][..count]);
        }
    }

    /// Hands one phase's gradients on; `sink` holds the strip's input rows only.
    #[inline(always)]
    pub(super) fn unload<T: Scalar>(
        &self,
        grid: &[T],
        strip: &Strip,
        phase: (usize, usize),
        sink: &mut Sink<'_, T>,
    ) {
        let first = self.input_rows(strip).start;
        let columns = Self::positions(self.columns);
        for (q, row) in strip.rows.clone().zip(grid.chunks_exact(self.grid_width())) {
            let Some(y) = self.rows.position(q, phase.0) else { continue };
            let line = (y - first) * self.columns.input;
            if self.columns.stride == 1 {
                sink.put(line, &row[..self.columns.input]);
                continue;
            }
            for (q, &value) in columns.clone().zip(row) {
                if let Some(x) = self.columns.position(q, phase.1) {
                    sink.put_one(line + x, value);
                }
            }
        }
    }

    /// Input rows of a strip.
    fn input_rows(&self, strip: &Strip) -> Range<usize> {
        let row = |q: usize| (q * self.rows.stride).saturating_sub(self.rows.before).min(self.rows.input);
        row(strip.rows.start)..row(strip.rows.end)
    }

    /// The numbers of a channel that a strip's input rows are.
    pub(super) fn input_range(&self, strip: &Strip) -> Range<usize> {
        let (w, rows) = (self.columns.input, self.input_rows(strip));
        let first = strip.image * self.rows.input;
        (first + rows.start) * w..(first + rows.end) * w
    }
}
