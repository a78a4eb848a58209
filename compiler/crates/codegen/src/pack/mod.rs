//! The artefact: a lowered network's records, constants and provenance as bytes, and its manifest.

mod heads;
mod manifest;
mod npu;
mod steps;
mod writer;

pub use manifest::{Manifest, ManifestSizes, manifest};
use writer::write;

use std::time::Duration;

use crate::lower::npu::Options;
use crate::lower::{self, Program};
use crate::target::Target;
use secateur_base::{Error, Result};
use secateur_quant::QNet;

/// A compiled network.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The artefact's bytes, which [`Deployed::new`] accepts.
    pub artefact: Vec<u8>,
    pub manifest: Manifest,
}

/// Lowers and packs a network for a target; `observe` is told each pass's name, time and program.
pub fn compile<'a>(
    net: &'a QNet,
    target: &Target,
    observe: impl FnMut(&str, Duration, &Program<'a>),
) -> Result<Compiled> {
    compile_with(net, target, Options::default(), observe)
}

/// [`compile`] with a choice of how the accelerator's program is made.
pub fn compile_with<'a>(
    net: &'a QNet,
    target: &Target,
    options: Options,
    observe: impl FnMut(&str, Duration, &Program<'a>),
) -> Result<Compiled> {
    let program = lower::lower_observed(net, target, observe)?;
    let plan = match &target.accelerator {
        Some(accelerator) => Some(npu::lower(&program, accelerator, options)?),
        None => None,
    };
    let sections = plan.as_ref().map(npu::sections).transpose()?;
    let artefact = write(&program, target, sections.as_ref())?;
    // The runtime's own check proves shapes and bounds: what it refuses never leaves the compiler.
    secateur_runtime::artefact::Model::from_bytes(&artefact).map_err(|e| {
        Error::new(format!("the runtime cannot run this network: {e}"))
            .help("please report it together with the cfg")
    })?;
    let report = plan.map(|plan| plan.report(net));
    let manifest = manifest(&program, target, &artefact, report);
    Ok(Compiled { artefact, manifest })
}
