//! The cycle model of the memory's bus: bursts of reads in the order of their requests, writes in what is
//! left (`npu_axi_read`, `npu_axi_write`).

use std::collections::VecDeque;

use crate::target::Accelerator;

/// Bytes of a burst, cycles between two of one client, bursts under way.
const BURST: u64 = 256;
const BURST_CYCLES: u64 = 2;
const UNDER_WAY: usize = 16;
/// Cycles from issuing a burst to its address at the memory.
const ADDRESS: u64 = 1;
/// Bytes that wait to be written, bursts that wait for their answers, and cycles that these take beside the
/// memory's latency (`npu_axi_write`).
const WRITE_BUFFER: u64 = 512;
const UNACKNOWLEDGED: u64 = 8;
const ANSWER: u64 = 4;
/// Beats that the memory moves at once behind a pause.
const AHEAD: u64 = 2;
/// Bytes of a beat.
pub(super) const BEAT: u64 = 8;

/// A reader of the bus. The stream's bursts go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    Stream,
    Load,
}

/// Neighbouring bytes of which no burst has been issued yet.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// First cycle of the request.
    from: u64,
    bytes: u64,
}

/// A position in the bus's data: hundredths of bytes that it could have moved before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BusPosition(u64);

/// A burst that has been issued.
#[derive(Debug, Clone, Copy)]
pub(super) struct IssuedBurst {
    /// Of its first byte.
    pub(super) place: BusPosition,
    /// Cycle of its last beat.
    pub(super) end: u64,
}

/// Bursts of neighbouring bytes.
pub(super) const fn bursts(bytes: u64) -> u64 {
    bytes.div_ceil(BURST)
}

#[derive(Debug, Clone)]
pub(super) struct BusModel {
    latency: u64,
    /// Hundredths of a byte in a cycle.
    rate: u64,
    /// By client: requests, the first of which is accepted; when that was; first cycle of its next burst.
    requests: [VecDeque<Segment>; 2],
    accepted: [u64; 2],
    next: [u64; 2],
    /// First cycle of any next burst, and the ends of the last ones.
    free: u64,
    under_way: VecDeque<u64>,
    /// Ends of reads and writes.
    read: BusPosition,
    written: BusPosition,
    /// Bytes of the last writes that may still wait when the next ones are taken.
    buffered: u64,
    busy: Busy,
}

/// From one cycle to another the banks give up no more than `bytes` to be written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) bytes: u64,
}

impl BusModel {
    pub(super) fn new(accelerator: &Accelerator) -> Self {
        Self {
            latency: accelerator.memory.latency_cycles.into(),
            rate: accelerator.transfer_rate(),
            requests: Default::default(),
            accepted: [0; 2],
            next: [0; 2],
            free: 0,
            under_way: VecDeque::new(),
            read: BusPosition::default(),
            written: BusPosition::default(),
            buffered: 0,
            busy: Busy::default(),
        }
    }

    /// Requests `count` times `bytes` from cycle `from` on.
    pub(super) fn request(&mut self, client: Client, from: u64, bytes: u64, count: u64) {
        let requests = &mut self.requests[client as usize];
        if requests.is_empty() {
            self.accepted[client as usize] = from.max(self.next[client as usize].saturating_sub(1));
        }
        requests.extend((0..count).map(|_| Segment { from, bytes }));
    }

    /// Returns the cycle in which the client's last request was accepted; `None` if it waits for an earlier one.
    pub(super) fn accepted(&self, client: Client) -> Option<u64> {
        (self.requests[client as usize].len() <= 1).then_some(self.accepted[client as usize])
    }

    /// The cycle in which the next burst is issued, and whose it is.
    pub(super) fn next_burst(&self) -> Option<(u64, Client)> {
        let room = self.under_way.len().checked_sub(UNDER_WAY).map_or(0, |first| self.under_way[first] + 1);
        let time = |client: Client| {
            let segment = self.requests[client as usize].front()?;
            Some((segment.from.max(self.next[client as usize]).max(self.free).max(room), client))
        };
        [Client::Stream, Client::Load].into_iter().filter_map(time).min_by_key(|&(time, _)| time)
    }

    /// Issues the client's next burst in cycle `now`.
    pub(super) fn issue(&mut self, now: u64, client: Client) -> Option<IssuedBurst> {
        let requests = &mut self.requests[client as usize];
        let segment = requests.front_mut()?;
        let bytes = segment.bytes.min(BURST);
        segment.bytes -= bytes;
        if segment.bytes == 0 {
            requests.pop_front();
            if let Some(segment) = requests.front() {
                self.accepted[client as usize] = segment.from.max(now + 1);
            }
        }
        self.next[client as usize] = now + BURST_CYCLES;
        self.free = now + 1;
        let due = ((now + ADDRESS + self.latency) * self.rate).saturating_sub(AHEAD * BEAT * 100);
        let place = self.read.max(BusPosition(due));
        self.read = BusPosition(place.0 + 100 * bytes);
        if self.written > place {
            self.written.0 += 100 * bytes;
        }
        let end = self.arrival(place, bytes);
        self.under_way.push_back(end);
        if self.under_way.len() > UNDER_WAY {
            self.under_way.pop_front();
        }
        Some(IssuedBurst { place, end })
    }

    /// Cycle of the beat that ends `bytes` behind a place.
    pub(super) const fn arrival(&self, place: BusPosition, bytes: u64) -> u64 {
        (place.0 + 100 * bytes).div_ceil(self.rate)
    }

    /// Writes `count` times `bytes`, the first of which are ready in cycle `due`.
    pub(super) fn write(&mut self, due: u64, bytes: u64, count: u64) {
        let place = BusPosition(due * self.rate).max(self.read).max(self.written);
        // A burst begins in a cycle of its own, and when the eighth before it has been acknowledged.
        let cycles = |bytes: u64| (100 * bytes).div_ceil(self.rate);
        let segment = bytes / BURST * cycles(BURST) + cycles(bytes % BURST);
        let answers = bursts(bytes) * count / UNACKNOWLEDGED * (self.latency + ANSWER);
        self.written = BusPosition(place.0 + (count * segment).max(answers) * self.rate);
        // The last request is accepted when all of the one before is on its way.
        let last_burst = bytes.saturating_sub(1) % BURST + 1;
        self.buffered = if count > 1 { (bytes + last_burst).min(WRITE_BUFFER) } else { WRITE_BUFFER };
        self.wait_for_banks(due);
    }

    /// The banks' second port is taken by others in part: see [`Busy`].
    pub(super) fn busy(&mut self, busy: Busy) {
        self.busy = busy;
        self.wait_for_banks(busy.from);
    }

    /// Puts off writes from cycle `start` on whose words the banks do not give up in time.
    fn wait_for_banks(&mut self, start: u64) {
        let Busy { from, until, bytes } = self.busy;
        let start = start.max(from);
        let end = until.min(self.written());
        if start < end {
            let allowed = 100 * bytes * (end - start) / (until - from);
            self.written.0 += ((end - start) * self.rate).saturating_sub(allowed);
        }
    }

    /// Cycle in which all writes are done.
    pub(super) const fn written(&self) -> u64 {
        self.written.0.div_ceil(self.rate)
    }

    /// Cycle in which nothing more of the last writes has to be read from the banks or requested.
    pub(super) const fn stored(&self) -> u64 {
        self.written.0.saturating_sub(100 * self.buffered).div_ceil(self.rate)
    }
}
