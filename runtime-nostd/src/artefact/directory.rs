//! The frame of an artefact: header, CRC and the directory of its sections.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::crc::crc32;
use super::error::Error;
use super::format::{ALIGNMENT, CRC_BYTES, Header, MAGIC, OPTIONAL, Section, SectionRecord, VERSION_MAJOR};
use super::view::{Records, to_usize};
use crate::npu::Program;

/// Magic, version, length and CRC.
pub(super) fn frame(bytes: &[u8]) -> Result<&Header, Error> {
    let short = Error::TooShort { bytes: bytes.len() };
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| short)?;
    if header.magic != MAGIC {
        return Err(Error::Magic);
    }
    let (major, minor) = (header.version_major.get(), header.version_minor.get());
    if major != VERSION_MAJOR {
        return Err(Error::Version { major, minor });
    }
    if to_usize(header.file_bytes) != bytes.len() {
        return Err(Error::Length { header: to_usize(header.file_bytes), found: bytes.len() });
    }
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(short)?;
    let (stored, computed) = (u32::from_le_bytes(*crc), crc32(body));
    if stored != computed {
        return Err(Error::Crc { stored, computed });
    }
    Ok(header)
}

/// The sections, in file order, without overlap.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    sections: &'a [SectionRecord],
}

impl<'a> Directory<'a> {
    pub(super) fn new(bytes: &'a [u8], header: &Header) -> Result<Self, Error> {
        let count = to_usize(header.section_count);
        let size = size_of::<SectionRecord>();
        let start = size_of::<Header>();
        let end = count.checked_mul(size).and_then(|n| n.checked_add(start));
        let body = bytes.len() - CRC_BYTES;
        let sections = end
            .filter(|&end| end <= body)
            .and_then(|end| bytes.get(start..end))
            .and_then(|bytes| <[SectionRecord]>::ref_from_bytes(bytes).ok())
            .ok_or(Error::Section { kind: 0 })?;
        let mut free = start + size_of_val(sections);
        // A bit for each known kind that has occurred: their numbers differ in the last six bits.
        let mut seen = 0u64;
        for section in sections {
            let kind = section.kind.get();
            let known = Section::from_code(kind).is_some_and(|kind| kind != Section::Commands);
            if !known && kind & OPTIONAL == 0 {
                return Err(Error::UnknownSection { kind });
            }
            let offset = to_usize(section.offset);
            let bytes = to_usize(section.count).checked_mul(to_usize(section.stride));
            let end = bytes.and_then(|bytes| bytes.checked_add(offset));
            let end = end.ok_or(Error::Section { kind })?;
            let bit = if known { 1 << (kind % u64::BITS) } else { 0 };
            if offset < free || !offset.is_multiple_of(ALIGNMENT) || end > body || seen & bit != 0 {
                return Err(Error::Section { kind });
            }
            seen |= bit;
            free = end;
        }
        Ok(Self { bytes, sections })
    }

    fn find(&self, section: Section) -> Result<(&'a [u8], usize, usize), Error> {
        let kind = section.code();
        let missing = Error::Section { kind };
        let record = self.sections.iter().find(|record| record.kind.get() == kind).ok_or(missing)?;
        let (count, stride) = (to_usize(record.count), to_usize(record.stride));
        let start = to_usize(record.offset);
        let bytes = self.bytes.get(start..start + count * stride).ok_or(missing)?;
        Ok((bytes, count, stride))
    }

    pub(super) fn records<T>(&self, section: Section) -> Result<Records<'a, T>, Error>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        let (bytes, count, stride) = self.find(section)?;
        Records::new(bytes, count, stride).ok_or(Error::Section { kind: section.code() })
    }

    pub(super) fn blob(&self, section: Section) -> Result<&'a [u8], Error> {
        match self.find(section)? {
            (bytes, _, 1) => Ok(bytes),
            _ => Err(Error::Section { kind: section.code() }),
        }
    }

    /// A section that may be missing, but not damaged.
    pub(super) fn optional<T>(
        &self,
        section: Section,
        read: impl FnOnce(&Self, Section) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        if self.find(section).is_err() { Ok(None) } else { read(self, section).map(Some) }
    }

    pub(super) fn program(&self, section: Section) -> Result<Program<'a>, Error> {
        Program::new(self.blob(section)?).ok_or(Error::Section { kind: section.code() })
    }

    pub(super) fn single<T>(&self, section: Section) -> Result<&'a T, Error>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        let records = self.records(section)?;
        if records.len() != 1 {
            return Err(Error::Section { kind: section.code() });
        }
        records.get(0).ok_or(Error::Section { kind: section.code() })
    }
}
