//! From a GraphDef to a tensor graph: what the outputs need, with variables from a checkpoint, shape arithmetic
//! computed on the way, and maps kept in NCHW order for as long as no operation asks for another.

use std::collections::{HashMap, HashSet};

use secateur_base::{Error, Result};

use super::checkpoint::Checkpoint;
use super::dtype::DataType;
use super::graph_def::{Attribute, GraphDef, Input, Node};
use super::{integers, ops};
use secateur_ir::Origin;
use secateur_tensor::{Builder, DType, Graph, Op, Place, Spec, Value};

/// How a graph is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Shapes of placeholders by name, where the graph has none or leaves dimensions open; an open first one is 1.
    pub input_shapes: HashMap<String, Vec<usize>>,
    /// Nodes whose outputs are wanted; where empty, what nothing else reads and depends on an input.
    pub outputs: Vec<String>,
}

/// A graph of TensorFlow as a tensor graph, its inputs and outputs in TensorFlow's order of axes.
#[derive(Debug, Clone)]
pub struct Imported {
    pub graph: Graph,
    /// What each node computes that is a tensor, in order of execution.
    pub written: Vec<(String, Written)>,
    /// What a user should know.
    pub warnings: Vec<String>,
}

/// A node's tensor in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub value: Value,
    /// The value's axes are `n, c, h, w` where the node's are `n, h, w, c`.
    pub is_nchw: bool,
}

/// One output of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Tensor(Written),
    /// Shapes, axes, sizes: computed while the graph is read.
    Integers(Integers),
    /// A variable's handle, by its name.
    Variable(String),
    /// Noise, and what is made of it: dropout's mask.
    Random,
    /// The branch of a condition that is not taken.
    Dead,
}

/// Known integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Integers {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<i64>,
}

/// Translates what the outputs need.
///
/// # Errors
/// Names the node, with its line in a text, that cannot be translated: unknown operations, missing variables or
/// shapes, a cycle, a graph for training.
pub fn import(graph: &GraphDef, checkpoint: Option<&Checkpoint>, options: &Options) -> Result<Imported> {
    let mut importer = Importer {
        source: graph,
        checkpoint,
        options,
        graph: Builder::new(),
        items: HashMap::new(),
        turned: HashMap::new(),
        warnings: Vec::new(),
    };
    let outputs = match options.outputs.is_empty() {
        true => sinks(graph),
        false => options
            .outputs
            .iter()
            .map(|name| Input::parse(name).filter(|input| graph.node(&input.node).is_some()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                Error::new("the graph has no such output").file(&graph.path).found(options.outputs.join(", "))
            })?,
    };
    let order = order(graph, &outputs)?;
    let mut written = Vec::new();
    for at in order {
        let node = &graph.nodes[at];
        let items = importer.node(node)?;
        if let Some(Item::Tensor(tensor)) = items.first() {
            written.push((node.name.clone(), *tensor));
        }
        importer.items.insert(&node.name, items);
    }
    let mut named = 0;
    for output in &outputs {
        let item = importer.items.get(output.node.as_str()).and_then(|items| items.get(output.output));
        if let Some(Item::Tensor(tensor)) = item.cloned() {
            let value = importer.plain(&output.node, tensor)?;
            let name = if output.output == 0 {
                output.node.clone()
            } else {
                format!("{}:{}", output.node, output.output)
            };
            importer.graph.output(&name, value);
            named += 1;
        }
    }
    if named == 0 {
        return Err(Error::new("no output of the graph is a tensor")
            .file(&graph.path)
            .help("name the outputs, as in --output-nodes softmax"));
    }
    Ok(Imported { graph: importer.graph.finish(), written, warnings: importer.warnings })
}

/// Nodes that a placeholder reaches and nothing reads.
fn sinks(graph: &GraphDef) -> Vec<Input> {
    let read: HashSet<&str> =
        graph.nodes.iter().flat_map(|node| node.inputs.iter().map(|input| input.node.as_str())).collect();
    let is_sink = |node: &&Node| !read.contains(node.name.as_str()) && !node.inputs.is_empty();
    let not_trained = |node: &&Node| {
        !matches!(node.op.as_str(), "Assign" | "NoOp" | "SaveV2" | "RestoreV2" | "MergeSummary")
    };
    let sinks = graph.nodes.iter().filter(is_sink).filter(not_trained);
    sinks.map(|node| Input { node: node.name.clone(), output: 0 }).collect()
}

/// The nodes that the outputs need, each behind what it reads.
fn order(graph: &GraphDef, outputs: &[Input]) -> Result<Vec<usize>> {
    let places: HashMap<&str, usize> =
        graph.nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; graph.nodes.len()];
    let mut order = Vec::new();
    // Nodes with the input that is next to be looked at; no recursion, which a long chain would exhaust.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for output in outputs {
        let Some(&root) = places.get(output.node.as_str()) else { continue };
        if marks[root] == Mark::New {
            marks[root] = Mark::Open;
            stack.push((root, 0));
        }
        while let Some((at, next)) = stack.pop() {
            let node = &graph.nodes[at];
            let Some(input) = node.inputs.get(next) else {
                marks[at] = Mark::Done;
                order.push(at);
                continue;
            };
            stack.push((at, next + 1));
            let Some(&from) = places.get(input.node.as_str()) else {
                return Err(graph
                    .error(node, "the node reads one that is not there")
                    .found(input.node.clone()));
            };
            match marks[from] {
                Mark::Done => {}
                Mark::Open => {
                    return Err(graph
                        .error(node, "the graph has a cycle")
                        .found(format!("{} reads {} in a circle", node.name, input.node))
                        .help("loops (tf.while_loop) are not read; export the network without them"));
                }
                Mark::New => {
                    marks[from] = Mark::Open;
                    stack.push((from, 0));
                }
            }
        }
    }
    Ok(order)
}

/// A graph under construction.
pub(super) struct Importer<'a> {
    pub(super) source: &'a GraphDef,
    checkpoint: Option<&'a Checkpoint>,
    options: &'a Options,
    pub(super) graph: Builder,
    items: HashMap<&'a str, Vec<Item>>,
    /// A value and the same in the other order of axes.
    turned: HashMap<Value, Value>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Importer<'a> {
    fn node(&mut self, node: &'a Node) -> Result<Vec<Item>> {
        let mut inputs = Vec::new();
        for input in &node.inputs {
            let items = self.items.get(input.node.as_str()).map_or(&[][..], Vec::as_slice);
            let item = items.get(input.output).cloned().ok_or_else(|| {
                self.error(node, "the node reads an output that is not there")
                    .found(format!("{}:{}", input.node, input.output))
            })?;
            inputs.push(item);
        }
        if let Some(items) = self.source_node(node)? {
            return Ok(items);
        }
        if let Some(items) = ops::control(self, node, &inputs)? {
            return Ok(items);
        }
        if let Some(known) = integers::compute(self, node, &inputs)? {
            return Ok(known);
        }
        ops::compute(self, node, &inputs)
    }

    /// Constants, inputs and variables.
    fn source_node(&mut self, node: &Node) -> Result<Option<Vec<Item>>> {
        Ok(Some(vec![match node.op.as_str() {
            "Const" => self.constant(node)?,
            "Placeholder" | "PlaceholderV2" => self.placeholder(node)?,
            "VariableV2" | "Variable" => self.variable(node, &node.name)?,
            "VarHandleOp" => {
                let name = node.text("shared_name", "");
                Item::Variable(if name.is_empty() { node.name.clone() } else { name.to_owned() })
            }
            _ => return Ok(None),
        }]))
    }

    fn constant(&mut self, node: &Node) -> Result<Item> {
        let Some(Attribute::Tensor(constant)) = node.attributes.get("value") else {
            return Err(self.error(node, "the constant has no value"));
        };
        let Some(dtype) = constant.dtype else {
            // Text; an error where something computes with it.
            return Ok(Item::Dead);
        };
        Ok(match dtype.is_integer() {
            true => Item::Integers(Integers { shape: constant.shape.clone(), data: constant.integers() }),
            false => plain_item(self.floats(node, &constant.shape, constant.floats())?),
        })
    }

    fn placeholder(&mut self, node: &Node) -> Result<Item> {
        let known = match node.attributes.get("shape") {
            Some(Attribute::Shape(Some(shape))) => Some(shape.clone()),
            _ => None,
        };
        let given = self.options.input_shapes.get(&node.name).cloned();
        let is_scalar = given.is_none() && known.as_ref().is_some_and(Vec::is_empty);
        let is_rate = given.is_none() && known.is_none() && node.name.to_lowercase().contains("keep");
        match node.dtype("dtype") {
            Some(DataType::Bool) if given.is_none() => {
                self.warnings.push(format!("the truth value {} is taken as false: not training", node.name));
                return Ok(Item::Integers(Integers { shape: Vec::new(), data: vec![0] }));
            }
            Some(dtype) if !dtype.is_integer() && (is_scalar || is_rate) => {
                self.warnings.push(format!("the number {} is taken as 1: nothing is dropped", node.name));
                return Ok(plain_item(self.floats(node, &[], vec![1.0])?));
            }
            _ => {}
        }
        let own = known.and_then(|shape| {
            let dims = shape.into_iter().enumerate();
            dims.map(|(at, dim)| dim.or((at == 0).then_some(1))).collect::<Option<Vec<usize>>>()
        });
        let Some(shape) = given.or(own) else {
            return Err(self
                .error(node, format!("the shape of the input {} is not known", node.name))
                .help("give it, as in --input-shape 1,224,224,3"));
        };
        let value = self
            .graph
            .input(&node.name, Spec::new(DType::F32, shape))
            .map_err(|error| self.error(node, error.what()))?;
        Ok(plain_item(value))
    }

    /// A variable's values.
    pub(super) fn variable(&mut self, node: &Node, name: &str) -> Result<Item> {
        let Some(checkpoint) = self.checkpoint else {
            return Err(self
                .error(node, format!("the variable {name} has no values"))
                .help("give the checkpoint too, or a frozen graph"));
        };
        let tensor = checkpoint.read(name)?;
        let Some(dtype) = DataType::of(tensor.dtype) else {
            return Err(self.error(node, format!("the variable {name} has a type that is not read")));
        };
        Ok(match dtype.is_integer() {
            true => Item::Integers(Integers { shape: tensor.shape, data: dtype.integers(&tensor.bytes)? }),
            false => plain_item(self.floats(node, &tensor.shape, dtype.floats(&tensor.bytes)?)?),
        })
    }

    /// A constant.
    pub(super) fn floats(&mut self, node: &Node, shape: &[usize], values: Vec<f32>) -> Result<Value> {
        self.graph.floats(shape, values).map_err(|error| self.source.error(node, error.to_string()))
    }

    /// What an output of a node that was computed is.
    pub(super) fn item(&self, input: &Input) -> Option<Item> {
        self.items.get(input.node.as_str())?.get(input.output).cloned()
    }

    /// A mistake in a node.
    pub(super) fn error(&self, node: &Node, what: impl Into<String>) -> Error {
        self.source.error(node, what)
    }

    /// Adds an operation; of constants it is one.
    pub(super) fn op(&mut self, node: &Node, op: impl Into<Op>, operands: &[Value]) -> Result<Value> {
        self.add(&node.name, op.into(), operands).map_err(|error| self.error(node, error.to_string()))
    }

    fn add(&mut self, name: &str, op: Op, operands: &[Value]) -> Result<Value> {
        let place = Place { name: name.to_owned(), kind: op.name().to_owned(), origin: Origin::default() };
        self.graph.node(&place, op, operands)
    }

    /// The tensor of an input; known integers become numbers.
    pub(super) fn tensor(&mut self, node: &Node, inputs: &[Item], at: usize) -> Result<Written> {
        match inputs.get(at) {
            Some(Item::Tensor(tensor)) => Ok(*tensor),
            Some(Item::Integers(known)) => {
                let data = known.data.iter().map(|value| *value as f32).collect();
                let shape = known.shape.clone();
                Ok(Written { value: self.floats(node, &shape, data)?, is_nchw: false })
            }
            Some(Item::Variable(name)) => {
                let name = name.clone();
                let item = self.variable(node, &name)?;
                self.tensor(node, &[item], 0)
            }
            Some(Item::Random) => Err(self
                .error(node, "the node computes with random numbers")
                .help("export the network for inference; only dropout is recognised and left out")),
            Some(Item::Dead) | None => Err(self.error(node, format!("input {at} is missing or no tensor"))),
        }
    }

    /// A tensor in TensorFlow's order of axes.
    pub(super) fn plain(&mut self, name: &str, tensor: Written) -> Result<Value> {
        match tensor.is_nchw {
            true => self.turn(name, tensor.value, vec![0, 2, 3, 1]),
            false => Ok(tensor.value),
        }
    }

    /// A tensor of `n, h, w, c` as `n, c, h, w`.
    pub(super) fn nchw(&mut self, node: &Node, tensor: Written) -> Result<Value> {
        if tensor.is_nchw {
            return Ok(tensor.value);
        }
        let rank = self.graph.shape(tensor.value).len();
        if rank != 4 {
            return Err(self
                .error(node, "the operation needs a tensor of four dimensions")
                .found(format!("{:?}", self.graph.shape(tensor.value))));
        }
        self.turn(&node.name, tensor.value, vec![0, 3, 1, 2])
            .map_err(|error| self.error(node, error.to_string()))
    }

    /// Transposes, once for each value.
    fn turn(&mut self, name: &str, value: Value, order: Vec<usize>) -> Result<Value> {
        if let Some(turned) = self.turned.get(&value) {
            return Ok(*turned);
        }
        let turned = self.add(name, Op::Transpose(order), &[value])?;
        self.turned.insert(value, turned);
        self.turned.insert(turned, value);
        Ok(turned)
    }

    /// The shape in TensorFlow's order.
    pub(super) fn shape(&self, tensor: Written) -> Vec<usize> {
        let shape = self.graph.shape(tensor.value);
        match (tensor.is_nchw, shape) {
            (true, [n, c, h, w]) => vec![*n, *h, *w, *c],
            _ => shape.to_vec(),
        }
    }

    /// Known integers of an input.
    pub(super) fn integers(&mut self, node: &Node, inputs: &[Item], at: usize) -> Result<Integers> {
        match inputs.get(at) {
            Some(Item::Integers(known)) => Ok(known.clone()),
            _ => Err(self
                .error(node, format!("input {at} depends on data; it has to be known"))
                .help("give the input's shape, as in --input-shape 1,224,224,3")),
        }
    }
}

/// A value in TensorFlow's order.
pub(super) fn plain_item(value: Value) -> Item {
    Item::Tensor(Written { value, is_nchw: false })
}
