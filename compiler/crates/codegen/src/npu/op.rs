//! The array's operations on channels of feature maps, independent of any schedule.

use secateur_runtime::npu::isa::{
    ArrayMode, Channel, Parameters, ResidualMode, ResidualSpread, WINDOW_WORDS,
};
use zerocopy::little_endian::I32;

use crate::cpu::program::ValueId;
use secateur_quant::net::QRequant;

/// Channel planes of `h · w` pixels; what concatenations join is one feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FeatureMap {
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl FeatureMap {
    pub(crate) fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// Words of a channel.
    pub(crate) fn words(&self, lanes: usize) -> usize {
        self.pixels().div_ceil(lanes)
    }
}

/// Channels `channel .. channel + channels` of a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapSlice {
    pub map: usize,
    pub channel: usize,
    pub channels: usize,
}

impl MapSlice {
    /// Channels `first .. first + count` of this view.
    pub(crate) fn slice(self, first: usize, count: usize) -> Self {
        Self { channel: self.channel + first, channels: count, ..self }
    }
}

/// The element-wise operand of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Residual {
    pub mode: ResidualMode,
    pub spread: ResidualSpread,
    pub view: MapSlice,
    pub zero_point: i8,
    /// Of a sum.
    pub sum: SumConstants,
}

/// Constants of a shortcut: `((q − z_main)·m_main + (r − z_res)·m_res + half) >> shift`, `+ z_add`, clamp.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SumConstants {
    pub z_main: i8,
    pub m_main: i32,
    pub m_res: i32,
    pub shift: u8,
    pub z_add: i8,
    pub lo: i8,
    pub hi: i8,
}

/// A square window; negative padding names the first row or column that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NpuWindow {
    pub size: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pad_y: i32,
    pub pad_x: i32,
    /// Every input pixel becomes 2 × 2 output pixels.
    pub upsample: bool,
}

impl NpuWindow {
    pub(crate) const POINT: Self =
        Self { size: 1, stride: 1, dilation: 1, pad_y: 0, pad_x: 0, upsample: false };

    /// Pixels between the first and the last tap.
    pub(crate) fn reach(&self) -> usize {
        (self.size - 1) * self.dilation
    }

    /// Words that cover the taps of one kernel row for a tile that begins anywhere.
    pub(crate) fn words(&self, lanes: usize, row_mode: bool) -> usize {
        if self.size == 1 && !row_mode {
            return 1;
        }
        let lane_reach = if self.upsample { (lanes - 1) / 2 } else { (lanes - 1) * self.stride };
        (lanes + lane_reach + self.reach()).div_ceil(lanes)
    }
}

/// One weight a row of the array, and zeros behind.
pub(crate) type WeightWord = [i8; Parameters::MOST_ROWS];

/// Weights of one group of output channels, in the order in which the array reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WeightGroup {
    /// One weight a row; rows beyond the output channels are 0.
    pub words: Vec<WeightWord>,
    /// `last << 7 | skip`, beside every word of a sparse operation.
    pub control: Vec<u8>,
}

/// One operation of the array over whole feature maps.
#[derive(Debug, Clone)]
pub(crate) struct NpuOp {
    /// Darknet's number of the layer that it is charged to.
    pub layer: usize,
    /// ValueId whose channels from `value_channel` on it writes.
    pub value: ValueId,
    pub value_channel: usize,
    pub mode: ArrayMode,
    pub input: MapSlice,
    pub output: MapSlice,
    pub residual: Option<Residual>,
    pub window: NpuWindow,
    pub row_mode: bool,
    /// ValueId outside the feature map.
    pub z_in: i8,
    pub z_out: i8,
    pub lo: i8,
    pub hi: i8,
    pub table: Option<Box<[i8; 256]>>,
    /// One a group of `rows` output channels (depthwise: of physical banks); empty without weights.
    pub weights: Vec<WeightGroup>,
    /// Weight words carry control bytes.
    pub sparse: bool,
    /// One an output channel.
    pub channels: Vec<Channel>,
    /// Multiply-accumulates of the layer, for utilisation.
    pub macs: u64,
}

impl NpuOp {
    /// Everything that it reads or writes.
    pub(crate) fn views(&self) -> impl Iterator<Item = MapSlice> {
        [self.input, self.output].into_iter().chain(self.residual.map(|residual| residual.view))
    }

    /// Returns true if each row of the array has its own input channel.
    pub(crate) fn by_bank(&self) -> bool {
        self.mode != ArrayMode::Dense
    }

    /// Array cycles of one tile of output group `group`.
    pub(crate) fn tile_cycles(&self, group: usize, lanes: usize) -> usize {
        let k = self.window.size;
        let row = k * k.max(self.window.words(lanes, self.row_mode));
        match self.mode {
            ArrayMode::Dense if self.sparse => self.weights[group].words.len() / (k * k) * row,
            ArrayMode::Dense => self.input.channels * row,
            _ => row,
        }
    }
}

/// Parameters of an output channel.
pub(crate) fn channel(bias: i32, requant: QRequant) -> Channel {
    Channel {
        bias: I32::new(bias),
        m_pos: I32::new(requant.m_pos),
        m_neg: I32::new(requant.m_neg),
        shift: requant.shift,
        reserved: [0; 3],
    }
}

/// Parameters that leave an accumulator in −2^15 … 2^15 as it is.
pub(crate) const IDENTITY: QRequant = QRequant { m_pos: 1 << 16, m_neg: 1 << 16, shift: 16 };

/// Returns true if a window fits the array's window registers.
pub(crate) fn window_fits(window: &NpuWindow, row_mode: bool, parameters: &Parameters) -> bool {
    window.words(parameters.lanes as usize, row_mode) <= WINDOW_WORDS as usize
}
