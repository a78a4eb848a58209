//! TensorFlow's checkpoints of version 2: an index of tensors, and their bytes in data files.
//!
//! `prefix.index` is a table from variables' names to where their bytes lie in `prefix.data-SSSSS-of-NNNNN`. What is
//! written keeps every variable that was not replaced, optimiser slots too.
//! Source: TensorFlow, core/util/tensor_bundle and core/protobuf/tensor_bundle.proto.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use secateur_base::files::{read_limited, write_atomic, write_bytes};
use secateur_base::limits::{MAX_RESULT_BYTES, MAX_TENSOR_BYTES};
use secateur_base::{Error, Result};

use crate::text_format::Document;
use crate::wire::{Action, Encoder, Message, rewrite};

use super::dtype::DataType;

pub use table::{Entry, repair_checksums, write as write_table};

/// Fields of BundleHeaderProto and BundleEntryProto.
mod number {
    pub(super) const HEADER_SHARDS: u32 = 1;
    pub(super) const HEADER_ENDIANNESS: u32 = 2;
    pub(super) const DTYPE: u32 = 1;
    pub(super) const SHAPE: u32 = 2;
    pub(super) const SHARD: u32 = 3;
    pub(super) const OFFSET: u32 = 4;
    pub(super) const SIZE: u32 = 5;
    pub(super) const CRC: u32 = 6;
    pub(super) const SLICES: u32 = 7;
}

/// An opened checkpoint: its index; tensors are read when they are asked for.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    prefix: PathBuf,
    shards: usize,
    header: Vec<u8>,
    variables: BTreeMap<String, Variable>,
    replaced: BTreeMap<String, Tensor>,
}

/// One variable of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub dtype: u64,
    pub shape: Vec<usize>,
    shard: usize,
    offset: u64,
    size: u64,
    crc: u32,
    is_partitioned: bool,
    /// The entry as it stands in the index.
    raw: Vec<u8>,
}

/// Values of a variable, little-endian, in rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    pub dtype: u64,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Checkpoint {
    /// Opens the checkpoint of this prefix (`model.ckpt`); the path of its `.index`, of its `.meta`, of a data file
    /// or of the `checkpoint` file beside it is as good.
    ///
    /// # Errors
    /// There is no index, it is damaged, or it is of version 1 or from a big-endian machine.
    pub fn open(path: &Path) -> Result<Self> {
        let prefix = prefix(path)?;
        let index = suffixed(&prefix, ".index");
        if !index.is_file() {
            return Err(missing_index(&prefix));
        }
        let bytes = read_limited(&index, MAX_RESULT_BYTES)?;
        Self::parse(&prefix, &bytes).map_err(|error| error.file(index))
    }

    /// Reads the bytes of an index; `prefix` leads to the data.
    pub fn parse(prefix: &Path, index: &[u8]) -> Result<Self> {
        let mut entries = table::read(index)?.into_iter();
        let Some((_, header)) = entries.next().filter(|(key, _)| key.is_empty()) else {
            return Err(Error::new("the checkpoint has no header").help("get its .index file again"));
        };
        let mut shards = 0;
        for field in Message(&header).fields() {
            let field = field?;
            match field.number {
                number::HEADER_SHARDS => shards = field.varint()?,
                number::HEADER_ENDIANNESS if field.varint()? != 0 => {
                    return Err(Error::new("the checkpoint was written by a big-endian machine")
                        .help("save it again on another machine"));
                }
                _ => {}
            }
        }
        let shards = usize::try_from(shards).ok().filter(|shards| (1..100_000).contains(shards));
        let shards = shards.ok_or_else(|| Error::new("the checkpoint has no valid number of data files"))?;
        let mut variables = BTreeMap::new();
        for (key, value) in entries {
            let name = String::from_utf8(key)
                .map_err(|_| Error::new("a variable's name is no text").help("get the checkpoint again"))?;
            let variable = Variable::parse(&value).map_err(|error| error.section(name.clone()))?;
            if variable.shard >= shards {
                return Err(Error::new(format!("the variable {name} lies in a data file that is not there"))
                    .found(variable.shard.to_string())
                    .allowed(format!("below {shards}")));
            }
            variables.insert(name, variable);
        }
        Ok(Self { prefix: prefix.to_owned(), shards, header, variables, replaced: BTreeMap::new() })
    }

    /// Its path without the endings.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Its variables by name.
    pub fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.variables
    }

    /// Reads a variable, its checksum checked.
    ///
    /// # Errors
    /// There is none of this name, it is partitioned, or its bytes are missing or damaged.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        if let Some(tensor) = self.replaced.get(name) {
            return Ok(tensor.clone());
        }
        let Some(variable) = self.variables.get(name) else {
            return Err(Error::new(format!("the checkpoint has no variable {name}"))
                .file(suffixed(&self.prefix, ".index"))
                .found(self.similar(name))
                .help("give the checkpoint that was saved with this graph"));
        };
        if variable.is_partitioned {
            return Err(Error::new(format!("the variable {name} is partitioned"))
                .file(suffixed(&self.prefix, ".index"))
                .help("save the checkpoint from a graph without a partitioner"));
        }
        let path = self.shard(variable.shard);
        let fail = |e: std::io::Error| Error::io("read", &path, &e);
        let mut file = File::open(&path).map_err(fail)?;
        let end = variable.offset.checked_add(variable.size);
        let length = file.metadata().map_err(fail)?.len();
        if end.is_none_or(|end| end > length) || variable.size > MAX_TENSOR_BYTES {
            return Err(Error::new(format!("the variable {name} lies behind the end of the data file"))
                .file(&path)
                .found(format!("{length} bytes"))
                .help("the data file is truncated, or of another checkpoint"));
        }
        file.seek(SeekFrom::Start(variable.offset)).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(variable.size).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 != variable.size || table::masked_crc(&[&bytes]) != variable.crc {
            return Err(Error::new(format!("the checksum of the variable {name} is wrong"))
                .file(&path)
                .help("the data file is damaged, or of another checkpoint"));
        }
        Ok(Tensor { dtype: variable.dtype, shape: variable.shape.clone(), bytes })
    }

    /// Gives a variable other values, and perhaps another shape, in what [`Checkpoint::write`] writes.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn replace(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        if !self.variables.contains_key(name) {
            return Err(Error::new(format!("the checkpoint has no variable {name}")));
        }
        self.replaced.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// Writes it under another prefix: byte for byte as it was where nothing was replaced, else with one data file.
    pub fn write(&self, prefix: &Path) -> Result<()> {
        if !self.replaced.is_empty() {
            return self.write_anew(prefix);
        }
        for shard in 0..self.shards {
            let from = self.shard(shard);
            let mut file = File::open(&from).map_err(|e| Error::io("read", &from, &e))?;
            write_atomic(&shard_path(prefix, shard, self.shards), |writer| {
                std::io::copy(&mut file, writer).map(drop)
            })?;
        }
        let from = suffixed(&self.prefix, ".index");
        write_bytes(&suffixed(prefix, ".index"), &read_limited(&from, MAX_RESULT_BYTES)?)
    }

    fn write_anew(&self, prefix: &Path) -> Result<()> {
        let header = rewrite(&self.header, |field| {
            Ok(match field.number {
                number::HEADER_SHARDS => Action::Fields(Encoder::default().varint(number::HEADER_SHARDS, 1)),
                _ => Action::Keep,
            })
        })?;
        let mut entries = vec![(Vec::new(), header.unwrap_or_else(|| self.header.clone()))];
        let mut offset = 0;
        let mut failure = None;
        let data = shard_path(prefix, 0, 1);
        let written = write_atomic(&data, |writer: &mut dyn Write| {
            for (name, variable) in &self.variables {
                let tensor = match self.read(name) {
                    Ok(tensor) => tensor,
                    Err(error) => {
                        failure = Some(error);
                        return Err(std::io::Error::other("the old checkpoint cannot be read"));
                    }
                };
                entries.push((name.clone().into_bytes(), variable.entry(&tensor, offset)));
                offset += tensor.bytes.len() as u64;
                writer.write_all(&tensor.bytes)?;
            }
            Ok(())
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        written?;
        write_bytes(&suffixed(prefix, ".index"), &table::write(&entries))
    }

    fn shard(&self, shard: usize) -> PathBuf {
        shard_path(&self.prefix, shard, self.shards)
    }

    /// Variables whose names end alike, for the message that one is missing.
    fn similar(&self, name: &str) -> String {
        let last = name.rsplit('/').next().unwrap_or(name);
        let names: Vec<&str> =
            self.variables.keys().filter(|key| key.ends_with(last)).take(3).map(String::as_str).collect();
        match names[..] {
            [] => format!("{} variables of other names", self.variables.len()),
            _ => format!("among others {}", names.join(", ")),
        }
    }
}

impl Variable {
    fn parse(entry: &[u8]) -> Result<Self> {
        let mut variable = Self {
            dtype: 0,
            shape: Vec::new(),
            shard: 0,
            offset: 0,
            size: 0,
            crc: 0,
            is_partitioned: false,
            raw: entry.to_vec(),
        };
        for field in Message(entry).fields() {
            let field = field?;
            match field.number {
                number::DTYPE => variable.dtype = field.varint()?,
                number::SHAPE => variable.shape = shape(field.message()?)?,
                number::SHARD => variable.shard = usize::try_from(field.varint()?).unwrap_or(usize::MAX),
                number::OFFSET => variable.offset = field.varint()?,
                number::SIZE => variable.size = field.varint()?,
                number::CRC => variable.crc = field.fixed32()?,
                number::SLICES => variable.is_partitioned = true,
                _ => {}
            }
        }
        let elements = variable.shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64));
        let bytes = DataType::of(variable.dtype).map(|dtype| dtype.size() as u64);
        if let (Some(bytes), false) = (bytes, variable.is_partitioned)
            && elements.and_then(|elements| elements.checked_mul(bytes)) != Some(variable.size)
        {
            return Err(Error::new("a variable's shape and size differ")
                .found(format!("{:?} in {} bytes", variable.shape, variable.size))
                .help("the checkpoint's index is damaged"));
        }
        Ok(variable)
    }

    /// The entry of this variable with these values at this offset of the only data file.
    fn entry(&self, tensor: &Tensor, offset: u64) -> Vec<u8> {
        let mut entry = Encoder::default().varint(number::DTYPE, tensor.dtype);
        let dims = tensor.shape.iter().fold(Encoder::default(), |dims, &dim| {
            // Proto3 leaves zeros out.
            let size = Encoder::default();
            dims.bytes(2, &if dim == 0 { size } else { size.varint(1, dim as u64) }.bytes)
        });
        entry = entry.bytes(number::SHAPE, &dims.bytes);
        if offset != 0 {
            entry = entry.varint(number::OFFSET, offset);
        }
        if !tensor.bytes.is_empty() {
            entry = entry.varint(number::SIZE, tensor.bytes.len() as u64);
        }
        let crc = table::masked_crc(&[&tensor.bytes]);
        let mut bytes = if crc == 0 { entry } else { entry.fixed32(number::CRC, crc) }.bytes;
        // What this program does not know stays with the variable.
        for field in Message(&self.raw).fields().map_while(Result::ok) {
            if field.number > number::SLICES {
                bytes.extend_from_slice(field.raw);
            }
        }
        bytes
    }
}

/// A TensorShapeProto of known dimensions.
fn shape(message: Message<'_>) -> Result<Vec<usize>> {
    let mut shape = Vec::new();
    for dim in message.all(2)? {
        let size = dim.message()?.last(1)?.map_or(Ok(0), |size| size.varint())?;
        let size = usize::try_from(size as i64).ok().filter(|size| u32::try_from(*size).is_ok());
        shape.push(size.ok_or_else(|| Error::new("a variable has no valid shape"))?);
    }
    Ok(shape)
}

fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

fn shard_path(prefix: &Path, shard: usize, shards: usize) -> PathBuf {
    suffixed(prefix, &format!(".data-{shard:05}-of-{shards:05}"))
}

/// The prefix that any file of a checkpoint stands for.
fn prefix(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_some_and(|name| name == "checkpoint") && path.is_file() {
        let state = Document::load(path)?;
        let Some(newest) = state.root().text("model_checkpoint_path")? else {
            return Err(state.root().error("the file names no checkpoint").allowed("model_checkpoint_path"));
        };
        return Ok(path.parent().unwrap_or(Path::new("")).join(newest));
    }
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    let end = text.rfind(".data-").or_else(|| text.rfind(".index")).or_else(|| text.rfind(".meta"));
    Ok(end.map_or(path, |end| Path::new(&text[..end])).to_owned())
}

fn missing_index(prefix: &Path) -> Error {
    let is_version_1 = prefix.is_file();
    let error = Error::new(match is_version_1 {
        true => "this is a checkpoint of version 1, or no checkpoint",
        false => "there is no such checkpoint",
    })
    .file(prefix)
    .allowed("a checkpoint of version 2: PREFIX.index beside PREFIX.data-00000-of-00001");
    match is_version_1 {
        true => error.help(
            "load it in TensorFlow and save it with tf.train.Saver(write_version=tf.train.SaverDef.V2)",
        ),
        false => error.help("give the prefix, as in model.ckpt"),
    }
}
