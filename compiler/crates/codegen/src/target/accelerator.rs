//! Sizes of an accelerator and what is assumed of its memory.

use secateur_runtime::npu::isa::Parameters;
use serde::Deserialize;

use secateur_base::{Error, Result};

/// An accelerator of `hw/rtl`; the parameters of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Output channels in parallel, and banks: 4, 8 or 16.
    pub rows: u32,
    /// Pixels in parallel: 8 or 16.
    pub lanes: u32,
    /// Words of each bank.
    pub bank_words: u32,
    /// Weight words of `rows` weights.
    pub weight_words: u32,
    /// Output channels whose parameters fit at once.
    pub param_entries: u32,
    /// Bytes of a beat of the bus: 4, 8 or 16.
    pub axi_bytes: u32,
    /// Rows of a tile that are requantised together: 1 or 2.
    #[serde(default = "one")]
    pub drain_rows: u32,
    pub memory: Memory,
}

/// The memory behind the bus, for the cycle model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Cycles from a request to its first beat.
    pub latency_cycles: u32,
    /// Beats in a hundred cycles of a long transfer.
    pub efficiency_percent: u32,
}

fn one() -> u32 {
    1
}

impl Accelerator {
    /// The parameters that the encodings carry.
    pub fn parameters(&self) -> Parameters {
        let Self { rows, lanes, bank_words, weight_words, param_entries, axi_bytes, drain_rows, .. } = *self;
        Parameters { rows, lanes, bank_words, weight_words, param_entries, axi_bytes, drain_rows }
    }

    /// Hundredths of a byte that a long transfer moves in a cycle. Behind the bus's pins beats have
    /// 8 bytes (`npu_axi_width.sv`): a wider bus only makes up for its memory's efficiency.
    pub fn transfer_rate(&self) -> u64 {
        (u64::from(self.axi_bytes) * u64::from(self.memory.efficiency_percent)).min(800)
    }

    pub(super) fn check(&self) -> Result<()> {
        let bad = |key: &str, value: u32, allowed: &'static str| {
            Error::new("target file: bad size of the accelerator")
                .found(format!("{key} = {value}"))
                .allowed(allowed)
        };
        self.parameters().check().map_err(|size| bad(size.name, size.found, size.allowed))?;
        let checks = [
            (
                "memory.efficiency_percent",
                self.memory.efficiency_percent,
                (1..=100).contains(&self.memory.efficiency_percent),
                "1 to 100",
            ),
            (
                "memory.latency_cycles",
                self.memory.latency_cycles,
                self.memory.latency_cycles <= 100_000,
                "at most 100000",
            ),
        ];
        match checks.iter().find(|check| !check.2) {
            None => Ok(()),
            Some((key, value, _, allowed)) => Err(bad(key, *value, allowed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;

    #[test]
    fn sizes_that_the_rtl_has_not_are_refused() {
        let file = include_str!("../../../../../configs/targets/npu-8x16.toml");
        let cases = [
            ("rows = 8", "rows = 6"),
            ("lanes = 16", "lanes = 32"),
            ("axi_bytes = 8", "axi_bytes = 6"),
            ("drain_rows = 1", "drain_rows = 3"),
            ("bank_words = 1024", "bank_words = 8"),
        ];
        for (from, to) in cases {
            assert!(file.contains(from), "{from}");
            let error =
                Target::parse("t.toml".as_ref(), &file.replace(&format!("\n{from}"), &format!("\n{to}")));
            let message = format!("{:?}", error.unwrap_err());
            assert!(message.contains(to), "{to} gave {message}");
        }
        let without = Target::parse("t.toml".as_ref(), &file.replace("drain_rows = 1", "")).unwrap();
        assert_eq!(without.accelerator.unwrap().drain_rows, 1);
    }
}
