//! A target's processor and memory.

use serde::Deserialize;

use secateur_base::{Error, Result};

/// The processor that runs the firmware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processor {
    /// Instruction set, for people.
    pub instructions: String,
    /// Target of the Rust compiler for a program without operating system.
    pub triple: Option<String>,
    /// Processor that the Rust compiler optimises for.
    pub cpu: Option<String>,
}

/// Firmware is located below this, on processors of 64 bits too.
const ADDRESS_LIMIT: u64 = 1 << 32;

/// Of the package and the arena: constants are words at multiples of it.
const ALIGNMENT: u64 = 16;
/// No slice is longer on a processor of 32 bits.
const LARGEST: u64 = (1 << 31) - 1;

/// A piece of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Its address; boards have one, targets do not.
    pub at: Option<u64>,
    pub bytes: u64,
}

/// The memory of a microcontroller by what the firmware keeps there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regions {
    /// Flash of the firmware.
    pub program: Region,
    /// Flash of artefact and image.
    pub package: Region,
    /// RAM of stack and variables.
    pub data: Region,
    /// RAM of the arena.
    pub arena: Region,
}

impl Regions {
    /// The regions with their names, in the order of [`Regions`]'s fields.
    pub fn named(&self) -> [(&'static str, Region); 4] {
        [("program", self.program), ("package", self.package), ("data", self.data), ("arena", self.arena)]
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, region) in self.named() {
            if region.bytes == 0 {
                return Err(Error::new("memory: a region without bytes")
                    .found(format!("regions.{name}.bytes = 0"))
                    .allowed("a positive number of bytes")
                    .help("leave the regions out if there is no limit"));
            }
            if let Some(at) = region.at
                && at.checked_add(region.bytes).is_none_or(|end| end > ADDRESS_LIMIT)
            {
                return Err(Error::new("memory: a region leaves the addresses of 32 bits")
                    .found(format!("regions.{name}.at = {at:#x}")));
            }
        }
        for (name, region) in [("package", self.package), ("arena", self.arena)] {
            if region.at.is_some_and(|at| at == 0 || !at.is_multiple_of(ALIGNMENT)) || region.bytes > LARGEST
            {
                return Err(Error::new("memory: a region that cannot be a slice of bytes")
                    .found(format!("regions.{name}: {} bytes at {:#x}", region.bytes, region.at.unwrap_or(0)))
                    .allowed(format!(
                        "addresses above 0 that {ALIGNMENT} divides, at most {LARGEST} bytes"
                    )));
            }
        }
        self.check_apart()
    }

    fn check_apart(&self) -> Result<()> {
        let mut placed: Vec<(u64, u64, &str)> = self
            .named()
            .into_iter()
            .filter_map(|(name, region)| Some((region.at?, region.at? + region.bytes, name)))
            .collect();
        placed.sort_unstable();
        match placed.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            None => Ok(()),
            Some(pair) => Err(Error::new("memory: two regions overlap").found(format!(
                "regions.{} ends at {:#x}, regions.{} begins at {:#x}",
                pair[0].2, pair[0].1, pair[1].2, pair[1].0
            ))),
        }
    }
}
