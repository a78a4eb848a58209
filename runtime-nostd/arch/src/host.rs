//! The tiled kernels compiled for the vector units of the machine that runs them.

use multiversion::multiversion;
use secateur_runtime::artefact::Model;
use secateur_runtime::{Engine, Kernels, Tensor, kernels};

use crate::tiled;

/// Same code and bytes as [`crate::Tiled`]; the processor's features are found at run time.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostKernels;

impl Kernels for HostKernels {
    fn conv(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Conv<'_>) {
        conv(input, output, parameters);
    }

    fn depthwise(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Depthwise<'_>) {
        depthwise(input, output, parameters);
    }

    fn connected(&self, input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Connected<'_>) {
        connected(input, output, parameters);
    }

    fn maxpool(&self, input: Tensor<'_>, output: Tensor<'_>, window: &kernels::Window) {
        maxpool(input, output, window);
    }

    fn shortcut<'t, I>(&self, inputs: I, output: Tensor<'_>, parameters: &kernels::Shortcut<'_>)
    where
        I: Iterator<Item = Tensor<'t>> + Clone,
    {
        // The usual sum of two, in a form that is compiled once.
        let mut both = inputs.clone();
        match (both.next(), both.next(), both.next()) {
            (Some(a), Some(b), None) => shortcut([a, b], output, parameters),
            _ => tiled::shortcut(inputs, output, parameters),
        }
    }

    fn multiply(
        &self,
        factor: Tensor<'_>,
        input: Tensor<'_>,
        output: Tensor<'_>,
        epilogue: &kernels::Epilogue<'_>,
    ) {
        multiply(factor, input, output, epilogue);
    }
}

/// Functions compiled once for every set of features, with the kernels inlined into them.
macro_rules! tuned {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) { $body:expr })*) => {$(
        #[multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma",
            "x86_64+avx2+fma",
            "aarch64+neon"
        ))]
        fn $name($($argument: $kind),*) {
            $body;
        }
    )*};
}

tuned! {
    fn conv(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Conv<'_>) {
        tiled::conv(input, output, parameters)
    }
    fn depthwise(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Depthwise<'_>) {
        tiled::depthwise(input, output, parameters)
    }
    fn connected(input: Tensor<'_>, output: Tensor<'_>, parameters: &kernels::Connected<'_>) {
        tiled::connected(input, output, parameters)
    }
    fn maxpool(input: Tensor<'_>, output: Tensor<'_>, window: &kernels::Window) {
        kernels::maxpool(input, output, window)
    }
    fn shortcut(inputs: [Tensor<'_>; 2], output: Tensor<'_>, parameters: &kernels::Shortcut<'_>) {
        tiled::shortcut(inputs.into_iter(), output, parameters)
    }
    fn multiply(
        factor: Tensor<'_>,
        input: Tensor<'_>,
        output: Tensor<'_>,
        epilogue: &kernels::Epilogue<'_>
    ) {
        kernels::multiply(factor, input, output, epilogue)
    }
}

/// A network ready to run on this machine: by its executor where there is one (`x86`), else by an engine's kernels.
#[derive(Debug)]
pub struct HostPlan<'m> {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    plan: Option<crate::x86::Plan<'m>>,
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    plan: core::marker::PhantomData<Model<'m>>,
}

/// What a run of a [`HostPlan`] needs beside an engine's arena.
#[derive(Debug, Default)]
pub struct HostMemory {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    memory: crate::x86::Memory,
}

impl<'m> HostPlan<'m> {
    /// Packs the weights of a checked artefact for this processor.
    pub fn new(model: &Model<'m>) -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        let plan = crate::x86::Plan::new(model);
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let plan = {
            let _ = model;
            core::marker::PhantomData
        };
        Self { plan }
    }

    /// Runs every step on `image`, as [`Engine::run`] does; then `engine` holds what heads read, and the last step's
    /// output. `engine` is one of the planned model.
    pub fn run<K: Kernels>(&self, memory: &mut HostMemory, engine: &mut Engine<'m, '_, K>, image: &[i8]) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if let Some(plan) = &self.plan {
            plan.run(&mut memory.memory, engine, image);
            return;
        }
        let _ = memory;
        engine.run(image, &mut ());
    }
}
