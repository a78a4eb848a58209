//! Gradients by the outputs of maps: their buffers, and who writes them.
//!
//! Readers of a map leave the gradient by its output, one after the other. The last one also takes the sums that batch
//! norm needs of it, while its numbers are still in the cache.

use std::ops::Range;

use super::operator::Maps;
use super::statistics::{Projections, projections};
use super::value::{Row, View, split};
use super::window::copy_over;
use crate::activation;
use crate::buffer::Buffer;
use crate::matrix::Target;
use crate::scalar::Scalar;

/// The gradient of one channel, to be written, or added to those that earlier readers have left.
#[derive(Debug)]
pub(super) struct Sink<'a, T> {
    pub row: &'a mut [T],
    pub add: bool,
    /// The channel itself, if sums over its gradient are wanted of this reader.
    of: Option<Row<'a, T>>,
}

impl<'a, T: Scalar> Sink<'a, T> {
    /// Writes or adds the numbers at `at`.
    #[inline(always)]
    pub(super) fn put(&mut self, at: usize, values: &[T]) {
        self.target().put(at, values);
    }

    /// Writes or adds `count` numbers at `at`, of rows that are handed in order: see [`copy_over`].
    #[inline(always)]
    pub(super) fn put_over(&mut self, at: usize, values: &[T], count: usize) {
        if self.add {
            self.put(at, &values[..count]);
        } else {
            copy_over(values, &mut self.row[at..], count);
        }
    }

    /// Writes or adds one number.
    #[inline(always)]
    pub(super) fn put_one(&mut self, at: usize, value: T) {
        if self.add {
            self.row[at] += value;
        } else {
            self.row[at] = value;
        }
    }

    /// Writes or adds numbers that are `stride` apart in a range of places.
    #[inline(always)]
    pub(super) fn put_spread(&mut self, places: Range<usize>, stride: usize, values: &[T]) {
        let pairs = self.row[places].iter_mut().step_by(stride).zip(values);
        if self.add {
            pairs.for_each(|(sum, &value)| *sum += value);
        } else {
            pairs.for_each(|(place, &value)| *place = value);
        }
    }

    /// Makes the row zero if it is empty yet, so that parts of it can be added to.
    pub(super) fn zero(&mut self) {
        if !self.add {
            self.row.fill(T::ZERO);
            self.add = true;
        }
    }

    /// The row as a product's result.
    pub(super) fn target(&mut self) -> Target<'_, T> {
        Target { row: self.row, add: self.add }
    }

    /// A part of the channel.
    #[inline(always)]
    pub(super) fn part(&mut self, range: Range<usize>) -> Sink<'_, T> {
        Sink { of: self.of.map(|of| of.part(range.clone())), row: &mut self.row[range], add: self.add }
    }

    /// The sums over the channel's gradient, when it is final; nothing if they are not wanted.
    #[inline(always)]
    pub(super) fn projections(&self) -> Projections {
        let Some(row) = self.of else { return Projections::default() };
        let slope = activation::slope(row.activation).expect("sums are wanted of such activations alone");
        projections(row, self.row, slope)
    }
}

/// Adds the projections of every channel to `totals`.
pub(super) fn add_projections<T: Scalar>(sinks: &[Option<Sink<'_, T>>], totals: &mut [Projections]) {
    T::vectorise(
        #[inline(always)]
        || {
            for (sink, total) in sinks.iter().zip(totals) {
                if let Some(sink) = sink {
                    total.add(sink.projections());
                }
            }
        },
    );
}

/// What is known of a map whose gradient is needed.
#[derive(Debug)]
pub(super) struct MapLayout {
    pub channels: usize,
    /// Numbers of a channel.
    pub row_len: usize,
    /// By channel the node that is the last to write, if it is to take the sums.
    pub last: Option<Vec<usize>>,
}

/// The gradient of one map.
#[derive(Debug)]
struct MapGradient<T> {
    layout: MapLayout,
    /// `None` until a reader has handed one back, and again after the operator has used it.
    numbers: Option<Buffer<T>>,
    /// By channel: the gradient has been written, further ones are added.
    written: Vec<bool>,
    /// By channel, of the gradient as it stands.
    sums: Vec<Option<Projections>>,
}

/// A gradient that is complete.
pub(super) struct Taken<T> {
    /// As long as the map at least.
    pub numbers: Buffer<T>,
    /// By channel, where the last reader has taken them.
    pub sums: Vec<Option<Projections>>,
}

/// Gradients of the loss by the outputs of every map.
#[derive(Debug)]
pub(super) struct Gradients<T> {
    /// `None` for maps whose gradient nobody needs.
    maps: Vec<Option<MapGradient<T>>>,
    /// Buffers that are free.
    pool: Vec<Buffer<T>>,
}

impl<T: Scalar> Gradients<T> {
    pub(super) fn new(layouts: Vec<Option<MapLayout>>) -> Self {
        let map = |layout: MapLayout| MapGradient {
            numbers: None,
            written: vec![false; layout.channels],
            sums: vec![None; layout.channels],
            layout,
        };
        Self { maps: layouts.into_iter().map(|layout| layout.map(map)).collect(), pool: Vec::new() }
    }

    /// Takes the gradient of a map: zero where no reader left one. `None` where no reader left any.
    pub(super) fn take(&mut self, value: usize) -> Option<Taken<T>> {
        let map = self.maps[value].as_mut()?;
        let mut numbers = map.numbers.take()?;
        for (row, written) in numbers.chunks_exact_mut(map.layout.row_len).zip(&mut map.written) {
            if !std::mem::take(written) {
                row.fill(T::ZERO);
            }
        }
        let sums = map.sums.iter_mut().map(Option::take).collect();
        Some(Taken { numbers, sums })
    }

    /// Gives a buffer back that [`Gradients::take`] returned.
    pub(super) fn give_back(&mut self, buffer: Buffer<T>) {
        self.pool.push(buffer);
    }

    /// Forgets every gradient, also those that nobody took.
    pub(super) fn clear(&mut self) {
        for map in self.maps.iter_mut().flatten() {
            self.pool.extend(map.numbers.take());
            map.written.fill(false);
            map.sums.fill(None);
        }
    }

    /// Where the gradients of a view's channels go; `None` for channels whose gradient nobody needs. No channel may
    /// occur twice.
    pub(super) fn sinks(&mut self, view: &View) -> Vec<Option<Sink<'_, T>>> {
        self.sinks_of(view, None)
    }

    /// As [`Gradients::sinks`], for the node `reader` that calls [`Gradients::record`] when it has written.
    pub(super) fn summing_sinks<'a>(
        &'a mut self,
        view: &View,
        maps: Maps<'a, T>,
        reader: usize,
    ) -> Vec<Option<Sink<'a, T>>> {
        self.sinks_of(view, Some((maps, reader)))
    }

    fn sinks_of<'a>(
        &'a mut self,
        view: &View,
        reader: Option<(Maps<'a, T>, usize)>,
    ) -> Vec<Option<Sink<'a, T>>> {
        let Self { maps, pool } = self;
        let mut rows: Vec<Vec<Option<Sink<'a, T>>>> = Vec::new();
        rows.resize_with(maps.len(), Vec::new);
        let mut wanted = vec![false; maps.len()];
        view.channels.iter().for_each(|&(value, _)| wanted[value] = true);
        for (value, map) in maps.iter_mut().enumerate().filter(|(value, _)| wanted[*value]) {
            let Some(map) = map else { continue };
            let MapLayout { channels, row_len, last } = &map.layout;
            let numbers = map.numbers.get_or_insert_with(|| take_buffer(pool, row_len * channels));
            let sinks = numbers.chunks_exact_mut(*row_len).zip(&map.written).enumerate();
            let sink = |(c, (row, &add))| {
                let is_last = |reader| last.as_ref().is_some_and(|last| last[c] == reader);
                let of = reader.filter(|&(_, node)| is_last(node)).map(|(maps, _)| maps.0[value].row(c));
                Some(Sink { row, add, of })
            };
            rows[value] = sinks.map(sink).collect();
            for &(_, channel) in view.channels.iter().filter(|channel| channel.0 == value) {
                map.written[channel] = true;
                map.sums[channel] = None;
            }
        }
        let row = |&(value, channel): &(usize, usize)| {
            let rows: &mut Vec<_> = &mut rows[value];
            (!rows.is_empty()).then(|| rows[channel].take().expect("a view has no channel twice"))
        };
        view.channels.iter().map(row).collect()
    }

    /// Keeps the sums that a reader took of a view's channels, if it was the last one to write them.
    pub(super) fn record(&mut self, view: &View, reader: usize, sums: &[Projections]) {
        for (&(value, channel), sums) in view.channels.iter().zip(sums) {
            if let Some(map) = &mut self.maps[value]
                && map.layout.last.as_ref().is_some_and(|last| last[channel] == reader)
            {
                map.sums[channel] = Some(*sums);
            }
        }
    }
}

/// The smallest free buffer that is large enough, or a new one, of `len` numbers of unspecified content.
fn take_buffer<T: Scalar>(pool: &mut Vec<Buffer<T>>, len: usize) -> Buffer<T> {
    let best = (0..pool.len()).filter(|&i| pool[i].capacity() >= len).min_by_key(|&i| pool[i].capacity());
    // None is large enough: the largest grows, so that there are never more than are in use at once.
    let best = best.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].capacity()));
    let mut buffer = best.map_or_else(Buffer::default, |i| pool.swap_remove(i));
    buffer.resize(len);
    buffer
}

/// [`split`] of sinks.
pub(super) fn split_sinks<'a, T: Scalar>(
    sinks: Vec<Option<Sink<'a, T>>>,
    ranges: &[Range<usize>],
) -> Vec<Vec<Option<Sink<'a, T>>>> {
    let mut parts: Vec<Vec<Option<Sink<'a, T>>>> =
        ranges.iter().map(|_| Vec::with_capacity(sinks.len())).collect();
    for sink in sinks {
        match sink {
            None => parts.iter_mut().for_each(|part| part.push(None)),
            Some(Sink { row, add, of }) => {
                let rows = split([row], ranges).into_iter().flatten();
                for ((part, row), range) in parts.iter_mut().zip(rows).zip(ranges) {
                    part.push(Some(Sink { row, add, of: of.map(|of| of.part(range.clone())) }));
                }
            }
        }
    }
    parts
}
