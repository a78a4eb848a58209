//! Boards: a target with addresses, from `configs/boards/*.toml`.

use std::path::Path;

use serde::Deserialize;

use secateur_base::{Error, Result, files};

use super::{BuiltIn, Regions, Target, is_name};

/// Boards that come with the tool: name and text of `configs/boards/NAME.toml`.
const BUILT_IN: BuiltIn = BuiltIn {
    kind: "board",
    files: &[
        ("mps2-an386", include_str!("../../../../../configs/boards/mps2-an386.toml")),
        ("mps2-an500", include_str!("../../../../../configs/boards/mps2-an500.toml")),
        ("mps2-an505", include_str!("../../../../../configs/boards/mps2-an505.toml")),
        ("mps3-an547", include_str!("../../../../../configs/boards/mps3-an547.toml")),
        ("virt", include_str!("../../../../../configs/boards/virt.toml")),
        ("virt64", include_str!("../../../../../configs/boards/virt64.toml")),
        ("stm32f407g-disc1", include_str!("../../../../../configs/boards/stm32f407g-disc1.toml")),
        ("stm32f746g-disco", include_str!("../../../../../configs/boards/stm32f746g-disco.toml")),
        ("stm32h747i-disco", include_str!("../../../../../configs/boards/stm32h747i-disco.toml")),
        ("nrf5340-dk", include_str!("../../../../../configs/boards/nrf5340-dk.toml")),
        ("pico2", include_str!("../../../../../configs/boards/pico2.toml")),
        ("esp32-c3", include_str!("../../../../../configs/boards/esp32-c3.toml")),
    ],
};

/// A board that an artefact is compiled for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    pub name: String,
    pub description: String,
    /// Its processor's target, with the board's own memory.
    pub target: Target,
    /// The board's memory, every region with its address.
    pub regions: Regions,
    /// What the flash programmer probe-rs calls the chip.
    pub chip: Option<String>,
    /// Where the project's firmware runs on the board.
    pub firmware: Option<Firmware>,
    pub emulator: Option<Emulator>,
}

/// How the project's firmware is built for a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    pub family: Family,
    pub counter: Counter,
}

/// The program in `runtime-nostd/firmware`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    CortexM,
    Riscv,
}

/// What the firmware counts for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counter {
    /// Cycles of a Cortex-M, by its own counter.
    Cycles,
    /// Timer of Arm's MPS2 boards.
    CmsdkTimer,
    /// System counter of Arm's SSE-300 subsystem.
    SystemCounter,
    /// Instructions that a RISC-V processor retired.
    Instructions,
}

/// How QEMU shows the board.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emulator {
    /// The program, such as `qemu-system-arm`.
    pub command: String,
    pub machine: String,
    /// Exponent of QEMU's option `-icount`: an instruction takes 2^shift ns of the emulated time.
    pub icount_shift: u32,
    /// So many ticks of the firmware's counter …
    pub ticks: u64,
    /// … are so many instructions.
    pub instructions: u64,
}

/// A board file may come from anybody: it names one of these, and no arguments.
const EMULATORS: [&str; 3] = ["qemu-system-arm", "qemu-system-riscv32", "qemu-system-riscv64"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    description: String,
    target: String,
    chip: Option<String>,
    firmware: Option<Firmware>,
    emulator: Option<Emulator>,
    regions: Regions,
}

impl Board {
    /// Names of the boards that come with the tool.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.names()
    }

    /// A built-in board by name, or any board file by its path (ending in `.toml`).
    ///
    /// # Errors
    /// There is no such board, or its file is malformed.
    pub fn load(name_or_path: &str) -> Result<Self> {
        let (path, text) = BUILT_IN.find(name_or_path)?;
        Self::parse(&path, &text)
    }

    /// Reads and checks a board file's text; `path` is for messages.
    ///
    /// # Errors
    /// The text is malformed, names no known target, or has a region without an address.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let file: File = files::parse_toml(path, text)?;
        let fail = |what: &str| Error::new(format!("board file: {what}")).file(path);
        if !is_name(&file.name) {
            return Err(fail("bad name").found(format!("{:?}", file.name)).allowed("letters, digits, - _ ."));
        }
        file.regions.check().map_err(|e| e.file(path))?;
        if let Some((name, _)) = file.regions.named().iter().find(|(_, region)| region.at.is_none()) {
            return Err(fail("a region has no address").found(format!("regions.{name} without `at`")));
        }
        if let Some(emulator) = &file.emulator {
            emulator.check().map_err(|e| e.file(path))?;
        }
        // A board file may come from anybody: what the compiler is told of the processor is the project's own.
        if !Target::names().any(|name| name == file.target) {
            return Err(fail("unknown target")
                .found(format!("{:?}", file.target))
                .allowed(Target::names().collect::<Vec<_>>().join(", ")));
        }
        let mut target = Target::load(&file.target)?;
        target.regions = Some(file.regions);
        let File { name, description, chip, firmware, emulator, regions, .. } = file;
        Ok(Self { name, description, target, regions, chip, firmware, emulator })
    }
}

impl Emulator {
    fn check(&self) -> Result<()> {
        let bad = |key: &str, found: &dyn std::fmt::Debug, allowed: String| {
            Err(Error::new(format!("board file: bad emulator.{key}"))
                .found(format!("{found:?}"))
                .allowed(allowed))
        };
        if !EMULATORS.contains(&self.command.as_str()) {
            return bad("command", &self.command, EMULATORS.join(", "));
        }
        if !is_name(&self.machine) {
            return bad("machine", &self.machine, "letters, digits, - _ .".to_owned());
        }
        if self.icount_shift > 10 {
            return bad("icount_shift", &self.icount_shift, "0 to 10".to_owned());
        }
        let (limit, ratio) = (1 << 20, [self.ticks, self.instructions]);
        if ratio.iter().any(|&part| part == 0 || part > limit) {
            return bad("ticks and emulator.instructions", &ratio, format!("1 to {limit}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_board_is_valid_and_named_as_its_file() {
        BUILT_IN.assert_complete("boards");
        for name in Board::names() {
            let board = Board::load(name).unwrap();
            assert_eq!(board.name, name);
            assert!(
                board.firmware.is_some() || board.emulator.is_none(),
                "{name}: an emulator runs the firmware"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        let file = BUILT_IN.files[0].1;
        let cases = [
            ("target = \"cortex-m4\"", "target = \"moon\"", "moon"),
            ("target = \"cortex-m4\"", "target = \"my.toml\"", "my.toml"),
            ("at = 0x21000000", "at = 0x21000008", "0x21000008"),
            ("at = 0x00040000", "at = 0", "package"),
            ("arena = { at = 0x21000000, ", "arena = { ", "regions.arena without"),
            ("at = 0x21000000", "at = 0x20000000", "overlap"),
            ("at = 0x21000000", "at = 0xFFFFFF00", "32 bits"),
            ("ticks = 8", "ticks = 0", "1 to 1048576"),
            ("\"qemu-system-arm\"", "\"rm\"", "rm"),
            ("machine = \"mps2-an386\"", "machine = \"virt,dumpdtb=x\"", "dumpdtb"),
            ("icount_shift = 6", "icount_shift = 11", "0 to 10"),
            ("cmsdk-timer", "sundial", "sundial"),
        ];
        for (from, to, expected) in cases {
            assert!(file.contains(from), "{from}");
            let message =
                format!("{:?}", Board::parse(Path::new("b.toml"), &file.replace(from, to)).unwrap_err());
            assert!(message.contains(expected) && message.contains("b.toml"), "{to} gave {message}");
        }
    }
}
