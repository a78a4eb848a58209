//! Runs one frame command by command and compares it with the runtime.

use std::time::Duration;

use secateur_runtime::npu::isa::{Opcode, Parameters, Transfer};
use secateur_runtime::npu::program::CommandRecord;
use secateur_runtime::npu::stream::{Command, Commands, Queue};
use secateur_runtime::npu::{Counters, Npu, Placement, Program};
use secateur_sim::emulator::transfer_bytes;
use secateur_sim::memory::Access;
use secateur_sim::{Memory, Simulator};

use super::compare::{self, Mismatch, RuntimeReference};
use super::fault::fault;
use crate::Deployed;
use secateur_base::{Error, Result};

/// Time on the simulation's own clock after which it counts as hung.
const LIMIT: Duration = Duration::from_secs(60);

/// A command of a frame and what it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedCommand {
    pub queue: Queue,
    /// Number of the Darknet layer that it is charged to.
    pub layer: usize,
    /// END: the frame's tail, which is no layer's.
    pub is_end: bool,
    /// Cycle in which it was taken, and in which it was finished.
    pub start: u64,
    pub end: u64,
    /// The same by the compiler's model.
    pub predicted: (u64, u64),
    /// Bytes over the bus.
    pub bytes: u64,
    /// EXEC: what the counters counted since the EXEC command before it.
    pub counters: Counters,
}

/// A frame that ran.
#[derive(Debug, Clone)]
pub struct SimulatedFrame {
    /// In the order in which they were finished; END is the last.
    pub commands: Vec<TimedCommand>,
    pub counters: Counters,
    /// SimulatedFrame's cycles by the compiler's model.
    pub predicted: u64,
    /// Bytes of layers that were compared with the runtime's.
    pub compared: u64,
    /// By layer: whether the accelerator ever holds its output as such.
    pub visible: Vec<bool>,
    /// The first difference; the frame stopped there.
    pub mismatch: Option<Mismatch>,
}

/// The artefact's program; an error where it has none.
pub fn program<'a>(deployed: &Deployed<'a>) -> Result<Program<'a>> {
    deployed.model().program().ok_or_else(|| {
        Error::new("the artefact has no program for an accelerator")
            .found(format!("target {}", deployed.model().target()))
            .help("compile it with `--target npu-8x16`")
    })
}

/// A memory with room for a program.
pub fn memory(program: &Program<'_>) -> (Memory, Placement) {
    let mut memory = Memory::new();
    let work = program.header().work_bytes.get() as usize;
    let placement = Placement {
        program: memory.allocate(program.bytes().len(), Access::ReadOnly),
        work: memory.allocate(work, Access::ReadWrite),
    };
    (memory, placement)
}

/// Runs one frame of `int8` (`[h][w][c]`) and compares what every EXEC command leaves on the chip,
/// and every output in memory, with the runtime. Stops at the first differing byte.
///
/// `observe` is told the cycle after each command. An error is a fault of the accelerator, or an
/// access outside its buffers.
pub fn frame<S: Simulator>(
    simulator: &mut S,
    deployed: &Deployed<'_>,
    placement: Placement,
    int8: &[i8],
    mut observe: impl FnMut(u64),
) -> Result<SimulatedFrame> {
    let program = program(deployed)?;
    let plan = PlannedStream::new(deployed, &program)?;
    let reference = RuntimeReference::new(deployed, int8);
    let mut frame = SimulatedFrame {
        commands: Vec::with_capacity(plan.commands.len()),
        counters: Counters::default(),
        predicted: program.header().cycles.get().into(),
        compared: 0,
        visible: vec![false; deployed.layer_count()],
        mismatch: None,
    };
    let mut npu = Npu::new(&mut *simulator, program, placement).map_err(fault)?;
    for map in program.inputs() {
        reference.write_input(&mut npu, map)?;
    }
    npu.start().map_err(fault)?;
    let mut before = Counters::default();
    while let Some(event) = npu.bus().next_event() {
        let (command, record) = plan.get(event.queue, event.index)?;
        let now = npu.bus().counters();
        let mut timed = TimedCommand {
            queue: event.queue,
            layer: record.layer.get().into(),
            is_end: matches!(command, Command::End(_)),
            start: event.start,
            end: event.end,
            predicted: (record.start.get().into(), record.end.get().into()),
            bytes: bytes(&program.parameters(), &command),
            counters: Counters::default(),
        };
        if let Command::Exec(exec) = command {
            timed.counters = difference(&now, &before);
            before = now;
            if let Some(tensor) = record.tensor() {
                let written = compare::Written { exec, tensor, channel: record.channel.get().into() };
                match reference.check(&**npu.bus(), &written, event) {
                    Ok((layer, bytes)) => {
                        frame.compared += bytes;
                        if let Some(seen) = layer.and_then(|layer| frame.visible.get_mut(layer)) {
                            *seen = true;
                        }
                    }
                    Err(mismatch) => {
                        frame.mismatch = Some(mismatch);
                        break;
                    }
                }
            }
        }
        frame.commands.push(timed);
        observe(event.end);
    }
    frame.counters = npu.bus().counters();
    if frame.mismatch.is_none() {
        npu.wait(LIMIT).map_err(fault)?;
        for map in program.outputs() {
            match reference.check_output(&mut npu, map)? {
                Ok(bytes) => frame.compared += bytes,
                Err(mismatch) => frame.mismatch = Some(mismatch),
            }
        }
    }
    let memory = simulator.memory();
    if let Some(stray) = memory.strays().first() {
        return Err(Error::new("the accelerator left its buffers").found(stray.to_string()));
    }
    if let Some(address) = memory.broken_guard() {
        return Err(Error::new(format!("the accelerator wrote a guard byte at {address:#010x}")));
    }
    Ok(frame)
}

/// The stream's commands with their records, by queue.
struct PlannedStream<'a> {
    commands: Vec<(Command<'a>, CommandRecord)>,
    /// By queue, places in `commands`.
    queues: [Vec<usize>; 3],
}

impl<'a> PlannedStream<'a> {
    fn new(deployed: &Deployed<'a>, program: &Program<'a>) -> Result<Self> {
        let trace = deployed.model().trace();
        let trace = trace.ok_or_else(|| {
            Error::new("the artefact has no trace of its commands")
                .help("compile it again without stripping it")
        })?;
        let mut commands = Vec::with_capacity(trace.len());
        let mut queues = <[Vec<usize>; 3]>::default();
        for (at, command) in Commands::new(program.stream()).enumerate() {
            let command = command
                .map_err(|bad| Error::new(format!("unit {} of the stream is no command", bad.unit)))?;
            let record = *trace.get(at).ok_or_else(|| Error::new("the trace is shorter than the stream"))?;
            queues[command.queue() as usize].push(at);
            commands.push((command, record));
        }
        Ok(Self { commands, queues })
    }

    fn get(&self, queue: Queue, index: u32) -> Result<(Command<'a>, CommandRecord)> {
        let at = self.queues[queue as usize].get(index as usize);
        at.and_then(|&at| self.commands.get(at))
            .copied()
            .ok_or_else(|| Error::new(format!("{queue:?} finished more commands than the stream has")))
    }
}

/// Bytes that a command moves over the bus.
fn bytes(parameters: &Parameters, command: &Command<'_>) -> u64 {
    let of = |opcode: Opcode, transfer: &Transfer| transfer_bytes(parameters, opcode, transfer);
    match command {
        Command::Load(opcode, transfer) => of(*opcode, transfer),
        Command::Store(transfer) => of(Opcode::StoreMap, transfer),
        Command::Exec(_) | Command::End(_) => 0,
    }
}

fn difference(now: &Counters, before: &Counters) -> Counters {
    Counters {
        cycles: now.cycles.wrapping_sub(before.cycles),
        macs: now.macs.wrapping_sub(before.macs),
        skipped: now.skipped.wrapping_sub(before.skipped),
        stall_load: now.stall_load.wrapping_sub(before.stall_load),
        stall_store: now.stall_store.wrapping_sub(before.stall_store),
        stall_drain: now.stall_drain.wrapping_sub(before.stall_drain),
        stall_residual: now.stall_residual.wrapping_sub(before.stall_residual),
        stall_command: now.stall_command.wrapping_sub(before.stall_command),
        bytes_read: now.bytes_read.wrapping_sub(before.bytes_read),
        bytes_written: now.bytes_written.wrapping_sub(before.bytes_written),
        done_load: now.done_load.wrapping_sub(before.done_load),
        done_exec: now.done_exec.wrapping_sub(before.done_exec),
        done_store: now.done_store.wrapping_sub(before.done_store),
    }
}
