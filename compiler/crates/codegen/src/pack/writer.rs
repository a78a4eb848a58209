//! Assembles an artefact: sections in a fixed order, constants once each, the CRC at the end.
//!
//! Tensor `v` of the artefact is value `v` of the program: 0 the picture, `i + 1` the output of layer
//! `i`; slices that concatenations copy follow. The same program gives the same bytes.

use std::collections::HashMap;

use crc::{CRC_32_ISO_HDLC, Crc};
use secateur_runtime::artefact::format::{
    ALIGNMENT, CRC_BYTES, DType, Header, MAGIC, MEMORY_LIMIT, NONE, ProvenanceRecord, Section, SectionRecord,
    StepRecord, Target as Processor, TensorRecord, TextRef, VERSION_MAJOR, VERSION_MINOR, header_flags,
};
use zerocopy::little_endian::{I16, U16, U32};
use zerocopy::{Immutable, IntoBytes};

use super::npu::Sections;
use super::{heads, steps};
use crate::lower::Program;
use crate::lower::program::Value;
use crate::target::Target;
use secateur_base::{Error, Result};

/// Serialises a lowered network, with the accelerator's program where there is one.
///
/// # Errors
/// A number that does not fit the format, with the layer.
pub(super) fn write(
    program: &Program<'_>,
    target: &Target,
    accelerator: Option<&Sections>,
) -> Result<Vec<u8>> {
    let mut writer = Writer::new(program)?;
    for layer in 0..program.actions.len() {
        steps::write(&mut writer, layer)
            .map_err(|e| e.layer(layer).section(program.net.nodes[layer].op.name()))?;
    }
    if let Some(sections) = accelerator {
        let shared = |step: &&mut StepRecord| sections.shared[step.layer.get() as usize];
        writer.steps.iter_mut().filter(shared).for_each(|step| step.target = Processor::Shared.code());
    }
    let (heads, suppression) = heads::write(&mut writer)?;
    let names: Vec<TextRef> =
        program.net.names.iter().map(|name| writer.text(name)).collect::<Result<_>>()?;
    let from = &program.net.provenance;
    let provenance = ProvenanceRecord {
        cfg_sha256: from.cfg_sha256,
        weights_sha256: from.weights_sha256,
        recipe_sha256: from.recipe_sha256,
        network: writer.text(&from.model)?,
        tool: writer.text(concat!("secateur ", env!("CARGO_PKG_VERSION")))?,
        target: writer.text(&target.name)?,
    };
    let arena = program.arena.as_ref().ok_or_else(|| Error::new("compiler mistake: no arena is planned"))?;
    if arena.bytes > MEMORY_LIMIT {
        return Err(Error::new("the arena does not fit an artefact")
            .found(format!("{} bytes", arena.bytes))
            .allowed(format!("{MEMORY_LIMIT} bytes"))
            .help("make the network's input smaller"));
    }
    let mut file = File::default();
    file.section(Section::Tensors, &writer.tensors);
    file.section(Section::Steps, &writer.steps);
    file.section(Section::Operands, &writer.operands);
    file.section(Section::Heads, &heads);
    file.section(Section::Anchors, &writer.anchors);
    file.section(Section::Names, &names);
    file.section(Section::Provenance, &[provenance]);
    file.section(Section::Suppression, &[suppression]);
    file.section(Section::Text, &writer.text);
    file.section(Section::Constants, &writer.constants);
    if let Some(sections) = accelerator {
        file.section(Section::Program, &sections.program);
        file.section(Section::Trace, &sections.trace);
    }
    let flags = if program.net.letter_box { header_flags::LETTER_BOX } else { 0 };
    let bytes = file.finish(number("arena", arena.bytes)?, flags)?;
    if let Some(limit) = target.artefact_limit
        && bytes.len() > limit
    {
        return Err(Error::new(format!("the artefact does not fit the memory of target {}", target.name))
            .found(format!("{} bytes", bytes.len()))
            .allowed(format!("{limit} bytes"))
            .help("prune the network"));
    }
    Ok(bytes)
}

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
pub(super) struct Writer<'a> {
    pub(super) program: &'a Program<'a>,
    pub(super) tensors: Vec<TensorRecord>,
    pub(super) steps: Vec<StepRecord>,
    pub(super) operands: Vec<U32>,
    pub(super) anchors: Vec<secateur_runtime::artefact::format::AnchorRecord>,
    constants: Vec<u8>,
    /// Offsets of the constants that are there already.
    known: HashMap<Vec<u8>, U32>,
    text: Vec<u8>,
    /// Arena offset of every storage.
    offsets: HashMap<usize, usize>,
}

impl<'a> Writer<'a> {
    fn new(program: &'a Program<'a>) -> Result<Self> {
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
        };
        for value in 0..program.places.len() {
            writer.slice(value, 0, program.shape(value).c)?;
        }
        Ok(writer)
    }

    /// A record for channels `first .. first + count` of a value; returns its index.
    pub(super) fn slice(&mut self, value: Value, first: usize, count: usize) -> Result<U32> {
        let program = self.program;
        let place = program.places[value];
        let shape = program.shape(value);
        let (tensor, layer) = match value {
            0 => (&program.net.input, U32::new(NONE)),
            _ => (&program.net.nodes[value - 1].output, number("layer", value - 1)?),
        };
        let arena_offset = self.offsets.get(&place.storage).copied().unwrap_or(0);
        let index = number("number of tensors", self.tensors.len())?;
        self.tensors.push(TensorRecord {
            offset: number("arena offset", arena_offset + place.channel + first)?,
            h: number("height", shape.h)?,
            w: number("width", shape.w)?,
            c: number("channels", count)?,
            pitch: number("pixel pitch", program.storages[place.storage].shape.c)?,
            dtype: U16::new(DType::I8.code()),
            zero_point: I16::new(tensor.zero_point.into()),
            scale_bits: U32::new(tensor.scale.to_bits()),
            layer,
        });
        Ok(index)
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

    fn text(&mut self, text: &str) -> Result<TextRef> {
        let offset = number("text", self.text.len())?;
        self.text.extend_from_slice(text.as_bytes());
        Ok(TextRef { offset, bytes: number("text", text.len())? })
    }
}

/// The file under construction: section bodies, and the directory without its own size yet.
#[derive(Default)]
struct File {
    directory: Vec<(Section, usize, usize, usize)>, // kind, offset in the bodies, count, stride
    bodies: Vec<u8>,
}

impl File {
    fn section<T: IntoBytes + Immutable>(&mut self, kind: Section, records: &[T]) {
        self.bodies.resize(self.bodies.len().next_multiple_of(ALIGNMENT), 0);
        self.directory.push((kind, self.bodies.len(), records.len(), size_of::<T>()));
        self.bodies.extend_from_slice(records.as_bytes());
    }

    fn finish(self, arena_bytes: U32, flags: u32) -> Result<Vec<u8>> {
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
        let crc = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }
}
