//! Feature maps of a whole pass, and how operators read them and hand gradients back.
//!
//! A map is `[c][image][h][w]`: a channel's pixels of all images lie together, so that a 1×1 convolution is one matrix
//! product with long rows, and batch norm, pooling and depthwise convolution are work on one channel. Only what an
//! operator computed is stored; normalisation, bias and activation are applied by whoever reads it.

use std::ops::Range;

use secateur_ir::{Activation, Shape};

use crate::activation;
use crate::matrix::BLOCK;
/// The gradient of one channel, to be written, or added to those that earlier readers have left.
pub(super) use crate::matrix::Target as Sink;
use crate::scalar::Scalar;

/// One operator's output for all images.
#[derive(Debug, Clone)]
pub(super) struct Value<T> {
    pub shape: Shape,
    pub images: usize,
    /// `[c][image][h][w]`, then [`BLOCK`] numbers that a product may read beyond the last.
    pub raw: Vec<T>,
    /// `[c]`: the output is `activation(scale · (raw − mean) + shift)`. The mean stands for itself, since the difference
    /// may be far smaller than either.
    pub mean: Vec<T>,
    pub scale: Vec<T>,
    pub shift: Vec<T>,
    pub activation: Activation,
}

impl<T> Default for Value<T> {
    /// An empty map.
    fn default() -> Self {
        let (shape, activation) = (Shape::new(0, 0, 0), Activation::Linear);
        let (mean, scale, shift) = (Vec::new(), Vec::new(), Vec::new());
        Self { shape, images: 0, raw: Vec::new(), mean, scale, shift, activation }
    }
}

impl<T: Scalar> Value<T> {
    pub(super) fn new(shape: Shape, images: usize, activation: Activation) -> Self {
        Self {
            shape,
            images,
            raw: vec![T::ZERO; shape.len() * images + BLOCK],
            mean: vec![T::ZERO; shape.c],
            scale: vec![T::ONE; shape.c],
            shift: vec![T::ZERO; shape.c],
            activation,
        }
    }

    /// Numbers of one channel.
    pub(super) fn row_len(&self) -> usize {
        self.shape.plane() * self.images
    }

    /// Raw numbers of every channel.
    pub(super) fn rows_mut(&mut self) -> Vec<&mut [T]> {
        let (len, row) = (self.shape.len() * self.images, self.row_len());
        self.raw[..len].chunks_exact_mut(row).collect()
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

impl<T: Scalar> Row<'_, T> {
    /// The number that the activation is applied to.
    #[inline(always)]
    pub(super) fn normalised(&self, raw: T) -> T {
        self.scale * (raw - self.mean) + self.shift
    }

    /// Writes the outputs `at..at + out.len()` to `out`.
    #[inline(always)]
    pub(super) fn read(&self, at: usize, out: &mut [T]) {
        let raw = &self.raw[at..][..out.len()];
        match activation::slope::<T>(self.activation) {
            Some(slope) if slope == T::ONE => {
                out.iter_mut().zip(raw).for_each(|(y, &z)| *y = self.normalised(z));
            }
            Some(slope) => {
                for (y, &z) in out.iter_mut().zip(raw) {
                    let t = self.normalised(z);
                    *y = if t > T::ZERO { t } else { slope * t };
                }
            }
            None => {
                for (y, &z) in out.iter_mut().zip(raw) {
                    *y = self.normalised(z).activate(self.activation);
                }
            }
        }
    }

    /// One output.
    pub(super) fn at(&self, at: usize) -> T {
        let mut value = [T::ZERO];
        self.read(at, &mut value);
        value[0]
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

/// Gradients of the loss by the outputs of every map.
#[derive(Debug, Clone)]
pub(super) struct Gradients<T> {
    /// By map; `None` until a reader has handed one back, and again after the operator has used it.
    maps: Vec<Option<Vec<T>>>,
    /// By map and channel: the gradient has been written, further ones are added.
    written: Vec<Vec<bool>>,
    /// By map: numbers of one channel, or nothing for maps whose gradient nobody needs.
    row_len: Vec<Option<usize>>,
    /// Buffers that are free.
    pool: Vec<Vec<T>>,
}

impl<T: Scalar> Gradients<T> {
    /// `rows`: for every map its channels and their numbers, or `None` where no gradient is needed.
    pub(super) fn new(rows: &[Option<(usize, usize)>]) -> Self {
        Self {
            maps: vec![None; rows.len()],
            written: rows.iter().map(|row| vec![false; row.map_or(0, |(channels, _)| channels)]).collect(),
            row_len: rows.iter().map(|row| row.map(|(_, len)| len)).collect(),
            pool: Vec::new(),
        }
    }

    /// Takes the gradient of a map: zero where no reader left one. `None` where no reader left any.
    pub(super) fn take(&mut self, value: usize) -> Option<Vec<T>> {
        let mut map = self.maps[value].take()?;
        let len = self.row_len[value].expect("a gradient is only kept where it is needed");
        for (row, written) in map.chunks_exact_mut(len).zip(&mut self.written[value]) {
            if !std::mem::take(written) {
                row.fill(T::ZERO);
            }
        }
        Some(map)
    }

    /// Gives a buffer back that [`Gradients::take`] returned.
    pub(super) fn give_back(&mut self, buffer: Vec<T>) {
        self.pool.push(buffer);
    }

    /// Forgets every gradient, also those that nobody took.
    pub(super) fn clear(&mut self) {
        self.pool.extend(self.maps.iter_mut().filter_map(Option::take));
        self.written.iter_mut().flatten().for_each(|written| *written = false);
    }

    /// Where the gradients of a view's channels go; `None` for channels whose gradient nobody needs. No channel may
    /// occur twice.
    pub(super) fn sinks(&mut self, view: &View) -> Vec<Option<Sink<'_, T>>> {
        for &(value, _) in &view.channels {
            if let Some(len) = self.row_len[value]
                && self.maps[value].is_none()
            {
                self.maps[value] = Some(take_buffer(&mut self.pool, len * self.written[value].len() + BLOCK));
            }
        }
        let mut rows: Vec<Vec<Option<&mut [T]>>> = self
            .maps
            .iter_mut()
            .zip(&self.row_len)
            .map(|(map, len)| match (map, len) {
                (Some(map), Some(len)) => map.chunks_exact_mut(*len).map(Some).collect(),
                _ => Vec::new(),
            })
            .collect();
        view.channels
            .iter()
            .map(|&(value, channel)| {
                self.row_len[value]?;
                let row = rows[value][channel].take().expect("a view has no channel twice");
                Some(Sink { row, add: std::mem::replace(&mut self.written[value][channel], true) })
            })
            .collect()
    }
}

/// The smallest free buffer that is large enough, or a new one, of at least `len` numbers of unspecified content.
fn take_buffer<T: Scalar>(pool: &mut Vec<Vec<T>>, len: usize) -> Vec<T> {
    let best = (0..pool.len()).filter(|&i| pool[i].capacity() >= len).min_by_key(|&i| pool[i].capacity());
    // None is large enough: the largest grows, so that there are never more than are in use at once.
    let best = best.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].capacity()));
    let mut buffer = best.map_or_else(Vec::new, |i| pool.swap_remove(i));
    // It never becomes shorter: to grow again it would be filled with zeros.
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    buffer
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

/// [`split`] of sinks.
pub(super) fn split_sinks<'a, T>(
    sinks: Vec<Option<Sink<'a, T>>>,
    ranges: &[Range<usize>],
) -> Vec<Vec<Option<Sink<'a, T>>>> {
    let mut parts: Vec<Vec<Option<Sink<'a, T>>>> =
        ranges.iter().map(|_| Vec::with_capacity(sinks.len())).collect();
    for sink in sinks {
        match sink {
            None => parts.iter_mut().for_each(|part| part.push(None)),
            Some(Sink { row, add }) => {
                for (part, rows) in parts.iter_mut().zip(split([row], ranges)) {
                    part.extend(rows.into_iter().map(|row| Some(Sink { row, add })));
                }
            }
        }
    }
    parts
}
