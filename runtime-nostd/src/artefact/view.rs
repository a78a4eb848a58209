//! A checked, zero-copy view over an artefact's bytes.

use core::marker::PhantomData;

use zerocopy::little_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::check;
use super::directory::{Directory, frame};
use super::error::Error;
use super::format::{
    AnchorRecord, DType, HeadKind, HeadRecord, Header, NONE, ProvenanceRecord, Section, StepRecord,
    SuppressionKind, SuppressionRecord, TensorRecord, TextRef, header_flags,
};
use super::step::Step;
use crate::detect::ONE;
use crate::npu::Program;
use crate::npu::program::CommandRecord;

/// An artefact that has been checked once and is trusted from then on: no accessor fails.
///
/// Borrows the bytes (flash, a mapped file) and copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub(super) header: &'a Header,
    pub(super) tensors: Records<'a, TensorRecord>,
    pub(super) steps: Records<'a, StepRecord>,
    pub(super) operands: Records<'a, U32>,
    pub(super) constants: &'a [u8],
    pub(super) heads: Records<'a, HeadRecord>,
    pub(super) anchors: Records<'a, AnchorRecord>,
    pub(super) text: &'a [u8],
    pub(super) names: Records<'a, TextRef>,
    pub(super) provenance: &'a ProvenanceRecord,
    pub(super) suppression: &'a SuppressionRecord,
    pub(super) program: Option<Program<'a>>,
    pub(super) trace: Option<Records<'a, CommandRecord>>,
    /// By [`Model::from_bytes`].
    checked: bool,
}

/// Records of one section; `stride` may exceed the record's size.
#[derive(Debug)]
pub struct Records<'a, T> {
    bytes: &'a [u8],
    count: usize,
    stride: usize,
    record: PhantomData<&'a [T]>,
}

impl<T> Clone for Records<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Records<'_, T> {}

impl<'a, T: FromBytes + KnownLayout + Immutable + Unaligned> Records<'a, T> {
    /// `bytes` holds `count` records of `stride` bytes; `None` where the record does not fit.
    pub(super) fn new(bytes: &'a [u8], count: usize, stride: usize) -> Option<Self> {
        let fits = (count == 0 || stride >= size_of::<T>()) && count.checked_mul(stride)? <= bytes.len();
        fits.then_some(Self { bytes, count, stride, record: PhantomData })
    }

    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Record `index`.
    pub fn get(&self, index: usize) -> Option<&'a T> {
        if index >= self.count {
            return None;
        }
        let bytes = self.bytes.get(index * self.stride..)?;
        T::ref_from_prefix(bytes).ok().map(|(record, _)| record)
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a T> + Clone + use<'a, T> {
        let records = *self;
        (0..records.count).filter_map(move |index| records.get(index))
    }
}

impl<'a> Model<'a> {
    /// Checks everything: magic, version, length, CRC, each offset, size, range, shape,
    /// accumulator bound and overlap. What passes, runs: no kernel and no accessor can fail.
    ///
    /// Not checked: that the memory plan keeps each value until its last reader (the compiler's
    /// promise; a wrong plan gives wrong numbers, never a fault).
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        let (directory, mut model) = Self::read(bytes)?;
        model.program = directory.optional(Section::Program, Directory::program)?;
        model.trace = directory.optional(Section::Trace, Directory::records)?;
        check::model(&model, bytes.len())?;
        model.checked = true;
        Ok(model)
    }

    /// The model of bytes that [`Model::from_bytes`] has accepted before, such as those that a compiler put into one
    /// program with this: magic, version, length, CRC and the places of the sections are checked, and nothing else. It
    /// has no program for an accelerator, and only kernels that check what they are given run it
    /// ([`Model::is_checked`]). Of other bytes a run gives wrong numbers, or takes very long.
    pub fn from_checked_bytes(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::read(bytes).map(|(_, model)| model)
    }

    fn read(bytes: &'a [u8]) -> Result<(Directory<'a>, Self), Error> {
        let header = frame(bytes)?;
        let directory = Directory::new(bytes, header)?;
        let model = Self {
            header,
            tensors: directory.records(Section::Tensors)?,
            steps: directory.records(Section::Steps)?,
            operands: directory.records(Section::Operands)?,
            constants: directory.blob(Section::Constants)?,
            heads: directory.records(Section::Heads)?,
            anchors: directory.records(Section::Anchors)?,
            text: directory.blob(Section::Text)?,
            names: directory.records(Section::Names)?,
            provenance: directory.single(Section::Provenance)?,
            suppression: directory.single(Section::Suppression)?,
            program: None,
            trace: None,
            checked: false,
        };
        Ok((directory, model))
    }

    /// Returns true if everything was checked, which kernels that trust shapes and places must ask.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Bytes of memory that [`crate::Engine::new`] wants.
    pub fn arena_bytes(&self) -> usize {
        to_usize(self.header.arena_bytes)
    }

    /// Index of the tensor that receives the image.
    pub fn input(&self) -> usize {
        to_usize(self.header.input)
    }

    /// `[h, w, c]` of the image.
    pub fn input_shape(&self) -> [usize; 3] {
        self.tensor(self.input()).map_or([0; 3], TensorRecord::shape)
    }

    /// Whether the image is letterboxed into the input instead of stretched.
    pub fn letter_box(&self) -> bool {
        self.header.flags.get() & header_flags::LETTER_BOX != 0
    }

    pub fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    /// Tensor `index`, `None` past the last.
    pub fn tensor(&self, index: usize) -> Option<&'a TensorRecord> {
        self.tensors.get(index)
    }

    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// Step `index`, `None` past the last.
    pub fn step(&self, index: usize) -> Option<Step<'a>> {
        self.steps.get(index).map(|record| Step::new(*self, record, index))
    }

    /// Steps in execution order.
    pub fn steps(&self) -> impl Iterator<Item = Step<'a>> + Clone + use<'a> {
        let model = *self;
        (0..model.steps.len()).filter_map(move |index| model.step(index))
    }

    /// Outputs of the network, in the order of the cfg.
    pub fn heads(&self) -> impl Iterator<Item = Head<'a>> + Clone + use<'a> {
        let model = *self;
        model.heads.iter().filter_map(move |record| Head::of(model, record))
    }

    pub fn class_count(&self) -> usize {
        self.names.len()
    }

    /// Name of a class; empty where the artefact has none.
    pub fn class_name(&self, class: usize) -> &'a str {
        self.names.get(class).and_then(|name| self.text(name)).unwrap_or("")
    }

    pub fn provenance(&self) -> &'a ProvenanceRecord {
        self.provenance
    }

    /// Name of the network.
    pub fn network(&self) -> &'a str {
        self.text(&self.provenance.network).unwrap_or("")
    }

    /// Version of the tool that wrote the artefact.
    pub fn tool(&self) -> &'a str {
        self.text(&self.provenance.tool).unwrap_or("")
    }

    /// Name of the target that the artefact was compiled for.
    pub fn target(&self) -> &'a str {
        self.text(&self.provenance.target).unwrap_or("")
    }

    /// How overlapping detections are thinned out.
    pub fn suppression(&self) -> Suppression<'a> {
        Suppression::of(self, self.suppression).unwrap_or(Suppression { curve: None, threshold: 0 })
    }

    /// The same network for an accelerator, where the artefact has it.
    pub fn program(&self) -> Option<Program<'a>> {
        self.program
    }

    /// One record a command of [`Model::program`], where the artefact has them.
    pub fn trace(&self) -> Option<Records<'a, CommandRecord>> {
        self.trace
    }

    pub(super) fn text(&self, at: &TextRef) -> Option<&'a str> {
        let start = to_usize(at.offset);
        let bytes = self.text.get(start..start.checked_add(to_usize(at.bytes))?)?;
        core::str::from_utf8(bytes).ok()
    }

    /// `count` constants at `offset`; `None` where they leave the section.
    pub(super) fn constants<T>(&self, offset: U32, count: usize) -> Option<&'a [T]>
    where
        T: FromBytes + Immutable + Unaligned + KnownLayout,
    {
        let start = to_usize(offset);
        let bytes = count.checked_mul(size_of::<T>())?;
        let bytes = self.constants.get(start..start.checked_add(bytes)?)?;
        <[T]>::ref_from_bytes(bytes).ok()
    }

    /// The table of 256 constants at `offset`.
    pub(super) fn table<T>(&self, offset: U32) -> Option<&'a [T; 256]>
    where
        T: FromBytes + Immutable + Unaligned + KnownLayout,
    {
        self.constants::<T>(offset, 256)?.try_into().ok()
    }
}

impl TensorRecord {
    /// `[h, w, c]`.
    pub fn shape(&self) -> [usize; 3] {
        [to_usize(self.h), to_usize(self.w), to_usize(self.c)]
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// `None` for types that this runtime does not know.
    pub fn dtype(&self) -> Option<DType> {
        DType::from_code(self.dtype.get())
    }

    /// The Darknet layer whose output this is, `None` for the image.
    pub fn layer(&self) -> Option<u32> {
        (self.layer.get() != NONE).then_some(self.layer.get())
    }
}

/// One output of the network, with its tables.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub kind: HeadKind,
    /// Index of the tensor that it reads.
    pub tensor: usize,
    /// Number of its Darknet layer.
    pub layer: u32,
    pub classes: usize,
    /// Anchors in pixels of the input, Q16.16.
    pub anchors: Anchors<'a>,
    pub channels_per_anchor: usize,
    /// [`super::format::head_flags`].
    pub flags: u32,
    /// Centre of a box in its cell, Q16.16 cells.
    pub xy: &'a [I32; 256],
    /// Factor on the anchor, Q16.16.
    pub wh: &'a [U32; 256],
    /// Q0.15.
    pub objectness: &'a [U16; 256],
    /// Q0.15; with softmax the exponential of the distance below the maximum.
    pub class: &'a [U16; 256],
}

/// A head's run of anchors.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    records: Records<'a, AnchorRecord>,
    first: usize,
    count: usize,
}

impl Anchors<'_> {
    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Width and height of an anchor, Q16.16 pixels of the input.
    pub fn get(&self, index: usize) -> Option<(u32, u32)> {
        let record = (index < self.count).then(|| self.records.get(self.first.checked_add(index)?))??;
        Some((record.w.get(), record.h.get()))
    }
}

impl<'a> Head<'a> {
    /// The head's meaning, `None` where the record or its constants are damaged.
    pub(super) fn of(model: Model<'a>, record: &HeadRecord) -> Option<Self> {
        const ZERO_I32: &[I32; 256] = &[I32::ZERO; 256];
        const ZERO_U32: &[U32; 256] = &[U32::ZERO; 256];
        const ZERO_U16: &[U16; 256] = &[U16::ZERO; 256];
        let kind = HeadKind::from_code(record.kind.get())?;
        let boxes = kind != HeadKind::Classes;
        // A classifier reads no anchors, whatever their fields hold.
        let count = if boxes { to_usize(record.anchor_count) } else { 0 };
        let first = to_usize(record.first_anchor);
        if matches!(kind, HeadKind::Yolo | HeadKind::Region)
            && first.checked_add(count)? > model.anchors.len()
        {
            return None;
        }
        Some(Self {
            kind,
            tensor: to_usize(record.tensor),
            layer: record.layer.get(),
            classes: to_usize(record.classes),
            anchors: Anchors { records: model.anchors, first, count },
            channels_per_anchor: to_usize(record.channels_per_anchor),
            flags: record.flags.get(),
            xy: if boxes { model.table(record.xy)? } else { ZERO_I32 },
            wh: if boxes { model.table(record.wh)? } else { ZERO_U32 },
            objectness: if boxes { model.table(record.objectness)? } else { ZERO_U16 },
            class: model.table(record.class)?,
        })
    }
}

/// Non-maximum suppression as the artefact wants it.
#[derive(Debug, Clone, Copy)]
pub struct Suppression<'a> {
    /// `t^(1/β)` at `t = k / 256`, Q0.30; `None` for plain IoU.
    pub curve: Option<&'a [U32; super::format::CURVE_KNOTS]>,
    /// Default threshold, Q0.30.
    pub threshold: u32,
}

impl<'a> Suppression<'a> {
    pub(super) fn of(model: &Model<'a>, record: &SuppressionRecord) -> Option<Self> {
        let curve = match SuppressionKind::from_code(record.kind.get())? {
            SuppressionKind::Default => None,
            SuppressionKind::Distance => {
                Some(model.constants(record.curve, super::format::CURVE_KNOTS)?.try_into().ok()?)
            }
        };
        let within = |curve: &[U32; super::format::CURVE_KNOTS]| curve.iter().all(|knot| knot.get() <= ONE);
        curve.is_none_or(within).then_some(Self { curve, threshold: record.threshold.get() })
    }
}

/// A number from a file as an index; saturates where `usize` is narrower.
pub(super) fn to_usize(value: U32) -> usize {
    usize::try_from(value.get()).unwrap_or(usize::MAX)
}
