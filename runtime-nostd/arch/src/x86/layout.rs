//! Activations in blocks of four channels: `[c / 4][pixel][4]`, unsigned, `q + 128`.
//!
//! A **plane** holds four channels. Its rows have [`Layout::pitch`] pixels, of which those past the width pad both
//! the end of a row and the beginning of the next; between planes is a **gap** that pads the last rows of one and the
//! first rows of the next. So a window of stride 1 is a set of constant distances, and a plane one long row.

use super::flow::Group;

/// Bytes of activations, and of packed weights, beyond which nothing is planned: the portable kernels need less.
pub(super) const MEMORY_LIMIT: usize = 1 << 30;
/// Bytes of a pixel of four channels.
pub(super) const PIXEL: usize = 4;
/// Pixels of the widest vector: planes begin at multiples of it.
const ALIGN: usize = 16;
/// Pixels behind a buffer that kernels may read and never use.
const SLACK: usize = 64;

/// A buffer's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) planes: usize,
    /// Pixels from one row to the next.
    pub(super) pitch: usize,
    /// Pixels before and after a plane that hold the zero point.
    pub(super) margin: usize,
}

impl Layout {
    /// `columns` of padding beside each row, `rows` above and below each plane.
    pub(super) fn new([h, w, c]: [usize; 3], columns: usize, rows: usize) -> Self {
        let pitch = w + columns;
        Self { h, w, planes: c.div_ceil(PIXEL), pitch, margin: rows * pitch + columns }
    }

    /// Pixels of a plane, the padding between its rows included.
    pub(super) fn pixels(&self) -> usize {
        self.h * self.pitch
    }

    /// Pixels from one plane to the next. A vector that begins inside a plane ends before the padding
    /// of the next one.
    pub(super) fn stride(&self) -> usize {
        (self.pixels() + self.margin + ALIGN).next_multiple_of(ALIGN)
    }

    /// Pixels before the first plane.
    fn lead(&self) -> usize {
        self.margin.next_multiple_of(ALIGN)
    }

    /// Bytes of the buffer.
    pub(super) fn bytes(&self) -> usize {
        (self.lead() + self.planes * self.stride() + SLACK) * PIXEL
    }

    /// The planes from `first` on that hold `c` channels, of a buffer at byte `offset` of the memory.
    pub(super) fn view(&self, offset: usize, first: usize, c: usize) -> View {
        View {
            base: offset + (self.lead() + first * self.stride()) * PIXEL,
            layout: Self { planes: c.div_ceil(PIXEL), ..*self },
            c,
            stride: self.stride() * PIXEL,
            start: offset,
            end: offset + self.bytes(),
        }
    }
}

/// A feature map in the memory: `c` channels in `layout.planes` planes.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Byte of the first pixel.
    pub(super) base: usize,
    pub(super) layout: Layout,
    pub(super) c: usize,
    /// Bytes from one plane to the next.
    pub(super) stride: usize,
    /// Bytes of the buffer that it is in.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl View {
    /// Bytes from one row to the next.
    pub(super) fn row(&self) -> usize {
        self.layout.pitch * PIXEL
    }

    /// Whether `bytes` bytes from `distance` past the first pixel are inside the buffer.
    pub(super) fn contains(&self, distance: isize, bytes: usize) -> bool {
        let first = self.base as isize + distance;
        first >= self.start as isize && first + bytes as isize <= self.end as isize
    }
}

/// A line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// The memory of one run: every activation of a [`Plan`](super::Plan).
#[derive(Debug, Default)]
pub struct Memory {
    lines: Vec<Line>,
}

impl Memory {
    /// Makes room for `bytes` bytes at least.
    pub(super) fn grow(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(64).max(self.lines.len());
        self.lines.resize(lines, Line([0; 64]));
    }

    pub(super) fn bytes(&mut self) -> Bytes {
        Bytes { start: self.lines.as_mut_ptr().cast(), length: self.lines.len() * 64 }
    }
}

/// The bytes of a [`Memory`], for kernels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes {
    start: *mut u8,
    length: usize,
}

// SAFETY: a pointer to bytes that a `Memory` owns; its methods are unsafe, and whoever calls them says that no other
// thread uses the bytes.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// A pointer to byte `offset`.
    ///
    /// # Safety
    /// `offset` is inside the memory.
    #[inline(always)]
    pub(super) unsafe fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.length, "byte {offset} of {}", self.length);
        // SAFETY: inside the allocation, as the caller says.
        unsafe { self.start.add(offset) }
    }

    /// Writes `value` to `count` bytes.
    ///
    /// # Safety
    /// The bytes are inside the memory and nobody else uses them.
    pub(super) unsafe fn fill(&self, offset: usize, count: usize, value: u8) {
        debug_assert!(offset + count <= self.length);
        // SAFETY: inside the allocation, as the caller says.
        unsafe { self.start.add(offset).write_bytes(value, count) }
    }
}

/// The padding of a feature map that windows reach into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    pub(super) view: View,
    /// Stored zero point.
    pub(super) value: u8,
}

impl Seal {
    /// Gives all padding around planes `first .. last` the zero point: kernels write past the rows' ends.
    ///
    /// # Safety
    /// The view is inside the memory and nobody else uses the planes and the gaps beside them.
    pub(super) unsafe fn apply(&self, memory: Bytes, first: usize, last: usize) {
        let Self { view, value } = *self;
        let Layout { h, w, pitch, margin, .. } = view.layout;
        let pixel = u32::from_ne_bytes([value; PIXEL]);
        let pixels = view.layout.pixels() * PIXEL;
        // SAFETY: a buffer has a margin before its first plane and a gap of at least that after each.
        unsafe {
            memory.fill(view.base + first * view.stride - margin * PIXEL, margin * PIXEL, value);
            for plane in first..last {
                let base = view.base + plane * view.stride;
                let mut at = base + w * PIXEL;
                match pitch - w {
                    1 => {
                        for _ in 0..h {
                            memory.at(at).cast::<u32>().write_unaligned(pixel);
                            at += pitch * PIXEL;
                        }
                    }
                    2 => {
                        for _ in 0..h {
                            memory.at(at).cast::<[u32; 2]>().write_unaligned([pixel; 2]);
                            at += pitch * PIXEL;
                        }
                    }
                    columns => {
                        for _ in 0..h {
                            memory.fill(at, columns * PIXEL, value);
                            at += pitch * PIXEL;
                        }
                    }
                }
                // The gap: planes begin and end at whole lines of the cache.
                for at in (base + pixels..base + view.stride).step_by(PIXEL) {
                    memory.at(at).cast::<u32>().write_unaligned(pixel);
                }
            }
        }
    }
}

/// Offsets of buffers, those that are live together apart, and the bytes of all; `None` past [`MEMORY_LIMIT`].
pub(super) fn allocate(groups: &[Group], layouts: &[Layout]) -> Option<(Vec<usize>, usize)> {
    let size = |index: usize| layouts[index].bytes().next_multiple_of(ALIGN * PIXEL);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(size(index)));
    let mut offsets = vec![usize::MAX; groups.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for index in order {
        let live = |other: &&usize| {
            groups[**other].first <= groups[index].last && groups[index].first <= groups[**other].last
        };
        let mut busy: Vec<[usize; 2]> =
            placed.iter().filter(live).map(|&other| [offsets[other], offsets[other] + size(other)]).collect();
        busy.sort_unstable();
        let mut offset = 0;
        for [start, end] in busy {
            if start >= offset + size(index) {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        total = total.max(offset + size(index));
        if total > MEMORY_LIMIT {
            return None;
        }
        placed.push(index);
    }
    Some((offsets, total))
}
