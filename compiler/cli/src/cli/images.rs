//! Labelled images of a verb.

use std::path::PathBuf;

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
    /// The files that a verb reads because of these options.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.data, &self.list, &self.names].into_iter().flatten()
    }
}
