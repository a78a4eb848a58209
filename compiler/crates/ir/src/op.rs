//! Operators and their parameters: Darknet's, and those that other formats bring.
//!
//! Pairs of sizes are `[rows, columns]`. Feature maps are `[c][h][w]`.

use serde::{Deserialize, Serialize};

use super::Shape;

/// The operator of a layer.
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
    /// First input: one value per channel (or per pixel); second input: the feature map that it scales.
    ScaleChannels(ScaleChannels),
    /// Element-wise product of two feature maps of equal shape.
    Sam(Activation),
    Yolo(Yolo),
    Region(Region),
    Detection(Detection),
    Crop(Crop),
    /// Training loss: the identity at inference.
    Cost,
    /// Leaky ReLU with a slope of its own for every channel: weights `[c]`.
    PRelu,
    /// A factor and a bias for every channel: weights `[c]`, biases `[c]`.
    Scale,
    /// Global maximum: output 1×1.
    GlobalMaxPool,
    Resize(Resize),
    Slice(Slice),
    Transpose(Transpose),
    /// The same elements in the same order `[c][h][w]`, counted off anew.
    Reshape(Shape),
}

impl Op {
    /// The operator's name: of Darknet's, the section's in a cfg.
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
            Op::PRelu => "prelu",
            Op::Scale => "scale",
            Op::GlobalMaxPool => "global_maxpool",
            Op::Resize(_) => "resize",
            Op::Slice(_) => "slice",
            Op::Transpose(_) => "transpose",
            Op::Reshape(_) => "reshape",
        }
    }

    /// Returns whether the output describes boxes, which only the detector's decoding understands.
    pub fn is_head(&self) -> bool {
        matches!(self, Op::Yolo(_) | Op::Region(_) | Op::Detection(_))
    }

    /// Returns whether this is a depthwise convolution: one filter per input channel.
    pub fn is_depthwise(&self, input_channels: usize) -> bool {
        matches!(self, Op::Conv(conv) if conv.depth_multiplier(input_channels) == Some(1))
    }
}

/// Zeros around a feature map; a maximum or an average leaves them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    pub top: usize,
    pub left: usize,
    pub bottom: usize,
    pub right: usize,
}

impl Padding {
    pub const NONE: Self = Self::all(0);

    /// As much on every side.
    pub const fn all(pad: usize) -> Self {
        Self { top: pad, left: pad, bottom: pad, right: pad }
    }

    /// `total` rows and `total` columns, the odd ones after the feature map, as Darknet's pooling has them.
    pub const fn centred(total: usize) -> Self {
        let (before, after) = (total / 2, total - total / 2);
        Self { top: before, left: before, bottom: after, right: after }
    }

    /// Added rows and added columns.
    pub const fn total(self) -> [usize; 2] {
        [self.top + self.bottom, self.left + self.right]
    }

    /// The padding, if every side has the same.
    pub fn uniform(self) -> Option<usize> {
        (self == Self::all(self.top)).then_some(self.top)
    }
}

/// Convolution (or its transpose). Input channels come from the input's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    pub filters: usize,
    pub groups: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Of a transposed convolution: what its output loses.
    pub padding: Padding,
    pub batch_norm: bool,
    pub activation: Activation,
}

impl Conv {
    /// A plain convolution: kernel `size × size`, one group, steps of 1, no padding, linear.
    pub const fn square(filters: usize, size: usize) -> Self {
        Self {
            filters,
            groups: 1,
            kernel: [size; 2],
            stride: [1; 2],
            dilation: [1; 2],
            padding: Padding::NONE,
            batch_norm: false,
            activation: Activation::Linear,
        }
    }

    /// Weights between one input and one output channel.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Filters per input channel, if every group has one input channel; `None` with only one group.
    pub fn depth_multiplier(&self, input_channels: usize) -> Option<usize> {
        (self.groups > 1 && self.groups == input_channels).then(|| self.filters / self.groups)
    }

    /// Returns whether every output pixel depends on the input pixel of the same position only.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1; 2] && self.stride == [1; 2] && self.padding == Padding::NONE
    }
}

/// Fully connected layer over the flattened input.
#[derive(Debug, Clone, PartialEq)]
pub struct Connected {
    pub outputs: usize,
    pub batch_norm: bool,
    pub activation: Activation,
}

/// Pooling window.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: Padding,
    /// A last window that hangs over the far padding counts, unless it begins there.
    pub ceil: bool,
    /// Of an average.
    pub divisor: Divisor,
    /// `maxpool_depth=1`: the window runs over channels, yielding this many.
    pub depth: Option<usize>,
}

impl Pool {
    /// A window of `size × size` in steps of `stride`, without padding.
    pub const fn square(size: usize, stride: usize) -> Self {
        Self {
            kernel: [size; 2],
            stride: [stride; 2],
            padding: Padding::NONE,
            ceil: false,
            divisor: Divisor::Inside,
            depth: None,
        }
    }
}

/// A pooling window's positions along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Those on the map.
    pub inside: std::ops::Range<usize>,
    /// How many are on the map or its padding.
    pub padded: usize,
}

impl Pool {
    /// The window at output position `out` along `axis` (0: rows, 1: columns) of a map with `length` positions there.
    pub fn extent(&self, axis: usize, out: usize, length: usize) -> Extent {
        let before = [self.padding.top, self.padding.left][axis];
        let start = out * self.stride[axis];
        let end = start + self.kernel[axis];
        let inside = start.saturating_sub(before).min(length)..end.saturating_sub(before).min(length);
        Extent { inside, padded: end.min(length + self.padding.total()[axis]) - start }
    }
}

/// Divisor of an average over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Divisor {
    /// The window's elements on the feature map (Darknet, TensorFlow).
    #[default]
    Inside,
    /// The window's elements on the feature map and its padding (Caffe).
    Padded,
}

/// A side of a feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Axis {
    Channels,
    Rows,
    Columns,
}

/// A feature map of another height and width.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    pub height: usize,
    pub width: usize,
    pub kind: ResizeKind,
    pub coordinates: Coordinates,
}

/// Interpolation of a resized feature map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeKind {
    /// The input pixel at the rounded-down coordinate (with [`Coordinates::AlignCorners`]: rounded).
    Nearest,
    /// Weighted mean of the four pixels around; borders repeat.
    Bilinear,
}

/// Position of output coordinate `i` of `out` on an input of `in` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// `i · in / out`
    Asymmetric,
    /// `(i + ½) · in / out − ½`
    HalfPixel,
    /// `i · (in − 1) / (out − 1)`
    AlignCorners,
}

/// Every `step`-th of the elements `start..end` along an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    pub axis: Axis,
    pub start: usize,
    pub end: usize,
    pub step: usize,
}

/// Axes in another order: output axis `i` is the input's `order[i]`, of (channels, rows, columns).
#[derive(Debug, Clone, PartialEq)]
pub struct Transpose {
    pub order: [Axis; 3],
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

/// Sum of feature maps. The output has the first input's shape; of inputs with other channel counts the common
/// leading channels are added, of inputs of other sizes the pixels that [`shortcut_steps`](super::shortcut_steps) says.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortcut {
    pub activation: Activation,
    pub weights: ShortcutWeights,
    pub normalization: WeightsNormalization,
}

/// Weights of a shortcut's inputs (`weights_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShortcutWeights {
    None,
    PerFeature,
    PerChannel,
}

/// Normalisation of those weights (`weights_normalization`).
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
    /// Slices of the flattened input, without an axis.
    pub groups: usize,
    pub temperature: f32,
    /// Along this axis at every position of the others (Darknet's `spatial=1`: over channels); the
    /// temperature then has no effect.
    pub axis: Option<Axis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScaleChannels {
    /// `scale_wh=1`: one factor per pixel instead of per channel.
    pub scale_wh: bool,
    pub activation: Activation,
}

/// Crop of the image, centred at inference; Darknet also maps 0..1 to −1..1 unless `noadjust`.
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

/// Every activation that Darknet names. `Swish` is SiLU, `x · logistic(x)`.
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
