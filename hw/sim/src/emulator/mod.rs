//! Functional emulator: what each command does to the bytes, without time.

mod command;
mod exec;
mod machine;
mod transfer;

use secateur_runtime::npu::isa::{Channel, Parameters};

pub use command::Illegal;
pub use exec::{ExecStats, exec};
pub use machine::Emulator;
pub use transfer::{Region, transfer, transfer_bytes};

/// Pixels of a map word: the emulator and the RTL's test benches are built for 16 lanes.
pub const LANES: usize = 16;

/// Memories of the core.
#[derive(Debug, Clone, PartialEq)]
pub struct OnChip {
    pub parameters: Parameters,
    /// `[rows][bank_words][LANES]`: map words.
    pub banks: Vec<Vec<[u8; LANES]>>,
    /// `[weight_words]`: one weight a row, and the control byte (`last << 7 | skip`).
    pub weights: Vec<([i8; 8], u8)>,
    /// `[param_entries]`
    pub channels: Vec<Channel>,
    /// Entry `q + 128` stands for `q`.
    pub tables: [[i8; 256]; 2],
}

impl OnChip {
    /// Memories of zeros.
    pub fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            banks: vec![vec![[0; LANES]; parameters.bank_words as usize]; parameters.rows as usize],
            weights: vec![([0; 8], 0); parameters.weight_words as usize],
            channels: vec![Channel::default(); parameters.param_entries as usize],
            tables: [[0; 256]; 2],
        }
    }
}
