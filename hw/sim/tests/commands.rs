//! Random commands of every mode through the whole accelerator: weights, parameters, tables and maps loaded
//! from memory, more maps moved meanwhile; every byte against the emulator.
#![cfg(feature = "rtl")]

mod common;
#[path = "core/generate.rs"]
#[allow(dead_code, reason = "the core's tests use the rest")]
mod generate;
mod machine;

use common::Assembler;
use generate::{Choice, SPARE};
use machine::assert_same;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::isa::{ArrayMode, Exec, Opcode, Transfer, UNIT, transfer_flags};
use secateur_sim::PARAMETERS;
use secateur_sim::emulator::OnChip;
use secateur_sim::rtl::Timing;
use zerocopy::IntoBytes;

const WORK: u32 = 32 * 1024;

const PLAIN: Choice = Choice {
    mode: ArrayMode::Dense,
    kernels: &[1, 3],
    row_mode: None,
    sparse: false,
    residual: false,
    table: false,
    upsample: false,
};

const KINDS: &[Choice] = &[
    PLAIN,
    Choice { residual: true, ..PLAIN },
    Choice { mode: ArrayMode::Depthwise, kernels: &[3, 5], ..PLAIN },
    Choice { mode: ArrayMode::Maximum, kernels: &[2, 5], ..PLAIN },
    Choice { mode: ArrayMode::Average, kernels: &[1], ..PLAIN },
    Choice { mode: ArrayMode::Pass, kernels: &[1], residual: true, table: true, ..PLAIN },
];

/// A stream of commands and the data behind it.
#[derive(Default)]
struct Builder {
    commands: Vec<u8>,
    data: Vec<u8>,
    /// Transfers whose data are behind the stream, by the place of their address in it.
    addresses: Vec<(usize, usize)>,
    loads: u16,
}

impl Builder {
    fn load(&mut self, transfer: &Transfer, bytes: &[u8]) {
        self.addresses.push((self.commands.len() + std::mem::offset_of!(Transfer, address), self.data.len()));
        self.commands.extend_from_slice(transfer.as_bytes());
        self.data.extend_from_slice(bytes);
        self.loads += 1;
    }

    /// Everything that lies in the chip, weights and parameters from a random entry on, round the end.
    fn memories(&mut self, rng: &mut ChaCha8Rng, chip: &OnChip, sparse: bool) {
        let lanes = PARAMETERS.lanes as usize;
        let maps: Vec<u8> = chip.banks.iter().flatten().flat_map(|word| &word[..lanes]).copied().collect();
        let words = PARAMETERS.bank_words as u16;
        let map = Transfer { count: (PARAMETERS.rows as u16).into(), ..spare(words, 0) };
        self.load(&Transfer { flags: 0, opcode: Opcode::LoadMap.code(), ..map }, &maps);

        let first = rng.random_range(0..chip.weights.len());
        let weights: Vec<_> = chip.weights.iter().cycle().skip(first).take(chip.weights.len()).collect();
        let mut bytes = Vec::new();
        for block in weights.chunks(8) {
            if sparse {
                bytes.extend(block.iter().map(|(_, control)| control));
            }
            let word_bytes = PARAMETERS.weight_bytes() as usize;
            for (word, _) in block {
                let mut padded = [0; 16];
                padded[..word.len().min(16)].copy_from_slice(&word.as_bytes()[..word.len().min(16)]);
                bytes.extend_from_slice(&padded[..word_bytes]);
            }
        }
        let flags = if sparse { transfer_flags::SPARSE } else { 0 };
        self.load(&Transfer { flags, ..entries(Opcode::LoadWeights, first, weights.len()) }, &bytes);

        let first = rng.random_range(0..chip.channels.len());
        let channels = chip.channels.iter().cycle().skip(first).take(chip.channels.len());
        let bytes: Vec<u8> = channels.flat_map(|channel| channel.as_bytes()).copied().collect();
        self.load(&entries(Opcode::LoadParams, first, chip.channels.len()), &bytes);
        for (flags, table) in [(0, chip.tables[0]), (transfer_flags::TABLE_SELECT, chip.tables[1])] {
            self.load(&Transfer { flags, ..entries(Opcode::LoadTable, 0, 0) }, table.as_bytes());
        }
    }

    /// Program with its addresses; END waits for everything.
    fn finish(mut self, execs: u16, stores: u16) -> Vec<u8> {
        let data = Assembler::data_offset(self.commands.len() + UNIT);
        for (at, offset) in &self.addresses {
            self.commands[*at..*at + 4].copy_from_slice(&(data + *offset as u32).to_le_bytes());
        }
        let mut program = Assembler::new(&PARAMETERS, WORK);
        program.stream = self.commands;
        program.data = self.data;
        program.end(self.loads, execs, stores)
    }
}

/// A map transfer of whole planes from word `base` of the banks on.
fn spare(words: u16, base: u16) -> Transfer {
    Transfer {
        flags: transfer_flags::REGION_WORK,
        pitch: (u32::from(words) * PARAMETERS.lanes).into(),
        base: base.into(),
        plane: words.into(),
        words: words.into(),
        ..Default::default()
    }
}

/// LOAD of entries of a memory that is not a map.
fn entries(opcode: Opcode, base: usize, words: usize) -> Transfer {
    Transfer {
        opcode: opcode.code(),
        base: (base as u16).into(),
        words: (words as u16).into(),
        ..Default::default()
    }
}

/// A program: memories, then commands; beside them LOAD and STORE of words that no command touches.
fn program(seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chip = OnChip::new(PARAMETERS);
    generate::memories(&mut rng, &mut chip);
    // One sparse command: the lists of several would lie across each other.
    let sparse = seed.is_multiple_of(2);
    let mut commands: Vec<Exec> =
        KINDS.iter().map(|kind| generate::command(&mut rng, &mut chip, kind)).collect();
    if sparse {
        commands.push(generate::command(&mut rng, &mut chip, &Choice { sparse: true, ..PLAIN }));
    }
    let mut builder = Builder::default();
    builder.memories(&mut rng, &chip, sparse);
    let loaded = builder.loads;
    let mut stores = 0;
    for command in &mut commands {
        command.wait_load.set(loaded);
        builder.commands.extend_from_slice(command.as_bytes());
        let count = rng.random_range(1..=PARAMETERS.rows as u16);
        let map = Transfer { count: count.into(), ..spare(16, SPARE[0].start as u16) };
        let load = Transfer { opcode: Opcode::LoadMap.code(), ..map };
        builder.commands.extend_from_slice(load.as_bytes());
        builder.loads += 1;
        let map = Transfer { count: count.into(), ..spare(16, SPARE[1].start as u16) };
        let store = Transfer {
            opcode: Opcode::StoreMap.code(),
            address: (WORK / 2).into(),
            wait_load: loaded.into(),
            ..map
        };
        builder.commands.extend_from_slice(store.as_bytes());
        stores += 1;
    }
    builder.finish(commands.len() as u16, stores)
}

#[test]
fn random_commands_agree_with_the_emulator() {
    for seed in 0..6 {
        let stalls = [0, 10, 40][seed as usize % 3];
        assert_same(
            &program(seed),
            WORK,
            Timing { efficiency: 100, stalls, seed, ..Timing::default() },
            seed,
        );
    }
}
