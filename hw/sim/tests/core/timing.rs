//! The cycle formula of docs/accelerator/cycles.md.

use secateur_runtime::npu::isa::Exec;
use secateur_sim::emulator::ExecStats;

/// From taking a command to its first fetch.
const START: u64 = 2;
/// From the last tap of a tile, its drain left out, to `done`.
const FINISH: u64 = 40;
/// From offering a command to taking it.
const LOOK: u64 = 1;

/// Cycles from taking the first command to the end of each.
pub(crate) fn predict(commands: &[(Exec, ExecStats, bool)]) -> Vec<u64> {
    let mut done: Vec<u64> = Vec::new();
    // Of the command before: its last tap, the taps beside which words are fetched, and when the
    // drain is free for the next tile.
    let (mut last_tap, mut beside, mut drained) = (None::<u64>, 0, 0);
    let mut taken = 0;
    for (number, (command, stats, wait)) in commands.iter().enumerate() {
        // Two commands are in flight at most; one that waits is offered in the cycle after `done`.
        if number > 0 {
            taken += 1 + LOOK;
        }
        if *wait && number > 0 {
            taken = taken.max(done[number - 1] + 1 + LOOK);
        } else if number > 1 {
            taken = taken.max(done[number - 2] + 1);
        }
        let (words, k) = (u64::from(command.window_words), u64::from(command.k));
        let follows = last_tap.map_or(0, |tap| tap + 1 + words.saturating_sub(beside));
        let tap = (taken + START + words).max(follows);
        // The last tap of a kernel row does not wait for the words that are fetched beside it.
        let first = (tap + stats.first - 1 - words.saturating_sub(k)).max(drained);
        let last = first + stats.array - stats.first;
        (last_tap, beside, drained) = (Some(last), k, last + stats.drain);
        done.push(last + FINISH + stats.drain);
    }
    done
}
