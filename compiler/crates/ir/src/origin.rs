//! The place of a layer in the file that it was read from.

use std::path::Path;
use std::sync::Arc;

use secateur_base::Error;

/// Place of a layer in its file, for messages. What a format does not have is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Shared by all layers of a network.
    pub file: Option<Arc<Path>>,
    /// 1-based line; in a Darknet cfg, of the section's header.
    pub line: Option<usize>,
    /// The number that Darknet prints. Passes that insert or remove layers leave it as it was.
    pub layer: Option<usize>,
}

impl Origin {
    /// Gives `error` this place; unknown parts of the place change nothing.
    #[must_use]
    pub fn locate(&self, mut error: Error) -> Error {
        if let Some(file) = &self.file {
            error = error.file(&**file);
        }
        if let Some(line) = self.line {
            error = error.line(line);
        }
        if let Some(layer) = self.layer {
            error = error.layer(layer);
        }
        error
    }
}
