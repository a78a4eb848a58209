//! The intermediate representation: one node a Darknet layer, numbered as Darknet prints them.
//!
//! A [`Graph`] holds structure only; the numbers stand beside it in [`Weights`], so that `stat`
//! works on a bare `.cfg` and a pruned copy shares nothing by accident.

mod dump;
mod groups;
mod op;
mod select;
mod shape;
mod stat;
mod verify;

pub use dump::dump;
pub use groups::is_dense;
pub use groups::{ChannelGroups, Group, Unit};
pub use op::{
    Activation, Connected, Conv, Crop, Detection, NmsKind, Op, Pool, Region, Reorg, Route, ScaleChannels,
    Shortcut, ShortcutWeights, Softmax, Upsample, WeightsNormalization, Yolo,
};
pub use select::{Columns, select_graph, select_layer};
pub use shape::{LARGEST_SIDE, LARGEST_TENSOR, ParameterCounts, check, infer, parameter_counts};
pub use stat::{LayerCost, layer_cost, stat};
pub use verify::{verify, verify_weights};

/// Feature-map shape: channels, rows, columns. Float tensors are `[c][h][w]`, integer ones `[h][w][c]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    pub c: usize,
    pub h: usize,
    pub w: usize,
}

impl Shape {
    pub const fn new(c: usize, h: usize, w: usize) -> Self {
        Self { c, h, w }
    }

    /// Number of elements.
    pub const fn len(self) -> usize {
        self.c * self.h * self.w
    }

    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Elements of one channel.
    pub const fn plane(self) -> usize {
        self.h * self.w
    }
}

impl std::fmt::Display for Shape {
    /// As Darknet prints it: width × height × channels.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{} × {} × {}", self.w, self.h, self.c))
    }
}

/// Where a node's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// The network's input picture.
    Image,
    /// Output of the layer with this Darknet number.
    Layer(usize),
}

/// One Darknet layer. Its index in [`Graph::nodes`] is the number that Darknet prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub op: Op,
    /// Inputs in the order of the cfg; a shortcut's first input is the layer before it.
    pub inputs: Vec<Source>,
    /// Output shape.
    pub shape: Shape,
    /// 1-based line of the section's header in the cfg, for messages.
    pub line: usize,
}

/// A network's structure, in execution order: a node's inputs all have smaller numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Shape of the input picture, values 0..1.
    pub input: Shape,
    pub nodes: Vec<Node>,
    /// Picture is letterboxed instead of stretched (`letter_box=1`).
    pub letter_box: bool,
}

impl Graph {
    /// Shape of what `source` yields.
    pub fn shape_of(&self, source: Source) -> Shape {
        match source {
            Source::Image => self.input,
            Source::Layer(i) => self.nodes[i].shape,
        }
    }

    /// Shapes of a node's inputs, in order.
    pub fn input_shapes(&self, node: usize) -> Vec<Shape> {
        self.nodes[node].inputs.iter().map(|&source| self.shape_of(source)).collect()
    }

    /// Shape of a node's first input.
    pub fn input_shape(&self, node: usize) -> Shape {
        self.shape_of(self.nodes[node].inputs[0])
    }

    /// For every node, the nodes that read its output.
    pub fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                if let Source::Layer(from) = *input {
                    consumers[from].push(i);
                }
            }
        }
        consumers
    }
}

/// Trained numbers of a network, parallel to [`Graph::nodes`].
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    pub layers: Vec<LayerWeights>,
}

/// Numbers of one layer; all empty where the layer has none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerWeights {
    /// `[out]` biases (batch norm's β where there is batch norm).
    pub bias: Vec<f32>,
    pub batch_norm: Option<BatchNorm>,
    /// Convolution `[out][in/groups][k][k]`, deconvolution `[in][out][k][k]`, connected `[out][in]`,
    /// weighted shortcut `[inputs]` or `[inputs][channels]`.
    pub weights: Vec<f32>,
}

/// Batch-norm statistics, each `[out]`: `y = scale · (x − mean) / sqrt(variance + 1e-5) + bias`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchNorm {
    pub scale: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Batch norm's epsilon, inside the root (AlexeyAB's line of Darknet).
pub const BATCH_NORM_EPSILON: f32 = 1e-5;
