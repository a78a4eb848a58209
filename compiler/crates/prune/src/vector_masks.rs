//! Which vectors of the dense layers are kept, and the file that says so.

use std::path::Path;

use serde::{Deserialize, Serialize};

use secateur_base::{Error, Result, files};
use secateur_ir::{Columns, Graph, Op, Source, Weights};

/// A mask file beyond this size is not one.
const MAX_FILE_BYTES: u64 = 1 << 28;
const FORMAT: &str = "secateur vector masks";
const VERSION: u32 = 1;

/// Kept vectors of one input channel × `rows` output channels, layer by layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorMasks {
    format: String,
    version: u32,
    /// Output channels of a vector; a layer's last block may have fewer.
    rows: usize,
    layers: Vec<LayerMask>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerMask {
    layer: usize,
    inputs: usize,
    /// Ascending input channels that stay, for each block of output channels.
    kept: Vec<Vec<usize>>,
}

/// Whether vectors of `layer` can go: convolutions of one group and connected layers take part,
/// except those that read the picture.
pub(super) fn takes_part(graph: &Graph, layer: usize) -> bool {
    let node = &graph.nodes[layer];
    let dense = match &node.op {
        Op::Conv(conv) => conv.groups == 1,
        Op::Connected(_) => true,
        _ => false,
    };
    dense && node.inputs[0] != Source::Image
}

impl VectorMasks {
    /// No layer masked yet.
    pub fn new(rows: usize) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, rows, layers: Vec::new() }
    }

    /// Sets which vectors of `layer` stay: `kept[block · inputs + input]`.
    pub fn set(&mut self, layer: usize, inputs: usize, kept: &[bool]) {
        let of_block = |kept: &[bool]| (0..inputs).filter(|&input| kept[input]).collect();
        self.layers.push(LayerMask {
            layer,
            inputs,
            kept: kept.chunks_exact(inputs).map(of_block).collect(),
        });
    }

    /// Number of vectors that stay, and of all.
    pub fn kept(&self) -> (usize, usize) {
        let kept = self.layers.iter().flat_map(|layer| &layer.kept).map(Vec::len).sum();
        (kept, self.layers.iter().map(|layer| layer.inputs * layer.kept.len()).sum())
    }

    /// Zeroes every weight of the vectors that go; shapes stay.
    pub fn apply(&self, graph: &Graph, weights: &mut Weights) {
        for LayerMask { layer, inputs, kept } in &self.layers {
            let columns = Columns::of(graph, *layer);
            let outputs = graph.nodes[*layer].shape.c;
            for (block, kept) in kept.iter().enumerate() {
                for input in (0..*inputs).filter(|input| kept.binary_search(input).is_err()) {
                    for output in block * self.rows..outputs.min((block + 1) * self.rows) {
                        weights.layers[*layer].weights[columns.range(output, input)].fill(0.0);
                    }
                }
            }
        }
    }

    /// Whether a mask file speaks of vectors rather than of channels.
    ///
    /// # Errors
    /// A file that cannot be read, or is no JSON object.
    pub fn is_one(path: &Path) -> Result<bool> {
        #[derive(Deserialize)]
        struct Peek {
            format: String,
        }
        let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
        Ok(serde_json::from_slice::<Peek>(&bytes).map_err(|e| unreadable(path, &e))?.format == FORMAT)
    }

    /// Reads masks that belong to this network.
    ///
    /// # Errors
    /// If the file is not a vector mask file, or was made for another network.
    pub fn load(graph: &Graph, path: &Path) -> Result<Self> {
        let bytes = files::read_limited(path, MAX_FILE_BYTES)?;
        let masks: Self = serde_json::from_slice(&bytes).map_err(|e| unreadable(path, &e))?;
        let wrong =
            |what: &str| Error::new(what).file(path).help("make the masks anew with `secateur prune`");
        if masks.format != FORMAT || masks.version != VERSION || masks.rows == 0 {
            return Err(wrong("not a vector mask file of this version")
                .found(format!("{} {}, {} rows", masks.format, masks.version, masks.rows))
                .allowed(format!("{FORMAT} {VERSION}")));
        }
        for LayerMask { layer, inputs, kept } in &masks.layers {
            if *layer >= graph.nodes.len() || !takes_part(graph, *layer) {
                return Err(wrong("the masks are of another network")
                    .layer(*layer)
                    .found("vectors of this layer")
                    .allowed("dense layers behind the first"));
            }
            let shape = (graph.input_shape(*layer).c, graph.nodes[*layer].shape.c.div_ceil(masks.rows));
            if (*inputs, kept.len()) != shape {
                return Err(wrong("the masks are of another network")
                    .layer(*layer)
                    .found(format!("{inputs} inputs, {} blocks", kept.len()))
                    .allowed(format!("{} inputs, {} blocks", shape.0, shape.1)));
            }
            let fits = |kept: &Vec<usize>| {
                kept.is_sorted_by(|a, b| a < b) && kept.last().is_none_or(|last| last < inputs)
            };
            if let Some((block, kept)) = kept.iter().enumerate().find(|(_, kept)| !fits(kept)) {
                return Err(wrong("the kept vectors of a block are wrong")
                    .layer(*layer)
                    .found(format!("block {block}: {kept:?}"))
                    .allowed(format!("ascending numbers below {inputs}")));
            }
        }
        Ok(masks)
    }

    /// Writes the masks as JSON.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_atomic(path, |w| {
            serde_json::to_writer(&mut *w, self)?;
            writeln!(w)
        })
    }
}

fn unreadable(path: &Path, e: &serde_json::Error) -> Error {
    Error::new(format!("not a mask file: {e}")).file(path).line(e.line()).column(e.column())
}
