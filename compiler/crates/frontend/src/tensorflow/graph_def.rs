//! A GraphDef from text (`.pbtxt`) or bytes (`.pb`, or the graph in a `.meta`): nodes with their inputs and attributes.
//!
//! Source: TensorFlow, core/framework/{graph,node_def,attr_value,tensor}.proto and core/protobuf/meta_graph.proto.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result, kind};

use crate::text_format::{Document, View};
use crate::wire::{Field, Message};

use super::dtype::{DataType, half};

/// A constant of a few bytes may stand for many equal values; more than this are refused.
const MAX_ELEMENTS: usize = 1 << 24;

/// The nodes of a graph in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct GraphDef {
    pub path: PathBuf,
    pub nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
}

/// One operation.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub name: String,
    pub op: String,
    /// What it reads, control dependencies excluded.
    pub inputs: Vec<Input>,
    pub attributes: HashMap<String, Attribute>,
    /// 1-based line in a text.
    pub line: Option<usize>,
}

/// One output of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    pub node: String,
    pub output: usize,
}

/// The value of an attribute; what no reader here asks for is `Other`.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    Bytes(Vec<u8>),
    Integer(i64),
    Float(f32),
    Bool(bool),
    Type(Option<DataType>),
    /// `None` for a dimension that is not known; the whole is `None` where the rank is not known.
    Shape(Option<Vec<Option<usize>>>),
    Tensor(Constant),
    Integers(Vec<i64>),
    Texts(Vec<Vec<u8>>),
    Other,
}

/// A tensor of constants. A file may hold one value for a million equal ones: they are written out only when asked
/// for.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    pub dtype: Option<DataType>,
    pub shape: Vec<usize>,
    count: usize,
    values: Values,
}

/// Values by how the file holds them; the last stands for the rest.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    Floats(Vec<f32>),
    Integers(Vec<i64>),
}

impl Constant {
    /// Every value, as floats.
    pub fn floats(&self) -> Vec<f32> {
        match &self.values {
            Values::Floats(values) => repeat_last(values.clone(), self.count),
            Values::Integers(values) => {
                repeat_last(values.iter().map(|value| *value as f32).collect(), self.count)
            }
        }
    }

    /// Every value, as integers; floats are cut.
    pub fn integers(&self) -> Vec<i64> {
        match &self.values {
            Values::Integers(values) => repeat_last(values.clone(), self.count),
            Values::Floats(values) => {
                repeat_last(values.iter().map(|value| *value as i64).collect(), self.count)
            }
        }
    }
}

impl GraphDef {
    /// Reads a graph, of whichever form its bytes are.
    ///
    /// # Errors
    /// As [`GraphDef::parse`]; the file cannot be read or is too large.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(path, read_limited(path, MAX_TENSOR_BYTES)?)
    }

    /// Parses `bytes`; `path` is for messages, and its ending `.meta` says that the graph is in a MetaGraphDef.
    ///
    /// # Errors
    /// The bytes are of neither form; two nodes have one name.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        kind::check(path, &bytes, kind::TENSORFLOW_GRAPH)?;
        let nodes = if is_text(&bytes) {
            let document = Document::parse(path, bytes)?;
            text_graph(document.root())?
        } else {
            binary_graph(&bytes, path.extension().is_some_and(|ending| ending == "meta"))
                .map_err(|error| error.file(path))?
        };
        let mut graph = Self { path: path.to_owned(), nodes, by_name: HashMap::new() };
        for (at, node) in graph.nodes.iter().enumerate() {
            if graph.by_name.insert(node.name.clone(), at).is_some() {
                return Err(graph.error(node, "two nodes have the same name"));
            }
        }
        if graph.nodes.is_empty() {
            return Err(Error::new("the graph has no nodes")
                .file(path)
                .help("give a GraphDef: .pbtxt, .pb or .meta"));
        }
        Ok(graph)
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).map(|at| &self.nodes[*at])
    }

    /// A mistake in a node.
    pub fn error(&self, node: &Node, what: impl Into<String>) -> Error {
        let error = Error::new(what).file(&self.path).section(format!("{} {}", node.op, node.name));
        match node.line {
            Some(line) => error.line(line),
            None => error,
        }
    }
}

impl Node {
    /// A truth value, or what holds without one.
    pub fn boolean(&self, name: &str, default: bool) -> bool {
        match self.attributes.get(name) {
            Some(Attribute::Bool(value)) => *value,
            _ => default,
        }
    }

    /// A number, or what holds without one.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }

    /// An integer, or what holds without one.
    pub fn integer(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Integer(value)) => *value,
            _ => default,
        }
    }

    /// A list of integers; empty without one.
    pub fn integers(&self, name: &str) -> &[i64] {
        match self.attributes.get(name) {
            Some(Attribute::Integers(values)) => values,
            _ => &[],
        }
    }

    /// A text, or what holds without one.
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.attributes.get(name) {
            Some(Attribute::Bytes(text)) => str::from_utf8(text).unwrap_or(default),
            _ => default,
        }
    }

    /// A data type.
    pub fn dtype(&self, name: &str) -> Option<DataType> {
        match self.attributes.get(name) {
            Some(Attribute::Type(dtype)) => *dtype,
            _ => None,
        }
    }
}

impl Input {
    /// `name`, `name:1`; `None` for a control dependency `^name`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('^') {
            return None;
        }
        let (node, output) = match text.rsplit_once(':') {
            Some((node, output)) => (node, output.parse().ok()?),
            None => (text, 0),
        };
        Some(Self { node: node.to_owned(), output })
    }
}

/// A text has no zero bytes and begins with a field's name or a comment; a binary GraphDef begins with the tag 0x0a.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace());
    !start.contains(&0) && first.is_none_or(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'#' | b'_'))
}

fn text_graph(root: View<'_>) -> Result<Vec<Node>> {
    // A MetaGraphDef as text has the graph inside.
    let root = root.message("graph_def")?.unwrap_or(root);
    root.messages("node")?.into_iter().map(text_node).collect()
}

fn text_node(view: View<'_>) -> Result<Node> {
    let name = view.text("name")?.unwrap_or_default();
    let mut node = Node {
        op: view.text("op")?.unwrap_or_default(),
        inputs: view.texts("input")?.iter().filter_map(|text| Input::parse(text)).collect(),
        line: Some(view.line()),
        attributes: HashMap::new(),
        name,
    };
    for attribute in view.messages("attr")? {
        let key = attribute.text("key")?.unwrap_or_default();
        if let Some(value) = attribute.message("value")? {
            node.attributes.insert(key, text_attribute(value)?);
        }
    }
    Ok(node)
}

fn text_attribute(value: View<'_>) -> Result<Attribute> {
    let Some(field) = value.fields().last() else { return Ok(Attribute::Other) };
    Ok(match field.name.as_str() {
        "s" => Attribute::Bytes(value.bytes_of(field)?),
        "i" => Attribute::Integer(value.integer_of(field)?),
        "f" => Attribute::Float(value.float_of(field)? as f32),
        "b" => Attribute::Bool(value.boolean_of(field)?),
        "type" => Attribute::Type(DataType::named(&value.text_of(field)?)),
        "shape" => Attribute::Shape(text_shape(value.inner(field)?)?),
        "tensor" => Attribute::Tensor(text_tensor(value.inner(field)?)?),
        "list" => {
            let list = value.inner(field)?;
            if list.has("s") {
                Attribute::Texts(list.all("s").map(|field| list.bytes_of(field)).collect::<Result<_>>()?)
            } else if list.has("f") || list.has("type") || list.has("shape") || list.has("tensor") {
                Attribute::Other
            } else {
                Attribute::Integers(list.integers("i")?)
            }
        }
        _ => Attribute::Other,
    })
}

fn text_shape(shape: View<'_>) -> Result<Option<Vec<Option<usize>>>> {
    if shape.boolean("unknown_rank")?.unwrap_or(false) {
        return Ok(None);
    }
    let mut dims = Vec::new();
    for dim in shape.messages("dim")? {
        dims.push(usize::try_from(dim.integer("size")?.unwrap_or(0)).ok());
    }
    Ok(Some(dims))
}

fn text_tensor(tensor: View<'_>) -> Result<Constant> {
    let dtype = tensor.text("dtype")?.and_then(|name| DataType::named(&name));
    let shape = tensor.message("tensor_shape")?.map_or(Ok(Some(Vec::new())), text_shape)?;
    let mut raw = RawTensor { dtype, ..RawTensor::default() };
    raw.shape = known(shape);
    raw.floats = tensor.floats("float_val")?;
    raw.floats.extend(tensor.floats("double_val")?);
    for bits in tensor.integers("half_val")? {
        raw.floats.push(half(bits as u16));
    }
    for name in ["int_val", "int64_val"] {
        raw.integers.extend(tensor.integers(name)?);
    }
    for field in tensor.all("bool_val") {
        raw.integers.push(i64::from(tensor.boolean_of(field)?));
    }
    if let Some(content) = tensor.field("tensor_content") {
        raw.content = tensor.bytes_of(content)?;
    }
    raw.finish().map_err(|error| error.file(tensor.path()).line(tensor.line()))
}

fn binary_graph(bytes: &[u8], is_meta: bool) -> Result<Vec<Node>> {
    let graph = match is_meta {
        true => {
            Message(bytes).last(2)?.ok_or_else(|| Error::new("the .meta file has no graph"))?.message()?
        }
        false => Message(bytes),
    };
    graph.all(1)?.into_iter().map(binary_node).collect()
}

fn binary_node(field: Field<'_>) -> Result<Node> {
    let mut node = Node::default();
    for field in field.message()?.fields() {
        let field = field?;
        match field.number {
            1 => node.name = field.text()?,
            2 => node.op = field.text()?,
            3 => node.inputs.extend(Input::parse(&field.text()?)),
            5 => {
                let entry = field.message()?;
                let key = entry.last(1)?.map_or(Ok(String::new()), |key| key.text())?;
                if let Some(value) = entry.last(2)? {
                    let value = binary_attribute(value.message()?);
                    node.attributes.insert(key, value.map_err(|error| error.section(node.name.clone()))?);
                }
            }
            _ => {}
        }
    }
    Ok(node)
}

fn binary_attribute(value: Message<'_>) -> Result<Attribute> {
    let Some(field) = value.fields().last().transpose()? else { return Ok(Attribute::Other) };
    Ok(match field.number {
        1 => {
            let list = field.message()?;
            let (mut integers, mut texts) = (Vec::new(), Vec::new());
            for field in list.fields() {
                let field = field?;
                match field.number {
                    2 => texts.push(field.bytes()?.to_vec()),
                    3 => field.varints(&mut integers)?,
                    _ => return Ok(Attribute::Other),
                }
            }
            match texts.is_empty() {
                true => Attribute::Integers(integers.into_iter().map(|value| value as i64).collect()),
                false => Attribute::Texts(texts),
            }
        }
        2 => Attribute::Bytes(field.bytes()?.to_vec()),
        3 => Attribute::Integer(field.varint()? as i64),
        4 => Attribute::Float(field.float()?),
        5 => Attribute::Bool(field.varint()? != 0),
        6 => Attribute::Type(DataType::of(field.varint()?)),
        7 => Attribute::Shape(binary_shape(field.message()?)?),
        8 => Attribute::Tensor(binary_tensor(field.message()?)?),
        _ => Attribute::Other,
    })
}

fn binary_shape(shape: Message<'_>) -> Result<Option<Vec<Option<usize>>>> {
    let mut dims = Vec::new();
    for field in shape.fields() {
        let field = field?;
        match field.number {
            2 => {
                let size = field.message()?.last(1)?.map_or(Ok(0), |size| size.varint())?;
                dims.push(usize::try_from(size as i64).ok());
            }
            3 if field.varint()? != 0 => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(dims))
}

fn binary_tensor(tensor: Message<'_>) -> Result<Constant> {
    let mut raw = RawTensor::default();
    let (mut doubles, mut integers, mut halves) = (Vec::new(), Vec::new(), Vec::new());
    for field in tensor.fields() {
        let field = field?;
        match field.number {
            1 => raw.dtype = DataType::of(field.varint()?),
            2 => raw.shape = known(binary_shape(field.message()?)?),
            4 => raw.content = field.bytes()?.to_vec(),
            5 => field.floats(&mut raw.floats)?,
            6 => field.doubles(&mut doubles)?,
            7 | 10 | 11 => field.varints(&mut integers)?,
            13 => field.varints(&mut halves)?,
            _ => {}
        }
    }
    raw.floats.extend(doubles.into_iter().map(|value| value as f32));
    raw.floats.extend(halves.into_iter().map(|bits| half(bits as u16)));
    raw.integers = integers.into_iter().map(|value| value as i64).collect();
    raw.finish()
}

/// A constant has a known shape; where it has none it is a mistake of whoever wrote it.
fn known(shape: Option<Vec<Option<usize>>>) -> Option<Vec<usize>> {
    shape?.into_iter().collect()
}

/// A TensorProto's fields.
#[derive(Default)]
struct RawTensor {
    dtype: Option<DataType>,
    shape: Option<Vec<usize>>,
    content: Vec<u8>,
    floats: Vec<f32>,
    integers: Vec<i64>,
}

impl RawTensor {
    /// Checks values against the shape's number of elements.
    fn finish(self) -> Result<Constant> {
        // A scalar has no shape in the binary form.
        let shape = self.shape.unwrap_or_default();
        let count = shape.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim));
        let dtype = self.dtype;
        let values = match dtype {
            // Text and other types that nothing here computes with.
            None => Values::Integers(Vec::new()),
            Some(dtype) if dtype.is_integer() => Values::Integers(if self.content.is_empty() {
                self.integers
            } else {
                dtype.integers(&self.content)?
            }),
            Some(dtype) => Values::Floats(if self.content.is_empty() {
                self.floats
            } else {
                dtype.floats(&self.content)?
            }),
        };
        let held = match &values {
            Values::Floats(values) => values.len(),
            Values::Integers(values) => values.len(),
        };
        let Some(count) = count.filter(|count| *count <= held.max(MAX_ELEMENTS)) else {
            return Err(Error::new("a constant is too large").found(format!("{shape:?}")));
        };
        if held > count {
            return Err(Error::new("a constant has more values than its shape")
                .found(held.to_string())
                .allowed(count.to_string()));
        }
        Ok(Constant { dtype, shape, count, values })
    }
}

fn repeat_last<T: Copy + Default>(mut values: Vec<T>, count: usize) -> Vec<T> {
    let last = values.last().copied().unwrap_or_default();
    values.resize(count, last);
    values
}
