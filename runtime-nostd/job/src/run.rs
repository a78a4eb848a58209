//! Runs a package and writes the report.

use core::convert::Infallible;

use secateur_runtime::artefact::{Error, Model, Step};
use secateur_runtime::detect::{self, Detection, Found};
use secateur_runtime::npu::driver;
use secateur_runtime::{Engine, EngineError, Hook, Kernels, Tensor};

use crate::package::{Header, Package, image_order};
use crate::report::{Line, VERSION};

/// Room for detections before suppression: the best scores stay.
pub const DETECTIONS: usize = 128;
/// Classes of a classifier that are reported.
pub const CLASSES: usize = 1000;

/// What a processor brings.
pub trait Board {
    /// A counter that rises while the processor works, modulo 2^32. What it counts, the host knows.
    fn ticks(&mut self) -> u32;

    /// Sends bytes to the host.
    fn write(&mut self, text: &[u8]);
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The flash holds no package.
    NoPackage,
    Artefact(Error),
    Engine(EngineError),
    /// The image has another number of values than the network's input.
    Image {
        needed: usize,
        found: usize,
    },
    /// The image's values are in another order; see [`image_order`].
    ImageOrder {
        needed: u32,
        found: u32,
    },
    /// The artefact holds no program for an accelerator.
    NoProgram,
    /// The accelerator's memory is too small for program and maps.
    Memory {
        needed: u32,
        found: u32,
    },
    Accelerator(driver::Error<Infallible>),
}

/// Runs the package in `flash` on `kernels` in `arena` and reports to `board`, a fault as well.
///
/// # Errors
/// What is in `flash` cannot be run; [`Fault`] says why.
pub fn run(
    flash: &[u8],
    arena: &mut [u8],
    kernels: impl Kernels,
    board: &mut impl Board,
) -> Result<(), Fault> {
    report(board, |board| work(flash, arena, kernels, board))
}

/// The report's first line, those of `work`, and the last: its end or its fault.
pub(crate) fn report<B: Board>(
    board: &mut B,
    work: impl FnOnce(&mut B) -> Result<(), Fault>,
) -> Result<(), Fault> {
    Line::new("secateur-job").number(VERSION).send(board);
    let result = work(board);
    match result {
        Ok(()) => Line::new("end").send(board),
        Err(fault) => describe(fault).send(board),
    }
    result
}

fn work(flash: &[u8], arena: &mut [u8], kernels: impl Kernels, board: &mut impl Board) -> Result<(), Fault> {
    let package = Package::from_bytes(flash).ok_or(Fault::NoPackage)?;
    let model = Model::from_bytes(package.artefact).map_err(Fault::Artefact)?;
    check_image(&package, &model, image_order::PIXELS)?;
    let mut engine = Engine::with_kernels(&model, arena, kernels).map_err(Fault::Engine)?;
    engine.run(package.image, &mut Profile { board: &mut *board, started: 0 });
    report_results(&engine, package.header, board);
    Ok(())
}

/// Refuses an image that is not the network's input, or whose values are in another order.
pub(crate) fn check_image(package: &Package<'_>, model: &Model<'_>, order: u32) -> Result<(), Fault> {
    let [h, w, c] = model.input_shape();
    let (needed, found) = (h * w * c, package.image.len());
    if needed != found {
        return Err(Fault::Image { needed, found });
    }
    let found = package.header.image_order.get();
    if found == order { Ok(()) } else { Err(Fault::ImageOrder { needed: order, found }) }
}

/// Reports what a network found: classes of a classifier, boxes of a detector.
fn report_results<K: Kernels>(engine: &Engine<'_, '_, K>, header: &Header, board: &mut impl Board) {
    let mut probabilities = [0; CLASSES];
    if let Some(count) = detect::classify(engine, &mut probabilities) {
        return send_classes(probabilities.get(..count).unwrap_or_default(), board);
    }
    let mut detections = [Detection::default(); DETECTIONS];
    let found = detect::decode(engine, header.score_threshold.get(), &mut detections);
    let boxes = suppress(engine.model(), header, &mut detections, found);
    send_boxes(boxes, found, board);
}

/// Leaves the detections that no better one overlaps.
pub(crate) fn suppress<'d>(
    model: &Model<'_>,
    header: &Header,
    detections: &'d mut [Detection],
    found: Found,
) -> &'d [Detection] {
    let detections = detections.get_mut(..found.kept).unwrap_or_default();
    let frame = header.frame.map(|extent| extent.get());
    let left = detect::suppress(detections, &model.suppression(), header.overlap_threshold.get(), frame);
    detections.get(..left).unwrap_or_default()
}

/// Reports every step.
struct Profile<'b, B> {
    board: &'b mut B,
    started: u32,
}

impl<B: Board> Hook for Profile<'_, B> {
    fn before(&mut self, _step: &Step<'_>) {
        self.started = self.board.ticks();
    }

    fn after(&mut self, step: &Step<'_>, output: Tensor<'_>) {
        let ticks = self.board.ticks().wrapping_sub(self.started);
        let line = Line::new("step").number(step.index() as u32).number(step.layer());
        line.hex(output.crc32()).number(ticks).send(self.board);
    }
}

/// A classifier's probabilities.
pub(crate) fn send_classes(probabilities: &[u16], board: &mut impl Board) {
    for (class, &probability) in (0u32..).zip(probabilities) {
        Line::new("class").number(class).number(probability).send(board);
    }
}

/// Detections after suppression; of those found before it, how many had no room.
pub(crate) fn send_boxes(boxes: &[Detection], found: Found, board: &mut impl Board) {
    for d in boxes {
        let line = Line::new("box").number(d.class).number(d.score).number(d.objectness);
        line.number(d.x).number(d.y).number(d.w).number(d.h).number(d.index).send(board);
    }
    if found.dropped > 0 {
        Line::new("dropped").number(found.dropped as u32).send(board);
    }
}

fn describe(fault: Fault) -> Line {
    let line = Line::new("fault");
    let sizes = |line: Line, needed: usize, found: usize| line.number(needed as u32).number(found as u32);
    match fault {
        Fault::NoPackage => line.word("no package in flash"),
        Fault::Artefact(error) => describe_artefact(line, error),
        Fault::Engine(EngineError::ArenaTooSmall { needed, found }) => {
            sizes(line.word("arena too small (bytes needed, found):"), needed, found)
        }
        Fault::Engine(EngineError::MissingOperators(missing)) => {
            line.word("kernels are not linked (set of bits):").hex(missing.bits())
        }
        Fault::Image { needed, found } => {
            sizes(line.word("image of another size (bytes needed, found):"), needed, found)
        }
        Fault::ImageOrder { needed, found } => {
            line.word("image in another order (needed, found):").number(needed).number(found)
        }
        Fault::NoProgram => line.word("artefact without a program for an accelerator"),
        Fault::Memory { needed, found } => line
            .word("memory of the accelerator too small (bytes needed, found):")
            .number(needed)
            .number(found),
        Fault::Accelerator(error) => describe_accelerator(line, error),
    }
}

fn describe_accelerator(line: Line, error: driver::Error<Infallible>) -> Line {
    use driver::Error;
    match error {
        Error::Bus(never) => match never {},
        Error::NotFound { id } => line.word("no accelerator (its ID register):").hex(id),
        Error::Version { found } => line.word("accelerator of another version:").hex(found),
        Error::Parameters { .. } => line.word("artefact for an accelerator of other sizes"),
        Error::Placement => line.word("accelerator's memory is misaligned"),
        Error::Busy => line.word("accelerator is busy"),
        Error::Fault { code, info } => {
            line.word("accelerator fault (code, address or command):").number(code as u32).hex(info)
        }
        Error::UnknownFault { code, info } => {
            line.word("accelerator fault (code, address or command):").number(code).hex(info)
        }
        Error::TimeOut => line.word("accelerator is silent"),
        Error::ResetStuck => line.word("accelerator's reset waits for memory"),
        Error::Shape => line.word("program and network have other shapes"),
    }
}

/// Short: the host has checked the same bytes and says more.
fn describe_artefact(line: Line, error: Error) -> Line {
    match error {
        Error::Crc { stored, computed } => {
            line.word("artefact damaged (CRC-32 stored, computed):").hex(stored).hex(computed)
        }
        Error::Version { major, minor } => line.word("artefact of format").number(major).number(minor),
        Error::Step { index, layer, .. } => {
            line.word("artefact refused (step, layer):").number(index as u32).number(layer)
        }
        _ => line.word("artefact refused"),
    }
}
