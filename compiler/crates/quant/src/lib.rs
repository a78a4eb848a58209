//! Post-training int8 quantisation: calibration, scales, requantisation constants, tables.

mod build;
mod calibrate;
mod correct;
mod detector;
mod equalise;
pub mod exec;
mod histogram;
pub mod impact;
pub mod net;
mod prepare;
#[cfg(test)]
mod property;
mod recipe;
pub mod report;
mod requant;
mod scales;
mod split;
mod tables;
pub mod text;
#[cfg(test)]
mod tests;
mod verify;

pub use detector::QDetector;
pub use histogram::RangeRule;
pub use net::QNet;
pub use recipe::{Options, Quantised, quantise};
