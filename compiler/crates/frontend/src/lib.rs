//! Readers and writers of other tools' network files.

pub mod caffe;
pub mod darknet;
pub mod onnx;
mod recognise;
pub mod tensorflow;
pub mod text_format;
pub mod wire;

pub use recognise::{Framework, framework};
