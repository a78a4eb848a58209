//! Convolution in pairs of inputs and pairs of outputs.

use zerocopy::little_endian::U32;

use super::{ALIGNING, Bounds, Form, Scale, accumulates, half, word};
use crate::kernels::{Conv, Window};
use crate::tensor::Tensor;

/// Order of a packed convolution's words.
///
/// Outputs stand in pairs, the last pair of an odd number reaching back over one that is there already and then
/// counts. A pair has its two biases, its weights, and each output's parameters ([`Form::words`]). Inputs come a row of the window at a time (`kernel_w · in_c` of them, "a run"):
/// of every four the first with the third, the second with the fourth; then what is left, two by two; a last
/// one alone. A pair of inputs has two words, the first output's weights in halves and the second's; where the layer is
/// `folded`, it has one word with `256 · w1 + w0` in each half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvLayout {
    /// Rows of the window.
    pub runs: usize,
    /// Inputs of a row: window's width times channels.
    pub run: usize,
    pub out_c: usize,
    pub form: Form,
    /// The second output's sum is had from the halves' less the first's, which takes `|acc| < 2^23`.
    pub folded: bool,
}

/// Up to so many pairs of inputs weights are few, and wide ones save instructions.
const FOLD_ABOVE: usize = 9;

impl ConvLayout {
    /// The layout for a convolution of `in_c` channels; `None` where it has groups, one output, or shifts that no
    /// form expresses.
    pub fn of(conv: &Conv<'_>, in_c: usize, out_c: usize) -> Option<Self> {
        let Window { kernel_h, kernel_w, .. } = conv.window;
        let run = kernel_w.checked_mul(in_c)?;
        let taps = kernel_h.checked_mul(run)?;
        let fits = conv.groups == 1 && out_c > 1 && taps > 0;
        let whole = taps.checked_mul(out_c)? == conv.weights.len() && conv.bias.len() == out_c;
        if !fits || !whole || conv.epilogue.requant.len() != out_c {
            return None;
        }
        let form = Form::of(conv.epilogue.requant)?;
        let rows = conv.weights.chunks_exact(taps).zip(conv.bias);
        let small = rows.into_iter().all(|(row, bias)| {
            let sum: u64 = row.iter().map(|w| u64::from(w.unsigned_abs())).sum();
            u64::from(bias.get().unsigned_abs()) + 128 * sum < 1 << 23
        });
        let layout = Self { runs: kernel_h, run, out_c, form, folded: false };
        Some(Self { folded: small && layout.pairs() > FOLD_ABOVE, ..layout })
    }

    /// Bytes of workspace that a kernel wants: the inputs of four outputs widened, with room to align them and, but for
    /// windows of one pixel, a row of each.
    pub const fn scratch_bytes(&self) -> usize {
        let rows = if self.runs == 1 { 0 } else { 4 * self.run.next_multiple_of(4) };
        ALIGNING + self.pairs() * 16 + rows
    }

    /// Pairs of inputs of a whole window.
    #[inline(always)]
    pub const fn pairs(&self) -> usize {
        self.runs * self.run.div_ceil(2)
    }

    /// Words of a pair of outputs.
    #[inline(always)]
    pub const fn pair_words(&self) -> usize {
        2 + self.weight_words() + 2 * self.form.words()
    }

    /// Words of the weights of a pair of outputs.
    #[inline(always)]
    const fn weight_words(&self) -> usize {
        if self.folded { self.pairs() } else { 2 * self.pairs() }
    }

    /// Word of a pair of outputs, and its half, in which output `lane` has its weight for input `tap`.
    #[inline(always)]
    const fn weight_place(&self, lane: usize, tap: usize) -> (usize, usize) {
        let (pair, half) = self.place(tap);
        (2 + if self.folded { pair } else { 2 * pair + lane }, half)
    }

    /// Words of the layer; `None` where that is not a number.
    pub const fn words(&self) -> Option<usize> {
        let Some(pairs) = self.runs.checked_mul(self.run.div_ceil(2)) else { return None };
        let Some(weights) = pairs.checked_mul(if self.folded { 1 } else { 2 }) else { return None };
        let Some(pair_words) = weights.checked_add(2 + 2 * self.form.words()) else { return None };
        self.out_c.div_ceil(2).checked_mul(pair_words)
    }

    /// Pair and half in which input `tap` of a window stands.
    #[inline(always)]
    pub const fn place(&self, tap: usize) -> (usize, usize) {
        let (run, at) = (tap.checked_div(self.run), tap.checked_rem(self.run));
        let (Some(run), Some(at)) = (run, at) else { return (0, 0) };
        let first = run * self.run.div_ceil(2) + at / 4 * 2;
        let at_quad = at % 4;
        if at / 4 < self.run / 4 {
            (first + at_quad % 2, at_quad / 2)
        } else {
            (first + at_quad / 2, at_quad % 2)
        }
    }

    /// Pair of outputs in which output `o` stands, and its number there.
    #[inline(always)]
    const fn lane(&self, o: usize) -> (usize, usize) {
        if self.out_c % 2 == 1 && o + 2 >= self.out_c {
            (self.out_c / 2, o + 2 - self.out_c)
        } else {
            (o / 2, o % 2)
        }
    }

    /// The outputs of pair `pair`.
    const fn outputs(&self, pair: usize) -> [usize; 2] {
        let first = if 2 * pair + 2 > self.out_c { self.out_c - 2 } else { 2 * pair };
        [first, first + 1]
    }

    /// Writes the words of `conv`, whose layout this is ([`ConvLayout::of`]); `None` where `words` is not
    /// [`ConvLayout::words`] long.
    pub fn pack(&self, conv: &Conv<'_>, words: &mut [U32]) -> Option<()> {
        if Some(words.len()) != self.words() {
            return None;
        }
        let taps = self.runs * self.run;
        for (pair, words) in words.chunks_exact_mut(self.pair_words()).enumerate() {
            words.fill(U32::new(0));
            for (lane, o) in self.outputs(pair).into_iter().enumerate() {
                *words.get_mut(lane)? = U32::new(conv.bias.get(o)?.get() as u32);
                for (tap, &w) in conv.weights.get(o * taps..(o + 1) * taps)?.iter().enumerate() {
                    let (at, half) = self.weight_place(lane, tap);
                    let word = words.get_mut(at)?;
                    let old = (word.get() >> (16 * half)) as u16;
                    // When folded the first output's weight is there already.
                    let new = if self.folded && lane == 1 {
                        (old as i16).wrapping_add(i16::from(w) << 8) as u16
                    } else {
                        i16::from(w) as u16
                    };
                    let keep = word.get() & !(0xffff << (16 * half));
                    *word = U32::new(keep | u32::from(new) << (16 * half));
                }
                let from = 2 + self.weight_words() + lane * self.form.words();
                let scale = self.form.scale(conv.epilogue.requant.get(o)?)?;
                scale.write(self.form, words.get_mut(from..)?);
            }
        }
        Some(())
    }
}

/// A convolution whose constants are packed.
#[derive(Debug, Clone, Copy)]
pub struct PackedConv<'a> {
    pub window: Window,
    pub layout: ConvLayout,
    /// [`ConvLayout::words`] of them.
    pub words: &'a [U32],
    pub bounds: Bounds<'a>,
}

impl PackedConv<'_> {
    /// Bias of output `o`.
    #[inline(always)]
    pub fn bias(&self, o: usize) -> i32 {
        let (pair, lane) = self.layout.lane(o);
        word(self.words, pair * self.layout.pair_words() + lane) as i32
    }

    /// Weight of input `tap` (`(ky · kernel_w + kx) · in_c + i`) for output `o`.
    #[inline(always)]
    pub fn weight(&self, o: usize, tap: usize) -> i32 {
        let (pair, lane) = self.layout.lane(o);
        let (at, side) = self.layout.weight_place(lane, tap);
        let half = half(word(self.words, pair * self.layout.pair_words() + at), side);
        let low = i32::from(half as i8);
        match (self.layout.folded, lane) {
            (false, _) => half,
            (true, 0) => low,
            (true, _) => (half - low) >> 8,
        }
    }

    /// Requantisation of output `o`.
    #[inline(always)]
    pub fn scale(&self, o: usize) -> Scale {
        let (pair, lane) = self.layout.lane(o);
        let ConvLayout { form, .. } = self.layout;
        let at = pair * self.layout.pair_words() + 2 + self.layout.weight_words() + lane * form.words();
        Scale::read(form, self.words.get(at..).unwrap_or(&[]))
    }

    /// Whether the halves beside the last inputs of odd runs are 0. Kernels multiply them with whatever stands there.
    fn rests(&self) -> bool {
        let ConvLayout { runs, run, out_c, .. } = self.layout;
        run % 2 == 0
            || (0..out_c).all(|o| {
                let (pair, lane) = self.layout.lane(o);
                (1..=runs).all(|ended| {
                    let (at, side) = self.layout.weight_place(lane, ended * run - 1);
                    half(word(self.words, pair * self.layout.pair_words() + at), 1 - side) == 0
                })
            })
    }

    /// Weights, biases and scales within the contract, for every output.
    pub fn is_valid(&self) -> bool {
        let layout = &self.layout;
        let taps = layout.runs * layout.run;
        Some(self.words.len()) == layout.words()
            && layout.out_c > 1
            && self.rests()
            && (0..layout.out_c).all(|o| {
                let weights = (0..taps).map(|tap| self.weight(o, tap));
                let sum: u64 = weights.clone().map(|w| u64::from(w.unsigned_abs())).sum();
                let small = u64::from(self.bias(o).unsigned_abs()) + 128 * sum < 1 << 23;
                accumulates(self.bias(o), weights)
                    && (small || !layout.folded)
                    && self.scale(o).is_valid(layout.form)
            })
    }
}

/// See [`PackedConv`]: the sums of [`crate::kernels::conv`].
pub fn packed_conv(input: Tensor<'_>, output: Tensor<'_>, conv: &PackedConv<'_>) {
    let (window, in_c) = (&conv.window, input.c());
    for index in 0..output.pixels() {
        let (y, x) = (index / output.w().max(1), index % output.w().max(1));
        for (o, to) in output.pixel(index).iter().enumerate() {
            let mut acc = conv.bias(o);
            for ky in 0..window.kernel_h {
                for kx in 0..window.kernel_w {
                    let (row, column) = window.tap(y, x, ky, kx);
                    for i in 0..in_c {
                        let tap = (ky * window.kernel_w + kx) * in_c + i;
                        acc += conv.weight(o, tap) * input.padded(row, column, i);
                    }
                }
            }
            to.set(conv.bounds.finish(acc, conv.scale(o)));
        }
    }
}
