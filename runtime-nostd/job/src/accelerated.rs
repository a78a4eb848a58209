//! Runs a package with an accelerator and writes the report.

use core::convert::Infallible;
use core::time::Duration;

use secateur_runtime::artefact::Model;
use secateur_runtime::npu::program::REGION_ALIGNMENT;
use secateur_runtime::npu::{Bus, Npu, Placement, Program};
use secateur_runtime::{Engine, Kernels};

use crate::package::Package;
use crate::report::Line;
use crate::run::{Board, Fault, check_image, report, report_results};

/// An accelerator and the memory that its programs may have.
#[derive(Debug)]
pub struct Accelerator<B> {
    pub bus: B,
    /// First bus address of memory that nothing else uses, a multiple of 4096.
    pub memory: u32,
    /// Its bytes.
    pub bytes: u32,
    /// How long a frame may take.
    pub limit: Duration,
}

/// Runs the package in `flash`: the artefact's program on the accelerator, all else on `kernels` in `arena`. Reports to
/// `board` what the program left in every output map, the accelerator's cycles, ticks of the whole frame, and the
/// results; a fault as well.
///
/// # Errors
/// What is in `flash` cannot be run; [`Fault`] says why.
pub fn run_accelerated<B: Bus<Error = Infallible>>(
    flash: &[u8],
    arena: &mut [u8],
    accelerator: Accelerator<B>,
    kernels: impl Kernels,
    board: &mut impl Board,
) -> Result<(), Fault> {
    report(board, |board| work(flash, arena, accelerator, kernels, board))
}

fn work<B: Bus<Error = Infallible>>(
    flash: &[u8],
    arena: &mut [u8],
    accelerator: Accelerator<B>,
    kernels: impl Kernels,
    board: &mut impl Board,
) -> Result<(), Fault> {
    let package = Package::from_bytes(flash).ok_or(Fault::NoPackage)?;
    let model = Model::from_bytes(package.artefact).map_err(Fault::Artefact)?;
    check_image(&package, &model)?;
    let program = model.program().ok_or(Fault::NoProgram)?;
    let mut engine = Engine::with_kernels(&model, arena, kernels).map_err(Fault::Engine)?;
    let Accelerator { bus, memory, bytes, limit } = accelerator;
    let placement = place(&program, memory, bytes)?;
    let mut npu = Npu::new(bus, program, placement).map_err(Fault::Accelerator)?;
    let started = board.ticks();
    if let Some(input) = engine.input() {
        input.copy_from(package.image);
    }
    npu.run(&mut engine, limit).map_err(Fault::Accelerator)?;
    let ticks = board.ticks().wrapping_sub(started);
    for map in npu.program().outputs() {
        let index = map.tensor.get();
        if let Some(tensor) = usize::try_from(index).ok().and_then(|index| engine.tensor(index)) {
            Line::new("map").number(index).hex(tensor.crc32()).send(board);
        }
    }
    let cycles = npu.counters().map_err(Fault::Accelerator)?.cycles;
    Line::new("frame").number(cycles).number(ticks).send(board);
    report_results(&engine, package.header, board);
    Ok(())
}

/// Program and work region, one after the other.
fn place(program: &Program<'_>, memory: u32, bytes: u32) -> Result<Placement, Fault> {
    let size = u32::try_from(program.bytes().len()).ok();
    let work = size.and_then(|size| size.checked_next_multiple_of(REGION_ALIGNMENT));
    let needed = work.and_then(|work| work.checked_add(program.header().work_bytes.get()));
    match (work, needed) {
        (Some(work), Some(needed)) if needed <= bytes => {
            Ok(Placement { program: memory, work: memory.wrapping_add(work) })
        }
        _ => Err(Fault::Memory { needed: needed.unwrap_or(u32::MAX), found: bytes }),
    }
}
