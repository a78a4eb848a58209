//! The RTL under Verilator behind the driver's bus.

mod axi;
mod model;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use secateur_runtime::npu::registers;
use secateur_runtime::npu::stream::Queue;
use secateur_runtime::npu::{Bus, Counters};

pub use axi::{BusFault, Channel, Timing};

use crate::PARAMETERS;
use crate::memory::{Memory, NoMemory};
use crate::random::Random;
use crate::simulator::{Event, Simulator};
use axi::Axi;
use model::{Inputs, Model, Outputs};

/// Nominal clock, for time-outs that the driver states in seconds.
pub const CLOCK_HZ: u64 = 100_000_000;
/// Cycles that a control access may take; the core answers in two.
const ACCESS_LIMIT: u32 = 64;

const QUEUES: [Queue; 3] = [Queue::Load, Queue::Exec, Queue::Store];

/// The whole accelerator in RTL with its memory.
#[derive(Debug)]
pub struct Rtl {
    model: Model,
    memory: Memory,
    axi: Axi,
    /// Stalls of whoever reads and writes registers.
    stalls: (Random, u32),
    inputs: Inputs,
    outputs: Outputs,
    /// Cycles since the last start.
    cycle: u64,
    /// Cycles since the beginning.
    total: u64,
    /// Per queue: taken and not yet finished commands by their first cycle; finished commands.
    taken: [VecDeque<u64>; 3],
    finished: [u32; 3],
    events: VecDeque<Event>,
    waves: Option<(CString, Range<u64>)>,
}

impl Rtl {
    /// A core after reset.
    pub fn new(memory: Memory, timing: Timing) -> Self {
        let mut rtl = Self {
            model: Model::new(),
            memory,
            axi: Axi::new(timing),
            stalls: (Random::new(!timing.seed), timing.stalls),
            inputs: Inputs::default(),
            outputs: Outputs::default(),
            cycle: 0,
            total: 0,
            taken: Default::default(),
            finished: [0; 3],
            events: VecDeque::new(),
            waves: None,
        };
        rtl.reset();
        rtl
    }

    /// Holds the reset line for some cycles.
    fn reset(&mut self) {
        self.inputs = Inputs { rst: true, ..Inputs::default() };
        for _ in 0..4 {
            self.step();
        }
        self.inputs.rst = false;
    }

    /// Resets the accelerator and its memory: what was under way on the bus is forgotten by both.
    pub fn hard_reset(&mut self) {
        self.axi.inject(Some(BusFault::Reset));
        self.reset();
        self.axi.inject(None);
    }

    /// Level of the interrupt line.
    pub const fn interrupt(&self) -> bool {
        self.outputs.irq != 0
    }

    /// Injects a bus fault whose numbers count from now; `None` ends it. The memory is reset: it forgets what it
    /// still had to do, so the accelerator must be at rest, or be told to forget it too.
    pub fn inject(&mut self, fault: Option<BusFault>) {
        self.axi.inject(fault);
    }

    /// Ends [`BusFault::Silence`] and [`BusFault::SilentChannel`]: the memory answers all that it has not
    /// answered yet.
    pub const fn wake(&mut self) {
        self.axi.wake();
    }

    /// Bursts that memory has accepted and not ended: reads, writes that lack data, writes that lack their answer.
    pub fn owed(&self) -> [usize; 3] {
        self.axi.owed()
    }

    /// Writes waves of these cycles of each coming frame to an FST file; the last frame stays.
    pub fn record(&mut self, path: &Path, cycles: Range<u64>) -> io::Result<()> {
        // Verilator only reports to the console: see here whether the file can be written.
        std::fs::File::create(path)?;
        let text = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        self.waves = Some((CString::new(text)?, cycles));
        Ok(())
    }

    /// Cycles since the last start of a frame.
    pub const fn cycle(&self) -> u64 {
        self.cycle
    }

    /// Cycles simulated so far.
    pub const fn total_cycles(&self) -> u64 {
        self.total
    }

    /// One clock cycle.
    pub fn step(&mut self) {
        if let Some((path, cycles)) = &self.waves {
            if self.cycle == cycles.start {
                self.model.open_waves(path);
            } else if self.cycle == cycles.end {
                self.model.close_waves();
            }
        }
        self.axi.drive(&mut self.memory, &mut self.inputs);
        self.outputs = self.model.cycle(&self.inputs);
        self.axi.settle(&mut self.memory, &mut self.inputs, &self.outputs);
        self.note_events();
        self.cycle += 1;
        self.total += 1;
    }

    fn note_events(&mut self) {
        if self.outputs.event_taken | self.outputs.event_finished == 0 {
            return;
        }
        for queue in QUEUES {
            let (index, bit) = (queue as usize, 1 << queue as u8);
            if self.outputs.event_taken & bit != 0 {
                self.taken[index].push_back(self.cycle);
            }
            if self.outputs.event_finished & bit != 0 {
                let start = self.taken[index].pop_front().unwrap_or(self.cycle);
                self.events.push_back(Event { queue, index: self.finished[index], start, end: self.cycle });
                self.finished[index] += 1;
            }
        }
    }

    /// The one that wanted the answer is not ready for it yet.
    fn dawdle(&mut self) {
        while self.stalls.0.chance(self.stalls.1) {
            self.step();
        }
    }

    /// Steps until `ready`, at most for an access's time.
    fn access(&mut self, offset: u32, ready: impl Fn(&Outputs) -> bool) -> Result<(), NoMemory> {
        for _ in 0..ACCESS_LIMIT {
            self.step();
            if ready(&self.outputs) {
                return Ok(());
            }
        }
        Err(NoMemory { address: offset, bytes: 4 })
    }
}

impl Bus for Rtl {
    type Error = NoMemory;

    fn read_register(&mut self, offset: u32) -> Result<u32, NoMemory> {
        self.inputs.s_axi_araddr = offset as u8;
        self.inputs.s_axi_arvalid = true;
        let accepted = self.access(offset, |outputs| outputs.s_axi_arready != 0);
        self.inputs.s_axi_arvalid = false;
        accepted?;
        self.dawdle();
        self.inputs.s_axi_rready = true;
        let answered = self.access(offset, |outputs| outputs.s_axi_rvalid != 0);
        self.inputs.s_axi_rready = false;
        answered?;
        Ok(self.outputs.s_axi_rdata)
    }

    fn write_register(&mut self, offset: u32, value: u32) -> Result<(), NoMemory> {
        self.inputs.s_axi_awaddr = offset as u8;
        self.inputs.s_axi_wdata = value;
        (self.inputs.s_axi_awvalid, self.inputs.s_axi_wvalid) = (true, true);
        let accepted = self.access(offset, |outputs| outputs.s_axi_awready != 0);
        (self.inputs.s_axi_awvalid, self.inputs.s_axi_wvalid) = (false, false);
        accepted?;
        if offset == registers::CONTROL {
            self.cycle = 0;
            self.events.clear();
            self.finished = [0; 3];
            self.taken.iter_mut().for_each(VecDeque::clear);
        }
        self.dawdle();
        self.inputs.s_axi_bready = true;
        let answered = self.access(offset, |outputs| outputs.s_axi_bvalid != 0);
        self.inputs.s_axi_bready = false;
        answered
    }

    fn read_memory(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), NoMemory> {
        self.memory.read(address, bytes)
    }

    fn write_memory(&mut self, address: u32, bytes: &[u8]) -> Result<(), NoMemory> {
        self.memory.write(address, bytes)
    }

    fn wait_interrupt(&mut self, limit: Duration) -> Result<bool, NoMemory> {
        let cycles = limit.as_nanos() * u128::from(CLOCK_HZ) / 1_000_000_000;
        for _ in 0..cycles {
            if self.outputs.irq != 0 {
                return Ok(true);
            }
            self.step();
        }
        Ok(self.outputs.irq != 0)
    }
}

impl Simulator for Rtl {
    fn next_event(&mut self) -> Option<Event> {
        loop {
            // The last word of a command is written a cycle after the command is done.
            if self.outputs.irq != 0 || self.events.front().is_some_and(|event| self.cycle > event.end + 1) {
                return self.events.pop_front();
            }
            self.step();
        }
    }

    fn bank_word(&self, bank: usize, address: usize) -> [u8; 16] {
        assert!(bank < PARAMETERS.rows as usize && address < PARAMETERS.bank_words as usize);
        self.model.bank_word(bank as u32, address as u32)
    }

    fn counters(&self) -> Counters {
        self.model.counters()
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
}
