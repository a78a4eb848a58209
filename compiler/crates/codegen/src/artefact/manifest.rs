//! The manifest: what an artefact holds, as JSON for people and scripts.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use secateur_runtime::artefact::Model;
use secateur_runtime::artefact::format::{VERSION_MAJOR, VERSION_MINOR};

use crate::cost;
use crate::cpu::program::{LayerAction, ValueId};
use crate::cpu::{CpuProgram, instructions};
use crate::npu::CycleReport;
use crate::target::{Target, WeightOrder};
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
    pub artefact: ManifestFile,
    pub provenance: ProvenanceHashes,
    pub arena: ArenaSummary,
    /// Where the first layers run in bands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<PatchSummary>,
    pub input: ManifestTensor,
    pub letter_box: bool,
    pub classes: Vec<String>,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Instructions that the processor is expected to take for one image, where there is a model of its kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    pub layers: Vec<ManifestLayer>,
    /// The accelerator's program, where the target has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<CycleReport>,
}

/// The part of a written manifest that a build's overview reads back.
#[derive(Debug, Clone, Deserialize)]
pub struct ManifestSizes {
    pub artefact: ManifestFile,
    pub arena: ArenaSummary,
    accelerator: Option<ManifestCycles>,
}

#[derive(Debug, Clone, Deserialize)]
struct ManifestCycles {
    cycles: u64,
}

impl ManifestSizes {
    /// Cycles that the accelerator takes for an image, where there is one.
    pub fn cycles(&self) -> Option<u64> {
        self.accelerator.as_ref().map(|accelerator| accelerator.cycles)
    }
}

/// The file itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManifestFile {
    pub bytes: usize,
    pub sha256: String,
}

/// Hashes of what the artefact was made from.
#[derive(Debug, Clone, Serialize)]
pub struct ProvenanceHashes {
    pub cfg_sha256: String,
    pub weights_sha256: String,
    pub recipe_sha256: String,
    /// Version of the tool that quantised.
    pub quantised_by: String,
}

/// The memory that a run needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArenaSummary {
    pub bytes: usize,
    /// Bytes alive at the fullest moment: no plan is smaller.
    pub lower_bound: usize,
    /// Bytes that concatenations copy in one run; 0 where all of them are addressing.
    pub copied: usize,
}

/// The layers that run in bands, and what that costs.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PatchSummary {
    /// Layers from 0 up to this one.
    pub layers: usize,
    pub bands: usize,
    /// Multiply-accumulates that are computed more than once: none, since rows are kept.
    pub recomputed: u64,
    /// Bytes of rows that are kept and moved in one run.
    pub moved: usize,
}

#[derive(Debug, Clone, Serialize)]
pub struct ManifestTensor {
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
pub struct ManifestLayer {
    /// Number that Darknet prints.
    pub layer: usize,
    pub operator: &'static str,
    /// Line of the section in the cfg.
    pub line: usize,
    /// `compute`, `in place`, `view` or `concat`.
    pub action: &'static str,
    pub output: ManifestTensor,
    pub macs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Bytes of weights, biases, requantisation constants and tables.
    pub constants: usize,
    /// Bytes of activations read and written.
    pub traffic: usize,
}

/// Describes `artefact`, which was written from `program`.
pub fn manifest(
    program: &CpuProgram<'_>,
    target: &Target,
    artefact: &[u8],
    accelerator: Option<CycleReport>,
) -> Manifest {
    let net = program.net;
    let live = program.live_storages();
    let tensor = |value: ValueId, quantised: &QTensor| {
        let allocation = program.allocations[value];
        let at = live.iter().position(|(storage, _)| *storage == allocation.storage);
        let base = at.zip(program.arena.as_ref()).map_or(0, |(at, arena)| arena.offsets[at]);
        let Shape { c, h, w } = quantised.shape;
        ManifestTensor {
            shape: [h, w, c],
            scale: quantised.scale,
            zero_point: quantised.zero_point,
            offset: base + allocation.channel,
            pitch: program.storages[allocation.storage].shape.c,
        }
    };
    let model = Model::from_bytes(artefact).ok().filter(|_| target.weights == WeightOrder::Armv7em);
    let counts = model.map(|model| instructions::by_layer(&model, net.nodes.len()));
    let layers: Vec<ManifestLayer> = net
        .nodes
        .iter()
        .enumerate()
        .map(|(layer, node)| ManifestLayer {
            layer,
            operator: node.op.name(),
            line: node.line,
            action: match program.actions[layer] {
                LayerAction::Compute => "compute",
                LayerAction::InPlace(_) => "in place",
                LayerAction::View => "view",
                LayerAction::Concat { .. } => "concat",
            },
            output: tensor(layer + 1, &node.output),
            macs: cost::macs(net, layer),
            instructions: counts.as_ref().and_then(|counts| counts.get(layer).copied()),
            constants: cost::constant_bytes(program, layer),
            traffic: cost::traffic(program, layer),
        })
        .collect();
    let from = &net.provenance;
    Manifest {
        tool: concat!("secateur ", env!("CARGO_PKG_VERSION")).to_owned(),
        format: format!("{VERSION_MAJOR}.{VERSION_MINOR}"),
        network: from.model.clone(),
        target: target.name.clone(),
        artefact: ManifestFile { bytes: artefact.len(), sha256: hex::encode(Sha256::digest(artefact)) },
        provenance: ProvenanceHashes {
            cfg_sha256: hex::encode(from.cfg_sha256),
            weights_sha256: hex::encode(from.weights_sha256),
            recipe_sha256: hex::encode(from.recipe_sha256),
            quantised_by: from.version.clone(),
        },
        arena: ArenaSummary {
            bytes: program.arena.as_ref().map_or(0, |arena| arena.bytes),
            lower_bound: program.least_bytes,
            copied: program.copied_bytes(),
        },
        patch: program.stage.map(|stage| PatchSummary {
            layers: stage.layers,
            bands: program.bands(),
            recomputed: program.computed_macs()
                - (0..net.nodes.len()).map(|layer| cost::macs(net, layer)).sum::<u64>(),
            moved: program.moved_bytes(),
        }),
        input: tensor(0, &net.input),
        letter_box: net.letter_box,
        classes: net.names.clone(),
        macs: layers.iter().map(|layer| layer.macs).sum(),
        instructions: counts.map(|counts| counts.iter().sum()),
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
