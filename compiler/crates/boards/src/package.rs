//! A job: what a board is given, and what this machine makes of it.

use secateur_base::{Error, Result};
use secateur_codegen::target::Board;
use secateur_job::Job;
use secateur_kernels::HostKernels;
use secateur_runtime::Kernels;
use secateur_runtime::artefact::Model;

use crate::report::Report;

/// The job as it lies in flash.
///
/// # Errors
/// Artefact or image are too long for 32-bit lengths.
pub fn package(job: &Job<'_>) -> Result<Vec<u8>> {
    job.package().ok_or_else(|| Error::new("artefact and image are too long for a board"))
}

/// Checks a package and the artefact's arena against a board's memory.
///
/// # Errors
/// One of them is too large: by how many bytes.
pub(crate) fn check_fit(package: &[u8], model: &Model<'_>, board: &Board) -> Result<()> {
    let parts = [
        ("artefact and image do", package.len() as u64, board.regions.package.bytes, "flash"),
        ("the arena does", model.arena_bytes() as u64, board.regions.arena.bytes, "RAM"),
    ];
    match parts.into_iter().find(|(_, needed, limit, _)| needed > limit) {
        None => Ok(()),
        Some((what, needed, limit, memory)) => {
            Err(Error::new(format!("{what} not fit the {memory} of board {}", board.name))
                .found(format!("{needed} bytes: {} too many", needed - limit))
                .allowed(format!("{limit} bytes"))
                .help(format!("`secateur compile --board {}` says what would fit", board.name)))
        }
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
    let mut text = Vec::new();
    // A fault is in the report as well, in words.
    let _ = secateur_job::report(&package(job)?, kernels, &mut text)
        .map_err(|e| Error::internal(format!("memory takes no report: {e}")))?;
    Report::parse(&text)
}
