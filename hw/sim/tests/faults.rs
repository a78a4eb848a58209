//! Faults by injection: each ends in its name within bounded cycles, nothing is written outside, and
//! after a soft reset the next frame is right.
#![cfg(feature = "rtl")]

mod common;

use std::time::Duration;

use common::{Assembler, map, memory, random_transfers};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_runtime::npu::driver::{Error, Npu, forget};
use secateur_runtime::npu::isa::{Exec, Opcode, Transfer};
use secateur_runtime::npu::registers::{self, FaultCode};
use secateur_runtime::npu::{Bus, Placement, Program};
use secateur_sim::PARAMETERS;
use secateur_sim::Simulator;
use secateur_sim::emulator::Emulator;
use secateur_sim::memory::NoMemory;
use secateur_sim::rtl::{BusFault, Channel, Rtl, Timing};
use zerocopy::{FromZeros, Immutable, IntoBytes};

const WORK: u32 = 16 * 1024;
/// No frame of these tests is longer, with any fault: the watchdog's 20,000 cycles and some.
const LIMIT: Duration = Duration::from_micros(400);
/// Answers of AXI4: EXOKAY, SLVERR, DECERR.
const EXCLUSIVE_OKAY: u8 = 1;
const TARGET_ERROR: u8 = 2;
const DECODE_ERROR: u8 = 3;

/// A core, a sound program in its memory, and what a frame of it leaves in the work region.
struct Bench {
    rtl: Rtl,
    program: Vec<u8>,
    place: Placement,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Bench {
    fn new(timing: Timing) -> Self {
        let program = random_transfers(&mut ChaCha8Rng::seed_from_u64(5), WORK);
        let (memory, place) = memory(program.len(), WORK as usize, 5);
        let mut before = vec![0; WORK as usize];
        memory.read(place.work, &mut before).unwrap();
        let mut emulator = Emulator::new(PARAMETERS, memory.clone());
        run(&mut emulator, &program, place).unwrap();
        let after = work(&mut emulator, place);
        assert_ne!(before, after);
        Self { rtl: Rtl::new(memory, timing), program, place, before, after }
    }

    /// The driver, after a soft reset.
    fn npu(&mut self) -> Npu<'_, &mut Rtl> {
        Npu::new(&mut self.rtl, Program::new(&self.program).unwrap(), self.place).unwrap()
    }

    /// One frame with a bus fault.
    fn faulty(&mut self, fault: BusFault) -> Result<(), Error<NoMemory>> {
        self.restore();
        self.rtl.inject(Some(fault));
        run(&mut self.rtl, &self.program, self.place)
    }

    /// After whatever happened: nothing strayed, and the next frame is right.
    fn recovers(&mut self) {
        // Draining needs the memory as it was; a new one knows nothing of old transfers.
        self.npu();
        self.rtl.inject(None);
        self.restore();
        run(&mut self.rtl, &self.program, self.place).unwrap();
        assert!(work(&mut self.rtl, self.place) == self.after, "the next frame");
        assert!(self.rtl.memory().strays().is_empty() && self.rtl.memory().broken_guard().is_none());
    }

    fn restore(&mut self) {
        self.rtl.memory().write(self.place.work, &self.before).unwrap();
    }
}

/// A frame after a soft reset.
fn run<S: Simulator>(simulator: &mut S, program: &[u8], place: Placement) -> Result<(), Error<NoMemory>> {
    let mut npu = Npu::new(simulator, Program::new(program).unwrap(), place)?;
    npu.start()?;
    npu.wait(LIMIT)
}

fn work<S: Simulator>(simulator: &mut S, place: Placement) -> Vec<u8> {
    let mut bytes = vec![0; WORK as usize];
    simulator.memory().read(place.work, &mut bytes).unwrap();
    bytes
}

fn code(result: Result<(), Error<NoMemory>>) -> (FaultCode, u32) {
    match result {
        Err(Error::Fault { code, info }) => (code, info),
        other => panic!("expected a fault, not {other:?}"),
    }
}

#[test]
fn an_error_on_any_read_beat() {
    let mut bench = Bench::new(Timing { stalls: 10, ..Timing::default() });
    let program = bench.place.program..bench.place.program + bench.program.len() as u32;
    let region = bench.place.work..bench.place.work + WORK;
    let mut seen = [false; 2];
    for beat in (0..60).chain((60..).step_by(7)) {
        let response = if beat % 2 == 0 { TARGET_ERROR } else { DECODE_ERROR };
        let result = bench.faulty(BusFault::Read { beat, response });
        if result.is_ok() {
            assert!(beat > 60, "the frame has {beat} beats");
            break;
        }
        match code(result) {
            (FaultCode::CommandRead, address) => {
                assert!(program.contains(&address), "beat {beat}: {address:#x}");
                seen[0] = true;
            }
            (FaultCode::BusRead, address) => {
                assert!(region.contains(&address), "beat {beat}: {address:#x}");
                seen[1] = true;
            }
            other => panic!("beat {beat}: {other:?}"),
        }
        bench.recovers();
    }
    assert_eq!(seen, [true; 2], "commands and data were hit");
}

#[test]
fn an_error_on_any_write_burst() {
    let mut bench = Bench::new(Timing::default());
    for burst in 0.. {
        let response = if burst % 2 == 0 { TARGET_ERROR } else { DECODE_ERROR };
        let result = bench.faulty(BusFault::Write { burst, response });
        if result.is_ok() {
            assert!(burst > 5, "the frame has {burst} bursts");
            break;
        }
        let (code, address) = code(result);
        assert_eq!(code, FaultCode::BusWrite);
        assert!((bench.place.work..bench.place.work + WORK).contains(&address));
        bench.recovers();
    }
}

/// No exclusive access is ever issued, so EXOKAY counts as OKAY on either channel.
#[test]
fn exclusive_okay_is_okay() {
    let mut bench = Bench::new(Timing::default());
    for beat in 0..60 {
        assert_eq!(bench.faulty(BusFault::Read { beat, response: EXCLUSIVE_OKAY }), Ok(()), "beat {beat}");
        assert!(work(&mut bench.rtl, bench.place) == bench.after, "beat {beat}");
    }
    for burst in 0..10 {
        assert_eq!(
            bench.faulty(BusFault::Write { burst, response: EXCLUSIVE_OKAY }),
            Ok(()),
            "burst {burst}"
        );
        assert!(work(&mut bench.rtl, bench.place) == bench.after, "burst {burst}");
    }
}

/// A burst that memory ends early, or late, is a read fault at the beat whose RLAST is wrong.
#[test]
fn a_wrong_last_beat_of_any_read_burst() {
    let timing = Timing { stalls: 10, ..Timing::default() };
    let kinds: [fn(u64) -> BusFault; 2] =
        [|burst| BusFault::LastEarly { burst }, |burst| BusFault::LastLate { burst }];
    for (kind, fault) in ["early", "late"].into_iter().zip(kinds) {
        let mut bench = Bench::new(timing);
        let program = bench.place.program..bench.place.program + bench.program.len() as u32;
        let region = bench.place.work..bench.place.work + WORK;
        let mut seen = [0; 2];
        for burst in 0.. {
            let result = bench.faulty(fault(burst));
            if result.is_ok() {
                // A burst of one beat has no early end, and the last ones are of what follows END.
                assert!(work(&mut bench.rtl, bench.place) == bench.after, "{kind}, burst {burst}");
                if burst > 200 {
                    break;
                }
                continue;
            }
            match code(result) {
                (FaultCode::CommandRead, address) => {
                    assert!(program.contains(&address), "{kind}, burst {burst}: {address:#x}");
                    seen[0] += 1;
                }
                (FaultCode::BusRead, address) => {
                    assert!(region.contains(&address), "{kind}, burst {burst}: {address:#x}");
                    seen[1] += 1;
                }
                other => panic!("{kind}, burst {burst}: {other:?}"),
            }
            bench.recovers();
        }
        assert!(seen[0] > 0 && seen[1] > 5, "{kind}: commands and data were hit: {seen:?}");
    }
}

/// One channel alone falls silent: the watchdog ends the frame, a soft reset waits for the channel, and when it
/// moves again the next frame is right.
#[test]
fn a_channel_that_falls_silent() {
    for channel in Channel::ALL {
        let mut bench = Bench::new(Timing::default());
        let mut stuck = 0;
        for cycle in (0..).step_by(41) {
            let result = bench.faulty(BusFault::SilentChannel { channel, cycle });
            if result.is_ok() {
                assert!(cycle > 100, "{channel:?} is last used before cycle {cycle}");
                break;
            }
            let (code, _) = code(result);
            assert_eq!(code, FaultCode::Watchdog, "{channel:?} silent from cycle {cycle}");
            let npu = Npu::new(&mut bench.rtl, Program::new(&bench.program).unwrap(), bench.place);
            // Where nothing is owed on that channel the reset ends at once.
            match npu.map(|_| ()) {
                Ok(()) => {}
                Err(Error::ResetStuck) => stuck += 1,
                other => panic!("{channel:?} silent from cycle {cycle}: {other:?}"),
            }
            bench.rtl.wake();
            bench.recovers();
        }
        assert!(stuck > 0, "{channel:?} was owed something");
    }
}

/// The reset line, with memory, while bursts are outstanding: the registers are as after power-up, the line of the
/// interrupt falls, and the next frame is right.
#[test]
fn hard_reset_in_any_cycle() {
    let mut bench = Bench::new(Timing { stalls: 20, ..Timing::default() });
    let mut owed = [0; 3];
    for cycles in (0..1500).step_by(17) {
        bench.restore();
        let mut npu = bench.npu();
        npu.start().unwrap();
        for _ in 0..cycles {
            npu.bus().step();
        }
        owed.iter_mut().zip(npu.bus().owed()).for_each(|(sum, bursts)| *sum += bursts);
        npu.bus().hard_reset();
        assert!(!npu.bus().interrupt());
        for register in [
            registers::STATUS,
            registers::FAULT,
            registers::FAULT_INFO,
            registers::INTERRUPT,
            registers::INTERRUPT_ENABLE,
            registers::WATCHDOG,
            registers::STREAM_ADDRESS,
            registers::REGION1_BYTES,
        ] {
            let value = npu.bus().read_register(register).unwrap();
            assert_eq!(value, 0, "register {register:#x} after a reset in cycle {cycles}");
        }
        bench.recovers();
    }
    assert!(owed.iter().all(|&bursts| bursts > 3), "reads, write data, answers: {owed:?}");
}

/// Both interrupts: pending bits rise with the frame's end or its fault, enabled or not; the line is their OR with the
/// enables; writing ones clears them, and a soft reset clears both.
#[test]
fn interrupts_are_masked_and_cleared() {
    let mut bench = Bench::new(Timing::default());
    for (fault, bit) in [(None, 1), (Some(BusFault::Read { beat: 40, response: TARGET_ERROR }), 2)] {
        for enabled in 0..4 {
            bench.restore();
            bench.rtl.inject(fault);
            let mut npu = bench.npu();
            npu.start().unwrap();
            npu.bus().write_register(registers::INTERRUPT_ENABLE, enabled).unwrap();
            while npu.bus().read_register(registers::STATUS).unwrap() & registers::STATUS_BUSY != 0 {}
            let pending =
                |npu: &mut Npu<'_, &mut Rtl>| npu.bus().read_register(registers::INTERRUPT).unwrap();
            assert_eq!(pending(&mut npu), bit);
            assert_eq!(npu.bus().interrupt(), enabled & bit != 0, "enabled {enabled}, pending {bit}");
            // The other bit clears nothing.
            npu.bus().write_register(registers::INTERRUPT, 3 & !bit).unwrap();
            assert_eq!(pending(&mut npu), bit);
            // Enabling a pending interrupt raises the line.
            npu.bus().write_register(registers::INTERRUPT_ENABLE, 3).unwrap();
            assert!(npu.bus().interrupt());
            if enabled % 2 == 0 {
                npu.bus().write_register(registers::INTERRUPT, bit).unwrap();
            } else {
                npu.reset().unwrap();
            }
            assert_eq!(pending(&mut npu), 0);
            assert!(!npu.bus().interrupt());
            bench.recovers();
        }
    }
}

#[test]
fn memory_that_falls_silent() {
    let mut bench = Bench::new(Timing::default());
    for cycle in (0..).step_by(29) {
        let result = bench.faulty(BusFault::Silence { cycle });
        if result.is_ok() {
            assert!(cycle > 300, "the frame has {cycle} cycles");
            break;
        }
        let (code, _) = code(result);
        assert_eq!(code, FaultCode::Watchdog, "silent from cycle {cycle}");
        assert!(bench.rtl.cycle() < 25_000, "{} cycles", bench.rtl.cycle());
        // Whoever asks for a reset is told; nothing is written to memory meanwhile.
        let before = work(&mut bench.rtl, bench.place);
        let npu = Npu::new(&mut bench.rtl, Program::new(&bench.program).unwrap(), bench.place);
        assert_eq!(npu.map(|_| ()), Err(Error::ResetStuck), "silent from cycle {cycle}");
        assert!(work(&mut bench.rtl, bench.place) == before);
        bench.rtl.wake();
        bench.recovers();
    }
}

/// Memory falls silent anywhere in reads and writes, the watchdog and a soft reset give up on it, and then it
/// answers after all, or was reset itself: no late beat or answer meets the next frame, and what stood on the
/// bus stands there until it is taken (which the memory model watches).
#[test]
fn late_answers_never_meet_the_next_frame() {
    let at_once = Timing { latency: 0, efficiency: 100, ..Timing::default() };
    let by_and_by = Timing { latency: 20, efficiency: 50, stalls: 60, ..Timing::default() };
    let mut owed = [0; 3];
    for (first, timing) in [(0, at_once), (3, by_and_by)] {
        let mut bench = Bench::new(timing);
        for (round, cycle) in (first..).step_by(7).enumerate() {
            bench.restore();
            let mut npu = bench.npu();
            npu.set_watchdog(1000);
            npu.bus().inject(Some(BusFault::Silence { cycle }));
            npu.start().unwrap();
            match npu.wait(LIMIT) {
                Ok(()) => break,
                other => assert_eq!(code(other).0, FaultCode::Watchdog, "silent from cycle {cycle}"),
            }
            owed.iter_mut().zip(npu.bus().owed()).for_each(|(sum, bursts)| *sum += bursts);
            npu.bus().write_register(registers::CONTROL, registers::CONTROL_RESET).unwrap();
            for _ in 0..round % 50 {
                npu.bus().step();
            }
            // A frame that is started too early is refused, and does not begin by itself later on.
            assert_eq!(npu.start(), Err(Error::Busy));
            npu.bus().write_register(registers::CONTROL, registers::CONTROL_START).unwrap();
            let status = npu.bus().read_register(registers::STATUS).unwrap();
            assert_eq!(status, registers::STATUS_RESETTING, "silent from cycle {cycle}");
            if round % 3 == 2 {
                npu.bus().inject(Some(BusFault::Reset));
                forget(npu.bus()).unwrap();
                npu.bus().inject(None);
            } else {
                npu.bus().wake();
                npu.reset().unwrap();
            }
            assert_eq!(npu.bus().read_register(registers::STATUS).unwrap(), 0);
            assert_eq!(npu.bus().owed(), [0; 3], "idle after the reset, cycle {cycle}");
            bench.recovers();
        }
    }
    assert!(owed.iter().all(|&bursts| bursts > 20), "reads, write data, answers: {owed:?}");
}

#[test]
fn reset_in_any_cycle() {
    let mut bench = Bench::new(Timing { stalls: 20, ..Timing::default() });
    for cycles in (0..200).chain((200..1500).step_by(13)) {
        bench.restore();
        let mut npu = bench.npu();
        npu.start().unwrap();
        for _ in 0..cycles {
            npu.bus().step();
        }
        npu.reset().unwrap_or_else(|e| panic!("reset after {cycles} cycles: {e}"));
        let busy = npu.start();
        assert_eq!(busy, Ok(()), "idle after the reset");
        npu.wait(LIMIT).unwrap_or_else(|e| panic!("frame after a reset in cycle {cycles}: {e}"));
        bench.recovers();
    }
}

/// A sound command, the given one, and an end that waits for neither.
fn program_with(command: &(impl IntoBytes + Immutable)) -> Vec<u8> {
    let mut program = Assembler::new(&PARAMETERS, WORK);
    program.push(&map(Opcode::LoadMap, 0, 1, 0, 1)).push(command);
    program.end(0, 0, 0)
}

#[test]
fn unsound_commands_have_the_emulators_names() {
    let sizes = PARAMETERS;
    let [bank_words, weight_words, param_entries] =
        [sizes.bank_words, sizes.weight_words, sizes.param_entries].map(|words| words as u16);
    let good = map(Opcode::LoadMap, 0, 16, 0, 8);
    let store = Transfer { opcode: Opcode::StoreMap.code(), ..good };
    let entries = |opcode: Opcode, base: u16, words: u16| Transfer {
        opcode: opcode.code(),
        base: base.into(),
        words: words.into(),
        ..Default::default()
    };
    let unsound = [
        Transfer { address: 4.into(), ..good },
        Transfer { pitch: 24.into(), ..good },
        Transfer { count: 0.into(), ..good },
        Transfer { words: 0.into(), ..store },
        Transfer { pos_first: 16.into(), ..good },
        Transfer { word: 1.into(), ..store },
        Transfer { word: (-1).into(), ..good },
        Transfer { base: (bank_words - 15).into(), ..good },
        Transfer { origin: (bank_words / 16 * sizes.rows as u16).into(), ..store },
        Transfer { plane: 0x8000.into(), origin: 0xffff.into(), ..good },
        Transfer { address: WORK.into(), ..good },
        Transfer { address: (WORK - 7 * 256 - 16 * sizes.lanes + 8).into(), ..store },
        Transfer { address: 0xffff_fff8.into(), ..good },
        Transfer { pitch: 0x8000_0000.into(), ..store },
        Transfer { flags: 0, ..good },
        Transfer { flags: 0, ..store },
        entries(Opcode::LoadWeights, weight_words, 1),
        entries(Opcode::LoadWeights, 0, weight_words + 1),
        entries(Opcode::LoadWeights, 0, 0),
        entries(Opcode::LoadWeights, 0, 100),
        entries(Opcode::LoadParams, param_entries, 1),
        entries(Opcode::LoadParams, 0, param_entries + 1),
        Transfer { address: 8.into(), ..entries(Opcode::LoadTable, 0, 0) },
        Transfer { opcode: 0x77, ..good },
        Transfer { wait_store: 3.into(), ..good },
    ];
    let mut bench = Bench::new(Timing::default());
    let mut programs: Vec<_> = unsound.iter().map(program_with).collect();
    // Of EXEC commands the core's tests try every field.
    programs.push(program_with(&Exec { opcode: Opcode::Exec.code(), ..FromZeros::new_zeroed() }));
    for program in programs {
        let (memory, place) = memory(program.len(), WORK as usize, 5);
        let mut emulator = Emulator::new(PARAMETERS, memory.clone());
        let expected = code(run(&mut emulator, &program, place));
        // The core that saw all the faults before.
        *bench.rtl.memory() = memory;
        assert_eq!(code(run(&mut bench.rtl, &program, place)), expected, "{:x?}", &program[64..]);
        assert!(bench.rtl.memory().strays().is_empty());
    }
}

#[test]
fn corrupt_streams_never_hang_nor_stray() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut bench = Bench::new(Timing::default());
    let (mut faults, header) = (0, 64);
    for _ in 0..300 {
        let mut program = bench.program.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(header..program.len());
            program[at] ^= 1 << rng.random_range(0..8);
        }
        bench.restore();
        match run(&mut bench.rtl, &program, bench.place) {
            Ok(()) => {}
            Err(Error::Fault { .. }) => faults += 1,
            Err(error) => panic!("{error}"),
        }
        bench.recovers();
    }
    assert!(faults > 100, "{faults} of 300 streams were refused");
}
