//! Programs written by hand, and machines to run them on.
#![allow(dead_code, reason = "each test binary uses its own part")]

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::Placement;
use secateur_runtime::npu::isa::{Control, Opcode, Parameters, Transfer, UNIT, transfer_flags};
use secateur_runtime::npu::program::{self, ProgramHeader};
use secateur_runtime::npu::registers::VERSION_VALUE;
use secateur_sim::memory::Access;
use secateur_sim::{Memory, PARAMETERS};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// A memory with room for both regions of a program, the second filled with random bytes.
pub(crate) fn memory(program_bytes: usize, work_bytes: usize, seed: u64) -> (Memory, Placement) {
    let mut memory = Memory::new();
    let program = memory.allocate(program_bytes, Access::ReadOnly);
    let work = memory.allocate(work_bytes, Access::ReadWrite);
    let mut bytes = vec![0; work_bytes];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    memory.write(work, &bytes).unwrap();
    (memory, Placement { program, work })
}

/// A map transfer of region 1: `count` channels of `words` words, a whole plane from word 0.
pub(crate) fn map(opcode: Opcode, address: u32, words: u16, origin: u16, count: u16) -> Transfer {
    Transfer {
        opcode: opcode.code(),
        flags: transfer_flags::REGION_WORK,
        address: address.into(),
        pitch: (u32::from(words) * 16).into(),
        plane: words.into(),
        words: words.into(),
        origin: origin.into(),
        count: count.into(),
        ..Default::default()
    }
}

/// A program under construction.
pub(crate) struct Assembler {
    pub(crate) header: ProgramHeader,
    pub(crate) stream: Vec<u8>,
    /// What follows the stream: weights, parameters, tables.
    pub(crate) data: Vec<u8>,
}

impl Assembler {
    /// For an accelerator of these sizes.
    pub(crate) fn new(parameters: &Parameters, work_bytes: u32) -> Self {
        let mut header = ProgramHeader::new_zeroed();
        header.magic = program::MAGIC;
        header.version.set(VERSION_VALUE);
        header.rows.set(parameters.rows);
        header.lanes.set(parameters.lanes);
        header.bank_words.set(parameters.bank_words);
        header.weight_words.set(parameters.weight_words);
        header.param_entries.set(parameters.param_entries);
        header.axi_bytes.set(parameters.axi_bytes);
        header.drain_rows.set(parameters.drain_rows);
        header.work_bytes.set(work_bytes);
        header.watchdog.set(20_000);
        Self { header, stream: Vec::new(), data: Vec::new() }
    }

    pub(crate) fn push<T: IntoBytes + Immutable>(&mut self, command: &T) -> &mut Self {
        self.stream.extend_from_slice(command.as_bytes());
        self
    }

    /// END that waits for the whole of each queue.
    pub(crate) fn end(&mut self, loads: u16, execs: u16, stores: u16) -> Vec<u8> {
        let end = Control {
            opcode: Opcode::End.code(),
            wait_load: loads.into(),
            wait_exec: execs.into(),
            wait_store: stores.into(),
            ..Default::default()
        };
        self.stream.extend_from_slice(end.as_bytes());
        self.finish()
    }

    /// The program's bytes as they stand: header, stream, data.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let offset = size_of::<ProgramHeader>().next_multiple_of(UNIT);
        self.header.stream_offset.set(offset as u32);
        self.header.stream_bytes.set(self.stream.len() as u32);
        [self.header.as_bytes(), &self.stream, &self.data].concat()
    }

    /// Where [`Assembler::data`] will lie once `commands` bytes of stream are written.
    pub(crate) const fn data_offset(stream_bytes: usize) -> u32 {
        (size_of::<ProgramHeader>() + stream_bytes) as u32
    }
}

/// Rounds of random loads, then stores of what they brought, between random places of banks and
/// memory (`work` bytes, filled by the caller); each round waits for the one before.
pub(crate) fn random_transfers(rng: &mut ChaCha8Rng, work: u32) -> Vec<u8> {
    let mut program = Assembler::new(&PARAMETERS, work);
    let (mut loads, mut stores) = (0u16, 0u16);
    for _ in 0..rng.random_range(1..4) {
        let (earlier_loads, earlier_stores) = (loads, stores);
        for _ in 0..rng.random_range(1..5) {
            let wait = Transfer { wait_store: earlier_stores.into(), ..random_map(rng, work) };
            program.push(&Transfer { opcode: Opcode::LoadMap.code(), ..wait });
            loads += 1;
        }
        for _ in 0..rng.random_range(1..5) {
            let wait = Transfer { wait_load: loads.into(), ..random_map(rng, work) };
            program.push(&Transfer { opcode: Opcode::StoreMap.code(), ..wait });
            stores += 1;
        }
        assert!(loads > earlier_loads && stores > earlier_stores);
    }
    program.end(loads, 0, stores)
}

/// A legal map transfer of any shape.
fn random_map(rng: &mut ChaCha8Rng, work: u32) -> Transfer {
    let (words, count, origin) =
        (rng.random_range(1..12u16), rng.random_range(1..20u16), rng.random_range(0..20u16));
    let plane = words + rng.random_range(0..5);
    let groups = (origin + count - 1) / PARAMETERS.rows as u16 + 1;
    let first = rng.random_range(-20..20i16);
    let skipped = rng.random_range(0..=plane - words);
    let pitch = u32::from(words) * 16 + 16 * rng.random_range(0..3);
    let bytes = u32::from(count - 1) * pitch + u32::from(words) * 16;
    Transfer {
        flags: transfer_flags::REGION_WORK,
        address: (rng.random_range(0..=(work - bytes) / 8) * 8).into(),
        pitch: pitch.into(),
        base: rng.random_range(0..=PARAMETERS.bank_words as u16 - groups * plane).into(),
        plane: plane.into(),
        w_first: first.into(),
        pos_first: rng.random_range(0..plane).into(),
        word: (first + skipped.cast_signed()).into(),
        words: words.into(),
        origin: origin.into(),
        count: count.into(),
        ..Default::default()
    }
}
