//! Collects records, constants and texts, and lays out the file.

use std::collections::HashMap;
use std::ops::Range;

use secateur_runtime::artefact::crc32;
use secateur_runtime::artefact::format::{
    ALIGNMENT, CRC_BYTES, DType, Header, MAGIC, NONE, Section, SectionRecord, StepRecord, TensorRecord,
    TextRef, VERSION_MAJOR, VERSION_MINOR,
};
use zerocopy::little_endian::{I16, U16, U32};
use zerocopy::{Immutable, IntoBytes};

use crate::cpu::CpuProgram;
use crate::cpu::program::ValueId;
use secateur_base::{Error, Result};

/// A size as the format's 32 bits.
pub(super) fn number(what: &str, value: usize) -> Result<U32> {
    match u32::try_from(value) {
        Ok(value) if value != NONE => Ok(U32::new(value)),
        _ => Err(Error::new(format!("{what} does not fit an artefact"))
            .found(value.to_string())
            .allowed(format!("below {NONE}"))),
    }
}

/// Collects what the sections will hold.
pub(super) struct RecordWriter<'a> {
    pub(super) program: &'a CpuProgram<'a>,
    pub(super) tensors: Vec<TensorRecord>,
    pub(super) steps: Vec<StepRecord>,
    pub(super) operands: Vec<U32>,
    pub(super) anchors: Vec<secateur_runtime::artefact::format::AnchorRecord>,
    pub(super) constants: Vec<u8>,
    /// Offsets of the constants that are there already.
    known: HashMap<Vec<u8>, U32>,
    pub(super) text: Vec<u8>,
    /// Arena offset of every storage.
    offsets: HashMap<usize, usize>,
    /// By value: the record of the whole, where there is such a time.
    whole: Vec<Option<U32>>,
    /// By storage: the feature map's row at its first, as far as moves were written.
    pub(super) base: Vec<usize>,
    /// Records of rows, by their bytes.
    rows: HashMap<Vec<u8>, U32>,
}

impl<'a> RecordWriter<'a> {
    pub(super) fn new(program: &'a CpuProgram<'a>) -> Result<Self> {
        let placement = program.arena.iter().flat_map(|arena| arena.offsets.iter().copied());
        let offsets =
            program.live_storages().into_iter().map(|(storage, _)| storage).zip(placement).collect();
        let mut writer = Self {
            program,
            tensors: Vec::new(),
            steps: Vec::new(),
            operands: Vec::new(),
            anchors: Vec::new(),
            constants: Vec::new(),
            known: HashMap::new(),
            text: Vec::new(),
            offsets,
            whole: Vec::new(),
            base: vec![0; program.storages.len()],
            rows: HashMap::new(),
        };
        for value in 0..program.allocations.len() {
            let whole = value == 0 || program.is_whole(value);
            let record = whole.then(|| writer.slice(value, 0, program.shape(value).c)).transpose()?;
            writer.whole.push(record);
        }
        Ok(writer)
    }

    /// The record of a whole value.
    pub(super) fn value(&self, value: ValueId) -> Result<U32> {
        self.whole[value].ok_or_else(|| Error::internal(format!("value {value} is never whole")))
    }

    /// A record for channels `first .. first + count` of a value; returns its index.
    pub(super) fn slice(&mut self, value: ValueId, first: usize, count: usize) -> Result<U32> {
        let rows = 0..self.program.shape(value).h;
        let record = self.record(value, first, count, rows)?;
        self.push(record)
    }

    /// The record for rows and channels of a value where they are now; equal ones are one.
    pub(super) fn rows(
        &mut self,
        value: ValueId,
        first: usize,
        count: usize,
        rows: Range<usize>,
    ) -> Result<U32> {
        let record = self.record(value, first, count, rows)?;
        if let Some(&index) = self.rows.get(record.as_bytes()) {
            return Ok(index);
        }
        let index = self.push(record)?;
        self.rows.insert(record.as_bytes().to_vec(), index);
        Ok(index)
    }

    fn push(&mut self, record: TensorRecord) -> Result<U32> {
        let index = number("number of tensors", self.tensors.len())?;
        self.tensors.push(record);
        Ok(index)
    }

    fn record(&self, value: ValueId, first: usize, count: usize, rows: Range<usize>) -> Result<TensorRecord> {
        let program = self.program;
        let place = program.allocations[value];
        let shape = program.shape(value);
        let (tensor, layer) = match value {
            0 => (&program.net.input, U32::new(NONE)),
            _ => (&program.net.nodes[value - 1].output, number("layer", value - 1)?),
        };
        let storage = program.storages[place.storage].shape;
        let row = rows.start - self.base[place.storage];
        let offset = self.offsets.get(&place.storage).copied().unwrap_or(0) + row * storage.w * storage.c;
        Ok(TensorRecord {
            offset: number("arena offset", offset + place.channel + first)?,
            h: number("height", rows.len())?,
            w: number("width", shape.w)?,
            c: number("channels", count)?,
            pitch: number("pixel pitch", storage.c)?,
            dtype: U16::new(DType::I8.code()),
            zero_point: I16::new(tensor.zero_point.into()),
            scale_bits: U32::new(tensor.scale.to_bits()),
            layer,
        })
    }

    /// Where a layer's workspace begins in the arena; 0 without one.
    pub(super) fn scratch_offset(&self, layer: usize) -> usize {
        self.program.scratch[layer].and_then(|storage| self.offsets.get(&storage).copied()).unwrap_or(0)
    }

    /// Stores a constant, or finds the equal one that is there already; returns its offset.
    pub(super) fn constant<T: IntoBytes + Immutable>(&mut self, values: &[T]) -> Result<U32> {
        let bytes = values.as_bytes();
        if let Some(&offset) = self.known.get(bytes) {
            return Ok(offset);
        }
        self.constants.resize(self.constants.len().next_multiple_of(ALIGNMENT), 0);
        let offset = number("constants", self.constants.len())?;
        self.constants.extend_from_slice(bytes);
        self.known.insert(bytes.to_vec(), offset);
        Ok(offset)
    }

    pub(super) fn text(&mut self, text: &str) -> Result<TextRef> {
        let offset = number("text", self.text.len())?;
        self.text.extend_from_slice(text.as_bytes());
        Ok(TextRef { offset, bytes: number("text", text.len())? })
    }
}

/// The file under construction: section bodies, and the directory without its own size yet.
#[derive(Default)]
pub(super) struct ArtefactFile {
    directory: Vec<(Section, usize, usize, usize)>, // kind, offset in the bodies, count, stride
    bodies: Vec<u8>,
}

impl ArtefactFile {
    pub(super) fn section<T: IntoBytes + Immutable>(&mut self, kind: Section, records: &[T]) {
        self.bodies.resize(self.bodies.len().next_multiple_of(ALIGNMENT), 0);
        self.directory.push((kind, self.bodies.len(), records.len(), size_of::<T>()));
        self.bodies.extend_from_slice(records.as_bytes());
    }

    pub(super) fn finish(self, arena_bytes: U32, flags: u32) -> Result<Vec<u8>> {
        let front = size_of::<Header>() + self.directory.len() * size_of::<SectionRecord>();
        let start = front.next_multiple_of(ALIGNMENT);
        let file_bytes = start + self.bodies.len() + CRC_BYTES;
        let header = Header {
            magic: MAGIC,
            version_major: U16::new(VERSION_MAJOR),
            version_minor: U16::new(VERSION_MINOR),
            file_bytes: number("artefact", file_bytes)?,
            section_count: number("sections", self.directory.len())?,
            arena_bytes,
            input: U32::new(0),
            flags: U32::new(flags),
            reserved: [U32::ZERO; 8],
        };
        let mut bytes = Vec::with_capacity(file_bytes);
        bytes.extend_from_slice(header.as_bytes());
        for (kind, offset, count, stride) in self.directory {
            let record = SectionRecord {
                kind: U32::new(kind.code()),
                offset: number("section offset", start + offset)?,
                count: number("section count", count)?,
                stride: number("section stride", stride)?,
            };
            bytes.extend_from_slice(record.as_bytes());
        }
        bytes.resize(start, 0);
        bytes.extend_from_slice(&self.bodies);
        let checksum = crc32(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }
}
