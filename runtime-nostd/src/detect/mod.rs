//! Boxes and classes from the heads of a network, in integers, into memory of the caller.
//!
//! Coordinates are Q16.16 pixels of the network's input, scores Q0.30, probabilities Q0.15.
//! The formulas are Darknet's; each non-linear function is a table of the artefact.

mod collect;
mod suppress;

use crate::artefact::format::{HeadKind, head_flags};
use crate::artefact::{Head, Model};
use crate::engine::{Engine, Kernels};
use crate::kernels::look_up;
use crate::tensor::Tensor;
use collect::Collector;

pub use suppress::suppress;

/// A score or threshold of 1, Q0.30.
pub const ONE: u32 = 1 << 30;
/// Centres and sizes are held within ± this: 16384 pixels, Q16.16.
pub const COORDINATE_LIMIT: i64 = 1 << 30;

/// One box of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Detection {
    /// Centre, Q16.16 pixels of the input.
    pub x: i32,
    pub y: i32,
    /// Size, Q16.16 pixels, not clipped to the image.
    pub w: i32,
    pub h: i32,
    /// Objectness × class probability, Q0.30.
    pub score: u32,
    /// Number of the box: heads in order, rows, columns, anchors.
    pub index: u32,
    pub class: u16,
    /// Q0.15.
    pub objectness: u16,
}

/// Values of a head that are read at a time.
const CHUNK: usize = 64;

/// Aligned, so that they may be copied word by word.
#[repr(align(4))]
struct Chunk([i8; CHUNK]);

/// How many detections were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Detections in the buffer.
    pub kept: usize,
    /// Detections of lower score that had no room.
    pub dropped: usize,
}

/// A feature map that a head reads, wherever and in whatever order it lies.
pub trait HeadMap {
    /// Rows, columns and channels.
    fn shape(&self) -> [usize; 3];

    /// Values of `channel` at pixel `y · w + x` and those after it, as many as `out` takes.
    fn pixels(&mut self, pixel: usize, channel: usize, out: &mut [i8]);

    /// Values of `channel` and those after it at pixel `y · w + x`, as many as `out` takes.
    fn channels(&mut self, pixel: usize, channel: usize, out: &mut [i8]);

    /// Value of `channel` at pixel `y · w + x`.
    fn value(&mut self, pixel: usize, channel: usize) -> i8 {
        let mut value = [0];
        self.channels(pixel, channel, &mut value);
        let [value] = value;
        value
    }
}

impl HeadMap for Tensor<'_> {
    fn shape(&self) -> [usize; 3] {
        [self.h(), self.w(), self.c()]
    }

    fn pixels(&mut self, pixel: usize, channel: usize, out: &mut [i8]) {
        for (at, to) in (pixel..).zip(out) {
            *to = self.pixel(at).get(channel).map_or(0, |q| q.get());
        }
    }

    fn channels(&mut self, pixel: usize, channel: usize, out: &mut [i8]) {
        let values = Tensor::channels(self, pixel, channel, out.len());
        for (to, q) in out.iter_mut().zip(values) {
            *to = q.get();
        }
    }
}

/// Writes every box with objectness and score above `threshold` (Q0.30) to `out`, one entry a class.
/// Where the buffer is too small the best scores stay; equal scores stay in order of `index`.
///
/// Source: Darknet's `get_yolo_detections`, `get_region_detections`, `get_detection_detections`.
pub fn decode<K: Kernels>(engine: &Engine<'_, '_, K>, threshold: u32, out: &mut [Detection]) -> Found {
    let mut decoder = Decoder::new(engine.model(), threshold, out);
    for head in engine.model().heads() {
        if let Some(mut tensor) = engine.tensor(head.tensor) {
            decoder.head(head, &mut tensor);
        }
    }
    decoder.found()
}

/// [`decode`] head by head, for heads whose maps are not in an engine's arena.
#[derive(Debug)]
pub struct Decoder<'o> {
    collector: Collector<'o>,
    /// Rows and columns of the network's input.
    input: [usize; 2],
    threshold: u32,
    /// Number of the next head's first box.
    first: u32,
}

impl<'o> Decoder<'o> {
    pub fn new(model: &Model<'_>, threshold: u32, out: &'o mut [Detection]) -> Self {
        let [h, w, _] = model.input_shape();
        Self { collector: Collector::new(out), input: [h, w], threshold, first: 0 }
    }

    /// Decodes the next head, in the model's order, from its feature map.
    pub fn head(&mut self, head: Head<'_>, map: &mut impl HeadMap) {
        let Self { collector, input, threshold, first } = self;
        let mut cells = Cells { head, map, input: *input, threshold: *threshold };
        match cells.head.kind {
            HeadKind::Yolo | HeadKind::Region => cells.anchored(*first, collector),
            HeadKind::Detection => cells.flat(*first, collector),
            HeadKind::Classes => {}
        }
        *first = first.wrapping_add(cells.boxes());
    }

    pub const fn found(&self) -> Found {
        self.collector.found()
    }
}

/// Class probabilities (Q0.15) of the first classifier head, as many as `out` holds; their number,
/// or `None` where the network has no such head.
pub fn classify<K: Kernels>(engine: &Engine<'_, '_, K>, out: &mut [u16]) -> Option<usize> {
    let head = engine.model().heads().find(|head| head.kind == HeadKind::Classes)?;
    let mut tensor = engine.tensor(head.tensor)?;
    Some(probabilities(&head, &mut tensor, out))
}

/// [`classify`] of one classifier head's feature map.
pub fn probabilities(head: &Head<'_>, map: &mut impl HeadMap, out: &mut [u16]) -> usize {
    let [.., channels] = map.shape();
    let softmax = Softmax::over(head, map, 0, 0);
    for (channel, to) in out.iter_mut().enumerate().take(channels) {
        *to = softmax.probability(head, map.value(0, channel));
    }
    channels.min(out.len())
}

/// A head and what is needed to read it.
struct Cells<'a, 'm, M> {
    head: Head<'a>,
    map: &'m mut M,
    input: [usize; 2],
    threshold: u32,
}

impl<M: HeadMap> Cells<'_, '_, M> {
    fn boxes(&self) -> u32 {
        let [h, w, _] = self.map.shape();
        let cells = match self.head.kind {
            HeadKind::Yolo | HeadKind::Region => h * w,
            HeadKind::Detection => self.head.channels_per_anchor * self.head.channels_per_anchor,
            HeadKind::Classes => 0,
        };
        (cells * self.head.anchors.len()) as u32
    }

    /// Channels of a cell: per anchor x, y, w, h, objectness, classes. Anchor by anchor: what is found has a number, and
    /// their order is that of the numbers whatever order they are found in.
    fn anchored(&mut self, first: u32, collector: &mut Collector<'_>) {
        let [h, w, _] = self.map.shape();
        let mut chunk = Chunk([0; CHUNK]);
        for n in 0..self.head.anchors.len() {
            let channel = n * self.head.channels_per_anchor + 4;
            for start in (0..h * w).step_by(CHUNK) {
                let values = chunk.0.get_mut(..CHUNK.min(h * w - start)).unwrap_or_default();
                self.map.pixels(start, channel, values);
                for (cell, &q) in (start..).zip(values.iter()) {
                    let objectness = look_up(self.head.objectness, q).get();
                    if self.passes(u32::from(objectness) << 15) {
                        self.anchored_box([h, w], cell, n, objectness, first, collector);
                    }
                }
            }
        }
    }

    /// The box of anchor `n` in a cell.
    #[inline(never)]
    fn anchored_box(
        &mut self,
        [h, w]: [usize; 2],
        cell: usize,
        n: usize,
        objectness: u16,
        first: u32,
        collector: &mut Collector<'_>,
    ) {
        let base = n * self.head.channels_per_anchor;
        self.classes(objectness, cell, base + 5, collector, |cells| {
            let (y, x) = (cell / w.max(1), cell % w.max(1));
            let mut values = [0; 4];
            cells.map.channels(cell, base, &mut values);
            let [tx, ty, tw, th] = values;
            let (anchor_w, anchor_h) = cells.head.anchors.get(n).unwrap_or((0, 0));
            let number = cell * cells.head.anchors.len() + n;
            Detection {
                x: cells.centre(x, tx, w, cells.input[1]),
                y: cells.centre(y, ty, h, cells.input[0]),
                w: cells.size(tw, anchor_w),
                h: cells.size(th, anchor_h),
                index: first.wrapping_add(number as u32),
                objectness,
                ..Detection::default()
            }
        });
    }

    /// YOLO v1: planes of classes, confidences and boxes over a `side × side` grid; sizes are
    /// fractions of the image.
    fn flat(&mut self, first: u32, collector: &mut Collector<'_>) {
        let (side, boxes) = (self.head.channels_per_anchor, self.head.anchors.len());
        let (cells, classes, input) = (side * side, self.head.classes, self.input);
        // `INPUT_LIMIT` leaves room for the fraction.
        let fraction = |extent: usize| (extent as u32) << 16;
        for cell in 0..cells {
            let (y, x) = (cell / side.max(1), cell % side.max(1));
            for n in 0..boxes {
                let number = cell * boxes + n;
                let objectness = self.map.value(0, cells * classes + number);
                let objectness = look_up(self.head.objectness, objectness).get();
                if !self.passes(u32::from(objectness) << 15) {
                    continue;
                }
                self.classes(objectness, 0, cell * classes, collector, |this| {
                    let mut values = [0; 4];
                    this.map.channels(0, cells * (classes + boxes) + number * 4, &mut values);
                    let [tx, ty, tw, th] = values;
                    Detection {
                        x: this.centre(x, tx, side, input[1]),
                        y: this.centre(y, ty, side, input[0]),
                        w: this.size(tw, fraction(input[1])),
                        h: this.size(th, fraction(input[0])),
                        index: first.wrapping_add(number as u32),
                        objectness,
                        ..Detection::default()
                    }
                });
            }
        }
    }

    /// One detection for every class whose score passes; `place` is asked for the box if there is one.
    fn classes(
        &mut self,
        objectness: u16,
        pixel: usize,
        base: usize,
        collector: &mut Collector<'_>,
        place: impl Fn(&mut Self) -> Detection,
    ) {
        let mut placed = None;
        // A score is above the threshold where the probability is above this.
        let Some(limit) = self.threshold.checked_div(objectness.into()) else { return };
        let softmax = (self.head.flags & head_flags::SOFTMAX != 0)
            .then(|| Softmax::over(&self.head, self.map, pixel, base));
        let mut chunk = Chunk([0; CHUNK]);
        for start in (0..self.head.classes).step_by(CHUNK) {
            let values = chunk.0.get_mut(..CHUNK.min(self.head.classes - start)).unwrap_or_default();
            self.map.channels(pixel, base + start, values);
            for (class, &q) in (start..).zip(values.iter()) {
                let probability = match softmax {
                    Some(softmax) => softmax.probability(&self.head, q),
                    None => look_up(self.head.class, q).get(),
                };
                if u32::from(probability) > limit {
                    let score = u32::from(objectness).wrapping_mul(u32::from(probability));
                    let detection = placed.unwrap_or_else(|| place(self));
                    placed = Some(detection);
                    collector.push(Detection { score, class: class as u16, ..detection });
                }
            }
        }
    }

    fn passes(&self, score: u32) -> bool {
        score > self.threshold
    }

    /// `(cell + table) · input / grid`, rounded down.
    fn centre(&self, cell: usize, q: i8, grid: usize, input: usize) -> i32 {
        let cells = ((cell as i64) << 16) + i64::from(look_up(self.head.xy, q).get());
        // A division of 64 bits takes some processors a thousand cycles, and most grids divide the input.
        let exact = (input as u32).checked_rem(grid as u32) == Some(0);
        bounded(match exact {
            true => cells.saturating_mul(i64::from((input as u32).checked_div(grid as u32).unwrap_or(0))),
            false => cells.saturating_mul(input as i64).checked_div_euclid(grid as i64).unwrap_or(0),
        })
    }

    /// `anchor · table`, rounded half up.
    fn size(&self, q: i8, anchor: u32) -> i32 {
        let size = u64::from(anchor) * u64::from(look_up(self.head.wh, q).get());
        bounded(((size >> 15).wrapping_add(1) >> 1) as i64)
    }
}

fn bounded(coordinate: i64) -> i32 {
    coordinate.clamp(-COORDINATE_LIMIT, COORDINATE_LIMIT) as i32
}

/// Softmax over the classes of one cell; the class table holds exponentials.
#[derive(Debug, Clone, Copy)]
struct Softmax {
    max: i8,
    sum: u32,
}

impl Softmax {
    fn over(head: &Head<'_>, map: &mut impl HeadMap, pixel: usize, base: usize) -> Self {
        let channels = base..base + head.classes;
        let max = channels.clone().map(|channel| map.value(pixel, channel)).max().unwrap_or(0);
        let exponentials =
            channels.map(|channel| u32::from(Self::exponential(head, max, map.value(pixel, channel))));
        Self { max, sum: exponentials.fold(0, u32::wrapping_add) }
    }

    /// Entry `max − q`.
    fn exponential(head: &Head<'_>, max: i8, q: i8) -> u16 {
        let distance = (i16::from(max) - i16::from(q)) as u8;
        look_up(head.class, (distance ^ 0x80) as i8).get()
    }

    fn probability(&self, head: &Head<'_>, q: i8) -> u16 {
        let share = u64::from(Self::exponential(head, self.max, q)) << 15;
        share.checked_div(u64::from(self.sum)).unwrap_or(0).min(1 << 15) as u16
    }
}
