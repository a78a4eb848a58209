//! 1×1 convolution in steps of 1: a matrix product over the pixels of all images, which need no neighbours.

use std::ops::Range;

use rayon::prelude::*;
use secateur_ir::Conv;

use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::value::{Row, Sink, split, split_sinks};
use crate::matrix::{BLOCK, Correlation, Packed, Product, parts, written};
use crate::scalar::Scalar;

/// Numbers of a strip's inputs or outputs: they stay in the second-level cache while they are used.
const STRIP: usize = 1 << 16;

/// A pointwise convolution with one group.
pub(super) struct Pointwise<T> {
    /// `[out][in]`
    weights: Parameter<T>,
    inputs: usize,
    /// Pixels of all images.
    pixels: usize,
}

/// Loaded inputs of a strip.
#[derive(Default)]
struct Planes<T> {
    /// `[in][pitch]`, zero beyond the strip.
    numbers: Vec<T>,
    pitch: usize,
}

impl<T: Scalar> Planes<T> {
    fn load(&mut self, rows: &[Row<'_, T>], strip: &Range<usize>) {
        self.pitch = strip.len().next_multiple_of(BLOCK);
        self.numbers.resize(rows.len() * self.pitch, T::ZERO);
        T::vectorise(
            #[inline(always)]
            || {
                for (row, plane) in rows.iter().zip(self.numbers.chunks_exact_mut(self.pitch)) {
                    let (head, tail) = plane.split_at_mut(strip.len());
                    row.read(strip.start, head);
                    tail.fill(T::ZERO);
                }
            },
        );
    }

    fn offsets(&self) -> Vec<usize> {
        (0..self.numbers.len()).step_by(self.pitch).collect()
    }
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

    /// One strip's share of both gradients: by the weights into `sums`, by the inputs into `sinks`.
    fn backward_strip(
        &self,
        planes: &Planes<T>,
        gradient: &[T],
        strip: &Range<usize>,
        transposed: &Packed<T>,
        sinks: &mut [Option<Sink<'_, T>>],
        sums: &mut [T],
    ) {
        // Beyond the strip the gradient is another strip's or channel's, but there the inputs are zero.
        T::correlate(Correlation {
            left: &gradient[strip.start..],
            pitch: self.pixels,
            right: &planes.numbers,
            offsets: &planes.offsets(),
            columns: planes.pitch,
            sums,
        });
        if sinks.iter().any(Option::is_some) {
            let offsets: Vec<usize> = (0..self.outputs()).map(|o| o * self.pixels + strip.start).collect();
            let columns = strip.len();
            T::product(Product { left: transposed, right: gradient, offsets: &offsets, columns, out: sinks });
        }
    }
}

impl<T: Scalar> Operator<T> for Pointwise<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, .. } = forward;
        let rows = maps.rows(&inputs[0]);
        let weights = &self.weights.value;
        let left = Packed::new(self.outputs(), self.inputs, |o, i| weights[o * self.inputs + i]);
        let strips = self.strips();
        split(out.rows_mut(), &strips).into_par_iter().zip(&strips).for_each_init(
            Planes::default,
            |planes, (out, strip)| {
                planes.load(&rows, strip);
                T::product(Product {
                    left: &left,
                    right: &planes.numbers,
                    offsets: &planes.offsets(),
                    columns: strip.len(),
                    out: &mut written(out),
                });
            },
        );
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, padded, gradients, .. } = backward;
        let rows = maps.rows(&inputs[0]);
        let strips = self.strips();
        let len = self.weights.value.len();
        let parts = parts(strips.len(), len);
        let weights = &self.weights.value;
        let transposed = Packed::new(self.inputs, self.outputs(), |i, o| weights[o * self.inputs + i]);
        let mut sinks = split_sinks(gradients.sinks(&inputs[0]), &strips).into_iter();
        let tasks: Vec<(&[Range<usize>], Vec<_>)> = (0..parts)
            .map(|part| {
                let strips = &strips[strips.len() * part / parts..strips.len() * (part + 1) / parts];
                (strips, sinks.by_ref().take(strips.len()).collect())
            })
            .collect();
        let this = &*self;
        let partial: Vec<Vec<T>> = tasks
            .into_par_iter()
            .map_init(Planes::default, |planes, (strips, sinks)| {
                let mut sums = vec![T::ZERO; len];
                for (strip, mut sinks) in strips.iter().zip(sinks) {
                    planes.load(&rows, strip);
                    this.backward_strip(planes, padded, strip, &transposed, &mut sinks, &mut sums);
                }
                sums
            })
            .collect();
        for sums in &partial {
            self.weights.gradient.iter_mut().zip(sums).for_each(|(total, &sum)| *total += sum);
        }
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
