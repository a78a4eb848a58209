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

/// Room for the pixels of a map word; with fewer lanes the rest stays 0.
pub const MOST_LANES: usize = Parameters::MOST_LANES;
/// Room for the weights of a word; with fewer rows the rest stays 0.
pub const MOST_ROWS: usize = Parameters::MOST_ROWS;

/// Memories of the core.
#[derive(Debug, Clone, PartialEq)]
pub struct OnChip {
    pub parameters: Parameters,
    /// `[rows][bank_words][lanes]`: map words.
    pub banks: Vec<Vec<[u8; MOST_LANES]>>,
    /// `[weight_words]`: one weight a row, and the control byte (`last << 7 | skip`).
    pub weights: Vec<([i8; MOST_ROWS], u8)>,
    /// `[param_entries]`
    pub channels: Vec<Channel>,
    /// Entry `q + 128` stands for `q`.
    pub tables: [[i8; 256]; 2],
}

impl OnChip {
    /// Memories of zeros.
    ///
    /// # Panics
    /// Where no accelerator has such sizes ([`Parameters::check`]); those of a
    /// [`secateur_runtime::npu::Program`] are checked.
    pub fn new(parameters: Parameters) -> Self {
        if let Err(bad) = parameters.check() {
            panic!("{bad}");
        }
        Self {
            parameters,
            banks: vec![vec![[0; MOST_LANES]; parameters.bank_words as usize]; parameters.rows as usize],
            weights: vec![([0; MOST_ROWS], 0); parameters.weight_words as usize],
            channels: vec![Channel::default(); parameters.param_entries as usize],
            tables: [[0; 256]; 2],
        }
    }
}
