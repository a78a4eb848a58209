//! A job: what a board is given, and what this machine makes of it.

use secateur_base::{Error, Result};
use secateur_codegen::target::Board;
use secateur_job::{Header, MAGIC};
use secateur_kernels::HostKernels;
use secateur_runtime::Kernels;
use secateur_runtime::artefact::Model;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use crate::report::Report;

/// An artefact and an image to run it on.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The bytes of a `.sct`, which the runtime's check has accepted.
    pub artefact: &'a [u8],
    /// `[h, w, c]`, q = pixel − 128.
    pub image: &'a [i8],
    /// Detections need a score above this, Q0.30.
    pub score_threshold: u32,
    /// Overlap above which the lesser of two detections is dropped, Q0.30.
    pub overlap_threshold: u32,
    /// Columns and rows of the input that the image covers.
    pub frame: [u32; 2],
}

/// The job as it lies in flash.
///
/// # Errors
/// Artefact or image are too long for 32-bit lengths.
pub fn package(job: &Job<'_>) -> Result<Vec<u8>> {
    let length = |bytes: usize| {
        u32::try_from(bytes)
            .map(U32::new)
            .map_err(|_| Error::new("too long for a board").found(format!("{bytes} bytes")))
    };
    let header = Header {
        magic: MAGIC,
        artefact_bytes: length(job.artefact.len())?,
        image_bytes: length(job.image.len())?,
        score_threshold: U32::new(job.score_threshold),
        overlap_threshold: U32::new(job.overlap_threshold),
        frame: job.frame.map(U32::new),
        reserved: U32::ZERO,
    };
    let (image, _) =
        header.layout().ok_or_else(|| Error::new("artefact and image are too long for a board"))?;
    let mut bytes = [header.as_bytes(), job.artefact].concat();
    bytes.resize(image, 0);
    bytes.extend_from_slice(job.image.as_bytes());
    Ok(bytes)
}

/// Checks a package and the artefact's arena against a board's memory.
///
/// # Errors
/// One of them is too large: by how many bytes.
pub(crate) fn check_fit(package: &[u8], model: &Model<'_>, board: &Board) -> Result<()> {
    let parts = [
        ("artefact and image", package.len() as u64, board.regions.package.bytes, "flash"),
        ("the arena", model.arena_bytes() as u64, board.regions.arena.bytes, "RAM"),
    ];
    match parts.into_iter().find(|(_, needed, limit, _)| needed > limit) {
        None => Ok(()),
        Some((what, needed, limit, memory)) => {
            Err(Error::new(format!("{what} do not fit the {memory} of board {}", board.name))
                .found(format!("{needed} bytes: {} too many", needed - limit))
                .allowed(format!("{limit} bytes"))
                .help(format!("`secateur compile --board {}` says what would fit", board.name)))
        }
    }
}

/// Keeps the report; its clock stands.
struct Recorder(Vec<u8>);

impl secateur_job::Board for Recorder {
    fn ticks(&mut self) -> u32 {
        0
    }

    fn write(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }
}

/// What a board must report for `job`, from this machine's kernels.
///
/// # Errors
/// The job cannot be run.
pub fn expected(job: &Job<'_>) -> Result<Report> {
    expected_with(job, HostKernels)
}

/// [`expected`], from any kernels.
///
/// # Errors
/// As [`expected`].
pub fn expected_with(job: &Job<'_>, kernels: impl Kernels) -> Result<Report> {
    let flash = package(job)?;
    let model = Model::from_bytes(job.artefact).map_err(|e| Error::new(e.to_string()))?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut recorder = Recorder(Vec::new());
    // A fault is in the report as well, in words.
    let _ = secateur_job::run(&flash, &mut arena, kernels, &mut recorder);
    Report::parse(&recorder.0)
}
