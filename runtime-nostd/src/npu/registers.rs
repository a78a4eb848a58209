//! Registers of the accelerator: the one home of their addresses.
//!
//! All are 32 bits wide at byte offsets from the control interface's base. The SystemVerilog
//! package and the manual are generated from [`REGISTERS`].

/// What software may do with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// Writing a one does it; reads as zero.
    WriteOne,
    /// Writing a one clears the bit.
    WriteOneClear,
}

/// One register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    pub name: &'static str,
    pub offset: u32,
    pub access: Access,
    pub description: &'static str,
}

macro_rules! registers {
    ($($name:ident @ $offset:literal $access:ident $doc:literal,)*) => {
        $(#[doc = $doc] pub const $name: u32 = $offset;)*

        /// Every register, by address.
        pub const REGISTERS: &[Register] = &[$(Register {
            name: stringify!($name),
            offset: $offset,
            access: Access::$access,
            description: $doc,
        },)*];
    };
}

registers! {
    ID @ 0x00 ReadOnly "0x53435450 (`SCTP`): tells that this is the accelerator",
    VERSION @ 0x04 ReadOnly "Version of commands and registers: major in bits 31:16, minor in 15:0",
    SHAPE @ 0x08 ReadOnly "Rows in bits 7:0, lanes in 15:8, AXI bytes in 23:16, rows drained at once in 31:24",
    BANK_WORDS @ 0x0c ReadOnly "Map words of each bank",
    WEIGHT_WORDS @ 0x10 ReadOnly "Weight words",
    PARAM_ENTRIES @ 0x14 ReadOnly "Parameter entries",
    CONTROL @ 0x20 WriteOne "Bit 0: start a frame. Bit 1: soft reset; under way until memory has answered all transfers. Bit 2: soft reset that forgets them, only where memory has been reset too",
    STATUS @ 0x24 ReadOnly "Bit 0: busy. Bit 1: frame done. Bit 2: fault. Bit 3: reset under way, memory may still be written; no frame starts",
    INTERRUPT @ 0x28 WriteOneClear "Bit 0: frame done. Bit 1: fault. The interrupt line is the OR of the enabled bits",
    INTERRUPT_ENABLE @ 0x2c ReadWrite "The same bits",
    FAULT @ 0x30 ReadOnly "Fault code of the first fault since reset (see `FaultCode`)",
    FAULT_INFO @ 0x34 ReadOnly "Bus address of a bus fault; index of a command in its queue; with bit 31: number of the 32-byte unit of the stream",
    WATCHDOG @ 0x38 ReadWrite "Cycles without any progress after which a fault is raised; 0: never",
    STREAM_ADDRESS @ 0x40 ReadWrite "Bus address of the command stream, a multiple of 32",
    STREAM_BYTES @ 0x44 ReadWrite "Length of the command stream, a multiple of 32",
    REGION0_BASE @ 0x48 ReadWrite "Bus address of the artefact (read only), a multiple of 16",
    REGION0_BYTES @ 0x4c ReadWrite "Length of the artefact's region",
    REGION1_BASE @ 0x50 ReadWrite "Bus address of workspace, input and output, a multiple of 16",
    REGION1_BYTES @ 0x54 ReadWrite "Length of that region",
    CYCLES @ 0x80 ReadOnly "Cycles from start to done",
    MACS @ 0x84 ReadOnly "Array cycles in which multipliers worked (times rows × lanes: MACs issued)",
    SKIPPED @ 0x88 ReadOnly "Weight vectors skipped by sparsity",
    STALL_LOAD @ 0x8c ReadOnly "Cycles in which EXEC waited for LOAD",
    STALL_STORE @ 0x90 ReadOnly "Cycles in which EXEC waited for STORE",
    STALL_DRAIN @ 0x94 ReadOnly "Cycles in which the array waited for the requantiser",
    STALL_RESIDUAL @ 0x98 ReadOnly "Cycles in which the requantiser waited for the second map",
    STALL_COMMAND @ 0x9c ReadOnly "Cycles in which EXEC had no command",
    BYTES_READ @ 0xa0 ReadOnly "Bytes read over the bus, commands included",
    BYTES_WRITTEN @ 0xa4 ReadOnly "Bytes written over the bus",
    DONE_LOAD @ 0xa8 ReadOnly "LOAD commands finished in this frame",
    DONE_EXEC @ 0xac ReadOnly "EXEC commands finished in this frame",
    DONE_STORE @ 0xb0 ReadOnly "STORE commands finished in this frame",
}

/// Value of [`ID`].
pub const ID_VALUE: u32 = 0x5343_5450;
/// Value of [`VERSION`].
pub const VERSION_VALUE: u32 = 0x0001_0000;

/// [`CONTROL`], bit 0.
pub const CONTROL_START: u32 = 1;
/// [`CONTROL`], bit 1.
pub const CONTROL_RESET: u32 = 2;
/// [`CONTROL`], bit 2.
pub const CONTROL_FORGET: u32 = 4;
/// [`STATUS`], bit 0.
pub const STATUS_BUSY: u32 = 1;
/// [`STATUS`], bit 1.
pub const STATUS_DONE: u32 = 2;
/// [`STATUS`], bit 2.
pub const STATUS_FAULT: u32 = 4;
/// [`STATUS`], bit 3.
pub const STATUS_RESETTING: u32 = 8;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal,)*) => {
        /// Why the accelerator stopped; the value of [`FAULT`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum FaultCode { $($(#[doc = $doc])* $variant = $code,)* }

        impl FaultCode {
            /// Every fault with its number and meaning.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, stringify!($variant), concat!($($doc),*)),)*];

            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

faults! {
    /// No fault.
    None = 0,
    /// A read was answered with an error.
    BusRead = 1,
    /// A write was answered with an error.
    BusWrite = 2,
    /// The command stream could not be read.
    CommandRead = 3,
    /// Unknown opcode or a field out of range.
    IllegalCommand = 4,
    /// A transfer would leave its region; nothing was issued.
    OutOfRegion = 5,
    /// Nothing moved for as long as WATCHDOG allows.
    Watchdog = 6,
}

impl core::fmt::Display for FaultCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::BusRead => "a read was answered with an error",
            Self::BusWrite => "a write was answered with an error",
            Self::CommandRead => "the command stream could not be read",
            Self::IllegalCommand => "illegal command",
            Self::OutOfRegion => "transfer outside its region",
            Self::Watchdog => "watchdog: nothing moved",
        })
    }
}
