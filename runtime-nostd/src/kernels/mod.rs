//! Reference kernels: the specification of the integer arithmetic in code, in plain loops.
//!
//! Tuned kernels (`secateur-kernels`, the accelerator) give the same bytes. Common to all:
//! - a tensor is `[h, w, c]` i8 with `real = scale · (q − zero_point)`; scales are unknown here;
//! - accumulation is exact: the compiler proves `|bias| + 128 · Σ|w| < 2^31`;
//! - a result is rounded once, half up, by [`requantise`];
//! - no kernel fails or panics: what `Model::from_bytes` has checked runs, and a call with shapes
//!   that disagree leaves parts of the output as they were.
//!
//! Inputs and outputs must not overlap, except that the element-wise kernels ([`shortcut`],
//! [`rescale`] without crop, [`activate`], [`multiply`]) may write over an input of the same view.

mod connected;
mod conv;
mod depthwise;
mod elementwise;
mod layout;
mod pool;
mod requant;
mod softmax;

use zerocopy::little_endian::I32;

pub use crate::artefact::format::{ReorgMode, Requant, ShortcutMode};
pub use connected::connected;
pub use conv::conv;
pub use depthwise::depthwise;
pub use elementwise::{activate, multiply, rescale, shortcut};
pub use layout::{reorg, upsample};
pub use pool::{avgpool, local_avgpool, maxpool};
pub use requant::{Slopes, look_up, requantise, saturate};
pub use softmax::softmax;

/// A table of 256 codes: what stands for `q` is entry `q + 128`.
pub type Table = [i8; 256];

/// A window sliding over a map. What reaches outside takes the input's zero point (convolutions)
/// or no part (pooling).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub kernel_h: usize,
    pub kernel_w: usize,
    pub stride_h: usize,
    pub stride_w: usize,
    pub dilation_h: usize,
    pub dilation_w: usize,
    /// Rows above the picture; those below follow from the output's height.
    pub pad_top: usize,
    pub pad_left: usize,
}

impl Window {
    /// Input row and column under tap `(ky, kx)` of the window at output `(y, x)`; beyond any picture where
    /// they lie above or left of it.
    pub const fn tap(&self, y: usize, x: usize, ky: usize, kx: usize) -> (usize, usize) {
        let row = (y * self.stride_h + ky * self.dilation_h).wrapping_sub(self.pad_top);
        let column = (x * self.stride_w + kx * self.dilation_w).wrapping_sub(self.pad_left);
        (row, column)
    }

    /// A square window.
    pub const fn square(kernel: usize, stride: usize, pad: usize) -> Self {
        Self {
            kernel_h: kernel,
            kernel_w: kernel,
            stride_h: stride,
            stride_w: stride,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: pad,
            pad_left: pad,
        }
    }
}

/// What happens to an accumulator: requantise, add the output's zero point, clamp, table.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// One a channel, or exactly one for all (see the kernel).
    pub requant: &'a [Requant],
    /// Bounds of the code before the table; −128 and 127 where nothing narrows them.
    pub lo: i8,
    pub hi: i8,
    /// Activation that two slopes cannot express; the code before it is a pre-activation in a scale
    /// of its own, with zero point [`Epilogue::zero_point`].
    pub table: Option<&'a Table>,
    /// Zero point of the requantised code: the output's own where there is no table.
    pub zero_point: i8,
}

/// int8 convolution with per-output-channel requantisation.
///
/// `input`   `[in_h, in_w, in_c]`, its zero point pads the borders
/// `weights` `[out_c][k_h][k_w][in_c / groups]` i8 in −127..=127
/// `bias`    `[out_c]` i32, `b − Z_in · Σw`
/// `output`  `[out_h, out_w, out_c]`; `requant` `[out_c]`
#[derive(Debug, Clone, Copy)]
pub struct Conv<'a> {
    pub window: Window,
    pub groups: usize,
    pub weights: &'a [i8],
    pub bias: &'a [I32],
    pub epilogue: Epilogue<'a>,
}

/// Depthwise convolution: one k × k filter a channel.
///
/// `weights` `[k_h][k_w][c]` i8, `bias` `[c]`, `requant` `[c]`; input and output have `c` channels.
#[derive(Debug, Clone, Copy)]
pub struct Depthwise<'a> {
    pub window: Window,
    pub weights: &'a [i8],
    pub bias: &'a [I32],
    pub epilogue: Epilogue<'a>,
}

/// Fully connected layer over the whole input map.
///
/// `weights` `[out_c][in_h][in_w][in_c]` i8, `bias` `[out_c]`, `requant` `[out_c]`;
/// `output` `[1, 1, out_c]`.
#[derive(Debug, Clone, Copy)]
pub struct Connected<'a> {
    pub weights: &'a [i8],
    pub bias: &'a [I32],
    pub epilogue: Epilogue<'a>,
}

/// Sum of maps: `acc = Σ (q_i − Z_i) · M_i`, then `requant` `[1]`.
///
/// An input of fewer channels than the output adds to the leading ones only; what an input has
/// beyond them is ignored. Linear: `requant` = (1, 1, shift).
#[derive(Debug, Clone, Copy)]
pub struct Shortcut<'a> {
    /// `[n]` or `[n][out_c]`, as `mode` says; `255 · Σ|M_i| < 2^31`.
    pub multipliers: &'a [I32],
    pub mode: ShortcutMode,
    pub epilogue: Epilogue<'a>,
}
