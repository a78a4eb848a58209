//! The tiles of an EXEC command (`docs/accelerator/cycles.md`).

use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Exec, ResidualMode, exec_flags};

/// The tiles of a command.
#[derive(Debug, Clone, Copy)]
pub(in crate::npu) struct Tiles {
    /// Along the flat string, or along one output row.
    pub tiles: u64,
    /// Output rows; flat: 1.
    pub lines: u64,
    /// Row mode: output columns and first row.
    pub row_mode: Option<(u64, u64)>,
    /// One drain for all tiles.
    pub average: bool,
    /// Rows of the first group that are off.
    pub off: u32,
    pub channels: u32,
    /// Kernel size and words of the window.
    pub window: (u64, u64),
    pub sparse: bool,
    /// Has an element-wise operand.
    pub second: bool,
}

impl Tiles {
    pub(super) fn of(exec: &Exec, rows: u32) -> Self {
        let by_bank = exec.mode != ArrayMode::Dense.code();
        let row_mode = exec.flags & exec_flags::ROW_MODE != 0;
        Self {
            tiles: exec.tiles.get().into(),
            lines: exec.rows.get().into(),
            row_mode: row_mode.then(|| (exec.out_w.get().into(), exec.y_first.get().into())),
            average: exec.mode == ArrayMode::Average.code(),
            off: if by_bank { u32::from(exec.in_origin.get()) % rows } else { 0 },
            channels: exec.out_channels.get().into(),
            window: (exec.k.into(), exec.window_words.into()),
            sparse: exec.flags & exec_flags::SPARSE != 0,
            second: exec.residual & 3 != ResidualMode::None.code(),
        }
    }

    /// Output channels of a group.
    pub(super) fn channels(&self, group: u32, rows: u32) -> Range<u32> {
        let first = (group * rows).max(self.off) - self.off;
        first..((group + 1) * rows - self.off).min(self.channels)
    }
}
