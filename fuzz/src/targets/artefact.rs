//! Bytes of an artefact: refused, or run to the end, with the same bytes on every set of kernels.

use secateur_kernels::{HostKernels, Tiled};
use secateur_runtime::artefact::{Model, Operation, crc32, format};
use secateur_runtime::detect::{self, Detection};
use secateur_runtime::{Engine, Kernels, Reference};

use crate::{Outcome, Target};

pub(super) const ARTEFACT: Target = Target { name: "artefact", run, words: &[] };

/// A larger arena is accepted but not worth running.
const ARENA_LIMIT: usize = 1 << 18;
/// Nor are more multiply-accumulates, or bytes that are moved.
const WORK_LIMIT: u64 = 1 << 22;

/// The bytes with a CRC that fits, so that the checks behind it are reached.
pub(super) fn resealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let body = bytes.len().checked_sub(format::CRC_BYTES)?;
    let crc = crc32(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    Some(bytes)
}

/// Whether a frame of the model takes little memory and time.
pub(super) fn is_small(model: &Model<'_>) -> bool {
    let work: u64 = model
        .steps()
        .map(|step| {
            let pixels = step.output().map_or(0, |t| t.shape()[..2].iter().product::<usize>() as u64);
            let elements = step.output().map_or(0, |t| t.elements() as u64);
            let inputs = step.input(0).map_or(0, |t| t.elements() as u64);
            let window = step.record().window();
            let window = (window.kernel_h * window.kernel_w) as u64;
            match step.operation() {
                Ok(Operation::Conv(conv)) => pixels * conv.weights.len() as u64,
                // A word holds two weights of each of two outputs.
                Ok(Operation::PackedConv(conv)) => pixels.saturating_mul(4 * conv.words.len() as u64),
                Ok(Operation::Connected(connected)) => connected.weights.len() as u64,
                Ok(Operation::Shortcut(_)) => elements * step.input_count() as u64,
                _ => inputs + elements.saturating_mul(window.max(1)),
            }
        })
        .fold(0, u64::saturating_add);
    model.arena_bytes() <= ARENA_LIMIT && work <= WORK_LIMIT
}

fn run(bytes: &[u8]) -> Outcome {
    if let Ok(model) = Model::from_bytes(bytes) {
        assert!(model.step_count() <= bytes.len());
    }
    let Some(bytes) = resealed(bytes) else { return Outcome::of(&"short") };
    let model = match Model::from_bytes(&bytes) {
        Ok(model) => model,
        Err(error) => return Outcome::refused(&error),
    };
    for class in 0..model.class_count() {
        assert!(model.class_name(class).len() <= bytes.len());
    }
    if !is_small(&model) {
        return Outcome::of(&"large");
    }
    let arena = frame(&model, Reference);
    assert!(arena == frame(&model, Tiled), "the tiled kernels differ");
    assert!(arena == frame(&model, HostKernels), "the host's kernels differ");
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    executors(&model, &arena);
    let kinds: Vec<u16> = model.steps().map(|step| step.record().kind.get()).collect();
    Outcome::of(&(kinds, model.heads().count(), model.program().is_some()))
}

/// Holds every executor that this processor can run to the arena that the engine leaves.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn executors(model: &Model<'_>, expected: &[u8]) {
    use secateur_kernels::x86::{Level, Memory, Plan};

    for plan in Level::ALL.into_iter().filter_map(|level| Plan::with_level(model, level)) {
        let mut arena: Vec<u8> = (0..model.arena_bytes()).map(|at| (at * 7) as u8).collect();
        let mut engine =
            Engine::with_kernels(model, &mut arena, HostKernels).expect("the arena has its size");
        plan.watch(&mut Memory::default(), &mut engine, &[], &mut ());
        assert!(arena == expected, "{}: the executor differs", plan.level());
    }
}

/// A frame, with everything that reads its outputs; the arena afterwards.
fn frame<K: Kernels>(model: &Model<'_>, kernels: K) -> Vec<u8> {
    let mut arena: Vec<u8> = (0..model.arena_bytes()).map(|at| (at * 7) as u8).collect();
    let mut engine = Engine::with_kernels(model, &mut arena, kernels).expect("the arena has its size");
    engine.run(&[], &mut ());
    let mut found = [Detection::default(); 32];
    let kept = detect::decode(&engine, 0, &mut found).kept;
    let suppression = model.suppression();
    let [h, w, _] = model.input_shape();
    for frame in [[w as u32, h as u32], [1, u32::MAX]] {
        let mut found = found;
        detect::suppress(&mut found[..kept], &suppression, suppression.threshold, frame);
    }
    detect::classify(&engine, &mut [0; 16]);
    arena
}
