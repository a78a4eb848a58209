//! The `.sct` artefact: its format and the checked view over its bytes.

mod check;
mod crc;
mod directory;
mod error;
pub mod format;
mod step;
mod view;

pub(crate) use crc::CRC;
pub use crc::{Checksum, crc32};
pub use error::{Error, Fault};
pub use step::{Operation, Step};
pub use view::{Anchors, Head, Model, Records, Suppression};
