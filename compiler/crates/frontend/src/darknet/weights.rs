//! The `.weights` file: a header of 16 or 20 bytes, then every layer's floats, little-endian, nothing else.
//!
//! Source: AlexeyAB's `load_weights_upto` and `save_weights_upto`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use secateur_base::limits::MAX_TENSOR_BYTES;
use secateur_base::{Error, Result, kind};
use secateur_ir::{BatchNorm, Graph, LayerWeights, Op, Weights, parameter_counts};

/// Before version 0.2 `seen` had 32 bits.
const SHORT_HEADER: usize = 16;
const LONG_HEADER: usize = 20;
/// Bytes read at a time.
const PIECE: usize = 1 << 16;

/// Header of a Darknet `.weights` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsHeader {
    pub major: i32,
    pub minor: i32,
    pub revision: i32,
    /// Images seen in training; 64 bits on disk from version 0.2 on, 32 before.
    pub seen: u64,
}

impl Default for WeightsHeader {
    /// The version that AlexeyAB's Darknet writes, of a network that has seen no image.
    fn default() -> Self {
        Self { major: 0, minor: 2, revision: 5, seen: 0 }
    }
}

impl WeightsHeader {
    /// Bytes on disk.
    fn size(self) -> usize {
        if i64::from(self.major) * 10 + i64::from(self.minor) >= 2 { LONG_HEADER } else { SHORT_HEADER }
    }

    /// Connected layers are stored as `[in][out]`.
    fn is_transposed(self) -> bool {
        self.major > 1000 || self.minor > 1000
    }
}

/// How much of a network a file has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// The whole network, or the first so many of its layers.
    Body,
}

/// Reads a file. It is read, not mapped: one that another process cuts meanwhile is an error, no fault. The weights of
/// a body have as many layers as the file.
pub(super) fn load(graph: &Graph, path: &Path, extent: Extent) -> Result<(WeightsHeader, Weights)> {
    let fail = |e: std::io::Error| Error::io("read", path, &e);
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    // Devices and pipes do not know their length.
    let length = metadata.is_file().then_some(metadata.len());
    read(graph, path, length, extent, file)
}

/// Bytes of a whole `.weights` file of this network.
pub fn file_size(graph: &Graph, header: WeightsHeader) -> usize {
    ends(graph, header).last().unwrap_or(header.size())
}

/// Offset of every layer's end in the file.
fn ends(graph: &Graph, header: WeightsHeader) -> impl Iterator<Item = usize> {
    (0..graph.nodes.len()).scan(header.size(), move |end, layer| {
        *end = end.saturating_add(layer_size(graph, layer));
        Some(*end)
    })
}

/// Layers of a file of `length` bytes that ends with a layer; those without weights that follow it count. `None` where
/// it ends within a layer or before the first weights, or goes on after the last layer.
fn layers_held(graph: &Graph, header: WeightsHeader, length: u64) -> Option<usize> {
    let held = ends(graph, header).take_while(|&end| end as u64 <= length).enumerate().last();
    let (last, end) = held?;
    let holds_some = end > header.size() || last + 1 == graph.nodes.len();
    (end as u64 == length && holds_some).then_some(last + 1)
}

/// Bytes of one layer.
fn layer_size(graph: &Graph, layer: usize) -> usize {
    let counts = parameter_counts(&graph.nodes[layer].op, &graph.input_shapes(layer));
    let per_output = if counts.batch_norm { 4 } else { 1 };
    counts.bias.saturating_mul(per_output).saturating_add(counts.weights).saturating_mul(4)
}

/// Reads the bytes of a `.weights` file; `path` is for messages only.
///
/// # Errors
/// Too few or too many bytes for the network, with the layer at which the file ends; a file of another kind.
pub fn read_weights(graph: &Graph, path: &Path, bytes: &[u8]) -> Result<(WeightsHeader, Weights)> {
    read(graph, path, Some(bytes.len() as u64), Extent::Whole, bytes)
}

/// Reads weights of a file of `length` bytes, where that is known.
///
/// Memory is taken for what the length vouches for, else for what has come; never for what a cfg claims.
fn read(
    graph: &Graph,
    path: &Path,
    length: Option<u64>,
    extent: Extent,
    mut input: impl Read,
) -> Result<(WeightsHeader, Weights)> {
    let mut start = Vec::new();
    let fail = |e: std::io::Error| Error::io("read", path, &e);
    (&mut input).take(kind::START_BYTES as u64).read_to_end(&mut start).map_err(fail)?;
    kind::check(path, &start, kind::DARKNET_WEIGHTS)?;
    let header = read_header(&start).ok_or_else(|| {
        Error::new("file ends within its header")
            .file(path)
            .found(format!("{} bytes", start.len()))
            .allowed(format!("at least {SHORT_HEADER} bytes"))
            .help("the file is cut, or is no .weights file: get it again")
    })?;
    let all = graph.nodes.len();
    let wanted = file_size(graph, header);
    let held = match length {
        Some(length) => layers_held(graph, header, length)
            .filter(|&held| held == all || extent == Extent::Body)
            .ok_or_else(|| wrong_length(graph, header, path, length))?,
        None if wanted as u64 > MAX_TENSOR_BYTES => {
            return Err(Error::new("too many weights for a device or pipe")
                .file(path)
                .found(format!("a cfg that needs {wanted} bytes"))
                .allowed(format!("at most {MAX_TENSOR_BYTES} bytes, or a regular file")));
        }
        None => all,
    };
    let reader = start[header.size()..].chain(input);
    let mut input = Input { reader, done: header.size() as u64, graph, header, path, length };
    let mut layers = Vec::with_capacity(held);
    for (layer, node) in graph.nodes[..held].iter().enumerate() {
        let counts = parameter_counts(&node.op, &graph.input_shapes(layer));
        let mut floats = |count| input.floats(count);
        let mut weights = LayerWeights { bias: floats(counts.bias)?, ..LayerWeights::default() };
        if let Op::Connected(connected) = &node.op {
            weights.weights = floats(counts.weights)?;
            if header.is_transposed() {
                weights.weights = transposed(&weights.weights, connected.outputs);
            }
        }
        if counts.batch_norm {
            weights.batch_norm = Some(BatchNorm {
                scale: floats(counts.bias)?,
                mean: floats(counts.bias)?,
                variance: floats(counts.bias)?,
            });
        }
        if !matches!(node.op, Op::Connected(_)) {
            weights.weights = floats(counts.weights)?;
        }
        warn_of_nonsense(&weights, layer, path);
        layers.push(weights);
    }
    input.end()?;
    Ok((header, Weights { layers }))
}

/// A `.weights` file on its way in.
struct Input<'a, R> {
    reader: R,
    /// Bytes that were read.
    done: u64,
    graph: &'a Graph,
    header: WeightsHeader,
    path: &'a Path,
    length: Option<u64>,
}

impl<R: Read> Input<'_, R> {
    fn floats(&mut self, count: usize) -> Result<Vec<f32>> {
        let mut numbers = Vec::with_capacity(if self.length.is_some() { count } else { 0 });
        let mut piece = Vec::with_capacity(PIECE.min(4 * count));
        while numbers.len() < count {
            let wanted = (4 * (count - numbers.len())).min(PIECE);
            piece.clear();
            let read = (&mut self.reader).take(wanted as u64).read_to_end(&mut piece);
            self.done += read.map_err(|e| Error::io("read", self.path, &e))? as u64;
            if piece.len() < wanted {
                return Err(self.too_short());
            }
            let (words, _) = piece.as_chunks::<4>();
            numbers.extend(words.iter().map(|&word| f32::from_le_bytes(word)));
        }
        Ok(numbers)
    }

    fn too_short(&self) -> Error {
        match self.length {
            Some(length) => Error::new("file became shorter while it was read")
                .file(self.path)
                .found(format!("{} bytes", self.done))
                .allowed(format!("{length} bytes, as before"))
                .help("wait until the program that writes the file is done"),
            None => wrong_length(self.graph, self.header, self.path, self.done),
        }
    }

    /// Nothing may follow the last layer.
    fn end(mut self) -> Result<()> {
        let mut rest = Vec::new();
        let read = (&mut self.reader).take(1).read_to_end(&mut rest);
        match (read.map_err(|e| Error::io("read", self.path, &e))?, self.length) {
            (0, _) => Ok(()),
            (_, Some(_)) => Err(Error::new("file became longer while it was read")
                .file(self.path)
                .help("wait until the program that writes the file is done")),
            (_, None) => Err(Error::new("file continues after the last layer")
                .file(self.path)
                .found(format!("more than {} bytes", self.done))
                .allowed(format!("{} bytes for this cfg", self.done))),
        }
    }
}

fn read_header(bytes: &[u8]) -> Option<WeightsHeader> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let mut header = WeightsHeader {
        major: word(0)? as i32,
        minor: word(4)? as i32,
        revision: word(8)? as i32,
        seen: u64::from(word(12)?),
    };
    if header.size() == LONG_HEADER {
        header.seen |= u64::from(word(16)?) << 32;
    }
    Some(header)
}

fn wrong_length(graph: &Graph, header: WeightsHeader, path: &Path, length: u64) -> Error {
    let wanted = file_size(graph, header) as u64;
    let error = if length > wanted {
        Error::new(format!("file continues after the last layer, by {} bytes", length - wanted))
    } else {
        let layer = ends(graph, header).position(|end| end as u64 > length).unwrap_or_default();
        let node = &graph.nodes[layer];
        let line = node.origin.line.map(|line| format!(" (line {line} of the cfg)")).unwrap_or_default();
        Error::new(format!(
            "file ends within this layer{line}, {} bytes before the network's end",
            wanted - length
        ))
        .layer(layer)
        .section(node.op.name())
    };
    let WeightsHeader { major, minor, revision, .. } = header;
    let bits = 8 * (header.size() - 12);
    let help = match (bits, length.wrapping_sub(wanted) as i64) {
        (32, 4) => format!(
            "the 4 bytes are the width of `seen`: version {major}.{minor} counts images in 32 bits, this header in \
             64, as PyTorch-YOLOv3 writes it; make the version 0.2 by changing the file's byte at offset 4 to 2"
        ),
        (64, -4) => format!(
            "if the file is whole, the 4 bytes are the width of `seen`: version {major}.{minor} counts images in 64 \
             bits, this header in 32, as Darknet on 32-bit machines writes it; make the version 0.1 by changing the \
             file's byte at offset 4 to 1"
        ),
        _ => match layers_held(graph, header, length) {
            Some(held) => format!(
                "the file ends with layer {}, as a body that `partial` writes: only `train` takes one",
                held - 1
            ),
            None => {
                "the file is damaged or belongs to another cfg: compare filters, classes and batch_normalize"
                    .to_owned()
            }
        },
    };
    error
        .file(path)
        .found(format!("{length} bytes"))
        .allowed(format!(
            "{wanted} bytes for this cfg (header {major}.{minor}.{revision}, `seen` of {bits} bits)"
        ))
        .help(help)
}

/// `[rows][columns]` of `matrix` becomes `[columns][rows]`.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

fn warn_of_nonsense(weights: &LayerWeights, layer: usize, path: &Path) {
    let normal = weights.batch_norm.as_ref().map_or(&[][..], |norm| &norm.variance);
    let numbers = weights.bias.iter().chain(&weights.weights).chain(normal);
    if numbers.clone().any(|number| !number.is_finite()) || normal.iter().any(|&variance| variance < 0.0) {
        tracing::warn!(
            "{}: layer {layer} has numbers that are not finite or variances below 0",
            path.display()
        );
    }
}

/// The bytes of a `.weights` file; byte-identical for numbers that [`read_weights`] gave. Of a body they are those of
/// its layers.
///
/// # Panics
/// If `weights` does not belong to `graph`.
pub fn write_weights(graph: &Graph, header: WeightsHeader, weights: &Weights) -> Vec<u8> {
    assert!(weights.layers.len() <= graph.nodes.len(), "weights of another network");
    let mut out = Vec::with_capacity(file_size(graph, header));
    for word in [header.major, header.minor, header.revision] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&header.seen.to_le_bytes()[..header.size() - 12]);
    let mut put = |numbers: &[f32]| out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    for (node, layer) in graph.nodes.iter().zip(&weights.layers) {
        put(&layer.bias);
        if let Op::Connected(connected) = &node.op {
            if header.is_transposed() {
                put(&transposed(&layer.weights, layer.weights.len() / connected.outputs));
            } else {
                put(&layer.weights);
            }
        }
        if let Some(norm) = &layer.batch_norm {
            put(&norm.scale);
            put(&norm.mean);
            put(&norm.variance);
        }
        if !matches!(node.op, Op::Connected(_)) {
            put(&layer.weights);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::darknet::{Cfg, build_graph};

    const CFG: &str = "[net]\nwidth=8\nheight=8\nchannels=3\n\n[convolutional]\nbatch_normalize=1\nfilters=64\n\
        size=3\npad=1\nactivation=leaky\n\n[convolutional]\nfilters=64\nsize=3\npad=1\nactivation=linear\n";

    fn graph() -> Graph {
        build_graph(&Cfg::parse(Path::new("net.cfg"), CFG.as_bytes()).unwrap()).unwrap()
    }

    fn file(graph: &Graph, version: [u32; 2], seen_bytes: usize, floats: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [version[0], version[1], 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(12 + seen_bytes, 0);
        let size = file_size(graph, WeightsHeader::default()) - LONG_HEADER;
        bytes.resize(bytes.len() + size + 4 * floats, 1);
        bytes
    }

    #[test]
    fn a_header_of_another_width_is_named() {
        let graph = graph();
        let error = |bytes: &[u8]| format!("{:?}", read_weights(&graph, Path::new("x"), bytes).unwrap_err());
        let long = error(&file(&graph, [0, 0], 8, 0));
        assert!(long.contains("width of `seen`") && long.contains("offset 4 to 2"), "{long}");
        let short = error(&file(&graph, [0, 2], 4, 0));
        assert!(short.contains("width of `seen`") && short.contains("offset 4 to 1"), "{short}");
        let other = error(&file(&graph, [0, 2], 8, 1));
        assert!(other.contains("belongs to another cfg"), "{other}");
        // What the help says helps.
        let mut bytes = file(&graph, [0, 0], 8, 0);
        bytes[4] = 2;
        read_weights(&graph, Path::new("x"), &bytes).unwrap();
        let mut bytes = file(&graph, [0, 2], 4, 0);
        bytes[4] = 1;
        read_weights(&graph, Path::new("x"), &bytes).unwrap();
    }

    #[test]
    fn pages_pointers_and_archives_are_named() {
        for (bytes, says) in [
            (&b"<!DOCTYPE html><title>Google Drive</title>"[..], "HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
            (b"PK\x03\x04archive/data.pkl", "PyTorch checkpoint"),
            (CFG.as_bytes(), "a Darknet cfg"),
        ] {
            let error = read_weights(&graph(), Path::new("x"), bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    /// Ends early, as a file that another process cuts.
    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let graph = graph();
        let bytes = file(&graph, [0, 2], 8, 0);
        let (path, length) = (Path::new("x"), Some(bytes.len() as u64));
        for end in [20, 512, 600, bytes.len() - 1] {
            let error = read(&graph, path, length, Extent::Whole, &bytes[..end]).unwrap_err().to_string();
            assert!(error.contains("became shorter") && error.contains(&format!("{end} bytes")), "{error}");
        }
        let longer = [&bytes[..], b"x"].concat();
        let error = read(&graph, path, length, Extent::Whole, &longer[..]).unwrap_err().to_string();
        assert!(error.contains("became longer"), "{error}");
    }

    /// A file that ends with a layer is a body; one that ends anywhere else names the layer that it ends in.
    #[test]
    fn a_body_ends_with_a_layer() {
        let pooled = CFG.replacen("\n\n[conv", "\n\n[maxpool]\nsize=2\nstride=2\n\n[conv", 2);
        let graph = build_graph(&Cfg::parse(Path::new("net.cfg"), pooled.as_bytes()).unwrap()).unwrap();
        let bytes = file(&graph, [0, 2], 8, 0);
        let body =
            |length: usize| read(&graph, Path::new("x"), Some(length as u64), Extent::Body, &bytes[..length]);
        let ends: Vec<usize> = ends(&graph, WeightsHeader::default()).collect();
        assert_eq!(ends.len(), 4, "pool, convolution, pool, convolution");
        let (_, whole) = body(bytes.len()).unwrap();
        let (header, held) = body(ends[1]).unwrap();
        assert_eq!(held.layers, whole.layers[..3], "the second pool has no weights");
        assert_eq!(write_weights(&graph, header, &held), bytes[..ends[1]]);
        for (length, layer) in [(LONG_HEADER, 1), (ends[1] - 4, 1), (ends[1] + 4, 3), (ends[3] - 4, 3)] {
            assert_eq!(body(length).unwrap_err().at_layer(), Some(layer), "{length} bytes");
        }
        let strict = read_weights(&graph, Path::new("x"), &bytes[..ends[1]]).unwrap_err();
        assert_eq!(strict.at_layer(), Some(3));
        assert!(format!("{strict:?}").contains("ends with layer 2"), "{strict:?}");
    }

    /// The real thing: one thread cuts and restores a file that another reads.
    #[test]
    fn a_file_cut_while_it_is_read_does_no_harm() {
        let graph = graph();
        let bytes = file(&graph, [0, 2], 8, 0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.weights");
        std::fs::write(&path, &bytes).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
                    std::fs::write(&path, &bytes).unwrap();
                }
            });
            for _ in 0..300 {
                if let Ok((_, weights)) = load(&graph, &path, Extent::Whole) {
                    assert_eq!(weights.layers.len(), 2);
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        load(&graph, &path, Extent::Whole).unwrap();
    }

    /// A device that never ends gives no more than the network takes; a claim alone takes no memory.
    #[test]
    fn endless_input_is_refused() {
        let graph = graph();
        let error =
            read(&graph, Path::new("x"), None, Extent::Whole, std::io::repeat(0)).unwrap_err().to_string();
        assert!(error.contains("continues after the last layer"), "{error}");
        let huge = format!("{CFG}\n[convolutional]\nfilters=64\nsize=3\npad=1\n").replace("=64", "=5000");
        let huge = build_graph(&Cfg::parse(Path::new("net.cfg"), huge.as_bytes()).unwrap()).unwrap();
        let error =
            read(&huge, Path::new("x"), None, Extent::Whole, std::io::repeat(0)).unwrap_err().to_string();
        assert!(error.contains("too many weights for a device"), "{error}");
        let cut = read(&graph, Path::new("x"), None, Extent::Whole, &file(&graph, [0, 2], 8, 0)[..1000])
            .unwrap_err();
        assert!(cut.to_string().contains("ends within this layer"), "{cut}");
    }
}
