//! Artefacts as the host uses them: listed, traced, evaluated, simulated.

use std::path::Path;

use secateur_base::error::ErrorKind;
use secateur_deploy::{Deployed, disassemble, sim};
use secateur_runtime::artefact::Model;
use secateur_sim::emulator::Emulator;

use super::accelerator::is_quick;
use super::artefact::{is_small, resealed};
use crate::{Outcome, Target};

pub(super) const DEPLOYED: Target = Target { name: "deployed", run, words: &[] };

fn run(bytes: &[u8]) -> Outcome {
    let Some(bytes) = resealed(bytes) else { return Outcome::of(&"short") };
    if Model::from_bytes(&bytes).is_ok_and(|model| !is_small(&model)) {
        return Outcome::of(&"large");
    }
    let deployed = match Deployed::new(&bytes, Path::new("fuzz.sct")) {
        Ok(deployed) => deployed,
        Err(error) => return Outcome::refused(&error),
    };
    let _ = deployed.names();
    let [h, w, c] = deployed.model().input_shape();
    let codes: Vec<i8> = (0..h * w * c).map(|at| (at * 5) as i8).collect();
    let mut shown = 0;
    deployed.trace(&codes, |output| shown += output.int8().len());
    let Ok(program) = sim::program(&deployed) else { return Outcome::of(&shown) };
    if let Err(error) = disassemble(&bytes) {
        assert!(error.kind() == ErrorKind::User, "{error}");
    }
    if !is_quick(&program) {
        return Outcome::of(&"slow");
    }
    let (memory, placement) = sim::memory(&program);
    let mut emulator = Emulator::new(program.parameters(), memory);
    match sim::frame(&mut emulator, &deployed, placement, &codes, |_| ()) {
        Ok(frame) => {
            assert!(!sim::print(&frame, &sim::layers(&frame, &deployed), 128).is_empty());
            assert!(!sim::svg(&frame).is_empty());
            Outcome::of(&frame.mismatch.is_some())
        }
        Err(error) => {
            assert!(error.kind() == ErrorKind::User, "{error}");
            Outcome::refused(&error)
        }
    }
}
