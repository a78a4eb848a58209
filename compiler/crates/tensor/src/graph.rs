//! The graph: values, and the nodes that compute them.

use std::sync::Arc;

use secateur_base::{Error, Result};
use secateur_ir::Origin;

use crate::op::Op;
use crate::tensor::{Spec, Tensor};

/// A value's number. Every write has a number of its own, also where a file writes a name twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub usize);

/// What is known of a value before anything runs.
#[derive(Debug, Clone)]
pub struct Known {
    /// The name in the file.
    pub name: String,
    pub spec: Spec,
    /// The elements, if they depend on no input.
    pub constant: Option<Arc<Tensor>>,
}

/// An operator at work.
#[derive(Debug, Clone)]
pub struct Node {
    pub op: Op,
    /// The name of the layer or node in the file; several nodes can be put together for one.
    pub name: String,
    /// The operator's name there.
    pub kind: String,
    pub inputs: Vec<Value>,
    pub output: Value,
    pub origin: Origin,
}

impl Node {
    /// Gives `error` the node's place.
    pub fn locate(&self, error: Error) -> Error {
        self.origin.locate(error.section(format!("{} \"{}\"", self.kind, self.name)))
    }
}

/// A network with all its numbers.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub values: Vec<Known>,
    /// What a caller gives, in the order of the file.
    pub inputs: Vec<Value>,
    /// In execution order: a node's inputs are computed before it.
    pub nodes: Vec<Node>,
    pub outputs: Vec<Value>,
}

impl Graph {
    pub fn spec(&self, value: Value) -> &Spec {
        &self.values[value.0].spec
    }

    pub fn constant(&self, value: Value) -> Option<&Tensor> {
        self.values[value.0].constant.as_deref()
    }

    pub fn name(&self, value: Value) -> &str {
        &self.values[value.0].name
    }

    /// Drops nodes that no output depends on.
    pub fn prune_dead(&mut self) {
        let mut needed = vec![false; self.values.len()];
        self.outputs.iter().for_each(|output| needed[output.0] = true);
        for node in self.nodes.iter().rev().filter(|node| node.output.0 < self.values.len()) {
            if needed[node.output.0] {
                node.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        self.nodes.retain(|node| needed[node.output.0]);
    }
}

/// Puts a [`Graph`] together: infers shapes, refuses what does not fit, computes constants at once.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    /// Elements of all folded constants, which an input of a few bytes could otherwise make huge.
    folded: usize,
}

/// The most elements that folding may make.
const MAX_FOLDED: usize = 1 << 28;

/// What a reader says of the nodes that it adds for one layer.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub name: String,
    pub kind: String,
    pub origin: Origin,
}

impl Builder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input of the network.
    ///
    /// # Errors
    /// The tensor would be too large.
    pub fn input(&mut self, name: &str, spec: Spec) -> Result<Value> {
        let value = self.value(name, spec.check()?, None);
        self.graph.inputs.push(value);
        Ok(value)
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        self.value(name, tensor.spec().clone(), Some(Arc::new(tensor)))
    }

    /// Adds an operator; its value is named as the layer, until [`Builder::rename`].
    ///
    /// # Errors
    /// Number, types or shapes of the inputs do not fit; the error names the place.
    pub fn node(&mut self, place: &Place, op: Op, inputs: &[Value]) -> Result<Value> {
        let specs: Vec<&Spec> = inputs.iter().map(|&input| self.graph.spec(input)).collect();
        let output = Value(self.graph.values.len());
        let Place { name, kind, origin } = place.clone();
        let node = Node { name, kind, inputs: inputs.to_vec(), output, origin, op };
        let spec = crate::infer(&node.op, &specs).map_err(|error| node.locate(error))?;
        let constants: Option<Vec<&Tensor>> =
            inputs.iter().map(|&input| self.graph.constant(input)).collect();
        let constant = match constants {
            Some(constants) if !matches!(node.op, Op::DetectionOutput(_)) => {
                self.folded = self.folded.saturating_add(spec.len());
                if self.folded > MAX_FOLDED {
                    return Err(node.locate(
                        Error::new("constants of the network grow too large")
                            .allowed(format!("at most {MAX_FOLDED} elements")),
                    ));
                }
                let tensor =
                    crate::eval::run(&node.op, &constants, &spec).map_err(|error| node.locate(error))?;
                Some(Arc::new(tensor))
            }
            _ => None,
        };
        let folded = constant.is_some();
        self.value(&node.name, spec, constant);
        if !folded {
            self.graph.nodes.push(node);
        }
        Ok(output)
    }

    /// Gives a value the name that it has in the file.
    pub fn rename(&mut self, value: Value, name: &str) {
        name.clone_into(&mut self.graph.values[value.0].name);
    }

    pub fn spec(&self, value: Value) -> &Spec {
        self.graph.spec(value)
    }

    /// The elements of a value that depends on no input.
    pub fn known(&self, value: Value) -> Option<&Tensor> {
        self.graph.constant(value)
    }

    /// Adds an output of the network.
    pub fn output(&mut self, value: Value) {
        self.graph.outputs.push(value);
    }

    /// The graph, without what no output depends on.
    pub fn finish(mut self) -> Graph {
        self.graph.prune_dead();
        self.graph
    }

    fn value(&mut self, name: &str, spec: Spec, constant: Option<Arc<Tensor>>) -> Value {
        self.graph.values.push(Known { name: name.to_owned(), spec, constant });
        Value(self.graph.values.len() - 1)
    }
}
