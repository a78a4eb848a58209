//! The RTL against the emulator, byte by byte, under random stalls.
#![cfg(feature = "rtl")]

mod common;

use std::time::Duration;

use common::{Assembler, memory, random_transfers};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::Program;
use secateur_runtime::npu::driver::Npu;
use secateur_sim::emulator::Emulator;
use secateur_sim::rtl::{Rtl, Timing};
use secateur_sim::{PARAMETERS, Simulator};

const WORK: u32 = 32 * 1024;
const LIMIT: Duration = Duration::from_millis(5);

/// Work memory after a frame of `program`.
fn frame<S: Simulator>(
    simulator: &mut S,
    program: &[u8],
    work: u32,
    place: secateur_runtime::npu::Placement,
) -> Vec<u8> {
    let mut npu = Npu::new(&mut *simulator, Program::new(program).unwrap(), place).unwrap();
    npu.start().unwrap();
    npu.wait(LIMIT).unwrap_or_else(|e| panic!("{e}"));
    let memory = simulator.memory();
    assert!(memory.strays().is_empty(), "{:?}", memory.strays());
    assert_eq!(memory.broken_guard(), None);
    let mut bytes = vec![0; work as usize];
    memory.read(place.work, &mut bytes).unwrap();
    bytes
}

fn assert_same(program: &[u8], timing: Timing, seed: u64) {
    let (memory, place) = memory(program.len(), WORK as usize, seed);
    let mut emulator = Emulator::new(PARAMETERS, memory.clone());
    let mut rtl = Rtl::new(memory, timing);
    let expected = frame(&mut emulator, program, WORK, place);
    let found = frame(&mut rtl, program, WORK, place);
    let differing = expected.iter().zip(&found).position(|(a, b)| a != b);
    assert_eq!(differing, None, "seed {seed}: work memory");
    for bank in 0..PARAMETERS.rows as usize {
        for address in 0..PARAMETERS.bank_words as usize {
            let (expected, found) = (emulator.bank_word(bank, address), rtl.bank_word(bank, address));
            assert_eq!(expected, found, "seed {seed}: bank {bank}, word {address}");
        }
    }
}

#[test]
fn an_empty_frame_ends() {
    assert_same(&Assembler::new(&PARAMETERS, WORK).end(0, 0, 0), Timing::default(), 1);
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
        assert_same(&program, timing, seed);
    }
}
