//! From a model to a tensor graph.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result};
use secateur_ir::Origin;
use secateur_tensor::{Builder, Graph, Op, Place, Spec, Tensor, Value, op::Unary};

use super::call::Call;
use super::operators;
use super::proto::{self, Declared, Model, Node};
use crate::wire::Message;

/// Versions of the operators that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;

/// What a model leaves open.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Shapes of inputs by name, in place of the model's.
    pub input_shapes: HashMap<String, Vec<usize>>,
    /// Inputs that have always these values.
    pub fixed: HashMap<String, Tensor>,
    /// Operators of versions after [`OPSETS`] are taken for those of the last one.
    pub later_opsets: bool,
}

/// A model as a tensor graph.
#[derive(Debug, Clone)]
pub struct Imported {
    pub graph: Graph,
    /// Names of the inputs in the order of the file, without initialisers, with those that are fixed.
    pub inputs: Vec<String>,
    /// The value of every name in the file, constants too.
    pub values: HashMap<String, Value>,
}

/// Reads and translates a model.
///
/// # Errors
/// As [`import`]; the file cannot be read or is too large.
pub fn load(path: &Path, options: &Options) -> Result<Imported> {
    import(path, &read_limited(path, MAX_TENSOR_BYTES)?, options)
}

/// Translates a model; `path` is for messages, and its folder for external data.
///
/// # Errors
/// Names file and node of what cannot be translated: damaged bytes, another opset, operators of other domains or
/// unknown ones, parameters that depend on the input, dimensions without a number.
pub fn import(path: &Path, bytes: &[u8], options: &Options) -> Result<Imported> {
    let file: Arc<Path> = path.into();
    translate(&file, bytes, options).map_err(|error| error.file(&*file))
}

fn translate(file: &Arc<Path>, bytes: &[u8], options: &Options) -> Result<Imported> {
    let model = Model::read(bytes)?;
    let graph = model.graph.ok_or_else(|| {
        Error::new("this is no ONNX model")
            .found("no graph in it")
            .allowed("a file that an ONNX exporter wrote")
    })?;
    let opset = model.opset.unwrap_or(1);
    let is_later = options.later_opsets && opset > *OPSETS.end();
    if !is_later && !OPSETS.contains(&opset) {
        return Err(Error::new("the model's operators have a version that is not read")
            .found(format!("opset {opset}"))
            .allowed(format!("opsets {} to {}", OPSETS.start(), OPSETS.end()))
            .help("export it with another opset_version, or convert it by onnx.version_converter"));
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut importer = Importer {
        builder: Builder::new(),
        names: HashMap::new(),
        inputs: Vec::new(),
        opset,
        file: file.clone(),
    };
    let (mut nodes, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    for field in graph.fields() {
        let field = field?;
        match field.number {
            1 => nodes.push(Node::read(field.message()?)?),
            5 => {
                let (name, tensor) = proto::tensor(field.message()?, folder)?;
                importer.constant(&name, tensor);
            }
            11 => inputs.push(field.message()?),
            12 => outputs.push(field.message()?.last(1)?.map(|f| f.text()).transpose()?.unwrap_or_default()),
            15 => {
                return Err(Error::new("sparse initializers are not read")
                    .help("export the model with dense weights"));
            }
            _ => (),
        }
    }
    for message in inputs {
        importer.input(message, options)?;
    }
    for node in &nodes {
        importer.node(node, folder)?;
    }
    for name in &outputs {
        let value = *importer.names.get(name).ok_or_else(|| {
            Error::new("nothing computes an output of the model").found(format!("\"{name}\""))
        })?;
        importer.builder.output(name, value);
    }
    Ok(Imported { graph: importer.builder.finish(), inputs: importer.inputs, values: importer.names })
}

struct Importer {
    builder: Builder,
    names: HashMap<String, Value>,
    inputs: Vec<String>,
    opset: i64,
    file: Arc<Path>,
}

impl Importer {
    fn constant(&mut self, name: &str, tensor: Tensor) {
        let value = self.builder.constant(name, tensor);
        self.names.insert(name.to_owned(), value);
    }

    fn input(&mut self, message: Message<'_>, options: &Options) -> Result<()> {
        // Files of old versions list initialisers among the inputs.
        let name = message.last(1)?.map(|field| field.text()).transpose()?.unwrap_or_default();
        if self.names.contains_key(&name) {
            return Ok(());
        }
        self.inputs.push(name.clone());
        if let Some(tensor) = options.fixed.get(&name) {
            self.constant(&name, tensor.clone());
            return Ok(());
        }
        let declared = Declared::read(message)?;
        let shape = match options.input_shapes.get(&name) {
            Some(shape) => shape.clone(),
            None => {
                let dims = declared.shape.iter().enumerate();
                dims.map(|(axis, dim)| match dim {
                    Ok(side) => Ok(*side),
                    // The first axis of several is the batch's.
                    Err(_) if axis == 0 && declared.shape.len() > 1 => Ok(1),
                    Err(dim) => Err(Error::new(format!("input \"{name}\" has a dimension without a number"))
                        .found(format!("axis {axis} is \"{dim}\""))
                        .help(format!("say the input's shape: --input-shape {name}=1,3,320,320"))),
                })
                .collect::<Result<_>>()?
            }
        };
        let value = self.builder.input(&name, Spec::new(declared.dtype, shape))?;
        self.names.insert(declared.name, value);
        Ok(())
    }

    fn node(&mut self, node: &Node<'_>, folder: &Path) -> Result<()> {
        let place = Place {
            name: node.name.clone(),
            kind: node.kind.clone(),
            origin: Origin { file: Some(self.file.clone()), ..Origin::default() },
        };
        let located = |error: Error| error.section(format!("{} \"{}\"", node.kind, node.name));
        let inputs = node.inputs.iter().map(|name| match name.as_str() {
            "" => Ok(None),
            name => self.names.get(name).copied().map(Some).ok_or_else(|| {
                located(Error::new("no node before this one computes its input").found(format!("\"{name}\"")))
            }),
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        if !proto::is_standard(&node.domain) {
            return Err(located(
                Error::new("the operator is none of ONNX's own").found(format!("domain \"{}\"", node.domain)),
            ));
        }
        let mut call =
            Call { node, inputs, opset: self.opset, place: &place, builder: &mut self.builder, folder };
        let mut results = operators::translate(&mut call).map_err(located)?;
        let wanted = node.outputs.iter().take(results.len()).enumerate();
        for (at, name) in wanted.filter(|(_, name)| !name.is_empty()) {
            // A value that has a name already (of an input that passes through) gets a node of its own.
            if call.inputs.contains(&Some(results[at])) || results[..at].contains(&results[at]) {
                results[at] = call.add(Op::Unary(Unary::Identity), &[results[at]])?;
            }
            call.builder.rename(results[at], name);
            self.names.insert(name.clone(), results[at]);
        }
        Ok(())
    }
}

/// Returns whether a file is an ONNX model by its content: a graph, and the version of its operators.
pub fn is_model(path: &Path) -> bool {
    let Ok(bytes) = read_limited(path, MAX_TENSOR_BYTES) else { return false };
    // The format has no signature: the first field is the version of the format, a small number.
    bytes.first() == Some(&0x08)
        && Model::read(&bytes).is_ok_and(|model| model.graph.is_some() && model.opset.is_some())
}

/// Names of a model's inputs in the order of the file, without initialisers.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn input_names(path: &Path) -> Result<Vec<String>> {
    let bytes = read_limited(path, MAX_TENSOR_BYTES)?;
    let names = |number, of: u32| -> Result<Vec<String>> {
        let Some(graph) = Model::read(&bytes)?.graph else { return Ok(Vec::new()) };
        let fields = graph.all(number)?;
        let named = fields.iter().map(|field| match field.message()?.last(of)? {
            Some(name) => name.text(),
            None => Ok(String::new()),
        });
        named.collect()
    };
    let initialised = names(5, 8)?;
    Ok(names(11, 1)?.into_iter().filter(|name| !initialised.contains(name)).collect())
}
