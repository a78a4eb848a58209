//! Generates a system, builds its simulation and firmware, and runs them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use secateur_base::{Error, Result, files};
use secateur_boards::{Job, Part, Workshop, package, watch};
use secateur_codegen::target::Target;
use secateur_runtime::artefact::Model;
use secateur_sim::package as rtl;
use sha2::{Digest, Sha256};

use crate::description::Description;
use crate::frame::Frame;

/// Files of this crate that a system is made of, beside the accelerator's.
const GENERATOR: &str = include_str!("../generate.py");
const REQUIREMENTS: &str = include_str!("../requirements.txt");
const MAIN: &str = include_str!("../sim/main.cpp");
const MODULES: [(&str, &str); 2] = [
    ("npu_dram_bridge.sv", include_str!("../rtl/npu_dram_bridge.sv")),
    ("npu_soc.sv", include_str!("../rtl/npu_soc.sv")),
];
/// The sizes, which the target states.
const SIZES: &str = "npu_pkg.sv";
/// A Python that has the packages of requirements.txt already.
const PYTHON: &str = "SECATEUR_SOC_PYTHON";
/// Exit code of the simulation when the cycles are used up.
const SILENT: i32 = 3;

/// A simulated system with its firmware.
#[derive(Debug)]
pub struct System {
    name: String,
    /// The simulation's program.
    simulation: PathBuf,
    /// The firmware's bytes, from the processor's reset address.
    rom: Vec<u8>,
    flash_bytes: u32,
}

impl System {
    /// Builds a target's system, or finds it built; `begin` is told what a build begins with.
    ///
    /// # Errors
    /// The target is no system; Python, Verilator or a compiler is missing; a build fails.
    pub fn build(target: &Target, workshop: &Workshop, begin: impl Fn(&str)) -> Result<Self> {
        let (Some(soc), Some(accelerator)) = (target.soc, target.accelerator) else {
            let known: Vec<&str> = Target::systems().collect();
            return Err(Error::new(format!("target {} is no system on an FPGA", target.name))
                .allowed(format!("{}, or a target file with a table [soc]", known.join(", "))));
        };
        let sizes = rtl::package(&accelerator.parameters());
        let arguments = [
            "--axi-bytes".to_owned(),
            soc.memory.width().to_string(),
            "--clock".to_owned(),
            (u64::from(soc.clock_mhz) * 1_000_000).to_string(),
        ];
        let folder = workshop.folder().join(format!("soc-{}", digest(&sizes, &arguments)));
        let simulation = folder.join("obj/soc");
        fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, &e))?;
        let _locked = lock(&folder.join("lock"))?;
        // The linker's file is there before it is whole.
        let done = folder.join("done");
        if !done.exists() {
            let python = python(workshop.folder(), &begin)?;
            begin("generating the system");
            generate(&python, &folder, &arguments)?;
            begin("building its simulation, which takes a minute or two");
            verilate(&folder, &sizes)?;
            files::write_bytes(&done, b"")?;
        }
        let path = folder.join("soc.json");
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
        let description = Description::parse(&text, &path)?;
        let (map, regions) = (description.map()?, description.regions()?);
        let program = workshop.build_system(&target.name, map, regions, || begin("building the firmware"))?;
        let rom = rom(&program, description.memory("rom")?.size)?;
        let flash_bytes = description.memory("flash")?.size;
        Ok(Self { name: target.name.clone(), simulation, rom, flash_bytes })
    }

    /// Runs a job for at most `cycles` cycles of the system.
    ///
    /// # Errors
    /// The job does not fit the flash; the system reports a fault, or does not end.
    pub fn run(&self, job: &Job<'_>, cycles: u64) -> Result<Frame> {
        Model::from_bytes(job.artefact).map_err(|e| Error::new(e.to_string()))?;
        let bytes = package(job)?;
        if bytes.len() as u64 > self.flash_bytes.into() {
            return Err(Error::new(format!("artefact and image do not fit the flash of {}", self.name))
                .found(format!("{} bytes", bytes.len()))
                .allowed(format!("{} bytes", self.flash_bytes)));
        }
        let folder = tempfile::tempdir().map_err(|e| Error::new(format!("cannot create a folder: {e}")))?;
        for (name, bytes) in
            [("soc_rom.init", &self.rom), ("soc_flash.init", &bytes), ("soc_sram.init", &vec![])]
        {
            files::write_unsynced(&folder.path().join(name), words(bytes).as_bytes())?;
        }
        let child = Command::new(&self.simulation)
            .current_dir(folder.path())
            .arg(cycles.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::io("run", &self.simulation, &e))?;
        // Cycles are its limit, not time.
        let run = watch(child, Duration::MAX)?;
        match run.status.and_then(|status| status.code()) {
            Some(0) => Frame::parse(&run.stdout),
            Some(SILENT) => Err(Error::new(format!("{} did not end within {cycles} cycles", self.name))
                .found(format!("so far: {:?}", String::from_utf8_lossy(&run.stdout)))
                .help("--cycles gives it more")),
            _ => Err(Error::new(format!("the simulation of {} failed", self.name))
                .found(String::from_utf8_lossy(&run.stderr).into_owned())),
        }
    }
}

/// Names everything that a simulation depends on.
fn digest(sizes: &str, arguments: &[String]) -> String {
    let mut hash = Sha256::new();
    let own = [GENERATOR, REQUIREMENTS, MAIN, sizes].into_iter();
    let modules = MODULES.iter().chain(rtl::SOURCES).flat_map(|&(name, text)| [name, text]);
    for part in own.chain(modules).chain(arguments.iter().map(String::as_str)) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..8])
}

/// Waits for a lock, which is given up when it is dropped or its process ends.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| Error::io("create", path, &e))?;
    file.lock().map_err(|e| Error::io("lock", path, &e))?;
    Ok(file)
}

/// A Python with LiteX: the environment's, or one in the cache.
fn python(cache: &Path, begin: impl Fn(&str)) -> Result<PathBuf> {
    if let Some(python) = std::env::var_os(PYTHON).filter(|path| !path.is_empty()) {
        return Ok(python.into());
    }
    let folder = cache.join(format!("litex-{}", &hex::encode(Sha256::digest(REQUIREMENTS))[..16]));
    // Two systems may want it at once.
    let _locked = lock(&folder.with_extension("lock"))?;
    let (python, done) = (folder.join("bin/python"), folder.join("done"));
    if !done.exists() {
        begin("installing LiteX from PyPI");
        let list = cache.join("requirements.txt");
        files::write_bytes(&list, REQUIREMENTS.as_bytes())?;
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

fn generate(python: &Path, folder: &Path, arguments: &[String]) -> Result<()> {
    let script = folder.join("generate.py");
    files::write_bytes(&script, GENERATOR.as_bytes())?;
    let mut command = Command::new(python);
    command.arg(&script).arg(folder).args(arguments);
    run(
        &mut command,
        "the system cannot be generated",
        "the Python packages are those of hw/soc/requirements.txt",
    )
}

/// Writes the sources, translates and compiles them.
fn verilate(folder: &Path, sizes: &str) -> Result<()> {
    files::write_bytes(&folder.join("main.cpp"), MAIN.as_bytes())?;
    let mut names = vec!["soc.v", "VexRiscv.v"];
    for &(name, text) in rtl::SOURCES.iter().chain(&MODULES) {
        let text = if name == SIZES { sizes } else { text };
        files::write_bytes(&folder.join(name), text.as_bytes())?;
        names.push(name);
    }
    let mut command = Command::new("verilator");
    command
        .current_dir(folder)
        .args(["--cc", "--exe", "--build", "-j", "0", "--top-module", "soc", "-O3"])
        .args(["--x-assign", "fast", "--x-initial", "fast", "--output-split", "20000"])
        // Generated code is LiteX's and VexRiscv's; the accelerator's is linted elsewhere.
        .args(["-Wno-fatal", "-Wno-lint", "-Wno-style", "--Mdir", "obj", "-o", "soc"])
        .args(["-MAKEFLAGS", "OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O2"])
        .args(names)
        .arg("main.cpp");
    run(&mut command, "the simulation does not build", "on Debian: apt-get install verilator g++ make")
}

/// Runs a program to its end; an error with the end of what it said where it fails.
fn run(command: &mut Command, what: &str, help: &str) -> Result<()> {
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
fn rom(program: &Path, limit: u32) -> Result<Vec<u8>> {
    let bytes = fs::read(program).map_err(|e| Error::io("read", program, &e))?;
    let mut rom = Vec::new();
    for part in Part::of_elf(&bytes).map_err(|e| e.file(program))? {
        let at = part.address as usize;
        let end = at.saturating_add(part.bytes.len());
        if end > limit as usize {
            return Err(Error::new("the firmware does not fit the system's ROM")
                .found(format!("section {} ends at {end:#x}", part.name))
                .allowed(format!("{limit:#x} bytes")));
        }
        rom.resize(rom.len().max(end), 0);
        rom[at..end].copy_from_slice(&part.bytes);
    }
    Ok(rom)
}

/// Words of 32 bits as `$readmemh` reads them.
fn words(bytes: &[u8]) -> String {
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
