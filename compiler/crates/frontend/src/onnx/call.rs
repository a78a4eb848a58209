//! One node on its way into the graph: its inputs and attributes by need.

use std::path::Path;

use secateur_base::{Error, Result};
use secateur_tensor::{Builder, DType, Data, Op, Place, Spec, Tensor, Value, op::Unary};

use super::proto::{self, Node};

pub(super) struct Call<'a, 'n> {
    pub node: &'a Node<'n>,
    pub inputs: Vec<Option<Value>>,
    pub opset: i64,
    pub place: &'a Place,
    pub builder: &'a mut Builder,
    pub folder: &'a Path,
}

impl Call<'_, '_> {
    pub(super) fn add(&mut self, op: Op, inputs: &[Value]) -> Result<Value> {
        self.builder.node(self.place, op, inputs)
    }

    pub(super) fn unary(&mut self, unary: Unary, input: Value) -> Result<Value> {
        self.add(Op::Unary(unary), &[input])
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> Value {
        self.builder.constant(&self.place.name, tensor)
    }

    /// A constant that follows from parameters.
    pub(super) fn computed(&mut self, spec: Spec, make: impl FnOnce(usize) -> Data) -> Result<Value> {
        self.builder.computed(&self.place.name, spec, make)
    }

    /// A constant of one element that fits beside `like`.
    pub(super) fn scalar(&mut self, like: Value, value: f32) -> Result<Value> {
        let tensor = match self.spec(like).dtype {
            DType::F32 => Tensor::scalar(value),
            dtype => Tensor::int(dtype, [], vec![value as i64])?,
        };
        Ok(self.constant(tensor))
    }

    pub(super) fn spec(&self, value: Value) -> &Spec {
        self.builder.spec(value)
    }

    pub(super) fn shape(&self, value: Value) -> Vec<usize> {
        self.builder.spec(value).shape.clone()
    }

    /// An input that must be there.
    pub(super) fn input(&self, at: usize) -> Result<Value> {
        self.optional(at).ok_or_else(|| {
            Error::new("the node lacks an input")
                .found(format!("{} inputs", self.inputs.len()))
                .allowed(format!("input {at} too"))
        })
    }

    pub(super) fn optional(&self, at: usize) -> Option<Value> {
        self.inputs.get(at).copied().flatten()
    }

    /// The constant of an input that is a parameter.
    pub(super) fn parameter(&self, at: usize) -> Result<Option<&Tensor>> {
        let Some(value) = self.optional(at) else { return Ok(None) };
        let known = self.builder.known(value);
        known.map(Some).ok_or_else(|| {
            Error::new("a parameter depends on the network's input")
                .found(format!("input {at} of the node"))
                .allowed("a constant, or what follows from shapes")
        })
    }

    /// Integers of an input that is a parameter, or in older versions of an attribute.
    pub(super) fn ints(&self, at: usize, attribute: &str) -> Result<Option<Vec<i64>>> {
        match self.parameter(at)? {
            Some(tensor) => tensor
                .as_int()
                .map(|values| Some(values.to_vec()))
                .ok_or_else(|| Error::new(format!("input {at} of the node must be integers"))),
            None => self.node.ints(attribute),
        }
    }

    /// A single float of an input that is a parameter, or in older versions of an attribute.
    pub(super) fn float(&self, at: usize, attribute: &str) -> Result<Option<f32>> {
        match self.parameter(at)? {
            Some(tensor) => match tensor.to_f32()[..] {
                [value] => Ok(Some(value)),
                _ => Err(Error::new(format!("input {at} of the node must be one number"))),
            },
            None => self.node.float(attribute),
        }
    }

    /// An axis, counted from the end where it is negative.
    pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
        let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank).ok_or_else(|| {
            Error::new("there is no such axis")
                .found(axis.to_string())
                .allowed(format!("-{rank} to {rank}, less one"))
        })
    }

    /// Axes in ascending order, each once.
    pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut sorted = axes.iter().map(|&axis| Self::axis(axis, rank)).collect::<Result<Vec<_>>>()?;
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::new("an axis is given twice").found(format!("{axes:?}")));
        }
        Ok(sorted)
    }

    /// The attribute `axis`.
    pub(super) fn axis_attribute(&self, default: i64, rank: usize) -> Result<usize> {
        Self::axis(self.node.int("axis")?.unwrap_or(default), rank)
    }

    /// Sizes of an attribute; `missing` where it is not given.
    pub(super) fn sizes(&self, attribute: &str, missing: &[usize]) -> Result<Vec<usize>> {
        match self.node.ints(attribute)? {
            Some(values) => sizes(&values).map_err(|error| error.section(attribute.to_owned())),
            None => Ok(missing.to_vec()),
        }
    }

    pub(super) fn flag(&self, attribute: &str) -> Result<bool> {
        Ok(self.node.int(attribute)?.unwrap_or(0) != 0)
    }

    /// A tensor attribute.
    pub(super) fn tensor(&self, attribute: &str) -> Result<Option<Tensor>> {
        match self.node.tensor(attribute)? {
            Some(message) => proto::tensor(message, self.folder).map(|(_, tensor)| Some(tensor)),
            None => Ok(None),
        }
    }

    /// Refuses an attribute's value.
    pub(super) fn refuse(attribute: &str, found: &str, allowed: &str) -> Error {
        Error::new(format!("{attribute} has a value that is not read")).found(found).allowed(allowed)
    }
}

/// Numbers that must not be negative.
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>> {
    let sizes = values.iter().map(|&value| usize::try_from(value).ok()).collect::<Option<Vec<_>>>();
    sizes.ok_or_else(|| Error::new("a size is negative").found(format!("{values:?}")))
}
