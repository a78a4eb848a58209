//! Runs firmware in QEMU.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use secateur_base::{Error, Result, files};
use secateur_codegen::target::{Board, Emulator};
use secateur_job::Job;
use secateur_runtime::artefact::Model;

use crate::package::{self, package};
use crate::report::{MAX_REPORT_BYTES, Report, exception};

const ARM: &str = "qemu-system-arm";
/// How often it is looked whether the emulator has ended.
const PATIENCE: Duration = Duration::from_millis(5);

/// Runs a board's program on a job in QEMU and returns what it reported.
///
/// # Errors
/// The board has no emulator, or it is not installed; the job does not fit the board's memory; the program faults, or
/// does not end within `limit`.
pub fn emulate(board: &Board, program: &Path, job: &Job<'_>, limit: Duration) -> Result<Report> {
    let Some(emulator) = &board.emulator else {
        return Err(Error::new(format!("no emulator shows board {}", board.name))
            .help("`secateur targets list` names the boards that QEMU has"));
    };
    let model = Model::from_bytes(job.artefact).map_err(|e| Error::new(e.to_string()))?;
    let bytes = package(job)?;
    package::check_fit(&bytes, &model, board)?;
    let folder = folder()?;
    let path = folder.path().join("package");
    files::write_unsynced(&path, &bytes)?;
    let mut command = Command::new(&emulator.command);
    command.args(arguments(emulator)).arg("-kernel").arg(program).arg("-device").arg(loader(&path, board));
    let debian = if emulator.command == ARM { ARM } else { "qemu-system-misc" };
    Run::wait(start(&mut command, debian)?, limit)?.report(&board.name, limit)
}

/// A folder for what the emulator reads.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(|e| Error::new(format!("cannot create a folder: {e}")))
}

/// Starts an emulator, which Debian's package `debian` has.
pub(crate) fn start(command: &mut Command, debian: &str) -> Result<Running> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    child.map(Running).map_err(|cause| {
        let error = Error::new(format!("cannot run {}: {cause}", command.get_program().to_string_lossy()));
        match cause.kind() {
            ErrorKind::NotFound => error.help(format!("install it, on Debian: apt-get install {debian}")),
            _ => error,
        }
    })
}

fn arguments(emulator: &Emulator) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["-display", "none", "-monitor", "none", "-serial", "none"].map(String::from).into();
    if emulator.command != ARM {
        // Else RISC-V machines start a boot loader of their own.
        arguments.extend(["-bios", "none"].map(String::from));
    }
    arguments.extend(["-machine".to_owned(), emulator.machine.clone()]);
    arguments.extend(["-semihosting-config".to_owned(), "enable=on,target=native".to_owned()]);
    arguments.extend(["-icount".to_owned(), format!("shift={}", emulator.icount_shift)]);
    arguments
}

/// Puts a file into the board's flash, before the processor starts.
fn loader(path: &Path, board: &Board) -> OsString {
    let at = board.regions.package.at.unwrap_or(0);
    // QEMU takes two commas for one.
    let path = path.to_string_lossy().replace(',', ",,");
    format!("loader,file={path},addr={at:#x},force-raw=on").into()
}

/// An emulator at work; it ends with its owner, whatever happens.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a program that shows a machine, at most for `limit`. It ends with the caller, whatever happens; its output
/// must be piped.
///
/// # Errors
/// The system lost it.
pub fn watch(child: Child, limit: Duration) -> Result<Run> {
    Run::wait(Running(child), limit)
}

/// An emulator that has ended, or was ended.
pub struct Run {
    /// `None`: it took too long.
    pub status: Option<ExitStatus>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Run {
    pub(crate) fn wait(mut running: Running, limit: Duration) -> Result<Self> {
        let child = &mut running.0;
        let started = Instant::now();
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let failed = |e: std::io::Error| Error::new(format!("lost the emulator: {e}"));
        let status = loop {
            match child.try_wait().map_err(failed)? {
                Some(status) => break Some(status),
                None if started.elapsed() > limit => break None,
                None => thread::sleep(PATIENCE),
            }
        };
        // Ended, it closes the streams that are read.
        drop(running);
        let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        Ok(Self { status, stdout: text(stdout), stderr: text(stderr) })
    }

    /// What the program on `machine`, a board or a processor, reported.
    pub(crate) fn report(self, machine: &str, limit: Duration) -> Result<Report> {
        let said = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        let told = |error: Error| if said.is_empty() { error } else { error.found(said.clone()) };
        match self.status.map(|status| status.code()) {
            None => Err(Error::new(format!("{machine} did not end within {} s", limit.as_secs()))
                .help("--time-limit gives it more time")),
            // The program's own codes: done, and a fault, which the report names.
            Some(Some(0 | 1)) if !self.stdout.is_empty() => Report::parse(&self.stdout).map_err(told),
            Some(Some(3)) => Err(told(exception(machine, &self.stdout))),
            Some(code) => Err(told(Error::new(format!(
                "the emulator of {machine} failed ({})",
                code.map_or("by a signal".to_owned(), |code| format!("exit code {code}"))
            )))),
        }
    }
}

/// Reads a stream to its end, on a thread of its own so that none fills up.
fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is what there is.
            let _ = stream.by_ref().take(MAX_REPORT_BYTES as u64).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
        bytes
    })
}
