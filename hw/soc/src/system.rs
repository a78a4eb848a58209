//! Generates a system, builds its simulation and firmware, and runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use secateur_base::{Error, Result, files};
use secateur_boards::{Job, Optimisation, Workshop, watch};
use secateur_codegen::target::{Accelerator, Soc, Target};
use secateur_runtime::artefact::Model;
use secateur_sim::package as rtl;
use sha2::{Digest, Sha256};

use crate::description::Description;
use crate::frame::Frame;
use crate::tools::{lock, python, rom, run, words};

/// Files of this crate that a system is made of, beside the accelerator's.
pub(crate) const GENERATOR: &str = include_str!("../generate.py");
pub(crate) const REQUIREMENTS: &str = include_str!("../requirements.txt");
const MAIN: &str = include_str!("../sim/main.cpp");
pub(crate) const MODULES: [(&str, &str); 2] = [
    ("npu_dram_bridge.sv", include_str!("../rtl/npu_dram_bridge.sv")),
    ("npu_soc.sv", include_str!("../rtl/npu_soc.sv")),
];
/// The sizes, which the target states.
pub(crate) const SIZES: &str = "npu_pkg.sv";
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
        let (soc, accelerator) = parts(target)?;
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
            let python = python(workshop.folder(), REQUIREMENTS, &begin)?;
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
        let program = workshop.build_system(&target.name, map, regions, Optimisation::Speed, || {
            begin("building the firmware")
        })?;
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
        let bytes = job.planar_package().ok_or_else(|| {
            Error::new("artefact and image do not go together")
                .help("the image has the size of the network's input")
        })?;
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

/// System and accelerator of a target.
///
/// # Errors
/// It has none.
pub(crate) fn parts(target: &Target) -> Result<(Soc, Accelerator)> {
    let (Some(soc), Some(accelerator)) = (target.soc, target.accelerator) else {
        let known: Vec<&str> = Target::systems().collect();
        return Err(Error::new(format!("target {} is no system on an FPGA", target.name))
            .allowed(format!("{}, or a target file with a table [soc]", known.join(", "))));
    };
    Ok((soc, accelerator))
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
