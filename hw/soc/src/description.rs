//! What the generator says of a system, as the firmware wants it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use secateur_base::{Error, Result};
use secateur_boards::linked_memory;
use secateur_codegen::target::{Family, Region};
use serde::Deserialize;

/// `soc.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Description {
    constants: BTreeMap<String, serde_json::Value>,
    csr_registers: BTreeMap<String, Register>,
    memories: BTreeMap<String, Memory>,
    interrupt: u32,
    dram_start_up: Vec<Command>,
    /// Of a board.
    pub(crate) device: Option<Device>,
}

/// A device as nextpnr's options name it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Device {
    pub(crate) size: String,
    pub(crate) speed: String,
    pub(crate) package: String,
}

#[derive(Debug, Deserialize)]
struct Register {
    addr: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Memory {
    pub(crate) base: u32,
    pub(crate) size: u32,
}

/// A command of the memory's start-up.
#[derive(Debug, Deserialize)]
struct Command {
    what: String,
    kind: Kind,
    value: u32,
    address: u32,
    bank: u32,
    wait: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Control,
    Command,
}

impl Description {
    /// # Errors
    /// The text is no description of a system.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|e| Error::new(format!("no description of a system: {e}")).file(path))
    }

    /// A memory region by its name.
    ///
    /// # Errors
    /// The system has none of that name.
    pub(crate) fn memory(&self, name: &str) -> Result<Memory> {
        let found = self.memories.get(name).copied();
        found.ok_or_else(|| Error::new(format!("the generated system has no memory {name}")))
    }

    /// The firmware's addresses: `map.rs`.
    pub(crate) fn map(&self) -> Result<String> {
        let mut text = String::new();
        let mut constant = |name: &str, value: u32| {
            let _ = writeln!(text, "pub const {name}: usize = {value:#x};");
        };
        for (name, memory) in [("MEMORY", "main_ram"), ("FLASH", "flash")] {
            let memory = self.memory(memory)?;
            constant(name, memory.base);
            constant(&format!("{name}_BYTES"), memory.size);
        }
        constant("SHARED", self.memory("shared")?.base);
        constant("NPU", self.memory("npu")?.base);
        constant("NPU_INTERRUPT", self.interrupt);
        for (name, register) in &self.csr_registers {
            constant(&name.to_uppercase(), register.addr);
        }
        let clock = self.constants.get("config_clock_frequency").and_then(serde_json::Value::as_u64);
        let clock = clock.ok_or_else(|| Error::new("the generated system states no clock"))?;
        let _ = writeln!(text, "pub const CLOCK_HZ: u32 = {clock};");
        text.push_str("pub const START_UP: &[crate::memory::Command] = &[\n");
        for Command { what, kind, value, address, bank, wait } in &self.dram_start_up {
            let control = matches!(kind, Kind::Control);
            let _ = writeln!(
                text,
                "    // {}.\n    crate::memory::Command {{ control: {control}, value: {value:#x}, address: {address:#x}, \
                 bank: {bank}, wait: {wait} }},",
                what.replace(char::is_control, " "),
            );
        }
        text.push_str("];\n");
        Ok(text)
    }

    /// The linker's regions: `memory.x`.
    pub(crate) fn regions(&self) -> Result<String> {
        let region = |name: &str| {
            let Memory { base, size } = self.memory(name)?;
            Ok(Region { at: Some(base.into()), bytes: size.into() })
        };
        Ok(linked_memory(Family::Riscv, &[("FLASH", region("rom")?), ("RAM", region("sram")?)]))
    }
}
