//! An ONNX file's messages, read field by field.
//!
//! Source: onnx/onnx.proto (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto, ValueInfoProto).

use std::path::{Component, Path};

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result};
use secateur_tensor::{DType, Data, Spec, Tensor};

use crate::wire::Message;

/// A model's graph and the version of its operators.
#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub graph: Option<Message<'a>>,
    /// Of the standard operators.
    pub opset: Option<i64>,
}

impl<'a> Model<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut model = Self::default();
        for field in Message(bytes).fields() {
            let field = field?;
            match field.number {
                7 => model.graph = Some(field.message()?),
                8 => {
                    let opset = field.message()?;
                    let domain = opset.last(1)?.map(|field| field.text()).transpose()?.unwrap_or_default();
                    if is_standard(&domain) {
                        model.opset =
                            opset.last(2)?.map(|field| field.varint()).transpose()?.map(|n| n as i64);
                    }
                }
                _ => (),
            }
        }
        Ok(model)
    }
}

/// Returns whether operators of this domain are ONNX's own.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// A node.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    /// An empty name stands for an input that is left out.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub name: String,
    pub kind: String,
    pub domain: String,
    pub attributes: Vec<(String, Message<'a>)>,
}

impl<'a> Node<'a> {
    pub(super) fn read(message: Message<'a>) -> Result<Self> {
        let mut node = Self::default();
        for field in message.fields() {
            let field = field?;
            match field.number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.kind = field.text()?,
                5 => {
                    let attribute = field.message()?;
                    let name = attribute.last(1)?.map(|field| field.text()).transpose()?.unwrap_or_default();
                    node.attributes.push((name, attribute));
                }
                7 => node.domain = field.text()?,
                _ => (),
            }
        }
        if node.name.is_empty() {
            node.name = node.outputs.first().cloned().unwrap_or_default();
        }
        Ok(node)
    }

    fn attribute(&self, name: &str) -> Option<Message<'a>> {
        self.attributes.iter().rev().find(|(own, _)| own == name).map(|(_, attribute)| *attribute)
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>> {
        match self.attribute(name) {
            Some(attribute) => attribute.last(2)?.map(|field| field.float()).transpose(),
            None => Ok(None),
        }
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>> {
        match self.attribute(name) {
            // A zero may be left out of the file.
            Some(attribute) => {
                Ok(Some(attribute.last(3)?.map(|field| field.varint()).transpose()?.unwrap_or(0) as i64))
            }
            None => Ok(None),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.attribute(name) {
            Some(attribute) => attribute.last(4)?.map(|field| field.text()).transpose(),
            None => Ok(None),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        let mut values = Vec::new();
        for field in attribute.all(8)? {
            field.varints(&mut values)?;
        }
        Ok(Some(values.into_iter().map(|value| value as i64).collect()))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        let mut values = Vec::new();
        for field in attribute.all(7)? {
            field.floats(&mut values)?;
        }
        Ok(Some(values))
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Message<'a>>> {
        match self.attribute(name) {
            Some(attribute) => attribute.last(5)?.map(|field| field.message()).transpose(),
            None => Ok(None),
        }
    }
}

/// The type that a number of TensorProto.DataType stands for: doubles are narrowed, half floats widened.
pub(super) fn dtype(number: u64) -> Result<DType> {
    Ok(match number {
        1 | 10 | 11 | 16 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        12 => DType::U32,
        13 => DType::U64,
        other => {
            return Err(Error::new("a tensor has a type that is not read")
                .found(format!("type {other} of onnx.proto"))
                .allowed("floats of 16 to 64 bits, integers of 8 to 64 bits, truth values"));
        }
    })
}

/// Type and shape of an input; dimensions without a number are `Err` with their name.
#[derive(Debug)]
pub(super) struct Declared {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<Result<usize, String>>,
}

impl Declared {
    pub(super) fn read(message: Message<'_>) -> Result<Self> {
        let name = message.last(1)?.map(|field| field.text()).transpose()?.unwrap_or_default();
        let inside = |message: Option<Message<'_>>, number| -> Result<Option<Vec<u8>>> {
            match message {
                Some(message) => {
                    Ok(message.last(number)?.map(|field| field.bytes().map(<[u8]>::to_vec)).transpose()?)
                }
                None => Ok(None),
            }
        };
        let unknown =
            || Error::new(format!("input \"{name}\" is no tensor with a type")).allowed("a tensor type");
        let kind = inside(Some(message), 2)?.ok_or_else(unknown)?;
        let tensor = inside(Some(Message(&kind)), 1)?.ok_or_else(unknown)?;
        let tensor = Message(&tensor);
        let dtype = dtype(tensor.last(1)?.map(|field| field.varint()).transpose()?.unwrap_or(0))?;
        let mut shape = Vec::new();
        if let Some(dims) = tensor.last(2)? {
            for dim in dims.message()?.all(1)? {
                let dim = dim.message()?;
                let number = dim.last(1)?.map(|field| field.varint()).transpose()?.map(|n| n as i64);
                let name = dim.last(2)?.map(|field| field.text()).transpose()?.unwrap_or_default();
                shape.push(
                    match number.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0 || name.is_empty()) {
                        Some(side) => Ok(side),
                        None => Err(name),
                    },
                );
            }
        }
        Ok(Self { name, dtype, shape })
    }
}

/// A tensor with its name. `folder` holds the model's file, and external data.
pub(super) fn tensor(message: Message<'_>, folder: &Path) -> Result<(String, Tensor)> {
    let mut dims = Vec::new();
    let (mut floats, mut doubles, mut ints) = (Vec::new(), Vec::new(), Vec::new());
    let (mut number, mut name, mut raw, mut external, mut location) = (0, String::new(), None, Vec::new(), 0);
    for field in message.fields() {
        let field = field?;
        match field.number {
            1 => field.varints(&mut dims)?,
            2 => number = field.varint()?,
            4 => field.floats(&mut floats)?,
            5 | 7 | 11 => field.varints(&mut ints)?,
            8 => name = field.text()?,
            9 => raw = Some(field.bytes()?.to_vec()),
            10 => field.doubles(&mut doubles)?,
            13 => external.push(field.message()?),
            14 => location = field.varint()?,
            _ => (),
        }
    }
    let named = |error: Error| error.section(format!("tensor \"{name}\""));
    let dtype = dtype(number).map_err(named)?;
    let shape = dims
        .iter()
        .map(|&dim| usize::try_from(dim).ok())
        .collect::<Option<Vec<usize>>>()
        .ok_or_else(|| named(Error::new("a dimension is negative")))?;
    let spec = Spec::new(dtype, shape).check().map_err(named)?;
    if location == 1 {
        raw = Some(outside(&external, folder).map_err(named)?);
    }
    let data = match raw {
        Some(raw) => from_bytes(number, &raw).map_err(named)?,
        None => match number {
            1 => Data::F32(floats),
            11 => Data::F32(doubles.into_iter().map(|value| value as f32).collect()),
            10 => Data::F32(ints.into_iter().map(|bits| half(bits as u16)).collect()),
            16 => Data::F32(ints.into_iter().map(|bits| f32::from_bits((bits as u32) << 16)).collect()),
            _ => Data::Int(ints.into_iter().map(|value| value as i64).collect()),
        },
    };
    Tensor::new(spec, data).map(|tensor| (name.clone(), tensor)).map_err(named)
}

/// Little-endian elements of a data type.
fn from_bytes(number: u64, raw: &[u8]) -> Result<Data> {
    fn all<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let (values, rest) = raw.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(Error::new("raw data end in the middle of an element")
                .found(format!("{} bytes", raw.len()))
                .allowed(format!("a multiple of {N}")));
        }
        Ok(values.iter().map(|bytes| read(*bytes)).collect())
    }
    Ok(match number {
        1 => Data::F32(all(raw, f32::from_le_bytes)?),
        10 => Data::F32(all(raw, |bytes| half(u16::from_le_bytes(bytes)))?),
        11 => Data::F32(all(raw, |bytes| f64::from_le_bytes(bytes) as f32)?),
        16 => Data::F32(all(raw, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))?),
        2 | 9 => Data::Int(all(raw, |bytes: [u8; 1]| i64::from(bytes[0]))?),
        3 => Data::Int(all(raw, |bytes: [u8; 1]| i64::from(bytes[0] as i8))?),
        4 => Data::Int(all(raw, |bytes| i64::from(u16::from_le_bytes(bytes)))?),
        5 => Data::Int(all(raw, |bytes| i64::from(i16::from_le_bytes(bytes)))?),
        6 => Data::Int(all(raw, |bytes| i64::from(i32::from_le_bytes(bytes)))?),
        12 => Data::Int(all(raw, |bytes| i64::from(u32::from_le_bytes(bytes)))?),
        _ => Data::Int(all(raw, i64::from_le_bytes)?),
    })
}

/// An IEEE 754 half-precision number.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, bits & 1023);
    let magnitude = match exponent {
        0 => f32::from(fraction) * 2f32.powi(-24),
        31 if fraction == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + f32::from(fraction) / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Data in a file beside the model.
fn outside(entries: &[Message<'_>], folder: &Path) -> Result<Vec<u8>> {
    let mut values = std::collections::HashMap::new();
    for entry in entries {
        let text = |number| entry.last(number)?.map(|field| field.text()).transpose();
        values.insert(text(1)?.unwrap_or_default(), text(2)?.unwrap_or_default());
    }
    let location = values.get("location").cloned().unwrap_or_default();
    let path = Path::new(&location);
    let mut parts = path.components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        return Err(Error::new("external data lie outside the model's folder")
            .found(location)
            .allowed("a file beside the model"));
    }
    let bytes = read_limited(&folder.join(path), MAX_TENSOR_BYTES)?;
    let number = |key: &str, default: usize| match values.get(key) {
        Some(text) => text
            .parse()
            .map_err(|_| Error::new(format!("external data have a bad {key}")).found(text.clone())),
        None => Ok(default),
    };
    let offset = number("offset", 0)?;
    let length = number("length", bytes.len().saturating_sub(offset))?;
    let part = offset.checked_add(length).and_then(|end| bytes.get(offset..end));
    part.map(<[u8]>::to_vec).ok_or_else(|| {
        Error::new("external data end too early")
            .file(folder.join(path))
            .found(format!("{} bytes", bytes.len()))
            .allowed(format!("{length} from {offset}"))
    })
}
