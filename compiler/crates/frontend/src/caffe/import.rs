//! From a net and its weights to a tensor graph: every write of a blob is a value of its own, so layers that work in
//! place need no care behind this file.

use std::collections::{HashMap, HashSet};

use secateur_base::Result;

use secateur_ir::Origin;
use secateur_tensor::{Builder, Graph, Op, Place, Value};

use super::net::{Layer, Net, State};
use super::weights::{Blob, Weights};
use super::{layers, spatial, ssd};

/// The values of a layer's tops.
pub(super) type Many = Vec<Value>;

/// How a net is read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub state: State,
    /// Shapes of inputs by blob, where the prototxt has none or another is wanted.
    pub input_shapes: HashMap<String, Vec<usize>>,
    /// An explicit `use_global_stats: false` normalises by the statistics of the batch, as BVLC's Caffe does; else
    /// the stored ones are used, as NVIDIA's and Xilinx's do.
    pub batch_statistics: bool,
}

/// A net as a tensor graph.
#[derive(Debug, Clone)]
pub struct Imported {
    pub graph: Graph,
    /// What each layer wrote, in order of execution: layer, blob, value.
    pub written: Vec<(String, String, Value)>,
    /// What a user should know: layers left out, statistics taken as stored.
    pub warnings: Vec<String>,
}

/// Translates a net; without weights only nets without layers that have some.
///
/// The graph's outputs are the blobs that no layer reads, as in Caffe.
///
/// # Errors
/// Names file, line and layer of what cannot be translated: unknown types, missing or other weights, blobs that
/// nothing writes.
pub fn import(net: &Net<'_>, weights: Option<&Weights>, options: &Options) -> Result<Imported> {
    let mut importer = Importer {
        graph: Builder::new(),
        options,
        weights,
        blobs: HashMap::new(),
        written: Vec::new(),
        warnings: Vec::new(),
    };
    let needed = needed(net);
    let mut unread: Vec<String> = Vec::new();
    for (layer, needed) in net.layers.iter().zip(needed) {
        if !needed {
            importer
                .warnings
                .push(format!("{} {} is left out: it is for training or measuring", layer.kind, layer.name));
            continue;
        }
        let mut bottoms = Vec::new();
        for bottom in &layer.bottoms {
            let value = importer.blobs.get(bottom).copied().ok_or_else(|| {
                layer.error("no layer before this one writes its bottom").found(bottom.clone())
            })?;
            bottoms.push(value);
            unread.retain(|blob| blob != bottom);
        }
        let tops = importer.layer(layer, &bottoms)?;
        for (top, value) in layer.tops.iter().zip(tops) {
            importer.blobs.insert(top.clone(), value);
            importer.written.push((layer.name.clone(), top.clone(), value));
            unread.retain(|blob| blob != top);
            unread.push(top.clone());
        }
    }
    if let Some(weights) = weights {
        let known: HashSet<&str> = net.layers.iter().map(|layer| layer.name.as_str()).collect();
        let unknown: Vec<&str> = weights.names().into_iter().filter(|name| !known.contains(name)).collect();
        if !unknown.is_empty() {
            let shown = unknown.iter().take(3).copied().collect::<Vec<_>>().join(", ");
            importer
                .warnings
                .push(format!("{} layers of the caffemodel are not in the net: {shown}", unknown.len()));
        }
    }
    for blob in &unread {
        let value = importer.blobs[blob];
        importer.graph.output(blob, value);
    }
    Ok(Imported { graph: importer.graph.finish(), written: importer.written, warnings: importer.warnings })
}

/// Types that only compute losses and metrics.
fn is_measure(kind: &str) -> bool {
    kind.ends_with("Loss")
        || matches!(kind, "SoftmaxWithLoss" | "Accuracy" | "DetectionEvaluate" | "Silence" | "HDF5Output")
}

/// Which layers compute the network: not losses, metrics, and what only they read.
fn needed(net: &Net<'_>) -> Vec<bool> {
    let mut needed: Vec<bool> = net.layers.iter().map(|layer| !is_measure(&layer.kind)).collect();
    // A layer without bottoms whose tops only measures read, a constant label for example, goes with them.
    for at in (0..net.layers.len()).rev() {
        let layer = &net.layers[at];
        let mut readers = net
            .layers
            .iter()
            .enumerate()
            .skip(at + 1)
            .filter(|(_, reader)| reader.bottoms.iter().any(|bottom| layer.tops.contains(bottom)))
            .peekable();
        if needed[at] && layer.bottoms.is_empty() && readers.peek().is_some() {
            needed[at] = readers.any(|(reader, _)| needed[reader]);
        }
    }
    needed
}

/// A graph under construction.
pub(super) struct Importer<'a> {
    pub(super) graph: Builder,
    pub(super) options: &'a Options,
    weights: Option<&'a Weights>,
    /// Blob → what it holds now.
    blobs: HashMap<String, Value>,
    written: Vec<(String, String, Value)>,
    pub(super) warnings: Vec<String>,
}

impl Importer<'_> {
    fn layer(&mut self, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Many> {
        match layer.kind.as_str() {
            "Input" | "Data" | "ImageData" | "MemoryData" | "HDF5Data" | "WindowData" | "DummyData"
            | "AnnotatedData" => layers::input(self, layer),
            "Convolution"
            | "Deconvolution"
            | "DepthwiseConvolution"
            | "ConvolutionDepthwise"
            | "DepthwiseConv" => spatial::convolution(self, layer, bottoms),
            "Pooling" => spatial::pooling(self, layer, bottoms),
            "PriorBox" => ssd::prior_box(self, layer, bottoms),
            "DetectionOutput" => ssd::detection_output(self, layer, bottoms),
            "Normalize" => ssd::normalize(self, layer, bottoms),
            _ => layers::layer(self, layer, bottoms),
        }
    }

    /// Adds an operation with one result.
    pub(super) fn op(&mut self, layer: &Layer<'_>, op: impl Into<Op>, operands: &[Value]) -> Result<Value> {
        let place = Place { name: layer.name.clone(), kind: layer.kind.clone(), origin: Origin::default() };
        self.graph
            .node(&place, op.into(), operands)
            .map_err(|error| layer.error(error.what().to_owned()).found(error.to_string()))
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: Value) -> Vec<usize> {
        self.graph.shape(value).to_vec()
    }

    /// The shape of a value that has to have four dimensions.
    pub(super) fn nchw(&self, layer: &Layer<'_>, value: Value) -> Result<[usize; 4]> {
        let shape = self.shape(value);
        <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| {
            layer
                .error("the layer needs a blob of four dimensions")
                .found(format!("{shape:?}"))
                .allowed("N, C, H, W")
        })
    }

    /// The only bottom.
    pub(super) fn one(&self, layer: &Layer<'_>, bottoms: &[Value]) -> Result<Value> {
        match bottoms {
            [bottom] => Ok(*bottom),
            _ => Err(layer
                .error("the layer has another number of bottoms")
                .found(bottoms.len().to_string())
                .allowed("1")),
        }
    }

    /// Every blob of a layer.
    pub(super) fn blobs(&self, layer: &Layer<'_>) -> Result<&[Blob]> {
        let Some(weights) = self.weights else {
            return Err(layer
                .error("the layer has weights, and no caffemodel is given")
                .help("give the .caffemodel too"));
        };
        weights.layer(&layer.name).ok_or_else(|| weights.missing(&layer.name))
    }

    /// The values of a blob, which has to have as many as `shape` says.
    pub(super) fn blob(&self, layer: &Layer<'_>, index: usize, shape: &[usize]) -> Result<Vec<f32>> {
        let blobs = self.blobs(layer)?;
        let count: usize = shape.iter().product();
        match blobs.get(index) {
            Some(blob) if blob.data.len() == count => Ok(blob.data.clone()),
            Some(blob) => Err(layer
                .error(format!("blob {index} of the layer has another size in the caffemodel"))
                .found(format!("{:?}, {} values", blob.shape, blob.data.len()))
                .allowed(format!("{shape:?}, {count} values"))
                .help("give the caffemodel of this prototxt")),
            None => Err(layer
                .error("the layer has too few blobs in the caffemodel")
                .found(blobs.len().to_string())
                .allowed(format!("at least {}", index + 1))),
        }
    }

    /// A blob as a constant.
    pub(super) fn weights(&mut self, layer: &Layer<'_>, index: usize, shape: &[usize]) -> Result<Value> {
        let values = self.blob(layer, index, shape)?;
        self.constant(layer, shape, values)
    }

    /// A constant.
    pub(super) fn constant(&mut self, layer: &Layer<'_>, shape: &[usize], values: Vec<f32>) -> Result<Value> {
        self.graph.floats(shape, values).map_err(|error| layer.error(error.to_string()))
    }

    /// One number as a constant.
    pub(super) fn scalar(&mut self, layer: &Layer<'_>, value: f32) -> Result<Value> {
        self.constant(layer, &[], vec![value])
    }
}

/// An axis that may be counted from the end.
pub(super) fn axis(layer: &Layer<'_>, axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(from_start).ok().filter(|axis| *axis < rank).ok_or_else(|| {
        layer
            .error("the layer has no such axis")
            .found(axis.to_string())
            .allowed(format!("-{rank} to {}", rank as i64 - 1))
    })
}
