//! Commands and programs that no compiler writes: a fault, or a result; never a panic, and never memory
//! beyond what the sizes of the accelerator ask for.

mod common;

use std::time::Duration;

use common::{Assembler, memory};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::isa::{ArrayMode, Exec, Opcode, Parameters, Transfer};
use secateur_runtime::npu::{Bus, Npu, Program, registers};
use secateur_sim::Memory;
use secateur_sim::emulator::{Emulator, OnChip, exec};
use secateur_sim::memory::Access;
use zerocopy::FromZeros;
use zerocopy::IntoBytes;

const SMALL: Parameters = Parameters {
    rows: 4,
    lanes: 8,
    bank_words: 64,
    weight_words: 256,
    param_entries: 64,
    axi_bytes: 4,
    drain_rows: 2,
};
const WORK: u32 = 4096;

/// A field's value: small, extreme, or any.
fn value(rng: &mut impl Rng) -> u16 {
    match rng.random_range(0..8) {
        0..4 => rng.random_range(0..6),
        4 => rng.random_range(0..80),
        5 => [0x7fff, 0x8000, 0xffff][rng.random_range(0..3)],
        6 => 1 << rng.random_range(0..16),
        _ => rng.random(),
    }
}

/// A small command that the accelerator does, but for a few fields drawn by [`value`].
fn any_exec(rng: &mut impl Rng) -> Exec {
    let row_mode = rng.random_bool(0.5);
    let (width, height) = (rng.random_range(1..20u16), rng.random_range(1..4u16));
    let lanes = SMALL.lanes as u16;
    let mut exec = Exec {
        opcode: Opcode::Exec.code(),
        flags: u8::from(row_mode),
        mode: rng.random_range(0..ArrayMode::ALL.len() as u8),
        k: rng.random_range(1..3),
        stride: 1,
        dilation: 1,
        window_words: 3,
        lo: -128,
        hi: 127,
        shift_add: 1,
        in_plane: 8.into(),
        in_channels: 3.into(),
        in_h: height.into(),
        in_w: width.into(),
        out_base: 32.into(),
        out_plane: 16.into(),
        out_channels: rng.random_range(1..6).into(),
        out_w: width.into(),
        tiles: if row_mode { width.div_ceil(lanes) } else { (width * height).div_ceil(lanes) }.into(),
        rows: if row_mode { height } else { 1 }.into(),
        res_plane: 8.into(),
        lane_step_x: (lanes % width).into(),
        lane_step_y: (lanes / width).into(),
        ..Exec::new_zeroed()
    };
    let fields = exec.as_mut_bytes();
    for _ in 0..rng.random_range(0..4) {
        // Fields of two bytes begin at even offsets, and behind the first eight are no waits.
        let at = rng.random_range(4..fields.len() / 2) * 2;
        match rng.random_range(0..3) {
            0 => fields[at..at + 2].copy_from_slice(&value(rng).to_le_bytes()),
            1 => fields[at] = value(rng) as u8,
            _ => fields[at + 1] = value(rng) as u8,
        }
    }
    if rng.random_bool(0.2) {
        exec.flags ^= 1 << rng.random_range(0..6);
    }
    exec
}

#[test]
fn any_command_ends() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let mut chip = OnChip::new(SMALL);
    let (mut done, mut refused) = (0, 0);
    for round in 0..100_000 {
        if round % 100 == 0 {
            chip.weights.iter_mut().for_each(|(weights, control)| {
                rng.fill(weights);
                *control = rng.random();
            });
            for channel in &mut chip.channels {
                channel.bias.set(rng.random());
                channel.m_pos.set(rng.random_range(-(1 << 17) + 1..1 << 17));
                channel.shift = if rng.random_bool(0.9) { rng.random_range(1..48) } else { rng.random() };
            }
        }
        match exec(&mut chip, &any_exec(rng)) {
            Ok(_) => done += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(done > 5000 && refused > 5000, "{done} done, {refused} refused");
}

#[test]
fn any_stream_ends() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let (mut done, mut faults) = (0, 0);
    for round in 0..3000 {
        let mut program = Assembler::new(&SMALL, WORK);
        program.header.watchdog.set(100);
        let mut finished = [0u16; 3];
        for _ in 0..rng.random_range(0..6) {
            let opcodes = [Opcode::LoadMap, Opcode::LoadWeights, Opcode::LoadParams, Opcode::LoadTable];
            let mut transfer = Transfer::new_zeroed();
            for pair in transfer.as_mut_bytes().chunks_mut(2).skip(4) {
                pair.copy_from_slice(&value(rng).to_le_bytes());
            }
            transfer.flags = rng.random_range(0..16);
            transfer.address.set(u32::from(value(rng)) & !7);
            transfer.pitch.set(if rng.random_bool(0.7) { 16 * rng.random_range(0..9) } else { rng.random() });
            match rng.random_range(0..3) {
                0 => {
                    transfer.opcode = opcodes[rng.random_range(0..4)].code();
                    finished[0] += 1;
                    program.push(&transfer);
                }
                1 => {
                    transfer.opcode = Opcode::StoreMap.code();
                    finished[2] += 1;
                    program.push(&transfer);
                }
                _ => {
                    let mut exec = any_exec(rng);
                    (exec.wait_load, exec.wait_exec, exec.wait_store) = Default::default();
                    finished[1] += 1;
                    program.push(&exec);
                }
            }
        }
        let bytes = program.end(finished[0], finished[1], finished[2]);
        let (memory, placement) = memory(bytes.len(), WORK as usize, round);
        let mut emulator = Emulator::new(SMALL, memory);
        emulator.shuffle(round);
        let mut npu = Npu::new(&mut emulator, Program::new(&bytes).unwrap(), placement).unwrap();
        match npu.start().and_then(|()| npu.wait(Duration::from_millis(1))) {
            Ok(()) => done += 1,
            Err(_) => faults += 1,
        }
    }
    assert!(done > 100 && faults > 100, "{done} done, {faults} faults");
}

#[test]
fn registers_take_any_value() {
    let mut memory = Memory::new();
    let address = memory.allocate(64, Access::ReadWrite);
    let mut emulator = Emulator::new(SMALL, memory);
    for bytes in [64, u32::MAX, 1 << 31] {
        for base in [address, 0, u32::MAX] {
            emulator.write_register(registers::CONTROL, registers::CONTROL_RESET).unwrap();
            emulator.write_register(registers::STREAM_ADDRESS, base).unwrap();
            emulator.write_register(registers::STREAM_BYTES, bytes).unwrap();
            emulator.write_register(registers::REGION1_BASE, u32::MAX).unwrap();
            emulator.write_register(registers::REGION1_BYTES, u32::MAX).unwrap();
            emulator.write_register(registers::CONTROL, registers::CONTROL_START).unwrap();
            emulator.wait_interrupt(Duration::ZERO).unwrap();
            let status = emulator.read_register(registers::STATUS).unwrap();
            assert_eq!(status & registers::STATUS_FAULT, registers::STATUS_FAULT, "{base:#x}, {bytes:#x}");
        }
    }
}

#[test]
#[should_panic(expected = "no accelerator has lanes = 32")]
fn sizes_are_checked_before_memory_is_taken() {
    let _ = OnChip::new(Parameters { lanes: 32, ..SMALL });
}
