//! Runs a plan.

use secateur_runtime::artefact::Step;
use secateur_runtime::{Engine, Hook, Kernels};

use super::avx2::{Avx2, AvxVnni, Vnni256};
use super::avx512::Avx512;
use super::layout::{Bytes, Memory, Seal};
use super::level::Level;
use super::pack::Form;
use super::plan::{Before, Job, Plan, Transfer, Work};
use super::{convert, kernels, pool};

impl Level {
    pub(super) fn form(self) -> Form {
        match self {
            Self::Avx512Vnni => Form::of::<Avx512>(),
            Self::AvxVnni => Form::of::<AvxVnni>(),
            Self::Avx2 => Form::of::<Avx2>(),
        }
    }
}

impl<'m> Plan<'m> {
    /// Runs every step on `image` (`[h, w, c]`, q = pixel − 128). Then the tensors that heads read, and the last
    /// step's output, are in `engine`; its other tensors are undefined.
    ///
    /// `engine` runs the model that was planned, on kernels for the steps that have none here.
    pub fn run<K: Kernels>(&self, memory: &mut Memory, engine: &mut Engine<'m, '_, K>, image: &[i8]) {
        self.run_timed(memory, engine, image, |_| {});
    }

    /// [`Plan::run`], with a call of `after` after each step: for profiles, tensors are not to be looked at.
    pub fn run_timed<K: Kernels>(
        &self,
        memory: &mut Memory,
        engine: &mut Engine<'m, '_, K>,
        image: &[i8],
        mut after: impl FnMut(&Step<'m>),
    ) {
        self.start(memory, engine, image);
        let bytes = memory.bytes();
        for job in &self.jobs {
            self.execute(bytes, engine, job);
            after(&job.step);
        }
        for output in &self.outputs {
            store(bytes, output, engine);
        }
    }

    /// [`Plan::run`], shown step by step: `hook` gets every output as the runtime's tensor, and `engine`'s arena holds
    /// the bytes that its own run leaves.
    pub fn watch<K: Kernels>(
        &self,
        memory: &mut Memory,
        engine: &mut Engine<'m, '_, K>,
        image: &[i8],
        hook: &mut impl Hook,
    ) {
        self.start(memory, engine, image);
        if let Some(input) = engine.input() {
            input.copy_from(image);
        }
        let bytes = memory.bytes();
        for job in &self.jobs {
            hook.before(&job.step);
            self.execute(bytes, engine, job);
            let tensor = job.step.output_index();
            if !matches!(job.work, Work::Portable) {
                store(bytes, &Transfer { view: job.output, tensor }, engine);
            }
            if let Some(output) = engine.tensor(tensor) {
                hook.after(&job.step, output);
            }
        }
    }

    /// Puts the image in its place.
    fn start<K: Kernels>(&self, memory: &mut Memory, engine: &Engine<'m, '_, K>, image: &[i8]) {
        memory.grow(self.bytes);
        let bytes = memory.bytes();
        let view = &self.image.view;
        // SAFETY: the memory has all of the plan's bytes and is lent to this run alone; every level but the first has
        // AVX2's instructions.
        unsafe {
            if image.len() == view.layout.h * view.layout.w * view.c {
                match self.level {
                    Level::Avx512Vnni => convert::load_image::<Avx512>(bytes, view, image),
                    Level::AvxVnni | Level::Avx2 => convert::load_image::<Avx2>(bytes, view, image),
                }
            } else if let Some(input) = engine.input() {
                // As `Engine::run`: what the image lacks keeps its old value.
                input.copy_from(image);
                convert::load(bytes, view, input);
            }
            seal(bytes, self.image.seal.as_ref());
        }
    }

    fn execute<K: Kernels>(&self, memory: Bytes, engine: &mut Engine<'m, '_, K>, job: &Job<'m>) {
        for before in &job.before {
            match before {
                Before::Store(transfer) => store(memory, transfer, engine),
                Before::Load(transfer, padding) => {
                    load(memory, transfer, engine);
                    // SAFETY: a view of this plan's memory, which one thread uses.
                    unsafe { seal(memory, padding.as_ref()) }
                }
                Before::Copy(from, to, padding) => {
                    // SAFETY: two views of this plan's memory, which one thread uses.
                    unsafe {
                        pool::copy_rows(memory, from, to);
                        seal(memory, padding.as_ref());
                    }
                }
            }
        }
        // SAFETY: `with_level` has found the level available; every view is inside the memory, which this run alone
        // uses.
        unsafe {
            match self.level {
                Level::Avx512Vnni => kernels::run::<Avx512>(memory, job),
                Level::AvxVnni if self.evex => kernels::run::<Vnni256>(memory, job),
                Level::AvxVnni => kernels::run::<AvxVnni>(memory, job),
                Level::Avx2 => kernels::run::<Avx2>(memory, job),
            }
        }
        if matches!(job.work, Work::Portable) && engine.execute_step(&job.step).is_some() {
            load(memory, &Transfer { view: job.output, tensor: job.step.output_index() }, engine);
        }
        // SAFETY: as above.
        unsafe { seal(memory, job.seal.as_ref()) }
    }
}

/// From planes to the engine's tensor.
fn store<K: Kernels>(memory: Bytes, transfer: &Transfer, engine: &Engine<'_, '_, K>) {
    if let Some(tensor) = engine.tensor(transfer.tensor) {
        // SAFETY: a view of this plan's memory, which one thread uses.
        unsafe { convert::store(memory, &transfer.view, tensor) }
    }
}

/// From the engine's tensor to planes.
fn load<K: Kernels>(memory: Bytes, transfer: &Transfer, engine: &Engine<'_, '_, K>) {
    if let Some(tensor) = engine.tensor(transfer.tensor) {
        // SAFETY: a view of this plan's memory, which one thread uses.
        unsafe { convert::load(memory, &transfer.view, tensor) }
    }
}

/// Pads a feature map.
///
/// # Safety
/// As for [`Seal::apply`], for all planes.
unsafe fn seal(memory: Bytes, seal: Option<&Seal>) {
    if let Some(seal) = seal {
        // SAFETY: as the function says.
        unsafe { seal.apply(memory, 0, seal.view.layout.planes) }
    }
}
