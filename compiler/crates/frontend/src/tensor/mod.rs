//! The graph that readers of other frameworks translate into: N-D float tensors in NCHW order, operators with every
//! parameter written out, shapes known when a node is added, and a plain evaluator as their meaning.

mod detection;
mod eval;
mod kernels;
mod shape;

use secateur_base::{Error, Result};

pub use eval::Tensor;

/// A tensor with more elements is refused.
const MAX_ELEMENTS: usize = 1 << 28;
const MAX_RANK: usize = 8;
/// Larger results of constants are computed when the graph is.
const MAX_FOLDED: usize = 1 << 22;

/// One tensor of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(usize);

/// An acyclic graph: a node's operands were added before it.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    inputs: Vec<(String, Value)>,
    outputs: Vec<(String, Value)>,
}

/// What computes one value.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub op: Op,
    pub operands: Vec<Value>,
    pub shape: Vec<usize>,
}

/// The operators. Pads are `[top, left, bottom, right]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    Input,
    Constant(Vec<f32>),
    Conv(Conv),
    ConvTranspose(ConvTranspose),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    /// `[m, k] · [k, n]`.
    MatMul,
    Unary(Unary),
    /// Of two tensors that broadcast as in NumPy.
    Binary(Binary),
    /// Over these axes, which stay with length 1.
    Reduce {
        kind: Reduction,
        axes: Vec<usize>,
    },
    Concat {
        axis: usize,
    },
    /// Elements `start, start + step, …`, `count` of them, of each axis; a step may be negative.
    Slice(Vec<Range>),
    Reshape(Vec<usize>),
    /// Axis `order[i]` becomes axis i.
    Transpose(Vec<usize>),
    Softmax {
        axis: usize,
    },
    /// This many of a value before and behind each axis.
    Pad {
        before: Vec<usize>,
        after: Vec<usize>,
        fill: Fill,
    },
    Tile(Vec<usize>),
    /// The index of the greatest value along an axis, which stays with length 1; the first of equal ones.
    ArgMax {
        axis: usize,
    },
    /// `x / (bias + alpha · Σ x²)^beta` over `before + 1 + after` channels of axis 1.
    Lrn {
        before: usize,
        after: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
    },
    /// Of the last two axes.
    Resize {
        size: [usize; 2],
        linear: bool,
        grid: Grid,
    },
    DetectionOutput(DetectionOutput),
}

/// Of input `[n, c, h, w]`, weights `[m, c / groups, kh, kw]` and perhaps a bias `[m]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    pub pads: [usize; 4],
    pub groups: usize,
}

/// Of input `[n, c, h, w]`, weights `[c, m / groups, kh, kw]` and perhaps a bias `[m]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvTranspose {
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    pub pads: [usize; 4],
    /// More rows and columns at the bottom and at the right.
    pub output_padding: [usize; 2],
    pub groups: usize,
}

/// Padding is no candidate for the maximum.
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool {
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub pads: [usize; 4],
    pub dilations: [usize; 2],
}

#[derive(Debug, Clone, PartialEq)]
pub struct AveragePool {
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub pads: [usize; 4],
    pub divisor: Divisor,
}

/// What an average divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divisor {
    /// The part of the window in the map.
    Valid,
    /// The part of the window in the map with its padding at the top and the left, and this much at the bottom and
    /// the right.
    Padded { bottom: usize, right: usize },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    Relu,
    LeakyRelu(f32),
    Elu(f32),
    Clip(f32, f32),
    Sigmoid,
    Tanh,
    Abs,
    Exp,
    Log,
    Sqrt,
    Rsqrt,
    Softplus,
    Floor,
    Erf,
    Power(f32),
    /// 1 above the threshold, else 0.
    Above(f32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
    /// `x` where it is positive, else `slope · x`.
    PRelu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
}

/// What a slice takes of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: usize,
    pub step: isize,
    pub count: usize,
}

/// What padding holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    Value(f32),
    /// The map mirrored at its edge, the edge itself once.
    Reflect,
    /// The map mirrored with its edge twice.
    Symmetric,
}

/// Where the source of an output pixel lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grid {
    /// `x · in / out`.
    Asymmetric,
    /// `(x + ½) · in / out − ½`.
    HalfPixel,
    /// `x · (in − 1) / (out − 1)`.
    AlignCorners,
}

/// SSD's last layer, of locations, confidences and prior boxes; rows of image, label, score, left, top, right, bottom.
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

macro_rules! from {
    ($($name:ident),*) => { $(impl From<$name> for Op { fn from(op: $name) -> Self { Self::$name(op) } })* };
}
from!(Conv, ConvTranspose, MaxPool, AveragePool, Unary, Binary, DetectionOutput);

impl Graph {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node.
    ///
    /// # Errors
    /// The operator cannot take operands of these shapes, or its result is too large.
    pub fn add(&mut self, name: &str, op: Op, operands: &[Value]) -> Result<Value> {
        let shapes: Vec<&[usize]> = operands.iter().map(|value| self.shape(*value)).collect();
        let shape = shape::infer(&op, &shapes)?;
        check_size(&shape)?;
        Ok(self.push(name, op, operands, shape))
    }

    /// Adds a node, or the constant that it is where every operand is one.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add_folded(&mut self, name: &str, op: Op, operands: &[Value]) -> Result<Value> {
        let value = self.add(name, op, operands)?;
        let node = &self.nodes[value.0];
        let constants: Option<Vec<Tensor>> =
            node.operands.iter().map(|operand| self.constant_of(*operand)).collect();
        if let Some(constants) = constants
            && node.shape.iter().product::<usize>() <= MAX_FOLDED
        {
            let folded = eval::compute(&node.op, &constants.iter().collect::<Vec<_>>(), &node.shape);
            self.nodes[value.0].op = Op::Constant(folded.data);
            self.nodes[value.0].operands.clear();
        }
        Ok(value)
    }

    /// A constant's values.
    pub fn constant_of(&self, value: Value) -> Option<Tensor> {
        let node = &self.nodes[value.0];
        match &node.op {
            Op::Constant(data) => Some(Tensor { shape: node.shape.clone(), data: data.clone() }),
            _ => None,
        }
    }

    /// Adds an input.
    pub fn input(&mut self, name: &str, shape: Vec<usize>) -> Result<Value> {
        check_size(&shape)?;
        let value = self.push(name, Op::Input, &[], shape);
        self.inputs.push((name.to_owned(), value));
        Ok(value)
    }

    /// Adds a constant, which has as many values as its shape says.
    ///
    /// # Panics
    /// Where it has not.
    pub fn constant(&mut self, shape: &[usize], values: Vec<f32>) -> Value {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a constant of {shape:?}");
        self.push("", Op::Constant(values), &[], shape.to_vec())
    }

    /// Makes a value an output.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push((name.to_owned(), value));
    }

    fn push(&mut self, name: &str, op: Op, operands: &[Value], shape: Vec<usize>) -> Value {
        self.nodes.push(Node { name: name.to_owned(), op, operands: operands.to_vec(), shape });
        Value(self.nodes.len() - 1)
    }

    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.0]
    }

    pub fn shape(&self, value: Value) -> &[usize] {
        &self.nodes[value.0].shape
    }

    pub fn inputs(&self) -> &[(String, Value)] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }
}

fn check_size(shape: &[usize]) -> Result<()> {
    let count = shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim));
    match count.filter(|count| *count <= MAX_ELEMENTS && shape.len() <= MAX_RANK) {
        Some(_) => Ok(()),
        None => Err(Error::new("a tensor is too large")
            .found(format!("{shape:?}"))
            .allowed(format!("{MAX_ELEMENTS} elements in {MAX_RANK} dimensions"))),
    }
}

/// Row-major strides of a shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}
