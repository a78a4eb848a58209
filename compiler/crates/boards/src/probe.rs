//! A board behind a debug probe, through the library of probe-rs.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use probe_rs::flashing::{DownloadOptions, FlashError};
use probe_rs::probe::list::{Accessibility, Lister, ProbeListItem};
use probe_rs::probe::{self, DebugProbeSelector};
use probe_rs::semihosting::SemihostingCommand;
use probe_rs::{BreakpointCause, CoreStatus, HaltReason, MemoryInterface, Permissions, Session};
use secateur_base::{Error, Result};
use secateur_codegen::target::Board;

use crate::image::{Image, Part};
use crate::link::{Call, Link};

/// How often it is looked whether the program has called.
const POLL: Duration = Duration::from_millis(1);
/// How long a processor may take to halt.
const PATIENCE: Duration = Duration::from_secs(1);
/// The processor that the firmware runs on; chips with several list it first.
const CORE: usize = 0;
const SET_UP: &str =
    "on Linux a udev rule gives a user access to probes: https://probe.rs/docs/getting-started/probe-setup";

/// A debug probe that is plugged in.
#[derive(Debug, Clone, PartialEq)]
pub struct DebugProbe(ProbeListItem);

impl DebugProbe {
    fn selector(&self) -> DebugProbeSelector {
        DebugProbeSelector::from(&self.0.info)
    }
}

/// What `--probe` takes, what the probe calls itself, and whether this user may open it.
impl fmt::Display for DebugProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let denied = match self.0.accessibility {
            Accessibility::Accessible => "",
            Accessibility::PermissionDenied => ", which this user may not open",
        };
        write!(f, "{}  {} ({}){denied}", self.selector(), self.0.info.identifier, self.0.info.probe_type())
    }
}

/// The probes that are plugged in.
pub fn probes() -> Vec<DebugProbe> {
    Lister::new().list_all_with_access().into_iter().map(DebugProbe).collect()
}

/// The one probe that `selector` names, or the only one.
fn choose(mut probes: Vec<DebugProbe>, selector: Option<&str>) -> Result<DebugProbe> {
    let list = |probes: &[DebugProbe]| probes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    if let Some(text) = selector {
        let selector: DebugProbeSelector = text.parse().map_err(|_| {
            Error::new("--probe names no probe")
                .found(text.to_owned())
                .allowed("VENDOR:PRODUCT or VENDOR:PRODUCT:SERIAL, as `secateur probe list` writes it")
        })?;
        let all = list(&probes);
        probes.retain(|probe| selector.matches_probe(&probe.0.info));
        if probes.is_empty() && !all.is_empty() {
            return Err(Error::new(format!("probe {text} is not plugged in")).found(all));
        }
    }
    match probes.len() {
        0 => Err(Error::new("no debug probe is plugged in").help(format!(
            "connect the USB socket of the board's debugger, or an ST-LINK, a J-Link or a CMSIS-DAP v2 probe; {SET_UP}"
        ))),
        1 => Ok(probes.remove(0)),
        _ => Err(Error::new("several debug probes are plugged in").found(list(&probes)).help(
            "say which with --probe: `secateur probe list` writes their selectors",
        )),
    }
}

/// A board's chip, attached through a probe.
#[derive(Debug)]
pub struct Probe {
    name: String,
    chip: String,
    session: Session,
}

impl Probe {
    /// Opens a probe and attaches to the chip of `board`: the probe that `selector` names, or the only one.
    ///
    /// # Errors
    /// The board names no chip; there is no such probe, or several, or this user may not open it; the chip does not
    /// answer, or is locked.
    pub fn open(board: &Board, selector: Option<&str>) -> Result<Self> {
        let chip = chip_of(board)?;
        let chosen = choose(probes(), selector)?;
        let opened = chosen.0.info.open().map_err(|e| {
            Error::new(format!("cannot open probe {}", chosen.selector())).found(causes(&e)).help(SET_UP)
        })?;
        Self::attach(chip, opened)
    }

    fn attach(chip: &str, probe: probe::Probe) -> Result<Self> {
        let name = format!("{chip} by {}", probe.get_name());
        let session = probe.attach(chip, Permissions::new()).map_err(|e| not_attached(chip, &e))?;
        Ok(Self { name, chip: chip.to_owned(), session })
    }

    fn failed(&self, what: &str, cause: &dyn std::error::Error) -> Error {
        Error::new(format!("{} cannot {what}", self.name)).found(causes(cause))
    }
}

fn chip_of(board: &Board) -> Result<&str> {
    board.chip.as_deref().ok_or_else(|| {
        Error::new(format!("the file of board {} names no chip", board.name))
            .help("its key `chip` says what probe-rs calls it")
    })
}

fn not_attached(chip: &str, error: &probe_rs::Error) -> Error {
    match error {
        probe_rs::Error::ChipNotFound(_) => Error::new(format!("probe-rs does not know the chip {chip}"))
            .found(causes(error))
            .help("the board's file names it in its key `chip`; `probe-rs chip list` has their names"),
        probe_rs::Error::MissingPermissions(_) => Error::new(format!("the chip {chip} is locked"))
            .found(causes(error))
            .help("only erasing all of it unlocks it; secateur leaves that to the maker's tool"),
        _ => Error::new(format!("no chip answers as a {chip}"))
            .found(causes(error))
            .help("is the board powered, its debugger connected to the chip, and --board this board?"),
    }
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

impl Link for Probe {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&mut self, parts: &[Part]) -> Result<()> {
        let mut loader = self.session.target().flash_loader();
        for part in parts {
            loader.add_data(part.address.into(), &part.bytes).map_err(|e| match e {
                FlashError::NoSuitableNvm { range, .. } => {
                    Error::new(format!("{} does not fit the flash of chip {}", part.name, self.chip))
                        .found(format!("{:#010x} to {:#010x}", range.start, range.end))
                        .help("the regions of the board's file are not this chip's")
                }
                e => self.failed(&format!("write {}", part.name), &e),
            })?;
        }
        // Reading back is the caller's, which names the address.
        let written = loader.commit(&mut self.session, DownloadOptions::default());
        written.map_err(|e| self.failed("write", &e))
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<()> {
        let read = self.session.core(CORE).and_then(|mut core| core.read(address.into(), bytes));
        read.map_err(|e| self.failed(&format!("read {address:#010x}"), &e))
    }

    fn reset(&mut self, _image: &Image) -> Result<()> {
        let halted = self.session.core(CORE).and_then(|mut core| core.reset_and_halt(PATIENCE));
        halted.map(drop).map_err(|e| self.failed("reset", &e))
    }

    fn resume(&mut self, deadline: Instant) -> Result<Option<Call>> {
        let stop = until_stopped(&mut self.session, deadline).map_err(|e| self.failed("run", &e))?;
        match stop {
            Stop::Call(call) => Ok(Some(call)),
            Stop::None => Ok(None),
            Stop::Other(status) => {
                Err(Error::new(format!("the processor of {} stopped without a call of the host", self.name))
                    .found(format!("{status:?}")))
            }
        }
    }

    fn answer(&mut self, result: i32) -> Result<()> {
        let answered = self.session.core(CORE).and_then(|mut core| {
            let register = core.registers().result_register(0).id();
            core.write_core_reg(register, result as u32)
        });
        answered.map_err(|e| self.failed("answer the program", &e))
    }
}

enum Stop {
    Call(Call),
    Other(CoreStatus),
    /// The deadline came first.
    None,
}

fn until_stopped(session: &mut Session, deadline: Instant) -> std::result::Result<Stop, probe_rs::Error> {
    let mut core = session.core(CORE)?;
    // Leaves a `bkpt` at which it stands behind.
    core.run()?;
    loop {
        match core.status()? {
            CoreStatus::Halted(HaltReason::Breakpoint(BreakpointCause::Semihosting(command))) => {
                return Ok(Stop::Call(match command {
                    SemihostingCommand::Open(_) => Call::Open,
                    SemihostingCommand::Write(request) => Call::Write(request.read(&mut core)?),
                    SemihostingCommand::ExitSuccess => Call::Exit(0),
                    SemihostingCommand::ExitError(details) => {
                        Call::Exit(details.exit_status.unwrap_or(details.reason))
                    }
                    _ => Call::Other,
                }));
            }
            status @ (CoreStatus::Halted(_) | CoreStatus::LockedUp) => return Ok(Stop::Other(status)),
            CoreStatus::Running | CoreStatus::Sleeping | CoreStatus::Unknown => {}
        }
        if Instant::now() >= deadline {
            core.halt(PATIENCE)?;
            return Ok(Stop::None);
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use probe_rs::config::{MemoryRegion, Registry};
    use probe_rs::integration::FakeProbe;
    use probe_rs::probe::DebugProbeInfo;
    use probe_rs::probe::stlink::StLinkFactory;

    use super::*;
    use crate::link::flash;

    fn listed(serial: &str, accessibility: Accessibility) -> DebugProbe {
        let serial = Some(serial.to_owned());
        let info = DebugProbeInfo::new("STLink V2-1", 0x0483, 0x374B, serial, &StLinkFactory, None, false);
        DebugProbe(ProbeListItem { info, accessibility })
    }

    #[test]
    fn a_probe_is_chosen_or_the_choice_is_named() {
        let two = || ["one", "two"].map(|serial| listed(serial, Accessibility::Accessible)).to_vec();
        let refusal = |probes, selector| format!("{:?}", choose(probes, selector).unwrap_err());
        let none = refusal(Vec::new(), None);
        assert!(none.contains("no debug probe") && none.contains("udev"), "{none}");
        assert!(refusal(Vec::new(), Some("0483:374b")).contains("no debug probe"));
        let several = refusal(two(), None);
        assert!(several.contains("0483:374b:one") && several.contains("0483:374b:two"), "{several}");
        assert!(several.contains("--probe"), "{several}");
        assert!(refusal(two(), Some("0483:374b")).contains("several"));
        assert!(refusal(two(), Some("0483:374b:three")).contains("not plugged in"));
        assert!(refusal(two(), Some("stlink")).contains("probe list"));
        assert_eq!(choose(two(), Some("0483:374b:two")).unwrap(), two()[1]);
        assert_eq!(choose(two()[..1].to_vec(), None).unwrap(), two()[0]);
        let denied = listed("one", Accessibility::PermissionDenied).to_string();
        assert_eq!(denied, "0483:374b:one  STLink V2-1 (ST-LINK), which this user may not open");
    }

    /// Every board that has a chip is one that probe-rs can write, and its regions are memory of that chip.
    #[test]
    fn probe_rs_knows_the_chips_of_the_boards_and_their_memory() {
        let registry = Registry::from_builtin_families();
        let mut chips = 0;
        for name in Board::names() {
            let board = Board::load(name).unwrap();
            // Espressif's chips are not in the library.
            let Some(chip) = board.chip.as_ref().filter(|chip| !chip.starts_with("esp")) else { continue };
            chips += 1;
            let target = registry.get_target_by_name(chip).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(target.name.eq_ignore_ascii_case(chip), "{name}: {chip} is {}", target.name);
            for (what, region) in board.regions.named() {
                let is_flash = matches!(what, "program" | "package");
                let (mut at, end) = (region.at.unwrap(), region.at.unwrap() + region.bytes);
                // A region may go over memories that follow on one another.
                while at < end {
                    let memory = target.memory_map.iter().find_map(|memory| match memory {
                        MemoryRegion::Nvm(nvm) if is_flash => Some(&nvm.range).filter(|r| r.contains(&at)),
                        MemoryRegion::Ram(ram) if !is_flash => Some(&ram.range).filter(|r| r.contains(&at)),
                        _ => None,
                    });
                    let no_memory =
                        || panic!("{name}: {what} has no memory at {at:#x}: {:#x?}", target.memory_map);
                    at = memory.unwrap_or_else(no_memory).end;
                }
            }
        }
        assert!(chips >= 5, "{chips} boards have a chip");
    }

    #[test]
    fn chips_are_attached_or_refused_with_a_reason() {
        let board = Board::load("stm32f407g-disc1").unwrap();
        let attach = |chip: &str| Probe::attach(chip, FakeProbe::with_mocked_core().into_probe());
        let nameless = Board::load("mps2-an386").unwrap();
        assert!(Probe::open(&nameless, None).unwrap_err().to_string().contains("names no chip"));
        let unknown = format!("{:?}", attach("ACME1").unwrap_err());
        assert!(unknown.contains("does not know the chip ACME1"), "{unknown}");
        // The mocked core's memory is zero, and with it the register that names the processor.
        let mut link = attach(chip_of(&board).unwrap()).unwrap();
        let image = Image { parts: Vec::new(), vectors: 0x0800_0000, host_calls: Vec::new() };
        let error = flash(&mut link, &board, &image, PATIENCE, |_| ()).unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("another processor") && error.contains("0x00000000"), "{error}");
        let part = Part { name: ".text".into(), address: 0x0900_0000, bytes: vec![0; 16] };
        let error = format!("{:?}", link.write(&[part]).unwrap_err());
        assert!(error.contains("does not fit the flash of chip STM32F407VGTx"), "{error}");
    }
}
