//! The artefact: a lowered network's records, constants and provenance as bytes, and its manifest.

mod deployed;
mod heads;
mod host;
mod manifest;
mod steps;
mod writer;

pub use deployed::{Deployed, LayerOutput, is_artefact, kernel_macs, kernel_name, read_artefact};
pub use host::HostKernels;
pub use manifest::{Manifest, manifest};
pub use writer::write;

use std::time::Duration;

use crate::lower::{self, Program};
use crate::quant::QNet;
use crate::target::Target;
use crate::{Error, Result};

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
    let program = lower::lower_observed(net, target, observe)?;
    let artefact = write(&program, target)?;
    // The runtime's own check proves shapes and bounds: what it refuses never leaves the compiler.
    secateur_runtime::artefact::Model::from_bytes(&artefact).map_err(|e| {
        Error::new(format!("the runtime cannot run this network: {e}"))
            .help("please report it together with the cfg")
    })?;
    let manifest = manifest(&program, target, &artefact);
    Ok(Compiled { artefact, manifest })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lower::random;

    #[test]
    fn random_networks_pack_into_what_the_runtime_accepts() {
        let target = Target::load("host").unwrap();
        for seed in 0..300 {
            let net = random::network(seed, 2 + seed as usize % 30);
            let compiled =
                compile(&net, &target, |_, _, _| {}).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
            let again = compile(&net, &target, |_, _, _| {}).unwrap();
            assert_eq!(compiled.artefact, again.artefact, "seed {seed}");
            let deployed = Deployed::new(&compiled.artefact, Path::new("x.sct")).unwrap();
            assert_eq!(deployed.layer_count(), net.nodes.len());
            let mut seen = 0;
            deployed.trace(&vec![3; net.input.shape.len()], |output| {
                assert_eq!(output.layer, seen);
                assert_eq!(output.codes().len(), net.nodes[seen].output.shape.len());
                seen += 1;
            });
            assert_eq!(seen, net.nodes.len());
        }
    }
}
