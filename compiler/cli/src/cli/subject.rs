//! The network that a verb works on: `CFG WEIGHTS` or `ARTEFACT`, and checks of its names.

use std::path::{Path, PathBuf};

use secateur_base::{Error, Result};
use secateur_data::{names_beside, read_names};
use secateur_deploy::{Deployed, is_artefact, read_artefact};
use secateur_eval::{Detector, FloatDetector};
use secateur_frontend::darknet;
use secateur_prune::ConfigFile;

use super::images::data_files;

/// The network on the command line, before a verb's own files.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Float {
        cfg: PathBuf,
        weights: PathBuf,
        /// The closed pruner's config file, where that was given and names the cfg.
        config: Option<Box<ConfigFile>>,
    },
    Artefact(PathBuf),
}

/// The network's cfg: `path` itself, or what it names if it is the closed pruner's config file.
pub(crate) fn model_cfg(path: &Path) -> Result<(PathBuf, Option<Box<ConfigFile>>)> {
    Ok(match ConfigFile::open(path)? {
        Some(config) => (config.model_cfg.clone(), Some(Box::new(config))),
        None => (path.to_owned(), None),
    })
}

impl Subject {
    /// Takes the network off the front of `paths` and leaves the rest.
    pub(crate) fn take(paths: Vec<PathBuf>) -> Result<(Self, Vec<PathBuf>)> {
        let mut paths = paths.into_iter();
        let first = paths.next().ok_or_else(|| needed("nothing"))?;
        if is_artefact(&first) || first.extension().is_some_and(|extension| extension == "sct") {
            return Ok((Self::Artefact(first), paths.collect()));
        }
        let weights = paths.next().ok_or_else(|| needed("a .cfg alone").file(&first))?;
        let (cfg, config) = model_cfg(&first)?;
        Ok((Self::Float { cfg, weights, config }, paths.collect()))
    }

    /// The files that are read of the network, with those that a config file names.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(match self {
            Self::Float { cfg, weights, config } => {
                let data = config.as_ref().and_then(|config| config.data.as_deref());
                let named = data.filter(|data| data.is_file()).map(data_files).transpose()?;
                [vec![cfg.clone(), weights.clone()], named.unwrap_or_default()].concat()
            }
            Self::Artefact(path) => vec![path.clone()],
        })
    }

    /// The path that stands for the network in messages and results.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Float { cfg, .. } => cfg,
            Self::Artefact(path) => path,
        }
    }

    /// Loads the network and hands it to `work`, with the class names known to it. `threads` share
    /// one image.
    pub(crate) fn open<T>(
        &self,
        threads: usize,
        work: impl FnOnce(&dyn Detector, Vec<String>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Float { cfg, weights, .. } => {
                let network = darknet::load(cfg, Some(weights))?;
                let detector = FloatDetector::new(&network.graph, network.weights()?)
                    .map_err(|error| error.file(cfg))?
                    .with_threads(threads);
                let names = names_beside(cfg, detector.classes()).unwrap_or_default();
                work(&detector, names)
            }
            Self::Artefact(path) => {
                let bytes = read_artefact(path)?;
                let deployed = Deployed::new(&bytes, path)?;
                let names = deployed.names();
                work(&deployed, names)
            }
        }
    }
}

fn needed(found: &str) -> Error {
    Error::new("a network is needed")
        .found(found)
        .allowed("CFG WEIGHTS (model.cfg model.weights) or ARTEFACT (model.sct)")
}

/// The names of a file for a network of `classes` classes.
pub(crate) fn checked_names(path: &Path, classes: usize) -> Result<Vec<String>> {
    let names = read_names(path)?;
    check_names(&names, classes).map_err(|error| error.file(path))?;
    Ok(names)
}

/// Fails where there are not as many names as the network has classes.
pub(crate) fn check_names(names: &[String], classes: usize) -> Result<()> {
    if names.len() == classes {
        return Ok(());
    }
    Err(Error::new("names and network do not belong together")
        .found(format!("{} names, {classes} classes in the network", names.len()))
        .help("give the names that the network was trained with"))
}

/// A number from 0 to 1, for clap.
pub(crate) fn fraction(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".to_owned()),
    }
}
