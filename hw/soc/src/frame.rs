//! What a system says of a frame, and what it must say.

use secateur_base::{Error, Result};
use secateur_boards::Report;
use secateur_job::{Job, Package};
use secateur_runtime::artefact::format::Target as Placed;
use secateur_runtime::artefact::{Model, Step, crc32};
use secateur_runtime::{Engine, Tensor};

/// An output map of the accelerator's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Index of the tensor.
    pub tensor: usize,
    /// CRC-32 of its values, `[c, h, w]`.
    pub crc: u32,
}

/// A frame of a whole system.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    pub maps: Vec<Map>,
    /// Cycles of the accelerator.
    pub cycles: u32,
    /// Cycles from the image in flash to the results, the accelerator's among them.
    pub whole: u32,
    /// Cycles of these that brought the image into the accelerator's memory.
    pub image: u32,
    /// Cycles of these that made results of the accelerator's outputs.
    pub decoding: u32,
    /// Cycles of the artefact's check, and of its program's way into the accelerator's memory: once, before all frames.
    pub ready: [u32; 2],
    /// What the processor made of the outputs.
    pub results: Report,
}

impl Frame {
    /// Reads a system's report: lines `ready`, `planes` and `frame` are the system's own, the others every board's.
    ///
    /// # Errors
    /// The system reported a fault; the report is damaged or cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut frame = Self::default();
        let mut rest = String::new();
        for line in text.lines() {
            match frame.line(line) {
                Some(()) => {}
                None => rest.extend([line, "\n"]),
            }
        }
        frame.results = Report::parse(rest.as_bytes())?;
        Ok(frame)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["planes", tensor, crc] => {
                self.maps.push(Map { tensor: tensor.parse().ok()?, crc: u32::from_str_radix(crc, 16).ok()? })
            }
            ["ready", check, load] => self.ready = [check.parse().ok()?, load.parse().ok()?],
            ["frame", cycles, whole, image, decoding] => {
                (self.cycles, self.whole) = (cycles.parse().ok()?, whole.parse().ok()?);
                (self.image, self.decoding) = (image.parse().ok()?, decoding.parse().ok()?);
            }
            _ => return None,
        }
        Some(())
    }

    /// Holds this frame against the one that is expected: everything but the cycles.
    ///
    /// # Errors
    /// They differ: the first map that does, or the results.
    pub fn compare(&self, expected: &Self) -> Result<()> {
        for (found, wanted) in self.maps.iter().zip(&expected.maps) {
            if found != wanted {
                return Err(Error::new(format!("tensor {} has other bytes in the system", wanted.tensor))
                    .found(format!("tensor {}, CRC-32 {:08x}", found.tensor, found.crc))
                    .allowed(format!(
                        "tensor {}, CRC-32 {:08x}, as on this machine",
                        wanted.tensor, wanted.crc
                    )));
            }
        }
        let (found, wanted) = (self.maps.len(), expected.maps.len());
        if found != wanted || wanted == 0 {
            return Err(Error::new("the system reports another number of output maps")
                .found(found.to_string())
                .allowed(format!("{wanted}, and at least one")));
        }
        self.results.compare(&expected.results)
    }
}

/// What a system must say of `job`, from this machine's kernels; cycles are 0.
///
/// # Errors
/// The job cannot be run, or its artefact has no program.
pub fn expected(job: &Job<'_>) -> Result<Frame> {
    let results = secateur_boards::expected(job)?;
    let bytes = secateur_boards::package(job)?;
    let package = Package::from_bytes(&bytes).ok_or_else(|| Error::internal("a package is not one"))?;
    let model = Model::from_bytes(package.artefact).map_err(|e| Error::new(e.to_string()))?;
    let program = model.program().ok_or_else(|| {
        Error::new("the artefact has no program for an accelerator")
            .help("compile it with --target, for one of the systems in `secateur targets list`")
    })?;
    let mut arena = vec![0; model.arena_bytes()];
    let mut engine = Engine::with_kernels(&model, &mut arena, secateur_kernels::HostKernels)
        .map_err(|e| Error::new(e.to_string()))?;
    if let Some(input) = engine.input() {
        input.copy_from(package.image);
    }
    // In the driver's order: what is before the program, the program, and not what comes after it, which may overwrite.
    let shared = |step: &Step<'_>| step.target() == Some(Placed::Shared);
    let first = model.steps().position(|step| shared(&step)).unwrap_or(usize::MAX);
    for step in model.steps().filter(|step| step.index() < first || shared(step)) {
        engine.execute_step(&step);
    }
    let maps = program.outputs().filter_map(|map| {
        let index = map.tensor.get() as usize;
        Some(Map { tensor: index, crc: planes_crc(engine.tensor(index)?) })
    });
    Ok(Frame { maps: maps.collect(), results: Report { steps: Vec::new(), ..results }, ..Frame::default() })
}

/// CRC-32 of a tensor's values, `[c, h, w]`.
fn planes_crc(tensor: Tensor<'_>) -> u32 {
    let value = |channel: usize, pixel: usize| tensor.pixel(pixel).get(channel).map_or(0, |q| q.get() as u8);
    let planes: Vec<u8> =
        (0..tensor.c()).flat_map(|c| (0..tensor.pixels()).map(move |pixel| value(c, pixel))).collect();
    crc32(&planes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &[u8] =
        b"secateur-job 1\nready 70 80\nplanes 3 0000beef\nframe 500 9000 60 50\nbox 1 2 3 4 5 6 7 8\nend\n";

    #[test]
    fn a_report_is_read_and_compared() {
        let frame = Frame::parse(REPORT).unwrap();
        assert_eq!((frame.cycles, frame.whole, frame.image, frame.decoding), (500, 9000, 60, 50));
        assert_eq!(frame.ready, [70, 80]);
        assert_eq!(frame.maps, [Map { tensor: 3, crc: 0xBEEF }]);
        assert_eq!(frame.results.detections.len(), 1);
        frame.compare(&Frame { cycles: 0, whole: 0, ..frame.clone() }).unwrap();
        let other = Frame { maps: vec![Map { tensor: 3, crc: 1 }], ..frame.clone() };
        assert!(format!("{:?}", frame.compare(&other).unwrap_err()).contains("tensor 3"));
        let none = Frame { maps: vec![], ..frame.clone() };
        assert!(none.compare(&none).is_err(), "an empty frame proves nothing");
    }

    #[test]
    fn faults_and_cut_off_reports_are_errors() {
        let fault = b"secateur-job 1\nfault accelerator is silent\n";
        assert!(format!("{:?}", Frame::parse(fault).unwrap_err()).contains("accelerator is silent"));
        assert!(Frame::parse(&REPORT[..REPORT.len() - 4]).is_err());
        assert!(Frame::parse(b"").is_err());
    }
}
