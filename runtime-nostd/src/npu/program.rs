//! An accelerator's program as it lies in an artefact: the sections `Program` and `Trace`.
//!
//! `Program` is what the accelerator reads as region 0: a [`ProgramHeader`], then [`MapRecord`]s,
//! the command stream, weights, parameters and tables. All addresses within it count from its
//! start. `Trace` has one [`CommandRecord`] a command, for simulators and profilers; a device does
//! without it.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::isa::{Parameters, UNIT};
use super::registers::VERSION_VALUE;
use crate::artefact::format::{MEMORY_LIMIT, NONE};

/// First bytes of a program.
pub const MAGIC: [u8; 4] = *b"SCTP";
/// Region bases are multiples of this.
pub const REGION_ALIGNMENT: u32 = 64;

/// Begins a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ProgramHeader {
    pub magic: [u8; 4],
    /// [`VERSION_VALUE`] of the encodings; a driver refuses another major version.
    pub version: U32,
    /// [`Parameters`] that the program was compiled for, in their order.
    pub rows: U32,
    pub lanes: U32,
    pub bank_words: U32,
    pub weight_words: U32,
    pub param_entries: U32,
    pub axi_bytes: U32,
    /// Length of region 1 (input, workspace and outputs), at most [`MEMORY_LIMIT`].
    pub work_bytes: U32,
    /// The command stream, a multiple of [`UNIT`] in offset and length.
    pub stream_offset: U32,
    pub stream_bytes: U32,
    /// [`MapRecord`]s.
    pub map_offset: U32,
    pub map_count: U32,
    /// Cycles without any progress that no fault-free frame reaches.
    pub watchdog: U32,
    /// Cycles of a frame as the compiler's model predicts them.
    pub cycles: U32,
    /// The last of the [`Parameters`].
    pub drain_rows: U32,
}

/// Bits of [`MapRecord::role`].
pub mod map_role {
    /// Written before the program runs: the picture, or what the processor computed.
    pub const INPUT: u32 = 1;
    /// Read after it.
    pub const OUTPUT: u32 = 2;
}

/// A feature map in region 1: `channels` planes of `h · w` bytes, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MapRecord {
    /// Index in the artefact's tensor table.
    pub tensor: U32,
    /// Offset of the first channel in region 1, a multiple of 16.
    pub address: U32,
    /// Bytes from one channel to the next, a multiple of 16.
    pub pitch: U32,
    pub channels: U32,
    pub h: U32,
    pub w: U32,
    /// [`map_role`].
    pub role: U32,
    pub reserved: U32,
}

/// What a command works on and when, by the compiler's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommandRecord {
    /// Index of the tensor that the command writes (Exec, LoadMap) or reads (StoreMap), or [`NONE`].
    pub tensor: U32,
    /// Channel of that tensor that the command's first output channel is.
    pub channel: U16,
    /// Darknet's number of the layer that the command's time and bytes are charged to.
    pub layer: U16,
    /// Predicted cycle of its start, from the frame's.
    pub start: U32,
    /// Predicted cycle in which it is finished.
    pub end: U32,
}

impl CommandRecord {
    /// The tensor's index, where it has one.
    pub fn tensor(&self) -> Option<usize> {
        let index = self.tensor.get();
        (index != NONE).then(|| usize::try_from(index).ok()).flatten()
    }
}

/// A checked program; borrows the artefact.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    bytes: &'a [u8],
    header: &'a ProgramHeader,
    maps: &'a [MapRecord],
}

impl<'a> Program<'a> {
    /// Checks header, sizes, maps and places; `None` where something is damaged. What the commands do
    /// is checked by the accelerator, address by address.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = ProgramHeader::ref_from_prefix(bytes).ok()?;
        let unit = u32::try_from(UNIT).ok()?;
        let stream = range(header.stream_offset, header.stream_bytes)?;
        let map_bytes = usize::try_from(header.map_count.get()).ok()?.checked_mul(size_of::<MapRecord>())?;
        let first = usize::try_from(header.map_offset.get()).ok()?;
        let maps = bytes.get(first..first.checked_add(map_bytes)?)?;
        let maps = <[MapRecord]>::ref_from_bytes(maps).ok()?;
        let sound = header.magic == MAGIC
            && header.version.get() >> 16 == VERSION_VALUE >> 16
            && header.stream_offset.get().is_multiple_of(unit)
            && header.stream_bytes.get().is_multiple_of(unit)
            && stream.end <= bytes.len()
            && bytes.len() <= MEMORY_LIMIT
            && usize::try_from(header.work_bytes.get()).is_ok_and(|bytes| bytes <= MEMORY_LIMIT)
            && header.parameters().check().is_ok()
            && maps.iter().all(|map| map.is_inside(header.work_bytes.get()));
        sound.then_some(Self { bytes, header, maps })
    }

    /// All of it, as region 0 has to hold it.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub const fn header(&self) -> &'a ProgramHeader {
        self.header
    }

    /// The command stream.
    pub fn stream(&self) -> &'a [u8] {
        range(self.header.stream_offset, self.header.stream_bytes)
            .and_then(|range| self.bytes.get(range))
            .unwrap_or(&[])
    }

    /// Sizes of the accelerator that the program was compiled for.
    pub fn parameters(&self) -> Parameters {
        self.header.parameters()
    }

    /// Maps that lie in memory.
    pub const fn maps(&self) -> &'a [MapRecord] {
        self.maps
    }

    /// What the program reads: the picture, or what the processor's steps before it left.
    pub fn inputs(&self) -> impl Iterator<Item = &'a MapRecord> + Clone + use<'a> {
        self.maps.iter().filter(|map| map.role.get() & map_role::INPUT != 0)
    }

    /// What it leaves for the processor.
    pub fn outputs(&self) -> impl Iterator<Item = &'a MapRecord> + Clone + use<'a> {
        self.maps.iter().filter(|map| map.role.get() & map_role::OUTPUT != 0)
    }
}

impl ProgramHeader {
    fn parameters(&self) -> Parameters {
        Parameters {
            rows: self.rows.get(),
            lanes: self.lanes.get(),
            bank_words: self.bank_words.get(),
            weight_words: self.weight_words.get(),
            param_entries: self.param_entries.get(),
            axi_bytes: self.axi_bytes.get(),
            drain_rows: self.drain_rows.get(),
        }
    }
}

impl MapRecord {
    /// Bytes of one channel without padding.
    pub fn plane_bytes(&self) -> Option<u32> {
        self.h.get().checked_mul(self.w.get())
    }

    fn is_inside(&self, work_bytes: u32) -> bool {
        let end = || {
            let last = self.channels.get().checked_sub(1)?.checked_mul(self.pitch.get())?;
            last.checked_add(self.plane_bytes()?)?.checked_add(self.address.get())
        };
        end().is_some_and(|end| end <= work_bytes)
    }
}

fn range(offset: U32, bytes: U32) -> Option<core::ops::Range<usize>> {
    let start = usize::try_from(offset.get()).ok()?;
    Some(start..start.checked_add(usize::try_from(bytes.get()).ok()?)?)
}
