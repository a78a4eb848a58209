//! Replays the queues in order, with the times that the RTL takes.

use std::collections::VecDeque;

use secateur_runtime::npu::isa::{Exec, Opcode, Transfer};
use secateur_runtime::npu::stream::Queue;

use super::super::emit::{CommandBody, PlannedCommand};
use super::array::Tail;
use super::bus::{self, BusModel, Client};
use super::fetch::Fetcher;
use super::operand::{OperandPort, OperandReader};
use super::tiles::Tiles;
use crate::target::Accelerator;

/// Beats that the LOAD, EXEC and STORE queue hold, the oldest command's among them (`npu_queue`).
const QUEUE_BEATS: [u64; 3] = [64 + 1 + 4, 64 + 1 + 12, 32 + 1 + 4];
/// Cycles from taking a command to the room of its first beat.
const QUEUE_ROOM: u64 = 3;
/// Cycles from the last tap and its drain to the command's end.
pub(in crate::npu) const EXEC_LATENCY: u64 = 40;
/// Cycles from the end of a command to offering one that waits for it.
pub(in crate::npu) const WAIT: u64 = 2;
/// Cycles from a transfer's last beat in its queue, and from taking the one before it, to taking it, the
/// bits of its counts apart (`npu_queue`, `npu_cmd_decode`).
const TRANSFER_ENTER: u64 = 7;
const TRANSFER_BETWEEN: u64 = 8;
/// The same of an EXEC command.
const EXEC_ENTER: u64 = 7;
const EXEC_BETWEEN: u64 = 15;
/// Cycles from taking a LOAD to its first burst, and from its last beat to its end.
const LOAD_START: u64 = 2;
const LOAD_END: u64 = 4;
/// Cycles from taking a STORE to its first data on the bus.
const STORE_START: u64 = 21;

/// The cycles in which a command ran, and the reasons why not earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandTiming {
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
pub(in crate::npu) fn replay(
    commands: &[PlannedCommand],
    accelerator: &Accelerator,
) -> (Vec<CommandTiming>, u64) {
    Replay::new(commands, accelerator).run()
}

/// The next event of the replay.
#[derive(Debug, Clone, Copy)]
enum ReplayEvent {
    /// A burst of reads is issued.
    Burst(Client),
    /// A beat of the stream goes to its queue.
    Beat,
    /// The head of a queue is taken.
    Take(Queue),
}

struct Replay<'a> {
    commands: &'a [PlannedCommand],
    accelerator: &'a Accelerator,
    timings: Vec<CommandTiming>,
    /// By queue: positions of its commands in the stream, and where their beats end.
    queues: [Vec<usize>; 3],
    ends: [Vec<u64>; 3],
    /// By queue: commands that have been replayed.
    done: [usize; 3],
    /// Commands that the fetcher has put into queues, beats of the next one, and the cycle in which each
    /// was whole.
    fetched: usize,
    beat: u64,
    fetcher: Fetcher,
    entered: Vec<u64>,
    /// State of the array after the last EXEC command.
    last: Tail,
    operand: OperandPort,
    /// By queue: cycle in which its last command was taken.
    taken: [u64; 3],
    /// Bursts that LOADs still have to issue, oldest first; LOADs whose end is known.
    loading: VecDeque<u64>,
    loaded: usize,
    bus: BusModel,
}

impl<'a> Replay<'a> {
    fn new(commands: &'a [PlannedCommand], accelerator: &'a Accelerator) -> Self {
        let mut queues: [Vec<usize>; 3] = Default::default();
        let mut ends: [Vec<u64>; 3] = Default::default();
        for (at, command) in commands.iter().enumerate() {
            queues[command.queue as usize].push(at);
            let ends = &mut ends[command.queue as usize];
            ends.push(ends.last().unwrap_or(&0) + stream_beats(command));
        }
        let mut bus = BusModel::new(accelerator);
        Self {
            commands,
            accelerator,
            timings: vec![CommandTiming::default(); commands.len()],
            queues,
            ends,
            done: [0; 3],
            fetched: 0,
            beat: 0,
            fetcher: Fetcher::new(commands.iter().map(stream_beats).sum(), &mut bus),
            entered: vec![0; commands.len()],
            last: Tail::default(),
            operand: OperandPort::default(),
            taken: [0; 3],
            loading: VecDeque::new(),
            loaded: 0,
            bus,
        }
    }

    fn run(mut self) -> (Vec<CommandTiming>, u64) {
        let mut beats = [0; 3];
        loop {
            let burst = self.bus.next_burst().map(|(time, client)| (time, ReplayEvent::Burst(client)));
            let beat = self.fetch(&beats).map(|time| (time, ReplayEvent::Beat));
            let take = [Queue::Load, Queue::Store, Queue::Exec]
                .map(|queue| self.ready(queue).map(|time| (time, ReplayEvent::Take(queue))));
            // Of those of one cycle the first.
            let steps = [burst, beat].into_iter().chain(take).flatten();
            let Some((time, step)) = steps.min_by_key(|&(time, _)| time) else { break };
            match step {
                ReplayEvent::Burst(client) => self.issue(time, client),
                ReplayEvent::Beat => {
                    let command = &self.commands[self.fetched];
                    self.fetcher.take(time, &mut self.bus);
                    beats[command.queue as usize] += 1;
                    self.beat += 1;
                    if self.beat == stream_beats(command) {
                        self.entered[self.fetched] = time;
                        (self.fetched, self.beat) = (self.fetched + 1, 0);
                    }
                }
                ReplayEvent::Take(queue) => {
                    let at = self.queues[queue as usize][self.done[queue as usize]];
                    self.execute(at, time);
                    self.taken[queue as usize] = time;
                    self.done[queue as usize] += 1;
                    self.finish_store();
                }
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

    /// Returns the cycle in which the next beat of the stream may enter its queue; `None` if that is not known yet, or the
    /// stream is over. `beats` were put into each queue so far.
    fn fetch(&self, beats: &[u64; 3]) -> Option<u64> {
        let queue = self.commands.get(self.fetched)?.queue as usize;
        let room = match (beats[queue] + 1).checked_sub(QUEUE_BEATS[queue]) {
            None | Some(0) => 0,
            // So many beats have to leave.
            Some(leave) => {
                let before = self.ends[queue].partition_point(|&end| end < leave);
                let first = before.checked_sub(1).map_or(0, |before| self.ends[queue][before]);
                let taken = |&at: &usize| self.timings[at].start;
                (before < self.done[queue]).then(|| taken(&self.queues[queue][before]))?
                    + QUEUE_ROOM
                    + (leave - first - 1)
            }
        };
        self.fetcher.ready(&self.bus).map(|time| time.max(room))
    }

    /// The cycle in which the head of a queue may start; `None` where it waits for what has not run.
    fn ready(&self, queue: Queue) -> Option<u64> {
        let done = self.done[queue as usize];
        let &at = self.queues[queue as usize].get(done)?;
        if at >= self.fetched {
            return None;
        }
        let command = &self.commands[at];
        let mut start = 0;
        for (other, &wait) in command.waits.iter().enumerate() {
            if wait > 0 {
                start = start.max(self.finished(other, wait)? + WAIT);
            }
        }
        let last_but_one = self.finished(queue as usize, done.saturating_sub(1) as u32);
        let taken = self.taken[queue as usize];
        let free = match queue {
            // Two commands are in flight.
            Queue::Exec => {
                let between = if done == 0 { 0 } else { taken + EXEC_BETWEEN };
                (self.entered[at] + EXEC_ENTER).max(between).max(last_but_one?)
            }
            // One is requested while another's data come.
            Queue::Load => {
                let requested = self.bus.accepted(Client::Load)? + 1;
                self.checked(at, taken).max(requested).max(last_but_one?)
            }
            Queue::Store => self.checked(at, taken).max(self.bus.stored()),
        };
        Some(start.max(free))
    }

    /// Returns the cycle in which a transfer is checked; the one before it was taken in cycle `taken`.
    fn checked(&self, at: usize, taken: u64) -> u64 {
        let bits = check_bits(&self.commands[at].body, self.accelerator.rows);
        (self.entered[at] + TRANSFER_ENTER).max(taken + TRANSFER_BETWEEN) + bits
    }

    /// Issues a burst of reads.
    fn issue(&mut self, time: u64, client: Client) {
        let Some(burst) = self.bus.issue(time, client) else { return };
        match client {
            Client::Stream => self.fetcher.arrives(burst.place),
            Client::Load => {
                let Some(left) = self.loading.front_mut() else { return };
                *left -= 1;
                if *left == 0 {
                    let at = self.queues[Queue::Load as usize][self.loaded];
                    self.timings[at].end = burst.end + LOAD_END;
                    self.loading.pop_front();
                    self.loaded += 1;
                }
            }
        }
        self.finish_store();
    }

    /// Cycle in which the first `count` commands of a queue are finished; `None` where that is not known yet.
    fn finished(&self, queue: usize, count: u32) -> Option<u64> {
        let known = if queue == Queue::Load as usize { self.loaded } else { self.done[queue] };
        match count as usize {
            0 => Some(0),
            count => (count <= known).then(|| self.timings[self.queues[queue][count - 1]].end),
        }
    }

    /// Reads may have delayed the STORE that was replayed last; nothing has waited for its end yet, since
    /// what does so starts later than those reads.
    fn finish_store(&mut self) {
        if let Some(last) = self.done[Queue::Store as usize].checked_sub(1) {
            let at = self.queues[Queue::Store as usize][last];
            self.timings[at].end = self.bus.written() + u64::from(self.accelerator.memory.latency_cycles);
        }
    }

    fn execute(&mut self, at: usize, start: u64) {
        let command = &self.commands[at];
        match &command.body {
            CommandBody::Transfer(transfer) => {
                let bytes = command.bytes as u64;
                let segments = segments(transfer, self.accelerator.lanes);
                if command.queue == Queue::Load {
                    self.bus.request(Client::Load, start + LOAD_START, bytes / segments, segments);
                    self.loading.push_back(bus::bursts(bytes / segments) * segments);
                } else {
                    self.bus.write(start + STORE_START, bytes / segments, segments);
                }
                self.timings[at] = CommandTiming { start, ..CommandTiming::default() };
            }
            CommandBody::End(_) => {
                self.timings[at] = CommandTiming { start, end: start + 1, ..CommandTiming::default() }
            }
            CommandBody::Exec(exec) => {
                let tiles = Tiles::of(exec, self.accelerator.rows);
                let cycles = command.tile_cycles.iter().copied();
                let second = tiles
                    .second
                    .then(|| OperandReader::new(&mut self.operand, exec, tiles, start, self.accelerator));
                let run = tiles.run(cycles, start, self.last, self.accelerator, second);
                if tiles.second {
                    self.bus.busy(self.operand.busy(self.accelerator.lanes));
                    self.finish_store();
                }
                let mut timing = CommandTiming {
                    start,
                    end: run.tail.tap + run.tail.drain + EXEC_LATENCY,
                    array: run.work,
                    ..CommandTiming::default()
                };
                // Charged to the reasons in the order in which they fell away.
                let waits = [0, 1, 2].map(|queue| match command.waits[queue] {
                    0 => 0,
                    count => self.finished(queue, count).unwrap_or(0) + WAIT,
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
fn stream_beats(command: &PlannedCommand) -> u64 {
    let bytes = match command.body {
        CommandBody::Exec(_) => size_of::<Exec>(),
        _ => size_of::<Transfer>(),
    };
    bytes as u64 / bus::BEAT
}

/// Returns true for a transfer of a feature map, whose channels may be apart.
fn is_map(transfer: &Transfer) -> bool {
    [Opcode::LoadMap.code(), Opcode::StoreMap.code()].contains(&transfer.opcode)
}

/// Runs of neighbouring bytes of a transfer (`npu_burst_splitter`).
fn segments(transfer: &Transfer, lanes: u32) -> u64 {
    let apart = transfer.pitch.get() != u32::from(transfer.words.get()) * lanes;
    if is_map(transfer) && apart { transfer.count.get().into() } else { 1 }
}

/// Cycles in which the products of a transfer's counts are formed, a bit in each (`npu_cmd_decode`).
fn check_bits(body: &CommandBody, rows: u32) -> u64 {
    let CommandBody::Transfer(transfer) = body else { return 1 };
    if !is_map(transfer) {
        return 1;
    }
    let last = u32::from(transfer.count.get()).saturating_sub(1);
    let groups = (u32::from(transfer.origin.get()) + last) / rows + 1;
    let bits = u32::BITS - (last | groups).leading_zeros();
    u64::from(bits.max(1))
}
