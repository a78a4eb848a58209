//! A folder with every layer's output as `.npy` and an index, for whoever hunts a mismatch.

use std::path::{Path, PathBuf};

use serde::Serialize;

use secateur_base::{Error, Result, files};
use secateur_data::write_npy;
use secateur_ir::Shape;

use crate::to_json;

/// Writes layers one by one; the same file names for a float network and its artefact.
pub struct LayerFolder {
    folder: PathBuf,
    index: Index,
}

#[derive(Serialize)]
struct Index {
    /// Paths as text: bytes that are not UTF-8 are replaced.
    network: String,
    source: String,
    layers: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    /// Number that Darknet prints; none for the network's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// Real values, float32 `[c][h][w]`.
    file: String,
    shape: [usize; 3],
    min: f32,
    max: f32,
    mean: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    codes: Option<Codes>,
}

/// The integers of an artefact's tensor: `real = scale · (code − zero_point)`.
#[derive(Serialize)]
struct Codes {
    /// int8 `[h][w][c]`.
    file: String,
    scale: f32,
    zero_point: i8,
}

/// A layer's integers beside its real values.
pub struct LayerCodes<'a> {
    /// `[h][w][c]`
    pub values: &'a [i8],
    pub scale: f32,
    pub zero_point: i8,
}

const INDEX: &str = "index.json";

fn stem(layer: Option<usize>) -> String {
    layer.map_or("input".to_owned(), |layer| format!("layer_{layer:03}"))
}

fn file_name(stem: &str) -> String {
    format!("{stem}.npy")
}

fn codes_name(stem: &str) -> String {
    format!("{stem}_codes.npy")
}

impl LayerFolder {
    /// A dump of `network` on `source` (image or tensor) into `folder`.
    pub fn new(folder: &Path, network: &Path, source: &Path) -> Self {
        let [network, source] = [network, source].map(|path| path.display().to_string());
        Self { folder: folder.to_owned(), index: Index { network, source, layers: Vec::new() } }
    }

    /// Refuses a folder in which a dump of so many layers would overwrite one of `inputs`.
    pub fn refuse_overwrite(&self, inputs: &[&Path], layers: usize) -> Result<()> {
        let stems = (0..layers).map(|layer| stem(Some(layer))).chain([stem(None)]);
        let mut outputs: Vec<PathBuf> = stems
            .flat_map(|stem| [file_name(&stem), codes_name(&stem)])
            .map(|name| self.folder.join(name))
            .collect();
        outputs.push(self.folder.join(INDEX));
        files::refuse_overwrite(inputs, &outputs)
    }

    /// Writes `input.npy` (`layer` none) or `layer_NNN.npy`; with codes also `layer_NNN_codes.npy`.
    /// `values` are `[c][h][w]`.
    pub fn add(
        &mut self,
        layer: Option<usize>,
        operator: Option<&str>,
        shape: Shape,
        values: &[f32],
        codes: Option<LayerCodes<'_>>,
    ) -> Result<()> {
        let stem = stem(layer);
        let file = file_name(&stem);
        write_npy(&self.folder.join(&file), &[shape.c, shape.h, shape.w], values)?;
        let codes = codes
            .map(|codes| {
                let file = codes_name(&stem);
                write_npy(&self.folder.join(&file), &[shape.h, shape.w, shape.c], codes.values)?;
                Ok::<_, Error>(Codes { file, scale: codes.scale, zero_point: codes.zero_point })
            })
            .transpose()?;
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        self.index.layers.push(Entry {
            layer,
            operator: operator.map(str::to_owned),
            file,
            shape: [shape.c, shape.h, shape.w],
            min: values.iter().copied().fold(f32::INFINITY, f32::min),
            max: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            mean: sum / values.len().max(1) as f64,
            codes,
        });
        Ok(())
    }

    /// Writes `index.json`; returns the number of layers.
    pub fn finish(self) -> Result<usize> {
        files::write_bytes(&self.folder.join(INDEX), to_json(&self.index)?.as_bytes())?;
        Ok(self.index.layers.iter().filter(|entry| entry.layer.is_some()).count())
    }
}
