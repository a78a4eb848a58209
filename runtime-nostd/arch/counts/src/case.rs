//! One call of a tuned kernel beside the reference kernel: feature maps, constants, both outputs.

use core::cell::Cell;

use secateur_kernels::Thumb;
use secateur_runtime::kernels::{
    self, Conv, Depthwise, Epilogue, Requant, Shortcut, ShortcutMode, Table, Window,
};
use secateur_runtime::packed::{
    Bounds, ConvLayout, DepthwiseLayout, PackedConv, PackedDepthwise, packed_conv, packed_depthwise,
};
use secateur_runtime::{Kernels, Tensor};
use zerocopy::little_endian::{I32, U32};

use crate::machine::counted;
use crate::memory::{Pool, Random, crc};

/// The kernels under test, all of them.
const THUMB: Thumb = Thumb;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Conv,
    Depthwise,
    Shortcut,
    MaxPool,
}

/// Which parameters a case gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// One slope, codes of 8 bits.
    Linear,
    /// Slopes 1 and 0.1, codes of 8 bits.
    Leaky,
    /// Anything that the contract allows, extremes often.
    Any,
}

/// Shapes of a call.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub kind: Kind,
    pub input: [usize; 3],
    pub output: [usize; 3],
    pub window: Window,
    pub flavour: Flavour,
    /// Bytes from pixel to pixel beyond the channels, of input and output, and bytes before the maps.
    pub gaps: [usize; 2],
    pub shift: usize,
    /// Bytes of workspace.
    pub scratch: usize,
}

/// What came out of a case.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    pub tuned: u32,
    pub reference: u32,
    /// The same by the reference kernel on the packed constants, where there are any.
    pub packed: Option<u32>,
    /// Codes that are neither bound.
    pub inner: usize,
}

impl Outcome {
    pub fn is_same(&self) -> bool {
        self.tuned == self.reference && self.packed.is_none_or(|packed| packed == self.reference)
    }
}

/// Parameters of the accumulators, for as many channels as any layer has.
struct Parameters {
    requant: [Requant; CHANNELS],
    bias: [I32; CHANNELS],
    table: Table,
    lo: i8,
    hi: i8,
    has_table: bool,
    zero_point: i8,
}

const CHANNELS: usize = 640;

impl Parameters {
    fn new(random: &mut Random, case: &Case, taps: usize) -> Self {
        let mut requant = [Requant::new(0, 0, 1); CHANNELS];
        let mut bias = [I32::new(0); CHANNELS];
        let room = i32::MAX - 128 * 127 * taps as i32;
        // Standard deviation of a sum is about 73 · 73 · √taps; codes shall spread over their range.
        let spread = 22 + (taps as u32).ilog2() / 2;
        let any = case.flavour == Flavour::Any;
        let shifts = if any { random.range(0, 2) } else { 0 };
        let slopes = random.range(0, 3);
        for (requant, bias) in requant.iter_mut().zip(&mut bias) {
            let m = random.range(1 << 16, (1 << 17) - 1);
            let tenth = (m + 5) / 10;
            let (pos, neg, shift) = match case.flavour {
                Flavour::Linear => (m, m, spread),
                Flavour::Leaky => (m, tenth, spread),
                Flavour::Any => {
                    let limit = (1 << 17) - 1;
                    let extreme = |random: &mut Random| {
                        let corners = [-limit, 0, 1, limit];
                        if random.chance(3) {
                            corners[random.range(0, 3) as usize]
                        } else {
                            random.range(-limit, limit)
                        }
                    };
                    let pos = extreme(random);
                    let neg = if slopes == 0 { pos } else { extreme(random) };
                    let shift = match shifts {
                        0 => random.range(18, 32),
                        1 => random.range(19, 47),
                        _ => random.range(spread as i32 - 2, spread as i32 + 2),
                    };
                    (pos, neg, shift as u32)
                }
            };
            *requant = Requant::new(pos, neg, shift as u8);
            let far = any && random.chance(4);
            let reach = if taps < 600 && far { room } else { 100_000 };
            *bias = I32::new(if far {
                [reach, -reach][random.range(0, 1) as usize]
            } else {
                random.range(-5000, 5000)
            });
        }
        let (a, b) = (random.code(), random.code());
        let narrow = any && random.chance(4);
        Self {
            requant,
            bias,
            table: core::array::from_fn(|_| random.bits() as i8),
            lo: if narrow { a.min(b) } else { -128 },
            hi: if narrow { a.max(b) } else { 127 },
            has_table: any && random.chance(6),
            zero_point: random.bits() as i8,
        }
    }

    fn epilogue(&self, count: usize) -> Epilogue<'_> {
        Epilogue {
            requant: &self.requant[..count],
            lo: self.lo,
            hi: self.hi,
            table: self.has_table.then_some(&self.table),
            zero_point: self.zero_point,
        }
    }

    fn bounds(&self) -> Bounds<'_> {
        let Epilogue { lo, hi, table, zero_point, .. } = self.epilogue(0);
        Bounds { lo, hi, table, zero_point }
    }
}

/// Where a feature map lies in the pool: offset, shape, bytes from pixel to pixel, zero point.
type Place = (usize, [usize; 3], usize, i8);

fn span(&(offset, [h, w, c], pitch, _): &Place) -> usize {
    offset + (h * w - 1) * pitch + c
}

impl Case {
    /// Runs the case; `None` where its constants cannot be packed.
    pub fn run(&self, pool: &mut Pool, seed: u64) -> Option<Outcome> {
        let random = &mut Random(seed);
        let filter = self.window.kernel_h * self.window.kernel_w;
        let (in_c, out_c) = (self.input[2], self.output[2]);
        let taps = if self.kind == Kind::Conv { filter * in_c } else { filter };
        let parameters = Parameters::new(random, self, taps);
        let mut places = [(0, [0; 3], 0, 0); 3];
        let mut end = self.shift;
        let inputs = if self.kind == Kind::Shortcut { 2 } else { 1 };
        for (n, place) in places.iter_mut().enumerate() {
            let (shape, gap) =
                if n < inputs { (self.input, self.gaps[0]) } else { (self.output, self.gaps[1]) };
            *place = (end, shape, shape[2] + gap, random.bits() as i8);
            end = span(place) + random.range(0, 3) as usize;
        }
        // A sum may be written over one of its inputs.
        if self.kind == Kind::Shortcut && self.flavour == Flavour::Any && random.chance(3) {
            let (offset, shape, pitch, _) = places[random.range(0, 1) as usize];
            places[2] = (offset, shape, pitch, places[2].3);
        }
        let used = end + 16;
        pool.codes[..used].iter_mut().for_each(|code| *code = random.code());
        let before = crc(pool.codes[..used].iter().map(|&code| code as u8));
        let count = if self.kind == Kind::Conv { taps * out_c } else { filter * out_c };
        let any = self.flavour == Flavour::Any;
        let weights = pool.weights.get_mut(..count)?;
        weights.iter_mut().for_each(|w| *w = if any { random.code() } else { random.bits() as i8 }.max(-127));
        let (codes, rest) = pool.codes.split_at_mut(used);
        let copy = rest.get_mut(..used)?;
        copy.copy_from_slice(codes);
        let set = Set {
            case: self,
            parameters: &parameters,
            weights,
            words: &mut pool.words,
            scratch: &mut pool.scratch[..self.scratch],
            places: &places,
        };
        let packed = set.run(codes, copy, random)?;
        let tuned = crc(codes.iter().map(|&code| code as u8));
        let reference = crc(copy.iter().map(|&code| code as u8));
        assert!(tuned != before || any, "something was computed");
        let output = &codes[places[inputs].0..];
        let inner = output[..out_c].iter().filter(|code| ![-128, 127].contains(*code)).count();
        Some(Outcome { tuned, reference, packed, inner })
    }
}

/// A case with all of its memory.
struct Set<'a> {
    case: &'a Case,
    parameters: &'a Parameters,
    weights: &'a [i8],
    words: &'a mut [u32],
    scratch: &'a mut [i8],
    places: &'a [Place],
}

/// Three feature maps: inputs, then the output.
type Maps<'t> = [Tensor<'t>; 3];

impl Set<'_> {
    /// The tuned kernel on `codes`, the reference on `copy`; the checksum of what the packed constants mean.
    fn run(self, codes: &mut [i8], copy: &mut [i8], random: &mut Random) -> Option<Option<u32>> {
        match self.case.kind {
            Kind::Conv => self.conv(codes, copy),
            Kind::Depthwise => self.depthwise(codes, copy),
            Kind::Shortcut => {
                self.shortcut(codes, copy, random);
                Some(None)
            }
            Kind::MaxPool => {
                let window = &self.case.window;
                self.on(codes, |[input, output, _]| counted(|| THUMB.maxpool(input, output, window)));
                self.on(copy, |[input, output, _]| kernels::maxpool(input, output, window));
                Some(None)
            }
        }
    }

    /// Calls `work` with the feature maps in `codes`.
    fn on(&self, codes: &mut [i8], work: impl FnOnce(Maps<'_>)) {
        let cells = Cell::from_mut(codes).as_slice_of_cells();
        let tensor = |n: usize| {
            let (offset, shape, pitch, zero) = self.places[n];
            Tensor::new(&cells[offset..], shape, pitch, zero).unwrap()
        };
        work([tensor(0), tensor(1), tensor(2)]);
    }

    /// What `work` makes of the feature maps, `copy` being what they hold; not for large ones, because it takes long.
    fn meaning(&self, codes: &mut [i8], copy: &[i8], work: impl FnOnce(Maps<'_>)) -> Option<u32> {
        if codes.len() >= 4096 {
            return None;
        }
        self.on(codes, work);
        let meaning = crc(codes.iter().map(|&code| code as u8));
        codes.copy_from_slice(copy);
        Some(meaning)
    }

    fn conv(mut self, codes: &mut [i8], copy: &mut [i8]) -> Option<Option<u32>> {
        let Case { window, input: [_, _, in_c], output: [_, _, out_c], .. } = *self.case;
        let (bias, epilogue) = (&self.parameters.bias[..out_c], self.parameters.epilogue(out_c));
        let conv = Conv { window, groups: 1, weights: self.weights, bias, epilogue };
        let layout = ConvLayout::of(&conv, in_c, out_c)?;
        let words = room(core::mem::take(&mut self.words), layout.words()?);
        layout.pack(&conv, words)?;
        let packed = PackedConv { window, layout, words, bounds: self.parameters.bounds() };
        assert!(packed.is_valid());
        let meaning = self.meaning(codes, copy, |[input, output, _]| packed_conv(input, output, &packed));
        let scratch = Cell::from_mut(core::mem::take(&mut self.scratch)).as_slice_of_cells();
        self.on(codes, |[input, output, _]| counted(|| THUMB.packed_conv(input, output, &packed, scratch)));
        self.on(copy, |[input, output, _]| kernels::conv(input, output, &conv));
        Some(meaning)
    }

    fn depthwise(mut self, codes: &mut [i8], copy: &mut [i8]) -> Option<Option<u32>> {
        let Case { window, output: [_, _, channels], .. } = *self.case;
        let (bias, epilogue) = (&self.parameters.bias[..channels], self.parameters.epilogue(channels));
        let depthwise = Depthwise { window, weights: self.weights, bias, epilogue };
        let layout = DepthwiseLayout::of(&depthwise, channels)?;
        let words = room(core::mem::take(&mut self.words), layout.words()?);
        layout.pack(&depthwise, words)?;
        let packed = PackedDepthwise { window, layout, words, bounds: self.parameters.bounds() };
        assert!(packed.is_valid());
        let meaning =
            self.meaning(codes, copy, |[input, output, _]| packed_depthwise(input, output, &packed));
        let scratch = Cell::from_mut(core::mem::take(&mut self.scratch)).as_slice_of_cells();
        self.on(codes, |[input, output, _]| {
            counted(|| THUMB.packed_depthwise(input, output, &packed, scratch))
        });
        self.on(copy, |[input, output, _]| kernels::depthwise(input, output, &depthwise));
        Some(meaning)
    }

    fn shortcut(self, codes: &mut [i8], copy: &mut [i8], random: &mut Random) {
        let any = self.case.flavour == Flavour::Any;
        let limit = if any { (1 << 31) / 255 / 2 - 1 } else { 1 << 16 };
        let multipliers = [(); 2].map(|()| I32::new(random.range(-limit, limit)));
        let slopes = match self.case.flavour {
            Flavour::Linear => Requant::new(1, 1, 16),
            Flavour::Leaky => Requant::new(1 << 15, 3277, 31),
            Flavour::Any => self.parameters.requant[0],
        };
        let epilogue = Epilogue { requant: &[slopes], ..self.parameters.epilogue(1) };
        let mode = ShortcutMode::PerInput;
        let shortcut = Shortcut { multipliers: &multipliers, mode, epilogue };
        self.on(codes, |[a, b, output]| counted(|| THUMB.shortcut([a, b].into_iter(), output, &shortcut)));
        self.on(copy, |[a, b, output]| kernels::shortcut([a, b].into_iter(), output, &shortcut));
    }
}

/// The first `count` words, as they stand in a file.
fn room(words: &mut [u32], count: usize) -> &mut [U32] {
    let words = &mut words[..count];
    // SAFETY: a little-endian word of this processor and `U32` have one layout, but for the alignment.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), count) }
}
