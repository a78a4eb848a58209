//! What is written to a board: the sections of its program, and the package.

use std::path::Path;

use object::elf::{FileHeader32, PT_LOAD, ProgramHeader32, SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS};
use object::read::elf::{ElfFile32, ElfSection, ProgramHeader, SectionHeader};
use object::{Endianness, Object, ObjectSection};
use secateur_base::{Error, Result};
use secateur_codegen::target::{Board, Region};
use secateur_job::Job;
use secateur_runtime::artefact::Model;

use crate::package::{check_fit, package};

/// `bkpt 0xab`, little-endian: how a program on a Cortex-M calls the host.
const HOST_CALL: [u8; 2] = [0xAB, 0xBE];

type File<'a> = ElfFile32<'a, Endianness>;
type Section<'a, 'f> = ElfSection<'a, 'f, FileHeader32<Endianness>>;

/// Bytes at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The ELF section's name, or `package`.
    pub name: String,
    pub address: u32,
    pub bytes: Vec<u8>,
}

/// All that a board's flash must hold to run a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub parts: Vec<Part>,
    /// Where the processor's vector table lies.
    pub(crate) vectors: u32,
    /// Addresses of the program's calls of the host. Constants that look like one are among them.
    pub(crate) host_calls: Vec<u32>,
}

impl Image {
    /// The image of a board's program, an ELF file, and of a job.
    ///
    /// # Errors
    /// The program is not what [`crate::Workshop::build`] makes; it, the job or the arena does not fit the board's memory.
    pub fn new(board: &Board, program: &Path, job: &Job<'_>) -> Result<Self> {
        let model = Model::from_bytes(job.artefact).map_err(|e| Error::new(e.to_string()))?;
        let package = package(job)?;
        check_fit(&package, &model, board)?;
        let bytes = std::fs::read(program).map_err(|e| Error::io("read", program, &e))?;
        let mut image = Self::of_elf(&bytes, board).map_err(|e| e.file(program))?;
        let address = start(&board.regions.package)?;
        image.parts.push(Part { name: "package".to_owned(), address, bytes: package });
        Ok(image)
    }

    fn of_elf(bytes: &[u8], board: &Board) -> Result<Self> {
        let flash = board.regions.program;
        let mut image = Self { parts: Vec::new(), vectors: start(&flash)?, host_calls: Vec::new() };
        for (part, is_code) in sections(bytes)? {
            check_inside(&part, &flash, board)?;
            if is_code {
                let calls = part.bytes.chunks_exact(2).zip((part.address..).step_by(2));
                image.host_calls.extend(calls.filter(|(unit, _)| *unit == HOST_CALL).map(|(_, at)| at));
            }
            image.parts.push(part);
        }
        let begins = image.parts.iter().any(|part| part.address == image.vectors && part.bytes.len() >= 8);
        if !begins {
            return Err(bad(&format_args!("no vector table at {:#010x}", image.vectors)));
        }
        Ok(image)
    }

    /// Bytes of all parts.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Part {
    /// What memory must hold before a program starts: the sections of an ELF file.
    ///
    /// # Errors
    /// The file is not one of 32 bits, or damaged.
    pub fn of_elf(bytes: &[u8]) -> Result<Vec<Self>> {
        Ok(sections(bytes)?.into_iter().map(|(part, _)| part).collect())
    }
}

fn bad(what: &dyn std::fmt::Display) -> Error {
    Error::new(format!("not a program for a board: {what}"))
}

/// Sections that are loaded, and whether each is code.
fn sections(bytes: &[u8]) -> Result<Vec<(Part, bool)>> {
    let file = File::parse(bytes).map_err(|e| bad(&e))?;
    let mut found = Vec::new();
    for section in file.sections() {
        let (endian, header) = (file.endian(), section.elf_section_header());
        let flags = header.sh_flags(endian);
        let stored = flags & SHF_ALLOC != 0 && header.sh_type(endian) != SHT_NOBITS && section.size() > 0;
        if !stored {
            continue;
        }
        let name = section.name().map_err(|e| bad(&e))?.to_owned();
        let bytes = section.data().map_err(|e| bad(&e))?.to_vec();
        let address = load_address(&file, &section)
            .ok_or_else(|| bad(&format_args!("nothing loads section {name}")))?;
        found.push((Part { name, address, bytes }, flags & SHF_EXECINSTR != 0));
    }
    Ok(found)
}

fn start(region: &Region) -> Result<u32> {
    let at = region.at.and_then(|at| u32::try_from(at).ok());
    at.ok_or_else(|| Error::internal("a board's region has an address of 32 bits"))
}

/// Where a section lies before the program starts: variables are copied from there.
fn load_address(file: &File<'_>, section: &Section<'_, '_>) -> Option<u32> {
    let endian = file.endian();
    let (from, _) = section.file_range()?;
    let holds = |segment: &&ProgramHeader32<Endianness>| {
        let (offset, bytes) = segment.file_range(endian);
        segment.p_type(endian) == PT_LOAD && (offset..offset + bytes).contains(&from)
    };
    let segment = file.elf_program_headers().iter().find(holds)?;
    let address = u64::from(segment.p_paddr(endian)) + from - segment.file_range(endian).0;
    u32::try_from(address).ok()
}

fn check_inside(part: &Part, flash: &Region, board: &Board) -> Result<()> {
    let (from, start) = (u64::from(part.address), flash.at.unwrap_or(0));
    let (end, limit) = (from + part.bytes.len() as u64, start + flash.bytes);
    if from >= start && end <= limit {
        return Ok(());
    }
    let error = Error::new(format!("the program does not fit the flash of board {}", board.name))
        .found(format!("section {} at {from:#010x} to {end:#010x}", part.name))
        .allowed(format!("{start:#010x} to {limit:#010x}"));
    Err(error.help("regions.program of the board's file says how much flash the program may take"))
}
