//! Feature maps of a whole pass, and how operators read them and hand gradients back.
//!
//! A map is `[c][image][h][w]`: a channel's pixels of all images lie together, so that a 1×1 convolution is one matrix
//! product with long rows, and batch norm, pooling and depthwise convolution are work on one channel. Only what an
//! operator computed is stored; normalisation, bias and activation are applied by whoever reads it.

use std::ops::Range;

use secateur_ir::{Activation, Shape};

use super::statistics::Moments;
use crate::activation;
use crate::buffer::Buffer;
use crate::scalar::Scalar;

/// One operator's output for all images.
#[derive(Debug)]
pub(super) struct Value<T> {
    pub shape: Shape,
    pub images: usize,
    /// `[c][image][h][w]`
    pub raw: Buffer<T>,
    /// `[c]`: the output is `activation(scale · (raw − mean) + shift)`. The mean stands for itself, since the difference
    /// may be far smaller than either.
    pub mean: Vec<T>,
    pub scale: Vec<T>,
    pub shift: Vec<T>,
    pub activation: Activation,
    /// `[c]` of the raw numbers, if whoever computed them was asked for them and nobody has used them yet.
    pub moments: Vec<Moments>,
}

impl<T> Default for Value<T> {
    /// An empty map.
    fn default() -> Self {
        let (shape, activation) = (Shape::new(0, 0, 0), Activation::Linear);
        let (mean, scale, shift) = (Vec::new(), Vec::new(), Vec::new());
        Self { shape, images: 0, raw: Buffer::default(), mean, scale, shift, activation, moments: Vec::new() }
    }
}

impl<T: Scalar> Value<T> {
    pub(super) fn new(shape: Shape, images: usize, activation: Activation) -> Self {
        Self {
            shape,
            images,
            raw: Buffer::zeros(shape.len() * images),
            mean: vec![T::ZERO; shape.c],
            scale: vec![T::ONE; shape.c],
            shift: vec![T::ZERO; shape.c],
            activation,
            moments: Vec::new(),
        }
    }

    /// Numbers of one channel.
    pub(super) fn row_len(&self) -> usize {
        self.shape.plane() * self.images
    }

    /// Raw numbers of every channel.
    pub(super) fn rows_mut(&mut self) -> Vec<&mut [T]> {
        let row = self.row_len();
        self.raw.chunks_exact_mut(row).collect()
    }

    /// One channel to be read.
    pub(super) fn row(&self, channel: usize) -> Row<'_, T> {
        let len = self.row_len();
        Row {
            raw: &self.raw[channel * len..][..len],
            mean: self.mean[channel],
            scale: self.scale[channel],
            shift: self.shift[channel],
            activation: self.activation,
        }
    }
}

/// One channel of a map, `[image][h][w]`, as its readers see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a, T> {
    pub raw: &'a [T],
    pub mean: T,
    pub scale: T,
    pub shift: T,
    pub activation: Activation,
}

/// A channel whose numbers are computed where they are read.
pub(super) trait Read<T>: Sync {
    /// Writes the numbers `at..at + out.len()` to `out`.
    fn read(&self, at: usize, out: &mut [T]);
}

impl<T: Scalar> Row<'_, T> {
    /// The number that the activation is applied to.
    #[inline(always)]
    pub(super) fn normalised(&self, raw: T) -> T {
        self.scale * (raw - self.mean) + self.shift
    }

    /// Whether the activation is applied to a number above zero.
    #[inline(always)]
    pub(super) fn is_positive(&self, raw: T) -> bool {
        // The sum's sign is exact, so that this is the sign of `normalised`.
        self.scale * (raw - self.mean) > -self.shift
    }

    /// The numbers of a part of the channel.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { raw: &self.raw[range], ..*self }
    }

    /// One output.
    pub(super) fn at(&self, at: usize) -> T {
        let mut value = [T::ZERO];
        self.read(at, &mut value);
        value[0]
    }
}

impl<T: Scalar> Read<T> for Row<'_, T> {
    #[inline(always)]
    fn read(&self, at: usize, out: &mut [T]) {
        let raw = &self.raw[at..][..out.len()];
        match activation::slope::<T>(self.activation) {
            Some(slope) if slope == T::ONE => {
                out.iter_mut().zip(raw).for_each(|(y, &z)| *y = self.normalised(z));
            }
            Some(slope) => {
                // With a slope below 1 the larger one is that of its side.
                for (y, &z) in out.iter_mut().zip(raw) {
                    let t = self.normalised(z);
                    *y = t.maximum(slope * t);
                }
            }
            None => {
                for (y, &z) in out.iter_mut().zip(raw) {
                    *y = self.normalised(z).activate(self.activation);
                }
            }
        }
    }
}

/// The input of an operator: for each of its channels the map and the channel there. A concatenation is a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub shape: Shape,
    pub channels: Vec<(usize, usize)>,
}

impl View {
    /// A whole map.
    pub(super) fn of(value: usize, shape: Shape) -> Self {
        Self { shape, channels: (0..shape.c).map(|channel| (value, channel)).collect() }
    }

    /// Returns whether no channel occurs twice, so that the gradients of all can be written side by side.
    pub(super) fn is_injective(&self) -> bool {
        let mut channels = self.channels.clone();
        channels.sort_unstable();
        channels.windows(2).all(|pair| pair[0] != pair[1])
    }
}

/// Cuts every row at the same places: for each of `ranges`, which are in order and do not overlap, the part of every row.
pub(super) fn split<'a, T>(
    rows: impl IntoIterator<Item = &'a mut [T]>,
    ranges: &[Range<usize>],
) -> Vec<Vec<&'a mut [T]>> {
    let rows = rows.into_iter();
    let mut parts: Vec<Vec<&mut [T]>> =
        ranges.iter().map(|_| Vec::with_capacity(rows.size_hint().0)).collect();
    for row in rows {
        let (mut rest, mut start) = (row, 0);
        for (part, range) in parts.iter_mut().zip(ranges) {
            let (head, tail) = rest.split_at_mut(range.end - start);
            part.push(&mut head[range.start - start..]);
            (rest, start) = (tail, range.end);
        }
    }
    parts
}
