//! Integer runtime for Secateur artefacts: no heap, no floating point, no panic, no `unsafe`.
//!
//! [`kernels`] are the meaning of the integer arithmetic (the contract is in the documentation
//! of each); [`artefact`] is the file format.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::float_arithmetic
    )
)]

pub mod artefact;
pub mod detect;
mod engine;
pub mod kernels;
pub mod npu;
mod operators;
pub mod packed;
mod tensor;

pub use engine::{Engine, EngineError, Hook, Kernels, Reference};
pub use operators::{Only, Operators};
pub use tensor::Tensor;
