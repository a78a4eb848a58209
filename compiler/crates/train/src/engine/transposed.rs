//! The gradient by a window's input: for each phase of input positions a convolution, in steps of 1, of the gradient by
//! the output with the taps that meet that phase.

use std::hint::black_box;
use std::ops::Range;

use super::gradients::Sink;
use super::value::Read;
use super::window::{Axis, Strip, copy_over, strips};
use crate::buffer::Buffer;
use crate::matrix::{BLOCK, LANES};
use crate::scalar::Scalar;

/// The opposite direction of a window. Strips are of rows `q`, each with all its phases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transposed {
    rows: Axis,
    columns: Axis,
    /// Width of the grid of gradients by the output, with the margin before them that taps reach back to.
    width: usize,
}

/// Positions `q` along an axis that some input position has.
fn positions(axis: &Axis) -> Range<usize> {
    axis.before / axis.stride..(axis.before + axis.input - 1) / axis.stride + 1
}

/// Gradients along an axis as they lie on the grid: zeros before the first one, the first one's output position, and how
/// many there are.
fn run(axis: &Axis) -> (usize, usize, usize) {
    let length = positions(axis).len() + axis.reach();
    let left = positions(axis).start as isize - axis.reach() as isize;
    let start = (-left).clamp(0, length as isize) as usize;
    let from = left.max(0) as usize;
    (start, from, axis.output.saturating_sub(from).min(length - start))
}

/// Distance between rows on the grid: all gradients that taps meet, without the zeros that the next row begins with.
fn pitch(axis: &Axis) -> usize {
    let length = positions(axis).len() + axis.reach();
    let (start, _, count) = run(axis);
    length - start.min(length - start - count)
}

impl Transposed {
    pub(super) fn new(rows: Axis, columns: Axis) -> Self {
        Self { rows, columns, width: pitch(&columns) }
    }

    /// Rows of the grid from one image of a strip to the next.
    fn image_rows(&self, strip: &Strip) -> usize {
        if strip.images.len() > 1 { pitch(&self.rows) } else { strip.rows.len() + self.rows.reach() }
    }

    /// Positions of a strip on the grid.
    fn positions(&self, strip: &Strip) -> usize {
        ((strip.images.len() - 1) * self.image_rows(strip) + strip.rows.len()) * self.width
    }

    /// The same, made whole [`LANES`].
    pub(super) fn grid_len(&self, strip: &Strip) -> usize {
        self.positions(strip).next_multiple_of(LANES)
    }

    /// Numbers of one channel's gradients for a strip.
    pub(super) fn plane_len(&self, strip: &Strip) -> usize {
        self.positions(strip) + self.rows.reach() * self.width
    }

    /// Numbers behind the last channel's plane that are read with it.
    pub(super) fn tail(&self) -> usize {
        BLOCK + LANES + self.columns.reach()
    }

    /// Strips of all images in order; each has about `positions` grid positions.
    pub(super) fn strips(&self, images: usize, positions: usize) -> Vec<Strip> {
        strips(images, self::positions(&self.rows), [pitch(&self.rows), self.width], positions)
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
                    let offset = (self.rows.reach() - down) * self.width + self.columns.reach() - right;
                    taps.push((y * self.columns.kernel + x, offset));
                }
            }
        }
        taps
    }

    /// Fills one channel's plane with the gradients that a strip needs, zero outside the output and in the tail. `line` is
    /// room for the gradients.
    #[inline(always)]
    pub(super) fn load<T: Scalar>(
        &self,
        gradient: &impl Read<T>,
        strip: &Strip,
        plane: &mut [T],
        line: &mut Buffer<T>,
    ) {
        let (h, w, image_rows) = (self.rows.output, self.columns.output, self.image_rows(strip));
        let (start, from, count) = run(&self.columns);
        // Unknown to the compiler, so that it calls no library function for one number of a margin.
        let zero = black_box(T::ZERO);
        // All rows of the strip follow each other: they are read at once.
        let first = strip.rows.start.saturating_sub(self.rows.reach()).min(h);
        let begin = (strip.images.start * h + first) * w;
        let end = ((strip.images.end - 1) * h + strip.rows.end.min(h)) * w;
        let len = end.saturating_sub(begin);
        line.resize(len + LANES);
        gradient.read(begin, &mut line[..len]);
        for i in 0..self.plane_len(strip) / self.width {
            // Rows behind the last image's pitch are its own still.
            let image = (i / image_rows).min(strip.images.len() - 1);
            let row = &mut plane[i * self.width..];
            let o = (strip.rows.start + i - image * image_rows).checked_sub(self.rows.reach());
            let Some(o) = o.filter(|&o| o < h) else {
                row[..self.width].fill(zero);
                continue;
            };
            row[..start].fill(zero);
            copy_over(&line[(image * h + o - first) * w + from..], &mut row[start..], count);
            row[start + count..self.width].fill(zero);
        }
        plane[self.plane_len(strip)..].fill(zero);
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
        let (first, image_rows) = (self.input_rows(strip).start, self.image_rows(strip));
        let columns = positions(&self.columns);
        for image in 0..strip.images.len() {
            for (i, q) in strip.rows.clone().enumerate() {
                let Some(y) = self.rows.position(q, phase.0) else { continue };
                let row = &grid[(image * image_rows + i) * self.width..];
                let line = (image * self.rows.input + y - first) * self.columns.input;
                if self.columns.stride == 1 {
                    sink.put_over(line, row, self.columns.input);
                    continue;
                }
                // The first position of the phase that is on the map.
                let first = columns.clone().find_map(|q| Some((q, self.columns.position(q, phase.1)?)));
                let Some((q, x)) = first else { continue };
                sink.put_spread(
                    line + x..line + self.columns.input,
                    self.columns.stride,
                    &row[q - columns.start..],
                );
            }
        }
    }

    /// With steps of 1: the place of each input row of a strip in its input range, and on the grid.
    pub(super) fn input_places(&self, strip: &Strip) -> Option<Vec<(usize, usize)>> {
        if [self.rows.stride, self.columns.stride] != [1; 2] {
            return None;
        }
        let (height, image_rows) = (strip.rows.len(), self.image_rows(strip));
        let place = |image: usize, row: usize| {
            ((image * height + row) * self.columns.input, (image * image_rows + row) * self.width)
        };
        let images = 0..strip.images.len();
        Some(images.flat_map(|image| (0..height).map(move |row| place(image, row))).collect())
    }

    /// Input rows of a strip.
    fn input_rows(&self, strip: &Strip) -> Range<usize> {
        let row = |q: usize| (q * self.rows.stride).saturating_sub(self.rows.before).min(self.rows.input);
        row(strip.rows.start)..row(strip.rows.end)
    }

    /// The numbers of a channel that a strip's input rows are.
    pub(super) fn input_range(&self, strip: &Strip) -> Range<usize> {
        let (w, rows) = (self.columns.input, self.input_rows(strip));
        let last = strip.images.end - 1;
        (strip.images.start * self.rows.input + rows.start) * w..(last * self.rows.input + rows.end) * w
    }
}
