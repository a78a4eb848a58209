//! Boxes and classes from the heads of a network, in integers, into memory of the caller.
//!
//! Coordinates are Q16.16 pixels of the network's input, scores Q0.30, probabilities Q0.15.
//! The formulas are Darknet's; each non-linear function is a table of the artefact.

mod collect;
mod suppress;

use crate::artefact::Head;
use crate::artefact::format::{HeadKind, head_flags};
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

/// How many detections were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Detections in the buffer.
    pub kept: usize,
    /// Detections of lower score that had no room.
    pub dropped: usize,
}

/// Writes every box with objectness and score above `threshold` (Q0.30) to `out`, one entry a class.
/// Where the buffer is too small the best scores stay; equal scores stay in order of `index`.
///
/// Source: Darknet's `get_yolo_detections`, `get_region_detections`, `get_detection_detections`.
pub fn decode<K: Kernels>(engine: &Engine<'_, '_, K>, threshold: u32, out: &mut [Detection]) -> Found {
    let [in_h, in_w, _] = engine.model().input_shape();
    let mut collector = Collector::new(out);
    let mut first = 0u32;
    for head in engine.model().heads() {
        let Some(tensor) = engine.tensor(head.tensor) else { continue };
        let cells = Cells { head, tensor, input: [in_h, in_w], threshold };
        match head.kind {
            HeadKind::Yolo | HeadKind::Region => cells.anchored(first, &mut collector),
            HeadKind::Detection => cells.flat(first, &mut collector),
            HeadKind::Classes => {}
        }
        first = first.wrapping_add(cells.boxes());
    }
    collector.found()
}

/// Class probabilities (Q0.15) of the first classifier head, as many as `out` holds; their number,
/// or `None` where the network has no such head.
pub fn classify<K: Kernels>(engine: &Engine<'_, '_, K>, out: &mut [u16]) -> Option<usize> {
    let head = engine.model().heads().find(|head| head.kind == HeadKind::Classes)?;
    let tensor = engine.tensor(head.tensor)?;
    let softmax = Softmax::over(&head, tensor, 0, 0);
    let logits = tensor.pixel(0);
    for (to, q) in out.iter_mut().zip(logits) {
        *to = softmax.probability(&head, q.get());
    }
    Some(logits.len().min(out.len()))
}

/// A head and what is needed to read it.
struct Cells<'a> {
    head: Head<'a>,
    tensor: Tensor<'a>,
    input: [usize; 2],
    threshold: u32,
}

impl Cells<'_> {
    fn boxes(&self) -> u32 {
        let cells = match self.head.kind {
            HeadKind::Yolo | HeadKind::Region => self.tensor.pixels(),
            HeadKind::Detection => self.head.channels_per_anchor * self.head.channels_per_anchor,
            HeadKind::Classes => 0,
        };
        (cells * self.head.anchors.len()) as u32
    }

    /// Channels of a cell: per anchor x, y, w, h, objectness, classes.
    fn anchored(&self, first: u32, collector: &mut Collector<'_>) {
        let Self { head, tensor, .. } = self;
        let mut index = first;
        for y in 0..tensor.h() {
            for x in 0..tensor.w() {
                let cell = y * tensor.w() + x;
                for n in 0..head.anchors.len() {
                    let base = n * head.channels_per_anchor;
                    let values = tensor.channels(cell, base, head.classes + 5);
                    let [tx, ty, tw, th, objectness, classes @ ..] = values else { continue };
                    let objectness = look_up(head.objectness, objectness.get()).get();
                    if self.passes(u32::from(objectness) << 15) {
                        let (anchor_w, anchor_h) = head.anchors.get(n).unwrap_or((0, 0));
                        let detection = Detection {
                            x: self.centre(x, tx.get(), tensor.w(), self.input[1]),
                            y: self.centre(y, ty.get(), tensor.h(), self.input[0]),
                            w: self.size(tw.get(), anchor_w),
                            h: self.size(th.get(), anchor_h),
                            index,
                            objectness,
                            ..Detection::default()
                        };
                        self.classes(detection, cell, base + 5, classes, collector);
                    }
                    index = index.wrapping_add(1);
                }
            }
        }
    }

    /// YOLO v1: planes of classes, confidences and boxes over a `side × side` grid; sizes are
    /// fractions of the image.
    fn flat(&self, first: u32, collector: &mut Collector<'_>) {
        let Self { head, tensor, input, .. } = self;
        let (side, boxes) = (head.channels_per_anchor, head.anchors.len());
        let cells = side * side;
        let value = |channel: usize| tensor.get(0, 0, channel);
        // `INPUT_LIMIT` leaves room for the fraction.
        let fraction = |extent: usize| (extent as u32) << 16;
        for cell in 0..cells {
            let (y, x) = (cell / side.max(1), cell % side.max(1));
            for n in 0..boxes {
                let number = cell * boxes + n;
                let objectness = look_up(head.objectness, value(cells * head.classes + number)).get();
                if !self.passes(u32::from(objectness) << 15) {
                    continue;
                }
                let at = cells * (head.classes + boxes) + number * 4;
                let detection = Detection {
                    x: self.centre(x, value(at), side, input[1]),
                    y: self.centre(y, value(at + 1), side, input[0]),
                    w: self.size(value(at + 2), fraction(input[1])),
                    h: self.size(value(at + 3), fraction(input[0])),
                    index: first.wrapping_add(number as u32),
                    objectness,
                    ..Detection::default()
                };
                let classes = tensor.channels(0, cell * head.classes, head.classes);
                self.classes(detection, 0, cell * head.classes, classes, collector);
            }
        }
    }

    /// One detection for every class whose score passes.
    fn classes(
        &self,
        detection: Detection,
        pixel: usize,
        base: usize,
        values: &[core::cell::Cell<i8>],
        collector: &mut Collector<'_>,
    ) {
        let head = &self.head;
        let softmax =
            (head.flags & head_flags::SOFTMAX != 0).then(|| Softmax::over(head, self.tensor, pixel, base));
        for (class, q) in values.iter().enumerate() {
            let probability = match softmax {
                Some(softmax) => softmax.probability(head, q.get()),
                None => look_up(head.class, q.get()).get(),
            };
            let score = u32::from(detection.objectness).wrapping_mul(u32::from(probability));
            if self.passes(score) {
                collector.push(Detection { score, class: class as u16, ..detection });
            }
        }
    }

    fn passes(&self, score: u32) -> bool {
        score > self.threshold
    }

    /// `(cell + table) · input / grid`, rounded down.
    fn centre(&self, cell: usize, q: i8, grid: usize, input: usize) -> i32 {
        let cells = ((cell as i64) << 16) + i64::from(look_up(self.head.xy, q).get());
        bounded(cells.saturating_mul(input as i64).checked_div_euclid(grid as i64).unwrap_or(0))
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
    fn over(head: &Head<'_>, tensor: Tensor<'_>, pixel: usize, base: usize) -> Self {
        let values = tensor.channels(pixel, base, head.classes);
        let max = values.iter().map(|q| q.get()).max().unwrap_or(0);
        let sum = values.iter().map(|q| u32::from(Self::exponential(head, max, q.get())));
        Self { max, sum: sum.fold(0, u32::wrapping_add) }
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
