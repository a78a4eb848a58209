//! Structured pruning: groups of channels or vectors, criteria, searches, masks, reconstruction, the cut.

mod config_file;
mod constants;
pub mod criteria;
mod deployment;
mod mask;
#[cfg(test)]
mod neutral_tests;
mod permute;
#[cfg(test)]
mod property;
#[cfg(any(test, feature = "testing"))]
pub mod random;
pub mod reconstruct;
pub mod search;
pub mod sensitivity;
pub mod store;
mod summary;
#[cfg(test)]
mod tests;
pub mod transform;
mod units;

pub use config_file::ConfigFile;
pub use criteria::{Criterion, keep_count};
pub use deployment::Deploy;
pub use mask::{MaskFile, Masks, NetworkHash};
pub use permute::Order;
pub use search::{Search, Trials};
pub use sensitivity::Analysis;
pub use store::{Numeric, Setting, Store};
pub use summary::{Figures, Summary};
pub use transform::{Cut, cut_graph, transform};
pub use units::{ChannelUnits, Granularity, Part, PruneGroup, PruneUnits, Pruned, RankedUnits, VectorUnits};
