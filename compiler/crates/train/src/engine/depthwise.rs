//! Depthwise convolution: one filter a channel, so a channel of all images is one task.

use rayon::prelude::*;
use secateur_ir::{Conv, Shape};

use super::epilogue::GradientRow;
use super::gradients::Sink;
use super::operator::{Backward, Forward, Operator};
use super::parameter::{Kind, Parameter};
use super::scratch::Scratch;
use super::statistics::{Moments, Projections, moments_of};
use super::transposed::Transposed;
use super::value::{Read, Row};
use super::window::{Strip, Window};
use crate::filter::{Filter, FilterGradient};
use crate::scalar::Scalar;

/// Grid positions of a strip, which stays in the first-level cache.
const STRIP: usize = 1 << 11;

/// A convolution whose groups have one input and one output channel.
pub(super) struct Depthwise<T> {
    weights: Parameter<T>,
    window: Window,
    images: usize,
}

/// Taps that meet one phase of the input, and where their gradients are.
struct Phase {
    phase: (usize, usize),
    taps: Vec<usize>,
    offsets: Vec<usize>,
}

/// A strip of outputs, where each tap's pixels are, and the rows that filters run over: where each one belongs, or all of
/// the grid as one.
struct OutputStrip {
    strip: Strip,
    offsets: Vec<usize>,
    rows: Vec<(usize, usize)>,
    width: usize,
}

/// A strip of inputs; with steps of 1 and long rows, where each one belongs and where it is on the grid.
struct InputStrip {
    strip: Strip,
    rows: Option<Vec<(usize, usize)>>,
}

/// What is the same for all channels.
struct Plan {
    outputs: Vec<OutputStrip>,
    transposed: Transposed,
    inputs: Vec<InputStrip>,
    phases: Vec<Phase>,
}

impl<T: Scalar> Depthwise<T> {
    /// `weights` are `[c][kernel rows][kernel columns]`.
    pub(super) fn new(conv: &Conv, weights: Vec<T>, input: Shape, output: Shape, images: usize) -> Self {
        let window = Window::new(conv, input, output);
        Self { weights: Parameter::new(Kind::Weights, weights), window, images }
    }

    fn plan(&self) -> Plan {
        let transposed = self.window.transposed();
        let of_phase = |phase| {
            let (taps, offsets) = transposed.taps(phase).into_iter().unzip();
            Phase { phase, taps, offsets }
        };
        let is_long = self.window.has_long_rows();
        let output = |strip: Strip| {
            let offsets = self.window.offsets(&strip);
            let (rows, width) = if is_long {
                (self.window.grid_rows(&strip).collect(), self.window.columns.output)
            } else {
                (vec![(0, 0)], self.window.grid_len(&strip))
            };
            OutputStrip { strip, offsets, rows, width }
        };
        let input = |strip: Strip| {
            let rows = if is_long { transposed.input_places(&strip) } else { None };
            InputStrip { strip, rows }
        };
        Plan {
            outputs: self.window.strips(self.images, STRIP).into_iter().map(output).collect(),
            inputs: transposed.strips(self.images, STRIP).into_iter().map(input).collect(),
            phases: transposed.phases().into_iter().map(of_phase).collect(),
            transposed,
        }
    }

    /// Fills the planes of a strip.
    fn load(&self, row: Row<'_, T>, strip: &Strip, scratch: &mut Scratch<T>) {
        let Scratch { planes, line, .. } = scratch;
        planes.resize(self.window.planes_len(strip) + self.window.tail());
        T::vectorise(
            #[inline(always)]
            || self.window.load(row, strip, planes, line, T::ZERO),
        );
    }

    fn forward_channel(
        &self,
        weights: &[T],
        row: Row<'_, T>,
        strips: &[OutputStrip],
        out: &mut [T],
        scratch: &mut Scratch<T>,
    ) {
        for OutputStrip { strip, offsets, rows, width } in strips {
            self.load(row, strip, scratch);
            let Scratch { planes: plane, grid, .. } = &mut *scratch;
            let (plane, width, add) = (&plane[..], *width, false);
            let out = &mut out[self.window.output_range(strip)];
            if self.window.has_long_rows() {
                T::filter(Filter { weights, plane, offsets, rows, width, out, add });
            } else {
                grid.resize(width);
                T::filter(Filter { weights, plane, offsets, rows, width, out: grid, add });
                self.window.unload_grid(strip, grid, out);
            }
        }
    }

    /// Returns the gradient of the channel's weights.
    fn weight_gradient(
        &self,
        row: Row<'_, T>,
        gradient: GradientRow<'_, T>,
        strips: &[OutputStrip],
        scratch: &mut Scratch<T>,
    ) -> Vec<T> {
        let mut sums = vec![T::ZERO; self.window.taps()];
        for OutputStrip { strip, offsets, rows, width } in strips {
            self.load(row, strip, scratch);
            let Scratch { planes: plane, grid, line, .. } = &mut *scratch;
            let (plane, width, range) = (&plane[..], *width, self.window.output_range(strip));
            line.resize(range.len());
            T::vectorise(
                #[inline(always)]
                || gradient.read(range.start, line),
            );
            let left = if self.window.has_long_rows() {
                line
            } else {
                grid.resize(width);
                self.window.load_grid(strip, grid, T::ZERO, line);
                grid
            };
            T::filter_gradient(FilterGradient { left, plane, offsets, rows, width, sums: &mut sums });
        }
        sums
    }

    /// Hands the gradient of the channel's input back, and returns its projections.
    fn input_gradient(
        &self,
        weights: &[T],
        gradient: GradientRow<'_, T>,
        plan: &Plan,
        mut sink: Sink<'_, T>,
        scratch: &mut Scratch<T>,
    ) -> Projections {
        let Plan { transposed, .. } = plan;
        let of_phases: Vec<Vec<T>> =
            plan.phases.iter().map(|phase| phase.taps.iter().map(|&tap| weights[tap]).collect()).collect();
        let mut projections = Projections::default();
        for InputStrip { strip, rows } in &plan.inputs {
            let Scratch { planes: plane, grid, line, .. } = &mut *scratch;
            plane.resize(transposed.plane_len(strip) + transposed.tail());
            T::vectorise(
                #[inline(always)]
                || transposed.load(&gradient, strip, plane, line),
            );
            let plane = &plane[..];
            let mut part = sink.part(transposed.input_range(strip));
            for (Phase { phase, offsets, .. }, weights) in plan.phases.iter().zip(&of_phases) {
                if let Some(rows) = rows {
                    let (width, add) = (self.window.columns.input, part.add);
                    T::filter(Filter { weights, plane, offsets, rows, width, out: part.row, add });
                } else {
                    let (rows, width) = (&[(0, 0)], transposed.grid_len(strip));
                    grid.resize(width);
                    T::filter(Filter { weights, plane, offsets, rows, width, out: grid, add: false });
                    T::vectorise(
                        #[inline(always)]
                        || transposed.unload(grid, strip, *phase, &mut part),
                    );
                }
            }
            projections.add(T::vectorise(
                #[inline(always)]
                || part.projections(),
            ));
        }
        projections
    }
}

impl<T: Scalar> Operator<T> for Depthwise<T> {
    fn forward(&mut self, forward: Forward<'_, T>) {
        let Forward { inputs, maps, out, wants_moments, scratches, .. } = forward;
        let (rows, plan, taps) = (maps.rows(&inputs[0]), self.plan(), self.window.taps());
        let moments: Vec<Vec<Moments>> = out
            .rows_mut()
            .into_par_iter()
            .zip(rows)
            .enumerate()
            .map_init(
                || scratches.lend(),
                |scratch, (c, (out, row))| {
                    let weights = &self.weights.value[c * taps..][..taps];
                    self.forward_channel(weights, row, &plan.outputs, out, scratch);
                    if wants_moments { moments_of(&[out]) } else { Vec::new() }
                },
            )
            .collect();
        out.moments = moments.concat();
    }

    fn backward(&mut self, backward: Backward<'_, T>) {
        let Backward { inputs, maps, gradient, node, gradients, scratches, .. } = backward;
        let (plan, taps) = (self.plan(), self.window.taps());
        let sinks = gradients.summing_sinks(&inputs[0], maps, node);
        let this = &*self;
        let (sums, projections): (Vec<Vec<T>>, Vec<Projections>) = maps
            .rows(&inputs[0])
            .into_par_iter()
            .zip(sinks)
            .enumerate()
            .map_init(
                || scratches.lend(),
                |scratch, (c, (row, sink))| {
                    let (weights, gradient) = (&this.weights.value[c * taps..][..taps], gradient.row(c));
                    let sums = this.weight_gradient(row, gradient, &plan.outputs, scratch);
                    let projections =
                        sink.map(|sink| this.input_gradient(weights, gradient, &plan, sink, scratch));
                    (sums, projections.unwrap_or_default())
                },
            )
            .unzip();
        for (total, sum) in self.weights.gradient.iter_mut().zip(sums.iter().flatten()) {
            *total += *sum;
        }
        gradients.record(&inputs[0], node, &projections);
    }

    fn parameters(&mut self) -> Vec<&mut Parameter<T>> {
        vec![&mut self.weights]
    }
}
