//! Why bytes are not an artefact that this runtime can run.

use core::fmt;

/// What is wrong with the bytes. The display text is the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Shorter than a header and a CRC.
    TooShort { bytes: usize },
    /// Does not begin with [`super::format::MAGIC`].
    Magic,
    /// Another major version of the format.
    Version { major: u16, minor: u16 },
    /// The header names another length.
    Length { header: usize, found: usize },
    /// The contents do not match the CRC at the end.
    Crc { stored: u32, computed: u32 },
    /// The directory is damaged, or a section that is needed is missing, doubled or misplaced.
    Section { kind: u32 },
    /// A section that is neither known nor optional: the file needs a newer runtime.
    UnknownSection { kind: u32 },
    /// The arena is larger than [`super::format::MEMORY_LIMIT`].
    Arena { bytes: usize },
    /// A tensor's shape is empty or too large, leaves the arena, or has an unknown type.
    Tensor { index: usize },
    /// The network's input is not a dense tensor of the table.
    Input,
    /// A step cannot run.
    Step { index: usize, layer: u32, fault: Fault },
    /// A head's tensor, classes, anchors or tables do not fit together, or the heads so far hold more than
    /// [`super::format::HEAD_VALUE_LIMIT`] values.
    Head { index: usize },
    /// The suppression record is damaged.
    Suppression,
    /// A command of the accelerator's program is unknown, leaves its memories, or waits for a later one.
    Program { command: usize },
    /// A [`MapRecord`](crate::npu::program::MapRecord) of the accelerator's program does not have its tensor's shape.
    ProgramMap { index: usize },
    /// A name or another text leaves its section or is not UTF-8, or the texts so far are longer than it.
    Text { index: usize },
}

/// What is wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Unknown operation or mode.
    Kind,
    /// Wants an accelerator; this runtime runs steps of a processor.
    Target,
    /// The weights' storage is not one that this runtime reads.
    Encoding,
    /// Wrong number of inputs, or an input or output that is no tensor.
    Operand,
    /// Shapes of inputs and output do not fit the operation.
    Shape,
    /// Weights, biases, tables or multipliers leave the constants or have another length.
    Constant,
    /// A weight of −128; weights are symmetric.
    Weight,
    /// A multiplier or shift outside the contract, or `lo` above `hi`.
    Requant,
    /// An accumulator could leave 32 bits.
    Accumulator,
    /// Output and input share memory in a way that the kernel does not allow.
    Overlap,
    /// Packed weights, biases or requantisation outside the contract, or duplicates that differ.
    Packed,
    /// The workspace leaves the arena, or a tensor of the step reaches into it.
    Scratch,
    /// The steps so far share their constants more often than [`super::format::REUSE_LIMIT`] allows.
    Reuse,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::TooShort { bytes } => write!(f, "artefact of {bytes} bytes is too short"),
            Error::Magic => f.write_str("not a .sct artefact (wrong magic)"),
            Error::Version { major, minor } => {
                write!(f, "artefact of format {major}.{minor}; this runtime reads ")?;
                write!(f, "{}.x", super::format::VERSION_MAJOR)
            }
            Error::Length { header, found } => {
                write!(f, "artefact should have {header} bytes and has {found}")
            }
            Error::Crc { stored, computed } => {
                write!(f, "artefact is damaged: CRC-32 {computed:08x}, expected {stored:08x}")
            }
            Error::Section { kind } => write!(f, "section {kind} is missing, doubled or misplaced"),
            Error::UnknownSection { kind } => {
                write!(f, "section {kind} is unknown: the artefact needs a newer runtime")
            }
            Error::Arena { bytes } => {
                write!(f, "arena of {bytes} bytes; at most {} are allowed", super::format::MEMORY_LIMIT)
            }
            Error::Tensor { index } => {
                write!(f, "tensor {index} is empty, too large, outside the arena or of unknown type")
            }
            Error::Input => f.write_str("the input is not a dense tensor"),
            Error::Step { index, layer, fault } => write!(f, "step {index} (layer {layer}): {fault}"),
            Error::Head { index } => {
                write!(f, "head {index}: tensor, classes, anchors or tables do not fit or are too large")
            }
            Error::Suppression => f.write_str("suppression record is damaged"),
            Error::Program { command } => {
                write!(f, "command {command} of the accelerator's program is unsound")
            }
            Error::ProgramMap { index } => {
                write!(f, "MapRecord {index} of the accelerator's program has another shape than its tensor")
            }
            Error::Text { index } => {
                write!(f, "text {index} leaves its section, overlaps others or is not UTF-8")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kind => "unknown operation or mode",
            Fault::Target => "is for an accelerator; this runtime runs steps of a processor",
            Fault::Encoding => "weights are stored in a way that this runtime does not read",
            Fault::Operand => "wrong number of inputs, or an input or output that is no tensor",
            Fault::Shape => "shapes of inputs and output do not fit the operation",
            Fault::Constant => "constants are missing, outside their section or of another length",
            Fault::Weight => "a weight is -128",
            Fault::Requant => "requantisation outside the contract",
            Fault::Accumulator => "an accumulator could leave 32 bits",
            Fault::Overlap => "output and input share memory",
            Fault::Packed => "packed constants outside the contract",
            Fault::Scratch => "workspace leaves the arena or is shared",
            Fault::Reuse => "its constants serve too many steps",
        })
    }
}

impl core::error::Error for Error {}
