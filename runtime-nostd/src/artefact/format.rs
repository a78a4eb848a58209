//! The bytes of a `.sct` artefact: every record and constant, for writer and reader alike.
//!
//! `docs/artefact.md` describes the same in prose. All numbers are little-endian; every record is
//! made of types of alignment 1, so an artefact may lie at any address. Offsets named "constant"
//! count from the start of [`Section::Constants`]; a writer aligns each of them to [`ALIGNMENT`].
//!
//! Room for growth: a section's `stride` may exceed the record that a reader knows (fields are only
//! appended), optional sections are skipped when unknown ([`OPTIONAL`]), and every step names the
//! processor that runs it ([`Target`]) and how its weights are stored ([`Encoding`]).

use zerocopy::little_endian::{I16, I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of every artefact (the PNG scheme: catches text-mode copies).
pub const MAGIC: [u8; 8] = *b"\x89SCT\r\n\x1a\n";
/// A reader refuses another major version.
pub const VERSION_MAJOR: u16 = 1;
/// Grows with compatible additions; a reader accepts any.
pub const VERSION_MINOR: u16 = 0;
/// Sections and constants start at multiples of this.
pub const ALIGNMENT: usize = 16;
/// "No such thing" in an optional offset or index.
pub const NONE: u32 = u32::MAX;
/// Section kinds with this bit may be skipped by a reader that does not know them.
pub const OPTIONAL: u32 = 1 << 31;
/// The CRC-32 (ISO-HDLC, as zlib) of everything before it ends the file.
pub const CRC_BYTES: usize = 4;
/// Entries of every table indexed by an activation: entry `q + 128`.
pub const TABLE_ENTRIES: usize = 256;
/// Knots of the suppression curve, both ends included.
pub const CURVE_KNOTS: usize = 257;
/// Largest kernel, stride or dilation, in elements.
pub const WINDOW_LIMIT: usize = 4096;
/// Largest extent of any tensor dimension, and largest pitch.
pub const EXTENT_LIMIT: usize = 1 << 24;
/// Largest height and width of the input of a network that detects boxes: coordinates reach no further
/// ([`crate::detect::COORDINATE_LIMIT`]).
pub const INPUT_LIMIT: usize = 1 << 14;
/// Largest arena, and largest region of an accelerator's program, in bytes.
pub const MEMORY_LIMIT: usize = 1 << 30;
/// Most classes of a head: a detection names its class in 16 bits.
pub const CLASS_LIMIT: usize = 1 << 16;
/// Most values of all heads together: a host may hold each as a float.
pub const HEAD_VALUE_LIMIT: usize = 1 << 27;
/// Equal constants are stored once, and steps share them: the constants of all steps together have at
/// most this many times the bytes of the file, so that a check takes time in proportion to the file.
pub const REUSE_LIMIT: u64 = 256;

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$doc:meta])* $variant:ident = $code:expr,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr($repr)]
        pub enum $name { $($(#[$doc])* $variant = $code,)* }

        impl $name {
            /// The number that stands in the file.
            pub const fn code(self) -> $repr {
                self as $repr
            }

            /// Meaning of a number from a file.
            pub const fn from_code(code: $repr) -> Option<Self> {
                match code {
                    $(x if x == $code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What a section holds. Those up to `Suppression` occur exactly once, in any order.
    Section: u32 {
        /// [`TensorRecord`]s.
        Tensors = 1,
        /// [`StepRecord`]s in execution order.
        Steps = 2,
        /// `u32` tensor indices; steps name runs of them as inputs.
        Operands = 3,
        /// Weights, biases, requantisation, tables. Stride 1.
        Constants = 4,
        /// [`HeadRecord`]s.
        Heads = 5,
        /// [`AnchorRecord`]s.
        Anchors = 6,
        /// UTF-8 text that [`TextRef`]s point into. Stride 1. All texts together are no longer than it.
        Text = 7,
        /// [`TextRef`]s: class names, index = class.
        Names = 8,
        /// One [`ProvenanceRecord`].
        Provenance = 9,
        /// One [`SuppressionRecord`].
        Suppression = 10,
        /// Reserved: command streams that a processor cannot stand in for.
        Commands = 32,
        /// A whole network for an accelerator ([`crate::npu::program::ProgramHeader`]). Stride 1.
        Program = OPTIONAL | 32,
        /// [`crate::npu::program::CommandRecord`]s, one a command of the program.
        Trace = OPTIONAL | 33,
    }
}

codes! {
    /// Element type of a tensor.
    DType: u16 {
        I8 = 0,
        /// Reserved: wide outputs of detection heads.
        I16 = 1,
    }
}

codes! {
    /// Who executes a step.
    Target: u8 {
        Processor = 0,
        /// Reserved: a step that a processor cannot do.
        Accelerator = 1,
        /// A step that the accelerator's program does; a processor can do it as well.
        Shared = 2,
    }
}

codes! {
    /// How a step's weights are stored.
    Encoding: u8 {
        /// Every weight, in the kernel's order. Pruned channels are simply not there.
        Dense = 0,
        /// Reserved: 1 × 8 vectors (one input channel, eight outputs), a bitmap bit each.
        VectorBitmap = 1,
        /// Reserved: 1 × 8 vectors with 8-bit index lists.
        VectorIndex = 2,
        /// Reserved: single weights with run lengths.
        Scattered = 3,
        /// Of a convolution: [`crate::packed::ConvLayout`]. `weights` are words with biases and
        /// requantisation among them; mode: [`packed_mode`].
        OutputPairs = 4,
        /// Of a depthwise convolution: [`crate::packed::DepthwiseLayout`]. `weights` and mode as above.
        WindowRows = 5,
    }
}

codes! {
    /// Operation of a step. Each kernel's documentation says which parameters it reads.
    StepKind: u16 {
        /// [`crate::kernels::conv`]: weights `[out_c][k_h][k_w][in_c / groups]`, bias, requant `[out_c]`.
        Conv = 0,
        /// [`crate::kernels::depthwise`]: weights `[k_h][k_w][c]`, bias, requant `[c]`.
        Depthwise = 1,
        /// [`crate::kernels::connected`]: weights `[out_c][in_h][in_w][in_c]`, bias, requant `[out_c]`.
        Connected = 2,
        /// [`crate::kernels::maxpool`]: window only.
        MaxPool = 3,
        /// [`crate::kernels::avgpool`], global: requant `[1]`.
        AvgPool = 4,
        /// [`crate::kernels::local_avgpool`]: window, requant `[k_h · k_w]` by number of cells.
        LocalAvgPool = 5,
        /// [`crate::kernels::shortcut`]: multipliers, requant `[1]`; mode: [`ShortcutMode`].
        Shortcut = 6,
        /// [`crate::kernels::rescale`]: requant `[1]`, or none for a copy; `pad_top`, `pad_left` = crop offset.
        Rescale = 7,
        /// [`crate::kernels::activate`]: table.
        Activate = 8,
        /// [`crate::kernels::upsample`]: `stride_h`, `stride_w`.
        Upsample = 9,
        /// [`crate::kernels::reorg`]: `stride_h` = `stride_w`; mode: [`ReorgMode`].
        Reorg = 10,
        /// [`crate::kernels::multiply`]: requant `[1]`; the first operand is spread as its shape says.
        Multiply = 11,
        /// [`crate::kernels::softmax`]: `weights` = exponentials `[256]` u32; `groups`.
        Softmax = 12,
    }
}

codes! {
    /// `mode` of a shortcut: how many multipliers an input has.
    ShortcutMode: u16 {
        /// Multipliers `[n]`.
        PerInput = 0,
        /// Multipliers `[n][out_c]`.
        PerChannel = 1,
    }
}

codes! {
    /// `mode` of a reorg.
    ReorgMode: u16 {
        /// Darknet's `[reorg]`: out channel = `(dy · stride + dx) · in_c + c`.
        SpaceToDepth = 0,
        /// The inverse (`reverse=1`).
        DepthToSpace = 1,
        /// `[reorg_old]`: the same permutation on the flat channel-major index, dimensions of the input.
        Flat = 2,
    }
}

codes! {
    /// What a head's tensor means.
    HeadKind: u32 {
        /// `[yolo]`: per anchor x, y, w, h, objectness, classes.
        Yolo = 0,
        /// `[region]`: as yolo; classes through softmax where the flag says so.
        Region = 1,
        /// `[detection]` (YOLO v1): class, confidence and box planes of a `side × side` grid.
        Detection = 2,
        /// Classifier: logits `[1][1][classes]`.
        Classes = 3,
    }
}

codes! {
    /// Non-maximum suppression.
    SuppressionKind: u32 {
        /// IoU above the threshold.
        Default = 0,
        /// IoU − (d² / c²)^β above the threshold (`greedynms`, `diounms`).
        Distance = 1,
    }
}

/// `mode` of a step with packed weights.
pub mod packed_mode {
    /// [`crate::packed::Form`].
    pub const FORM: u16 = 3;
    /// [`crate::packed::ConvLayout::folded`]; convolutions alone.
    pub const FOLDED: u16 = 4;
}

/// Bits of [`HeadRecord::flags`].
pub mod head_flags {
    /// Class scores are a softmax over the classes of a cell.
    pub const SOFTMAX: u32 = 1;
}

/// Bits of [`Header::flags`].
pub mod header_flags {
    /// The image is letterboxed into the input instead of stretched.
    pub const LETTER_BOX: u32 = 1;
}

/// First bytes of the file, followed by `section_count` [`SectionRecord`]s.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 8],
    pub version_major: U16,
    pub version_minor: U16,
    /// Length of the whole file, CRC included.
    pub file_bytes: U32,
    pub section_count: U32,
    /// Bytes of memory that the engine needs, at most [`MEMORY_LIMIT`].
    pub arena_bytes: U32,
    /// Index of the tensor that receives the image; dense (`pitch` = `c`).
    pub input: U32,
    /// [`header_flags`].
    pub flags: U32,
    pub reserved: [U32; 8],
}

/// One entry of the directory: `count` records of `stride` bytes at `offset` of the file.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SectionRecord {
    /// [`Section`], or an unknown kind with [`OPTIONAL`] set.
    pub kind: U32,
    pub offset: U32,
    pub count: U32,
    pub stride: U32,
}

/// A feature map in the arena: element `(y, x, c)` at `offset + (y · w + x) · pitch + c`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TensorRecord {
    /// Bytes from the start of the arena.
    pub offset: U32,
    pub h: U32,
    pub w: U32,
    pub c: U32,
    /// Bytes from one pixel to the next, at most [`EXTENT_LIMIT`]; above `c` for a slice of a wider tensor.
    pub pitch: U32,
    /// [`DType`].
    pub dtype: U16,
    /// Code that stands for the real number 0.
    pub zero_point: I16,
    /// Bits of the scale as `f32`: metadata for printing and for the host; never used on a device.
    pub scale_bits: U32,
    /// Number of the Darknet layer whose output this is, [`NONE`] for the image.
    pub layer: U32,
}

/// One operation. Fields that a kind does not read are 0 (offsets: [`NONE`]).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct StepRecord {
    /// [`StepKind`].
    pub kind: U16,
    /// [`Target`].
    pub target: u8,
    /// [`Encoding`] of the weights.
    pub encoding: u8,
    /// Number of the Darknet layer that this step belongs to.
    pub layer: U32,
    /// Inputs: `operand_count` entries of [`Section::Operands`] from here.
    pub first_operand: U32,
    pub operand_count: U32,
    /// Index of the output tensor.
    pub output: U32,
    /// Workspace in the arena for tuned kernels, in bytes; the reference kernels use none.
    pub scratch_offset: U32,
    pub scratch_bytes: U32,
    pub groups: U32,
    pub kernel_h: U16,
    pub kernel_w: U16,
    pub stride_h: U16,
    pub stride_w: U16,
    pub dilation_h: U16,
    pub dilation_w: U16,
    pub pad_top: U16,
    pub pad_left: U16,
    /// Bounds of the output code after requantisation, before the table.
    pub lo: I16,
    pub hi: I16,
    /// Depends on the kind.
    pub mode: U16,
    /// Zero point of the code before the table; without a table the output tensor's own holds.
    pub table_zero_point: I16,
    /// Constant: weights, and their length in bytes as stored.
    pub weights: U32,
    pub weights_bytes: U32,
    /// Constant: `i32` each, the input's zero point folded in.
    pub bias: U32,
    /// Constant: [`Requant`]s.
    pub requant: U32,
    pub requant_count: U32,
    /// Constant: [`TABLE_ENTRIES`] `i8`, applied after the clamp.
    pub table: U32,
    /// Constant: `i32` each, of a shortcut.
    pub multipliers: U32,
    pub reserved1: [U32; 4],
}

/// Two slopes and a shift (docs/numerics.md, "Requantise"):
/// `y = (acc · (acc >= 0 ? m_pos : m_neg) + 2^(shift − 1)) >> shift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Requant {
    m_pos: I32,
    m_neg: I32,
    shift: u8,
    reserved: [u8; 3],
}

impl Requant {
    /// Multipliers lie strictly between −2^17 and 2^17: they fit an 18-bit multiplier port.
    pub const MULTIPLIER_LIMIT: i32 = 1 << 17;
    pub const SHIFT_MAX: u8 = 47;

    /// `shift` in 1..=47, multipliers within ±(2^17 − 1); [`Requant::is_valid`] tells.
    pub const fn new(m_pos: i32, m_neg: i32, shift: u8) -> Self {
        Self { m_pos: I32::new(m_pos), m_neg: I32::new(m_neg), shift, reserved: [0; 3] }
    }

    pub const fn m_pos(&self) -> i32 {
        self.m_pos.get()
    }

    pub const fn m_neg(&self) -> i32 {
        self.m_neg.get()
    }

    pub const fn shift(&self) -> u8 {
        self.shift
    }

    /// Within the contract's bounds.
    pub const fn is_valid(&self) -> bool {
        let limit = Self::MULTIPLIER_LIMIT as u32;
        self.m_pos().unsigned_abs() < limit
            && self.m_neg().unsigned_abs() < limit
            && self.shift >= 1
            && self.shift <= Self::SHIFT_MAX
    }
}

/// One output of the network. Tables are constants of [`TABLE_ENTRIES`] entries; entry `q + 128`
/// unless said otherwise.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HeadRecord {
    /// [`HeadKind`].
    pub kind: U32,
    /// Tensor that the head reads: the layer before `[yolo]`, `[region]`, `[detection]`, `[softmax]`.
    pub tensor: U32,
    /// Number of the head's Darknet layer.
    pub layer: U32,
    pub classes: U32,
    /// Run of [`AnchorRecord`]s, masks already applied; for `Detection` the count is boxes a cell.
    pub first_anchor: U32,
    pub anchor_count: U32,
    /// Channels of one anchor: 4 + 1 + classes, or more; for `Detection` the grid's side.
    pub channels_per_anchor: U32,
    /// [`head_flags`].
    pub flags: U32,
    /// Constant: `i32`, Q16.16: box centre within its cell, in cells.
    pub xy: U32,
    /// Constant: `u32`, Q16.16: factor on the anchor.
    pub wh: U32,
    /// Constant: `u16`, Q0.15 (0..=32768): objectness.
    pub objectness: U32,
    /// Constant: `u16`, Q0.15: class score; with softmax: exponential of `q − max`, entry `max − q`.
    pub class: U32,
    pub reserved: [U32; 4],
}

/// Anchor in pixels of the input, Q16.16 (whatever unit the cfg uses).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnchorRecord {
    pub w: U32,
    pub h: U32,
}

/// How overlapping detections are thinned out.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SuppressionRecord {
    /// [`SuppressionKind`].
    pub kind: U32,
    /// Default threshold, Q0.30.
    pub threshold: U32,
    /// Constant of a distance suppression: `u32`, Q0.30, at most 1, [`CURVE_KNOTS`] knots of `t^(1/β)`
    /// at `t = k / 256`; it suppresses when `d² / c² < (IoU − threshold)^(1/β)`.
    pub curve: U32,
    pub reserved: U32,
}

/// UTF-8 text: `bytes` bytes from `offset` of [`Section::Text`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TextRef {
    pub offset: U32,
    pub bytes: U32,
}

/// Where an artefact comes from.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ProvenanceRecord {
    pub cfg_sha256: [u8; 32],
    pub weights_sha256: [u8; 32],
    /// All options of pruning and quantisation, as the tool writes them.
    pub recipe_sha256: [u8; 32],
    /// The network's name.
    pub network: TextRef,
    /// Version of the tool.
    pub tool: TextRef,
    /// Name of the target.
    pub target: TextRef,
}
