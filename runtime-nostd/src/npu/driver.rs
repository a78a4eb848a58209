//! Runs frames on an accelerator.

use core::fmt;
use core::time::Duration;

use super::bus::Bus;
use super::isa::Parameters;
use super::program::{MapRecord, Program, REGION_ALIGNMENT};
use super::registers::{self, FaultCode};
use crate::artefact::Step;
use crate::artefact::format::Target;
use crate::engine::{Engine, Kernels};
use crate::tensor::Tensor;

/// Bytes that are gathered on the stack for one memory access.
const CHUNK: usize = 256;
/// Status reads after a soft reset before it counts as stuck. Each takes three cycles or more; at most 24 bursts
/// of 32 beats are outstanding.
const RESET_POLLS: u32 = 1 << 13;
/// Both bits of INTERRUPT.
const INTERRUPTS: u32 = 3;

/// Where a program's two regions lie, as bus addresses that are multiples of [`REGION_ALIGNMENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Region 0: room for [`Program::bytes`].
    pub program: u32,
    /// Region 1: room for the header's `work_bytes`.
    pub work: u32,
}

/// Why an accelerator did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The bus failed.
    Bus(E),
    /// There is no accelerator at the address.
    NotFound { id: u32 },
    /// The accelerator speaks another version of commands and registers.
    Version { found: u32 },
    /// The program was compiled for an accelerator of other sizes.
    Parameters { accelerator: Parameters, program: Parameters },
    /// A region is misaligned or leaves the 32-bit address space.
    Placement,
    /// A frame was started while another one, or a soft reset, is under way.
    Busy,
    /// The accelerator stopped; `info` is the address of a bus fault or the index of a command in
    /// its queue. A soft reset is due.
    Fault { code: FaultCode, info: u32 },
    /// The accelerator stopped with a code that this driver does not know.
    UnknownFault { code: u32, info: u32 },
    /// No interrupt within the time allowed. A soft reset is due.
    TimeOut,
    /// The soft reset does not end, since memory has not answered all transfers. It may still do so: another
    /// reset goes on waiting. Where memory has been reset too, [`forget`] is due.
    ResetStuck,
    /// A map and what is to be written to or read from it have different shapes.
    Shape,
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(error) => write!(f, "bus: {error}"),
            Self::NotFound { id } => write!(f, "no accelerator: its ID register reads {id:#010x}"),
            Self::Version { found } => {
                write!(f, "the accelerator has version {}.{}", found >> 16, found & 0xffff)?;
                write!(f, "; this driver speaks {}.x", registers::VERSION_VALUE >> 16)
            }
            Self::Parameters { accelerator, program } => {
                write!(f, "the program was compiled for {program}; the accelerator has {accelerator}")
            }
            Self::Placement => f.write_str("a region is misaligned or leaves the address space"),
            Self::Busy => f.write_str("a frame or a soft reset is under way"),
            Self::Fault { code, info } => match code {
                FaultCode::BusRead | FaultCode::BusWrite | FaultCode::CommandRead => {
                    write!(f, "accelerator fault: {code} at bus address {info:#010x}")
                }
                _ => write!(f, "accelerator fault: {code}, command {info} of its queue"),
            },
            Self::UnknownFault { code, info } => write!(f, "accelerator fault {code} ({info:#010x})"),
            Self::TimeOut => f.write_str("no interrupt within the time allowed"),
            Self::ResetStuck => {
                f.write_str("the soft reset waits for memory, which has not answered all transfers")
            }
            Self::Shape => f.write_str("a map of the program has another shape than its values"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}

/// What the last frame cost; see the registers of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub cycles: u32,
    pub macs: u32,
    pub skipped: u32,
    pub stall_load: u32,
    pub stall_store: u32,
    pub stall_drain: u32,
    pub stall_residual: u32,
    pub stall_command: u32,
    pub bytes_read: u32,
    pub bytes_written: u32,
    pub done_load: u32,
    pub done_exec: u32,
    pub done_store: u32,
}

/// An accelerator with a program in its memory.
#[derive(Debug)]
pub struct Npu<'p, B> {
    bus: B,
    program: Program<'p>,
    placement: Placement,
    watchdog: u32,
}

impl<'p, B: Bus> Npu<'p, B> {
    /// Identifies the accelerator, brings it to rest, and loads the program. Memory is left alone until the
    /// accelerator is at rest, since it may still write up to then.
    pub fn new(mut bus: B, program: Program<'p>, placement: Placement) -> Result<Self, Error<B::Error>> {
        let accelerator = identify(&mut bus)?;
        if accelerator != program.parameters() {
            return Err(Error::Parameters { accelerator, program: program.parameters() });
        }
        let work_bytes = program.header().work_bytes.get();
        let fits = |base: u32, bytes: u32| {
            base.is_multiple_of(REGION_ALIGNMENT) && base.checked_add(bytes).is_some()
        };
        let program_bytes = u32::try_from(program.bytes().len()).map_err(|_| Error::Placement)?;
        if !fits(placement.program, program_bytes) || !fits(placement.work, work_bytes) {
            return Err(Error::Placement);
        }
        reset(&mut bus)?;
        bus.write_memory(placement.program, program.bytes()).map_err(Error::Bus)?;
        bus.clean_cache(placement.program, program_bytes).map_err(Error::Bus)?;
        let watchdog = program.header().watchdog.get();
        Ok(Self { bus, program, placement, watchdog })
    }

    /// The bus, for what the driver does not do.
    pub const fn bus(&mut self) -> &mut B {
        &mut self.bus
    }

    /// Gives the bus back.
    pub fn into_bus(self) -> B {
        self.bus
    }

    pub const fn program(&self) -> &Program<'p> {
        &self.program
    }

    /// Cycles without progress after which the accelerator gives up, instead of the program's own
    /// number; 0: never. Holds from the next start.
    pub const fn set_watchdog(&mut self, cycles: u32) {
        self.watchdog = cycles;
    }

    /// One frame of the model that the program belongs to. The picture lies in `engine` ([`Engine::input`]);
    /// its processor does the steps that are not the program's, and then holds every output:
    /// [`crate::detect::decode`] reads them. `limit` is for the program alone.
    ///
    /// # Errors
    /// [`Error::Shape`] where a map of the program is no tensor of `engine`'s model.
    pub fn run<K: Kernels>(
        &mut self,
        engine: &mut Engine<'_, '_, K>,
        limit: Duration,
    ) -> Result<(), Error<B::Error>> {
        let steps = engine.model().steps();
        let shared = |step: &Step<'_>| step.target() == Some(Target::Shared);
        let first = steps.clone().position(|step| shared(&step)).unwrap_or(usize::MAX);
        for step in steps.clone().take(first) {
            engine.execute_step(&step);
        }
        for map in self.program.inputs() {
            self.write_map(map, tensor_of(engine, map)?)?;
        }
        self.start()?;
        self.wait(limit)?;
        for map in self.program.outputs() {
            self.read_map(map, tensor_of(engine, map)?)?;
        }
        for step in steps.skip(first).filter(|step| !shared(step)) {
            engine.execute_step(&step);
        }
        Ok(())
    }

    /// Copies `tensor` (`[h, w, c]`) into a map in memory: one of [`Program::inputs`], before a frame.
    pub fn write_map(&mut self, map: &MapRecord, tensor: Tensor<'_>) -> Result<(), Error<B::Error>> {
        let plane = plane_of(map, &tensor).ok_or(Error::Shape)?;
        for channel in 0..tensor.c() {
            let mut address = self.plane(map, channel);
            let mut values = (0..tensor.pixels())
                .filter_map(|pixel| tensor.pixel(pixel).get(channel))
                .map(|value| value.get().cast_unsigned());
            loop {
                let mut chunk = [0; CHUNK];
                let length = chunk.iter_mut().zip(&mut values).map(|(to, from)| *to = from).count();
                let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
                self.bus.write_memory(address, bytes).map_err(Error::Bus)?;
                address = address.wrapping_add(CHUNK as u32);
            }
            self.bus.clean_cache(self.plane(map, channel), plane).map_err(Error::Bus)?;
        }
        Ok(())
    }

    /// Copies a map from memory into `tensor` (`[h, w, c]`): one of [`Program::outputs`], after a frame.
    pub fn read_map(&mut self, map: &MapRecord, tensor: Tensor<'_>) -> Result<(), Error<B::Error>> {
        let plane = plane_of(map, &tensor).ok_or(Error::Shape)?;
        for channel in 0..tensor.c() {
            let mut address = self.plane(map, channel);
            self.bus.invalidate_cache(address, plane).map_err(Error::Bus)?;
            let mut pixel = 0;
            while pixel < tensor.pixels() {
                let mut chunk = [0; CHUNK];
                let length = CHUNK.min(tensor.pixels() - pixel);
                let bytes = chunk.get_mut(..length).ok_or(Error::Shape)?;
                self.bus.read_memory(address, bytes).map_err(Error::Bus)?;
                for &byte in bytes.iter() {
                    if let Some(value) = tensor.pixel(pixel).get(channel) {
                        value.set(byte.cast_signed());
                    }
                    pixel += 1;
                }
                address = address.wrapping_add(CHUNK as u32);
            }
        }
        Ok(())
    }

    /// Starts a frame on the input that lies in memory.
    pub fn start(&mut self) -> Result<(), Error<B::Error>> {
        if self.read(registers::STATUS)? & (registers::STATUS_BUSY | registers::STATUS_RESETTING) != 0 {
            return Err(Error::Busy);
        }
        let header = self.program.header();
        let program_bytes = u32::try_from(self.program.bytes().len()).map_err(|_| Error::Placement)?;
        let Placement { program, work } = self.placement;
        for (register, value) in [
            (registers::STREAM_ADDRESS, program.wrapping_add(header.stream_offset.get())),
            (registers::STREAM_BYTES, header.stream_bytes.get()),
            (registers::REGION0_BASE, program),
            (registers::REGION0_BYTES, program_bytes),
            (registers::REGION1_BASE, work),
            (registers::REGION1_BYTES, header.work_bytes.get()),
            (registers::WATCHDOG, self.watchdog),
            (registers::INTERRUPT, INTERRUPTS),
            (registers::INTERRUPT_ENABLE, INTERRUPTS),
            (registers::CONTROL, registers::CONTROL_START),
        ] {
            self.write(register, value)?;
        }
        Ok(())
    }

    /// Waits for the frame's end; a fault becomes the error of its name.
    pub fn wait(&mut self, limit: Duration) -> Result<(), Error<B::Error>> {
        let raised = self.bus.wait_interrupt(limit).map_err(Error::Bus)?;
        let status = self.read(registers::STATUS)?;
        if status & registers::STATUS_FAULT != 0 {
            let (code, info) = (self.read(registers::FAULT)?, self.read(registers::FAULT_INFO)?);
            return Err(match FaultCode::from_code(code) {
                Some(code) => Error::Fault { code, info },
                None => Error::UnknownFault { code, info },
            });
        }
        if !raised || status & registers::STATUS_DONE == 0 {
            return Err(Error::TimeOut);
        }
        self.write(registers::INTERRUPT, INTERRUPTS)
    }

    /// Soft reset from any state: the accelerator ends its outstanding transfers, forgets the frame
    /// and is idle.
    ///
    /// # Errors
    /// [`Error::ResetStuck`] where memory does not answer: the accelerator stays as it is, starts no frame,
    /// and its memory is not to be used for anything else.
    pub fn reset(&mut self) -> Result<(), Error<B::Error>> {
        reset(&mut self.bus)
    }

    /// Counters of the last frame.
    pub fn counters(&mut self) -> Result<Counters, Error<B::Error>> {
        Ok(Counters {
            cycles: self.read(registers::CYCLES)?,
            macs: self.read(registers::MACS)?,
            skipped: self.read(registers::SKIPPED)?,
            stall_load: self.read(registers::STALL_LOAD)?,
            stall_store: self.read(registers::STALL_STORE)?,
            stall_drain: self.read(registers::STALL_DRAIN)?,
            stall_residual: self.read(registers::STALL_RESIDUAL)?,
            stall_command: self.read(registers::STALL_COMMAND)?,
            bytes_read: self.read(registers::BYTES_READ)?,
            bytes_written: self.read(registers::BYTES_WRITTEN)?,
            done_load: self.read(registers::DONE_LOAD)?,
            done_exec: self.read(registers::DONE_EXEC)?,
            done_store: self.read(registers::DONE_STORE)?,
        })
    }

    /// Bus address of a channel's plane. `Program::new` has checked that it lies in the region.
    fn plane(&self, map: &MapRecord, channel: usize) -> u32 {
        let offset = (channel as u32).wrapping_mul(map.pitch.get());
        self.placement.work.wrapping_add(map.address.get()).wrapping_add(offset)
    }

    fn read(&mut self, register: u32) -> Result<u32, Error<B::Error>> {
        self.bus.read_register(register).map_err(Error::Bus)
    }

    fn write(&mut self, register: u32, value: u32) -> Result<(), Error<B::Error>> {
        self.bus.write_register(register, value).map_err(Error::Bus)
    }
}

/// Bytes of a channel of a map that has the shape of `tensor`.
fn plane_of(map: &MapRecord, tensor: &Tensor<'_>) -> Option<u32> {
    let shape = [map.h.get(), map.w.get(), map.channels.get()].map(usize::try_from);
    let same = shape == [Ok(tensor.h()), Ok(tensor.w()), Ok(tensor.c())];
    map.plane_bytes().filter(|_| same)
}

/// The values that a map stands for.
fn tensor_of<'a, K: Kernels, E>(engine: &Engine<'_, 'a, K>, map: &MapRecord) -> Result<Tensor<'a>, Error<E>> {
    let index = usize::try_from(map.tensor.get()).map_err(|_| Error::Shape)?;
    engine.tensor(index).ok_or(Error::Shape)
}

/// Soft reset that does not wait for memory: whatever it still had to answer is forgotten, in any state.
///
/// Only for a memory, and a bus on the way to it, that have been reset as well: an answer that came later would
/// be taken for the next frame's.
pub fn forget<B: Bus>(bus: &mut B) -> Result<(), Error<B::Error>> {
    bus.write_register(registers::CONTROL, registers::CONTROL_FORGET).map_err(Error::Bus)?;
    at_rest(bus)
}

/// Soft reset; see [`Npu::reset`].
fn reset<B: Bus>(bus: &mut B) -> Result<(), Error<B::Error>> {
    bus.write_register(registers::CONTROL, registers::CONTROL_RESET).map_err(Error::Bus)?;
    at_rest(bus)
}

/// Waits for the end of a soft reset.
fn at_rest<B: Bus>(bus: &mut B) -> Result<(), Error<B::Error>> {
    for _ in 0..RESET_POLLS {
        let status = bus.read_register(registers::STATUS).map_err(Error::Bus)?;
        if status & registers::STATUS_RESETTING == 0 {
            return bus.write_register(registers::INTERRUPT, INTERRUPTS).map_err(Error::Bus);
        }
    }
    Err(Error::ResetStuck)
}

/// What the accelerator on `bus` is; an error where there is none that this driver can run.
pub fn identify<B: Bus>(bus: &mut B) -> Result<Parameters, Error<B::Error>> {
    let mut read = |register| bus.read_register(register).map_err(Error::Bus);
    let id = read(registers::ID)?;
    if id != registers::ID_VALUE {
        return Err(Error::NotFound { id });
    }
    let found = read(registers::VERSION)?;
    if found >> 16 != registers::VERSION_VALUE >> 16 {
        return Err(Error::Version { found });
    }
    let shape = read(registers::SHAPE)?;
    Ok(Parameters {
        rows: shape & 0xff,
        lanes: shape >> 8 & 0xff,
        axi_bytes: shape >> 16 & 0xff,
        drain_rows: shape >> 24,
        bank_words: read(registers::BANK_WORDS)?,
        weight_words: read(registers::WEIGHT_WORDS)?,
        param_entries: read(registers::PARAM_ENTRIES)?,
    })
}
