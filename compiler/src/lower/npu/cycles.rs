//! The cycle model: queues replayed in order, with the times that the RTL takes.
//!
//! The array works on a tile for `m` cycles and hands it to the requantiser, which takes a cycle a map
//! word that it writes (`d`); a tile waits until the one before it is drained. A transfer takes the
//! memory's latency and then the bus at the memory's efficiency.

use secateur_runtime::npu::isa::{ArrayMode, Exec, exec_flags};
use secateur_runtime::npu::stream::Queue;

use super::emit::{Body, Command};
use crate::target::Accelerator;

/// Commands that the LOAD, EXEC and STORE queue hold.
const QUEUE_DEPTHS: [usize; 3] = [16, 5, 8];
/// Cycles from a command's head of the queue to its first operand.
pub(super) const EXEC_START: u64 = 2;
/// Cycles from the last tap to the last written word, without the drain itself.
pub(super) const EXEC_LATENCY: u64 = 24;
/// Cycles in which the fetcher takes one unit of the stream, prefetched.
const FETCH_UNIT: u64 = 6;

/// When a command ran, and why not earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    pub start: u64,
    pub end: u64,
    /// EXEC: cycles before the start in which the array stood still because of LOAD, of EXEC's own
    /// results, of STORE, of the command fetcher.
    pub stalls: [u64; 4],
    /// EXEC: cycles within the command in which the array waited for the requantiser.
    pub drain_stall: u64,
    /// EXEC: cycles in which the array had work.
    pub array: u64,
}

/// Replays a program; timings in the order of `commands`, and the cycles of the frame.
pub fn replay(commands: &[Command], accelerator: &Accelerator) -> (Vec<Timing>, u64) {
    Replay::new(commands, accelerator).run()
}

struct Replay<'a> {
    commands: &'a [Command],
    accelerator: &'a Accelerator,
    timings: Vec<Timing>,
    /// By queue: positions of its commands in the stream.
    queues: [Vec<usize>; 3],
    /// By queue: commands that have been replayed.
    done: [usize; 3],
    /// Commands that the fetcher has put into queues, with the time of the last.
    fetched: usize,
    fetch_time: u64,
    entered: Vec<u64>,
    array_free: u64,
    /// Cycle in which the requantiser has drained the last tile.
    drained: u64,
    bus_free: u64,
}

impl<'a> Replay<'a> {
    fn new(commands: &'a [Command], accelerator: &'a Accelerator) -> Self {
        let mut queues: [Vec<usize>; 3] = Default::default();
        for (at, command) in commands.iter().enumerate() {
            queues[command.queue as usize].push(at);
        }
        Self {
            commands,
            accelerator,
            timings: vec![Timing::default(); commands.len()],
            queues,
            done: [0; 3],
            fetched: 0,
            fetch_time: u64::from(accelerator.memory.latency_cycles),
            entered: vec![0; commands.len()],
            array_free: 0,
            drained: 0,
            bus_free: 0,
        }
    }

    fn run(mut self) -> (Vec<Timing>, u64) {
        let mut numbers = [0usize; 3];
        loop {
            // The fetcher goes on as long as the next command's queue has room.
            while let Some(command) = self.commands.get(self.fetched) {
                let queue = command.queue as usize;
                let number = numbers[queue];
                let room = match number.checked_sub(QUEUE_DEPTHS[queue]) {
                    None => 0,
                    Some(before) if before < self.done[queue] => {
                        self.timings[self.queues[queue][before]].start
                    }
                    Some(_) => break,
                };
                let units = match command.body {
                    Body::Exec(_) => 3,
                    _ => 1,
                };
                self.fetch_time = self.fetch_time.max(room) + units * FETCH_UNIT;
                self.entered[self.fetched] = self.fetch_time;
                self.fetched += 1;
                numbers[queue] += 1;
            }
            let next = [Queue::Load, Queue::Store, Queue::Exec]
                .into_iter()
                .filter_map(|queue| self.ready(queue).map(|start| (start, queue)))
                .min_by_key(|&(start, _)| start);
            let Some((start, queue)) = next else { break };
            let at = self.queues[queue as usize][self.done[queue as usize]];
            self.execute(at, start);
            self.done[queue as usize] += 1;
        }
        debug_assert_eq!(
            self.done.iter().sum::<usize>(),
            self.commands.len(),
            "a command waits for a later one"
        );
        let end = self.timings.iter().map(|timing| timing.end).max().unwrap_or(0);
        (self.timings, end)
    }

    /// The cycle in which the head of a queue may start; `None` where it waits for what has not run.
    fn ready(&self, queue: Queue) -> Option<u64> {
        let &at = self.queues[queue as usize].get(self.done[queue as usize])?;
        if at >= self.fetched {
            return None;
        }
        let mut start = self.entered[at];
        for (other, &wait) in self.commands[at].waits.iter().enumerate() {
            if wait as usize > self.done[other] {
                return None;
            }
            start = start.max(self.finished(other, wait));
        }
        let free = match queue {
            Queue::Exec => self.array_free,
            _ => self.finished(queue as usize, self.done[queue as usize] as u32),
        };
        Some(start.max(free))
    }

    /// Cycle in which the first `count` commands of a queue are finished.
    fn finished(&self, queue: usize, count: u32) -> u64 {
        match count {
            0 => 0,
            _ => self.timings[self.queues[queue][count as usize - 1]].end,
        }
    }

    fn execute(&mut self, at: usize, start: u64) {
        let command = &self.commands[at];
        match &command.body {
            Body::Transfer(_) => {
                let memory = &self.accelerator.memory;
                let data = (start + u64::from(memory.latency_cycles)).max(self.bus_free);
                let rate = u64::from(self.accelerator.axi_bytes) * u64::from(memory.efficiency_percent);
                let end = data + (command.bytes as u64 * 100).div_ceil(rate);
                self.bus_free = end;
                self.timings[at] = Timing { start, end, ..Timing::default() };
            }
            Body::End(_) => self.timings[at] = Timing { start, end: start + 1, ..Timing::default() },
            Body::Exec(exec) => {
                let mut timing = Timing { start, ..Timing::default() };
                let mut from = self.array_free;
                let reasons = [
                    self.finished(0, command.waits[0]),
                    self.finished(1, command.waits[1]),
                    self.finished(2, command.waits[2]),
                    self.entered[at],
                ];
                // Charged to the reasons in the order in which they fell away.
                let mut order = [0, 1, 2, 3];
                order.sort_by_key(|&reason| reasons[reason]);
                for reason in order {
                    timing.stalls[reason] = reasons[reason].saturating_sub(from);
                    from = from.max(reasons[reason]);
                }
                let (rows, lanes) = (self.accelerator.rows, self.accelerator.lanes);
                let cycles = command.tile_cycles.iter().copied();
                let begin = (start + EXEC_START, self.drained);
                let (end, drained, array) = Tiles::of(exec, rows).run(cycles, begin, (rows, lanes));
                timing.array = array;
                timing.drain_stall = (end - start - EXEC_START) - array;
                self.array_free = end;
                self.drained = drained;
                timing.end = drained + EXEC_LATENCY;
                self.timings[at] = timing;
            }
        }
    }
}

/// The tiles of a command.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
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
}

impl Tiles {
    fn of(exec: &Exec, rows: u32) -> Self {
        let by_bank = exec.mode != ArrayMode::Dense.code();
        let row_mode = exec.flags & exec_flags::ROW_MODE != 0;
        Self {
            tiles: exec.tiles.get().into(),
            lines: exec.rows.get().into(),
            row_mode: row_mode.then(|| (exec.out_w.get().into(), exec.y_first.get().into())),
            average: exec.mode == ArrayMode::Average.code(),
            off: if by_bank { u32::from(exec.in_origin.get()) % rows } else { 0 },
            channels: exec.out_channels.get().into(),
        }
    }

    /// Runs the tiles from cycle `start` on, with the requantiser busy until `drained`: when the array
    /// is done, when the requantiser is, and in how many cycles the array had work.
    pub fn run(
        &self,
        tile_cycles: impl Iterator<Item = u32>,
        (start, mut drained): (u64, u64),
        (rows, lanes): (u32, u32),
    ) -> (u64, u64, u64) {
        let count = self.tiles * self.lines;
        let (mut now, mut work) = (start, 0);
        for (group, m) in (0u32..).zip(tile_cycles) {
            let m = u64::from(m);
            let first = (group * rows).max(self.off) - self.off;
            let active = u64::from(((group + 1) * rows - self.off).min(self.channels) - first);
            work += m * count;
            match self.row_mode {
                _ if self.average => {
                    now = (now + m * count).max(drained);
                    drained = now + active;
                }
                None => {
                    // All tiles alike: the first meets the drain before it, the others their own.
                    now = (now + m).max(drained) + (count - 1) * m.max(active);
                    drained = now + active;
                }
                Some((width, y_first)) => {
                    for line in y_first..y_first + self.lines {
                        for tile in 0..self.tiles {
                            now = (now + m).max(drained);
                            drained = now + active * words(line, tile, width, u64::from(lanes));
                        }
                    }
                }
            }
        }
        (now, drained, work)
    }
}

/// Map words that the results of tile `tile` of output row `line` touch.
fn words(line: u64, tile: u64, width: u64, lanes: u64) -> u64 {
    let first = line * width + tile * lanes;
    let last = first + lanes.min(width - tile * lanes) - 1;
    last / lanes - first / lanes + 1
}
