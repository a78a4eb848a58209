//! Networks as other frameworks mean them: operators on tensors of any rank.
//!
//! Readers of ONNX, Caffe and TensorFlow translate into a [`Graph`] through its [`Builder`], which infers every
//! shape and computes at once whatever depends on no input, shape arithmetic with it. [`evaluate`] runs a graph in
//! floats: the meaning that everything after it is compared with.

pub mod cost;
mod eval;
mod graph;
mod infer;
pub mod op;
mod tensor;

pub use eval::{Observer, evaluate};
pub use graph::{Builder, Graph, Known, Node, Place, Value};
pub use infer::infer;
pub use op::Op;
pub use tensor::{DType, Data, MAX_ELEMENTS, MAX_RANK, Spec, Tensor};
