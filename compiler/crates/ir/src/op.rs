//! Operators and their parameters, in Darknet's terms.

use serde::{Deserialize, Serialize};

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Conv(Conv),
    Deconv(Conv),
    Connected(Connected),
    BatchNorm(Activation),
    MaxPool(Pool),
    /// Global average: output 1×1.
    AvgPool,
    LocalAvgPool(Pool),
    Upsample(Upsample),
    Route(Route),
    Shortcut(Shortcut),
    /// The identity, but it counts in layer numbers.
    Dropout,
    Reorg(Reorg),
    Softmax(Softmax),
    /// First input: one value a channel (or a pixel); second input: the map that it scales.
    ScaleChannels(ScaleChannels),
    /// Element-wise product of two maps of equal shape.
    Sam(Activation),
    Yolo(Yolo),
    Region(Region),
    Detection(Detection),
    Crop(Crop),
    /// Training loss: the identity at inference.
    Cost,
}

impl Op {
    /// The section's name in a cfg.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Conv(_) => "convolutional",
            Op::Deconv(_) => "deconvolutional",
            Op::Connected(_) => "connected",
            Op::BatchNorm(_) => "batchnorm",
            Op::MaxPool(_) => "maxpool",
            Op::AvgPool => "avgpool",
            Op::LocalAvgPool(_) => "local_avgpool",
            Op::Upsample(_) => "upsample",
            Op::Route(_) => "route",
            Op::Shortcut(_) => "shortcut",
            Op::Dropout => "dropout",
            Op::Reorg(_) => "reorg",
            Op::Softmax(_) => "softmax",
            Op::ScaleChannels(_) => "scale_channels",
            Op::Sam(_) => "sam",
            Op::Yolo(_) => "yolo",
            Op::Region(_) => "region",
            Op::Detection(_) => "detection",
            Op::Crop(_) => "crop",
            Op::Cost => "cost",
        }
    }
}

/// Convolution (or its transpose). Input channels come from the input's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    pub filters: usize,
    pub groups: usize,
    pub size: usize,
    pub stride_x: usize,
    pub stride_y: usize,
    pub dilation: usize,
    /// Zeros on every side.
    pub pad: usize,
    pub batch_norm: bool,
    pub activation: Activation,
}

/// Fully connected layer over the flattened input.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    pub outputs: usize,
    pub batch_norm: bool,
    pub activation: Activation,
}

/// Pooling window. `pad` is the total padding of both sides; the offset is `-pad/2`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub size: usize,
    pub stride_x: usize,
    pub stride_y: usize,
    pub pad: usize,
    /// `maxpool_depth=1`: the window runs over channels, yielding this many.
    pub depth: Option<usize>,
}

/// Nearest-neighbour upsampling by `stride`, or with `reverse` the matching sum-downsampling.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsample {
    pub stride: usize,
    pub reverse: bool,
    pub scale: f32,
}

/// Concatenation over channels; of every input the slice `group_id` of `groups`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub groups: usize,
    pub group_id: usize,
}

/// Sum of maps. The output has the first input's shape; unequal inputs follow Darknet's flat indices.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortcut {
    pub activation: Activation,
    pub weights: ShortcutWeights,
    pub normalization: WeightsNormalization,
}

/// How a shortcut weighs its inputs (`weights_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortcutWeights {
    None,
    PerFeature,
    PerChannel,
}

/// How those weights are normalised (`weights_normalization`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsNormalization {
    None,
    Relu,
    Softmax,
}

/// Space to depth. `old` marks `reorg_old` (flatten-style index order of early YOLOv2 files).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reorg {
    pub stride: usize,
    pub reverse: bool,
    pub old: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Softmax {
    pub groups: usize,
    pub temperature: f32,
    /// Applied over channels at every pixel.
    pub spatial: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScaleChannels {
    /// `scale_wh=1`: one factor a pixel instead of one a channel.
    pub scale_wh: bool,
    pub activation: Activation,
}

/// Crop of the picture, centred at inference; Darknet also maps 0..1 to −1..1 unless `noadjust`.
#[derive(Debug, Clone, PartialEq)]
pub struct Crop {
    pub height: usize,
    pub width: usize,
    pub noadjust: bool,
}

/// YOLOv3/v4 head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Yolo {
    pub classes: usize,
    /// Anchors that this head uses.
    pub mask: Vec<usize>,
    /// All anchors, `(w, h)` in input pixels.
    pub anchors: Vec<(f32, f32)>,
    pub scale_x_y: f32,
    pub new_coords: bool,
    pub nms_kind: NmsKind,
    pub beta_nms: f32,
}

/// YOLOv2 head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub classes: usize,
    pub coords: usize,
    /// `(w, h)` in cells.
    pub anchors: Vec<(f32, f32)>,
    pub softmax: bool,
    pub background: bool,
}

/// YOLOv1 head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub classes: usize,
    pub coords: usize,
    pub side: usize,
    pub num: usize,
    pub sqrt: bool,
    pub softmax: bool,
}

/// Non-maximum suppression of AlexeyAB's Darknet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NmsKind {
    Default,
    Greedy,
    Diou,
    Corners,
}

/// Every activation that Darknet names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    Logistic,
    Relu,
    Relu6,
    Relie,
    Linear,
    Ramp,
    Tanh,
    Plse,
    Revleaky,
    Leaky,
    Elu,
    Loggy,
    Stair,
    Hardtan,
    Lhtan,
    Selu,
    Gelu,
    Swish,
    Mish,
    HardMish,
    NormChan,
    NormChanSoftmax,
    NormChanSoftmaxMaxval,
}

impl Activation {
    pub const ALL: [Self; 23] = [
        Self::Logistic,
        Self::Relu,
        Self::Relu6,
        Self::Relie,
        Self::Linear,
        Self::Ramp,
        Self::Tanh,
        Self::Plse,
        Self::Revleaky,
        Self::Leaky,
        Self::Elu,
        Self::Loggy,
        Self::Stair,
        Self::Hardtan,
        Self::Lhtan,
        Self::Selu,
        Self::Gelu,
        Self::Swish,
        Self::Mish,
        Self::HardMish,
        Self::NormChan,
        Self::NormChanSoftmax,
        Self::NormChanSoftmaxMaxval,
    ];

    /// The name in a cfg.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Relie => "relie",
            Self::Linear => "linear",
            Self::Ramp => "ramp",
            Self::Tanh => "tanh",
            Self::Plse => "plse",
            Self::Revleaky => "revleaky",
            Self::Leaky => "leaky",
            Self::Elu => "elu",
            Self::Loggy => "loggy",
            Self::Stair => "stair",
            Self::Hardtan => "hardtan",
            Self::Lhtan => "lhtan",
            Self::Selu => "selu",
            Self::Gelu => "gelu",
            Self::Swish => "swish",
            Self::Mish => "mish",
            Self::HardMish => "hard_mish",
            Self::NormChan => "normalize_channels",
            Self::NormChanSoftmax => "normalize_channels_softmax",
            Self::NormChanSoftmaxMaxval => "normalize_channels_softmax_maxval",
        }
    }

    /// The activation of that name in a cfg.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == name)
    }
}
