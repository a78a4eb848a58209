//! An executor for x86-64 processors with AVX-512 VNNI, AVX-VNNI or AVX2.
//!
//! A [`Plan`] is made once of a checked artefact, an ordinary portable one: it follows the artefact's tensors from
//! step to step ([`flow`]), gives them buffers of planes of four channels ([`layout`]) and packs weights ([`pack`]).
//! [`Plan::run`] then has the bytes of [`Engine::run`](secateur_runtime::Engine::run). Steps without a kernel here
//! are run by the engine's, on its own arena.
//!
//! Kernels are written once over the trait [`vector::Vector`] and compiled for each set of instructions ([`isa`]).
//! Requantisation uses the float units where [`requant`] proves that the integers are the contract's.
// Indices come from the plan itself, which is made of a checked artefact; the floats are those of `requant`.
#![allow(clippy::indexing_slicing, clippy::float_arithmetic)]

mod avx2;
mod avx512;
mod conv;
mod convert;
mod depthwise;
mod elementwise;
mod flow;
mod isa;
mod kernels;
mod layout;
mod level;
mod pack;
mod plan;
mod pool;
mod requant;
mod run;
mod vector;

pub use layout::Memory;
pub use level::Level;
pub use plan::Plan;
