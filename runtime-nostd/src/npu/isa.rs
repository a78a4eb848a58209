//! Commands of the accelerator: the one home of their encoding.
//!
//! The SystemVerilog package and the manual are generated from [`Layout::FIELDS`], so RTL, compiler,
//! emulator and driver cannot disagree. A stream is a sequence of commands, each a whole number of
//! [`UNIT`]s; a command's first byte is its [`Opcode`]. All numbers are little-endian.
//!
//! Words used below: a *map word* holds [`Parameters::lanes`] neighbouring pixels of one channel, of
//! the flat pixel string `f = y · W + x`; channel `c` of a tensor lies in bank
//! `(origin + c) mod rows` at bank address `base + (origin + c) / rows · plane + ring(w)`, where
//! `ring(w) = pos_first + w − w_first`, less `plane` once where that reaches `plane`.

use zerocopy::little_endian::{I16, I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Commands are multiples of this many bytes.
pub const UNIT: usize = 32;

/// Sizes of an accelerator; the RTL's parameters of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Output channels in parallel, and map banks.
    pub rows: u32,
    /// Pixels in parallel.
    pub lanes: u32,
    /// Map words of each bank.
    pub bank_words: u32,
    /// Weight words (one `i8` a row, and a control byte).
    pub weight_words: u32,
    /// Output channels whose parameters fit at once.
    pub param_entries: u32,
    /// Bytes of an AXI data beat.
    pub axi_bytes: u32,
    /// Rows of a tile that are requantised together.
    pub drain_rows: u32,
}

impl core::fmt::Display for Parameters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { rows, lanes, bank_words, weight_words, param_entries, axi_bytes, drain_rows } = self;
        write!(f, "{rows} rows, {lanes} lanes, {bank_words} bank words, {weight_words} weight words, ")?;
        write!(f, "{param_entries} parameter entries, {axi_bytes} bytes a beat, ")?;
        write!(f, "{drain_rows} rows drained at once")
    }
}

/// A size that no accelerator has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadParameter {
    /// Name of the field of [`Parameters`].
    pub name: &'static str,
    pub found: u32,
    pub allowed: &'static str,
}

impl core::fmt::Display for BadParameter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { name, found, allowed } = self;
        write!(f, "no accelerator has {name} = {found}; allowed: {allowed}")
    }
}

impl core::error::Error for BadParameter {}

impl Parameters {
    /// Most words of a bank, weight words and parameter entries.
    const MOST_WORDS: u32 = 1 << 15;

    /// Checks that the RTL can be built with these sizes.
    ///
    /// # Errors
    /// The first size out of range.
    pub fn check(&self) -> Result<(), BadParameter> {
        let Self { rows, lanes, bank_words, weight_words, param_entries, axi_bytes, drain_rows } = *self;
        let words = |least: u32, found: u32| (least..=Self::MOST_WORDS).contains(&found);
        let checks = [
            ("rows", rows, matches!(rows, 4 | 8 | 16), "4, 8 or 16"),
            ("lanes", lanes, matches!(lanes, 8 | 16), "8 or 16"),
            ("axi_bytes", axi_bytes, matches!(axi_bytes, 4 | 8 | 16), "4, 8 or 16"),
            ("drain_rows", drain_rows, matches!(drain_rows, 1 | 2), "1 or 2"),
            ("bank_words", bank_words, words(64, bank_words), "64 to 32768"),
            ("weight_words", weight_words, words(256, weight_words), "256 to 32768"),
            ("param_entries", param_entries, words(64, param_entries), "64 to 32768"),
        ];
        match checks.iter().find(|(.., allowed, _)| !allowed) {
            None => Ok(()),
            Some(&(name, found, _, allowed)) => Err(BadParameter { name, found, allowed }),
        }
    }

    /// Most [`Self::rows`] and [`Self::lanes`] of any accelerator.
    pub const MOST_ROWS: usize = 16;
    pub const MOST_LANES: usize = 16;

    /// Bytes of a weight word in memory: a byte a row, at least 8.
    pub const fn weight_bytes(&self) -> u32 {
        if self.rows > 8 { self.rows } else { 8 }
    }

    /// Target `npu-8x16`.
    pub const NPU_8X16: Self = Self {
        rows: 8,
        lanes: 16,
        bank_words: 1024,
        weight_words: 6144,
        param_entries: 1024,
        axi_bytes: 8,
        drain_rows: 1,
    };
}

/// Place of one field in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Bytes from the command's start.
    pub offset: usize,
    pub bytes: usize,
    pub signed: bool,
    pub description: &'static str,
}

/// A command whose fields are known by name.
pub trait Layout {
    /// Type name of the packed structure in the RTL, without `_t`.
    const NAME: &'static str;
    /// In the order of the bytes, without gaps.
    const FIELDS: &'static [Field];
}

trait Kind {
    const SIGNED: bool;
}
impl Kind for u8 {
    const SIGNED: bool = false;
}
impl Kind for i8 {
    const SIGNED: bool = true;
}
impl Kind for U16 {
    const SIGNED: bool = false;
}
impl Kind for I16 {
    const SIGNED: bool = true;
}
impl Kind for U32 {
    const SIGNED: bool = false;
}
impl Kind for I32 {
    const SIGNED: bool = true;
}

macro_rules! layout {
    ($(#[$meta:meta])* $name:ident as $rtl:literal { $(#[doc = $doc:literal] $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub struct $name { $(#[doc = $doc] pub $field: $type,)* }

        impl Layout for $name {
            const NAME: &'static str = $rtl;
            const FIELDS: &'static [Field] = &[$(Field {
                name: stringify!($field),
                offset: core::mem::offset_of!($name, $field),
                bytes: size_of::<$type>(),
                signed: <$type as Kind>::SIGNED,
                description: $doc,
            },)*];
        }

        const _: () = assert!(size_of::<$name>().is_multiple_of(UNIT));
    };
}

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $(#[doc = $doc:literal] $variant:ident = $code:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $doc] $variant = $code,)* }

        impl $name {
            /// Every variant with its number and meaning, for the generated package and manual.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, stringify!($variant), $doc),)*];

            pub const fn code(self) -> u8 {
                self as u8
            }

            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// First byte of a command: what it is, and so which queue runs it and how long it is.
    Opcode {
        /// [`Transfer`], LOAD queue: DRAM to map banks.
        LoadMap = 0x10,
        /// [`Transfer`], LOAD queue: DRAM to weight memory.
        LoadWeights = 0x11,
        /// [`Transfer`], LOAD queue: DRAM to channel parameters.
        LoadParams = 0x12,
        /// [`Transfer`], LOAD queue: DRAM to an activation table.
        LoadTable = 0x13,
        /// [`Exec`], EXEC queue: array, requantiser, write.
        Exec = 0x20,
        /// [`Control`], EXEC queue: end of the frame, raises the interrupt.
        End = 0x2f,
        /// [`Transfer`], STORE queue: map banks to DRAM.
        StoreMap = 0x30,
    }
}

codes! {
    /// What the array does with the operands of an [`Exec`].
    ArrayMode {
        /// One input channel a step, broadcast to all rows: pointwise, dense k×k, grouped, connected.
        Dense = 0,
        /// Every row its own channel: depthwise.
        Depthwise = 1,
        /// As depthwise, the maximum instead of the sum; masked lanes do not take part.
        Maximum = 2,
        /// As depthwise with k = 1 and weight 1; accumulates over all tiles, lanes are summed at the end.
        Average = 3,
        /// As depthwise with k = 1 and weight 1: copy, rescale, table, sum, product, upsample, reorg.
        Pass = 4,
    }
}

codes! {
    /// What the requantiser does with the second map.
    ResidualMode {
        /// There is none.
        None = 0,
        /// Shortcut after requantisation.
        Add = 1,
        /// Product before requantisation.
        Multiply = 2,
    }
}

codes! {
    /// Which value of the second map meets output channel `c`, pixel `f`.
    ResidualSpread {
        /// Channel `c`, pixel `f`.
        Map = 0,
        /// Channel `c`, pixel 0 (scale_channels).
        Channel = 1,
        /// Channel 0, pixel `f` (scale_channels with `scale_wh`).
        Pixel = 2,
    }
}

/// Bits of [`Exec::flags`].
pub mod exec_flags {
    /// Tiles follow output rows; otherwise the flat pixel string.
    pub const ROW_MODE: u8 = 1;
    /// Weight words carry skip distances: control byte = `last << 7 | skip`. A word's input channel
    /// is the previous word's plus `skip`; the first word's of a group is `skip` itself. With k > 1
    /// the control byte of a channel's first word counts, for all its k² words.
    pub const SPARSE: u8 = 2;
    /// The clamped value goes through a table.
    pub const TABLE: u8 = 4;
    /// Which of the two tables.
    pub const TABLE_SELECT: u8 = 8;
    /// Lane `l` reads pixel `l / 2` of the window (nearest-neighbour upsampling by 2); needs row mode.
    pub const UPSAMPLE: u8 = 16;
}

/// Bits of [`Transfer::flags`].
pub mod transfer_flags {
    /// DRAM region 1 (workspace, input, output); otherwise region 0 (artefact, read only).
    pub const REGION_WORK: u8 = 1;
    /// Weights: eight control bytes stand before every eight words.
    pub const SPARSE: u8 = 2;
    /// Table number.
    pub const TABLE_SELECT: u8 = 8;
}

layout! {
    /// Moves bytes between DRAM and on-chip memory; runs in the LOAD or STORE queue.
    ///
    /// Maps: `count` channels, each `words` map words from map word `word`, from DRAM
    /// `address + c · pitch`. Weights, parameters: `words` entries from `base`, wrapping at the
    /// memory's end; DRAM bytes are consecutive (8 a weight word, 16 with 16 rows; 16 a parameter entry).
    Transfer as "transfer" {
        /// `Opcode`
        opcode: u8,
        /// `transfer_flags`
        flags: u8,
        /// Starts when the LOAD queue has finished this many commands (signed distance, 16 bits)
        wait_load: U16,
        /// The same of the EXEC queue
        wait_exec: U16,
        /// The same of the STORE queue
        wait_store: U16,
        /// Byte address within the region, a multiple of 8
        address: U32,
        /// Bytes between two channels in DRAM, a multiple of 16
        pitch: U32,
        /// Bank address of the tensor, or first weight word or parameter entry
        base: U16,
        /// Bank words of one group of channels (the ring's length)
        plane: U16,
        /// Ring: map word that stands at `pos_first`
        w_first: I16,
        /// Ring: position of `w_first` within the plane
        pos_first: U16,
        /// First map word
        word: I16,
        /// Map words a channel, weight words or parameter entries
        words: U16,
        /// First bank-channel: tensor's origin plus first channel
        origin: U16,
        /// Channels
        count: U16,
    }
}

layout! {
    /// One layer, or a strip of one, on the array.
    Exec as "exec" {
        /// `Opcode`
        opcode: u8,
        /// `exec_flags`
        flags: u8,
        /// Starts when the LOAD queue has finished this many commands (signed distance, 16 bits)
        wait_load: U16,
        /// The same of the EXEC queue
        wait_exec: U16,
        /// The same of the STORE queue
        wait_store: U16,
        /// `ArrayMode`
        mode: u8,
        /// `ResidualMode` in bits 1:0, `ResidualSpread` in bits 3:2
        residual: u8,
        /// Darknet's number of the layer, for counters and faults
        layer: U16,
        /// Kernel size
        k: u8,
        /// Stride, 1 or 2
        stride: u8,
        /// Dilation
        dilation: u8,
        /// Map words that cover a tile's taps in one kernel row, 1 to 4
        window_words: u8,
        /// Rows of padding above; negative: first row to read
        pad_y: i8,
        /// Columns of padding on the left; negative: first column to read
        pad_x: i8,
        /// Value outside the map
        z_in: i8,
        /// Zero point of the output
        z_out: i8,
        /// Lower bound of the requantised value
        lo: i8,
        /// Upper bound of the requantised value
        hi: i8,
        /// Zero point of the second map
        z_res: i8,
        /// Shortcut: zero point of the requantised value
        z_main: i8,
        /// Shortcut: zero point of the sum
        z_add: i8,
        /// Shortcut: lower bound of the sum
        lo_add: i8,
        /// Shortcut: upper bound of the sum
        hi_add: i8,
        /// Shortcut: shift of the sum, 1 to 47
        shift_add: u8,
        /// Shortcut: multiplier of the requantised value
        m_main: I32,
        /// Shortcut: multiplier of the second map
        m_res: I32,
        /// Input: bank address
        in_base: U16,
        /// Input: bank words of one group of channels
        in_plane: U16,
        /// Input ring: map word that stands at `in_pos_first`
        in_w_first: I16,
        /// Input ring: position of `in_w_first`
        in_pos_first: U16,
        /// Input: first bank-channel
        in_origin: U16,
        /// Input channels of one output channel (dense)
        in_channels: U16,
        /// Input: rows of the map
        in_h: U16,
        /// Input: columns of the map
        in_w: U16,
        /// Output: bank address
        out_base: U16,
        /// Output: bank words of one group of channels
        out_plane: U16,
        /// Output ring: map word that stands at `out_pos_first`
        out_w_first: I16,
        /// Output ring: position of `out_w_first`
        out_pos_first: U16,
        /// Output: first bank-channel
        out_origin: U16,
        /// Output channels
        out_channels: U16,
        /// Row mode: columns of the output map (the flat string has the input's columns)
        out_w: U16,
        /// Tiles: along the flat string, or along one output row
        tiles: U16,
        /// Row mode: output rows; flat mode: 1
        rows: U16,
        /// Output row of the first pixel
        y_first: U16,
        /// Output column of the first pixel
        x_first: U16,
        /// Flat mode: first output map word (that pixel's)
        word_first: U16,
        /// Second map: bank address
        res_base: U16,
        /// Second map: bank words of one group of channels
        res_plane: U16,
        /// Second map's ring: map word that stands at `res_pos_first`
        res_w_first: I16,
        /// Second map's ring: position of `res_w_first`
        res_pos_first: U16,
        /// Second map: first bank-channel
        res_origin: U16,
        /// First weight word
        weight_base: U16,
        /// Parameter entry of the first output channel
        param_base: U16,
        /// Flat mode: lanes modulo `in_w`, the columns that a lane moves on with every tile
        lane_step_x: U16,
        /// Flat mode: lanes divided by `in_w`, the rows
        lane_step_y: U16,
        /// zero
        reserved: U16,
    }
}

layout! {
    /// End of a frame.
    Control as "control" {
        /// `Opcode`
        opcode: u8,
        /// zero
        flags: u8,
        /// Starts when the LOAD queue has finished this many commands (signed distance, 16 bits)
        wait_load: U16,
        /// The same of the EXEC queue
        wait_exec: U16,
        /// The same of the STORE queue
        wait_store: U16,
        /// zero
        reserved0: U32,
        /// zero
        reserved1: U32,
        /// zero
        reserved2: U32,
        /// zero
        reserved3: U32,
        /// zero
        reserved4: U32,
        /// zero
        reserved5: U32,
    }
}

/// Channel parameters as they lie in DRAM, 16 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Channel {
    /// The input's zero point folded in.
    pub bias: I32,
    /// Slope of accumulators ≥ 0, |m| < 2^17.
    pub m_pos: I32,
    /// Slope of negative accumulators.
    pub m_neg: I32,
    /// 1 to 47.
    pub shift: u8,
    pub reserved: [u8; 3],
}

/// Largest reach of a tile's taps in bytes of the window: four words.
pub const WINDOW_WORDS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_are_dense<T: Layout>() {
        let mut next = 0;
        for field in T::FIELDS {
            assert_eq!(field.offset, next, "{}.{}", T::NAME, field.name);
            next += field.bytes;
        }
        assert_eq!(next, size_of::<T>());
    }

    #[test]
    fn commands_have_no_gaps() {
        fields_are_dense::<Transfer>();
        fields_are_dense::<Exec>();
        fields_are_dense::<Control>();
        assert_eq!(size_of::<Transfer>(), 32);
        assert_eq!(size_of::<Exec>(), 96);
        assert_eq!(size_of::<Control>(), 32);
    }
}
