//! Runs a package with an accelerator and writes the report.

use core::convert::Infallible;
use core::time::Duration;

use secateur_runtime::artefact::format::{HeadKind, Target};
use secateur_runtime::artefact::{Head, Model, Step};
use secateur_runtime::detect::{self, Decoder, Detection, Found};
use secateur_runtime::npu::program::REGION_ALIGNMENT;
use secateur_runtime::npu::{Bus, Npu, Placement, Program};
use secateur_runtime::{Engine, Kernels};

use crate::package::{Package, image_order};
use crate::planes::{Map, Planes, SHAPE};
use crate::report::Line;
use crate::run::{
    Board, CLASSES, DETECTIONS, Fault, check_image, report, send_boxes, send_classes, suppress,
};

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

/// Runs the package in `flash`, whose image lies plane by plane: the artefact's program on the accelerator, all else on
/// `kernels` in `arena`. Reports to `board` what it took to get ready, what the program left in every output map, the
/// frame's times, and the results; a fault as well.
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
    report(board, |board| {
        let mut session = Session::open(flash, arena, accelerator, kernels, board)?;
        session.frame(board)
    })
}

/// A package whose program lies in the accelerator's memory: frames can be run.
pub(crate) struct Session<'f, 'a, B, K> {
    package: Package<'f>,
    engine: Engine<'f, 'a, K>,
    pub(crate) npu: Npu<'f, B>,
    placement: Placement,
    pub(crate) limit: Duration,
    /// Steps of the processor before the program.
    before: usize,
    /// Whether a step of the processor comes after the program.
    after: bool,
    /// Whether a step of the processor reads the image.
    image_read: bool,
}

/// What a frame found, in the caller's memory.
enum Results<'d> {
    Classes(&'d [u16]),
    Boxes(&'d [Detection], Found),
}

impl<'f, 'a, B: Bus<Error = Infallible>, K: Kernels> Session<'f, 'a, B, K> {
    pub(crate) fn open(
        flash: &'f [u8],
        arena: &'a mut [u8],
        accelerator: Accelerator<B>,
        kernels: K,
        board: &mut impl Board,
    ) -> Result<Self, Fault> {
        let started = board.ticks();
        let package = Package::from_bytes(flash).ok_or(Fault::NoPackage)?;
        let model = Model::from_bytes(package.artefact).map_err(Fault::Artefact)?;
        check_image(&package, &model, image_order::PLANES)?;
        let checked = board.ticks();
        let program = model.program().ok_or(Fault::NoProgram)?;
        let engine = Engine::with_kernels(&model, arena, kernels).map_err(Fault::Engine)?;
        let Accelerator { bus, memory, bytes, limit } = accelerator;
        let placement = place(&program, memory, bytes)?;
        let npu = Npu::new(bus, program, placement).map_err(Fault::Accelerator)?;
        let ready = board.ticks();
        let line = Line::new("ready").number(checked.wrapping_sub(started));
        line.number(ready.wrapping_sub(checked)).send(board);
        let before = model.steps().position(is_shared).unwrap_or(usize::MAX);
        let after = model.steps().skip(before).any(|step| !is_shared(step));
        let image_read = model
            .steps()
            .filter(|step| !is_shared(*step))
            .any(|step| (0..step.input_count()).any(|n| step.input_index(n) == Some(model.input())));
        Ok(Self { package, engine, npu, placement, limit, before, after, image_read })
    }

    /// One frame, and its part of the report.
    pub(crate) fn frame(&mut self, board: &mut impl Board) -> Result<(), Fault> {
        let (mut detections, mut probabilities) = ([Detection::default(); DETECTIONS], [0; CLASSES]);
        let started = board.ticks();
        self.put_image()?;
        let placed = board.ticks();
        self.npu.start().map_err(Fault::Accelerator)?;
        self.npu.wait(self.limit).map_err(Fault::Accelerator)?;
        let done = board.ticks();
        self.take_over()?;
        let results = self.results(&mut detections, &mut probabilities);
        let ended = board.ticks();
        for map in self.npu.program().outputs() {
            let crc = Planes::of(&mut self.npu, self.placement, map).checksum();
            Line::new("planes").number(map.tensor.get()).hex(crc).send(board);
        }
        let cycles = self.npu.counters().map_err(Fault::Accelerator)?.cycles;
        let line = Line::new("frame").number(cycles).number(ended.wrapping_sub(started));
        line.number(placed.wrapping_sub(started)).number(ended.wrapping_sub(done)).send(board);
        match results {
            Results::Classes(probabilities) => send_classes(probabilities, board),
            Results::Boxes(boxes, found) => send_boxes(boxes, found, board),
        }
        Ok(())
    }

    /// Brings the image to where the program reads it: at once, or by the processor's steps that come before it.
    pub(crate) fn put_image(&mut self) -> Result<(), Fault> {
        let input = self.engine.model().input();
        if self.image_read {
            self.unfold_image();
        }
        for step in self.engine.model().steps().take(self.before) {
            self.engine.execute_step(&step);
        }
        for map in self.npu.program().inputs() {
            let index = usize::try_from(map.tensor.get()).unwrap_or(usize::MAX);
            if index == input {
                Planes::of(&mut self.npu, self.placement, map).fill(self.package.image)?;
            } else {
                let tensor = self.engine.tensor(index).ok_or(SHAPE)?;
                self.npu.write_map(map, tensor).map_err(Fault::Accelerator)?;
            }
        }
        Ok(())
    }

    /// The image in the arena, pixel by pixel.
    fn unfold_image(&self) {
        let Some(input) = self.engine.input() else { return };
        for (channel, plane) in self.package.image.chunks(input.pixels().max(1)).enumerate() {
            for (pixel, &value) in plane.iter().enumerate() {
                if let Some(to) = input.pixel(pixel).get(channel) {
                    to.set(value);
                }
            }
        }
    }

    /// Does the processor's steps that come after the program. Where there are none, its outputs stay where they are.
    fn take_over(&mut self) -> Result<(), Fault> {
        if !self.after {
            return Ok(());
        }
        for map in self.npu.program().outputs() {
            let tensor = usize::try_from(map.tensor.get()).ok().and_then(|index| self.engine.tensor(index));
            self.npu.read_map(map, tensor.ok_or(SHAPE)?).map_err(Fault::Accelerator)?;
        }
        for step in self.engine.model().steps().skip(self.before).filter(|step| !is_shared(*step)) {
            self.engine.execute_step(&step);
        }
        Ok(())
    }

    /// What the heads say, each read where its map is: in the accelerator's memory if the program wrote it.
    fn results<'d>(&mut self, detections: &'d mut [Detection], probabilities: &'d mut [u16]) -> Results<'d> {
        let model = *self.engine.model();
        let header = self.package.header;
        if let Some(head) = model.heads().find(|head| head.kind == HeadKind::Classes) {
            let count = self.with_map(&head, |map| detect::probabilities(&head, map, probabilities));
            return Results::Classes(probabilities.get(..count.unwrap_or(0)).unwrap_or_default());
        }
        let mut decoder = Decoder::new(&model, header.score_threshold.get(), detections);
        for head in model.heads() {
            self.with_map(&head, |map| decoder.head(head, map));
        }
        let found = decoder.found();
        Results::Boxes(suppress(&model, header, detections, found), found)
    }

    /// Calls `read` with the map of a head; `None` cannot happen with a checked model.
    fn with_map<R>(&mut self, head: &Head<'_>, read: impl FnOnce(&mut Map<'_, '_, B>) -> R) -> Option<R> {
        let index = u32::try_from(head.tensor).ok()?;
        let written = self.npu.program().outputs().find(|map| map.tensor.get() == index);
        let mut map = match written {
            Some(map) => {
                let mut planes = Planes::of(&mut self.npu, self.placement, map);
                planes.refresh();
                Map::Planes(planes)
            }
            None => Map::Tensor(self.engine.tensor(head.tensor)?),
        };
        Some(read(&mut map))
    }
}

/// Whether the accelerator does a step.
fn is_shared(step: Step<'_>) -> bool {
    step.target() == Some(Target::Shared)
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
