//! Structured pruning: which channels can go, which should, and the cut itself.

mod channels;
mod constants;
pub mod criteria;
mod granularity;
mod looks;
pub mod main_file;
pub mod masks;
#[cfg(test)]
mod neutral_tests;
pub mod permute;
#[cfg(test)]
mod property;
#[cfg(any(test, feature = "testing"))]
pub mod random;
pub mod repair;
pub mod search;
pub mod sensitivity;
pub mod store;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod transform;
pub mod vector_masks;
mod vectors;

pub use channels::{Channels, Repair};
pub use criteria::{Criterion, Ranking, keep_count};
pub use granularity::{Grain, Granularity, Pruned, UnitSet};
pub use looks::Looks;
pub use main_file::MainFile;
pub use masks::Masks;
pub use permute::Order;
pub use search::Allocation;
pub use sensitivity::Analysis;
pub use store::{Setting, Store};
pub use summary::{Figures, Summary};
pub use transform::{Cut, cut_graph, transform};
pub use vector_masks::VectorMasks;
pub use vectors::Vectors;
