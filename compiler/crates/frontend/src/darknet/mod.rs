//! Darknet's `.cfg` and `.weights`, as AlexeyAB's line of Darknet reads them.
//!
//! `.cfg` bytes → [`Cfg`] (lossless) → [`build_graph`] → [`Graph`]; `.weights` bytes → [`read_weights`].

use std::path::{Path, PathBuf};

use secateur_base::{Error, Result};
use secateur_ir::{Graph, Weights};

mod build;
mod cfg;
mod export;
mod heads;
mod losses;
mod new_heads;
mod options;
mod training;
mod weights;

pub use build::build_graph;
pub use cfg::{Cfg, Entry, Section};
pub use export::{apply, write_network};
pub use new_heads::with_heads;
pub use training::training;
use weights::Extent;
pub use weights::{WeightsHeader, file_size, read_weights, write_weights};

/// A network on disk: the lossless cfg, its meaning and, if given, its numbers.
#[derive(Debug, Clone)]
pub struct Network {
    pub cfg: Cfg,
    pub graph: Graph,
    /// Header of the `.weights` file; the default where there is none.
    pub header: WeightsHeader,
    pub weights: Option<Weights>,
    pub weights_path: Option<PathBuf>,
}

impl Network {
    /// The weights, or an error that asks for the file.
    pub fn weights(&self) -> Result<&Weights> {
        self.weights.as_ref().ok_or_else(|| {
            Error::new("this needs trained weights")
                .file(self.cfg.path())
                .help("give the .weights file after the .cfg")
        })
    }
}

/// Reads `cfg` and, if given, `weights`.
///
/// # Errors
/// Every mistake in either file, with its line or its layer.
pub fn load(cfg: &Path, weights: Option<&Path>) -> Result<Network> {
    let cfg = Cfg::load(cfg)?;
    let graph = build_graph(&cfg)?;
    let (header, numbers) =
        weights.map(|path| weights::load(&graph, path, Extent::Whole)).transpose()?.unzip();
    Ok(Network {
        cfg,
        graph,
        header: header.unwrap_or_default(),
        weights: numbers,
        weights_path: weights.map(Path::to_path_buf),
    })
}

/// Reads weights to begin a training of `graph` with: of the whole network, or of its body, the first so many layers.
/// The result has as many layers as the file.
///
/// # Errors
/// Every mistake in the file; an end that is not the end of a layer.
pub fn load_body(graph: &Graph, path: &Path) -> Result<(WeightsHeader, Weights)> {
    weights::load(graph, path, Extent::Body)
}
