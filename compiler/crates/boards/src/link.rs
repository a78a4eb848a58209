//! Brings an image to a board and hears its report, over any [`Link`].

use std::time::{Duration, Instant};

use secateur_base::{Error, Result};
use secateur_codegen::target::{Board, Family};

use crate::image::{Image, Part};
use crate::report::{MAX_REPORT_BYTES, Report, exception};

/// What a halted program asks of the host: a call of Arm's semihosting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Open the console.
    Open,
    /// Show these bytes.
    Write(Vec<u8>),
    /// The program has ended with this code.
    Exit(u32),
    /// Something else, which gets no answer but failure.
    Other,
}

/// A debugger's way to a board's processor, a Cortex-M.
pub trait Link {
    /// What is at the other end, for messages.
    fn name(&self) -> String;

    /// Writes all parts, flash and RAM alike; what flash held elsewhere in their sectors may be lost.
    ///
    /// # Errors
    /// The memory does not take them, or the board does not answer.
    fn write(&mut self, parts: &[Part]) -> Result<()>;

    /// Reads memory of a halted processor.
    ///
    /// # Errors
    /// There is no such memory, or the board does not answer.
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<()>;

    /// Brings the processor to the first instruction of a written image, and lets it halt there.
    ///
    /// # Errors
    /// The board does not answer.
    fn reset(&mut self, image: &Image) -> Result<()>;

    /// Runs the halted program until it calls the host; `None` if it does not until `deadline`.
    ///
    /// # Errors
    /// The processor stops for another reason, or the board does not answer.
    fn resume(&mut self, deadline: Instant) -> Result<Option<Call>>;

    /// Answers the call, so that the program can be resumed behind it.
    ///
    /// # Errors
    /// The board does not answer.
    fn answer(&mut self, result: i32) -> Result<()>;
}

/// Bytes that are read back at once.
const BLOCK: usize = 1 << 14;
/// The processor's register that names its kind, in every Cortex-M.
const CPUID: u32 = 0xE000_ED00;
/// Part numbers in it.
const PARTS: [(u32, &str); 7] = [
    (0xC20, "cortex-m0"),
    (0xC60, "cortex-m0plus"),
    (0xC23, "cortex-m3"),
    (0xC24, "cortex-m4"),
    (0xC27, "cortex-m7"),
    (0xD21, "cortex-m33"),
    (0xD22, "cortex-m55"),
];
/// What the host answers: the console's handle, everything written, failure.
const CONSOLE: i32 = 1;
const ALL_WRITTEN: i32 = 0;
const FAILED: i32 = -1;

/// Writes an image to a board, reads it back, runs its program and returns what it reported. `say` is told of each
/// step.
///
/// # Errors
/// The board has another processor, or does not answer; a byte reads back otherwise: its address; the program faults, or
/// does not end within `limit`.
pub fn flash(
    link: &mut dyn Link,
    board: &Board,
    image: &Image,
    limit: Duration,
    mut say: impl FnMut(&str),
) -> Result<Report> {
    check_family(board)?;
    check_processor(link, board)?;
    say(&format!("writing {} bytes to {} …", image.len(), link.name()));
    link.write(&image.parts)?;
    say("reading them back …");
    image.parts.iter().try_for_each(|part| verify(link, part))?;
    say("running …");
    link.reset(image)?;
    run(link, board, limit)
}

/// Checks that a board has firmware for a debugger's link.
///
/// # Errors
/// It has none, or is no Cortex-M.
pub fn check_family(board: &Board) -> Result<()> {
    match board.firmware.map(|firmware| firmware.family) {
        Some(Family::CortexM) => Ok(()),
        Some(Family::Riscv) => Err(Error::new(format!("board {} is no Cortex-M", board.name))
            .help(format!("`secateur run --on qemu:{}` runs it in QEMU", board.name))),
        None => Err(Error::new(format!("there is no firmware for board {}", board.name))
            .help("its file in configs/boards says why")),
    }
}

fn check_processor(link: &mut dyn Link, board: &Board) -> Result<()> {
    let mut word = [0; 4];
    link.read(CPUID, &mut word)?;
    let cpuid = u32::from_le_bytes(word);
    let (arm, part) = (cpuid >> 24 == 0x41, cpuid >> 4 & 0xFFF);
    let found = PARTS.iter().find(|(number, _)| arm && *number == part).map(|(_, name)| *name);
    let wanted = board.target.processor.as_ref().and_then(|processor| processor.cpu.as_deref());
    if found.is_some() && found == wanted {
        return Ok(());
    }
    let found = found.map_or(format!("CPUID {cpuid:#010x}"), str::to_owned);
    Err(Error::new(format!("{} has another processor than board {}", link.name(), board.name))
        .found(found)
        .allowed(wanted.unwrap_or("none").to_owned())
        .help("`secateur targets list` names the boards"))
}

fn verify(link: &mut dyn Link, part: &Part) -> Result<()> {
    for (wanted, at) in part.bytes.chunks(BLOCK).zip((part.address..).step_by(BLOCK)) {
        let mut found = vec![0; wanted.len()];
        link.read(at, &mut found)?;
        if let Some(offset) = wanted.iter().zip(&found).position(|(wanted, found)| wanted != found) {
            let address = at as usize + offset;
            return Err(Error::new(format!(
                "{address:#010x} does not hold what was written ({})",
                part.name
            ))
            .found(format!("{:#04x}", found[offset]))
            .allowed(format!("{:#04x}", wanted[offset]))
            .help("the flash may be protected or worn, or the regions of the board's file wrong"));
        }
    }
    Ok(())
}

fn run(link: &mut dyn Link, board: &Board, limit: Duration) -> Result<Report> {
    let deadline = Instant::now() + limit;
    let mut text = Vec::new();
    loop {
        let call = if Instant::now() < deadline { link.resume(deadline)? } else { None };
        let Some(call) = call else {
            return Err(Error::new(format!("{} did not end within {} s", board.name, limit.as_secs()))
                .found(format!("{} bytes of its report", text.len()))
                .help("--time-limit gives it more time"));
        };
        let answer = match call {
            Call::Open => CONSOLE,
            Call::Write(bytes) if text.len() + bytes.len() <= MAX_REPORT_BYTES => {
                text.extend_from_slice(&bytes);
                ALL_WRITTEN
            }
            Call::Exit(0 | 1) => return Report::parse(&text),
            Call::Exit(3) => return Err(exception(&board.name, &text)),
            Call::Exit(code) => {
                return Err(Error::new(format!("the program of {} ended with exit code {code}", board.name)));
            }
            Call::Write(_) | Call::Other => FAILED,
        };
        link.answer(answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "secateur-job 1\nstep 0 0 0000ffee 17\nend\n";

    /// A board of memory, whose program makes the calls of a script.
    struct Scripted {
        memory: Vec<(u32, u8)>,
        cpuid: u32,
        /// An address that keeps 0xFF.
        stuck: Option<u32>,
        calls: Vec<Call>,
        answers: Vec<i32>,
    }

    impl Scripted {
        fn new(calls: impl IntoIterator<Item = Call>) -> Self {
            let mut calls: Vec<Call> = calls.into_iter().collect();
            calls.reverse();
            Self { memory: Vec::new(), cpuid: 0x410F_C240, stuck: None, calls, answers: Vec::new() }
        }
    }

    impl Link for Scripted {
        fn name(&self) -> String {
            "a script".to_owned()
        }

        fn write(&mut self, parts: &[Part]) -> Result<()> {
            for part in parts {
                self.memory.extend((part.address..).zip(part.bytes.iter().copied()));
            }
            Ok(())
        }

        fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<()> {
            for (at, byte) in (address..).zip(&mut *bytes) {
                let stored = self.memory.iter().find(|(known, _)| *known == at).map_or(0, |(_, byte)| *byte);
                *byte = if self.stuck == Some(at) { 0xFF } else { stored };
            }
            if address == CPUID {
                bytes.copy_from_slice(&self.cpuid.to_le_bytes());
            }
            Ok(())
        }

        fn reset(&mut self, _image: &Image) -> Result<()> {
            Ok(())
        }

        fn resume(&mut self, _deadline: Instant) -> Result<Option<Call>> {
            Ok(self.calls.pop())
        }

        fn answer(&mut self, result: i32) -> Result<()> {
            self.answers.push(result);
            Ok(())
        }
    }

    fn flashed(link: &mut Scripted) -> Result<Report> {
        let board = Board::load("stm32f407g-disc1")?;
        let part = |address, length| Part { name: ".text".into(), address, bytes: vec![7; length] };
        let parts = vec![part(0x0800_0000, 100), part(0x0804_0000, BLOCK + 1)];
        let image = Image { parts, vectors: 0x0800_0000, host_calls: Vec::new() };
        flash(link, &board, &image, Duration::from_secs(1), |_| ())
    }

    fn refused(link: &mut Scripted, says: &[&str]) {
        let error = format!("{:?}", flashed(link).unwrap_err());
        assert!(says.iter().all(|part| error.contains(part)), "{says:?} are not in {error}");
    }

    #[test]
    fn a_report_is_gathered_from_the_calls() {
        let (head, tail) = REPORT.split_at(20);
        let write = |text: &str| Call::Write(text.into());
        let calls = [Call::Open, write(head), Call::Other, write(tail), Call::Exit(0)];
        let mut link = Scripted::new(calls);
        let report = flashed(&mut link).unwrap();
        assert_eq!(report, Report::parse(REPORT.as_bytes()).unwrap());
        assert_eq!(link.answers, [CONSOLE, ALL_WRITTEN, FAILED, ALL_WRITTEN]);
    }

    #[test]
    fn what_reads_back_otherwise_is_named_by_its_address() {
        let end = [Call::Write(REPORT.into()), Call::Exit(0)];
        for address in [0x0800_0000, 0x0804_0003, 0x0804_4000] {
            let mut link = Scripted { stuck: Some(address), ..Scripted::new(end.clone()) };
            refused(&mut link, &[&format!("{address:#010x}"), "0xff", "0x07"]);
            assert_eq!(link.calls.len(), 2, "nothing was run");
        }
    }

    #[test]
    fn another_processor_gets_nothing_written() {
        for (cpuid, says) in [(0x411F_C272, "cortex-m7"), (0, "0x00000000"), (0x4200_C240, "0x4200c240")] {
            let mut link = Scripted { cpuid, ..Scripted::new([]) };
            refused(&mut link, &["another processor", says, "cortex-m4"]);
            assert!(link.memory.is_empty());
        }
    }

    #[test]
    fn ends_without_a_report_say_why() {
        refused(&mut Scripted::new([]), &["did not end within 1 s", "--time-limit"]);
        let begun = Call::Write("secateur-job 1\nstep 0 0 0000ffee 17\n".into());
        refused(&mut Scripted::new([begun.clone(), Call::Exit(3)]), &["exception", "1 steps had ended"]);
        refused(&mut Scripted::new([begun, Call::Exit(0)]), &["cut off"]);
        refused(&mut Scripted::new([Call::Exit(2)]), &["exit code 2"]);
        let fault = Call::Write("secateur-job 1\nfault no package in flash\n".into());
        refused(&mut Scripted::new([fault, Call::Exit(1)]), &["no package in flash"]);
    }

    #[test]
    fn boards_without_firmware_for_a_link_are_refused() {
        let refusal = |name: &str| check_family(&Board::load(name).unwrap()).unwrap_err().to_string();
        assert!(refusal("virt").contains("no Cortex-M"));
        assert!(refusal("pico2").contains("no firmware"));
    }
}
