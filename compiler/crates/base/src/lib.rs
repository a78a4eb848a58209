//! What every stage shares: errors with their origin, files that are written whole or not at all, limits,
//! progress, harmless text for terminals, and bounding boxes.

mod bbox;
pub mod error;
pub mod files;
pub mod kind;
pub mod limits;
pub mod path_text;
pub mod progress;
pub mod terminal;
mod union_find;

pub use bbox::BBox;
pub use error::{Error, ErrorKind, Result};
pub use union_find::UnionFind;
