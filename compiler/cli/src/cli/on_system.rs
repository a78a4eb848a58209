//! `sim --soc`: a frame in the simulation of a whole system on an FPGA, beside the same artefact on this machine.

use std::path::Path;
use std::time::Instant;

use secateur_base::{Error, Result, errln, outln};
use secateur_boards::Workshop;
use secateur_codegen::target::Target;
use secateur_data::Sample;
use secateur_deploy::{Deployed, sim};
use secateur_eval::NMS_THRESH;
use secateur_runtime::npu::Program;
use secateur_soc::{System, expected};

use super::on_board;

/// Detections need a score above this.
pub(super) const SCORE: f32 = 0.25;

/// Builds the system of target `name`, runs the artefact on it for at most `cycles` cycles, compares every output, and
/// prints what the frame took.
///
/// # Errors
/// Something is missing, does not fit or faults; an output's bytes differ: the first one.
pub(super) fn run(
    name: &str,
    artefact: &[u8],
    path: &Path,
    deployed: &Deployed<'_>,
    sample: &Sample,
    cycles: u64,
) -> Result<()> {
    let target = Target::load(name)?;
    let program = sim::program(deployed).map_err(|e| e.file(path))?;
    check(&target, &program, path)?;
    let (w, h) = sample.frame.inner;
    let image = deployed.quantise(&sample.input);
    let job = on_board::job(artefact, &image, [w, h], [SCORE, NMS_THRESH]);
    let system = System::build(&target, &Workshop::of_user()?, |what| errln!("{what} …"))?;
    let started = Instant::now();
    let frame = system.run(&job, cycles)?;
    let seconds = started.elapsed().as_secs_f64();
    frame.compare(&expected(&job)?)?;
    outln!(
        "{}: {} output maps and {} boxes of the whole system, every byte as on this machine ({seconds:.0} s)",
        target.name,
        frame.maps.len(),
        frame.results.detections.len(),
    );
    let predicted = program.header().cycles.get();
    let error = 100.0 * (f64::from(predicted) / f64::from(frame.cycles.max(1)) - 1.0);
    outln!("accelerator: {} cycles, {predicted} predicted ({error:+.2} %)", frame.cycles);
    let processor = frame.whole.saturating_sub(frame.cycles);
    outln!(
        "processor: {processor} cycles from the image in flash to the results, {} for the image, {} for the results",
        frame.image,
        frame.decoding
    );
    let [check, load] = frame.ready;
    outln!("once before all frames: {check} cycles to check the artefact, {load} to load its program");
    if let Some(soc) = target.soc {
        let rate = |cycles: u32| soc.frames_per_second(cycles.into());
        outln!(
            "at {} MHz: {:.1} frames a second of the accelerator, {:.1} of the whole",
            soc.clock_mhz,
            rate(frame.cycles),
            rate(frame.whole)
        );
    }
    Ok(())
}

/// Refuses a program for an accelerator of other sizes than the target's system has.
///
/// # Errors
/// Both sizes.
pub(super) fn check(target: &Target, program: &Program<'_>, path: &Path) -> Result<()> {
    let Some(sizes) = target.accelerator.map(|a| a.parameters()).filter(|_| target.soc.is_some()) else {
        return Ok(());
    };
    if sizes == program.parameters() {
        return Ok(());
    }
    Err(Error::new(format!("the artefact was not compiled for {}", target.name))
        .file(path)
        .found(program.parameters().to_string())
        .allowed(sizes.to_string())
        .help(format!("compile it with --target {}", target.name)))
}
