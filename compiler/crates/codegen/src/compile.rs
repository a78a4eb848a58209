//! Drives the stages: the processor's program, the accelerator's plan, the artefact's bytes.

use std::time::Duration;

use secateur_base::{Error, Result};
use secateur_quant::QNet;

use crate::artefact::{self, Manifest};
use crate::cpu::{self, CpuProgram, Patch};
use crate::npu::{self, CycleReport, NpuOptions};
use crate::target::Target;

/// A compiled network.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The artefact's bytes; the runtime's check has accepted them.
    pub artefact: Vec<u8>,
    pub manifest: Manifest,
    /// Live bytes of activations and workspace at each tick, with the layer that runs.
    pub memory: Vec<LiveAtLayer>,
    /// The same without bands, where there are some.
    pub memory_before: Option<Vec<LiveAtLayer>>,
}

/// What is alive while a layer runs, or a band of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveAtLayer {
    pub layer: usize,
    pub bytes: usize,
}

fn profile(program: &CpuProgram<'_>) -> Vec<LiveAtLayer> {
    let live = program.live_bytes().into_iter().enumerate();
    // The image alone, and the heads when all is done, are no layer's.
    let tasks = live.skip(1).take(program.tasks.len());
    tasks.map(|(tick, bytes)| LiveAtLayer { layer: program.layer_at(tick), bytes }).collect()
}

/// Compiles a network for a target. `observe` receives each pass's name, its time and the program after it.
///
/// # Errors
/// An operator that the target does not run, with its layer; a program or an artefact above the target's
/// limits.
pub fn compile<'a>(
    net: &'a QNet,
    target: &Target,
    observe: impl FnMut(&str, Duration, &CpuProgram<'a>),
) -> Result<Compiled> {
    compile_with(net, target, NpuOptions::default(), Patch::Off, observe)
}

/// [`compile`] with a choice of how the accelerator's program is made, and of bands of the first layers.
///
/// # Errors
/// As [`compile`]; bands for a target with an accelerator, whose program has no arena.
pub fn compile_with<'a>(
    net: &'a QNet,
    target: &Target,
    options: NpuOptions,
    patch: Patch,
    observe: impl FnMut(&str, Duration, &CpuProgram<'a>),
) -> Result<Compiled> {
    if patch != Patch::Off && target.accelerator.is_some() {
        return Err(Error::new(
            "--patch is for processors: an accelerator keeps feature maps in its own memory",
        )
        .found(format!("target {}", target.name))
        .help("leave --patch out, or choose a processor with --target or --board"));
    }
    let program = cpu::lower_patched(net, target, patch, observe)?;
    let read: Vec<usize> = net.heads().into_iter().map(|head| program.logits(head).0).collect();
    let plan = match &target.accelerator {
        Some(accelerator) => Some(npu::lower(net, accelerator, options, &read)?),
        None => None,
    };
    let bytes = artefact::write(&program, target, plan.as_ref())?;
    // The runtime's own check proves shapes and bounds: what it refuses never leaves the compiler.
    secateur_runtime::artefact::Model::from_bytes(&bytes).map_err(|e| {
        Error::new(format!("the runtime cannot run this network: {e}"))
            .help("please report it together with the cfg")
    })?;
    let report = plan.map(|plan| CycleReport::new(&plan, net));
    let manifest = artefact::manifest(&program, target, &bytes, report);
    let memory_before = match program.stage {
        Some(_) => Some(profile(&cpu::lower_unlimited(net, target)?)),
        None => None,
    };
    Ok(Compiled { artefact: bytes, manifest, memory: profile(&program), memory_before })
}
