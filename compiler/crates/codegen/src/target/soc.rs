//! The system round an accelerator: what its memory and its clock are.

use serde::Deserialize;

use secateur_base::{Error, Result};

use super::Accelerator;

/// A processor with memory and the accelerator, as `hw/soc` generates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soc {
    pub memory: Dram,
    /// Of the whole system.
    pub clock_mhz: u32,
}

/// The memory's kind, which gives the width of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dram {
    /// SDRAM of 16 bits at twice the system's clock.
    Sdr,
    /// DDR3 of 16 bits at four times the system's clock.
    Ddr3,
}

impl Dram {
    /// Bytes that the controller moves in a cycle of the system.
    pub const fn width(self) -> u32 {
        match self {
            Self::Sdr => 4,
            Self::Ddr3 => 16,
        }
    }
}

impl Soc {
    /// Frames a second of an accelerator that takes so many cycles for one, its processor left aside.
    pub fn frames_per_second(&self, cycles: u64) -> f64 {
        f64::from(self.clock_mhz) * 1e6 / cycles.max(1) as f64
    }

    pub(super) fn check(&self, accelerator: Option<&Accelerator>) -> Result<()> {
        let Some(accelerator) = accelerator else {
            return Err(Error::new("target file: [soc] is for a target with an [accelerator]"));
        };
        let (found, wanted) = (accelerator.axi_bytes, self.memory.width());
        if found != wanted {
            return Err(Error::new(
                "target file: the accelerator's bus is not as wide as the memory's controller",
            )
            .found(format!("axi_bytes = {found}"))
            .allowed(format!("axi_bytes = {wanted} with this memory")));
        }
        if !(1..=1000).contains(&self.clock_mhz) {
            return Err(Error::new("target file: bad clock of the system")
                .found(format!("clock_mhz = {}", self.clock_mhz))
                .allowed("1 to 1000"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;

    #[test]
    fn systems_that_cannot_be_built_are_refused() {
        let file = include_str!("../../../../../configs/targets/ulx3s-85f.toml");
        for (from, to) in [("axi_bytes = 4", "axi_bytes = 8"), ("clock_mhz = 50", "clock_mhz = 0")] {
            assert!(file.contains(from), "{from}");
            let error = Target::parse("t.toml".as_ref(), &file.replace(from, to)).unwrap_err();
            assert!(format!("{error:?}").contains(to), "{to} gave {error:?}");
        }
    }

    #[test]
    fn frames_follow_the_clock() {
        let soc = Target::load("ulx3s-85f").unwrap().soc.unwrap();
        assert_eq!(soc.frames_per_second(50_000), 1000.0);
    }
}
