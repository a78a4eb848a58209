//! The graph: values, and the nodes that compute them.

use std::collections::BTreeSet;
use std::sync::Arc;

use secateur_base::{Error, Result};
use secateur_ir::Origin;

use crate::op::Op;
use crate::tensor::{Data, Spec, Tensor};

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
    /// With their names in the file.
    pub outputs: Vec<(String, Value)>,
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
        self.outputs.iter().for_each(|(_, value)| needed[value.0] = true);
        for node in self.nodes.iter().rev().filter(|node| node.output.0 < self.values.len()) {
            if needed[node.output.0] {
                node.inputs.iter().for_each(|input| needed[input.0] = true);
            }
        }
        self.nodes.retain(|node| needed[node.output.0]);
    }
}

/// Puts a [`Graph`] together: infers shapes, refuses what does not fit, computes constants at once.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    /// Steps that folding may still take: a file of a few bytes must not make work or memory without end.
    budget: usize,
    /// Values whose shape depends on the data, which no operator may read.
    detections: BTreeSet<Value>,
}

/// Steps that folding may take in any network, and for every element of a constant in the file.
const STEPS: usize = 1 << 22;
const STEPS_AN_ELEMENT: usize = 16;

/// What a reader says of the nodes that it adds for one layer.
#[derive(Debug, Clone, Default)]
pub struct Place {
    pub name: String,
    pub kind: String,
    pub origin: Origin,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    pub fn new() -> Self {
        Self { graph: Graph::default(), budget: STEPS, detections: BTreeSet::new() }
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

    /// Adds a constant that stands in the file.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        self.budget = self.budget.saturating_add(tensor.spec().len().saturating_mul(STEPS_AN_ELEMENT));
        self.value(name, tensor.spec().clone(), Some(Arc::new(tensor)))
    }

    /// Adds a constant of floats.
    ///
    /// # Errors
    /// As [`Tensor::f32`].
    pub fn floats(&mut self, shape: &[usize], values: Vec<f32>) -> Result<Value> {
        Ok(self.constant("", Tensor::f32(shape, values)?))
    }

    /// Adds a constant of this type and shape that the reader computes by `make`.
    ///
    /// # Errors
    /// It would be too large for the file that it comes from.
    pub fn computed(&mut self, name: &str, spec: Spec, make: impl FnOnce(usize) -> Data) -> Result<Value> {
        let spec = spec.check()?;
        let len = spec.len();
        self.budget = self.budget.checked_sub(len).ok_or_else(|| {
            Error::new("a constant is too large for the file that it comes from").found(spec.to_string())
        })?;
        let tensor = Tensor::new(spec, make(len))?;
        Ok(self.value(name, tensor.spec().clone(), Some(Arc::new(tensor))))
    }

    /// Adds an operator; its value is named as the layer, until [`Builder::rename`].
    ///
    /// # Errors
    /// Number, types or shapes of the inputs do not fit, or one is the output of a [`Op::DetectionOutput`]; the error
    /// names the place.
    pub fn node(&mut self, place: &Place, op: Op, inputs: &[Value]) -> Result<Value> {
        let specs: Vec<&Spec> = inputs.iter().map(|&input| self.graph.spec(input)).collect();
        let output = Value(self.graph.values.len());
        let Place { name, kind, origin } = place.clone();
        let node = Node { name, kind, inputs: inputs.to_vec(), output, origin, op };
        if let Some(&read) = inputs.iter().find(|input| self.detections.contains(input)) {
            let error = Error::new("an operator reads detections, whose number depends on the data")
                .found(format!("input \"{}\"", self.graph.name(read)))
                .help("end the network at the detections");
            return Err(node.locate(error));
        }
        let spec = crate::infer(&node.op, &specs).map_err(|error| node.locate(error))?;
        let constants: Option<Vec<&Tensor>> =
            inputs.iter().map(|&input| self.graph.constant(input)).collect();
        // What would take too long is left for the evaluation.
        let left = self.budget.checked_sub(crate::infer::steps(&node.op, &specs, &spec));
        let constant = match (constants, left) {
            (Some(constants), Some(left)) if !matches!(node.op, Op::DetectionOutput(_)) => {
                self.budget = left;
                let tensor =
                    crate::eval::run(&node.op, &constants, &spec).map_err(|error| node.locate(error))?;
                Some(Arc::new(tensor))
            }
            _ => None,
        };
        let folded = constant.is_some();
        self.value(&node.name, spec, constant);
        if matches!(node.op, Op::DetectionOutput(_)) {
            self.detections.insert(output);
        }
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

    pub fn shape(&self, value: Value) -> &[usize] {
        &self.graph.spec(value).shape
    }

    /// The elements of a value that depends on no input.
    pub fn known(&self, value: Value) -> Option<&Tensor> {
        self.graph.constant(value)
    }

    /// Adds an output of the network.
    pub fn output(&mut self, name: &str, value: Value) {
        self.graph.outputs.push((name.to_owned(), value));
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
