//! Steps in parts, for one thread or several.

use super::conv::{Block, Conv, Rows};
use super::depthwise::Depthwise;
use super::elementwise::Add;
use super::isa::Isa;
use super::layout::{Bytes, PIXEL, View};
use super::plan::{Job, Work};
use super::requant::Post;
use super::team::Team;

/// Rows from which on a feature map is split into bands of rows, as its producers' and consumers' are: a thread finds
/// in its cache what it wrote. Smaller maps are split into channels.
const BANDS: usize = 80;
/// Parts for each thread: a thread that is late costs less.
const PARTS: usize = 2;
/// Vectors of outputs, times the work for each, below which a step is not worth sharing: some microseconds.
const LEAST: usize = 10_000;

/// Runs a job's kernel; nothing for a step of the engine's.
///
/// # Safety
/// The processor has `V`'s instructions; the job's views are inside `memory`; nobody else uses it.
pub(super) unsafe fn run<V: Isa>(team: Option<&Team>, memory: Bytes, job: &Job<'_>) {
    let Some(team) = team else {
        // SAFETY: as the function says.
        unsafe { part::<V>(memory, job, 0, 1) }
        return;
    };
    let count = parts::<V>(job, PARTS * team.threads());
    // SAFETY: as the function says; parts write different bytes and read what none of them writes.
    team.share(count, &|index| unsafe { part::<V>(memory, job, index, count) });
}

/// Into how many parts a job is split, `most` at most.
fn parts<V: Isa>(job: &Job<'_>, most: usize) -> usize {
    let layout = job.output.layout;
    let vectors = layout.pixels().div_ceil(V::PIXELS);
    let outputs = vectors * layout.planes;
    let bands = layout.h >= BANDS;
    let (work, count) = match &job.work {
        Work::Conv(conv) => {
            let bands = conv_bands::<V>(conv, bands);
            (4 * conv.sources.len() + 10, if bands { most } else { conv.blocks.len() })
        }
        Work::Depthwise(depthwise) => {
            let rows = depthwise_bands::<V>(depthwise, bands);
            (20, if rows { most } else { layout.planes })
        }
        Work::Add(_) | Work::Map { .. } => (10, if bands { most } else { layout.planes }),
        Work::Upsample(_) => (10, layout.planes),
        Work::MaxPool(_) | Work::Portable => return 1,
    };
    if outputs * work < LEAST { 1 } else { count.min(most) }
}

/// Whether the rows of what a kernel walks can be split: vectors must end inside their row, and tables are applied to
/// whole planes of short rows.
fn has_bands<V: Isa>(rows: &Rows, post: &Post) -> bool {
    rows.long || rows.width >= V::PIXELS && matches!(post, Post::Nothing)
}

/// Whether a convolution is split into bands: also where channels are few.
fn conv_bands<V: Isa>(conv: &Conv, bands: bool) -> bool {
    has_bands::<V>(&conv.rows, &conv.post) && (bands || conv.blocks.len() < 4)
}

/// Whether a depthwise convolution is split into bands.
fn depthwise_bands<V: Isa>(depthwise: &Depthwise, bands: bool) -> bool {
    has_bands::<V>(&depthwise.rows, &depthwise.post) && bands
}

/// Computes part `index` of `count`.
///
/// # Safety
/// As for [`run`].
unsafe fn part<V: Isa>(memory: Bytes, job: &Job<'_>, index: usize, count: usize) {
    let layout = job.output.layout;
    let bands = layout.h >= BANDS;
    let share = |n: usize| n * index / count..n * (index + 1) / count;
    // SAFETY: as the function says.
    unsafe {
        match &job.work {
            Work::Conv(conv) => {
                let all = conv.rows.all(V::PIXELS);
                let (blocks, span) = if conv_bands::<V>(conv, bands) {
                    (0..conv.blocks.len(), conv.rows.part(V::PIXELS, index, count))
                } else {
                    (share(conv.blocks.len()), all)
                };
                for blocks in conv.blocks[blocks].chunk_by(Block::is_alike) {
                    conv.run::<V>(memory, blocks, span);
                }
            }
            Work::Depthwise(depthwise) => {
                let all = depthwise.rows.all(V::PIXELS);
                let (planes, span) = if depthwise_bands::<V>(depthwise, bands) {
                    (0..layout.planes, depthwise.rows.part(V::PIXELS, index, count))
                } else {
                    (share(layout.planes), all)
                };
                planes.for_each(|plane| depthwise.run::<V>(memory, plane, span));
            }
            Work::Add(add) => {
                each(layout.planes, vectors::<V>(&job.output), bands, share, |plane, first, last| {
                    add_plane::<V>(memory, add, plane, first, last);
                })
            }
            Work::Map { input, post } => {
                each(layout.planes, vectors::<V>(&job.output), bands, share, |plane, first, last| {
                    map_plane::<V>(memory, [input, &job.output], post, plane, first, last);
                });
            }
            Work::Upsample(upsample) => share(layout.planes).for_each(|plane| upsample.run(memory, plane)),
            Work::MaxPool(pool) => (0..layout.planes).for_each(|plane| pool.run::<V>(memory, plane)),
            Work::Portable => {}
        }
    }
}

/// Calls `work` for this part's vectors of all planes, or for all vectors of its planes.
fn each(
    planes: usize,
    vectors: usize,
    bands: bool,
    share: impl Fn(usize) -> std::ops::Range<usize>,
    work: impl Fn(usize, usize, usize),
) {
    if bands {
        let range = share(vectors);
        (0..planes).for_each(|plane| work(plane, range.start, range.end));
    } else {
        share(planes).for_each(|plane| work(plane, 0, vectors));
    }
}

/// Vectors that cover a plane.
fn vectors<V: Isa>(view: &View) -> usize {
    view.layout.pixels().div_ceil(V::PIXELS)
}

/// # Safety
/// As for [`run`].
unsafe fn add_plane<V: Isa>(memory: Bytes, add: &Add, plane: usize, first: usize, last: usize) {
    let at = first * V::PIXELS * PIXEL;
    // SAFETY: as the function says.
    unsafe {
        let inputs = add.inputs.map(|view| memory.at(view.base + plane * view.stride + at).cast_const());
        let output = memory.at(add.output.base + plane * add.output.stride + at);
        V::sum(add, inputs, output, last - first);
        V::post(&add.post, output, output, last - first);
    }
}

/// # Safety
/// As for [`run`].
unsafe fn map_plane<V: Isa>(
    memory: Bytes,
    [input, output]: [&View; 2],
    post: &Post,
    plane: usize,
    first: usize,
    last: usize,
) {
    let at = first * V::PIXELS * PIXEL;
    // SAFETY: as the function says.
    unsafe {
        let from = memory.at(input.base + plane * input.stride + at);
        let to = memory.at(output.base + plane * output.stride + at);
        V::post(post, from, to, last - first);
    }
}
