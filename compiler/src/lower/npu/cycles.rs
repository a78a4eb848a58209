//! The cycle model: queues replayed in order, with the times that the RTL takes.
//!
//! EXEC follows `hw/doc/cycles.md`: the array works on a tile for `m` cycles and hands it to the
//! requantiser, which takes a cycle a map word that it writes, or two words of neighbouring rows (`d`);
//! a tile waits until the one before it is drained. Transfers and the command stream share one bus of
//! the memory's efficiency, on which reads go before writes; a LOAD's data come a latency after its
//! request, a STORE is finished a latency after its data. Requests run ahead of the data, so that
//! latencies of successive transfers overlap.

use secateur_runtime::npu::isa::{ArrayMode, Exec, ResidualMode, Transfer, exec_flags};
use secateur_runtime::npu::stream::Queue;

use super::emit::{Body, Command};
use crate::target::Accelerator;

/// Commands that the LOAD, EXEC and STORE queue hold.
const QUEUE_DEPTHS: [usize; 3] = [16, 5, 8];
/// Cycles from offering a command to its first tap, the window's words apart, and with a skip list.
const FIRST_TAP: u64 = 3;
const FIRST_TAP_SPARSE: u64 = 6;
/// Cycles from the last tap and its drain to the command's end.
pub(super) const EXEC_LATENCY: u64 = 40;
/// Cycles from the end of a command to offering one that waits for it.
pub(super) const WAIT: u64 = 2;
/// Cycles from taking a LOAD to its first request, and of its beats in registers.
const LOAD_START: u64 = 9;
/// Cycles from taking a STORE to its first data on the bus.
const STORE_START: u64 = 20;
/// Bytes of a burst; a burst is requested in a cycle.
const BURST: usize = 256;
/// Bytes that the fetcher hands on in a cycle.
const FETCH_BEAT: u64 = 8;
/// Beats that the fetcher's buffer holds, and those of a request (`npu_fetch`).
const FETCH_BUFFER: u64 = 64;
const FETCH_CHUNK: u64 = 16;
/// Cycles from the frame's start to the fetcher's first request, and of its beats in registers.
const FETCH_START: u64 = 7;
/// Cycles from offering a command to the last tap of its first tile, where the second map's words are
/// waited for, its rows apart.
const SECOND_MAP: u64 = 12;

/// When a command ran, and why not earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    pub start: u64,
    pub end: u64,
    /// EXEC: cycles in which the array stood still because of LOAD, of EXEC's own results, of STORE,
    /// and of commands: fetching them, filling the window.
    pub stalls: [u64; 4],
    /// EXEC: cycles in which the array waited for the requantiser.
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
    fetcher: Fetcher,
    entered: Vec<u64>,
    /// What the last EXEC command leaves.
    last: Tail,
    /// Cycle in which the last EXEC command was taken.
    taken: u64,
    /// Cycle in which the next LOAD may begin.
    load_free: u64,
    bus: Bus,
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
            fetcher: Fetcher { total: commands.iter().map(stream_beats).sum(), ..Fetcher::default() },
            entered: vec![0; commands.len()],
            last: Tail::default(),
            taken: 0,
            load_free: 0,
            bus: Bus::default(),
        }
    }

    fn run(mut self) -> (Vec<Timing>, u64) {
        let mut numbers = [0usize; 3];
        loop {
            let fetch = self.room(&numbers).map(|room| self.fetcher.parsed.max(room));
            let next = [Queue::Load, Queue::Store, Queue::Exec]
                .into_iter()
                .filter_map(|queue| self.ready(queue).map(|start| (start, queue)))
                .min_by_key(|&(start, _)| start);
            match (fetch, next) {
                (Some(time), next) if next.is_none_or(|(start, _)| time <= start) => {
                    let command = &self.commands[self.fetched];
                    self.fetcher.take(stream_beats(command), time, self.accelerator, &mut self.bus);
                    self.finish_store();
                    self.entered[self.fetched] = self.fetcher.parsed;
                    self.fetched += 1;
                    numbers[command.queue as usize] += 1;
                }
                (_, Some((start, queue))) => {
                    let at = self.queues[queue as usize][self.done[queue as usize]];
                    self.execute(at, start);
                    self.done[queue as usize] += 1;
                    self.finish_store();
                }
                (_, None) => break,
            }
        }
        debug_assert_eq!(
            self.done.iter().sum::<usize>(),
            self.commands.len(),
            "a command waits for a later one"
        );
        let end = self.timings.iter().map(|timing| timing.end).max().unwrap_or(0);
        (self.timings, end)
    }

    /// When the queue of the next command of the stream has room for it; `None` where that is not
    /// known yet, or the stream is over. `numbers` are the commands put into each queue so far.
    fn room(&self, numbers: &[usize; 3]) -> Option<u64> {
        let queue = self.commands.get(self.fetched)?.queue as usize;
        match numbers[queue].checked_sub(QUEUE_DEPTHS[queue]) {
            None => Some(0),
            Some(before) => {
                (before < self.done[queue]).then(|| self.timings[self.queues[queue][before]].start)
            }
        }
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
            if wait > 0 {
                start = start.max(self.finished(other, wait) + WAIT);
            }
        }
        let done = self.done[queue as usize];
        let free = match queue {
            // Two commands are in flight.
            Queue::Exec => {
                (self.taken + 1).max(self.finished(Queue::Exec as usize, done.saturating_sub(1) as u32))
            }
            // One is requested while another's data come.
            Queue::Load => {
                let last_but_one = self.finished(Queue::Load as usize, done.saturating_sub(1) as u32);
                self.load_free.max(last_but_one + WAIT)
            }
            Queue::Store => self.bus.written,
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

    /// Reads may have delayed the STORE that was replayed last; nothing has waited for its end yet, since
    /// what does so starts later than those reads.
    fn finish_store(&mut self) {
        if let Some(last) = self.done[Queue::Store as usize].checked_sub(1) {
            let at = self.queues[Queue::Store as usize][last];
            self.timings[at].end = self.bus.written + u64::from(self.accelerator.memory.latency_cycles);
        }
    }

    fn execute(&mut self, at: usize, start: u64) {
        let command = &self.commands[at];
        match &command.body {
            Body::Transfer(transfer) => {
                let memory = &self.accelerator.memory;
                let latency = u64::from(memory.latency_cycles);
                let moved = (command.bytes as u64 * 100).div_ceil(self.accelerator.transfer_rate());
                let channels = usize::from(transfer.count.get()).max(1);
                let bursts = (channels * (command.bytes / channels).div_ceil(BURST)) as u64;
                let request = start + if command.queue == Queue::Load { LOAD_START } else { STORE_START };
                let end = if command.queue == Queue::Load {
                    self.load_free = request + bursts;
                    self.bus.read(request + latency, moved) + moved
                } else {
                    self.bus.write(request, moved) + latency
                };
                self.timings[at] = Timing { start, end, ..Timing::default() };
            }
            Body::End(_) => self.timings[at] = Timing { start, end: start + 1, ..Timing::default() },
            Body::Exec(exec) => {
                self.taken = start;
                let tiles = Tiles::of(exec, self.accelerator.rows);
                let cycles = command.tile_cycles.iter().copied();
                let run = tiles.run(cycles, start, self.last, self.accelerator);
                let mut timing = Timing {
                    start,
                    end: run.tail.tap + run.tail.drain + EXEC_LATENCY,
                    array: run.work,
                    ..Timing::default()
                };
                // Charged to the reasons in the order in which they fell away.
                let waits = [0, 1, 2].map(|queue| match command.waits[queue] {
                    0 => 0,
                    count => self.finished(queue, count) + WAIT,
                });
                let reasons = [waits[0], waits[1], waits[2], start];
                let mut order = [0, 1, 2, 3];
                order.sort_by_key(|&reason| reasons[reason]);
                let mut from = self.last.tap;
                for reason in order {
                    timing.stalls[reason] = reasons[reason].saturating_sub(from);
                    from = from.max(reasons[reason]);
                }
                timing.stalls[3] += run.first_tap.saturating_sub(from + 1);
                let before: u64 = timing.stalls.iter().sum();
                timing.drain_stall = (run.tail.tap - self.last.tap).saturating_sub(before + run.work);
                self.last = run.tail;
                self.timings[at] = timing;
            }
        }
    }
}

/// Beats of a command in the stream.
fn stream_beats(command: &Command) -> u64 {
    let bytes = match command.body {
        Body::Exec(_) => size_of::<Exec>(),
        _ => size_of::<Transfer>(),
    };
    bytes as u64 / FETCH_BEAT
}

/// The memory's bus. It serves reads in the order of their requests, and writes in what is left.
#[derive(Debug, Clone, Copy, Default)]
struct Bus {
    /// Cycles in which it is free of reads, and in which the last STORE's data are written.
    read: u64,
    written: u64,
}

impl Bus {
    /// Takes the bus for `cycles` of reads that are due in cycle `due`; the cycle in which they begin.
    fn read(&mut self, due: u64, cycles: u64) -> u64 {
        let start = due.max(self.read);
        self.read = start + cycles;
        if self.written > start {
            self.written += cycles;
        }
        start
    }

    /// Writes for `cycles`, from cycle `due` on; the cycle in which it is done.
    fn write(&mut self, due: u64, cycles: u64) -> u64 {
        self.written = due.max(self.read).max(self.written) + cycles;
        self.written
    }
}

/// The stream's reader: chunks are requested as far ahead as its buffer has room, and share the bus.
#[derive(Debug, Clone, Default)]
struct Fetcher {
    /// Cycle in which the last beat was handed on.
    parsed: u64,
    /// Beats that were handed on, and those of the whole stream.
    beats: u64,
    total: u64,
    /// By chunk: cycle in which its data begin.
    chunks: Vec<u64>,
}

impl Fetcher {
    /// Hands on the `beats` of a command, the first not before `time`.
    fn take(&mut self, beats: u64, time: u64, accelerator: &Accelerator, bus: &mut Bus) {
        let memory = &accelerator.memory;
        // Hundredths of a cycle a beat of the stream.
        let beat = FETCH_BEAT * 100 * 100 / accelerator.transfer_rate();
        self.parsed = self.parsed.max(time);
        for number in self.beats..self.beats + beats {
            // A chunk is requested as soon as the buffer has room for all of it.
            let room = (number + FETCH_BUFFER - FETCH_CHUNK + 1).min(self.total);
            while self.chunks.len() as u64 * FETCH_CHUNK < room {
                let left = self.total - self.chunks.len() as u64 * FETCH_CHUNK;
                let request = FETCH_START.max(self.parsed);
                let due = request + u64::from(memory.latency_cycles);
                self.chunks.push(bus.read(due, left.min(FETCH_CHUNK) * beat / 100));
            }
            let (chunk, within) = (number / FETCH_CHUNK, number % FETCH_CHUNK);
            let arrived = self.chunks[chunk as usize] + (within + 1) * beat / 100;
            self.parsed = (self.parsed + 1).max(arrived);
        }
        self.beats += beats;
    }
}

/// What a command leaves to the one behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// Cycle of the last tap.
    pub tap: u64,
    /// Drain of the last tile.
    pub drain: u64,
    /// Kernel size: so many last taps leave the banks to the next command's first words.
    pub k: u64,
}

/// What the array did for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First cycle with a tap, had the requantiser been free.
    pub first_tap: u64,
    pub tail: Tail,
    /// Cycles in which the array had work.
    pub work: u64,
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
    /// Kernel size and words of the window.
    pub window: (u64, u64),
    pub sparse: bool,
    /// Has a second map.
    pub second: bool,
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
            window: (exec.k.into(), exec.window_words.into()),
            sparse: exec.flags & exec_flags::SPARSE != 0,
            second: exec.residual & 3 != ResidualMode::None.code(),
        }
    }

    /// Runs the tiles of a command that is taken in cycle `taken`, behind one that left `last`.
    /// `tile_cycles` are the array cycles of a tile by output group.
    pub(super) fn run(
        &self,
        tile_cycles: impl Iterator<Item = u32>,
        taken: u64,
        last: Tail,
        accelerator: &Accelerator,
    ) -> Run {
        let &Accelerator { rows, lanes, drain_rows, .. } = accelerator;
        let count = self.tiles * self.lines;
        let (k, words) = self.window;
        let start = taken + words + if self.sparse { FIRST_TAP_SPARSE } else { FIRST_TAP };
        let first_tap = start.max(last.tap + 1 + words.saturating_sub(last.k));
        // End of the tile before, as if it had ended just before the first tap.
        let mut now = first_tap - 1 - words.saturating_sub(k);
        let mut free = last.tap + last.drain;
        if self.second {
            let active = self.channels.min(rows - self.off);
            free = free.max(taken + SECOND_MAP + u64::from(active.div_ceil(drain_rows)));
        }
        let (mut drain, mut work) = (0, 0);
        for (group, m) in (0u32..).zip(tile_cycles) {
            let m = u64::from(m);
            let first = (group * rows).max(self.off) - self.off;
            let active = u64::from(((group + 1) * rows - self.off).min(self.channels) - first);
            let turns = active.div_ceil(drain_rows.into());
            work += m * count;
            match self.row_mode {
                _ if self.average => {
                    now = (now + m * count).max(free);
                    drain = 3 * active;
                }
                None => {
                    // All tiles alike: the first meets the drain before it, the others their own.
                    now = (now + m).max(free) + (count - 1) * m.max(turns);
                    drain = turns;
                }
                Some((width, y_first)) => {
                    for line in y_first..y_first + self.lines {
                        for tile in 0..self.tiles {
                            now = (now + m).max(free);
                            drain = turns * map_words(line, tile, width, u64::from(lanes));
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
