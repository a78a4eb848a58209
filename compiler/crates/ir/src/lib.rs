//! The intermediate representation: one node for every layer, numbered as Darknet prints them.
//!
//! A [`Graph`] holds structure only; the numbers are beside it in [`Weights`], so that `stat`
//! works on a bare `.cfg` and a pruned copy shares nothing by accident.

mod groups;
mod op;
mod origin;
mod rounding;
mod select;
mod shape;
mod stat;
mod text;
pub mod training;
mod verify;

pub use groups::is_dense;
pub use groups::{ChannelGroups, Group, Unit};
pub use op::{
    Activation, Axis, Connected, Conv, Coordinates, Crop, Detection, Divisor, Extent, NmsKind, Op, Padding,
    Pool, Region, Reorg, Resize, ResizeKind, Route, ScaleChannels, Shortcut, ShortcutWeights, Slice, Softmax,
    Transpose, Upsample, WeightsNormalization, Yolo,
};
pub use origin::Origin;
pub use rounding::{Grid, Rounding, WEIGHT_LIMIT, round_half_up};
pub use select::{Columns, select_graph, select_layer};
pub use shape::{MAX_ELEMENTS, MAX_SIDE, ParameterCounts, check, infer, parameter_counts, shortcut_steps};
pub use stat::{LayerCost, layer_cost, stat};
pub use text::{dump, parse};
pub use verify::{verify, verify_weights};

use secateur_base::{Error, Result};

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

    /// Length of one side.
    pub const fn along(self, axis: Axis) -> usize {
        match axis {
            Axis::Channels => self.c,
            Axis::Rows => self.h,
            Axis::Columns => self.w,
        }
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

/// The origin of a node's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// The network's input image.
    Image,
    /// Output of the layer with this Darknet number.
    Layer(usize),
}

/// One layer. Of a Darknet network, its index in [`Graph::nodes`] is the number that Darknet prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub op: Op,
    /// The name in a format that names its layers.
    pub name: Option<String>,
    /// Inputs in the order of the file; a shortcut's first input is the layer before it.
    pub inputs: Vec<Source>,
    /// Output shape.
    pub shape: Shape,
    /// The layer's place in its file, for messages.
    pub origin: Origin,
}

impl Node {
    /// A layer without a name and of unknown origin.
    pub fn new(op: Op, inputs: Vec<Source>, shape: Shape) -> Self {
        Self { op, name: None, inputs, shape, origin: Origin::default() }
    }
}

/// A network's structure, in execution order: a node's inputs all have smaller numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Shape of the input image, values 0..1.
    pub input: Shape,
    pub nodes: Vec<Node>,
    /// Image is letterboxed instead of stretched (`letter_box=1`).
    pub letter_box: bool,
}

impl Graph {
    /// The same network for images of another height and width.
    ///
    /// # Errors
    /// A layer's shapes do not fit together at this size, or a fully connected layer would get other weights.
    pub fn resized(&self, height: usize, width: usize) -> Result<Self> {
        let mut graph = self.clone();
        graph.input = Shape { h: height, w: width, ..self.input };
        for i in 0..graph.nodes.len() {
            let shapes = graph.input_shapes(i);
            let shape = infer(&graph.nodes[i].op, &shapes).map_err(|error| graph.locate(i, error))?;
            let counts = |shapes: &[Shape]| parameter_counts(&graph.nodes[i].op, shapes);
            if counts(&shapes) != counts(&self.input_shapes(i)) {
                let error = Error::new("the layer's weights fit one size of image only")
                    .found(format!("images of {width} × {height}"))
                    .allowed(format!("{} × {}", self.input.w, self.input.h));
                return Err(graph.locate(i, error));
            }
            graph.nodes[i].shape = shape;
        }
        Ok(graph)
    }

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

    /// Returns whether the network detects objects.
    pub fn has_heads(&self) -> bool {
        self.nodes.iter().any(|node| node.op.is_head())
    }

    /// Shape of a node's first input.
    pub fn input_shape(&self, node: usize) -> Shape {
        self.shape_of(self.nodes[node].inputs[0])
    }

    /// The network alone, without where it was read from: networks of different files can then be equal.
    #[must_use]
    pub fn without_origins(mut self) -> Self {
        self.nodes.iter_mut().for_each(|node| node.origin = Origin::default());
        self
    }

    /// Gives `error` the place of the layer `node`: its number, operator, name, file and line.
    pub fn locate(&self, node: usize, error: Error) -> Error {
        let Node { op, name, origin, .. } = &self.nodes[node];
        let section = match name {
            Some(name) => format!("{} \"{name}\"", op.name()),
            None => op.name().to_owned(),
        };
        origin.locate(error.layer(node).section(section))
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
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Weights {
    pub layers: Vec<LayerWeights>,
}

/// Numbers of one layer; all empty where the layer has none.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct LayerWeights {
    /// `[out]` biases (batch norm's β where there is batch norm).
    pub bias: Vec<f32>,
    pub batch_norm: Option<BatchNorm>,
    /// Convolution `[out][in/groups][kernel rows][kernel columns]`, deconvolution
    /// `[in][out][kernel rows][kernel columns]`, connected `[out][in]`, weighted shortcut `[inputs]` or
    /// `[inputs][channels]`, prelu's slopes and scale's factors `[channels]`.
    pub weights: Vec<f32>,
}

/// Batch-norm statistics, each `[out]`: `y = scale · (x − mean) / sqrt(variance + 1e-5) + bias`.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct BatchNorm {
    pub scale: Vec<f32>,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// Batch norm's epsilon, inside the root (AlexeyAB's line of Darknet).
pub const BATCH_NORM_EPSILON: f32 = 1e-5;
