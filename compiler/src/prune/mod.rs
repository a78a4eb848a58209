//! Structured pruning: which channels can go, which should, and the cut itself.

mod constants;
pub mod criteria;
pub mod main_file;
pub mod masks;
#[cfg(test)]
mod property;
pub mod summary;
pub mod transform;

pub use criteria::{Criterion, Ranking, keep_count};
pub use main_file::MainFile;
pub use masks::Masks;
pub use summary::{Figures, Summary};
pub use transform::{Cut, cut_graph, transform};
