//! The `.sct` artefact: its format and the checked view over its bytes.

mod check;
mod directory;
mod error;
pub mod format;
mod step;
mod view;

pub(crate) use directory::CRC;
pub use directory::crc32;
pub use error::{Error, Fault};
pub use step::{Operation, Step};
pub use view::{Anchors, Head, Model, Records, Suppression};
