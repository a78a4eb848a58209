//! Convolutions over one or two axes of space, as matrix products of gathered columns.

use rayon::prelude::*;

use crate::op::{Conv, ConvTranspose, Window};
use crate::tensor::{Data, Spec, Tensor};

use super::elementwise::tensor;
use super::matmul::product;

/// Geometry in two axes of space; with one, the first has length 1.
struct Plane {
    input: [usize; 2],
    output: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    before: [usize; 2],
}

impl Plane {
    fn new(window: &Window, input: &[usize], output: &[usize]) -> Self {
        let pair = |list: &[usize], missing| match *list {
            [one] => [missing, one],
            [rows, columns] => [rows, columns],
            _ => unreachable!("inference found one or two axes of space"),
        };
        Self {
            input: pair(input, 1),
            output: pair(output, 1),
            kernel: pair(&window.kernel, 1),
            strides: pair(&window.strides, 1),
            dilations: pair(&window.dilations, 1),
            before: pair(&window.before, 0),
        }
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// For output position `out` along `axis` and a tap, the input position on the map.
    fn source(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let position = out * self.strides[axis] + tap * self.dilations[axis];
        position.checked_sub(self.before[axis]).filter(|&position| position < self.input[axis])
    }

    /// Calls `f` with tap, output pixel and input pixel, for every pair that meets.
    fn meetings(&self, f: impl FnMut(usize, usize, usize)) {
        self.meetings_of_rows(0..self.output[0], f);
    }

    /// [`Plane::meetings`] of some output rows.
    fn meetings_of_rows(&self, rows: std::ops::Range<usize>, mut f: impl FnMut(usize, usize, usize)) {
        for tap in 0..self.taps() {
            let (down, right) = (tap / self.kernel[1], tap % self.kernel[1]);
            for row in rows.clone() {
                let Some(from_row) = self.source(0, row, down) else { continue };
                for column in 0..self.output[1] {
                    if let Some(from) = self.source(1, column, right) {
                        f(tap, row * self.output[1] + column, from_row * self.input[1] + from);
                    }
                }
            }
        }
    }
}

pub(super) fn conv(conv: &Conv, inputs: &[&Tensor], spec: &Spec) -> Tensor {
    let (x, weights) = (inputs[0], inputs[1]);
    let plane = Plane::new(&conv.window, &x.shape()[2..], &spec.shape[2..]);
    let groups = conv.groups;
    let (images, channels) = (x.shape()[0], x.shape()[1]);
    let (inner, filters) = (channels / groups, spec.shape[1] / groups);
    let pixels_in = plane.input[0] * plane.input[1];
    let pixels = plane.output[0] * plane.output[1];
    let depth = inner * plane.taps();
    let data = match (x.data(), weights.data()) {
        (Data::F32(x), Data::F32(w)) => {
            let bias = inputs.get(2).and_then(|bias| bias.as_f32());
            let mut y = vec![0f32; spec.len()];
            // One task for every image and group; a convolution of one group is split by its pixels below.
            y.par_chunks_mut((filters * pixels).max(1)).enumerate().take(images * groups).for_each(
                |(task, y)| {
                    let group = task % groups;
                    let x = &x[task * inner * pixels_in..][..inner * pixels_in];
                    let w = &w[group * filters * depth..][..filters * depth];
                    if inner == 1 && filters == 1 {
                        plane.meetings(|tap, out, from| y[out] += w[tap] * x[from]);
                    } else {
                        by_rows(&plane, x, w, y, [filters, inner]);
                    }
                    if let Some(bias) = bias {
                        for (filter, y) in y.chunks_mut(pixels.max(1)).enumerate().take(filters) {
                            y.iter_mut().for_each(|y| *y += bias[group * filters + filter]);
                        }
                    }
                },
            );
            Data::F32(y)
        }
        (Data::Int(x), Data::Int(w)) => {
            let bias = inputs.get(2).and_then(|bias| bias.as_int());
            let mut y = vec![0i64; spec.len()];
            for (task, y) in y.chunks_mut((filters * pixels).max(1)).enumerate().take(images * groups) {
                let group = task % groups;
                for filter in 0..filters {
                    let y = &mut y[filter * pixels..][..pixels];
                    y.fill(bias.map_or(0, |bias| bias[group * filters + filter]));
                    for channel in 0..inner {
                        let x = &x[(task * inner + channel) * pixels_in..][..pixels_in];
                        let w = &w[((group * filters + filter) * inner + channel) * plane.taps()..]
                            [..plane.taps()];
                        plane.meetings(|tap, out, from| {
                            y[out] = y[out].wrapping_add(w[tap].wrapping_mul(x[from]))
                        });
                    }
                }
            }
            Data::Int(y)
        }
        _ => unreachable!("inference found floats or integers"),
    };
    tensor(spec.clone(), data)
}

/// One group as matrix products, some rows at a time: gathered columns take memory.
fn by_rows(plane: &Plane, x: &[f32], w: &[f32], y: &mut [f32], [filters, channels]: [usize; 2]) {
    /// Gathered elements at a time.
    const GATHERED: usize = 1 << 22;
    let [rows, width] = plane.output;
    let (depth, pixels_in) = (channels * plane.taps(), plane.input[0] * plane.input[1]);
    let at_once = (GATHERED / (depth * width).max(1)).clamp(1, rows.max(1));
    for start in (0..rows).step_by(at_once) {
        let end = (start + at_once).min(rows);
        let pixels = (end - start) * width;
        // The input pixel of every channel, tap and output pixel; 0 on the padding.
        let mut columns = vec![0f32; depth * pixels];
        columns.par_chunks_mut((plane.taps() * pixels).max(1)).enumerate().for_each(|(channel, columns)| {
            let x = &x[channel * pixels_in..][..pixels_in];
            plane.meetings_of_rows(start..end, |tap, out, from| {
                columns[tap * pixels + out - start * width] = x[from];
            });
        });
        let mut block = vec![0f32; filters * pixels];
        product(w, &columns, &mut block, [filters, depth, pixels]);
        for (y, block) in y.chunks_mut((rows * width).max(1)).zip(block.chunks(pixels.max(1))) {
            y[start * width..end * width].copy_from_slice(block);
        }
    }
}

pub(super) fn transpose(conv: &ConvTranspose, inputs: &[&Tensor], spec: &Spec) -> Tensor {
    let (x, weights) = (inputs[0], inputs[1]);
    // As a convolution from the output to the input, run backwards.
    let plane = Plane::new(&conv.window, &spec.shape[2..], &x.shape()[2..]);
    let groups = conv.groups;
    let (inner, filters) = (x.shape()[1] / groups, spec.shape[1] / groups);
    let pixels_in = plane.output[0] * plane.output[1];
    let pixels = plane.input[0] * plane.input[1];
    let bias = inputs.get(2).and_then(|bias| bias.as_f32());
    let (x, w) = (x.as_f32().unwrap_or_default(), weights.as_f32().unwrap_or_default());
    let mut y = vec![0f32; spec.len()];
    y.par_chunks_mut(pixels.max(1)).enumerate().for_each(|(map, y)| {
        let (image, map) = (map / spec.shape[1], map % spec.shape[1]);
        let (group, filter) = (map / filters, map % filters);
        y.fill(bias.map_or(0.0, |bias| bias[map]));
        for channel in group * inner..(group + 1) * inner {
            let x = &x[(image * inner * groups + channel) * pixels_in..][..pixels_in];
            let w = &w[(channel * filters + filter) * plane.taps()..][..plane.taps()];
            plane.meetings(|tap, from, out| y[out] += w[tap] * x[from]);
        }
    });
    tensor(spec.clone(), Data::F32(y))
}
