//! Transfers, queues and faults of the emulator, through the driver.

mod common;

use std::time::Duration;

use common::{Assembler, map, memory};
use secateur_runtime::npu::driver::{Error, Npu};
use secateur_runtime::npu::isa::{Opcode, Parameters, Transfer, transfer_flags};
use secateur_runtime::npu::program::Program;
use secateur_runtime::npu::registers::FaultCode;
use secateur_sim::emulator::Emulator;
use secateur_sim::{Simulator, memory::NoMemory};

const PARAMETERS: Parameters = Parameters::NPU_8X16;
const WORK: usize = 8192;
const LIMIT: Duration = Duration::from_millis(1);

/// Runs a program over random work memory; the work region before and after, or the error.
fn run(program: &[u8], seed: u64) -> Result<(Vec<u8>, Vec<u8>), Error<NoMemory>> {
    let (memory, placement) = memory(program.len(), WORK, 7);
    let (mut before, mut after) = (vec![0; WORK], vec![0; WORK]);
    memory.read(placement.work, &mut before).unwrap();
    let mut emulator = Emulator::new(PARAMETERS, memory);
    emulator.shuffle(seed);
    let mut npu = Npu::new(&mut emulator, Program::new(program).unwrap(), placement)?;
    let result = npu.start().and_then(|()| npu.wait(LIMIT));
    let memory = emulator.memory();
    assert!(memory.strays().is_empty() && memory.broken_guard().is_none());
    memory.read(placement.work, &mut after).unwrap();
    result.map(|()| (before, after))
}

fn fault(program: &[u8]) -> (FaultCode, u32) {
    match run(program, 0) {
        Err(Error::Fault { code, info }) => (code, info),
        other => panic!("expected a fault, not {other:?}"),
    }
}

#[test]
fn maps_go_through_the_banks() {
    for seed in 0..20 {
        let mut program = Assembler::new(&PARAMETERS, WORK as u32);
        let load = Transfer { base: 5.into(), ..map(Opcode::LoadMap, 0, 3, 6, 21) };
        program.push(&load);
        // Words 1 and 2 of channels 4 to 20, at another pitch.
        let store = Transfer {
            opcode: Opcode::StoreMap.code(),
            wait_load: 1.into(),
            address: 4096.into(),
            pitch: 64.into(),
            word: 1.into(),
            words: 2.into(),
            origin: 10.into(),
            count: 17.into(),
            ..load
        };
        program.push(&store);
        let (before, after) = run(&program.end(1, 0, 1), seed).unwrap();
        assert_eq!(after[..4096], before[..4096]);
        for channel in 0..17 {
            let (to, from) = (4096 + channel * 64, (channel + 4) * 48 + 16);
            assert_eq!(after[to..to + 32], before[from..from + 32], "channel {channel}");
            assert_eq!(after[to + 32..to + 64], before[to + 32..to + 64], "behind channel {channel}");
        }
    }
}

#[test]
fn rings_wrap() {
    let mut program = Assembler::new(&PARAMETERS, WORK as u32);
    let ring = |transfer: Transfer| Transfer {
        plane: 5.into(),
        w_first: 30.into(),
        pos_first: 3.into(),
        word: 31.into(),
        ..transfer
    };
    // Map words 31 to 34 lie at positions 4, 0, 1, 2: seen flat they begin with the second word.
    program.push(&ring(map(Opcode::LoadMap, 0, 4, 0, 8)));
    let flat = Transfer { plane: 5.into(), wait_load: 1.into(), ..map(Opcode::StoreMap, 4096, 4, 0, 8) };
    program.push(&Transfer { words: 3.into(), ..flat });
    program.push(&Transfer { wait_store: 1.into(), ..ring(Transfer { address: 6144.into(), ..flat }) });
    let (before, after) = run(&program.end(1, 0, 2), 0).unwrap();
    for channel in 0..8 {
        let at = channel * 64;
        assert_eq!(after[4096 + at..4096 + at + 48], before[at + 16..at + 64]);
        assert_eq!(after[6144 + at..6144 + at + 64], before[at..at + 64]);
    }
}

#[test]
fn weights_parameters_and_tables_reach_their_memories() {
    let mut program = Assembler::new(&PARAMETERS, 64);
    let entry = |opcode: Opcode, offset: usize, base: u16, words: u16| Transfer {
        opcode: opcode.code(),
        address: (Assembler::data_offset(6 * 32) + offset as u32).into(),
        base: base.into(),
        words: words.into(),
        ..Default::default()
    };
    program.data = (0..1024u32).map(|i| (i * 7 + i / 256) as u8).collect();
    program.push(&entry(Opcode::LoadWeights, 0, 6142, 4));
    let sparse = entry(Opcode::LoadWeights, 32, 100, 11);
    program.push(&Transfer { flags: transfer_flags::SPARSE, ..sparse });
    program.push(&entry(Opcode::LoadParams, 256, 1023, 2));
    let table = entry(Opcode::LoadTable, 512, 0, 0);
    program.push(&Transfer { flags: transfer_flags::TABLE_SELECT, ..table });
    program.push(&entry(Opcode::LoadTable, 768, 0, 0));
    let data = program.data.clone();
    let bytes = program.end(5, 0, 0);
    let (memory, placement) = memory(bytes.len(), 64, 1);
    let mut emulator = Emulator::new(PARAMETERS, memory);
    let mut npu = Npu::new(&mut emulator, Program::new(&bytes).unwrap(), placement).unwrap();
    npu.start().and_then(|()| npu.wait(LIMIT)).unwrap();
    assert_eq!(
        npu.counters().unwrap().bytes_read as usize,
        bytes.len() - data.len() - 64 + 32 + 104 + 32 + 512
    );
    let chip = emulator.chip();
    let word = |at: usize| -> [i8; 16] {
        std::array::from_fn(|row| if row < 8 { data[at + row].cast_signed() } else { 0 })
    };
    assert_eq!(chip.weights[6142], (word(0), 0));
    assert_eq!(chip.weights[1], (word(24), 0));
    assert_eq!(chip.weights[107], (word(32 + 64), data[32 + 7]));
    assert_eq!(chip.weights[110], (word(32 + 72 + 24), data[32 + 72 + 2]));
    assert_eq!(chip.channels[0].m_pos.get().to_le_bytes(), data[256 + 20..256 + 24]);
    assert_eq!(chip.tables[1][200], data[512 + 200].cast_signed());
    assert_eq!(chip.tables[0][255], data[768 + 255].cast_signed());
}

#[test]
fn unsound_commands_are_named() {
    let one = |transfer: Transfer| {
        let mut program = Assembler::new(&PARAMETERS, WORK as u32);
        program.push(&map(Opcode::LoadMap, 0, 1, 0, 1));
        program.push(&transfer);
        program.end(2, 0, 0)
    };
    let good = map(Opcode::LoadMap, 0, 16, 0, 8);
    run(&one(good), 0).unwrap();
    let illegal = [
        Transfer { address: 4.into(), ..good },
        Transfer { pitch: 24.into(), ..good },
        Transfer { count: 0.into(), ..good },
        Transfer { words: 0.into(), ..good },
        Transfer { pos_first: 16.into(), ..good },
        Transfer { word: 1.into(), ..good },
        Transfer { word: (-1).into(), ..good },
        Transfer { base: 1009.into(), ..good },
        Transfer { origin: 512.into(), ..good },
    ];
    for transfer in illegal {
        assert_eq!(fault(&one(transfer)), (FaultCode::IllegalCommand, 1), "{transfer:?}");
    }
    let strays = [
        Transfer { address: 8192.into(), ..good },
        Transfer { address: (8192 - 7 * 256 - 248).into(), ..good },
        Transfer { address: 0xffff_fff8.into(), ..good },
        Transfer { pitch: 0x8000_0000.into(), ..good },
        Transfer { flags: 0, ..good },
    ];
    for transfer in strays {
        assert_eq!(fault(&one(transfer)), (FaultCode::OutOfRegion, 1), "{transfer:?}");
    }
    let mut program = Assembler::new(&PARAMETERS, WORK as u32);
    let store = Transfer { flags: 0, ..map(Opcode::StoreMap, 0, 1, 0, 1) };
    program.push(&store);
    assert_eq!(fault(&program.end(0, 0, 1)), (FaultCode::OutOfRegion, 0), "region 0 is read only");
}

#[test]
fn unsound_streams_are_named() {
    let mut program = Assembler::new(&PARAMETERS, WORK as u32);
    program.push(&map(Opcode::LoadMap, 0, 1, 0, 1));
    assert_eq!(fault(&program.finish()), (FaultCode::IllegalCommand, 1 << 31 | 1), "no END");
    program.push(&Transfer { opcode: 0x77, ..Default::default() });
    assert_eq!(fault(&program.end(1, 0, 0)), (FaultCode::IllegalCommand, 1 << 31 | 1), "opcode");
    let mut program = Assembler::new(&PARAMETERS, WORK as u32);
    program.push(&Transfer { wait_store: 1.into(), ..map(Opcode::LoadMap, 0, 1, 0, 1) });
    assert_eq!(fault(&program.end(1, 0, 0)).0, FaultCode::Watchdog, "waits for ever");
}

#[test]
fn a_program_for_other_sizes_is_refused() {
    let bytes = Assembler::new(&PARAMETERS, 64).end(0, 0, 0);
    let (memory, placement) = memory(bytes.len(), 64, 1);
    let parameters = Parameters { bank_words: 512, ..PARAMETERS };
    let emulator = Emulator::new(parameters, memory);
    let refused = Npu::new(emulator, Program::new(&bytes).unwrap(), placement).err();
    let expected = Error::Parameters { accelerator: parameters, program: PARAMETERS };
    assert_eq!(refused, Some(expected));
}
