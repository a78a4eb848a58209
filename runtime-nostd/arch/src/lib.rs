//! Tuned kernels for the integer runtime. Each gives the bytes of the reference kernels in
//! [`secateur_runtime::kernels`], which its tests hold it to.
//!
//! - [`Tiled`]: for any processor, without the standard library.
//! - `Thumb` (feature `armv7em`, on Arm): for Cortex-M4, M7, M33 and M55, in assembly.
//! - [`HostKernels`] (feature `host`, on by default): the same compiled for several vector units, of which
//!   the machine's is picked at run time.
//! - [`x86`]: an executor of whole networks for x86-64, which is several times as fast; [`HostPlan`] takes it where
//!   the machine has what it needs.
#![cfg_attr(not(feature = "host"), no_std)]
#![warn(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic
)]

#[cfg(feature = "host")]
mod host;
#[cfg(all(feature = "armv7em", target_arch = "arm"))]
mod thumb;
pub mod tiled;
#[cfg(all(feature = "host", target_arch = "x86_64", not(miri)))]
pub mod x86;

#[cfg(feature = "host")]
pub use host::{HostKernels, HostMemory, HostPlan};
#[cfg(all(feature = "armv7em", feature = "count-fallbacks", target_arch = "arm"))]
pub use thumb::FALLBACKS;
#[cfg(all(feature = "armv7em", target_arch = "arm"))]
pub use thumb::Thumb;
pub use tiled::Tiled;
