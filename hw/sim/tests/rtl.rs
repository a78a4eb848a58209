//! The RTL against the emulator, byte by byte, under random stalls.
#![cfg(feature = "rtl")]

mod common;
mod machine;

use common::{Assembler, map, random_transfers};
use machine::assert_same;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::Bus;
use secateur_runtime::npu::isa::{Opcode, Transfer};
use secateur_runtime::npu::registers::{self, Access, REGISTERS};
use secateur_sim::rtl::{Rtl, Timing};
use secateur_sim::{Memory, PARAMETERS};

const WORK: u32 = 32 * 1024;
#[test]
fn an_empty_frame_ends() {
    assert_same(&Assembler::new(&PARAMETERS, WORK).end(0, 0, 0), WORK, Timing::default(), 1);
}

#[test]
fn random_transfers_agree_with_the_emulator() {
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let program = random_transfers(&mut rng, WORK);
        let timing = Timing {
            latency: rng.random_range(0..60),
            efficiency: rng.random_range(20..=100),
            stalls: [0, 30, 60, 90][seed as usize % 4],
            seed,
        };
        assert_same(&program, WORK, timing, seed);
    }
}

/// Transfers of many bursts from every place within a page: those that reach its end are cut there. The
/// memory refuses a burst that crosses it.
#[test]
fn bursts_end_at_4_kib() {
    let (words, channels) = (37, 3);
    for first in (0..4096).step_by(344) {
        let mut program = Assembler::new(&PARAMETERS, WORK);
        program.push(&map(Opcode::LoadMap, first, words, 0, channels));
        let store = map(Opcode::StoreMap, 4 * 4096 + first + 8, words, 0, channels);
        program.push(&Transfer { wait_load: 1.into(), ..store });
        assert_same(&program.end(1, 0, 1), WORK, Timing { stalls: 20, ..Timing::default() }, first.into());
    }
}

/// Registers hold what they were given, as far as they have bits for it; what cannot be written stays as it
/// was, and where there is no register zero is read. Answers wait for a reader that is not ready.
#[test]
fn registers_read_back() {
    let mut rtl = Rtl::new(Memory::new(), Timing { stalls: 50, ..Timing::default() });
    let held = |offset: u32| match offset {
        registers::INTERRUPT_ENABLE => 3,
        registers::STREAM_ADDRESS | registers::STREAM_BYTES => !31,
        registers::REGION0_BASE | registers::REGION1_BASE => !15,
        _ => u32::MAX,
    };
    let written = |register: &&registers::Register| register.access == Access::ReadWrite;
    let value = |offset: u32| 0x9e37_79b9_u32.wrapping_mul(offset + 1) | 1;
    let before: Vec<_> = REGISTERS.iter().map(|r| rtl.read_register(r.offset).unwrap()).collect();
    assert_eq!(before[..2], [registers::ID_VALUE, registers::VERSION_VALUE]);
    for register in REGISTERS.iter().filter(|r| r.access != Access::WriteOne) {
        rtl.write_register(register.offset, value(register.offset)).unwrap();
    }
    for (register, before) in REGISTERS.iter().zip(before) {
        let expected =
            if written(&register) { value(register.offset) & held(register.offset) } else { before };
        assert_eq!(rtl.read_register(register.offset).unwrap(), expected, "{}", register.name);
    }
    for offset in (0..256).step_by(4).filter(|at| REGISTERS.iter().all(|r| r.offset != *at)) {
        assert_eq!(rtl.read_register(offset).unwrap(), 0, "no register at {offset:#x}");
    }
}
