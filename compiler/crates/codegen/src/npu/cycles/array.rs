//! The cycle model of an EXEC command: the array works on tiles and hands them to the requantiser
//! (`docs/accelerator/cycles.md`).

use super::operand::OperandReader;
use super::tiles::Tiles;
use crate::target::Accelerator;

/// Cycles from offering a command to its first tap, the window's words apart, and with a skip list.
const FIRST_TAP: u64 = 3;
const FIRST_TAP_SPARSE: u64 = 6;
/// Cycles from offering a command to the last tap of its first tile, where the element-wise operand's words are
/// waited for, its rows apart.
const SECOND_MAP: u64 = 13;

/// State of the array after a command, which the next one meets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::npu) struct Tail {
    /// Cycle of the last tap.
    pub tap: u64,
    /// Drain of the last tile.
    pub drain: u64,
    /// Kernel size: so many last taps leave the banks to the next command's first words.
    pub k: u64,
}

/// The array's work for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::npu) struct TileRun {
    /// First cycle with a tap, had the requantiser been free.
    pub first_tap: u64,
    pub tail: Tail,
    /// Cycles in which the array had work.
    pub work: u64,
}

impl Tiles {
    /// Returns the state after the tiles; of an element-wise operand only the wait for its first words
    /// is counted. Parameters as in `run`.
    pub(in crate::npu) fn estimate(
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
        mut second: Option<OperandReader<'_>>,
    ) -> TileRun {
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
                    // The first tap tells if the tile's words of the element-wise operand are there.
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
        TileRun { first_tap, tail: Tail { tap: now, drain, k }, work }
    }
}

/// Bank words that the results of tile `tile` of output row `line` touch.
fn map_words(line: u64, tile: u64, width: u64, lanes: u64) -> u64 {
    let first = line * width + tile * lanes;
    let last = first + lanes.min(width - tile * lanes) - 1;
    last / lanes - first / lanes + 1
}
