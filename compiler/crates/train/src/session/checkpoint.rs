//! All that a training needs to go on to the same bytes as without a break.

use std::path::Path;

use secateur_base::{Error, Result, files};
use secateur_ir::Weights;
use serde::{Deserialize, Serialize};

use crate::optimizer::Memory;

/// Version of the file; another one is not read.
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 32;

/// The best evaluation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    pub accuracy: f64,
    pub batch: u64,
}

/// The state between two batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    version: u32,
    /// Hash of network, data and options.
    pub identity: [u8; 32],
    /// Batches that have been learnt.
    pub batches: u64,
    pub weights: Weights,
    pub memories: Vec<Memory<f32>>,
    /// Moving average of the weights.
    pub average: Option<Weights>,
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub without_gain: u32,
    /// Factor of the learning rate, halved when a training ran off.
    pub rate_factor: f32,
    /// Batches whose gradient was not finite, which changed nothing: in all, and times that the training went back.
    pub skipped: u64,
    pub setbacks: u32,
}

impl Checkpoint {
    /// The start of a training.
    pub fn start(identity: [u8; 32], weights: Weights, average: bool) -> Self {
        Self {
            version: VERSION,
            identity,
            batches: 0,
            average: average.then(|| weights.clone()),
            weights,
            memories: Vec::new(),
            best: None,
            without_gain: 0,
            rate_factor: 1.0,
            skipped: 0,
            setbacks: 0,
        }
    }

    /// Reads the checkpoint of the training with this identity; `None` if there is no file.
    ///
    /// # Errors
    /// The file is damaged, of another version, or of another training.
    pub fn read(path: &Path, identity: [u8; 32]) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::read_limited(path, MAX_BYTES)?;
        let help = "delete it to begin anew, or give another folder";
        let damaged = |_| Error::new("the checkpoint is damaged").file(path).help(help);
        let (version, _) = postcard::take_from_bytes::<u32>(&bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(Error::new("the checkpoint is of another version of Secateur")
                .file(path)
                .found(format!("version {version}"))
                .allowed(format!("version {VERSION}"))
                .help(help));
        }
        let checkpoint: Self = postcard::from_bytes(&bytes).map_err(damaged)?;
        if checkpoint.identity != identity {
            return Err(Error::new("the checkpoint is of a training with other options, data or weights")
                .file(path)
                .help(help));
        }
        Ok(Some(checkpoint))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; the old one is kept.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = postcard::to_allocvec(self)
            .map_err(|e| Error::internal(format!("a checkpoint does not serialise: {e}")))?;
        files::write_bytes(path, &bytes)
    }
}
