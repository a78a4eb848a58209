//! Caffe: nets as prototxt of every age, weights as caffemodel.

mod import;
mod layers;
mod legacy;
pub mod net;
mod normalise;
mod spatial;
mod ssd;
#[cfg(test)]
mod tests;
pub mod weights;

pub use import::{Imported, Options, import};
