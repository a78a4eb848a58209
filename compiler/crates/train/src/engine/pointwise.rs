//! 1×1 convolution with steps of 1: one matrix product over the pixels of all images, cut into strips of pixels.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::Conv;

use super::gradients::{Sink, add_projections, split_sinks};
use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::scratch::Scratch;
use super::statistics::{Moments, Projections, join, moments_of};
use super::value::{Read, split};
use crate::buffer::Buffer;
use crate::matrix::{BLOCK, Correlation, Packed, Product, parts, written};
use crate::scalar::Scalar;

/// Numbers of a strip's wider side: inputs, outputs and gradients fit the second-level cache while they are used.
const STRIP: usize = 1 << 16;

/// A pointwise convolution with one group.
pub(super) struct Pointwise<T> {
    /// `[out][in]`
    weights: Parameter<T>,
    inputs: usize,
    /// Pixels of all images.
    pixels: usize,
}

/// Loads a strip of every row into `planes`, `[row][pitch]`, zero beyond the strip. Returns the pitch.
fn load<T: Scalar>(planes: &mut Buffer<T>, rows: &[impl Read<T>], strip: &Range<usize>) -> usize {
    let pitch = strip.len().next_multiple_of(BLOCK);
    planes.resize(rows.len() * pitch);
    T::vectorise(
        #[inline(always)]
        || {
            for (row, plane) in rows.iter().zip(planes.chunks_exact_mut(pitch)) {
                let (head, tail) = plane.split_at_mut(strip.len());
                row.read(strip.start, head);
                tail.fill(T::ZERO);
            }
        },
    );
    pitch
}

/// Places of `rows` rows.
fn offsets(rows: usize, pitch: usize) -> Vec<usize> {
    (0..rows).map(|row| row * pitch).collect()
}

/// What a task hands back: its share of the weights' gradient, and of the projections of each input channel.
struct Share<T> {
    weights: Vec<T>,
    projections: Vec<Projections>,
}

impl<T: Scalar> Pointwise<T> {
    /// `pixels`: of all images together.
    pub(super) fn new(conv: &Conv, weights: Vec<T>, inputs: usize, pixels: usize) -> Self {
        assert!(conv.is_pointwise() && conv.groups == 1, "every output pixel depends on one input pixel");
        Self { weights: Parameter::new(Kind::Weights, weights), inputs, pixels }
    }

    fn outputs(&self) -> usize {
        self.weights.value.len() / self.inputs
    }

    /// Strips of pixels, of whole blocks but for the last.
    fn strips(&self) -> Vec<Range<usize>> {
        let deepest = self.inputs.max(self.outputs());
        let length = (STRIP / deepest / BLOCK * BLOCK).max(BLOCK);
        (0..self.pixels).step_by(length).map(|at| at..self.pixels.min(at + length)).collect()
    }

    /// One strip's share of both gradients, by the weights into `share` and by the inputs into `sinks`, from inputs in
    /// `scratch.planes` and gradients in `scratch.grid`.
    fn backward_strip(
        &self,
        strip: &Range<usize>,
        (scratch, pitch): (&Scratch<T>, usize),
        transposed: &Packed<T>,
        sinks: &mut [Option<Sink<'_, T>>],
        share: &mut Share<T>,
    ) {
        T::correlate(Correlation {
            left: &scratch.grid,
            pitch,
            right: &scratch.planes,
            offsets: &offsets(self.inputs, pitch),
            columns: pitch,
            sums: &mut share.weights,
        });
        if sinks.iter().all(Option::is_none) {
            return;
        }
        let mut targets: Vec<_> = sinks.iter_mut().map(|sink| sink.as_mut().map(Sink::target)).collect();
        T::product(Product {
            left: transposed,
            right: &scratch.grid,
            offsets: &offsets(self.outputs(), pitch),
            columns: strip.len(),
            out: &mut targets,
        });
        add_projections(sinks, &mut share.projections);
    }
}

impl<T: Scalar> Operator<T> for Pointwise<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, wants_moments, scratches, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let weights = &self.weights.value;
        let left = Packed::new(self.outputs(), self.inputs, |o, i| weights[o * self.inputs + i]);
        let strips = self.strips();
        let moments: Vec<Vec<Moments>> = split(out.rows_mut(), &strips)
            .into_par_iter()
            .zip(&strips)
            .map_init(
                || scratches.lend(),
                |scratch, (mut out, strip)| {
                    let pitch = load(&mut scratch.planes, &rows, strip);
                    T::product(Product {
                        left: &left,
                        right: &scratch.planes,
                        offsets: &offsets(self.inputs, pitch),
                        columns: strip.len(),
                        out: &mut written(out.iter_mut().map(|row| &mut **row)),
                    });
                    if wants_moments { moments_of(&out) } else { Vec::new() }
                },
            )
            .collect();
        out.moments = join(&moments);
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, node, gradients, scratches, .. } = backward;
        let (rows, gradient_rows) = (maps.rows(&inputs[0]), gradient.rows());
        let strips = self.strips();
        let len = self.weights.value.len();
        let parts = parts(strips.len(), len);
        let weights = &self.weights.value;
        let transposed = Packed::new(self.inputs, self.outputs(), |i, o| weights[o * self.inputs + i]);
        let sinks = gradients.summing_sinks(&inputs[0], maps, node);
        let mut sinks = split_sinks(sinks, &strips).into_iter();
        let tasks: Vec<(&[Range<usize>], Vec<_>)> = (0..parts)
            .map(|part| {
                let strips = &strips[strips.len() * part / parts..strips.len() * (part + 1) / parts];
                (strips, sinks.by_ref().take(strips.len()).collect())
            })
            .collect();
        let this = &*self;
        let shares: Vec<Share<T>> = tasks
            .into_par_iter()
            .map_init(
                || scratches.lend(),
                |scratch, (strips, sinks)| {
                    let mut share = Share {
                        weights: vec![T::ZERO; len],
                        projections: vec![Projections::default(); this.inputs],
                    };
                    for (strip, mut sinks) in strips.iter().zip(sinks) {
                        let pitch = load(&mut scratch.planes, &rows, strip);
                        load(&mut scratch.grid, &gradient_rows, strip);
                        this.backward_strip(strip, (scratch, pitch), &transposed, &mut sinks, &mut share);
                    }
                    share
                },
            )
            .collect();
        let mut projections = vec![Projections::default(); self.inputs];
        for share in &shares {
            let weights = self.weights.gradient.iter_mut().zip(&share.weights);
            weights.for_each(|(total, &sum)| *total += sum);
            projections.iter_mut().zip(&share.projections).for_each(|(total, &sums)| total.add(sums));
        }
        gradients.record(&inputs[0], node, &projections);
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
