//! A window that moves over planes: which input pixel each of its taps meets, and strips of work.
//!
//! Input position `Y = y + padding` along an axis is met by tap `k` of output `o` where `Y = o · stride + k · dilation`.
//! With `Y = q · stride + r` all taps of one remainder r (a *phase*) are at constant distances in a plane that holds only
//! the positions of that phase, whatever the stride. Rows of a phase plane and of the output lie one behind the other on a
//! common *grid*, which is as wide as a row with its margin, so that a whole strip of rows is one run of numbers. Where a
//! row ends and begins with zeros, the margin before the next row is that behind this one, too; likewise between images.

use std::hint::black_box;
use std::ops::Range;

use secateur_ir::{Conv, Padding, Pool, Shape};

use super::gradients::Sink;
use super::transposed::Transposed;
use super::value::{Read, Row};
use crate::buffer::Buffer;
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

/// Consecutive positions of a phase that are on the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Their first.
    start: usize,
    /// The first one's place on the map.
    at: usize,
    count: usize,
}

impl Axis {
    /// Phase of a tap, and its distance there.
    pub(super) fn tap(&self, k: usize) -> (usize, usize) {
        (k * self.dilation % self.stride, k * self.dilation / self.stride)
    }

    /// Largest distance of a tap.
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation / self.stride
    }

    /// The input position at `q` of a phase, if it is on the map.
    #[inline(always)]
    pub(super) fn position(&self, q: usize, phase: usize) -> Option<usize> {
        (q * self.stride + phase).checked_sub(self.before).filter(|&at| at < self.input)
    }

    /// Of the first `length` positions of a phase those that are on the map.
    #[inline(always)]
    fn run(&self, phase: usize, length: usize) -> Run {
        let start = self.before.saturating_sub(phase).div_ceil(self.stride).min(length);
        let at = (start * self.stride + phase).saturating_sub(self.before).min(self.input);
        let count = (self.input - at).div_ceil(self.stride).min(length - start);
        Run { start, at, count }
    }

    /// Distance between rows on the grid: all positions that taps meet, without those that the next row begins with.
    fn pitch(&self) -> usize {
        let length = self.output + self.reach();
        let shared = (0..self.kernel).map(|k| {
            let Run { start, count, .. } = self.run(self.tap(k).0, length);
            start.min(length - start - count)
        });
        // Output positions stay apart.
        length - shared.min().unwrap_or(0).min(self.reach())
    }
}

/// A window over planes.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub rows: Axis,
    pub columns: Axis,
    /// Phases that some tap meets: (of the rows, of the columns).
    phases: Vec<(usize, usize)>,
    /// Width of the grid.
    width: usize,
}

/// Positions that are computed together: rows of one image, or all rows of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strip {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Window {
    /// The window of a convolution.
    pub(super) fn new(conv: &Conv, input: Shape, output: Shape) -> Self {
        Self::with([conv.kernel, conv.stride, conv.dilation], &conv.padding, input, output)
    }

    /// The window of a pool.
    pub(super) fn of_pool(pool: &Pool, input: Shape, output: Shape) -> Self {
        Self::with([pool.kernel, pool.stride, [1; 2]], &pool.padding, input, output)
    }

    fn with(sizes: [[usize; 2]; 3], padding: &Padding, input: Shape, output: Shape) -> Self {
        let [kernel, stride, dilation] = sizes;
        let axis = |i: usize, before: usize, input: usize, output: usize| Axis {
            kernel: kernel[i],
            stride: stride[i],
            dilation: dilation[i],
            before,
            input,
            output,
        };
        let rows = axis(0, padding.top, input.h, output.h);
        let columns = axis(1, padding.left, input.w, output.w);
        let mut phases: Vec<(usize, usize)> = (0..rows.kernel)
            .flat_map(|y| (0..columns.kernel).map(move |x| (rows.tap(y).0, columns.tap(x).0)))
            .collect();
        phases.sort_unstable();
        phases.dedup();
        Self { rows, columns, phases, width: columns.pitch() }
    }

    pub(super) fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }

    /// Rows of a phase plane, and of the grid, from one image of a strip to the next.
    fn image_rows(&self, strip: &Strip) -> usize {
        if strip.images.len() > 1 { self.rows.pitch() } else { strip.rows.len() + self.rows.reach() }
    }

    /// Grid positions of a strip.
    fn positions(&self, strip: &Strip) -> usize {
        ((strip.images.len() - 1) * self.image_rows(strip) + strip.rows.len()) * self.width
    }

    /// Numbers of the output's grid for a strip, made whole [`LANES`].
    pub(super) fn grid_len(&self, strip: &Strip) -> usize {
        self.positions(strip).next_multiple_of(LANES)
    }

    /// Numbers of one phase plane.
    fn plane_len(&self, strip: &Strip) -> usize {
        self.positions(strip) + self.rows.reach() * self.width
    }

    /// Numbers of all phase planes of one channel for a strip.
    pub(super) fn planes_len(&self, strip: &Strip) -> usize {
        self.phases.len() * self.plane_len(strip)
    }

    /// Numbers behind the last channel's planes that are read with them.
    pub(super) fn tail(&self) -> usize {
        BLOCK + LANES + self.columns.reach()
    }

    /// For every tap, the distance from a grid position to the input pixel in the planes of a strip.
    pub(super) fn offsets(&self, strip: &Strip) -> Vec<usize> {
        let plane = self.plane_len(strip);
        let mut offsets = Vec::with_capacity(self.taps());
        for y in 0..self.rows.kernel {
            for x in 0..self.columns.kernel {
                let ((row_phase, down), (column_phase, right)) = (self.rows.tap(y), self.columns.tap(x));
                let phase =
                    self.phases.iter().position(|&p| p == (row_phase, column_phase)).expect("a tap's phase");
                offsets.push(phase * plane + down * self.width + right);
            }
        }
        offsets
    }

    /// Whether pixels of the output lie one behind the other on the grid of one image's rows.
    pub(super) fn is_dense(&self, strip: &Strip) -> bool {
        self.width == self.columns.output && self.positions(strip) == self.output_range(strip).len()
    }

    /// Strips of all images in order; each has about `positions` grid positions.
    pub(super) fn strips(&self, images: usize, positions: usize) -> Vec<Strip> {
        strips(images, 0..self.rows.output, [self.rows.pitch(), self.width], positions)
    }

    /// Strips of whole images.
    pub(super) fn whole_strips(&self, images: usize, positions: usize) -> Vec<Strip> {
        self.strips(images, positions.max(self.rows.pitch() * self.width))
    }

    /// Fills the phase planes of one channel for a strip: the pixels as they are read, and `outside` around the map and in
    /// the tail. `line` is room for the pixels.
    #[inline(always)]
    pub(super) fn load<T: Scalar>(
        &self,
        row: Row<'_, T>,
        strip: &Strip,
        planes: &mut [T],
        line: &mut Buffer<T>,
        outside: T,
    ) {
        // Unknown to the compiler, so that it calls no library function for one number of a margin.
        let outside = black_box(outside);
        let (width, plane_len, image_rows) = (self.width, self.plane_len(strip), self.image_rows(strip));
        let (plane, w, height) = (self.input_plane(), self.columns.input, plane_len / width);
        // All lines of the strip follow each other: they are read at once.
        let Axis { kernel, stride, dilation, before, input, .. } = self.rows;
        let end = (strip.rows.end - 1) * stride + (kernel - 1) * dilation + 1;
        let first_line = (strip.rows.start * stride).saturating_sub(before).min(input);
        let last_line = end.saturating_sub(before).min(input);
        let begin = strip.images.start * plane + first_line * w;
        let len = (strip.images.len() - 1) * plane + last_line.saturating_sub(first_line) * w;
        line.resize(len + w + LANES);
        row.read(begin, &mut line[..len]);
        for (place, &(row_phase, column_phase)) in self.phases.iter().enumerate() {
            let Run { start, at, count } = self.columns.run(column_phase, width);
            for q in 0..height {
                // Rows behind the last image's pitch are its own still.
                let image = (q / image_rows).min(strip.images.len() - 1);
                let out = &mut planes[place * plane_len + q * width..];
                let Some(y) = self.rows.position(strip.rows.start + q - image * image_rows, row_phase) else {
                    out[..width].fill(outside);
                    continue;
                };
                out[..start].fill(outside);
                let pixels = &line[image * plane + (y - first_line) * w + at..];
                if self.columns.stride == 1 {
                    copy_over(pixels, &mut out[start..], count);
                } else if self.columns.stride == 2 {
                    let pairs = pixels[..2 * count].as_chunks::<2>().0;
                    out[start..].iter_mut().zip(pairs).for_each(|(y, pair)| *y = pair[0]);
                } else {
                    let pixels = pixels.iter().step_by(self.columns.stride).take(count);
                    out[start..].iter_mut().zip(pixels).for_each(|(y, &x)| *y = x);
                }
                out[start + count..width].fill(outside);
            }
        }
        planes[self.phases.len() * plane_len..].fill(outside);
    }

    /// Hands back gradients that lie in the phase planes of a strip of whole images, as [`Window::load`] fills them.
    #[inline(always)]
    pub(super) fn unload<T: Scalar>(
        &self,
        planes: &[T],
        sink: &mut Sink<'_, T>,
        strip: &Strip,
        line: &mut Buffer<T>,
    ) {
        let (width, plane_len, image_rows) = (self.width, self.plane_len(strip), self.image_rows(strip));
        line.resize(self.columns.input);
        for image in 0..strip.images.len() {
            for y in 0..self.rows.input {
                line.fill(T::ZERO);
                let position = y + self.rows.before;
                let (q, row_phase) = (position / self.rows.stride, position % self.rows.stride);
                for (i, &(of_row, of_column)) in self.phases.iter().enumerate() {
                    if of_row == row_phase && q < self.rows.output + self.rows.reach() {
                        let row = &planes[i * plane_len + (image * image_rows + q) * width..][..width];
                        self.gather(row, of_column, line);
                    }
                }
                let image = strip.images.start + image;
                sink.put(image * self.input_plane() + y * self.columns.input, line);
            }
        }
    }

    /// Copies what one phase's row holds to its line.
    #[inline(always)]
    fn gather<T: Scalar>(&self, from: &[T], phase: usize, line: &mut [T]) {
        let Run { start, at, count } = self.columns.run(phase, from.len());
        let from = &from[start..start + count];
        if self.columns.stride == 1 {
            line[at..at + count].copy_from_slice(from);
        } else {
            line[at..].iter_mut().step_by(self.columns.stride).zip(from).for_each(|(x, &y)| *x = y);
        }
    }

    /// For each row of output pixels of a strip: its place among the strip's pixels, and on the grid.
    pub(super) fn grid_rows(&self, strip: &Strip) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (height, image_rows, width) = (strip.rows.len(), self.image_rows(strip), self.width);
        let place = move |image: usize, row: usize| (image * image_rows + row) * width;
        let columns = self.columns.output;
        (0..strip.images.len())
            .flat_map(move |image| (0..height).map(move |row| (image * height + row, place(image, row))))
            .map(move |(row, place)| (row * columns, place))
    }

    /// Whether rows are long enough to be computed one by one, where they belong, rather than on the grid: few lanes of
    /// their last vector are lost.
    pub(super) fn has_long_rows(&self) -> bool {
        self.columns.output >= 4 * LANES || self.columns.output.is_multiple_of(LANES)
    }

    /// Copies a strip's output pixels to its grid; `outside` is between the rows and behind them.
    #[inline(always)]
    pub(super) fn load_grid<U: Copy>(&self, strip: &Strip, grid: &mut [U], outside: U, pixels: &[U]) {
        let (outside, mut end) = (black_box(outside), 0);
        for (at, place) in self.grid_rows(strip) {
            grid[end..place].fill(outside);
            copy_over(&pixels[at..], &mut grid[place..], self.columns.output);
            end = place + self.columns.output;
        }
        grid[end..].fill(outside);
    }

    /// Copies a strip's pixels from its grid.
    #[inline(always)]
    pub(super) fn unload_grid<U: Copy>(&self, strip: &Strip, grid: &[U], pixels: &mut [U]) {
        for (at, place) in self.grid_rows(strip) {
            copy_over(&grid[place..], &mut pixels[at..], self.columns.output);
        }
    }

    /// Input pixels of one image.
    pub(super) fn input_plane(&self) -> usize {
        self.rows.input * self.columns.input
    }

    /// The numbers of a channel that a strip's output pixels are.
    pub(super) fn output_range(&self, strip: &Strip) -> Range<usize> {
        let (w, height) = (self.columns.output, self.rows.output);
        let last = strip.images.end - 1;
        (strip.images.start * height + strip.rows.start) * w..(last * height + strip.rows.end) * w
    }

    /// The numbers of a channel that the input pixels of a strip of whole images are.
    pub(super) fn input_range(&self, strip: &Strip) -> Range<usize> {
        strip.images.start * self.input_plane()..strip.images.end * self.input_plane()
    }

    /// How the gradient by the input is computed, phase by phase.
    pub(super) fn transposed(&self) -> Transposed {
        Transposed::new(self.rows, self.columns)
    }
}

/// Copies `count` numbers, and possibly a few more: rows are copied in order, so that the next row replaces them. Short
/// rows are copied without a library function so.
#[inline(always)]
pub(super) fn copy_over<U: Copy>(from: &[U], to: &mut [U], count: usize) {
    let blocks = count.div_ceil(LANES);
    let room = from.len().min(to.len()) / LANES;
    if blocks > room {
        to[..count].copy_from_slice(&from[..count]);
        return;
    }
    let (from, to) = (from.as_chunks::<LANES>().0, to.as_chunks_mut::<LANES>().0);
    to[..blocks].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Strips of about `positions` positions: of some of `rows`, or of several images of `[height, width]` positions.
pub(super) fn strips(
    images: usize,
    rows: Range<usize>,
    [height, width]: [usize; 2],
    positions: usize,
) -> Vec<Strip> {
    let share = |range: &Range<usize>, of: usize, i: usize| {
        range.start + range.len() * i / of..range.start + range.len() * (i + 1) / of
    };
    let together = positions / (height * width);
    if together > 1 {
        let count = images.div_ceil(together);
        return (0..count)
            .map(|i| Strip { images: share(&(0..images), count, i), rows: rows.clone() })
            .collect();
    }
    let count = if together == 1 { 1 } else { rows.len().div_ceil((positions / width).max(1)) };
    (0..images)
        .flat_map(|image| (0..count).map(move |i| (image, i)))
        .map(|(image, i)| Strip { images: image..image + 1, rows: share(&rows, count, i) })
        .collect()
}
