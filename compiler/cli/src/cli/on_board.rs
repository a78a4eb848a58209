//! `run --on` and `flash`: an artefact on a board or a processor with Linux, beside the same artefact on this machine.

use std::str::FromStr;
use std::time::Duration;

use secateur_base::{Error, Result, errln, outln};
use secateur_boards::{
    Board, Job, LinuxProcessor, Report, StepReport, Workshop, emulate, emulate_linux, expected,
};
use secateur_codegen::cpu::instructions;
use secateur_codegen::target::WeightOrder;
use secateur_data::Sample;
use secateur_deploy::{Deployed, kernel_macs, kernel_name, q30};
use secateur_runtime::artefact::Step;

/// Where an artefact runs.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In QEMU; the board's name or file.
    Qemu(String),
    /// In QEMU's user mode.
    Linux(LinuxProcessor),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text.split_once(':'), LinuxProcessor::find(text)) {
            (Some(("qemu", board)), _) if !board.is_empty() => Ok(Self::Qemu(board.to_owned())),
            (_, Some(processor)) => Ok(Self::Linux(processor)),
            _ => {
                let processors = LinuxProcessor::ALL.map(|processor| processor.name).join(", ");
                Err(format!("qemu:BOARD is allowed, such as qemu:mps2-an386, and {processors}"))
            }
        }
    }
}

/// Builds the place's program, runs it, compares every step and prints what each took, where that is known.
/// `thresholds` are those of score and overlap.
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
    let image = deployed.quantise(&sample.input);
    let (w, h) = sample.frame.inner;
    let job = job(artefact, &image, [w, h], thresholds);
    let building = |name: &str| errln!("building the program of {name} …");
    let (name, report, emulator, is_modelled) = match place {
        Place::Qemu(name) => {
            let board = Board::load(name)?;
            let program = Workshop::of_user()?.build(&board, || building(&board.name))?;
            let report = emulate(&board, &program, &job, limit)?;
            let is_modelled = board.target.weights == WeightOrder::Armv7em;
            (board.name, report, board.emulator, is_modelled)
        }
        Place::Linux(processor) => {
            let program = Workshop::of_user()?.build_for_linux(*processor, || building(processor.name))?;
            let report = emulate_linux(*processor, &program, &job, limit)?;
            (processor.name.to_owned(), report, None, false)
        }
    };
    let counts: Option<Vec<Counts>> = emulator.map(|emulator| {
        let steps = deployed.model().steps().zip(&report.steps);
        let count = |(step, measured): (Step<'_>, &StepReport)| Counts {
            counted: u64::from(measured.ticks) * emulator.instructions / emulator.ticks,
            expected: is_modelled.then(|| instructions::instructions(&step)),
        };
        steps.map(count).collect()
    });
    let (unit, remark) = match counts {
        Some(_) => ("instructions", "instructions are counted by QEMU, they are no cycles"),
        None => ("", "QEMU counts no instructions of a program under Linux"),
    };
    conclude(&name, deployed, &job, &report, counts.as_deref().map(|counts| (unit, counts)), remark)?;
    Ok(report)
}

/// The job of an image that covers `[width, height]` of the network's input. `thresholds` are those of score and overlap.
pub(super) fn job<'a>(
    artefact: &'a [u8],
    image: &'a [i8],
    frame: [usize; 2],
    thresholds: [f32; 2],
) -> Job<'a> {
    let [score_threshold, overlap_threshold] = thresholds.map(q30);
    Job { artefact, image, score_threshold, overlap_threshold, frame: frame.map(|side| side as u32) }
}

/// Holds what `name` reported against this machine, and prints the steps with their `counts` of a unit, and `remark`.
///
/// # Errors
/// A step's bytes differ: the first one; or the results.
pub(super) fn conclude(
    name: &str,
    deployed: &Deployed<'_>,
    job: &Job<'_>,
    report: &Report,
    counts: Option<(&str, &[Counts])>,
    remark: &str,
) -> Result<()> {
    report.compare(&expected(job)?).map_err(|error| in_layer(deployed, error))?;
    print_steps(deployed, counts);
    outln!("{name}: {} steps, every byte as on this machine; {remark}", report.steps.len());
    if report.dropped > 0 {
        outln!(
            "{} detections of lower scores had no room on the board, before suppression: raise --thresh",
            report.dropped
        );
    }
    Ok(())
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

/// Instructions or cycles of a step that were counted, and those that were expected where there is a model.
pub(super) struct Counts {
    pub(super) counted: u64,
    pub(super) expected: Option<u64>,
}

/// A table of the steps. With `counts` of them, of a unit: how many, those expected, their share, those for each
/// multiply-accumulate.
fn print_steps(deployed: &Deployed<'_>, counts: Option<(&str, &[Counts])>) {
    let (unit, counts) = counts.unzip();
    let total: u64 = counts.iter().copied().flatten().map(|count| count.counted).sum();
    let expected: Option<u64> =
        counts.and_then(|counts| counts.iter().map(|count| count.expected).sum::<Option<u64>>());
    let column = |count: Option<u64>| count.map_or(String::new(), |count| format!(" {count:>11}"));
    let heading = unit.map(|unit| {
        let expected = expected.map_or(String::new(), |_| format!(" {:>11}", "expected"));
        format!(" {unit:>12}{expected} {:>7} {:>9}", "share", "per MAC")
    });
    let heading = heading.unwrap_or_default();
    outln!("{:>4} {:>5}  {:<13} {:>16} {:>11}{heading}", "step", "layer", "kernel", "output", "MACs");
    let mut all_macs = 0;
    for step in deployed.model().steps() {
        let [h, w, c] = step.output().map_or([0; 3], |record| record.shape());
        let macs = kernel_macs(&step);
        all_macs += macs;
        let count = counts.and_then(|counts| counts.get(step.index())).map(|count| {
            let share = 100.0 * count.counted as f64 / total.max(1) as f64;
            let per = per_mac(count.counted, macs);
            format!(" {:>12}{} {share:>6.1}% {per:>9}", count.counted, column(count.expected))
        });
        outln!(
            "{:>4} {:>5}  {:<13} {:>16} {macs:>11}{}",
            step.index(),
            step.layer(),
            kernel_name(&step),
            format!("{w} × {h} × {c}"),
            count.unwrap_or_default(),
        );
    }
    let sum =
        counts.map(|_| format!(" {total:>12}{} {:>7} {:>9}", column(expected), "", per_mac(total, all_macs)));
    outln!("{:>4} {:>5}  {:<13} {:>16} {all_macs:>11}{}", "", "", "all", "", sum.unwrap_or_default());
}

fn per_mac(count: u64, macs: u64) -> String {
    if macs == 0 { String::new() } else { format!("{:.2}", count as f64 / macs as f64) }
}
