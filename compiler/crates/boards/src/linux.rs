//! Processors with Linux, which QEMU's user mode shows.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use secateur_base::{Result, files};

use crate::emulator::{Run, folder, start};
use crate::package::package;
use crate::report::Report;
use secateur_job::Job;

/// An Arm processor with Linux. There is no limit to its memory that a file would have to state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinuxProcessor {
    /// As QEMU and the compiler call it.
    pub name: &'static str,
    /// The compiler's target.
    pub triple: &'static str,
    /// The program of QEMU.
    pub emulator: &'static str,
}

impl LinuxProcessor {
    /// Armv8.0-A, and Armv8.2-A with products of bytes (`dotprod`).
    pub const ALL: [Self; 2] = [Self::aarch64("cortex-a53"), Self::aarch64("cortex-a76")];

    const fn aarch64(name: &'static str) -> Self {
        Self { name, triple: "aarch64-unknown-linux-musl", emulator: "qemu-aarch64" }
    }

    /// The processor of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|processor| processor.name == name)
    }
}

/// Runs the program of a processor on a job in QEMU's user mode and returns what it reported. Its ticks are
/// nanoseconds of this machine, which say nothing of the processor.
///
/// # Errors
/// The emulator is not installed; the program faults, or does not end within `limit`.
pub fn emulate_linux(
    processor: LinuxProcessor,
    program: &Path,
    job: &Job<'_>,
    limit: Duration,
) -> Result<Report> {
    let folder = folder()?;
    let path = folder.path().join("package");
    files::write_unsynced(&path, &package(job)?)?;
    let mut command = Command::new(processor.emulator);
    command.args(["-cpu", processor.name]).arg(program).arg(&path);
    let child = start(&mut command, "qemu-user")?;
    Run::wait(child, limit)?.report(processor.name, limit)
}
