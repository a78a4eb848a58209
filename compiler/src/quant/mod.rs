//! Post-training int8 quantisation: calibration, scales, requantisation constants, tables.

pub mod net;
mod verify;

pub use net::QNet;
