//! The `.weights` file: a header of 16 or 20 bytes, then every layer's floats, little-endian, nothing else.
//!
//! Source: AlexeyAB's `load_weights_upto` and `save_weights_upto`.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use secateur_base::{Error, Result};
use secateur_ir::{BatchNorm, Graph, LayerWeights, Op, Weights, parameter_counts};

/// Before version 0.2 `seen` had 32 bits.
const SHORT_HEADER: usize = 16;
const LONG_HEADER: usize = 20;

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

    /// Connected layers stand as `[in][out]`.
    fn is_transposed(self) -> bool {
        self.major > 1000 || self.minor > 1000
    }
}

/// Maps and reads a file.
pub(super) fn load(graph: &Graph, path: &Path) -> Result<(WeightsHeader, Weights)> {
    let fail = |e: std::io::Error| Error::io("read", path, &e);
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() == 0 {
        return read_weights(graph, path, &[]);
    }
    // SAFETY: the map is read once, here; a file that another process cuts meanwhile ends this process
    // with a bus error, as it would any reader of mapped files.
    let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
    read_weights(graph, path, &map)
}

/// Bytes of a whole `.weights` file of this network.
pub fn file_size(graph: &Graph, header: WeightsHeader) -> usize {
    (0..graph.nodes.len()).fold(header.size(), |size, layer| size.saturating_add(layer_size(graph, layer)))
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
/// Too few or too many bytes for the network, with the layer at which the file ends. Nothing is
/// allocated before the length is known to be right.
pub fn read_weights(graph: &Graph, path: &Path, bytes: &[u8]) -> Result<(WeightsHeader, Weights)> {
    let (header, mut rest) = read_header(bytes).ok_or_else(|| {
        Error::new("file ends within its header")
            .file(path)
            .found(format!("{} bytes", bytes.len()))
            .allowed(format!("at least {SHORT_HEADER} bytes"))
            .help("the file is cut, or is no .weights file: get it again")
    })?;
    check_length(graph, header, path, bytes.len())?;
    let mut layers = Vec::with_capacity(graph.nodes.len());
    for (layer, node) in graph.nodes.iter().enumerate() {
        let counts = parameter_counts(&node.op, &graph.input_shapes(layer));
        let mut weights = LayerWeights { bias: take(&mut rest, counts.bias), ..LayerWeights::default() };
        if let Op::Connected(connected) = &node.op {
            weights.weights = take(&mut rest, counts.weights);
            if header.is_transposed() {
                weights.weights = transposed(&weights.weights, connected.outputs);
            }
        }
        if counts.batch_norm {
            weights.batch_norm = Some(BatchNorm {
                scale: take(&mut rest, counts.bias),
                mean: take(&mut rest, counts.bias),
                variance: take(&mut rest, counts.bias),
            });
        }
        if !matches!(node.op, Op::Connected(_)) {
            weights.weights = take(&mut rest, counts.weights);
        }
        warn_of_nonsense(&weights, layer, path);
        layers.push(weights);
    }
    Ok((header, Weights { layers }))
}

fn read_header(bytes: &[u8]) -> Option<(WeightsHeader, &[u8])> {
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
    Some((header, &bytes[header.size()..]))
}

fn check_length(graph: &Graph, header: WeightsHeader, path: &Path, length: usize) -> Result<()> {
    let wanted = file_size(graph, header);
    if length == wanted {
        return Ok(());
    }
    let error = if length > wanted {
        Error::new(format!("file goes on behind the last layer, by {} bytes", length - wanted))
    } else {
        let mut end = header.size();
        let layer = (0..graph.nodes.len()).find(|&layer| {
            end = end.saturating_add(layer_size(graph, layer));
            end > length
        });
        let layer = layer.unwrap_or_default();
        let node = &graph.nodes[layer];
        let line = node.origin.line.map(|line| format!(" (line {line} of the cfg)")).unwrap_or_default();
        Error::new(format!(
            "file ends within this layer{line}, {} bytes before the network's end",
            wanted - length
        ))
        .layer(layer)
        .section(node.op.name())
    };
    Err(error
        .file(path)
        .found(format!("{length} bytes"))
        .allowed(format!(
            "{wanted} bytes for this cfg (header {}.{}.{})",
            header.major, header.minor, header.revision
        ))
        .help("the file is damaged or belongs to another cfg: compare filters, classes and batch_normalize"))
}

/// Cuts `count` floats off the front; the length was checked before.
fn take(rest: &mut &[u8], count: usize) -> Vec<f32> {
    let (front, back) = rest.split_at(4 * count);
    *rest = back;
    let (words, _) = front.as_chunks::<4>();
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
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

/// The bytes of a `.weights` file; byte-identical for numbers that [`read_weights`] gave.
///
/// # Panics
/// If `weights` does not belong to `graph`.
pub fn write_weights(graph: &Graph, header: WeightsHeader, weights: &Weights) -> Vec<u8> {
    assert_eq!(graph.nodes.len(), weights.layers.len(), "weights of another network");
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
