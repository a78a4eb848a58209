//! The int8 network, the result of quantisation and the input of lowering: one node per Darknet layer.
//!
//! Everything in it is final: integer weights and biases, requantisation constants and tables of
//! `docs/numerics.md`. Real scales are there for printing only.

use serde::{Deserialize, Serialize};

use super::numeric::Scale;
pub use super::numeric::{HeadTables, QRequant, QTable};
use secateur_base::Error;
use secateur_ir::{Detection, NmsKind, Region, Reorg, Shape, Source, Yolo};

/// An int8 network, complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QNet {
    /// The image: `q = pixel − 128`, scale 1/255, zero point −128.
    pub input: QTensor,
    /// Image is letterboxed instead of stretched.
    pub letter_box: bool,
    /// Indexed by the number that Darknet prints; inputs have smaller numbers.
    pub nodes: Vec<QNode>,
    /// Class names, empty where none were given.
    pub names: Vec<String>,
    pub provenance: Provenance,
}

/// Origin of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// File name of the cfg without its folder.
    pub model: String,
    /// SHA-256 of the cfg's bytes.
    pub cfg_sha256: [u8; 32],
    /// SHA-256 of the weights' bytes.
    pub weights_sha256: [u8; 32],
    /// SHA-256 of the options and calibration images.
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
    /// Rounds `values`, each times `sign`, to reals that the tensor's quantised values stand for.
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
    /// Nearest neighbour; Darknet's factor `scale` is in the output's real scale.
    Upsample {
        stride: usize,
    },
    Route(QRoute),
    Shortcut(QShortcut),
    Reorg(Reorg),
    /// Dropout, cost: the bytes of the input.
    Identity,
    /// Centre window of the image: rows from `top`, columns from `left`.
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
    /// Returns true for a detection head: `[yolo]`, `[region]`, `[detection]`.
    pub fn is_head(&self) -> bool {
        matches!(self, QOp::Yolo { .. } | QOp::Region { .. } | QOp::Detection { .. })
    }

    /// Returns true if the operator requantises, and false if it forwards its input's values.
    pub(crate) fn rounds(&self) -> bool {
        match self {
            QOp::MaxPool(_) | QOp::Upsample { .. } | QOp::Reorg(_) | QOp::Crop { .. } | QOp::Identity => {
                false
            }
            head if head.is_head() => false,
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

/// The part after the multiplier: `q = clamp(y + zero_point, lo, hi)`, then the table if there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QEpilogue {
    /// Zero point of the requantised value: the output's own, or the pre-activation's before a table.
    pub zero_point: i8,
    pub lo: i8,
    pub hi: i8,
    pub table: Option<QTable>,
}

/// Square pooling window. `pad` is the total padding of both sides, of which `pad / 2` is before.
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
    pub requant: Vec<QRequant>,
    pub epilogue: QEpilogue,
}

impl QConv {
    /// Returns true if every channel has a filter of its own; `inputs` is the number of input channels.
    pub fn is_depthwise(&self, inputs: usize) -> bool {
        self.groups > 1 && self.groups == inputs && self.groups == self.bias.len()
    }

    /// Returns the weights of a depthwise convolution in the order of its kernel, `[size][size][c]`.
    pub fn depthwise_weights(&self) -> Vec<i8> {
        let (channels, taps) = (self.bias.len(), self.size * self.size);
        (0..taps * channels).map(|i| self.weights[i % channels * taps + i / channels]).collect()
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
    pub requant: Vec<QRequant>,
    pub epilogue: QEpilogue,
}

/// One requantisation for a whole tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QScaled {
    pub requant: QRequant,
    pub epilogue: QEpilogue,
}

/// Average (or sum) over a window; elements outside the image do not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QLocalAverage {
    pub pool: QPool,
    /// By the number of pixels that take part, from 1 to `size²`.
    pub requant: Vec<QRequant>,
    pub epilogue: QEpilogue,
}

/// Concatenation over channels of the slice `group_id` of `groups` of every input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QRoute {
    pub groups: usize,
    pub group_id: usize,
    /// `[inputs]`; `None` where the input already has the output's scale and zero point.
    pub rescale: Vec<Option<QRequant>>,
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
    pub requant: QRequant,
    pub epilogue: QEpilogue,
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

impl QNet {
    /// Returns the tensor that `source` yields.
    pub fn tensor(&self, source: Source) -> &QTensor {
        match source {
            Source::Image => &self.input,
            Source::Layer(i) => &self.nodes[i].output,
        }
    }

    /// Gives `error` the location of layer `layer`: its number, operator and line.
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
}
