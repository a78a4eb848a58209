//! A caffemodel: the blobs of its layers by the layers' names. Everything else in it the prototxt says.
//!
//! Source: Caffe, src/caffe/proto/caffe.proto (NetParameter, LayerParameter, V1LayerParameter, V0LayerParameter,
//! BlobProto) and Net::CopyTrainedLayersFrom.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result, kind};

use crate::wire::{Field, Message};

/// Field numbers of caffe.proto.
mod number {
    pub(super) const NET_LAYERS_V1: u32 = 2;
    pub(super) const NET_LAYER: u32 = 100;
    pub(super) const LAYER_NAME: u32 = 1;
    pub(super) const LAYER_BLOBS: u32 = 7;
    pub(super) const V1_V0: u32 = 1;
    pub(super) const V1_NAME: u32 = 4;
    pub(super) const V1_BLOBS: u32 = 6;
    pub(super) const V0_NAME: u32 = 1;
    pub(super) const V0_BLOBS: u32 = 50;
    /// num, channels, height, width.
    pub(super) const BLOB_LEGACY_SHAPE: std::ops::RangeInclusive<u32> = 1..=4;
    pub(super) const BLOB_DATA: u32 = 5;
    pub(super) const BLOB_SHAPE: u32 = 7;
    pub(super) const BLOB_DOUBLE_DATA: u32 = 8;
}

/// The blobs of a file.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    path: PathBuf,
    layers: HashMap<String, Vec<Blob>>,
}

/// One array of weights. Old files have four dimensions for everything: the prototxt decides on the shape.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Blob {
    pub shape: Vec<u64>,
    pub data: Vec<f32>,
}

impl Weights {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`Weights::parse`]; the file cannot be read or is too large.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(path, &read_limited(path, MAX_TENSOR_BYTES)?)
    }

    /// Parses `bytes`; `path` is for messages only.
    ///
    /// # Errors
    /// The bytes are no NetParameter, or are cut off.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        kind::check(path, bytes, kind::CAFFE_MODEL)?;
        let mut weights = Self { path: path.to_owned(), layers: HashMap::new() };
        for field in Message(bytes).fields() {
            let read = field.and_then(|field| match field.number {
                number::NET_LAYER => layer(field, number::LAYER_NAME, number::LAYER_BLOBS).map(Some),
                number::NET_LAYERS_V1 => layer_v1(field).map(Some),
                _ => Ok(None),
            });
            let read = read.map_err(|error| error.file(path))?;
            if let Some((name, blobs)) = read
                && !blobs.is_empty()
            {
                weights.layers.insert(name, blobs);
            }
        }
        Ok(weights)
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The blobs of the layer of this name.
    pub fn layer(&self, name: &str) -> Option<&[Blob]> {
        self.layers.get(name).map(Vec::as_slice)
    }

    /// The names of layers with blobs, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.layers.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The error that a layer has no blobs here.
    pub fn missing(&self, name: &str) -> Error {
        let names = self.names();
        let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        Error::new(format!("there are no weights for the layer {name}"))
            .file(&self.path)
            .found(format!(
                "weights of {} layers: {shown}{}",
                names.len(),
                if names.len() > 3 { " …" } else { "" }
            ))
            .help("give the caffemodel of this prototxt; layers are matched by their names")
    }
}

fn layer_v1(field: Field<'_>) -> Result<(String, Vec<Blob>)> {
    let (mut name, mut blobs) = layer(field, number::V1_NAME, number::V1_BLOBS)?;
    for inner in field.message()?.all(number::V1_V0)? {
        let (inner_name, inner_blobs) = layer(inner, number::V0_NAME, number::V0_BLOBS)?;
        if name.is_empty() {
            name = inner_name;
        }
        blobs.extend(inner_blobs);
    }
    Ok((name, blobs))
}

fn layer(field: Field<'_>, name_number: u32, blobs_number: u32) -> Result<(String, Vec<Blob>)> {
    let (mut name, mut blobs) = (String::new(), Vec::new());
    for field in field.message()?.fields() {
        let field = field?;
        if field.number == name_number {
            name = field.text()?;
        } else if field.number == blobs_number {
            blobs.push(blob(field.message()?)?);
        }
    }
    Ok((name, blobs))
}

/// A BlobProto.
pub(super) fn blob(message: Message<'_>) -> Result<Blob> {
    let mut blob = Blob::default();
    let mut legacy = [0; 4];
    let mut has_legacy = false;
    let mut doubles = Vec::new();
    for field in message.fields() {
        let field = field?;
        match field.number {
            number::BLOB_DATA => field.floats(&mut blob.data)?,
            number::BLOB_DOUBLE_DATA => field.doubles(&mut doubles)?,
            number::BLOB_SHAPE => {
                for dim in field.message()?.all(1)? {
                    dim.varints(&mut blob.shape)?;
                }
            }
            legacy_dim if number::BLOB_LEGACY_SHAPE.contains(&legacy_dim) => {
                legacy[legacy_dim as usize - 1] = field.varint()?;
                has_legacy = true;
            }
            _ => {}
        }
    }
    if blob.data.is_empty() {
        blob.data = doubles.into_iter().map(|value| value as f32).collect();
    }
    if blob.shape.is_empty() && has_legacy {
        blob.shape = legacy.to_vec();
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Encoder;

    fn parse(bytes: &[u8]) -> Result<Weights> {
        Weights::parse(Path::new("net.caffemodel"), bytes)
    }

    #[test]
    fn every_form_of_layer_and_blob() {
        let shape = Encoder::default().varints(1, &[2, 1]);
        let packed = Encoder::default().bytes(7, &shape.bytes).floats(5, &[1.0, 2.0]).bytes;
        let unpacked = Encoder::default().varint(1, 1).varint(4, 2).float(5, 3.0).float(5, 4.0).bytes;
        let doubles = Encoder::default().bytes(8, &5.0_f64.to_le_bytes()).bytes;
        let current = Encoder::default().bytes(1, b"new").bytes(7, &packed).bytes;
        let v1 = Encoder::default().bytes(4, b"v1").bytes(6, &unpacked).bytes;
        let v0 = Encoder::default().bytes(1, b"v0").bytes(50, &doubles).bytes;
        let v0 = Encoder::default().bytes(1, &v0).bytes;
        let net = Encoder::default().bytes(2, &v1).bytes(2, &v0).bytes(100, &current).bytes;
        let weights = parse(&net).unwrap();
        assert_eq!(weights.names(), ["new", "v0", "v1"]);
        assert_eq!(weights.layer("new").unwrap(), [Blob { shape: vec![2, 1], data: vec![1.0, 2.0] }]);
        assert_eq!(weights.layer("v1").unwrap(), [Blob { shape: vec![1, 0, 0, 2], data: vec![3.0, 4.0] }]);
        assert_eq!(weights.layer("v0").unwrap()[0].data, [5.0]);
        for end in 1..net.len() {
            if let Err(error) = parse(&net[..end]) {
                assert!(error.to_string().contains("net.caffemodel"), "{error}");
            }
        }
        assert!(parse(&net[..net.len() - 1]).is_err());
        assert!(weights.missing("conv1").to_string().contains("conv1"));
    }
}
