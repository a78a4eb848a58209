//! The cycle model of the stream's reader (`npu_fetch`).

use super::bus::{BEAT, BusModel, BusPosition, Client};

/// Beats that the buffer holds, and those of a request.
const BUFFER: u64 = 64;
const CHUNK: u64 = 16;
/// Cycles from the frame's start to the first burst.
const START: u64 = 3;
/// Cycles from handing on a beat to the burst for which that makes room, and between two such bursts.
const REQUEST: u64 = 3;
const BETWEEN: u64 = 2;
/// Cycles from a beat's arrival to handing it on; those that two further beats take.
const REGISTERS: u64 = 5;
const PAIR: u64 = 3;

/// Chunks are requested as far ahead as the buffer has room.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    /// Beats of the stream, those requested and those handed on.
    total: u64,
    requested: u64,
    handed: u64,
    /// Cycles in which the last but one and the last beat were handed on.
    times: [u64; 2],
    /// First cycle of the next request's burst.
    next_request: u64,
    /// Position of each chunk's data on the bus.
    chunks: Vec<BusPosition>,
}

impl Fetcher {
    /// For a stream of `total` beats.
    pub(super) fn new(total: u64, bus: &mut BusModel) -> Self {
        let (times, chunks) = Default::default();
        let mut fetcher = Self { total, requested: 0, handed: 0, times, next_request: START, chunks };
        fetcher.request(bus);
        fetcher
    }

    /// The burst of the next chunk was issued.
    pub(super) fn arrives(&mut self, place: BusPosition) {
        self.chunks.push(place);
    }

    /// Returns the cycle in which the next beat may be handed on; `None` if it has not been requested yet.
    pub(super) fn ready(&self, bus: &BusModel) -> Option<u64> {
        let (chunk, within) = (self.handed / CHUNK, self.handed % CHUNK);
        let arrived = bus.arrival(*self.chunks.get(chunk as usize)?, (within + 1) * BEAT);
        let [before, last] = self.times;
        Some((arrived + REGISTERS).max(last + 1).max(before + PAIR))
    }

    /// Hands on a beat in cycle `time`.
    pub(super) fn take(&mut self, time: u64, bus: &mut BusModel) {
        self.times = [self.times[1], time];
        self.handed += 1;
        self.request(bus);
    }

    /// Requests what the buffer has room for.
    fn request(&mut self, bus: &mut BusModel) {
        while self.requested < self.total && self.requested + CHUNK - self.handed <= BUFFER {
            let beats = CHUNK.min(self.total - self.requested);
            let from = self.next_request.max(self.times[1] + REQUEST);
            bus.request(Client::Stream, from, beats * BEAT, 1);
            self.requested += beats;
            self.next_request = from + BETWEEN;
        }
    }
}
