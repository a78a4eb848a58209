//! The manifest: what an artefact holds, as JSON for people and scripts.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use secateur_runtime::artefact::format::{VERSION_MAJOR, VERSION_MINOR};

use crate::lower::npu::report::Report;
use crate::lower::program::{Action, Value};
use crate::lower::{Program, cost};
use crate::target::Target;
use secateur_ir::Shape;
use secateur_quant::net::QTensor;

/// Everything that can be said of an artefact without running it.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    pub tool: String,
    /// Version of the artefact's format.
    pub format: String,
    pub network: String,
    pub target: String,
    pub artefact: Artefact,
    pub provenance: Provenance,
    pub arena: Arena,
    pub input: Tensor,
    pub letter_box: bool,
    pub classes: Vec<String>,
    /// Multiply-accumulates of one picture.
    pub macs: u64,
    pub layers: Vec<Layer>,
    /// The accelerator's program, where the target has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Report>,
}

/// The part of a written manifest that a build's overview reads back.
#[derive(Debug, Clone, Deserialize)]
pub struct ManifestSizes {
    pub artefact: Artefact,
    pub arena: Arena,
}

/// The file itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Artefact {
    pub bytes: usize,
    pub sha256: String,
}

/// Hashes of what the artefact was made from.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    pub cfg_sha256: String,
    pub weights_sha256: String,
    pub recipe_sha256: String,
    /// Version of the tool that quantised.
    pub quantised_by: String,
}

/// The memory that a run needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Arena {
    pub bytes: usize,
    /// Bytes alive at the fullest moment: no plan is smaller.
    pub lower_bound: usize,
    /// Bytes that concatenations copy in one run; 0 where all of them are addressing.
    pub copied: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct Tensor {
    /// Height, width, channels.
    pub shape: [usize; 3],
    pub scale: f32,
    pub zero_point: i8,
    /// Bytes from the start of the arena.
    pub offset: usize,
    /// Bytes from one pixel to the next.
    pub pitch: usize,
}

/// One Darknet layer.
#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    /// Number that Darknet prints.
    pub layer: usize,
    pub operator: &'static str,
    /// Line of the section in the cfg.
    pub line: usize,
    /// `compute`, `in place`, `view` or `concat`.
    pub action: &'static str,
    pub output: Tensor,
    pub macs: u64,
    /// Bytes of weights, biases, requantisation constants and tables.
    pub constants: usize,
    /// Bytes of activations read and written.
    pub traffic: usize,
}

/// Describes `artefact`, which was written from `program`.
pub fn manifest(
    program: &Program<'_>,
    target: &Target,
    artefact: &[u8],
    accelerator: Option<Report>,
) -> Manifest {
    let net = program.net;
    let live = program.live_storages();
    let tensor = |value: Value, quantised: &QTensor| {
        let place = program.places[value];
        let at = live.iter().position(|(storage, _)| *storage == place.storage);
        let base = at.zip(program.arena.as_ref()).map_or(0, |(at, arena)| arena.offsets[at]);
        let Shape { c, h, w } = quantised.shape;
        Tensor {
            shape: [h, w, c],
            scale: quantised.scale,
            zero_point: quantised.zero_point,
            offset: base + place.channel,
            pitch: program.storages[place.storage].shape.c,
        }
    };
    let layers: Vec<Layer> = net
        .nodes
        .iter()
        .enumerate()
        .map(|(layer, node)| Layer {
            layer,
            operator: node.op.name(),
            line: node.line,
            action: match program.actions[layer] {
                Action::Compute => "compute",
                Action::InPlace(_) => "in place",
                Action::View => "view",
                Action::Concat { .. } => "concat",
            },
            output: tensor(layer + 1, &node.output),
            macs: cost::macs(net, layer),
            constants: cost::constant_bytes(net, layer),
            traffic: cost::traffic(program, layer),
        })
        .collect();
    let from = &net.provenance;
    Manifest {
        tool: concat!("secateur ", env!("CARGO_PKG_VERSION")).to_owned(),
        format: format!("{VERSION_MAJOR}.{VERSION_MINOR}"),
        network: from.model.clone(),
        target: target.name.clone(),
        artefact: Artefact { bytes: artefact.len(), sha256: hex::encode(Sha256::digest(artefact)) },
        provenance: Provenance {
            cfg_sha256: hex::encode(from.cfg_sha256),
            weights_sha256: hex::encode(from.weights_sha256),
            recipe_sha256: hex::encode(from.recipe_sha256),
            quantised_by: from.version.clone(),
        },
        arena: Arena {
            bytes: program.arena.as_ref().map_or(0, |arena| arena.bytes),
            lower_bound: program.least_bytes,
            copied: program.copied_bytes(),
        },
        input: tensor(0, &net.input),
        letter_box: net.letter_box,
        classes: net.names.clone(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        layers,
        accelerator,
    }
}

impl Manifest {
    /// Indented JSON with a line feed at the end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("plain data always serialises");
        text.push('\n');
        text
    }
}
