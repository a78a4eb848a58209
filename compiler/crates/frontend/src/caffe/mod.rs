//! Caffe: nets as prototxt of every age, weights as caffemodel.

mod legacy;
pub mod net;
pub mod weights;
