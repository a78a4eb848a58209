//! Firmware that a debugger's link brings to a board and serves: QEMU's server of GDB's protocol is the board.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use secateur_boards::{Board, Gdb, Image, Part, expected, flash};
use secateur_codegen::compile;
use secateur_codegen::target::Family;
use secateur_runtime::artefact::Model;

use super::c_program::classifier;
use super::{LIMIT, emulated_boards, parts, program, with_a_wrong_weight};

/// QEMU with an empty machine that waits for a debugger.
struct Machine {
    qemu: Child,
    address: String,
}

impl Machine {
    fn start(machine: &str) -> Self {
        // A port that is free now.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut qemu = Command::new("qemu-system-arm");
        qemu.args(["-display", "none", "-monitor", "none", "-serial", "none", "-machine", machine]);
        qemu.args(["-S", "-gdb", &format!("tcp:{address}")]).stdin(Stdio::null());
        Self { qemu: qemu.spawn().unwrap(), address }
    }

    /// Connects as soon as it listens.
    fn connect(&mut self) -> Gdb {
        let started = Instant::now();
        loop {
            match Gdb::connect(&self.address) {
                Ok(link) => return link,
                Err(e) if started.elapsed() > LIMIT => panic!("{e:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
            assert!(self.qemu.try_wait().unwrap().is_none(), "QEMU has ended");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn cortex_m() -> impl Iterator<Item = Board> {
    emulated_boards()
        .into_iter()
        .filter(|board| board.firmware.is_some_and(|firmware| firmware.family == Family::CortexM))
}

fn machine(board: &Board) -> Machine {
    Machine::start(&board.emulator.as_ref().unwrap().machine)
}

#[test]
fn every_flashed_cortex_m_gives_the_bytes_of_this_machine() {
    let cases = [parts(), classifier()];
    for board in cortex_m() {
        let Some(program) = program(&board) else { continue };
        let mut machine = machine(&board);
        let mut link = machine.connect();
        // One after the other on the same board.
        for case in &cases {
            let artefact = case.artefact(&board.target);
            let job = case.job(&artefact);
            let image = Image::new(&board, &program, &job).unwrap();
            let what = format!("{} on {}", case.name, board.name);
            let mut said = Vec::new();
            let found = flash(&mut link, &board, &image, LIMIT, |step| said.push(step.to_owned()))
                .unwrap_or_else(|e| panic!("{what}: {e:?}"));
            found.compare(&expected(&job).unwrap()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            assert_eq!(found.steps.len(), Model::from_bytes(&artefact).unwrap().step_count(), "{what}");
            assert!(said[0].contains(&format!("writing {} bytes", image.len())), "{said:?}");
            println!("{what}: {} bytes written, {} steps, 0 differing bytes", image.len(), found.steps.len());
        }
    }
}

#[test]
fn what_cannot_be_flashed_or_differs_is_an_error_with_a_reason() {
    let case = classifier();
    let Some(board) = cortex_m().find(|board| board.name == "mps2-an386") else { return };
    let Some(program) = program(&board) else { return };
    let mut machine = machine(&board);
    let mut link = machine.connect();
    let artefact = case.artefact(&board.target);
    let job = case.job(&artefact);
    let image = Image::new(&board, &program, &job).unwrap();
    // The program or the arena is longer than the board's file allows; a file is no program.
    let mut narrow = board.clone();
    narrow.regions.program.bytes = 0x1000;
    let error = format!("{:?}", Image::new(&narrow, &program, &job).unwrap_err());
    assert!(error.contains("section .text") && error.contains("0x00001000"), "{error}");
    narrow = board.clone();
    narrow.regions.arena.bytes = 16;
    assert!(Image::new(&narrow, &program, &job).unwrap_err().to_string().contains("the arena does not fit"));
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let error = Image::new(&board, &text, &job).unwrap_err().to_string();
    assert!(error.contains("not a program for a board"), "{error}");
    let mut refused = |board: &Board, image: &Image, limit: Duration, says: &[&str]| {
        let error = format!("{:?}", flash(&mut link, board, image, limit, |_| ()).unwrap_err());
        assert!(says.iter().all(|part| error.contains(part)), "{says:?} are not in {error}");
    };
    let other = Board::load("mps2-an500").unwrap();
    refused(&other, &image, LIMIT, &["another processor", "cortex-m4", "cortex-m7"]);
    let with = |address| {
        let mut image = image.clone();
        image.parts.push(Part { name: "stray".into(), address, bytes: vec![1; 8] });
        image
    };
    // There is no memory, and a register that stays zero.
    refused(&board, &with(0xD000_0000), LIMIT, &["0xd0000000"]);
    refused(&board, &with(0xE000_ED00), LIMIT, &["0xe000ed00", "does not hold what was written"]);
    refused(&board, &image, Duration::ZERO, &["did not end within 0 s"]);
    // A package that does not begin as one.
    let mut cut = image.clone();
    cut.parts.last_mut().unwrap().bytes[0] ^= 1;
    refused(&board, &cut, LIMIT, &["no package in flash"]);
    // A weight of another value, beside the artefact that it came from.
    let (net, layer) = with_a_wrong_weight(&case.net);
    let other = compile(&net, &board.target, |_, _, _| {}).unwrap().artefact;
    let image = Image::new(&board, &program, &case.job(&other)).unwrap();
    let found = flash(&mut link, &board, &image, LIMIT, |_| ()).unwrap();
    let error = found.compare(&expected(&job).unwrap()).unwrap_err();
    assert_eq!(error.at_layer(), Some(layer), "{error:?}");
}
