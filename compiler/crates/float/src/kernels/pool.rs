//! Max-pooling in two passes: along rows, then down columns.

use pulp::Simd;

use super::phases::Window;
use super::{Job, Phases, load, store};
use secateur_ir::{Pool, Shape};

/// Rows of maxima are a multiple of this many floats wide: whole vectors on every machine.
const ROW_ALIGN: usize = 16;

/// Max-pooling; padding does not take part.
#[derive(Debug, Clone)]
pub(crate) struct MaxPool {
    phases: Phases,
    /// Offset of every column of the window in a row of a channel's phase planes.
    columns: Vec<usize>,
    /// Offset of every row of the window in the maxima.
    rows: Vec<usize>,
    /// Rows of maxima: those of all vertical phases.
    heights: usize,
    stride_x: usize,
    input: Shape,
    output: Shape,
}

impl MaxPool {
    /// Returns whether the kernel's memory is in proportion to the feature maps.
    pub(crate) fn affordable(pool: &Pool, input: Shape, output: Shape) -> bool {
        Phases::affordable(Self::window(pool), input, output, 1)
    }

    fn window(pool: &Pool) -> Window {
        let Pool { kernel, stride, padding, .. } = *pool;
        Window { kernel, dilation: [1; 2], stride, before: [padding.top, padding.left] }
    }

    pub(crate) fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        let window = Self::window(pool);
        let Window { kernel, stride: [stride_y, stride_x], .. } = window;
        let phases = Phases::new(window, input, output, f32::MIN);
        let wide = output.w.next_multiple_of(ROW_ALIGN);
        let columns = phases.taps[..kernel[1]].to_vec();
        let rows = (0..kernel[0]).map(|y| (y % stride_y * phases.height + y / stride_y) * wide).collect();
        let heights = stride_y * phases.height;
        Self { phases, columns, rows, heights, stride_x, input, output }
    }

    /// Units of work: channels.
    pub(crate) fn units(&self) -> usize {
        self.output.c
    }

    #[inline(always)]
    pub(crate) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let Shape { h, w, .. } = self.output;
        let (width, height) = (self.phases.width, self.phases.height);
        let wide = w.next_multiple_of(ROW_ALIGN);
        let memory = job.workspace.take(self.phases.len(1) + self.heights * wide);
        let (padded, maxima) = memory.split_at_mut(self.phases.len(1));
        self.phases.clear(padded);
        for c in job.units.clone() {
            self.phases.split::<S, false>(simd, &job.inputs[0][c * self.input.plane()..], padded);
            // SAFETY: channel `c` belongs to this part only.
            let out = unsafe { job.target.segment(c * self.output.plane(), self.output.plane()) };
            for y in 0..self.heights {
                // Phases are stored one after another, each with all its columns' phases.
                let row = &padded[(y / height * self.stride_x * height + y % height) * width..];
                for x in (0..w).step_by(S::F32_LANES) {
                    let mut largest = load::<S>(row, self.columns[0] + x);
                    for &column in &self.columns[1..] {
                        largest = simd.max_f32s(largest, load::<S>(row, column + x));
                    }
                    store::<S>(maxima, y * wide + x, largest);
                }
            }
            for y in 0..h {
                let rows = &maxima[y * wide..];
                for x in (0..w).step_by(S::F32_LANES) {
                    let mut largest = load::<S>(rows, self.rows[0] + x);
                    for &row in &self.rows[1..] {
                        largest = simd.max_f32s(largest, load::<S>(rows, row + x));
                    }
                    simd.partial_store_f32s(&mut out[y * w + x..(y + 1) * w], largest);
                }
            }
        }
    }
}
