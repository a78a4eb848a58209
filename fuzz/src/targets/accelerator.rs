//! Programs of the accelerator on its emulator: a result or a fault, never an access outside their regions.

use std::time::Duration;

use secateur_runtime::Engine;
use secateur_runtime::artefact::Model;
use secateur_runtime::npu::driver::Error;
use secateur_runtime::npu::isa::{Exec, Parameters, UNIT};
use secateur_runtime::npu::program::{MAGIC, ProgramHeader};
use secateur_runtime::npu::registers::VERSION_VALUE;
use secateur_runtime::npu::stream::{Command, Commands};
use secateur_runtime::npu::{Npu, Placement, Program};
use secateur_sim::emulator::Emulator;
use secateur_sim::memory::Access;
use secateur_sim::{Memory, Simulator};
use zerocopy::{FromZeros, IntoBytes};

use super::artefact::{is_small, resealed};
use crate::{Outcome, Target};

/// An artefact with a program: what is accepted runs a frame.
pub(super) const ACCELERATOR: Target = Target { name: "accelerator", run: accelerator, words: &[] };
/// Any command stream, which only the accelerator itself checks.
pub(super) const COMMANDS: Target = Target { name: "commands", run: commands, words: &[] };

/// A larger region is accepted but not worth running.
const WORK_LIMIT: u32 = 1 << 18;
/// Nor are more steps of the array.
const STEP_LIMIT: u64 = 1 << 18;
const LIMIT: Duration = Duration::from_secs(1);

/// The smallest accelerator.
const SMALL: Parameters = Parameters {
    rows: 4,
    lanes: 8,
    bank_words: 64,
    weight_words: 256,
    param_entries: 64,
    axi_bytes: 4,
    drain_rows: 2,
};

/// A memory with room for a program.
pub(super) fn memory(program: &Program<'_>) -> (Memory, Placement) {
    let mut memory = Memory::new();
    let work = program.header().work_bytes.get() as usize;
    let placement = Placement {
        program: memory.allocate(program.bytes().len(), Access::ReadOnly),
        work: memory.allocate(work, Access::ReadWrite),
    };
    (memory, placement)
}

/// Steps of the array that a command takes at most: one a tap and channel, tile and group.
fn steps(exec: &Exec, rows: u32) -> u64 {
    let [inputs, outputs, tiles, lines] =
        [exec.in_channels, exec.out_channels, exec.tiles, exec.rows].map(|field| u64::from(field.get()));
    let groups = outputs.div_ceil(rows.into()) + 1;
    (inputs.max(1) * groups * tiles * lines).saturating_mul(u64::from(exec.k) * u64::from(exec.k))
}

/// Whether a frame of the program takes little memory and time.
pub(super) fn is_quick(program: &Program<'_>) -> bool {
    let rows = program.parameters().rows;
    let steps = Commands::new(program.stream()).map(|command| match command {
        Ok(Command::Exec(exec)) => steps(exec, rows),
        _ => 0,
    });
    program.header().work_bytes.get() <= WORK_LIMIT && steps.fold(0, u64::saturating_add) <= STEP_LIMIT
}

fn accelerator(bytes: &[u8]) -> Outcome {
    let Some(bytes) = resealed(bytes) else { return Outcome::of(&"short") };
    let model = match Model::from_bytes(&bytes) {
        Ok(model) => model,
        Err(error) => return Outcome::refused(&error),
    };
    let Some(program) = model.program() else { return Outcome::of(&"no program") };
    if !is_small(&model) || !is_quick(&program) {
        return Outcome::of(&"large");
    }
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::new(&model, &mut arena).expect("the arena has its size");
    let (memory, placement) = memory(&program);
    let mut emulator = Emulator::new(program.parameters(), memory);
    let result = Npu::new(&mut emulator, program, placement)
        .expect("the emulator has the program's sizes")
        .run(&mut engine, LIMIT);
    clean(&mut emulator);
    match result {
        Ok(()) => Outcome::of(&Commands::new(program.stream()).count()),
        // No order of the queues ends in a deadlock, and nothing leaves its region.
        Err(Error::Fault { code, .. }) => {
            use secateur_runtime::npu::registers::FaultCode;
            assert!(code == FaultCode::IllegalCommand, "a checked program ends in {code}");
            Outcome::of(&"fault")
        }
        Err(error) => Outcome::refused(&error),
    }
}

fn commands(bytes: &[u8]) -> Outcome {
    const WORK: u32 = 4096;
    let stream = &bytes[..bytes.len() / UNIT * UNIT];
    let mut header = ProgramHeader::new_zeroed();
    header.magic = MAGIC;
    header.version.set(VERSION_VALUE);
    header.rows.set(SMALL.rows);
    header.lanes.set(SMALL.lanes);
    header.bank_words.set(SMALL.bank_words);
    header.weight_words.set(SMALL.weight_words);
    header.param_entries.set(SMALL.param_entries);
    header.axi_bytes.set(SMALL.axi_bytes);
    header.drain_rows.set(SMALL.drain_rows);
    header.work_bytes.set(WORK);
    header.stream_offset.set(size_of::<ProgramHeader>() as u32);
    header.stream_bytes.set(stream.len() as u32);
    let bytes = [header.as_bytes(), stream].concat();
    let Some(program) = Program::new(&bytes) else { return Outcome::of(&"no program") };
    if !is_quick(&program) {
        return Outcome::of(&"large");
    }
    let (memory, placement) = memory(&program);
    let mut emulator = Emulator::new(SMALL, memory);
    let mut npu = Npu::new(&mut emulator, program, placement).expect("the emulator has the program's sizes");
    let result = npu.start().and_then(|()| npu.wait(LIMIT));
    let finished =
        npu.counters().map(|c| [c.done_load, c.done_exec, c.done_store]).expect("registers are there");
    clean(&mut emulator);
    match result {
        Ok(()) => Outcome::of(&finished),
        Err(Error::Fault { code, .. }) => Outcome::of(&(code as u32, finished)),
        Err(error) => Outcome::refused(&error),
    }
}

/// Nothing was read or written outside the regions.
fn clean(emulator: &mut Emulator) {
    let memory = emulator.memory();
    assert!(memory.strays().is_empty(), "{:?}", memory.strays());
    assert_eq!(memory.broken_guard(), None);
}
