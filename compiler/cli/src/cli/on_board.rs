//! `run --on`: an artefact on a board that QEMU shows, beside the same artefact on this machine.

use std::str::FromStr;
use std::time::Duration;

use secateur_base::{Error, Result, errln, outln};
use secateur_boards::{Board, Job, Report, Workshop, emulate, expected};
use secateur_codegen::cpu::instructions;
use secateur_codegen::target::WeightOrder;
use secateur_data::Sample;
use secateur_deploy::{Deployed, kernel_macs, kernel_name, q30};

/// Where an artefact runs.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In QEMU; the board's name or file.
    Qemu(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some(("qemu", board)) if !board.is_empty() => Ok(Self::Qemu(board.to_owned())),
            _ => Err("qemu:BOARD is allowed, such as qemu:mps2-an386".to_owned()),
        }
    }
}

/// Builds the board's firmware, runs it, compares every step and prints what each took. `thresholds` are those of
/// score and overlap.
///
/// # Errors
/// Something is missing, does not fit or faults; a step's bytes differ: the first one.
pub(super) fn run(
    place: &Place,
    artefact: &[u8],
    deployed: &Deployed<'_>,
    sample: &Sample,
    thresholds: [f32; 2],
    limit: Duration,
) -> Result<Report> {
    let Place::Qemu(name) = place;
    let board = Board::load(name)?;
    let [score_threshold, overlap_threshold] = thresholds.map(q30);
    let (w, h) = sample.frame.inner;
    let job = Job {
        artefact,
        image: &deployed.quantise(&sample.input),
        score_threshold,
        overlap_threshold,
        frame: [w as u32, h as u32],
    };
    let program =
        Workshop::of_user()?.build(&board, || errln!("building the firmware of {} …", board.name))?;
    let report = emulate(&board, &program, &job, limit)?;
    report.compare(&expected(&job)?).map_err(|error| in_layer(deployed, error))?;
    print_steps(deployed, &board, &report);
    if report.dropped > 0 {
        outln!(
            "{} detections of lower scores had no room on the board, before suppression: raise --thresh",
            report.dropped
        );
    }
    Ok(report)
}

/// Names the kernel of the layer that an error is about.
fn in_layer(deployed: &Deployed<'_>, error: Error) -> Error {
    let layer = error.at_layer();
    let step = deployed.model().steps().find(|step| Some(step.layer() as usize) == layer);
    match step {
        Some(step) => error.section(kernel_name(&step)),
        None => error,
    }
}

/// A table of the steps: instructions, what was expected where the processor has a model, their share, instructions for each
/// multiply-accumulate.
fn print_steps(deployed: &Deployed<'_>, board: &Board, report: &Report) {
    let (ticks_of, instructions_of) =
        board.emulator.as_ref().map_or((1, 1), |emulator| (emulator.ticks, emulator.instructions));
    let instructions = |ticks: u32| u64::from(ticks) * instructions_of / ticks_of;
    let total: u64 = report.steps.iter().map(|step| instructions(step.ticks)).sum();
    let is_modelled = board.target.weights == WeightOrder::Armv7em;
    let expected = |count: u64| if is_modelled { format!(" {count:>11}") } else { String::new() };
    outln!(
        "{:>4} {:>5}  {:<13} {:>16} {:>11} {:>12}{} {:>7} {:>9}",
        "step",
        "layer",
        "kernel",
        "output",
        "MACs",
        "instructions",
        if is_modelled { "    expected" } else { "" },
        "share",
        "per MAC"
    );
    let (mut all_macs, mut all_expected) = (0, 0);
    for (step, measured) in deployed.model().steps().zip(&report.steps) {
        let [h, w, c] = step.output().map_or([0; 3], |record| record.shape());
        let (macs, count) = (kernel_macs(&step), instructions(measured.ticks));
        let model = instructions::instructions(&step);
        (all_macs, all_expected) = (all_macs + macs, all_expected + model);
        outln!(
            "{:>4} {:>5}  {:<13} {:>16} {macs:>11} {count:>12}{} {:>6.1}% {:>9}",
            step.index(),
            step.layer(),
            kernel_name(&step),
            format!("{w} × {h} × {c}"),
            expected(model),
            100.0 * count as f64 / total.max(1) as f64,
            per_mac(count, macs),
        );
    }
    outln!(
        "{:>4} {:>5}  {:<13} {:>16} {all_macs:>11} {total:>12}{} {:>7} {:>9}",
        "",
        "",
        "all",
        "",
        expected(all_expected),
        "",
        per_mac(total, all_macs)
    );
    outln!(
        "{}: {} steps, every byte as on this machine; instructions are counted by QEMU, they are no cycles",
        board.name,
        report.steps.len()
    );
}

fn per_mac(instructions: u64, macs: u64) -> String {
    if macs == 0 { String::new() } else { format!("{:.2}", instructions as f64 / macs as f64) }
}
