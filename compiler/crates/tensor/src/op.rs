//! Operators, each with one meaning. What frameworks define differently are parameters here; what can be put
//! together of other operators exactly is not here, the readers put it together:
//!
//! | operator of a framework | put together of |
//! |---|---|
//! | Gemm, InnerProduct | transposes, [`Op::MatMul`], products, [`Binary::Add`] |
//! | Split, Crop, strided slices | [`Op::Slice`] for every output |
//! | global pools, Mean | [`Op::Reduce`] |
//! | depth to space, space to depth, Focus | [`Op::Reshape`], [`Op::Transpose`] |
//! | Scale, Bias, Eltwise | [`Binary`] on reshaped constants |
//! | prior boxes of an SSD | a constant, since they follow from shapes |
//! | layer, instance, L2 normalisation | [`Op::Reduce`] and element-wise operators |
//! | QLinearConv, ConvInteger | [`Op::Cast`], [`Binary::Sub`], [`Op::Conv`] on integers, [`Op::Quantize`] |
//!
//! Parameters are fixed numbers: shape arithmetic is folded while a network is read.

use crate::tensor::DType;

/// An operator. Inputs and outputs are those of its [`Node`](crate::Node); axes count from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `x`. Element-wise.
    Unary(Unary),
    /// `a, b`, of one type. Element-wise; axes of length 1 and missing outer axes repeat.
    Binary(Binary),
    /// `condition, a, b`. Element-wise as [`Op::Binary`].
    Where,
    /// `x`. To another type; floats lose their fraction, towards zero.
    Cast(DType),
    /// `x [n][c][…], weights [filters][c/groups][kernel…]`, optionally `bias [filters]`; one or two axes of space.
    /// Floats, or integers of any types with sums in `I32`.
    Conv(Conv),
    /// `x [n][c][…], weights [c][filters/groups][kernel…]`, optionally `bias [filters]`.
    ConvTranspose(ConvTranspose),
    /// `x [n][c][…]`; one or two axes of space.
    Pool(Pool),
    /// `x`.
    Reduce(Reduce),
    /// `a […][m][k], b […][k][n]`; outer axes repeat as in [`Op::Binary`], a vector is a row on the left and a
    /// column on the right.
    MatMul,
    /// `x [n][c][…], scale, bias, mean, variance [c]`:
    /// `scale · (x − mean) / sqrt(variance + epsilon) + bias`.
    BatchNorm { epsilon: f32 },
    /// `x`. Along one axis; with `log` its logarithm.
    Softmax { axis: usize, log: bool },
    /// `x [n][c][h][w]`.
    Lrn(Lrn),
    /// `x`. The same elements in the same order.
    Reshape(Vec<usize>),
    /// `x`. Output axis `i` is the input's `order[i]`.
    Transpose(Vec<usize>),
    /// Any number of inputs, one after the other along an axis.
    Concat { axis: usize },
    /// `x`. Along every axis, `start, start + step, …`, `length` of them.
    Slice(Vec<Range>),
    /// `x`. Axes of length 1 and missing outer axes repeat up to this shape.
    Expand(Vec<usize>),
    /// `x`. The whole again, so many times along every axis.
    Tile(Vec<usize>),
    /// `x`.
    Pad(Pad),
    /// `x, indices` (integers; negative ones count from the end): `x` with `axis` replaced by the indices' axes.
    Gather { axis: usize },
    /// `x`.
    Resize(Resize),
    /// `x`. Index of the greatest along an axis: the first of equals, or the last.
    ArgMax { axis: usize, last: bool },
    /// `x, scale, zero_point` (scalars, or one for each position of `axis`): rounds `x / scale` to the nearest
    /// even, adds the zero point and keeps what the zero point's type holds.
    Quantize { axis: usize },
    /// `x, scale, zero_point`: `(x − zero_point) · scale`.
    Dequantize { axis: usize },
    /// SSD: `locations [n][boxes·4], confidences [n][boxes·classes], priors [1][2][boxes·4]`.
    DetectionOutput(DetectionOutput),
}

impl Op {
    /// A name for messages and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unary(unary) => unary.name(),
            Self::Binary(binary) => binary.name(),
            Self::Where => "where",
            Self::Cast(_) => "cast",
            Self::Conv(_) => "conv",
            Self::ConvTranspose(_) => "conv_transpose",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Self::Pool(_) => "average_pool",
            Self::Reduce(reduce) => reduce.kind.name(),
            Self::MatMul => "matmul",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Softmax { log: false, .. } => "softmax",
            Self::Softmax { log: true, .. } => "log_softmax",
            Self::Lrn(_) => "lrn",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Concat { .. } => "concat",
            Self::Slice(_) => "slice",
            Self::Expand(_) => "expand",
            Self::Tile(_) => "tile",
            Self::Pad(_) => "pad",
            Self::Gather { .. } => "gather",
            Self::Resize(_) => "resize",
            Self::ArgMax { .. } => "arg_max",
            Self::Quantize { .. } => "quantize",
            Self::Dequantize { .. } => "dequantize",
            Self::DetectionOutput(_) => "detection_output",
        }
    }
}

macro_rules! from {
    ($($name:ident),*) => { $(impl From<$name> for Op { fn from(op: $name) -> Self { Self::$name(op) } })* };
}
from!(Unary, Binary, Conv, ConvTranspose, Pool, Reduce, Lrn, Pad, Resize, DetectionOutput);

/// An element-wise function. Those that are not of reals only also take integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    Identity,
    /// Also of integers.
    Abs,
    /// Also of integers.
    Neg,
    /// Of truth values.
    Not,
    /// Also of integers.
    Sign,
    Exp,
    Log,
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// Also of integers.
    Square,
    Reciprocal,
    Floor,
    Ceil,
    /// To the nearest, halves to the even one.
    Round,
    Sin,
    Cos,
    Erf,
    /// Also of integers.
    Relu,
    /// `alpha · x` below 0
    LeakyRelu(f32),
    /// `alpha · (e^x − 1)` below 0
    Elu(f32),
    /// `gamma · (alpha · (e^x − 1))` below 0, `gamma · x` from there
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Sigmoid,
    /// `max(0, min(1, alpha · x + beta))`
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    /// `x · max(0, min(1, x/6 + ½))`
    HardSwish,
    /// `x · sigmoid(alpha · x)`
    Swish(f32),
    Tanh,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x / (1 + |x|)`
    Softsign,
    /// `½ x (1 + erf(x / √2))`
    Gelu,
    /// `½ x (1 + tanh(√(2/π) (x + .044715 x³)))`
    GeluTanh,
    /// `x · tanh(softplus(x))`
    Mish,
    /// 1 above the threshold, else 0
    Above(f32),
    /// `x` where it exceeds `alpha`, else 0
    ThresholdedRelu(f32),
    /// Also of integers.
    Clip {
        low: f32,
        high: f32,
    },
    /// `(shift + scale · x) ^ power`
    Power {
        power: f32,
        scale: f32,
        shift: f32,
    },
}

impl Unary {
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Abs => "abs",
            Self::Neg => "neg",
            Self::Not => "not",
            Self::Sign => "sign",
            Self::Exp => "exp",
            Self::Log => "log",
            Self::Sqrt => "sqrt",
            Self::Rsqrt => "rsqrt",
            Self::Square => "square",
            Self::Reciprocal => "reciprocal",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Round => "round",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Erf => "erf",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Elu(_) => "elu",
            Self::Selu { .. } => "selu",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Swish(_) => "swish",
            Self::Tanh => "tanh",
            Self::Softplus => "softplus",
            Self::Softsign => "softsign",
            Self::Gelu | Self::GeluTanh => "gelu",
            Self::Mish => "mish",
            Self::Above(_) => "above",
            Self::ThresholdedRelu(_) => "thresholded_relu",
            Self::Clip { .. } => "clip",
            Self::Power { .. } => "power",
        }
    }
}

/// An element-wise function of two tensors. Integer sums and products wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// Of integers towards zero; division by 0 yields 0.
    Div,
    /// Towards minus infinity.
    FloorDiv,
    /// The remainder with the divisor's sign; with `truncated` the dividend's.
    Mod {
        truncated: bool,
    },
    /// The exponent may have another type; the result has the base's.
    Pow,
    Max,
    Min,
    SquaredDifference,
    /// `b · a` where `a` is below 0, else `a`: a ReLU with slopes
    PRelu,
    /// The rest yields truth values.
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
}

impl Binary {
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::FloorDiv => "floor_div",
            Self::Mod { .. } => "mod",
            Self::Pow => "pow",
            Self::Max => "max",
            Self::Min => "min",
            Self::SquaredDifference => "squared_difference",
            Self::PRelu => "prelu",
            Self::Equal => "equal",
            Self::Less => "less",
            Self::LessOrEqual => "less_or_equal",
            Self::Greater => "greater",
            Self::GreaterOrEqual => "greater_or_equal",
            Self::And => "and",
            Self::Or => "or",
        }
    }

    /// Returns whether the result is a truth value.
    pub fn is_predicate(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
                | Self::And
                | Self::Or
        )
    }
}

/// A window's geometry; every list has one entry for each axis of space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Padding before and after.
    pub before: Vec<usize>,
    pub after: Vec<usize>,
}

impl Window {
    /// A window in steps of 1 without padding.
    pub fn new(kernel: impl Into<Vec<usize>>) -> Self {
        let kernel = kernel.into();
        let ones = vec![1; kernel.len()];
        let zeros = vec![0; kernel.len()];
        Self { strides: ones.clone(), dilations: ones, before: zeros.clone(), after: zeros, kernel }
    }

    /// A window over rows and columns; `pads` are top, left, bottom and right.
    pub fn plane(kernel: [usize; 2], strides: [usize; 2], dilations: [usize; 2], pads: [usize; 4]) -> Self {
        Self {
            kernel: kernel.to_vec(),
            strides: strides.to_vec(),
            dilations: dilations.to_vec(),
            before: pads[..2].to_vec(),
            after: pads[2..].to_vec(),
        }
    }

    /// The kernel's length along an axis with its gaps.
    pub fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis].max(1) - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    pub window: Window,
    pub groups: usize,
}

/// The window's padding is what the output loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTranspose {
    pub window: Window,
    pub groups: usize,
    /// Rows and columns that are added at the end.
    pub output_padding: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub kind: PoolKind,
    pub window: Window,
    pub rounding: PoolRounding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Padding is no candidate.
    Max,
    /// Divides by the window's elements on the map.
    AverageInside,
    /// Divides by the window's elements on the map and its padding.
    AveragePadded,
}

/// Number of output positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolRounding {
    /// Whole windows only.
    Floor,
    /// A last window that hangs over counts, unless it begins behind the map (ONNX's `ceil_mode`). Caffe drops such
    /// a window only where there is padding; its reader says which windows there are.
    Ceil,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduce {
    pub kind: ReduceKind,
    /// Ascending.
    pub axes: Vec<usize>,
    /// Axes stay, with length 1.
    pub keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReduceKind {
    Sum,
    Mean,
    Max,
    Min,
    Product,
}

impl ReduceKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "reduce_sum",
            Self::Mean => "reduce_mean",
            Self::Max => "reduce_max",
            Self::Min => "reduce_min",
            Self::Product => "reduce_product",
        }
    }
}

/// `x / (bias + alpha · Σ x²) ^ beta`, the sum over a window of `size` channels, `⌊(size − 1)/2⌋` of them before,
/// or with `within` over a window of `size × size` pixels of the same channel, padding zeros included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lrn {
    pub size: usize,
    /// As it stands in the formula: frameworks that divide it by the window's size have done so.
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
    pub within: bool,
}

/// `length` positions along an axis from `start` in steps of `step`, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: usize,
    pub step: isize,
    pub length: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    pub before: Vec<usize>,
    pub after: Vec<usize>,
    pub kind: PadKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadKind {
    Constant(f32),
    /// The outermost element again.
    Edge,
    /// Mirrored at the outermost element, which is not repeated.
    Reflect,
    /// Mirrored behind the outermost element, which is repeated.
    Symmetric,
    /// The whole again.
    Wrap,
}

/// Another size of any axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// The output's shape.
    pub shape: Vec<usize>,
    /// Output length over input length along every axis, as coordinates are computed with.
    pub scales: Vec<f32>,
    pub kind: ResizeKind,
    pub coordinates: Coordinates,
    /// Weights of pixels outside are 0 and the others are scaled up.
    pub exclude_outside: bool,
    /// Downsampling widens the filter.
    pub antialias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizeKind {
    Nearest(NearestRounding),
    Linear,
    /// With the coefficient `a`.
    Cubic(f32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NearestRounding {
    Floor,
    Ceil,
    /// Halves down.
    PreferFloor,
    /// Halves up.
    PreferCeil,
}

/// Position of output coordinate `i` on the input; `s` is the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// `i / s`
    Asymmetric,
    /// `(i + ½) / s − ½`
    HalfPixel,
    /// As `HalfPixel`, but 0 where the output has one position.
    PytorchHalfPixel,
    /// As `HalfPixel`, but centred where the output's length is not exactly `s` times the input's.
    HalfPixelSymmetric,
    /// `i · (in − 1) / (out − 1)`
    AlignCorners,
    /// `(i + ½) / s`: TensorFlow 1's nearest neighbour with half-pixel centres.
    HalfPixelNearest,
}

/// The last layer of an SSD; output `[1][1][detections][7]`: image, label, score, left, top, right, bottom.
///
/// The number of detections depends on the data: the shape that inference yields has one, as Caffe's has, an
/// evaluation's result those that there are. No operator may read it.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionOutput {
    pub classes: usize,
    pub share_location: bool,
    pub background: Option<usize>,
    pub code: BoxCode,
    pub variance_in_target: bool,
    pub confidence: f32,
    pub overlap: f32,
    pub eta: f32,
    /// Candidates of a class before suppression.
    pub top_k: Option<usize>,
    /// Boxes of an image behind it.
    pub keep_top_k: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxCode {
    Corner,
    CenterSize,
    CornerSize,
}
