//! Max-pooling in two passes: along rows, then down columns.

use pulp::Simd;

use super::phases::Window;
use super::{Job, Phases, copy_row, load, store};
use crate::graph::{Pool, Shape};

/// Max-pooling with Darknet's padding; what lies outside the map does not take part.
#[derive(Debug, Clone)]
pub(in crate::float) struct MaxPool {
    phases: Phases,
    size: usize,
    stride_x: usize,
    stride_y: usize,
    input: Shape,
    output: Shape,
}

impl MaxPool {
    pub(in crate::float) fn new(pool: &Pool, input: Shape, output: Shape) -> Self {
        let Pool { size, stride_x, stride_y, .. } = *pool;
        let window = Window { size, dilation: 1, stride_x, stride_y, pad: pool.pad / 2 };
        Self { phases: Phases::new(window, input, output, f32::MIN), size, stride_x, stride_y, input, output }
    }

    /// Units of work: channels.
    pub(in crate::float) fn units(&self) -> usize {
        self.output.c
    }

    #[inline(always)]
    pub(in crate::float) fn run<S: Simd>(&self, simd: S, job: &mut Job<'_>) {
        let lanes = S::F32_LANES;
        let Shape { h, w, .. } = self.output;
        let (width, height) = (self.phases.width, self.phases.height);
        // Rows of maxima are whole vectors wide.
        let wide = w.next_multiple_of(lanes);
        let memory = job.workspace.take(self.phases.len(1) + self.stride_y * height * wide + wide);
        let (padded, maxima) = memory.split_at_mut(self.phases.len(1));
        for c in job.units.clone() {
            self.phases.split::<S>(&job.inputs[0][c * self.input.plane()..], padded);
            // SAFETY: channel `c` belongs to this part only.
            let out = unsafe { job.target.segment(c * self.output.plane(), self.output.plane()) };
            for y in 0..self.stride_y * height {
                let (phase, row) = (y / height, y % height);
                for x in (0..w).step_by(lanes) {
                    let mut largest = simd.splat_f32s(f32::MIN);
                    for kx in 0..self.size {
                        let plane = phase * self.stride_x + kx % self.stride_x;
                        let at = (plane * height + row) * width + kx / self.stride_x + x;
                        largest = simd.max_f32s(largest, load::<S>(padded, at));
                    }
                    store::<S>(maxima, y * wide + x, largest);
                }
            }
            for y in 0..h {
                let line = &mut [0.0; 16][..lanes];
                for x in (0..w).step_by(lanes) {
                    let mut largest = simd.splat_f32s(f32::MIN);
                    for ky in 0..self.size {
                        let row = ky % self.stride_y * height + y + ky / self.stride_y;
                        largest = simd.max_f32s(largest, load::<S>(maxima, row * wide + x));
                    }
                    store::<S>(line, 0, largest);
                    copy_row::<S>(line, &mut out[y * w + x..], lanes.min(w - x));
                }
            }
        }
    }
}
