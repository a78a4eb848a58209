//! The whole accelerator without time: registers, queues with waits, faults.

use std::collections::VecDeque;
use std::time::Duration;

use secateur_runtime::npu::isa::{Exec, Opcode, Parameters, Transfer, UNIT};
use secateur_runtime::npu::registers::{self, FaultCode};
use secateur_runtime::npu::stream::{Command, Commands, Queue};
use secateur_runtime::npu::{Bus, Counters};

use super::transfer::{Region, transfer};
use super::{OnChip, exec};
use crate::memory::{Memory, NoMemory};
use crate::random::Random;
use crate::simulator::{Event, Simulator};

/// Commands that the RTL's LOAD, EXEC and STORE queue hold at least.
const QUEUE_DEPTHS: [usize; 3] = [16, 5, 8];
/// FAULT_INFO of a stream fault: this bit and the unit's number.
const STREAM_FAULT: u32 = 1 << 31;

#[derive(Debug, Clone, Copy)]
enum Job {
    Load(Opcode, Transfer),
    Exec(Exec),
    Store(Transfer),
    End,
}

/// The accelerator, command by command. Queues run in any order that their waits allow, as the
/// RTL's do: results that depend on the order are faults of the program.
#[derive(Debug)]
pub struct Emulator {
    chip: OnChip,
    memory: Memory,
    registers: [u32; 64],
    frame: Option<Frame>,
    counters: Counters,
    schedule: Option<Random>,
}

#[derive(Debug)]
struct Frame {
    stream: Vec<u8>,
    /// Bytes of the stream that were taken into queues.
    taken: usize,
    ended: bool,
    queues: [VecDeque<(Job, [u16; 3])>; 3],
    finished: [u32; 3],
}

impl Emulator {
    pub fn new(parameters: Parameters, memory: Memory) -> Self {
        Self {
            chip: OnChip::new(parameters),
            memory,
            registers: [0; 64],
            frame: None,
            counters: Counters::default(),
            schedule: None,
        }
    }

    /// Picks among runnable queues by a random sequence from `seed` instead of LOAD, STORE, EXEC:
    /// shows missing waits.
    pub const fn shuffle(&mut self, seed: u64) {
        self.schedule = Some(Random::new(seed));
    }

    /// On-chip memories.
    pub const fn chip(&self) -> &OnChip {
        &self.chip
    }

    const fn register(&mut self, offset: u32) -> &mut u32 {
        &mut self.registers[(offset / 4) as usize % 64]
    }

    fn start(&mut self) {
        let address = *self.register(registers::STREAM_ADDRESS);
        let bytes = *self.register(registers::STREAM_BYTES) as usize;
        self.counters = Counters::default();
        *self.register(registers::STATUS) = registers::STATUS_BUSY;
        let stream = match self.memory.device_bytes(address, bytes) {
            Ok(stream) => stream.to_vec(),
            Err(error) => return self.fault(FaultCode::CommandRead, error.address),
        };
        self.counters.bytes_read = stream.len() as u32;
        self.frame =
            Some(Frame { stream, taken: 0, ended: false, queues: Default::default(), finished: [0; 3] });
    }

    fn is_idle(&mut self) -> bool {
        self.frame.is_none() && *self.register(registers::STATUS) & registers::STATUS_FAULT == 0
    }

    fn fault(&mut self, code: FaultCode, info: u32) {
        self.frame = None;
        *self.register(registers::STATUS) = registers::STATUS_FAULT;
        *self.register(registers::FAULT) = code as u32;
        *self.register(registers::FAULT_INFO) = info;
        *self.register(registers::INTERRUPT) |= 2;
    }

    fn done(&mut self) {
        self.frame = None;
        *self.register(registers::STATUS) = registers::STATUS_DONE;
        *self.register(registers::INTERRUPT) |= 1;
    }

    fn reset(&mut self) {
        self.frame = None;
        for register in [registers::STATUS, registers::FAULT, registers::FAULT_INFO, registers::INTERRUPT] {
            *self.register(register) = 0;
        }
    }

    /// The order in which queues are asked.
    const fn order(&mut self) -> [Queue; 3] {
        use Queue::{Exec, Load, Store};
        const ORDERS: [[Queue; 3]; 6] = [
            [Load, Store, Exec],
            [Exec, Load, Store],
            [Store, Exec, Load],
            [Load, Exec, Store],
            [Exec, Store, Load],
            [Store, Load, Exec],
        ];
        let Some(random) = &mut self.schedule else { return ORDERS[0] };
        ORDERS[random.next() as usize % ORDERS.len()]
    }

    /// Executes one command of any queue whose waits are satisfied.
    fn step(&mut self) -> Option<Event> {
        let order = self.order();
        let frame = self.frame.as_mut()?;
        if let Err(unit) = frame.fill() {
            self.fault(FaultCode::IllegalCommand, STREAM_FAULT | unit as u32);
            return None;
        }
        let Some(queue) = order.into_iter().find(|&queue| frame.is_ready(queue)) else {
            let idle = frame.queues.iter().all(VecDeque::is_empty);
            let units = frame.taken / UNIT;
            if idle {
                self.fault(FaultCode::IllegalCommand, STREAM_FAULT | units as u32);
            } else {
                let executed = frame.finished[Queue::Exec as usize];
                self.fault(FaultCode::Watchdog, executed);
            }
            return None;
        };
        let (job, _) = frame.queues[queue as usize].pop_front()?;
        let index = frame.finished[queue as usize];
        frame.finished[queue as usize] += 1;
        if let Err((code, address)) = self.execute(&job) {
            self.fault(code, address.unwrap_or(index));
            return None;
        }
        match queue {
            Queue::Load => self.counters.done_load += 1,
            Queue::Exec => self.counters.done_exec += 1,
            Queue::Store => self.counters.done_store += 1,
        }
        if matches!(job, Job::End) {
            self.done();
        }
        Some(Event { queue, index, start: 0, end: 0 })
    }

    fn execute(&mut self, job: &Job) -> Result<(), (FaultCode, Option<u32>)> {
        let region = |registers: &[u32; 64], at: u32| Region {
            base: registers[at as usize / 4],
            bytes: registers[at as usize / 4 + 1],
        };
        let regions =
            [registers::REGION0_BASE, registers::REGION1_BASE].map(|at| region(&self.registers, at));
        match job {
            Job::Load(opcode, command) => {
                let bytes = transfer(&mut self.chip, &mut self.memory, regions, *opcode, command)?;
                self.counters.bytes_read = self.counters.bytes_read.wrapping_add(bytes as u32);
            }
            Job::Store(command) => {
                let bytes = transfer(&mut self.chip, &mut self.memory, regions, Opcode::StoreMap, command)?;
                self.counters.bytes_written = self.counters.bytes_written.wrapping_add(bytes as u32);
            }
            Job::Exec(command) => {
                let stats = exec(&mut self.chip, command).map_err(|_| (FaultCode::IllegalCommand, None))?;
                self.counters.macs = self.counters.macs.wrapping_add(stats.busy as u32);
                self.counters.skipped = self.counters.skipped.wrapping_add(stats.skipped as u32);
            }
            Job::End => {}
        }
        Ok(())
    }
}

impl Frame {
    /// Moves commands from the stream into queues that have room, as far as END; the number of the
    /// unit that is no command.
    fn fill(&mut self) -> Result<(), usize> {
        while !self.ended && self.taken < self.stream.len() {
            let next = Commands::new(&self.stream[self.taken..]).next();
            let first = self.taken / UNIT;
            let Some(Ok(command)) = next else { return Err(first) };
            let queue = command.queue() as usize;
            if self.queues[queue].len() >= QUEUE_DEPTHS[queue] {
                break;
            }
            let job = match command {
                Command::Load(opcode, transfer) => Job::Load(opcode, *transfer),
                Command::Exec(exec) => Job::Exec(*exec),
                Command::Store(transfer) => Job::Store(*transfer),
                Command::End(_) => Job::End,
            };
            self.ended = matches!(job, Job::End);
            self.queues[queue].push_back((job, command.waits()));
            self.taken += command.bytes();
        }
        Ok(())
    }

    fn is_ready(&self, queue: Queue) -> bool {
        let Some((job, waits)) = self.queues[queue as usize].front() else { return false };
        let reached = |(&wait, &finished): (&u16, &u32)| {
            wait == 0 || (finished as u16).wrapping_sub(wait).cast_signed() >= 0
        };
        let others = [Queue::Load, Queue::Store].iter().all(|&q| self.queues[q as usize].is_empty());
        waits.iter().zip(&self.finished).all(reached) && (!matches!(job, Job::End) || others)
    }
}

impl Bus for Emulator {
    type Error = NoMemory;

    fn read_register(&mut self, offset: u32) -> Result<u32, NoMemory> {
        let (p, counters) = (self.chip.parameters, self.counters);
        Ok(match offset {
            registers::ID => registers::ID_VALUE,
            registers::VERSION => registers::VERSION_VALUE,
            registers::SHAPE => p.rows | p.lanes << 8 | p.axi_bytes << 16 | p.drain_rows << 24,
            registers::BANK_WORDS => p.bank_words,
            registers::WEIGHT_WORDS => p.weight_words,
            registers::PARAM_ENTRIES => p.param_entries,
            registers::MACS => counters.macs,
            registers::SKIPPED => counters.skipped,
            registers::BYTES_READ => counters.bytes_read,
            registers::BYTES_WRITTEN => counters.bytes_written,
            registers::DONE_LOAD => counters.done_load,
            registers::DONE_EXEC => counters.done_exec,
            registers::DONE_STORE => counters.done_store,
            _ => *self.register(offset),
        })
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), NoMemory> {
        match offset {
            registers::CONTROL if value & (registers::CONTROL_RESET | registers::CONTROL_FORGET) != 0 => {
                self.reset();
            }
            registers::CONTROL if value & registers::CONTROL_START != 0 && self.is_idle() => self.start(),
            registers::INTERRUPT => *self.register(offset) &= !value,
            registers::STREAM_ADDRESS | registers::STREAM_BYTES => {
                *self.register(offset) = value & !31;
            }
            registers::REGION0_BASE | registers::REGION1_BASE => *self.register(offset) = value & !15,
            registers::INTERRUPT_ENABLE
            | registers::WATCHDOG
            | registers::REGION0_BYTES
            | registers::REGION1_BYTES => *self.register(offset) = value,
            _ => {}
        }
        Ok(())
    }

    fn read_memory(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), NoMemory> {
        self.memory.read(address, bytes)
    }

    fn write_memory(&mut self, address: u32, bytes: &[u8]) -> Result<(), NoMemory> {
        self.memory.write(address, bytes)
    }

    /// Runs the frame to its end: it takes no time.
    fn wait_interrupt(&mut self, _limit: Duration) -> Result<bool, NoMemory> {
        while self.next_event().is_some() {}
        let raised = *self.register(registers::INTERRUPT) & *self.register(registers::INTERRUPT_ENABLE);
        Ok(raised != 0)
    }
}

impl Simulator for Emulator {
    fn next_event(&mut self) -> Option<Event> {
        self.step()
    }

    fn bank_word(&self, bank: usize, address: usize) -> [u8; 16] {
        self.chip.banks[bank][address]
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
}
