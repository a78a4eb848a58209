//! From a schedule to commands that wait for each other where they have to.

mod exec;

use std::ops::Range;

use secateur_runtime::npu::isa::{Control, Exec, Opcode, Parameters, Transfer, transfer_flags};
use secateur_runtime::npu::stream::Queue;
use zerocopy::little_endian::{I16, U16, U32};

use super::hazards::{Hazards, Ring, Waits};
use super::import::NpuGraph;
use super::op::{MapSlice, NpuOp};
use super::packed::{self, Chunk, Packed};
use super::schedule::{BankBuffer, Schedule};
use super::strips::StripEvent;
use crate::cpu::program::ValueId;
use secateur_base::{Error, Result};

/// Weight words that one LOAD command brings: small pieces begin before the space for all is free.
const LOAD_WORDS: usize = 1024;
/// Bytes of a parameter entry.
const CHANNEL: usize = 16;
/// Bytes that hazards in memory are told apart by.
const MEMORY_UNIT: usize = 256;

/// The encoding of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandBody {
    Transfer(Transfer),
    Exec(Exec),
    End(Control),
}

/// A command with its waits and the layer that its time is charged to.
#[derive(Debug, Clone)]
pub struct PlannedCommand {
    pub queue: Queue,
    pub body: CommandBody,
    /// Finished commands of each queue that it waits for.
    pub waits: Waits,
    /// Darknet's number of the layer.
    pub layer: usize,
    /// The value that it writes or stores, and the first channel of it.
    pub value: Option<(ValueId, usize)>,
    /// Array cycles of a tile, by output group; empty for transfers.
    pub tile_cycles: Vec<u32>,
    /// Bytes that go over the bus.
    pub bytes: usize,
    /// Multiply-accumulates of the network that it does.
    pub macs: u64,
}

/// Commands in an order in which each waits for earlier ones only.
pub(crate) fn emit(
    graph: &NpuGraph,
    schedule: &Schedule,
    packed: &Packed,
    parameters: &Parameters,
    data_offset: usize,
) -> Result<Vec<PlannedCommand>> {
    let mut emitter = Emitter {
        graph,
        schedule,
        packed,
        parameters,
        data_offset,
        commands: Vec::new(),
        counts: [0; 3],
        banks: Hazards::new(parameters.bank_words as usize),
        weights: Hazards::new(parameters.weight_words as usize),
        channels: Hazards::new(parameters.param_entries as usize),
        tables: Hazards::new(2),
        memory: Hazards::new(schedule.work_bytes.div_ceil(MEMORY_UNIT)),
        weight_ring: Ring::new(parameters.weight_words as usize),
        channel_ring: Ring::new(parameters.param_entries as usize),
        table_ring: Ring::new(2),
    };
    let mut group = usize::MAX;
    for (at, event) in schedule.events.iter().enumerate() {
        if schedule.group_of[at] != group {
            group = schedule.group_of[at];
            emitter.load_group(schedule.groups[group].ops.clone())?;
        }
        match event {
            StripEvent::Run { op, pixels } => emitter.run(at, *op, pixels)?,
            StripEvent::Load { view, words } => emitter.map(at, Opcode::LoadMap, None, *view, words)?,
            // Its run has emitted it.
            StripEvent::Store { .. } => {}
        }
    }
    let waits = emitter.counts;
    let end = CommandBody::End(Control { opcode: Opcode::End.code(), ..Default::default() });
    emitter.push(Queue::Exec, end, graph.ops.last().map_or(0, |op| op.layer));
    if let Some(end) = emitter.commands.last_mut() {
        end.waits = waits;
    }
    Ok(emitter.commands)
}

struct Emitter<'a> {
    graph: &'a NpuGraph,
    schedule: &'a Schedule,
    packed: &'a Packed,
    parameters: &'a Parameters,
    /// Offset in region 0 of the packed constants.
    data_offset: usize,
    commands: Vec<PlannedCommand>,
    /// Commands of each queue so far.
    counts: [u32; 3],
    banks: Hazards,
    weights: Hazards,
    channels: Hazards,
    tables: Hazards,
    memory: Hazards,
    weight_ring: Ring<(usize, usize)>,
    channel_ring: Ring<(usize, usize)>,
    table_ring: Ring<usize>,
}

/// Successive entries of weights or parameters, in memory and on the chip.
#[derive(Debug, Clone, Copy)]
struct Piece {
    layer: usize,
    sparse: bool,
    /// First entry on the chip.
    base: usize,
    /// Offset in the packed constants.
    at: usize,
    entries: usize,
}

impl Piece {
    /// Appends the piece to `pieces`, or lengthens the last one where it continues that.
    fn append(self, pieces: &mut Vec<Piece>, bytes: impl Fn(&Piece) -> usize, capacity: usize) {
        if let Some(last) = pieces.last_mut()
            && last.sparse == self.sparse
            // A block of control bytes belongs to one operation.
            && (!self.sparse || last.entries.is_multiple_of(packed::BLOCK))
            && last.at + bytes(last) == self.at
            && (last.base + last.entries) % capacity == self.base
        {
            last.entries += self.entries;
        } else {
            pieces.push(self);
        }
    }
}

/// A feature map in a buffer as a command sees it.
struct BankLocation<'a> {
    buffer: &'a BankBuffer,
    /// Bank-channel of the view's first channel.
    origin: usize,
    /// First bank word that is touched.
    first: usize,
}

impl BankLocation<'_> {
    fn position(&self) -> usize {
        self.first % self.buffer.plane
    }

    /// Addresses of bank words up to `end`, of `channels` channels from the origin on.
    fn addresses(&self, channels: usize, end: usize, rows: usize) -> impl Iterator<Item = usize> {
        let BankBuffer { base, plane, .. } = *self.buffer;
        let groups = self.origin / rows..(self.origin + channels).div_ceil(rows);
        let words = self.first..end.max(self.first + 1);
        groups.flat_map(move |group| words.clone().map(move |word| base + group * plane + word % plane))
    }
}

fn field(what: &str, value: usize) -> Result<U16> {
    u16::try_from(value).map(U16::new).map_err(|_| too_large(what, value))
}

fn word(what: &str, value: usize) -> Result<I16> {
    i16::try_from(value).map(I16::new).map_err(|_| too_large(what, value))
}

fn address(value: usize) -> Result<U32> {
    u32::try_from(value).map(U32::new).map_err(|_| too_large("address", value))
}

fn too_large(what: &str, value: usize) -> Error {
    Error::new(format!("{what} does not fit a command of the accelerator")).found(value.to_string())
}

impl Emitter<'_> {
    fn rows(&self) -> usize {
        self.parameters.rows as usize
    }

    fn lanes(&self) -> usize {
        self.parameters.lanes as usize
    }

    /// Number, from 1, of the next command of a queue.
    fn number(&self, queue: Queue) -> u32 {
        self.counts[queue as usize] + 1
    }

    fn push(&mut self, queue: Queue, body: CommandBody, layer: usize) -> &mut PlannedCommand {
        self.counts[queue as usize] += 1;
        self.commands.push(PlannedCommand {
            queue,
            body,
            waits: [0; 3],
            layer,
            value: None,
            tile_cycles: Vec::new(),
            bytes: 0,
            macs: 0,
        });
        let last = self.commands.len() - 1;
        &mut self.commands[last]
    }

    fn place(&self, event: usize, view: MapSlice, first: usize) -> BankLocation<'_> {
        let group = self.schedule.group_of[event];
        let buffer = &self.schedule.buffers[self.schedule.placed[group][&view.map]];
        BankLocation { buffer, origin: view.channel - buffer.channel, first }
    }

    /// A feature map between banks and memory.
    fn map(
        &mut self,
        event: usize,
        opcode: Opcode,
        made: Option<(usize, usize)>,
        view: MapSlice,
        words: &Range<usize>,
    ) -> Result<()> {
        let queue = if opcode == Opcode::StoreMap { Queue::Store } else { Queue::Load };
        let number = self.number(queue);
        let planes = self.schedule.memory[view.map]
            .ok_or_else(|| Error::internal("a feature map without memory is moved"))?;
        let lanes = self.lanes();
        let place = self.place(event, view, words.start);
        let start = planes.address + view.channel * planes.pitch + words.start * lanes;
        let transfer = Transfer {
            opcode: opcode.code(),
            flags: transfer_flags::REGION_WORK,
            address: address(start)?,
            pitch: address(planes.pitch)?,
            base: field("bank address", place.buffer.base)?,
            plane: field("plane", place.buffer.plane)?,
            w_first: word("bank word", words.start)?,
            pos_first: field("ring position", place.position())?,
            word: word("bank word", words.start)?,
            words: field("words", words.len())?,
            origin: field("channel", place.origin)?,
            count: field("channels", view.channels)?,
            ..Default::default()
        };
        let banks: Vec<usize> = place.addresses(view.channels, words.end, self.rows()).collect();
        let bytes = words.len() * lanes;
        let mut waits = [0; 3];
        for channel in 0..view.channels {
            let from = start + channel * planes.pitch;
            for unit in from / MEMORY_UNIT..(from + bytes).div_ceil(MEMORY_UNIT) {
                match queue {
                    Queue::Store => self.memory.write(unit, queue, number, &mut waits),
                    _ => self.memory.read(unit, queue, number, &mut waits),
                }
            }
        }
        for at in banks {
            match queue {
                Queue::Store => self.banks.read(at, queue, number, &mut waits),
                _ => self.banks.write(at, queue, number, &mut waits),
            }
        }
        let reader = self.graph.ops.iter().find(|op| super::strips::overlap(op.input, view));
        let writer = made.map(|key| &self.graph.ops[key.0]);
        let layer = writer.or(reader).map_or(0, |op| op.layer);
        let value = match made {
            Some(key) => {
                let op = &self.graph.ops[key.0];
                Some((op.value, op.value_channel + self.chunk(key).channels.start))
            }
            None => self.graph.value_of(view),
        };
        let command = self.push(queue, CommandBody::Transfer(transfer), layer);
        (command.waits, command.value, command.bytes) = (waits, value, bytes * view.channels);
        Ok(())
    }

    /// One run: for each chunk of output channels its constants, the array, and the transfer to
    /// memory where one follows.
    fn run(&mut self, event: usize, index: usize, pixels: &Range<usize>) -> Result<()> {
        let (graph, schedule, packed) = (self.graph, self.schedule, self.packed);
        let op = &graph.ops[index];
        for (n, chunk) in packed.chunks[index].iter().enumerate() {
            self.load_constants(&[(index, n)])?;
            let table = match packed.tables[index] {
                Some(at) => Some(self.load_table(op, at)?),
                None => None,
            };
            self.exec(event, op, (index, n), pixels, table).map_err(|e| e.layer(op.layer))?;
            if let Some(StripEvent::Store { view, words, .. }) = schedule.events.get(event + 1) {
                let view = view.slice(chunk.channels.start, chunk.channels.len());
                self.map(event + 1, Opcode::StoreMap, Some((index, n)), view, words)?;
            }
        }
        Ok(())
    }

    /// A LOAD command of constants.
    fn load(
        &mut self,
        layer: usize,
        opcode: Opcode,
        flags: u8,
        at: usize,
        place: (usize, usize, usize),
    ) -> Result<()> {
        let (base, entries, bytes) = place;
        let number = self.number(Queue::Load);
        let transfer = Transfer {
            opcode: opcode.code(),
            flags,
            address: address(self.data_offset + at)?,
            base: field("entry", base)?,
            words: field("entries", entries)?,
            ..Default::default()
        };
        let mut waits = [0; 3];
        let (memory, capacity) = match opcode {
            Opcode::LoadWeights => (&mut self.weights, self.parameters.weight_words),
            Opcode::LoadParams => (&mut self.channels, self.parameters.param_entries),
            _ => (&mut self.tables, 2),
        };
        let slot = if flags & transfer_flags::TABLE_SELECT != 0 { 1 } else { base };
        for entry in 0..entries.max(1) {
            memory.write((slot + entry) % capacity as usize, Queue::Load, number, &mut waits);
        }
        let command = self.push(Queue::Load, CommandBody::Transfer(transfer), layer);
        (command.waits, command.bytes) = (waits, bytes);
        Ok(())
    }

    /// Brings the first constants of a group before its feature maps, so that they come while the group
    /// before still works: as many as find room beside those of the command before.
    fn load_group(&mut self, ops: Range<usize>) -> Result<()> {
        let before = ops.start.checked_sub(1).and_then(|op| self.packed.chunks[op].last());
        let mut words = before.map_or(0, |chunk| chunk.words);
        let mut entries = before.map_or(0, |chunk| chunk.channels.len());
        let mut keys = Vec::new();
        for key in ops.flat_map(|op| (0..self.packed.chunks[op].len()).map(move |chunk| (op, chunk))) {
            let chunk = self.chunk(key);
            words += chunk.words;
            entries += chunk.channels.len();
            if words > self.parameters.weight_words as usize
                || entries > self.parameters.param_entries as usize
            {
                break;
            }
            keys.push(key);
        }
        self.load_constants(&keys)
    }

    fn chunk(&self, (op, chunk): (usize, usize)) -> &Chunk {
        &self.packed.chunks[op][chunk]
    }

    /// Brings what is missing of these chunks' weights and parameters onto the chip.
    fn load_constants(&mut self, keys: &[(usize, usize)]) -> Result<()> {
        let (words, entries) =
            (self.parameters.weight_words as usize, self.parameters.param_entries as usize);
        let mut weights: Vec<Piece> = Vec::new();
        let mut channels: Vec<Piece> = Vec::new();
        for &key in keys {
            let op = &self.graph.ops[key.0];
            let Chunk { words: chunk_words, weights_at, params_at, channels: ref range, .. } =
                *self.chunk(key);
            let count = range.len();
            if chunk_words > 0 {
                let (base, missing) = self.weight_ring.place(key, chunk_words);
                let piece =
                    Piece { layer: op.layer, sparse: op.sparse, base, at: weights_at, entries: chunk_words };
                if missing {
                    piece.append(
                        &mut weights,
                        |piece| packed::weight_bytes(self.parameters, piece.entries, piece.sparse),
                        words,
                    );
                }
            }
            let (base, missing) = self.channel_ring.place(key, count);
            let piece = Piece { layer: op.layer, sparse: false, base, at: params_at, entries: count };
            if missing {
                piece.append(&mut channels, |piece| CHANNEL * piece.entries, entries);
            }
        }
        for piece in weights {
            let flags = if piece.sparse { transfer_flags::SPARSE } else { 0 };
            for first in (0..piece.entries).step_by(LOAD_WORDS) {
                let count = LOAD_WORDS.min(piece.entries - first);
                let at = piece.at + packed::weight_bytes(self.parameters, first, piece.sparse);
                let place = (
                    (piece.base + first) % words,
                    count,
                    packed::weight_bytes(self.parameters, count, piece.sparse),
                );
                self.load(piece.layer, Opcode::LoadWeights, flags, at, place)?;
            }
        }
        for piece in channels {
            let place = (piece.base, piece.entries, CHANNEL * piece.entries);
            self.load(piece.layer, Opcode::LoadParams, 0, piece.at, place)?;
        }
        Ok(())
    }

    fn load_table(&mut self, op: &NpuOp, at: usize) -> Result<usize> {
        let (slot, missing) = self.table_ring.place(at, 1);
        if missing {
            let flags = if slot == 1 { transfer_flags::TABLE_SELECT } else { 0 };
            self.load(op.layer, Opcode::LoadTable, flags, at, (0, 0, 256))?;
        }
        Ok(slot)
    }
}
