//! Post-training int8 quantisation: calibration, scales, requantisation constants, tables.

mod build;
mod calibrate;
mod correct;
mod detector;
mod equalise;
pub mod exec;
mod file;
mod histogram;
pub mod net;
mod numeric;
mod prepare;
#[cfg(test)]
mod property;
mod quantise;
mod quantised;
mod ranges;
pub mod report;
mod rounding;
mod sensitivity;
mod shapes;
mod split;
#[cfg(test)]
mod tests;
pub mod text;
mod verify;

pub use calibrate::{CALIBRATION_IMAGES, spread};
pub use detector::QDetector;
pub use histogram::RangeRule;
pub use net::QNet;
pub use quantise::{QuantiseOptions, SPLIT_PERCENT, quantise};
pub use quantised::Quantised;
pub use rounding::roundings;
