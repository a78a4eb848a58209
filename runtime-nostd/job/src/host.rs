//! A job where there is a standard library: packages are made, and reports written to a stream.

use std::io::{self, Write};
use std::time::Instant;
use std::vec::Vec;

use secateur_runtime::Kernels;
use secateur_runtime::artefact::Model;
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use crate::package::{Header, MAGIC, Package, image_order};
use crate::run::{Board, Fault, run};

/// An artefact and an image to run it on.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The bytes of a `.sct`, which the runtime's check has accepted.
    pub artefact: &'a [u8],
    /// `[h, w, c]`, q = pixel − 128.
    pub image: &'a [i8],
    /// Detections need a score above this, Q0.30.
    pub score_threshold: u32,
    /// Overlap above which the lesser of two detections is dropped, Q0.30.
    pub overlap_threshold: u32,
    /// Columns and rows of the input that the image covers.
    pub frame: [u32; 2],
}

impl Job<'_> {
    /// The job as it lies in a board's flash; `None` where a length has more than 32 bits.
    pub fn package(&self) -> Option<Vec<u8>> {
        self.with_image(self.image, image_order::PIXELS)
    }

    /// The job for a system with an accelerator, which takes images plane by plane; `None` as well where the artefact is
    /// none, or for images of another size.
    pub fn planar_package(&self) -> Option<Vec<u8>> {
        let [h, w, c] = Model::from_bytes(self.artefact).ok()?.input_shape();
        if self.image.len() != h * w * c {
            return None;
        }
        let planes: Vec<i8> =
            (0..c).flat_map(|channel| self.image.iter().skip(channel).step_by(c).copied()).collect();
        self.with_image(&planes, image_order::PLANES)
    }

    fn with_image(&self, image: &[i8], order: u32) -> Option<Vec<u8>> {
        let length = |bytes: usize| u32::try_from(bytes).ok().map(U32::new);
        let header = Header {
            magic: MAGIC,
            artefact_bytes: length(self.artefact.len())?,
            image_bytes: length(image.len())?,
            score_threshold: U32::new(self.score_threshold),
            overlap_threshold: U32::new(self.overlap_threshold),
            frame: self.frame.map(U32::new),
            image_order: U32::new(order),
        };
        let (start, _) = header.layout()?;
        let mut bytes = [header.as_bytes(), self.artefact].concat();
        bytes.resize(start, 0);
        bytes.extend_from_slice(image.as_bytes());
        Some(bytes)
    }
}

/// Runs `package` in an arena as large as its artefact asks for and writes the report to `to`; ticks are
/// nanoseconds.
///
/// # Errors
/// The outer: writing fails. The inner: the package cannot be run, which the report says too.
pub fn report(package: &[u8], kernels: impl Kernels, to: impl Write) -> io::Result<Result<(), Fault>> {
    let model = Package::from_bytes(package).and_then(|parts| Model::from_bytes(parts.artefact).ok());
    // Without a model the job ends before it needs an arena, and says why.
    let mut arena = std::vec![0; model.map_or(0, |model| model.arena_bytes())];
    let mut stream = Stream { to, started: Instant::now(), written: Ok(()) };
    let result = run(package, &mut arena, kernels, &mut stream);
    stream.written.and_then(|()| stream.to.flush()).map(|()| result)
}

struct Stream<W> {
    to: W,
    started: Instant,
    /// The first error of writing, after which nothing is written.
    written: io::Result<()>,
}

impl<W: Write> Board for Stream<W> {
    fn ticks(&mut self) -> u32 {
        // Modulo 2^32, as every counter.
        self.started.elapsed().as_nanos() as u32
    }

    fn write(&mut self, text: &[u8]) {
        if self.written.is_ok() {
            self.written = self.to.write_all(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Job<'_> = Job {
        artefact: b"no artefact",
        image: &[1, 2, -1],
        score_threshold: 3,
        overlap_threshold: 4,
        frame: [5, 6],
    };

    #[test]
    fn a_package_has_the_parts_of_its_job() {
        let bytes = JOB.package().unwrap();
        let found = Package::from_bytes(&bytes).unwrap();
        assert_eq!((found.artefact, found.image), (JOB.artefact, JOB.image));
        let Header { score_threshold, overlap_threshold, frame, .. } = *found.header;
        assert_eq!((score_threshold.get(), overlap_threshold.get()), (3, 4));
        assert_eq!(frame.map(U32::get), JOB.frame);
    }

    #[test]
    fn what_cannot_be_run_or_written_is_said() {
        let mut text = Vec::new();
        let kernels = secateur_runtime::Reference;
        let fault = report(&JOB.package().unwrap(), kernels, &mut text).unwrap().unwrap_err();
        assert!(matches!(fault, Fault::Artefact(_)), "{fault:?}");
        assert_eq!(text, b"secateur-job 1\nfault artefact refused\n");
        assert_eq!(report(&[], kernels, io::sink()).unwrap(), Err(Fault::NoPackage));
        assert!(report(&[], kernels, &mut [0; 4][..]).is_err(), "no room for the first line");
    }
}
