//! The cycle model of the element-wise operand: its words are read ahead of the tiles that take them, at the banks'
//! second port, where results go first (`npu_eltwise_fetch`, `npu_bank_arbiter`).

use std::collections::VecDeque;

use secateur_runtime::npu::isa::{Exec, ResidualSpread};

use super::bus::Busy;
use super::tiles::Tiles;
use crate::target::Accelerator;

/// Cycles from offering a command to asking for its first word.
const START: u64 = 3;
/// Cycles from asking for a word to its first cycle at the port.
const REQUEST: u64 = 5;
/// Cycles from a word's grant to the last tap of a tile that waits for it.
const ANSWER: u64 = 6;
/// Cycles from the last tap of a tile to its first result at the port.
const RESULT: u64 = 40;
/// Cycles from the last tap of a tile to the room that its first word leaves.
const ROOM: u64 = 21;
/// Words that wait for a grant, and words of the queue behind it (`npu_eltwise_fetch`).
const WAITING: usize = 8;
const QUEUE: usize = 64;

/// Banks as a set of bits.
type Banks = u32;

/// Words of the element-wise operand, and results, that are under way.
#[derive(Debug, Clone)]
pub(super) struct OperandPort {
    /// First cycle that was not looked at yet.
    now: u64,
    /// Words that were asked for: first cycle at the port, banks.
    waiting: VecDeque<(u64, Banks)>,
    /// Free places of the queue, and the cycles in which more come free.
    room: usize,
    freed: VecDeque<u64>,
    /// Of the last command: cycle in which its first words were granted, and cycles from then on in which
    /// one was at the port.
    first: u64,
    held: u64,
    /// Results: cycle at the port, banks.
    results: VecDeque<(u64, Banks)>,
}

impl Default for OperandPort {
    fn default() -> Self {
        let (waiting, freed, results) = Default::default();
        Self { now: 0, waiting, room: QUEUE, freed, first: 0, held: 0, results }
    }
}

impl OperandPort {
    /// Returns the bank accesses that the last command leaves to STORE.
    pub(super) fn busy(&self, lanes: u32) -> Busy {
        let (from, until) = (self.first, self.now);
        Busy { from, until, bytes: until.saturating_sub(from).saturating_sub(self.held) * u64::from(lanes) }
    }
}

/// The element-wise operand of one command.
#[derive(Debug)]
pub(super) struct OperandReader<'a> {
    port: &'a mut OperandPort,
    tiles: Tiles,
    rows: u32,
    drain_rows: u32,
    /// First channel of results.
    out_origin: u32,
    /// First channel of the element-wise operand; `None` where it has a single one, in `bank`.
    origin: Option<u32>,
    bank: u32,
    /// Next word to be asked for: output group, tile of the group, word of the tile.
    group: u32,
    tile: u64,
    turn: u32,
    /// Cycle of the last grant.
    granted: u64,
    /// Words granted that no tile has taken.
    ready: u32,
    /// A tile has taken its words.
    begun: bool,
}

impl<'a> OperandReader<'a> {
    /// For a command that is offered in cycle `start`.
    pub(super) fn new(
        port: &'a mut OperandPort,
        exec: &Exec,
        tiles: Tiles,
        start: u64,
        accelerator: &Accelerator,
    ) -> Self {
        let &Accelerator { rows, drain_rows, .. } = accelerator;
        port.now = port.now.max(start + START);
        let origin = u32::from(exec.res_origin.get());
        let single = exec.residual >> 2 == ResidualSpread::Pixel.code();
        Self {
            port,
            tiles,
            rows,
            drain_rows,
            out_origin: exec.out_origin.get().into(),
            origin: (!single).then_some(origin),
            bank: origin % rows,
            group: 0,
            tile: 0,
            turn: 0,
            granted: 0,
            ready: 0,
            begun: false,
        }
    }

    /// The last tap of a tile of `group` that has all else in cycle `tap`; its results fall into `halves`
    /// bank words.
    pub(super) fn tile(&mut self, tap: u64, group: u32, halves: u64) -> u64 {
        let turns = self.turns(group);
        while self.ready < turns {
            self.cycle();
        }
        self.ready -= turns;
        let tap = tap.max(self.granted + ANSWER);
        if !std::mem::replace(&mut self.begun, true) {
            (self.port.first, self.port.held) = (tap, 0);
        }
        for turn in 0..turns {
            let banks = self.banks(self.out_origin, group, turn);
            let first = tap + RESULT + u64::from(turn) * halves;
            self.port.results.extend((0..halves).map(|half| (first + half, banks)));
            self.port.freed.push_back(tap + ROOM + (u64::from(turn) + 1) * halves - 1);
        }
        tap
    }

    /// Words of a tile.
    fn turns(&self, group: u32) -> u32 {
        self.tiles.channels(group, self.rows).len().div_ceil(self.drain_rows as usize) as u32
    }

    /// Banks of a word for each row that drains in a turn.
    fn banks(&self, origin: u32, group: u32, turn: u32) -> Banks {
        let channels = self.tiles.channels(group, self.rows);
        let first = channels.start + turn * self.drain_rows;
        let last = (first + self.drain_rows).min(channels.end);
        (first..last).map(|channel| 1 << ((origin + channel) % self.rows)).sum()
    }

    /// One cycle: the oldest word is granted unless a result wants its bank, one more is asked for.
    fn cycle(&mut self) {
        let now = self.port.now;
        self.port.now += 1;
        let asks = self.port.waiting.len() < WAITING && self.port.room > 0;
        while self.port.results.front().is_some_and(|&(cycle, _)| cycle < now) {
            self.port.results.pop_front();
        }
        let taken =
            self.port.results.front().filter(|&&(cycle, _)| cycle == now).map_or(0, |&(_, banks)| banks);
        let word = self.port.waiting.front().filter(|&&(first, _)| first <= now);
        self.port.held += u64::from(word.is_some());
        if word.is_some_and(|&(_, banks)| banks & taken == 0) {
            self.port.waiting.pop_front();
            self.granted = now;
            self.ready += 1;
        }
        if asks && let Some(banks) = self.next() {
            self.port.room -= 1;
            self.port.waiting.push_back((now + REQUEST, banks));
        }
        while self.port.freed.front().is_some_and(|&cycle| cycle <= now) {
            self.port.freed.pop_front();
            self.port.room += 1;
        }
    }

    /// Banks of the next word that is asked for; `None` behind the last.
    fn next(&mut self) -> Option<Banks> {
        let Tiles { off, channels, tiles, lines, .. } = self.tiles;
        if self.group * self.rows >= off + channels {
            return None;
        }
        let banks = match self.origin {
            Some(origin) => self.banks(origin, self.group, self.turn),
            None => 1 << self.bank,
        };
        self.turn += 1;
        if self.turn == self.turns(self.group) {
            (self.turn, self.tile) = (0, self.tile + 1);
        }
        if self.tile == tiles * lines {
            (self.tile, self.group) = (0, self.group + 1);
        }
        Some(banks)
    }
}
