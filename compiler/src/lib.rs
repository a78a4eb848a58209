//! Secateur: prunes, quantises and compiles Darknet networks.
//!
//! Data flows one way: [`frontend`] → [`graph`] → [`prune`] (steered by [`eval`]) → [`quant`] →
//! [`lower`] → [`pack`]. No stage imports a later one.

pub mod data;
pub mod error;
pub mod eval;
pub mod files;
pub mod float;
pub mod frontend;
pub mod graph;
pub mod host;
pub mod lower;
pub mod pack;
pub mod progress;
pub mod prune;
pub mod quant;
pub mod report;
pub mod sim;
pub mod target;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, Result};
