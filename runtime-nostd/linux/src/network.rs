//! A checked artefact with memory to run in, and the meaning of its results in an image's coordinates.

use std::io::{BufWriter, stdout};
use std::path::Path;

use secateur_base::{BBox, Error, Result};
use secateur_data::{Fit, Frame, Sample, quantise_image};
use secateur_ir::Shape;
use secateur_job::Job;
use secateur_kernels::{HostKernels, HostMemory, HostPlan};
use secateur_runtime::Engine;
use secateur_runtime::artefact::format::HeadKind;
use secateur_runtime::artefact::{Head, Model};
use secateur_runtime::detect::{self, Detection};

/// Room for detections before suppression.
const DETECTIONS: usize = 1 << 14;
/// Classes that are listed for a classifier's image.
const TOP: usize = 5;
/// One unit of Q0.15 and of Q16.16.
const Q15: f32 = 1.0 / 32768.0;
const Q16: f32 = 1.0 / 65536.0;

/// An artefact, ready to run.
pub(crate) struct Network<'a> {
    bytes: &'a [u8],
    model: Model<'a>,
    plan: HostPlan<'a>,
    memory: HostMemory,
    arena: Vec<u8>,
}

/// An object in an image.
pub(crate) struct Object {
    pub(crate) class: usize,
    /// Objectness × class probability, 0..1.
    pub(crate) score: f32,
    /// In shares of the image.
    pub(crate) bbox: BBox,
}

/// What a network finds in an image, best first.
pub(crate) enum Found {
    Objects(Vec<Object>),
    /// The best classes of a classifier, with their probabilities.
    Classes(Vec<(usize, f32)>),
}

impl<'a> Network<'a> {
    /// Checks an artefact's bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let model = Model::from_bytes(bytes).map_err(|error| {
            Error::new(error.to_string()).help("write the artefact again with `secateur compile`")
        })?;
        let (plan, arena) = (HostPlan::new(&model), vec![0; model.arena_bytes()]);
        Ok(Self { bytes, model, plan, memory: HostMemory::default(), arena })
    }

    /// Class names, empty where the artefact has none.
    pub(crate) fn names(&self) -> Vec<String> {
        (0..self.model.class_count()).map(|class| self.model.class_name(class).to_owned()).collect()
    }

    /// Reads an image and brings it to the input's size.
    pub(crate) fn sample(&self, image: &Path) -> Result<Sample> {
        let detector = self.model.heads().any(|head| head.kind != HeadKind::Classes);
        Sample::load(image, self.input(), Fit::of_network(detector, self.model.letter_box()))
    }

    /// Runs an image; `thresholds` are those of score and overlap.
    pub(crate) fn run(&mut self, sample: &Sample, thresholds: [f32; 2]) -> Result<Found> {
        let (input, image) = (self.input(), quantise_image(self.input(), &sample.input));
        let mut engine = Engine::with_kernels(&self.model, &mut self.arena, HostKernels)
            .map_err(|_| Error::internal("the arena is smaller than the artefact asks for"))?;
        self.plan.run(&mut self.memory, &mut engine, &image);
        if let Some(head) = self.model.heads().find(|head| head.kind == HeadKind::Classes) {
            return Ok(Found::Classes(best_classes(&engine, &head)));
        }
        let [score, overlap] = thresholds.map(q30);
        let mut buffer = vec![Detection::default(); DETECTIONS];
        let found = detect::decode(&engine, score, &mut buffer);
        let inner = [sample.frame.inner.0 as u32, sample.frame.inner.1 as u32];
        let kept = detect::suppress(&mut buffer[..found.kept], &self.model.suppression(), overlap, inner);
        let mut objects: Vec<Object> =
            buffer[..kept].iter().map(|found| object(found, input, sample.frame)).collect();
        objects.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Found::Objects(objects))
    }

    /// Runs an image as firmware does and prints its report.
    pub(crate) fn report(&self, sample: &Sample, thresholds: [f32; 2]) -> Result<()> {
        let [score_threshold, overlap_threshold] = thresholds.map(q30);
        let (w, h) = sample.frame.inner;
        let job = Job {
            artefact: self.bytes,
            image: &quantise_image(self.input(), &sample.input),
            score_threshold,
            overlap_threshold,
            frame: [w as u32, h as u32],
        };
        let package =
            job.package().ok_or_else(|| Error::new("artefact and image are too long for a report"))?;
        secateur_job::report(&package, HostKernels, BufWriter::new(stdout().lock()))
            .map_err(|error| Error::new(format!("cannot write to the standard output: {error}")))?
            .map_err(|fault| Error::new(format!("the artefact cannot be run: {fault:?}")))
    }

    fn input(&self) -> Shape {
        let [h, w, c] = self.model.input_shape();
        Shape::new(c, h, w)
    }
}

/// A threshold as the integer decoder takes it, Q0.30.
fn q30(value: f32) -> u32 {
    (f64::from(value) * f64::from(detect::ONE)) as u32
}

fn object(found: &Detection, input: Shape, frame: Frame) -> Object {
    let share = |fixed: i32, extent: usize| fixed as f32 * Q16 / extent as f32;
    let (x, w) = (share(found.x, input.w), share(found.w, input.w));
    let (y, h) = (share(found.y, input.h), share(found.h, input.h));
    let mut bbox = BBox { x, y, w, h };
    frame.to_image(&mut bbox);
    let score = (f64::from(found.score) / f64::from(detect::ONE)) as f32;
    Object { class: found.class.into(), score, bbox }
}

/// The best classes: probabilities of a softmax, else the last layer's real values.
fn best_classes(engine: &Engine<'_, '_, HostKernels>, head: &Head<'_>) -> Vec<(usize, f32)> {
    let Some((record, tensor)) = engine.model().tensor(head.tensor).zip(engine.tensor(head.tensor)) else {
        return Vec::new();
    };
    let values: Vec<f32> = if record.layer() == Some(head.layer) {
        let mut codes = vec![0; record.elements()];
        tensor.copy_to(&mut codes);
        let (scale, zero_point) =
            (f32::from_bits(record.scale_bits.get()), i32::from(record.zero_point.get()));
        codes.iter().map(|&code| scale * (i32::from(code) - zero_point) as f32).collect()
    } else {
        let mut shares = vec![0; record.elements()];
        detect::classify(engine, &mut shares);
        shares.into_iter().map(|share| f32::from(share) * Q15).collect()
    };
    let mut order: Vec<(usize, f32)> = values.into_iter().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.truncate(TOP);
    order
}

#[cfg(test)]
mod tests {
    use secateur_codegen::compile;
    use secateur_codegen::target::Target;
    use secateur_deploy::Deployed;
    use secateur_eval::Detector;
    use secateur_frontend::darknet;
    use secateur_quant::net::Provenance;
    use secateur_quant::{QuantiseOptions, quantise};

    use super::*;

    /// The project's own detector, and an image of noise for it.
    fn detector() -> (Vec<u8>, Vec<f32>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/networks/parts");
        let network = darknet::load(&folder.join("parts.cfg"), Some(&folder.join("parts.weights"))).unwrap();
        let mut state = 1u32;
        let image: Vec<f32> = (0..network.graph.input.len())
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as f32 / 255.0
            })
            .collect();
        let images = [image.clone()];
        let options = QuantiseOptions { correction: 0, ..QuantiseOptions::default() };
        let weights = network.weights().unwrap();
        let quantised =
            quantise(&network.graph, weights, &images, &options, Vec::new(), Provenance::default()).unwrap();
        (compile(&quantised.net, &Target::load("cortex-a").unwrap(), |_, _, _| {}).unwrap().artefact, image)
    }

    /// Objects of the command on this machine, best first.
    fn expected(bytes: &[u8], sample: &Sample, [score, overlap]: [f32; 2]) -> Vec<(usize, f32, BBox)> {
        let deployed = Deployed::new(bytes, Path::new("net.sct")).unwrap();
        let mut found = deployed.detect(&sample.input, sample.frame, score, overlap);
        found.sort_by(|a, b| b.prob.total_cmp(&a.prob));
        found.into_iter().map(|found| (found.class, found.prob, found.bbox)).collect()
    }

    #[test]
    fn objects_are_those_of_the_command() {
        let (bytes, input) = detector();
        let mut network = Network::new(&bytes).unwrap();
        // Narrower than the input: boxes are moved to the image.
        let frame = Frame::letterboxed(network.input(), 64, 99);
        let sample = Sample { input, frame, size: (64, 99) };
        for thresholds in [[0.001, 0.45], [0.01, 0.2]] {
            let Found::Objects(found) = network.run(&sample, thresholds).unwrap() else {
                panic!("a detector finds objects");
            };
            assert!(!found.is_empty(), "nothing over {}", thresholds[0]);
            let found: Vec<_> = found.into_iter().map(|o| (o.class, o.score, o.bbox)).collect();
            assert_eq!(found, expected(&bytes, &sample, thresholds));
        }
    }

    #[test]
    fn damage_is_an_error() {
        let (mut bytes, _) = detector();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = Network::new(&bytes).err().unwrap();
        assert!(format!("{error:?}").contains("secateur compile"), "{error:?}");
    }
}
