//! The cycle model of an EXEC command: the array's tiles and the requantiser (`docs/accelerator/cycles.md`).

use std::ops::Range;

use secateur_runtime::npu::isa::{ArrayMode, Exec, ResidualMode, exec_flags};

use super::second_map::Reader;
use crate::target::Accelerator;

/// Cycles from offering a command to its first tap, the window's words apart, and with a skip list.
const FIRST_TAP: u64 = 3;
const FIRST_TAP_SPARSE: u64 = 6;
/// Cycles from offering a command to the last tap of its first tile, where the second map's words are
/// waited for, its rows apart.
const SECOND_MAP: u64 = 13;

/// What a command leaves to the one behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::lower::npu) struct Tail {
    /// Cycle of the last tap.
    pub tap: u64,
    /// Drain of the last tile.
    pub drain: u64,
    /// Kernel size: so many last taps leave the banks to the next command's first words.
    pub k: u64,
}

/// What the array did for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lower::npu) struct Run {
    /// First cycle with a tap, had the requantiser been free.
    pub first_tap: u64,
    pub tail: Tail,
    /// Cycles in which the array had work.
    pub work: u64,
}

/// The tiles of a command.
#[derive(Debug, Clone, Copy)]
pub(in crate::lower::npu) struct Tiles {
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
    /// Has a second map.
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

    /// What the tiles leave to the command behind them; of a second map only the wait for its first words
    /// is counted. Parameters as in `run`.
    pub(in crate::lower::npu) fn estimate(
        &self,
        tile_cycles: impl Iterator<Item = u32>,
        taken: u64,
        last: Tail,
        accelerator: &Accelerator,
    ) -> Tail {
        self.run(tile_cycles, taken, last, accelerator, None).tail
    }

    /// Runs the tiles of a command that is taken in cycle `taken`, behind one that left `last`.
    /// `tile_cycles` are the array cycles of a tile by output group.
    pub(super) fn run(
        &self,
        tile_cycles: impl Iterator<Item = u32>,
        taken: u64,
        last: Tail,
        accelerator: &Accelerator,
        mut second: Option<Reader<'_>>,
    ) -> Run {
        let &Accelerator { rows, lanes, drain_rows, .. } = accelerator;
        let count = self.tiles * self.lines;
        let (k, words) = self.window;
        let start = taken + words + if self.sparse { FIRST_TAP_SPARSE } else { FIRST_TAP };
        let first_tap = start.max(last.tap + 1 + words.saturating_sub(last.k));
        // End of the tile before, as if it had ended just before the first tap.
        let mut now = first_tap - 1 - words.saturating_sub(k);
        let mut free = last.tap + last.drain;
        if self.second && second.is_none() {
            let turns = self.channels(0, rows).len() as u64;
            free = free.max(taken + SECOND_MAP + turns.div_ceil(drain_rows.into()));
        }
        let (mut drain, mut work) = (0, 0);
        for (group, m) in (0u32..).zip(tile_cycles) {
            let m = u64::from(m);
            let active = self.channels(group, rows).len() as u64;
            let turns = active.div_ceil(drain_rows.into());
            work += m * count;
            match self.row_mode {
                _ if self.average => {
                    now = (now + m * count).max(free);
                    drain = 3 * active;
                }
                None if second.is_none() => {
                    // All tiles alike: the first meets the drain before it, the others their own.
                    now = (now + m).max(free) + (count - 1) * m.max(turns);
                    drain = turns;
                }
                _ => {
                    // Whether a tile's words of the second map are there is known behind its first tap.
                    let look = u64::from(second.is_some() && k == 1 && m == words.max(1));
                    for line in 0..self.lines {
                        for tile in 0..self.tiles {
                            let halves = self.row_mode.map_or(1, |(width, first)| {
                                map_words(first + line, tile, width, lanes.into())
                            });
                            now = (now + m + look).max(free);
                            if let Some(reader) = &mut second {
                                now = reader.tile(now, group, halves);
                            }
                            drain = turns * halves;
                            free = now + drain;
                        }
                    }
                }
            }
            free = now + drain;
        }
        Run { first_tap, tail: Tail { tap: now, drain, k }, work }
    }
}

/// Map words that the results of tile `tile` of output row `line` touch.
fn map_words(line: u64, tile: u64, width: u64, lanes: u64) -> u64 {
    let first = line * width + tile * lanes;
    let last = first + lanes.min(width - tile * lanes) - 1;
    last / lanes - first / lanes + 1
}
