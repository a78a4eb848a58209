//! Labelled images of a verb.

use std::path::{Path, PathBuf};

use secateur_base::Result;
use secateur_data::DataFile;

/// A .data file, or a list with the names of its classes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImageSource {
    /// Darknet's .data file: it names the lists `train` (analysed) and `valid` (held out), and the
    /// class names.
    #[arg(long, value_name = "FILE.data", conflicts_with_all = ["list", "names"])]
    pub(crate) data: Option<PathBuf>,
    /// A list of images, instead of a .data file.
    #[arg(long, value_name = "FILE", requires = "names")]
    pub(crate) list: Option<PathBuf>,
    /// Class names, one a line.
    #[arg(long, value_name = "FILE", requires = "list")]
    pub(crate) names: Option<PathBuf>,
}

impl ImageSource {
    /// The files that these options name, with those that a .data file names.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = [&self.list, &self.names].into_iter().flatten().cloned().collect();
        if let Some(data) = &self.data {
            files.extend(data_files(data)?);
        }
        Ok(files)
    }
}

/// A .data file and the files that it names.
pub(crate) fn data_files(path: &Path) -> Result<Vec<PathBuf>> {
    let data = DataFile::load(path)?;
    Ok(data.files().chain([path.to_owned()]).collect())
}
