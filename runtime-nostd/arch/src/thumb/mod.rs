//! Kernels for processors with the DSP extension of Armv7E-M: Cortex-M4 and Cortex-M7, and Cortex-M33 and Cortex-M55, which
//! have its instructions too.
//!
//! They take constants packed when compiling ([`secateur_runtime::packed`]) and workspace from the arena. Inner
//! loops are assembly, for all fourteen registers; this module's Rust checks whatever they rely on: a layer that they
//! cannot do, or workspace or constants that are too short or not aligned, goes to the portable kernels.

mod conv;
mod depthwise;
mod elementwise;

use core::cell::Cell;

use secateur_runtime::kernels::{self, Connected, Conv, Depthwise, Shortcut, Table, Window};
use secateur_runtime::packed::{self, Bounds, PackedConv, PackedDepthwise};
use secateur_runtime::{Kernels, Operators, Tensor};
use zerocopy::little_endian::U32;

use crate::Tiled;

/// Kernels for Cortex-M4, M7, M33 and M55. Layers whose constants are not packed run on [`Tiled`]; what these kernels do
/// not take, on the reference kernels, whose code is small. A program links those in the set of bits `OPERATORS`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thumb<const OPERATORS: u32 = { Operators::ALL.bits() }>;

impl<const OPERATORS: u32> Kernels for Thumb<OPERATORS> {
    const OPERATORS: Operators = Operators::from_bits(OPERATORS);

    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Conv<'_>) {
        Tiled.conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Depthwise<'_>) {
        Tiled.depthwise(input, output, parameters);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &Connected<'_>) {
        Tiled.connected(input, output, parameters);
    }

    fn packed_conv(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedConv<'_>,
        scratch: &[Cell<i8>],
    ) {
        if conv::conv::<OPERATORS>(input, output, parameters, Scratch(scratch)).is_none() {
            count_fallback();
            packed::packed_conv(input, output, parameters);
        }
    }

    fn packed_depthwise(
        &self,
        input: Tensor<'_>,
        output: Tensor<'_>,
        parameters: &PackedDepthwise<'_>,
        scratch: &[Cell<i8>],
    ) {
        if depthwise::depthwise::<OPERATORS>(input, output, parameters, Scratch(scratch)).is_none() {
            count_fallback();
            packed::packed_depthwise(input, output, parameters);
        }
    }

    fn maxpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &Window) {
        if elementwise::maxpool(input, output, window).is_none() {
            count_fallback();
            kernels::maxpool(input, output, window);
        }
    }

    fn shortcut<'t, I>(&self, inputs: I, output: Tensor<'_>, parameters: &Shortcut<'_>)
    where
        I: Iterator<Item = Tensor<'t>> + Clone,
    {
        let mut both = inputs.clone();
        let done = match (both.next(), both.next(), both.next()) {
            (Some(a), Some(b), None) => elementwise::add(a, b, output, parameters),
            _ => None,
        };
        if done.is_none() {
            count_fallback();
            kernels::shortcut(inputs, output, parameters);
        }
    }
}

/// Calls that went to the portable kernels: tests want to know that not all did.
#[cfg(feature = "count-fallbacks")]
pub static FALLBACKS: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

fn count_fallback() {
    #[cfg(feature = "count-fallbacks")]
    FALLBACKS.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
}

/// Workspace of a layer.
#[derive(Debug, Clone, Copy)]
struct Scratch<'a>(&'a [Cell<i8>]);

impl Scratch<'_> {
    /// The first aligned word and the number of words from there.
    fn words(self) -> (*mut u32, usize) {
        let start = self.0.as_ptr();
        let skip = start.align_offset(4);
        let room = self.0.len().saturating_sub(skip) / 4;
        (start.wrapping_add(skip).cast::<u32>().cast_mut(), room)
    }
}

/// The first of packed words, which the assembly loads in pairs: aligned, or `None`.
fn words(words: &[U32]) -> Option<*const u32> {
    let first = words.as_ptr().cast::<u32>();
    first.is_aligned().then_some(first)
}

/// What is left to do after saturation to 8 bits.
fn finish(output: Tensor<'_>, bounds: &Bounds<'_>) {
    finish_with(output, bounds.lo, bounds.hi, bounds.table);
}

/// Narrower bounds than 8 bits, and a table: a pass over the codes.
fn finish_with(output: Tensor<'_>, lo: i8, hi: i8, table: Option<&Table>) {
    if lo == i8::MIN && hi == i8::MAX && table.is_none() {
        return;
    }
    for pixel in 0..output.pixels() {
        for code in output.pixel(pixel) {
            let q = code.get().max(lo).min(hi);
            code.set(table.map_or(q, |table| kernels::look_up(table, q)));
        }
    }
}
