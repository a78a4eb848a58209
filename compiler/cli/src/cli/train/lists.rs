//! The labelled images of a training.

use std::path::PathBuf;

use secateur_base::{Error, Result};
use secateur_data::DataFile;

/// A .data file, or lists with the names of their classes.
#[derive(Debug, clap::Args)]
pub(super) struct Source {
    /// Darknet's .data file: the lists `train` and `valid`, the class names, and `backup`.
    #[arg(long, value_name = "FILE.data", conflicts_with_all = ["train", "list", "names"])]
    pub(super) data: Option<PathBuf>,
    /// Images to train on, instead of a .data file.
    #[arg(long, value_name = "FILE", requires = "names")]
    train: Option<PathBuf>,
    /// Held-out images to evaluate on.
    #[arg(long, value_name = "FILE", requires = "train")]
    list: Option<PathBuf>,
    /// Class names, one a line.
    #[arg(long, value_name = "FILE", requires = "train")]
    names: Option<PathBuf>,
}

/// The files that a source leads to.
pub(super) struct Lists {
    pub(super) train: PathBuf,
    pub(super) valid: Option<PathBuf>,
    pub(super) names: PathBuf,
    /// Folder of the results where the command line names none.
    pub(super) backup: PathBuf,
    /// All that is read, images aside.
    pub(super) files: Vec<PathBuf>,
}

impl Source {
    /// Returns whether the command line names no images.
    pub(super) fn is_none(&self) -> bool {
        self.data.is_none() && self.train.is_none()
    }

    /// # Errors
    /// Neither a .data file nor lists, a .data file that cannot be read, or one that leads to no file.
    pub(super) fn open(&self) -> Result<Lists> {
        let Some(path) = &self.data else {
            let (Some(train), Some(names)) = (self.train.clone(), self.names.clone()) else {
                return Err(Error::new("no images to train on")
                    .allowed("--data FILE.data, or --train LIST with --names FILE"));
            };
            let files = [&train, &names].into_iter().chain(&self.list).cloned().collect();
            return Ok(Lists { train, valid: self.list.clone(), names, backup: "backup".into(), files });
        };
        let data = DataFile::load(path)?;
        let folder = data.get("backup").map_or_else(|| PathBuf::from("backup"), PathBuf::from);
        Ok(Lists {
            train: data.file("train")?,
            valid: data.get("valid").map(|_| data.file("valid")).transpose()?,
            names: data.file("names")?,
            backup: path.parent().map_or(folder.clone(), |parent| parent.join(&folder)),
            files: data.files().chain([path.clone()]).collect(),
        })
    }
}
