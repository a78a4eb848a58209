//! Kernels that touch every element once: sums, copies, upsampling, the yolo head.

use super::{Job, math};
use secateur_ir::{Activation, Shape, Upsample, Yolo};

/// Adds inputs by flat index, as far as each reaches. Units: blocks of [`BLOCK`] elements.
#[inline(always)]
pub(crate) fn add(job: &mut Job<'_>, len: usize, activation: Activation) {
    let (start, end) = (job.units.start * BLOCK, (job.units.end * BLOCK).min(len));
    // SAFETY: these blocks belong to this part only.
    let out = unsafe { job.target.segment(start, end - start) };
    out.copy_from_slice(&job.inputs[0][start..end]);
    for input in &job.inputs[1..] {
        let reach = input.get(start..).unwrap_or_default();
        out.iter_mut().zip(reach).for_each(|(out, x)| *out += x);
    }
    math::activate(activation, out);
}

/// Elements of a unit of [`add`] and [`copy`].
pub(crate) const BLOCK: usize = 4096;

/// Concatenates slices, each `(start, len)` of its input. Units: inputs.
#[inline(always)]
pub(crate) fn copy(job: &mut Job<'_>, slices: &[(usize, usize)]) {
    for unit in job.units.clone() {
        let at = slices[..unit].iter().map(|&(_, len)| len).sum();
        let (start, len) = slices[unit];
        // SAFETY: this slice of the output belongs to this part only.
        let out = unsafe { job.target.segment(at, len) };
        out.copy_from_slice(&job.inputs[unit][start..start + len]);
    }
}

/// Nearest-neighbour upsampling. Units: channels.
#[inline(always)]
pub(crate) fn upsample(job: &mut Job<'_>, up: &Upsample, input: Shape) {
    let (s, wide) = (up.stride, input.w * up.stride);
    for c in job.units.clone() {
        let plane = &job.inputs[0][c * input.plane()..][..input.plane()];
        // SAFETY: channel `c` belongs to this part only.
        let out = unsafe { job.target.segment(c * input.plane() * s * s, input.plane() * s * s) };
        for (row, out) in plane.chunks_exact(input.w).zip(out.chunks_exact_mut(wide * s)) {
            let (first, rest) = out.split_at_mut(wide);
            if s == 2 {
                let pairs = first.as_chunks_mut::<2>().0;
                pairs.iter_mut().zip(row).for_each(|(pair, &v)| *pair = [v * up.scale; 2]);
            } else {
                first.chunks_exact_mut(s).zip(row).for_each(|(run, &v)| run.fill(v * up.scale));
            }
            rest.chunks_exact_mut(wide).for_each(|line| line.copy_from_slice(first));
        }
    }
}

/// Mean of every channel. Units: channels.
#[inline(always)]
pub(crate) fn average(job: &mut Job<'_>, plane: usize) {
    for c in job.units.clone() {
        let (blocks, rest) = job.inputs[0][c * plane..][..plane].as_chunks::<16>();
        let mut sums = [0.0f32; 16];
        for block in blocks {
            sums.iter_mut().zip(block).for_each(|(sum, v)| *sum += v);
        }
        let sum: f32 = sums.iter().chain(rest).sum();
        // SAFETY: channel `c` belongs to this part only.
        let out = unsafe { job.target.segment(c, 1) };
        out[0] = sum / plane as f32;
    }
}

/// Scales the feature map `inputs[1]` by `inputs[0]`: one factor per channel, per pixel or per element.
/// Units: channels.
#[inline(always)]
pub(crate) fn scale(job: &mut Job<'_>, by: Factors, plane: usize, activation: Activation) {
    for c in job.units.clone() {
        let map = &job.inputs[1][c * plane..][..plane];
        // SAFETY: channel `c` belongs to this part only.
        let out = unsafe { job.target.segment(c * plane, plane) };
        let factors = match by {
            Factors::Channel => {
                let factor = job.inputs[0][c];
                out.iter_mut().zip(map).for_each(|(out, v)| *out = v * factor);
                math::activate(activation, out);
                continue;
            }
            Factors::Pixel => &job.inputs[0][..plane],
            Factors::Element => &job.inputs[0][c * plane..][..plane],
        };
        out.iter_mut().zip(map).zip(factors).for_each(|((out, v), factor)| *out = v * factor);
        math::activate(activation, out);
    }
}

/// Extent of one factor of [`scale`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Factors {
    Channel,
    Pixel,
    Element,
}

/// Connected layer: `weights` `[out][in]`, folded. Units: outputs.
#[inline(always)]
pub(crate) fn connected(job: &mut Job<'_>, weights: &[f32], bias: &[f32], activation: Activation) {
    let x = job.inputs[0];
    let (blocks, rest) = x.as_chunks::<16>();
    // SAFETY: these outputs belong to this part only.
    let out = unsafe { job.target.segment(job.units.start, job.units.len()) };
    for (out, o) in out.iter_mut().zip(job.units.clone()) {
        let (rows, row_rest) = weights[o * x.len()..][..x.len()].as_chunks::<16>();
        let mut sums = [0.0f32; 16];
        for (row, block) in rows.iter().zip(blocks) {
            for i in 0..16 {
                sums[i] += row[i] * block[i];
            }
        }
        let tail: f32 = row_rest.iter().zip(rest).map(|(w, v)| w * v).sum();
        *out = bias[o] + tail + sums.iter().sum::<f32>();
    }
    math::activate(activation, out);
}

/// The yolo head's logistics and `scale_x_y`. Units: channels.
#[inline(always)]
pub(crate) fn decode_yolo(job: &mut Job<'_>, yolo: &Yolo, plane: usize) {
    for c in job.units.clone() {
        let entry = c % (5 + yolo.classes);
        // SAFETY: channel `c` belongs to this part only.
        let out = unsafe { job.target.segment(c * plane, plane) };
        out.copy_from_slice(&job.inputs[0][c * plane..][..plane]);
        if !yolo.new_coords && !matches!(entry, 2 | 3) {
            math::activate(Activation::Logistic, out);
        }
        if entry < 2 {
            let shift = -0.5 * (yolo.scale_x_y - 1.0);
            out.iter_mut().for_each(|v| *v = *v * yolo.scale_x_y + shift);
        }
    }
}
