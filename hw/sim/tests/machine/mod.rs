//! The RTL beside the emulator.

use std::time::Duration;

use secateur_runtime::npu::driver::Npu;
use secateur_runtime::npu::{Placement, Program};
use secateur_sim::emulator::Emulator;
use secateur_sim::rtl::{Rtl, Timing};
use secateur_sim::{PARAMETERS, Simulator};

use crate::common::memory;

const LIMIT: Duration = Duration::from_millis(5);

/// Work memory after a frame of `program`.
fn frame<S: Simulator>(simulator: &mut S, program: &[u8], work: u32, place: Placement) -> Vec<u8> {
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

/// A frame of `program` in RTL and in the emulator leaves the same bytes in work memory and banks.
pub(crate) fn assert_same(program: &[u8], work: u32, timing: Timing, seed: u64) {
    let (memory, place) = memory(program.len(), work as usize, seed);
    let mut emulator = Emulator::new(PARAMETERS, memory.clone());
    let mut rtl = Rtl::new(memory, timing);
    let expected = frame(&mut emulator, program, work, place);
    let found = frame(&mut rtl, program, work, place);
    let differing = expected.iter().zip(&found).position(|(a, b)| a != b);
    assert_eq!(differing, None, "seed {seed}: work memory");
    for bank in 0..PARAMETERS.rows as usize {
        for address in 0..PARAMETERS.bank_words as usize {
            let (expected, found) = (emulator.bank_word(bank, address), rtl.bank_word(bank, address));
            assert_eq!(expected, found, "seed {seed}: bank {bank}, word {address}");
        }
    }
}
