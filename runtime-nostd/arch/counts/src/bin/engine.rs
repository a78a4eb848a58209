//! Runs an artefact, a file that the argument names, on the reference kernels and on those of Cortex-M4 and M7 side by side:
//! every step's output is compared, and the tuned steps are counted.
#![no_std]
#![no_main]

use core::fmt::Write;

use secateur_counts::machine::{Host, argument, counted, read_file};
use secateur_counts::memory::{Random, Shared};
use secateur_kernels::Thumb;
use secateur_runtime::artefact::Model;
use secateur_runtime::{Engine, Reference};

/// The kernels under test, all of them.
const THUMB: Thumb = Thumb;

/// Room for the artefact, aligned as in flash, and for two arenas.
#[repr(C, align(16))]
struct Room {
    artefact: [u8; 1 << 20],
    arenas: [[u8; 3 << 18]; 2],
}

static ROOM: Shared<Room> = Shared::new(Room { artefact: [0; 1 << 20], arenas: [[0; 3 << 18]; 2] });

#[unsafe(no_mangle)]
fn program() -> bool {
    // SAFETY: the only call.
    let room = unsafe { ROOM.take() };
    match run(room) {
        Ok(steps) => {
            let _ = writeln!(Host, "{steps} steps alike");
            true
        }
        Err(what) => {
            let _ = writeln!(Host, "{what}");
            false
        }
    }
}

fn run(room: &mut Room) -> Result<usize, &'static str> {
    let Room { artefact, arenas: [a, b] } = room;
    let mut line = [0; 1024];
    let name = argument(&mut line).ok_or("no file is named")?;
    let bytes = read_file(name, artefact).ok_or("the file is missing or too long")?;
    let model = Model::from_bytes(bytes).map_err(|_| "the artefact is refused")?;
    let mut reference = Engine::with_kernels(&model, a, Reference).map_err(|_| "the arena is too small")?;
    let mut tuned = Engine::with_kernels(&model, b, THUMB).map_err(|_| "the arena is too small")?;
    let random = &mut Random(1);
    let (one, two) = (reference.input().ok_or("no input")?, tuned.input().ok_or("no input")?);
    for (one, two) in one.bytes().iter().zip(two.bytes()) {
        let pixel = random.bits() as i8;
        one.set(pixel);
        two.set(pixel);
    }
    let mut packed = 0;
    for step in model.steps() {
        let expected = reference.execute_step(&step).ok_or("a step does not run")?;
        let mut found = None;
        counted(|| found = tuned.execute_step(&step));
        let found = found.ok_or("a step does not run")?;
        for pixel in 0..expected.pixels() {
            if expected.pixel(pixel) != found.pixel(pixel) {
                let _ = writeln!(Host, "step {} of layer {} differs", step.index(), step.layer());
                return Err("kernels differ");
            }
        }
        packed += usize::from(step.record().encoding != 0);
        let _ = writeln!(
            Host,
            "step {} layer {} encoding {}",
            step.index(),
            step.layer(),
            step.record().encoding
        );
    }
    if packed == 0 { Err("nothing is packed") } else { Ok(model.step_count()) }
}
