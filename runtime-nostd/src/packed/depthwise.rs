//! Depthwise convolution in groups of four channels.

use zerocopy::little_endian::U32;

use super::{ALIGNING, Bounds, Form, Scale, accumulates, word};
use crate::kernels::{Depthwise, Window};
use crate::tensor::Tensor;

/// Order of a packed depthwise convolution's words.
///
/// Channel after channel, in groups of four; the last group of a number that four does not divide reaches back over
/// channels that are there already and then count. A channel has its window's weights row by row, its bias
/// and its parameters ([`Form::words`]). A row of three is a word of the bytes `w0 w1 w1 w2`: its even bytes and its odd
/// ones are the pairs that outputs side by side need. A row of five is `w0 w2 w1 w3` and `w1 w3 w2 w4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthwiseLayout {
    /// Side of the window: 3 or 5.
    pub kernel: usize,
    pub channels: usize,
    pub form: Form,
}

/// Bytes of the workspace that a row of four channels takes, as wide as it may be.
pub const ROW_BYTES: usize = 496;

/// Channels of a group.
const GROUP: usize = 4;

impl DepthwiseLayout {
    /// The layout of a depthwise convolution; `None` where the kernels have no form for it: a window other than 3 × 3
    /// with stride 1 or 2 and 5 × 5 with stride 1, gaps in it, more than two columns of padding, fewer than four
    /// channels, or shifts that no form expresses.
    pub fn of(depthwise: &Depthwise<'_>, channels: usize) -> Option<Self> {
        let Window { kernel_h, kernel_w, stride_h, stride_w, .. } = depthwise.window;
        let known = [(3, 1), (3, 2), (5, 1)].contains(&(kernel_h, stride_h));
        let square = kernel_h == kernel_w && stride_h == stride_w;
        let Window { dilation_h, dilation_w, pad_top, pad_left, .. } = depthwise.window;
        let plain = known && square && [dilation_h, dilation_w] == [1; 2] && pad_top.max(pad_left) <= 2;
        let taps = kernel_h.checked_mul(kernel_w)?;
        let whole =
            taps.checked_mul(channels)? == depthwise.weights.len() && depthwise.bias.len() == channels;
        if !plain || !whole || channels < GROUP || depthwise.epilogue.requant.len() != channels {
            return None;
        }
        Some(Self { kernel: kernel_h, channels, form: Form::of(depthwise.epilogue.requant)? })
    }

    /// Words of a row of the window.
    const fn row_words(&self) -> usize {
        if self.kernel == 3 { 1 } else { 2 }
    }

    /// Words of a channel.
    pub const fn channel_words(&self) -> usize {
        self.kernel * self.row_words() + 1 + self.form.words()
    }

    /// Groups of four channels.
    pub const fn groups(&self) -> usize {
        self.channels.div_ceil(GROUP)
    }

    /// First channel of group `group`.
    pub const fn first(&self, group: usize) -> usize {
        if (group + 1) * GROUP > self.channels { self.channels.saturating_sub(GROUP) } else { group * GROUP }
    }

    /// Words of the layer; `None` where that is not a number.
    pub const fn words(&self) -> Option<usize> {
        self.groups().checked_mul(GROUP * self.channel_words())
    }

    /// Where the words of channel `c` begin: in the last group that has it.
    #[inline(always)]
    const fn start(&self, c: usize) -> usize {
        let last = self.groups().saturating_sub(1);
        let slot = if c >= self.first(last) { last * GROUP + c - self.first(last) } else { c };
        slot * self.channel_words()
    }

    /// The columns of the four bytes of word `n` of a row.
    const fn columns(&self, n: usize) -> [usize; 4] {
        match (self.kernel, n) {
            (3, _) => [0, 1, 1, 2],
            (_, 0) => [0, 2, 1, 3],
            _ => [1, 3, 2, 4],
        }
    }

    /// Bytes of workspace in which a kernel computes `outputs` rows of outputs at a time.
    pub const fn scratch_bytes(&self, outputs: usize, stride: usize) -> usize {
        ALIGNING + ((outputs.saturating_sub(1)) * stride + self.kernel) * ROW_BYTES
    }

    /// Writes the words of `depthwise`, whose layout this is ([`DepthwiseLayout::of`]); `None` where `words` is not
    /// [`DepthwiseLayout::words`] long.
    pub fn pack(&self, depthwise: &Depthwise<'_>, words: &mut [U32]) -> Option<()> {
        if Some(words.len()) != self.words() {
            return None;
        }
        for (slot, words) in words.chunks_exact_mut(self.channel_words()).enumerate() {
            let c = self.first(slot / GROUP) + slot % GROUP;
            let weights = self.kernel * self.row_words();
            for (n, word) in words.iter_mut().enumerate().take(weights) {
                let row = n / self.row_words() * self.kernel;
                let mut bytes = [0; 4];
                for (byte, column) in bytes.iter_mut().zip(self.columns(n % self.row_words())) {
                    *byte = *depthwise.weights.get((row + column) * self.channels + c)? as u8;
                }
                *word = U32::from_bytes(bytes);
            }
            *words.get_mut(weights)? = U32::new(depthwise.bias.get(c)?.get() as u32);
            let scale = self.form.scale(depthwise.epilogue.requant.get(c)?)?;
            scale.write(self.form, words.get_mut(weights + 1..)?);
        }
        Some(())
    }
}

/// A depthwise convolution whose constants are packed.
#[derive(Debug, Clone, Copy)]
pub struct PackedDepthwise<'a> {
    pub window: Window,
    pub layout: DepthwiseLayout,
    /// [`DepthwiseLayout::words`] of them.
    pub words: &'a [U32],
    pub bounds: Bounds<'a>,
}

impl PackedDepthwise<'_> {
    /// Bias of channel `c`.
    #[inline(always)]
    pub fn bias(&self, c: usize) -> i32 {
        word(self.words, self.layout.start(c) + self.layout.kernel * self.layout.row_words()) as i32
    }

    /// Weight at row `ky`, column `kx` of the window of channel `c`.
    #[inline(always)]
    pub fn weight(&self, c: usize, ky: usize, kx: usize) -> i32 {
        let (n, byte) = match (self.layout.kernel, kx) {
            (3, 0 | 1) => (0, kx),
            (3, _) => (0, 3),
            (_, 0) => (0, 0),
            (_, 1) => (0, 2),
            (_, 2) => (0, 1),
            (_, 3) => (0, 3),
            _ => (1, 3),
        };
        self.byte(self.layout.start(c) + ky * self.layout.row_words() + n, byte)
    }

    /// Byte `byte` of word `n`, a weight.
    #[inline(always)]
    fn byte(&self, n: usize, byte: usize) -> i32 {
        i32::from((word(self.words, n) >> (8 * byte)) as i8)
    }

    /// Requantisation of channel `c`.
    #[inline(always)]
    pub fn scale(&self, c: usize) -> Scale {
        let at = self.layout.start(c) + self.layout.kernel * self.layout.row_words() + 1;
        Scale::read(self.layout.form, self.words.get(at..).unwrap_or(&[]))
    }

    /// Weights that stand twice are the same, and all constants are within the contract, for every channel.
    pub fn is_valid(&self) -> bool {
        let DepthwiseLayout { kernel, channels, form, .. } = self.layout;
        let row = self.layout.row_words();
        let alike = |c: usize| {
            (0..kernel * row).all(|n| {
                let at = self.layout.start(c) + n;
                let bytes = self.layout.columns(n % row).into_iter().enumerate();
                bytes.into_iter().all(|(byte, kx)| self.byte(at, byte) == self.weight(c, n / row, kx))
            })
        };
        Some(self.words.len()) == self.layout.words()
            && [3, 5].contains(&kernel)
            && channels >= GROUP
            && (0..channels).all(|c| {
                let weights = (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| self.weight(c, ky, kx)));
                alike(c) && accumulates(self.bias(c), weights) && self.scale(c).is_valid(form)
            })
    }
}

/// See [`PackedDepthwise`]: the sums of [`crate::kernels::depthwise`].
pub fn packed_depthwise(input: Tensor<'_>, output: Tensor<'_>, depthwise: &PackedDepthwise<'_>) {
    let window = &depthwise.window;
    for index in 0..output.pixels() {
        let (y, x) = (index / output.w().max(1), index % output.w().max(1));
        for (c, to) in output.pixel(index).iter().enumerate() {
            let mut acc = depthwise.bias(c);
            for ky in 0..window.kernel_h {
                for kx in 0..window.kernel_w {
                    let (row, column) = window.tap(y, x, ky, kx);
                    acc += depthwise.weight(c, ky, kx) * input.padded(row, column, c);
                }
            }
            to.set(depthwise.bounds.finish(acc, depthwise.scale(c)));
        }
    }
}
