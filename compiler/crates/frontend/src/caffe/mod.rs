//! Caffe: nets as prototxt of every age, weights as caffemodel.

mod import;
mod layers;
mod legacy;
pub mod net;
mod normalise;
mod spatial;
mod ssd;
pub mod weights;

pub use import::{Imported, Options, import};
