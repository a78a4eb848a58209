//! ONNX: models of opset 9 to 21 as tensor graphs.
//!
//! Source: the operators' definitions in ONNX, docs/Operators.md and docs/Changelog.md.

mod call;
mod import;
mod operators;
mod proto;

pub use import::{Imported, OPSETS, Options, import, input_names, is_model, load};
