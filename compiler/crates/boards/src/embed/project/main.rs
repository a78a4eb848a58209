//! Runs the network on one image and prints what it finds through semihosting: to QEMU or a debugger. A board that has
//! neither halts at the first line; print by other means there.
#![no_std]
#![no_main]

mod model;

use cortex_m_rt::entry;
use secateur_runtime::artefact::Model;
use secateur_runtime::detect::{self, Detection};
use secateur_runtime::{Engine, Kernels};
use semihosting::{eprintln, println, process};

/// Detections need a score above a quarter, in units of 2^-30.
const SCORE_THRESHOLD: u32 = 1 << 28;
/// Of two boxes of a class that overlap by more than .45 the better stays.
const OVERLAP_THRESHOLD: u32 = 483_183_821;
const DETECTIONS: usize = 64;
const CLASSES: usize = 1000;

#[entry]
fn main() -> ! {
    static mut ARENA: [u8; model::ARENA_BYTES] = [0; model::ARENA_BYTES];
    // The compiler has checked what it wrote.
    let model = Model::from_checked_bytes(&model::ARTEFACT.0).unwrap_or_else(|error| fail(&error));
    let mut engine = Engine::with_kernels(&model, ARENA, model::KERNELS).unwrap_or_else(|error| fail(&error));
    if let Some(input) = engine.input() {
        // An input lies in one piece; the network takes bytes less 128.
        for (code, pixel) in input.bytes().iter().zip(&model::IMAGE) {
            code.set((pixel ^ 0x80) as i8);
        }
    }
    engine.execute(&mut ());
    if !print_classes(&engine) {
        print_boxes(&engine);
    }
    process::exit(0)
}

/// Prints a classifier's probabilities, in units of 2^-15; `false` where the network is none.
fn print_classes<K: Kernels>(engine: &Engine<'_, '_, K>) -> bool {
    let mut probabilities = [0; CLASSES];
    let Some(count) = detect::classify(engine, &mut probabilities) else { return false };
    for (class, probability) in probabilities.iter().take(count).enumerate() {
        println!("class {class} {} probability {probability}", engine.model().class_name(class));
    }
    true
}

/// Prints boxes, best first: scores in units of 2^-30, places in 2^-16 pixels of the input.
fn print_boxes<K: Kernels>(engine: &Engine<'_, '_, K>) {
    let mut detections = [Detection::default(); DETECTIONS];
    let found = detect::decode(engine, SCORE_THRESHOLD, &mut detections);
    let kept = detections.get_mut(..found.kept).unwrap_or_default();
    let frame = [model::WIDTH as u32, model::HEIGHT as u32];
    let left = detect::suppress(kept, &engine.model().suppression(), OVERLAP_THRESHOLD, frame);
    for d in kept.iter().take(left) {
        let name = engine.model().class_name(d.class.into());
        println!("box {} {name} score {} x {} y {} w {} h {}", d.class, d.score, d.x, d.y, d.w, d.h);
    }
}

fn fail(error: &dyn core::fmt::Debug) -> ! {
    eprintln!("error: {error:?}");
    process::exit(1)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(info)
}
