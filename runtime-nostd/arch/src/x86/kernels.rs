//! Runs a step's kernel.

use super::conv::Block;
use super::elementwise::Add;
use super::isa::Isa;
use super::layout::{Bytes, View};
use super::plan::{Job, Work};
use super::requant::Post;

/// Runs a job's kernel; nothing for a step of the engine's.
///
/// # Safety
/// The processor has `V`'s instructions; the job's views are inside `memory`; nobody else uses it.
pub(super) unsafe fn run<V: Isa>(memory: Bytes, job: &Job<'_>) {
    let planes = 0..job.output.layout.planes;
    // SAFETY: as the function says.
    unsafe {
        match &job.work {
            Work::Conv(conv) => {
                conv.blocks.chunk_by(Block::is_alike).for_each(|blocks| conv.run::<V>(memory, blocks));
            }
            Work::Depthwise(depthwise) => planes.for_each(|plane| depthwise.run::<V>(memory, plane)),
            Work::Add(add) => planes.for_each(|plane| add_plane::<V>(memory, add, plane)),
            Work::Map { input, post } => {
                planes.for_each(|plane| map_plane::<V>(memory, [input, &job.output], post, plane));
            }
            Work::Upsample(upsample) => planes.for_each(|plane| upsample.run(memory, plane)),
            Work::MaxPool(pool) => planes.for_each(|plane| pool.run::<V>(memory, plane)),
            Work::Portable => {}
        }
    }
}

/// Vectors that cover a plane.
fn vectors<V: Isa>(view: &View) -> usize {
    view.layout.pixels().div_ceil(V::PIXELS)
}

/// # Safety
/// As for [`run`].
unsafe fn add_plane<V: Isa>(memory: Bytes, add: &Add, plane: usize) {
    // SAFETY: as the function says.
    unsafe {
        let inputs = add.inputs.map(|view| memory.at(view.base + plane * view.stride).cast_const());
        let output = memory.at(add.output.base + plane * add.output.stride);
        let vectors = vectors::<V>(&add.output);
        V::sum(add, inputs, output, vectors);
        V::post(&add.post, output, output, vectors);
    }
}

/// # Safety
/// As for [`run`].
unsafe fn map_plane<V: Isa>(memory: Bytes, [input, output]: [&View; 2], post: &Post, plane: usize) {
    // SAFETY: as the function says.
    unsafe {
        let from = memory.at(input.base + plane * input.stride);
        let to = memory.at(output.base + plane * output.stride);
        V::post(post, from, to, vectors::<V>(output));
    }
}
