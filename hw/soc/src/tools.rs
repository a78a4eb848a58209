//! Programs that systems are made with, and files that they read.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_base::{Error, Result, files};
use secateur_boards::Part;
use sha2::{Digest, Sha256};

/// A Python that has the packages already.
const PYTHON: &str = "SECATEUR_SOC_PYTHON";

/// Waits for a lock, which is given up when it is dropped or its process ends.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| Error::io("create", path, &e))?;
    file.lock().map_err(|e| Error::io("lock", path, &e))?;
    Ok(file)
}

/// A Python with packages, lines of a requirements file: the environment's, or one in the cache.
pub(crate) fn python(cache: &Path, packages: &str, begin: impl Fn(&str)) -> Result<PathBuf> {
    if let Some(python) = std::env::var_os(PYTHON).filter(|path| !path.is_empty()) {
        return Ok(python.into());
    }
    let folder = cache.join(format!("litex-{}", &hex::encode(Sha256::digest(packages))[..16]));
    // Two systems may want it at once.
    let _locked = lock(&folder.with_extension("lock"))?;
    let (python, done) = (folder.join("bin/python"), folder.join("done"));
    if !done.exists() {
        begin("installing LiteX from PyPI");
        let list = cache.join("requirements.txt");
        files::write_bytes(&list, packages.as_bytes())?;
        let help = "Python 3 is needed with its module venv; on Debian: apt-get install python3-venv";
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
            "cannot make a Python environment",
            help,
        )?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&list);
        run(&mut pip, "cannot install LiteX", &format!("{PYTHON} names a Python that has it"))?;
        files::write_bytes(&done, b"")?;
    }
    Ok(python)
}

/// Runs a program to its end; an error with the end of what it said where it fails.
pub(crate) fn run(command: &mut Command, what: &str, help: &str) -> Result<()> {
    let fail = |cause: String| Error::new(what.to_owned()).found(cause).help(help.to_owned());
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| fail(format!("{name}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(fail(lines[lines.len().saturating_sub(20)..].join("\n")))
}

/// What the firmware puts into the ROM, which begins at address 0.
pub(crate) fn rom(program: &Path, limit: u32) -> Result<Vec<u8>> {
    let bytes = fs::read(program).map_err(|e| Error::io("read", program, &e))?;
    let mut rom = Vec::new();
    for part in Part::of_elf(&bytes).map_err(|e| e.file(program))? {
        let at = part.address as usize;
        let end = at.saturating_add(part.bytes.len());
        if end > limit as usize {
            return Err(Error::new("the firmware does not fit the system's ROM")
                .found(format!("section {} ends {} bytes behind its end", part.name, end - limit as usize))
                .allowed(format!("{limit} bytes")));
        }
        rom.resize(rom.len().max(end), 0);
        rom[at..end].copy_from_slice(&part.bytes);
    }
    Ok(rom)
}

/// Words of 32 bits as `$readmemh` reads them.
pub(crate) fn words(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(4) * 9);
    for chunk in bytes.chunks(4) {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        let _ = writeln!(text, "{:08x}", u32::from_le_bytes(word));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_little_endian_and_filled_up() {
        assert_eq!(words(&[1, 2, 3, 4, 5]), "04030201\n00000005\n");
        assert_eq!(words(&[]), "");
    }
}
