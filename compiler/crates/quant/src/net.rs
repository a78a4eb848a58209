//! The int8 network: what quantisation yields and lowering consumes, one node a Darknet layer.
//!
//! Everything in it is final: integer weights and biases, requantisation constants and tables of
//! NUMERICS. Real scales stand beside the tensors for printing only.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::scales::Scale;
use secateur_base::{Error, Result, files};
use secateur_ir::{Detection, NmsKind, Region, Reorg, Shape, Source, Yolo};

/// First bytes of an int8 network's file.
const MAGIC: [u8; 8] = *b"SECQNET\0";

/// Version of the file format; a reader accepts its own only.
const VERSION: u32 = 1;

/// As in zlib.
pub(crate) const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Greatest file that is read: far above any network that fits the accumulator's bound.
const MAX_BYTES: u64 = 1 << 31;

/// An int8 network, complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QNet {
    /// The picture: `q = pixel − 128`, scale 1/255, zero point −128.
    pub input: QTensor,
    /// Picture is letterboxed instead of stretched.
    pub letter_box: bool,
    /// Indexed by the number that Darknet prints; inputs have smaller numbers.
    pub nodes: Vec<QNode>,
    /// Class names, empty where none were given.
    pub names: Vec<String>,
    pub provenance: Provenance,
}

/// Where the network comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// File name of the cfg without its folder.
    pub model: String,
    /// SHA-256 of the cfg's bytes.
    pub cfg_sha256: [u8; 32],
    /// SHA-256 of the weights' bytes.
    pub weights_sha256: [u8; 32],
    /// SHA-256 of the options and calibration pictures.
    pub recipe_sha256: [u8; 32],
    /// Version of the tool that quantised.
    pub version: String,
}

/// A tensor's shape and the meaning of its integers: `real = scale · (q − zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QTensor {
    /// Stored `[h][w][c]`.
    pub shape: Shape,
    pub scale: f32,
    pub zero_point: i8,
    pub dtype: DType,
}

impl QTensor {
    /// Rounds `values`, each times `sign`, to the tensor's codes.
    pub(crate) fn round(&self, values: &mut [f32], sign: f32) {
        let scale = Scale { scale: self.scale.into(), zero_point: self.zero_point };
        values.iter_mut().for_each(|v| *v = sign * scale.real(scale.quantise((sign * *v).into())) as f32);
    }
}

/// Element type of an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DType {
    I8,
}

/// One Darknet layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QNode {
    pub op: QOp,
    pub inputs: Vec<Source>,
    pub output: QTensor,
    /// 1-based line of the section's header in the cfg, for messages.
    pub line: usize,
}

/// An integer operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum QOp {
    /// Also batch norm on its own, as a depthwise 1×1.
    Conv(QConv),
    /// Fully connected: a convolution whose kernel covers the whole input.
    Connected(QConnected),
    /// Output has the input's scale and zero point.
    MaxPool(QPool),
    /// Global average: `requant` of `Σ (q − Z_in)`, `1/N` inside the multiplier.
    AvgPool(QScaled),
    LocalAvgPool(QLocalAverage),
    /// Nearest neighbour; the factor `scale` of Darknet stands in the output's real scale.
    Upsample {
        stride: usize,
    },
    Route(QRoute),
    Shortcut(QShortcut),
    Reorg(Reorg),
    /// Dropout, cost: the bytes of the input.
    Identity,
    /// Centre window of the picture: rows from `top`, columns from `left`.
    Crop {
        top: usize,
        left: usize,
    },
    /// `requant` of `(q0 − Z0)·(q1 − Z1)`, the first input broadcast over rows and columns, or
    /// over channels with `scale_wh`.
    ScaleChannels {
        scale_wh: bool,
        scaled: QScaled,
    },
    /// `requant` of `(q0 − Z0)·(q1 − Z1)`, element by element.
    Sam(QScaled),
    Softmax(QSoftmax),
    /// Output is the input's bytes; decoding goes through the tables.
    Yolo {
        head: Yolo,
        tables: HeadTables,
    },
    /// Output is the input's bytes; decoding goes through the tables.
    Region {
        head: Region,
        tables: HeadTables,
    },
    /// Output is the input's bytes; decoding goes through the tables.
    Detection {
        head: Detection,
        tables: HeadTables,
    },
}

impl QOp {
    /// Whether the output describes boxes, which only the detector's decoding understands.
    pub fn is_head(&self) -> bool {
        matches!(self, QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. })
    }

    /// Whether the output's codes are rounded here, and not its input's handed on.
    pub(crate) fn rounds(&self) -> bool {
        match self {
            QOp::MaxPool(_)
            | QOp::Upsample { .. }
            | QOp::Reorg(_)
            | QOp::Crop { .. }
            | QOp::Identity
            | QOp::Yolo { .. }
            | QOp::Region { .. }
            | QOp::Detection { .. } => false,
            QOp::Route(route) => route.rescale.iter().any(Option::is_some),
            _ => true,
        }
    }

    /// The operator's short name, for tables and messages.
    pub fn name(&self) -> &'static str {
        match self {
            QOp::Conv(_) => "conv",
            QOp::Connected(_) => "connected",
            QOp::MaxPool(_) => "maxpool",
            QOp::AvgPool(_) => "avgpool",
            QOp::LocalAvgPool(_) => "local_avgpool",
            QOp::Upsample { .. } => "upsample",
            QOp::Route(_) => "route",
            QOp::Shortcut(_) => "shortcut",
            QOp::Reorg(_) => "reorg",
            QOp::Identity => "identity",
            QOp::Crop { .. } => "crop",
            QOp::ScaleChannels { .. } => "scale_channels",
            QOp::Sam(_) => "sam",
            QOp::Softmax(_) => "softmax",
            QOp::Yolo { .. } => "yolo",
            QOp::Region { .. } => "region",
            QOp::Detection { .. } => "detection",
        }
    }
}

/// Two-slope requantisation of NUMERICS: `y = (acc · m + 2^(shift−1)) >> shift` with `m` by the
/// sign of `acc`; `|m| < 2^17`, `1 <= shift <= 47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requant {
    pub m_pos: i32,
    pub m_neg: i32,
    pub shift: u8,
}

/// What follows the multiplier: `q = clamp(y + zero_point, lo, hi)`, then the table if there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// Zero point of the requantised value: the output's own, or the pre-activation's before a table.
    pub zero_point: i8,
    pub lo: i8,
    pub hi: i8,
    pub table: Option<Table>,
}

/// `T[q + 128]` of an activation that two slopes cannot express.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<i8>", into = "Vec<i8>")]
pub struct Table(pub Box<[i8; 256]>);

impl TryFrom<Vec<i8>> for Table {
    type Error = String;

    fn try_from(bytes: Vec<i8>) -> Result<Self, String> {
        let length = bytes.len();
        bytes
            .into_boxed_slice()
            .try_into()
            .map(Self)
            .map_err(|_| format!("table of {length} entries, not 256"))
    }
}

impl From<Table> for Vec<i8> {
    fn from(table: Table) -> Self {
        table.0.to_vec()
    }
}

/// Square pooling window. `pad` is the total padding of both sides, of which `pad / 2` stands before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QPool {
    pub size: usize,
    pub stride_x: usize,
    pub stride_y: usize,
    pub pad: usize,
    /// Nothing has it yet: the window would run over this many channels.
    pub depth: Option<usize>,
}

/// int8 convolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QConv {
    pub groups: usize,
    pub size: usize,
    pub stride_x: usize,
    pub stride_y: usize,
    pub dilation: usize,
    /// Pixels of the input's zero point on every side.
    pub pad: usize,
    /// `[out][size][size][in/groups]` in −127..=127.
    pub weights: Vec<i8>,
    /// `[out]`, the input's zero point folded in: `b − Z_in · Σ w`.
    pub bias: Vec<i32>,
    /// `[out]` real weight scales, for printing.
    pub scales: Vec<f32>,
    /// `[out]`
    pub requant: Vec<Requant>,
    pub finish: Finish,
}

impl QConv {
    /// Whether every input channel is filtered on its own, once.
    pub fn is_depthwise(&self, input_channels: usize) -> bool {
        self.groups > 1 && self.groups == input_channels && self.groups == self.bias.len()
    }
}

/// int8 fully connected layer over the input flattened `[h][w][c]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QConnected {
    /// `[out][h][w][c]` in −127..=127.
    pub weights: Vec<i8>,
    /// `[out]`, the input's zero point folded in.
    pub bias: Vec<i32>,
    /// `[out]` real weight scales, for printing.
    pub scales: Vec<f32>,
    /// `[out]`
    pub requant: Vec<Requant>,
    pub finish: Finish,
}

/// One requantisation for a whole tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QScaled {
    pub requant: Requant,
    pub finish: Finish,
}

/// Average (or sum) over a window; what lies outside the picture does not take part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QLocalAverage {
    pub pool: QPool,
    /// By the number of pixels that take part, from 1 to `size²`.
    pub requant: Vec<Requant>,
    pub finish: Finish,
}

/// Concatenation over channels of the slice `group_id` of `groups` of every input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QRoute {
    pub groups: usize,
    pub group_id: usize,
    /// `[inputs]`; `None` where the input already has the output's scale and zero point.
    pub rescale: Vec<Option<Requant>>,
}

/// `requant` of `Σ_i (q_i − Z_i) · multipliers[i]`; of an input with other channel counts the
/// leading ones take part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QShortcut {
    /// Multipliers are `[inputs][c]` instead of `[inputs]` (`weights_type=per_channel`).
    pub per_channel: bool,
    /// `|M| < 2^17`.
    pub multipliers: Vec<i32>,
    /// Linear: `m_pos = m_neg = 1`; a following activation as two slopes on the unrounded sum.
    pub requant: Requant,
    pub finish: Finish,
}

/// Softmax over channels in `groups` slices: `exp[max − q]` normalised. Output scale 1/256, zero
/// point −128.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QSoftmax {
    pub groups: usize,
    pub spatial: bool,
    /// `round(2^16 · e^(−d · scale / temperature))` by `d = max − q` in 0..=255.
    pub exp: Vec<u32>,
}

/// Decoding tables of a head, 256 entries each, by `q + 128` of its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadTables {
    /// Centre within its cell, in cells, Q16.16.
    pub xy: Vec<i32>,
    /// Factor on the anchor (yolo, region) or on the picture (detection), Q16.16, saturated.
    pub wh: Vec<u32>,
    /// Q0.15: 32768 is one.
    pub objectness: Vec<u16>,
    /// Q0.15; where the head takes a softmax, `2^15 · e^(−d · scale)` by `d = max − q`.
    pub class: Vec<u16>,
}

impl QNet {
    /// What `source` yields.
    pub fn tensor(&self, source: Source) -> &QTensor {
        match source {
            Source::Image => &self.input,
            Source::Layer(i) => &self.nodes[i].output,
        }
    }

    /// Gives `error` the place of layer `layer`: its number, operator and line.
    pub fn locate(&self, layer: usize, error: Error) -> Error {
        let node = &self.nodes[layer];
        error.layer(layer).section(node.op.name()).line(node.line)
    }

    /// Layers whose outputs the user reads: heads, or the last layer where there are none.
    pub fn heads(&self) -> Vec<usize> {
        let heads: Vec<usize> = (0..self.nodes.len()).filter(|&i| self.nodes[i].op.is_head()).collect();
        if heads.is_empty() { self.nodes.len().checked_sub(1).into_iter().collect() } else { heads }
    }

    /// The kind of non-maximum suppression: the last yolo layer's.
    pub fn nms_kind(&self) -> NmsKind {
        let kind = self.nodes.iter().rev().find_map(|node| match &node.op {
            QOp::Yolo { head, .. } => Some(head.nms_kind),
            _ => None,
        });
        kind.unwrap_or(NmsKind::Default)
    }

    /// Serialises the network: magic, version, postcard, and the CRC-32 of all that.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        let mut bytes = postcard::to_extend(self, bytes).expect("plain data always serialises");
        let checksum = CRC.checksum(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads what [`QNet::to_bytes`] wrote; `path` is for messages.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        let bad =
            |what: &str| Error::new(what).file(path).help("write the file again with `secateur quantize`");
        if !bytes.starts_with(&MAGIC) {
            return Err(bad("not an int8 network of secateur"));
        }
        let cut_short = || bad("int8 network is cut short");
        let (content, checksum) = bytes.split_last_chunk().ok_or_else(cut_short)?;
        if CRC.checksum(content) != u32::from_le_bytes(*checksum) {
            return Err(bad("int8 network is damaged: its checksum differs"));
        }
        let body = content.strip_prefix(&MAGIC).ok_or_else(cut_short)?;
        let (version, body) = body.split_first_chunk().ok_or_else(cut_short)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(bad("int8 network of another version")
                .found(version.to_string())
                .allowed(VERSION.to_string()));
        }
        let net: Self =
            postcard::from_bytes(body).map_err(|e| bad(&format!("int8 network cannot be read: {e}")))?;
        net.verify().map_err(|e| e.file(path))?;
        Ok(net)
    }

    /// Writes the network's file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_bytes(path, &self.to_bytes())
    }

    /// Reads a network's file and checks it.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(path, &files::read_limited(path, MAX_BYTES)?)
    }
}
